"""2D-3D registration of every bone."""
