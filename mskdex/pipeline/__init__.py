"""Stages, settings, command line, provenance, lock and recovery: what Snakemake calls."""
