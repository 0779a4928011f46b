"""The command line: one command per stage; parses, calls, reports errors."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mskdex.errors import MskdexError

log = logging.getLogger("mskdex")
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

cohort_app = typer.Typer(no_args_is_help=True, help="The cohort sheet.")
app.add_typer(cohort_app, name="cohort")
virtual_app = typer.Typer(no_args_is_help=True, help="Virtual patients.")
app.add_typer(virtual_app, name="virtual")

SettingsJson = Annotated[str, typer.Option("--settings", help="the stage's settings as JSON")]
Out = Annotated[Path, typer.Option(help="what is written")]
PatientDir = Annotated[Path, typer.Option("--patient", help="folder of an imported patient")]
PatientsRoot = Annotated[Path, typer.Option("--patients", help="folder of all imported patients")]
Folds = Annotated[Path, typer.Option(help="folds.parquet")]
Row = Annotated[str, typer.Option(help="the patient's row of the sheet as JSON")]
Edition = Annotated[str | None, typer.Option(help="what the workflow calls the files' content; null keeps no record")]


@app.callback()
def _logging(log_file: Annotated[Path | None, typer.Option("--log", help="file for the full log")] = None) -> None:
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would look through every installed package
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # importing numpy would start a thread per core
    log.setLevel(logging.DEBUG)
    console = logging.StreamHandler()
    console.setLevel(logging.INFO)
    console.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(console)
    if log_file:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(log_file, mode="w", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        log.addHandler(handler)


@app.command("synthesize-sheet")
def synthesize_sheet(settings: SettingsJson, out: Out) -> None:
    """Write the sheet of the virtual cohort."""
    from mskdex.config.virtual import VirtualSettings
    from mskdex.pipeline.stages.synthesize import write_sheet

    write_sheet(VirtualSettings.model_validate_json(settings), out)


@app.command()
def synthesize(patient: str, settings: SettingsJson, out: Out) -> None:
    """Synthesise a virtual patient: CT, labels, radiograph."""
    from mskdex.config.virtual import VirtualSettings
    from mskdex.pipeline.stages.synthesize import synthesize as stage

    stage(patient, VirtualSettings.model_validate_json(settings), out)


@virtual_app.command("preview")
def virtual_preview(
    patient: Annotated[str, typer.Argument(help="id of the virtual cohort, e.g. V0001")],
    out: Annotated[Path | None, typer.Option(help="PNG to write; {patient}.png if not given")] = None,
    settings: Annotated[str, typer.Option(help="the config's virtual section as JSON")] = "{}",
) -> None:
    """Draw one figure of a virtual patient: CT, labels, radiograph, object-wise DRRs."""
    from mskdex.config.virtual import VirtualSettings
    from mskdex.pipeline.stages.synthesize import preview

    preview(patient, VirtualSettings.model_validate_json(settings), out or Path(f"{patient}.png"))


@cohort_app.command("build")
def cohort_build(sheet: Path, settings: SettingsJson, out: Out) -> None:
    """Check the cohort sheet and write the patients, the exclusions and the objects."""
    from mskdex.pipeline.settings import CohortStage
    from mskdex.pipeline.stages.cohort import cohort as stage

    stage(sheet, CohortStage.model_validate_json(settings), out)


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


@cohort_app.command("init")
def cohort_init(
    folder: Path,
    out: Annotated[Path | None, typer.Option(help="sheet to write; FOLDER/cohort.tsv if not given")] = None,
) -> None:
    """Scan a folder of DICOM and volume files and write a draft cohort sheet: what was found, what is missing."""
    from mskdex.pipeline.stages.cohort_check import read_config
    from mskdex.pipeline.stages.cohort_init import draft_sheet

    typer.echo(draft_sheet(folder, out or folder / "cohort.tsv", read_config(None)))


@cohort_app.command("identity")
def cohort_identity(sheet: Path, patients: PatientsRoot, settings: SettingsJson, out: Out) -> None:
    """Refuse patients who are in the cohort under two ids."""
    from mskdex.config.cohort import CohortSettings
    from mskdex.pipeline.stages.identity import identity as stage

    stage(sheet, CohortSettings.model_validate_json(settings), patients, out)


@app.command()
def segment(row: Row, settings: SettingsJson, out: Out, edition: Edition = None) -> None:
    """Segment a patient's CT with TotalSegmentator."""
    from mskdex.pipeline.settings import SegmentStage
    from mskdex.pipeline.sources import recorded
    from mskdex.pipeline.stages.segment import segment as stage

    s, patient = SegmentStage.model_validate_json(settings), json.loads(row)
    with recorded(patient, ["ct"], edition, out.parent):
        stage(patient, s.ct, s.device, out)


@app.command()
def quality(
    patients: PatientsRoot,
    table: Annotated[Path, typer.Option(help="patients.parquet")],
    settings: SettingsJson,
    out: Out,
) -> None:
    """Flag segmentations that stand out in the cohort, and draw a contact sheet of each patient."""
    from mskdex.pipeline.settings import QualityStage
    from mskdex.pipeline.stages.quality import quality as stage

    stage(patients, table, QualityStage.model_validate_json(settings), out)


