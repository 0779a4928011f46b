"""Networks, losses, data and the training loop of the decomposition."""
