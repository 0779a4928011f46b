"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option(help="what is written")]
PatientDir = Annotated[Path, typer.Option("--patient", help="folder of an imported patient")]
PatientsRoot = Annotated[Path, typer.Option("--patients", help="folder of all imported patients")]
Table = Annotated[Path, typer.Option("--table", help="patients.parquet")]
