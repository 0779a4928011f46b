"""Data, objective and the training loop of the decomposition."""
