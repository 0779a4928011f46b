"""Pairs of radiograph and object-wise DRRs from a patient's own CT."""
