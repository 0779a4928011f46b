"""What a cohort's predictions are worth: tables, agreement, the report."""

from pathlib import Path
from typing import Annotated

import typer

from mskdex.pipeline.cli.options import Out, PatientsRoot, Table
from mskdex.pipeline.stage_options import StageOptions, with_settings

app = typer.Typer()


@app.command()
@with_settings
def collect(patients: PatientsRoot, table: Table, options: StageOptions, out: Out) -> None:
    """Collect the truth and the registrations of all patients into tables."""
    from mskdex.pipeline.settings import CollectStage
    from mskdex.pipeline.stages.collect import collect as stage

    stage(patients, table, out, options.of(CollectStage).kept_pairs)


@app.command()
@with_settings
def evaluate(
    results: Path,
    options: StageOptions,
    out: Out,
    comparator: Annotated[list[str] | None, typer.Option(help="another method's predictions, NAME=TABLE")] = None,
) -> None:
    """Compare predictions with the CT: agreement, image quality, tests."""
    from mskdex.pipeline.settings import EvaluateStage
    from mskdex.pipeline.stages.evaluate import evaluate as stage

    s = options.of(EvaluateStage)
    experiments, cohort_dir, patients = results / "experiments", results / "cohort", results / "patients"
    evaluation = s.evaluation.with_comparators(comparator or ())
    truth = results / "virtual" if s.virtual else None
    stage(experiments, s.experiments, s.folds, cohort_dir, patients, evaluation, out, truth)


@app.command()
def repeatability(
    table: Annotated[Path, typer.Argument(help="patient, object, quantity, predicted and, if known, condition")],
    out: Annotated[Path | None, typer.Option(help="CSV to write")] = None,
) -> None:
    """RMS-CV, ICC and smallest detectable change per structure, from repeated predictions of the same patients."""
    from mskdex.pipeline.stages.repeatability import repeatability as stage

    typer.echo(stage(table, out))


@app.command()
@with_settings
def report(results: Path, options: StageOptions, out: Out) -> None:
    """Write the HTML report."""
    from mskdex.config import Config
    from mskdex.pipeline.stages.report import report as stage

    stage(results, options.of(Config), out)
