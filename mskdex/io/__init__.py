"""Reading users' files, and reading and writing the project's own artifacts."""
