#!/usr/bin/env bash
# Run by Snakemake in the workflow's folder, once, in the environment that it has made of musclemap.yaml.
set -euo pipefail
python -m pip install --no-deps --editable "$PWD"
