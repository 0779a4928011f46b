"""CT and label volumes, radiographs, and HU to quantity."""
