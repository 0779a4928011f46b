"""Coefficients of the confidence, fitted by benchmarks/registration/calibrate.py to virtual patients."""

MEAN = (0.89275, -0.13131, -0.44146, -0.80653, 0.93156, 0.91555)
SCALE = (1.7146, 1.359, 0.67229, 1.0642, 0.22034, 0.249)
COEFFICIENTS = (3.272, 2.8011, -1.1852, -1.8545, -0.12551, 0.026298)
INTERCEPT = 3.0189
POSES = 263
