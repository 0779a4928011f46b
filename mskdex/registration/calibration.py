"""Coefficients of the confidence, fitted by benchmarks/registration/calibrate.py to virtual patients."""

MEAN = (0.17952, -0.57502, 0.20005, -0.049189, 0.8617, 0.8313)
SCALE = (1.6445, 1.5244, 0.69771, 1.0474, 0.30426, 0.34226)
COEFFICIENTS = (0.74437, 1.2705, -0.71973, -0.97963, -0.017333, 0.45861)
INTERCEPT = -0.25036
POSES = 47
