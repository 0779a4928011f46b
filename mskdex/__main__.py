"""`python -m mskdex` is the command line."""

from mskdex.pipeline.cli import main

main()
