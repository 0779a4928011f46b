"""Growth and posture of a labelled body."""
