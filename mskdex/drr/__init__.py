"""The object-wise renderer."""
