"""Compiled kernels, threads and devices; interpolation."""
