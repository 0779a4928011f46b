"""The cohort: its sheet, who is in it, the folds, the segmentations that stand out."""

from pathlib import Path
from typing import Annotated

import typer

from mskdex.pipeline.cli.options import Out, PatientsRoot, Table
from mskdex.pipeline.stage_options import StageOptions, with_settings

app = typer.Typer()
cohort_app = typer.Typer(no_args_is_help=True, help="The cohort sheet.")
app.add_typer(cohort_app, name="cohort")


@cohort_app.command("init")
def cohort_init(
    folder: Path,
    out: Annotated[Path | None, typer.Option(help="sheet to write; FOLDER/cohort.tsv if not given")] = None,
) -> None:
    """Scan a folder of DICOM and volume files and write a draft cohort sheet: what was found, what is missing."""
    from mskdex.pipeline.stages.cohort_check import read_config
    from mskdex.pipeline.stages.cohort_init import draft_sheet

    typer.echo(draft_sheet(folder, out or folder / "cohort.tsv", read_config(None)))


@cohort_app.command("check")
def cohort_check(
    sheet: Path,
    config: Annotated[
        Path | None, typer.Option(help="the config; this folder's config.yaml, or the defaults, if not given")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="check the sheet alone, open no image")] = False,
) -> None:
    """Report every problem of every row of a cohort sheet; exit code 1 when any is an error."""
    from mskdex.pipeline.stages.cohort_check import check_cohort, problem_table, read_config

    problems = check_cohort(sheet, read_config(config), quick=quick)
    typer.echo(problem_table(problems))
    if any(p.severity == "error" for p in problems):
        raise typer.Exit(1)


@cohort_app.command("build")
@with_settings
def cohort_build(sheet: Path, options: StageOptions, out: Out) -> None:
    """Check the cohort sheet and write the patients, the exclusions and the objects."""
    from mskdex.pipeline.settings import CohortStage
    from mskdex.pipeline.stages.cohort import cohort as stage

    stage(sheet, options.of(CohortStage), out)


@cohort_app.command("identity")
@with_settings
def cohort_identity(sheet: Path, patients: PatientsRoot, options: StageOptions, out: Out) -> None:
    """Refuse patients who are in the cohort under two ids."""
    from mskdex.config.cohort import CohortSettings
    from mskdex.pipeline.stages.identity import identity as stage

    stage(sheet, options.of(CohortSettings), patients, out)


@app.command()
@with_settings
def folds(sheet: Path, options: StageOptions, out: Out) -> None:
    """Assign patients to folds."""
    from mskdex.pipeline.settings import FoldsStage
    from mskdex.pipeline.stages.folds import folds as stage

    s = options.of(FoldsStage)
    stage(sheet, s, out)


@app.command()
@with_settings
def quality(
    patients: PatientsRoot,
    table: Table,
    options: StageOptions,
    out: Out,
    segmentation: Annotated[Path | None, typer.Option(help="folder of what rule segment made, for its flips")] = None,
) -> None:
    """Flag segmentations that stand out in the cohort, and draw a contact sheet of each patient."""
    from mskdex.pipeline.settings import QualityStage
    from mskdex.pipeline.stages.quality import quality as stage

    stage(patients, table, options.of(QualityStage), out, segmentation)
