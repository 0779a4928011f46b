"""CT, label maps and radiographs: import, checks, grey values."""