@app.command()
def folds(sheet: Path, settings: SettingsJson, out: Out) -> None:
    """Assign patients to folds."""
    from mskdex.pipeline.settings import FoldsStage
    from mskdex.pipeline.stages.folds import folds as stage

    s = FoldsStage.model_validate_json(settings)
    stage(sheet, s, out)


@app.command("import")
def import_(
    row: Row,
    settings: SettingsJson,
    out: Out,
    edition: Edition = None,
    own: Annotated[str, typer.Option(help="columns of the row whose files are kept in mind, as JSON")] = "[]",
) -> None:
    """Import a patient's CT, labels and radiograph."""
    from mskdex.pipeline.settings import ImportStage
    from mskdex.pipeline.sources import recorded
    from mskdex.pipeline.stages.importing import import_patient

    patient = json.loads(row)
    with recorded(patient, json.loads(own), edition, out):
        import_patient(patient, ImportStage.model_validate_json(settings), out)


@app.command()
def quantities(patient: PatientDir, settings: SettingsJson, out: Out) -> None:
    """Sum volume, weighted volume and lean mass of every object over the CT's voxels."""
    from mskdex.pipeline.settings import Anatomy
    from mskdex.pipeline.stages.quantities import quantities as stage

    channels = Anatomy.model_validate_json(settings).channels
    stage(patient / "ct.nii.gz", patient / "labels.nii.gz", channels, out, patient / "import.json")


@app.command()
def render(
    patient: Annotated[list[Path], typer.Option(help="folder of an imported patient; give it again for more")],
    settings: SettingsJson,
    out: Annotated[Path, typer.Option(help="output; of several patients, the file's name in each one's folder")],
    poses: Annotated[Path | None, typer.Option(help="pose.json: render the registered bones at their poses")] = None,
) -> None:
    """Render the object-wise DRRs at the nominal pose, or the bones at their registered poses."""
    from mskdex.pipeline.settings import RenderStage
    from mskdex.pipeline.stages.project import render_aligned, render_nominal

    s = RenderStage.model_validate_json(settings)
    for folder in patient:
        ct, labels, camera = folder / "ct.nii.gz", folder / "labels.nii.gz", folder / "camera.json"
        target = out if len(patient) == 1 else folder / out.name
        if poses is None:
            render_nominal(ct, labels, camera, s.channels, s.image, s.rendering, target)
        else:
            own = poses if len(patient) == 1 else folder / poses.name
            field = folder / "field.nii.gz"
            render_aligned(ct, labels, camera, own, s.channels, s.image, s.rendering, target, field)


@app.command()
def register(patient: PatientDir, settings: SettingsJson, out: Out) -> None:
    """Register each rigid body of the CT to the radiograph."""
    from mskdex.pipeline.settings import RegisterStage
    from mskdex.pipeline.stages.register import register as stage

    s = RegisterStage.model_validate_json(settings)
    stage(patient / "ct.nii.gz", patient / "labels.nii.gz", patient, s.channels, s.registration, s.rendering, out)


@app.command()
def qc(patient: PatientDir, settings: SettingsJson, out: Out) -> None:
    """Draw the segmentation, and the registered bones over the radiograph."""
    from mskdex.pipeline.settings import Anatomy
    from mskdex.pipeline.stages.qc import qc as stage

    channels = Anatomy.model_validate_json(settings).channels
    stage(patient / "ct.nii.gz", patient / "labels.nii.gz", patient, patient / "pose.json", channels, out)


@app.command()
def calibrate(patient: PatientDir, settings: SettingsJson, out: Out) -> None:
    """Compare the radiograph's grey values with the attenuation of the CT at the registered pose."""
    from mskdex.pipeline.settings import CalibrateStage
    from mskdex.pipeline.stages.calibrate import calibrate as stage

    s = CalibrateStage.model_validate_json(settings)
    stage(patient / "ct.nii.gz", patient / "labels.nii.gz", patient, s.channels, s.calibration, out)


@app.command()
def simulate(patient: PatientDir, settings: SettingsJson, out: Out) -> None:
    """Make pairs of radiograph and DRRs from a registered patient's own CT."""
    from mskdex.pipeline.settings import SimulateStage
    from mskdex.pipeline.stages.simulate import simulate as stage

    stage(patient, SimulateStage.model_validate_json(settings), out)


@app.command()
def stack(
    patient: PatientDir,
    settings: SettingsJson,
    out: Out,
) -> None:
    """Put a patient's training sample together."""
    from mskdex.pipeline.settings import StackStage
    from mskdex.pipeline.stages.stack import stack as stage

    s = StackStage.model_validate_json(settings)
    drr, aligned, quantities = (
        patient / name for name in ("drr.safetensors", "aligned.safetensors", "quantities.parquet")
    )
    stage(
        drr, aligned, patient, quantities, s.cohort_channels, s.image, out,
        min_visible_fraction=s.min_visible_fraction, kept_because=s.kept_because, correct=s.correct,
    )  # fmt: skip


