"""Networks, losses and trained models."""
