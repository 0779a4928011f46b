"""Coefficients of the confidence, fitted by benchmarks/registration/calibrate.py to virtual patients."""

MEAN = (1.2567, 0.33129, -0.33406, -0.64693, 0.94039, 0.96807)
SCALE = (1.1862, 0.90956, 0.44507, 0.84978, 0.21257, 0.15784)
COEFFICIENTS = (2.401, 1.3076, 0.64839, -2.7743, 0.077207, 0.148)
INTERCEPT = 2.9277
POSES = 713
