"""The command line: one command per stage; parses, calls, reports errors."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mskdex.errors import MskdexError
from mskdex.pipeline.program import run, set_up
from mskdex.pipeline.stage_options import StageOptions, with_settings

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

cohort_app = typer.Typer(no_args_is_help=True, help="The cohort sheet.")
app.add_typer(cohort_app, name="cohort")
virtual_app = typer.Typer(no_args_is_help=True, help="Virtual patients.")
app.add_typer(virtual_app, name="virtual")

Out = Annotated[Path, typer.Option(help="what is written")]
PatientDir = Annotated[Path, typer.Option("--patient", help="folder of an imported patient")]
PatientsRoot = Annotated[Path, typer.Option("--patients", help="folder of all imported patients")]
Folds = Annotated[Path, typer.Option(help="folds.parquet")]
Table = Annotated[Path, typer.Option("--table", help="patients.parquet")]
Calibration = Annotated[Path | None, typer.Option(help="predictions.parquet of patients that the model has not seen")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i")]
Row = Annotated[str, typer.Option(help="patient_id of the config's sheet; or the row as JSON")]
Edition = Annotated[str | None, typer.Option(help="what the workflow calls the files' content; null keeps no record")]


@app.callback()
def _logging(log_file: Annotated[Path | None, typer.Option("--log", help="file for the full log")] = None) -> None:
    set_up(log_file)


@app.command("synthesize-sheet")
@with_settings
def synthesize_sheet(options: StageOptions, out: Out) -> None:
    """Write the sheet of the virtual cohort."""
    from mskdex.config.virtual import VirtualSettings
    from mskdex.pipeline.stages.synthesize import write_sheet

    write_sheet(options.of(VirtualSettings), out)


@app.command()
@with_settings
def synthesize(patient: str, options: StageOptions, out: Out) -> None:
    """Synthesise a virtual patient: CT, labels, radiograph."""
    from mskdex.config.virtual import VirtualSettings
    from mskdex.pipeline.stages.synthesize import synthesize as stage

    stage(patient, options.of(VirtualSettings), out)


@virtual_app.command("preview")
@with_settings
def virtual_preview(
    patient: Annotated[str, typer.Argument(help="id of the virtual cohort, e.g. V0001")],
    options: StageOptions,
    out: Annotated[Path | None, typer.Option(help="PNG to write; {patient}.png if not given")] = None,
) -> None:
    """Draw one figure of a virtual patient: CT, labels, radiograph, object-wise DRRs."""
    from mskdex.config.virtual import VirtualSettings
    from mskdex.pipeline.stages.synthesize import preview

    preview(patient, options.of(VirtualSettings), out or Path(f"{patient}.png"))


@cohort_app.command("build")
@with_settings
def cohort_build(sheet: Path, options: StageOptions, out: Out) -> None:
    """Check the cohort sheet and write the patients, the exclusions and the objects."""
    from mskdex.pipeline.settings import CohortStage
    from mskdex.pipeline.stages.cohort import cohort as stage

    stage(sheet, options.of(CohortStage), out)


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
@with_settings
def cohort_identity(sheet: Path, patients: PatientsRoot, options: StageOptions, out: Out) -> None:
    """Refuse patients who are in the cohort under two ids."""
    from mskdex.config.cohort import CohortSettings
    from mskdex.pipeline.stages.identity import identity as stage

    stage(sheet, options.of(CohortSettings), patients, out)


@app.command()
@with_settings
def segment(row: Row, options: StageOptions, out: Out, edition: Edition = None) -> None:
    """Segment a patient's CT with TotalSegmentator."""
    from mskdex.pipeline.settings import SegmentStage
    from mskdex.pipeline.sources import recorded
    from mskdex.pipeline.stages.segment import segment as stage

    s, patient = options.of(SegmentStage), options.row(row)
    with recorded(patient, ["ct"], edition, out.parent):
        stage(patient, s.ct, s.device, out)


