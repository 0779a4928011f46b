"""Camera, pose and rigid motion."""
