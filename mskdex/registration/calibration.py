"""Coefficients of the confidence, fitted by benchmarks/registration/calibrate.py to virtual patients."""

MEAN = (0.48195, -0.28574, 0.080673, -0.16834, 0.9, 0.87095)
SCALE = (1.557, 1.4159, 0.64025, 0.98342, 0.26186, 0.30766)
COEFFICIENTS = (1.0536, 2.5565, 0.65186, -1.6922, -0.036004, 0.63903)
INTERCEPT = 0.082059
POSES = 70
