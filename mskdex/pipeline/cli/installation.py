"""The installation and the config."""

from typing import Annotated

import typer

from mskdex.errors import MskdexError

app = typer.Typer()


@app.command()
def doctor() -> None:
    """Tell what is installed: versions, device, threads, folders, optional tools; exit code 1 if nothing can run."""
    from mskdex.pipeline.doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(finding)
    if any(finding.fatal for finding in findings):
        raise typer.Exit(1)


@app.command()
def config(what: Annotated[str, typer.Argument(help="yaml, schema, table, or node for node.yaml")] = "yaml") -> None:
    """Print the default config, its JSON schema, or its documentation."""
    from mskdex.config.documentation import DOCUMENTS

    if what not in DOCUMENTS:
        msg = f"mskdex config {what}: choose one of {', '.join(DOCUMENTS)}"
        raise MskdexError(msg)
    typer.echo(DOCUMENTS[what](), nl=False)
