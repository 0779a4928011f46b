"""The stages of one patient, from the files of the sheet to a training sample."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mskdex.pipeline.cli.options import Out, PatientDir
from mskdex.pipeline.stage_options import StageOptions, with_settings

app = typer.Typer()

Row = Annotated[str, typer.Option(help="patient_id of the config's sheet; or the row as JSON")]
Edition = Annotated[str | None, typer.Option(help="what the workflow calls the files' content; null keeps no record")]


@app.command()
@with_settings
def segment(row: Row, options: StageOptions, out: Out, edition: Edition = None) -> None:
    """Segment a patient's CT with the program that cohort.segmenter names."""
    from mskdex.pipeline.settings import SegmentStage
    from mskdex.pipeline.sources import recorded
    from mskdex.pipeline.stages.segment import segment as stage

    s, patient = options.of(SegmentStage), options.row(row)
    with recorded(patient, ["ct"], edition, out.parent):
        stage(patient, s, out)


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
            render_nominal(ct, labels, camera, s.channels, s.image, s.rendering, target, len(patient))
        else:
            own = poses if len(patient) == 1 else folder / poses.name
            field = folder / "field.nii.gz"
            render_aligned(ct, labels, camera, own, s.channels, s.image, s.rendering, target, field, len(patient))


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
        drr,
        aligned,
        patient,
        quantities,
        s.cohort_channels,
        s.image,
        out,
        min_visible_fraction=s.min_visible_fraction,
        kept_because=s.kept_because,
        correct=s.correct,
    )
