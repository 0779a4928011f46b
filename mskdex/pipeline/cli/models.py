"""Trained models: other formats, their cards, and a folder of them by name."""

from pathlib import Path
from typing import Annotated

import typer

from mskdex.errors import MskdexError

app = typer.Typer()
model_app = typer.Typer(no_args_is_help=True, help="Trained models by name, and their cards.")
app.add_typer(model_app, name="model")

Model = Annotated[str, typer.Argument(help="model.safetensors, or the name of a model that was added")]


@app.command()
def export(
    model: Model,
    to: Annotated[str, typer.Option("--format", help="onnx or torchscript")],
    out: Annotated[
        Path | None, typer.Option(help="file to write; beside the model, or of its name, if not given")
    ] = None,
) -> None:
    """Write a model's network for programs without MSKdeX: radiograph, water and scale in, cm³ and g per pixel out."""
    from mskdex.clinic.export import SUFFIXES, export_model
    from mskdex.clinic.model_store import find_model

    if to not in SUFFIXES:
        msg = f"--format {to}: choose one of {', '.join(SUFFIXES)}"
        raise MskdexError(msg)
    path = find_model(model)
    written = out or (Path(model) if path == Path(model) else Path(f"{model}.safetensors")).with_suffix(SUFFIXES[to])
    export_model(path, to, written)
    typer.echo(f"{written}")


@app.command()
def recalibrate(
    model: Model,
    results: Annotated[
        Path, typer.Argument(help="results folder of the site's cohort, made with --until stack cohort")
    ],
    out: Annotated[Path, typer.Option(help="folder for model.safetensors and predictions.parquet")],
) -> None:
    """Bring a trained model to another site, from ten or more of its radiographs that have a CT, without training."""
    from mskdex.clinic.model_store import find_model
    from mskdex.pipeline.stages.recalibrate import recalibrate as stage

    typer.echo(stage(find_model(model), results, out))


@model_app.command("ensemble")
def ensemble(
    experiment: Annotated[
        Path, typer.Argument(help="folder of an experiment with trained folds, results/experiments/NAME")
    ],
    out: Annotated[Path, typer.Option(help="folder for model.safetensors and predictions.parquet")],
) -> None:
    """Join the models of an experiment's folds to one that predicts their mean, for radiographs from elsewhere."""
    from mskdex.pipeline.stages.ensemble import ensemble as stage

    folds = stage(experiment, out)
    typer.echo(f"{out / 'model.safetensors'}: the mean of folds {', '.join(map(str, folds))}")


@model_app.command("card")
def card(model: Model) -> None:
    """Print a model's card in Markdown: what it was trained on, settings, evidence, limits, licence."""
    from mskdex.clinic.model_card import model_card
    from mskdex.clinic.model_store import find_model

    typer.echo(model_card(find_model(model)), nl=False)


@model_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="what the model shall be called, e.g. hip-ap-v1")],
    source: Annotated[str, typer.Argument(help="path, or http or https address, of a model.safetensors")],
    sha256: Annotated[str | None, typer.Option(help="checksum that the file has to have")] = None,
) -> None:
    """Keep a model under a name, in MSKDEX_MODELS or the user's data folder."""
    from mskdex.clinic.model_store import add_model

    found = add_model(name, source, sha256)
    typer.echo(f"{found.name}  sha256 {found.sha256}  {found.path}")


@model_app.command("list")
def list_() -> None:
    """List the models by name; exit code 1 when one of them has changed since it was added."""
    from mskdex.clinic.model_store import list_models

    found = list_models()
    for model in found:
        typer.echo(f"{model.name}  sha256 {model.sha256}  {model.problem or 'from ' + model.source}")
    if any(model.problem for model in found):
        raise typer.Exit(1)
