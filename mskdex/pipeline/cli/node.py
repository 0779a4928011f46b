"""The DICOM node."""

from pathlib import Path
from typing import Annotated

import typer

from mskdex.errors import MskdexError

app = typer.Typer()


@app.command()
def node(config: Annotated[Path, typer.Option(help="node.yaml, see docs/node.md")]) -> None:
    """Run a DICOM node: radiographs in by C-STORE, predictions back to the PACS, until it is told to stop."""
    from mskdex.config.node import read_node_settings

    settings = read_node_settings(config)
    try:
        from mskdex.node.service import serve
    except ModuleNotFoundError as error:
        msg = f"{error.name} is not installed; install the node's packages with `pip install 'mskdex[node]'`"
        raise MskdexError(msg) from error
    from mskdex.node.predicting import predictor

    serve(settings, *predictor(settings))