@app.command()
def train(patients: PatientsRoot, folds: Folds, settings: SettingsJson, out: Out) -> None:
    """Train one fold of an experiment, from its last checkpoint where there is one."""
    from mskdex.pipeline.settings import TrainStage
    from mskdex.pipeline.stages.train import train as stage

    s = TrainStage.model_validate_json(settings)
    stage(patients, folds, s.fold, s.experiment, out, name=s.name)


@app.command("predict-fold")
def predict_fold(
    model: Path, patients: PatientsRoot, folds: Folds, fold: Annotated[int, typer.Option()], out: Out
) -> None:
    """Decompose the radiographs of a fold's test patients."""
    from mskdex.pipeline.stages.predict import predict_fold as stage

    stage(model, patients, folds, fold, out)


@app.command()
def predict(
    model: Path,
    radiographs: list[Path],
    out: Out,
    settings: Annotated[str, typer.Option(help="the config's radiograph section as JSON")] = "{}",
    calibration: Annotated[
        Path | None, typer.Option(help="predictions.parquet of patients that the model has not seen")
    ] = None,
) -> None:
    """Volume and lean mass of every object from radiographs of new patients, with 90 % intervals and flags."""
    from mskdex.config.imaging import RadiographSettings
    from mskdex.pipeline.stages.predict_radiographs import predict_radiographs

    radiograph = RadiographSettings.model_validate_json(settings)
    predict_radiographs(model, radiographs, radiograph, out, calibration=calibration)


@app.command()
def collect(
    patients: PatientsRoot,
    table: Annotated[Path, typer.Option(help="patients.parquet")],
    out: Out,
    settings: SettingsJson = "{}",
) -> None:
    """Collect the truth and the registrations of all patients into tables."""
    from mskdex.pipeline.settings import CollectStage
    from mskdex.pipeline.stages.collect import collect as stage

    stage(patients, table, out, CollectStage.model_validate_json(settings).kept_pairs)


@app.command()
def evaluate(
    results: Path,
    settings: SettingsJson,
    out: Out,
    comparator: Annotated[list[str] | None, typer.Option(help="another method's predictions, NAME=TABLE")] = None,
) -> None:
    """Compare predictions with the CT: agreement, image quality, tests."""
    from mskdex.pipeline.settings import EvaluateStage
    from mskdex.pipeline.stages.evaluate import evaluate as stage

    s = EvaluateStage.model_validate_json(settings)
    experiments, cohort_dir, patients = results / "experiments", results / "cohort", results / "patients"
    evaluation = s.evaluation.with_comparators(comparator or ())
    stage(experiments, s.experiments, s.folds, cohort_dir, patients, evaluation, out)


@app.command()
def repeatability(
    table: Annotated[Path, typer.Argument(help="patient, object, quantity, predicted and, if known, condition")],
    out: Annotated[Path | None, typer.Option(help="CSV to write")] = None,
) -> None:
    """RMS-CV, ICC and smallest detectable change per structure, from repeated predictions of the same patients."""
    from mskdex.pipeline.stages.repeatability import repeatability as stage

    typer.echo(stage(table, out))


@app.command()
def report(results: Path, settings: SettingsJson, out: Out) -> None:
    """Write the HTML report."""
    from mskdex.config import load_config
    from mskdex.pipeline.stages.report import report as stage

    stage(results, load_config(json.loads(settings)), out)


@app.command()
def config(what: Annotated[str, typer.Argument(help="yaml, schema or table")] = "yaml") -> None:
    """Print the default config, its JSON schema, or its documentation."""
    from mskdex.config.documentation import DOCUMENTS

    if what not in DOCUMENTS:
        msg = f"mskdex config {what}: choose one of {', '.join(DOCUMENTS)}"
        raise MskdexError(msg)
    typer.echo(DOCUMENTS[what](), nl=False)


def main() -> None:
    """Runs the command line; a user's mistake is one sentence on stderr and exit code 1."""
    logging.raiseExceptions = False  # a log on a full disk must not hide the sentence about it
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # also where the locale is plain C
    try:
        app()
    except MskdexError as error:
        log.debug("traceback", exc_info=True)
        sys.exit(_say(f"error: {error}"))
    except Exception as error:
        log.debug("traceback", exc_info=True)
        from mskdex.io.artifacts import disk_is_full

        if disk_is_full(error, Path()):
            sys.exit(_say(f"error: the disk is full ({error}); free some space and run the same command again"))
        known = next((h.baseFilename for h in log.handlers if isinstance(h, logging.FileHandler)), None)
        if known is None:
            raise
        sys.exit(_say(f"error: {type(error).__name__}: {error}; this is a defect, please report it with {known}"))


def _say(message: str) -> int:
    log.error(message)
    if not log.handlers:
        sys.stderr.write(message + "\n")
    return 1