@app.command()
@with_settings
def quality(patients: PatientsRoot, table: Table, options: StageOptions, out: Out) -> None:
    """Flag segmentations that stand out in the cohort, and draw a contact sheet of each patient."""
    from mskdex.pipeline.settings import QualityStage
    from mskdex.pipeline.stages.quality import quality as stage

    stage(patients, table, options.of(QualityStage), out)


@app.command()
@with_settings
def folds(sheet: Path, options: StageOptions, out: Out) -> None:
    """Assign patients to folds."""
    from mskdex.pipeline.settings import FoldsStage
    from mskdex.pipeline.stages.folds import folds as stage

    s = options.of(FoldsStage)
    stage(sheet, s, out)


@app.command("import")
@with_settings
def import_(
    row: Row,
    options: StageOptions,
    out: Out,
    edition: Edition = None,
    own: Annotated[str, typer.Option(help="columns of the row whose files are kept in mind, as JSON")] = "[]",
) -> None:
    """Import a patient's CT, labels and radiograph."""
    from mskdex.pipeline.settings import ImportStage
    from mskdex.pipeline.sources import recorded
    from mskdex.pipeline.stages.importing import import_patient

    patient = options.row(row)
    settings = options.of(ImportStage, label_source=patient.get("label_source", ""))
    with recorded(patient, json.loads(own), edition, out):
        import_patient(patient, settings, out)


@app.command()
@with_settings
def quantities(patient: PatientDir, options: StageOptions, out: Out) -> None:
    """Sum volume, weighted volume and lean mass of every object over the CT's voxels."""
    from mskdex.pipeline.settings import Anatomy
    from mskdex.pipeline.stages.quantities import quantities as stage

    channels = options.of(Anatomy).channels
    stage(patient / "ct.nii.gz", patient / "labels.nii.gz", channels, out, patient / "import.json")


@app.command()
@with_settings
def render(
    patient: Annotated[list[Path], typer.Option(help="folder of an imported patient; give it again for more")],
    options: StageOptions,
    out: Annotated[Path, typer.Option(help="output; of several patients, the file's name in each one's folder")],
    poses: Annotated[Path | None, typer.Option(help="pose.json: render the registered bones at their poses")] = None,
) -> None:
    """Render the object-wise DRRs at the nominal pose, or the bones at their registered poses."""
    from mskdex.pipeline.settings import RenderStage
    from mskdex.pipeline.stages.project import render_aligned, render_nominal

    s = options.of(RenderStage)
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
@with_settings
def register(patient: PatientDir, options: StageOptions, out: Out) -> None:
    """Register each rigid body of the CT to the radiograph."""
    from mskdex.pipeline.settings import RegisterStage
    from mskdex.pipeline.stages.register import register as stage

    s = options.of(RegisterStage)
    ct, labels, imported = (patient / name for name in ("ct.nii.gz", "labels.nii.gz", "import.json"))
    stage(ct, labels, patient, s.channels, s.registration, s.rendering, out, imported)


@app.command()
@with_settings
def qc(patient: PatientDir, options: StageOptions, out: Out) -> None:
    """Draw the segmentation, and the registered bones over the radiograph."""
    from mskdex.pipeline.settings import Anatomy
    from mskdex.pipeline.stages.qc import qc as stage

    channels = options.of(Anatomy).channels
    stage(patient / "ct.nii.gz", patient / "labels.nii.gz", patient, patient / "pose.json", channels, out)


@app.command()
@with_settings
def calibrate(patient: PatientDir, options: StageOptions, out: Out) -> None:
    """Compare the radiograph's grey values with the attenuation of the CT at the registered pose."""
    from mskdex.pipeline.settings import CalibrateStage
    from mskdex.pipeline.stages.calibrate import calibrate as stage

    s = options.of(CalibrateStage)
    stage(patient / "ct.nii.gz", patient / "labels.nii.gz", patient, s.channels, s.calibration, out)


