"""The physics of a radiograph: spectrum, attenuation, scatter, noise."""
