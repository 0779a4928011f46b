"""Training and predicting."""

from pathlib import Path
from typing import Annotated

import typer

from mskdex.errors import MskdexError
from mskdex.pipeline.cli.options import Out, PatientsRoot
from mskdex.pipeline.stage_options import StageOptions, with_settings

app = typer.Typer()

Folds = Annotated[Path, typer.Option(help="folds.parquet")]
Calibration = Annotated[
    Path | None,
    typer.Option(help="results/evaluation of this model, or predictions.parquet of patients that it has not seen"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i")]


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


@app.command("predict-external")
def predict_external(model: Path, patients: PatientsRoot, folds: Folds, out: Out) -> None:
    """Predict the patients whom no fold trains on."""
    from mskdex.pipeline.stages.predict import predict_external as stage

    stage(model, patients, folds, out)


@app.command()
@with_settings
def predict(
    options: StageOptions,
    out: Out,
    model: Annotated[
        str | None, typer.Argument(help="model.safetensors of an experiment's fold, or a name; left out with --model")
    ] = None,
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
    named: Annotated[str | None, typer.Option("--model", help="name of a model, see mskdex model list")] = None,
    dicom_out: Annotated[
        Path | None,
        typer.Option(help="folder for DICOM objects, which carry the patient's identity; not within results"),
    ] = None,
    dicomweb: Annotated[str | None, typer.Option(help="DICOMweb server that has the study, see docs/node.md")] = None,
    study: Annotated[str | None, typer.Option(help="Study Instance UID of the server's radiographs to predict")] = None,
    stow: Annotated[
        bool, typer.Option("--stow", help="store the results as DICOM objects in the server's study")
    ] = False,
    sex: Annotated[str | None, typer.Option(help="F or M, of the patient of a single radiograph")] = None,
    age: Annotated[float | None, typer.Option(min=0, max=120, help="in years, likewise")] = None,
    height_cm: Annotated[float | None, typer.Option(min=40, max=250, help="likewise")] = None,
    weight_kg: Annotated[float | None, typer.Option(min=2, max=400, help="likewise")] = None,
) -> None:
    """Volume and lean mass of every object from radiographs of new patients, with 90 % intervals and flags.

    Where age, sex, height and weight are known, from these options, the sheet or the DICOM header, there is a second
    estimate that is joined with them.
    """
    from mskdex.clinic.model_store import find_model
    from mskdex.cohort.columns import COLUMNS
    from mskdex.config.imaging import RadiographSettings
    from mskdex.pipeline.stages.predict_radiographs import predict_radiographs

    if named is not None:
        radiographs = [*([Path(model)] if model else []), *(radiographs or ())]
    elif model is None:
        msg = "no model is given; name a model.safetensors, or one of mskdex model list with --model"
        raise MskdexError(msg)
    path = find_model(named or model or "")
    given = {k: v for k, v in {"sdd_mm": sdd_mm, "pixel_mm": pixel_mm}.items() if v is not None}
    settings = options.of(RadiographSettings).model_copy(update=given)
    if dicomweb or study or stow:
        if not (dicomweb and study) or radiographs or sheet:
            msg = "give --dicomweb and --study together, and neither files nor a sheet with them"
            raise MskdexError(msg)
        from mskdex.pipeline.stages.predict_study import predict_study

        predict_study(
            path,
            dicomweb,
            study,
            settings,
            out,
            stow=stow,
            calibration=calibration,
            device=device,
            dicom_out=dicom_out,
        )
        return
    demographics = {"sex": sex, "age": age, "height_cm": height_cm, "weight_kg": weight_kg}
    person = {k: v for k, v in demographics.items() if v is not None}
    if sex is not None:
        cell = COLUMNS["sex"].parse(sex.strip())
        if cell.problem or cell.value is None:
            raise typer.BadParameter(cell.problem or "write F or M", param_hint="--sex")
        person["sex"] = cell.value
    predict_radiographs(
        path,
        radiographs or (),
        settings,
        out,
        sheet=sheet,
        calibration=calibration,
        person=person,
        device=device,
        dicom_out=dicom_out,
    )
