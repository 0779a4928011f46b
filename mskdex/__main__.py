"""`python -m mskdex` is the command line."""

from mskdex.cli import main

main()
