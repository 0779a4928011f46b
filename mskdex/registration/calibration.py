"""Coefficients of the confidences, fitted by benchmarks/registration/calibrate.py to virtual patients."""

MEAN = (0.38601, -0.38554, -0.09101, -0.35234, 0.92376, 0.89774)
SCALE = (1.5463, 1.4468, 0.6932, 1.0519, 0.22762, 0.26504)
IMAGE = (2.8065, 3.027, -1.9391, -1.5622, -0.32031, 0.51661, 1.8105)
SPACE = (1.5777, 2.4457, -0.20726, -2.1637, -0.79692, 0.63286, -1.075)
