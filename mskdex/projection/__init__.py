"""Camera, pose and the object-wise renderer."""
