"""Coefficients of the confidences, fitted by benchmarks/registration/calibrate.py to virtual patients."""

MEAN = (0.37355, -0.31934, 0.0054908, -0.26227, 0.89193, 0.91141)
SCALE = (1.4367, 1.3277, 0.67062, 1.0098, 0.28506, 0.24583)
IMAGE = (0.80922, 5.1217, -0.20185, -2.0377, 0, 0.30425, 2.1112)
SPACE = (0, 2.484, -0.2156, -1.3028, 0, 0.1164, 0.1286)