@app.command()
@with_settings
def simulate(patient: PatientDir, options: StageOptions, out: Out) -> None:
    """Make pairs of radiograph and DRRs from a registered patient's own CT."""
    from mskdex.pipeline.settings import SimulateStage
    from mskdex.pipeline.stages.simulate import simulate as stage

    stage(patient, options.of(SimulateStage), out)


@app.command()
@with_settings
def stack(patient: PatientDir, options: StageOptions, out: Out) -> None:
    """Put a patient's training sample together."""
    from mskdex.pipeline.settings import StackStage
    from mskdex.pipeline.stages.stack import stack as stage

    s = options.of(StackStage, patient=patient.name)
    drr, aligned, quantities = (
        patient / name for name in ("drr.safetensors", "aligned.safetensors", "quantities.parquet")
    )
    stage(
        drr, aligned, patient, quantities, s.cohort_channels, s.image, out,
        min_visible_fraction=s.min_visible_fraction, kept_because=s.kept_because, correct=s.correct,
    )  # fmt: skip


@app.command()
@with_settings
def train(
    patients: PatientsRoot,
    folds: Folds,
    options: StageOptions,
    out: Out,
    experiment: Annotated[str | None, typer.Option(help="name of an experiment of the config")] = None,
    fold: Annotated[int | None, typer.Option(help="the fold that is left out, from 0")] = None,
) -> None:
    """Train one fold of an experiment, from its last checkpoint where there is one."""
    from mskdex.pipeline.settings import TrainStage
    from mskdex.pipeline.stages.train import train as stage

    s = options.of(TrainStage, experiment=experiment, fold=fold)
    stage(patients, folds, s.fold, s.experiment, out, name=s.name)


@app.command("predict-fold")
def predict_fold(
    model: Path, patients: PatientsRoot, folds: Folds, fold: Annotated[int, typer.Option()], out: Out
) -> None:
    """Decompose the radiographs of a fold's test patients."""
    from mskdex.pipeline.stages.predict import predict_fold as stage

    stage(model, patients, folds, fold, out)


@app.command()
@with_settings
def predict(
    model: Annotated[Path, typer.Argument(help="model.safetensors of an experiment's fold")],
    options: StageOptions,
    out: Out,
    radiographs: Annotated[list[Path] | None, typer.Argument(help="files, or folders of them")] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="TSV or CSV with patient_id, radiograph and, where wanted, camera columns")
    ] = None,
    sdd_mm: Annotated[
        float | None, typer.Option(min=200, max=5000, help="source to detector, where neither sheet nor file says it")
    ] = None,
    pixel_mm: Annotated[
        float | None, typer.Option(min=0.05, max=10, help="pixel size, where neither sheet nor file says it")
    ] = None,
    device: Device = "auto",
    calibration: Calibration = None,
) -> None:
    """Volume and lean mass of every object from radiographs of new patients, with 90 % intervals and flags."""
    from mskdex.config.imaging import RadiographSettings
    from mskdex.pipeline.stages.predict_radiographs import predict_radiographs

    given = {k: v for k, v in {"sdd_mm": sdd_mm, "pixel_mm": pixel_mm}.items() if v is not None}
    settings = options.of(RadiographSettings).model_copy(update=given)
    predict_radiographs(model, radiographs or (), settings, out, sheet=sheet, calibration=calibration, device=device)


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
@with_settings
def report(results: Path, options: StageOptions, out: Out) -> None:
    """Write the HTML report."""
    from mskdex.config import Config
    from mskdex.pipeline.stages.report import report as stage

    stage(results, options.of(Config), out)


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
def config(what: Annotated[str, typer.Argument(help="yaml, schema or table")] = "yaml") -> None:
    """Print the default config, its JSON schema, or its documentation."""
    from mskdex.config.documentation import DOCUMENTS

    if what not in DOCUMENTS:
        msg = f"mskdex config {what}: choose one of {', '.join(DOCUMENTS)}"
        raise MskdexError(msg)
    typer.echo(DOCUMENTS[what](), nl=False)


def main() -> None:
    """Runs the command line; a user's mistake is one sentence on stderr and exit code 1."""
    run(app)
