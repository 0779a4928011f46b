"""What the Snakefile asks the package while it is read: light, and without side effects."""

import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mskdex.cohort.columns import PATHS
from mskdex.cohort.folds import NO_FOLD, assign_folds, trained_on
from mskdex.config import Config
from mskdex.config.learning import FoldSettings
from mskdex.errors import MskdexError
from mskdex.imaging.label_names import names_beside
from mskdex.pipeline.settings import DEMOGRAPHICS, PERSONS, cohort_stage
from mskdex.pipeline.sources import Digests, folder_files, text_digest

logging.getLogger("mskdex").addHandler(logging.NullHandler())  # the stages say it again, in their logs

VIRTUAL_ROOT = Path("results/virtual")
SEGMENTED_ROOT = Path("results/segmentation")


def put_commands_on_path() -> None:
    """Makes `mskdex` findable for jobs: it stands beside the python that runs Snakemake, activated or not."""
    folders = os.environ["PATH"].split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), *folders])


def sheet_path(config: Config) -> Path:
    """The cohort sheet: the user's, or the one that rule `synthesize_sheet` writes."""
    return Path(config.cohort.sheet) if config.cohort.sheet else VIRTUAL_ROOT / "cohort.tsv"


def read_cohort(config: Config) -> pd.DataFrame:
    """The rows of the cohort sheet, with paths that rules can take as input.

    Raises:
        MskdexError: lists every problem of the sheet.
    """
    if config.cohort.sheet:
        from mskdex.cohort.sheet import read_sheet

        sheet = read_sheet(sheet_path(config), config.cohort)
        root = Path(config.cohort.data_root) if config.cohort.data_root else sheet_path(config).parent
        for column in PATHS:
            sheet[column] = [portable(path, root) if isinstance(path, str) else path for path in sheet[column]]
        sheet["labels"] = [
            path if isinstance(path, str) else str(SEGMENTED_ROOT / patient / "labels.nii.gz")
            for path, patient in zip(sheet["labels"], sheet["patient_id"], strict=True)
        ]
    else:
        from mskdex.virtual.population import cohort_sheet

        sheet = cohort_sheet(config.virtual)
        for column in ("ct", "labels", "radiograph"):
            sheet[column] = [str(VIRTUAL_ROOT / p) for p in sheet[column]]
        sheet["person"] = sheet["patient_id"]
        sheet["allow_id_mismatch"] = False
    return sheet


def included(sheet: pd.DataFrame) -> pd.DataFrame:
    """The rows that are not excluded."""
    return sheet[~sheet["exclude"].astype(bool)].reset_index(drop=True)


def check_kept_pairs(config: Config, sheet: pd.DataFrame) -> None:
    """Refuses a `cohort.keep_pairs` that names nobody of the sheet or gives no reason.

    Raises:
        MskdexError: names the patient.
    """
    known = set(sheet["patient_id"])
    for patient, reason in config.cohort.keep_pairs.items():
        if patient not in known:
            msg = f"cohort.keep_pairs: {patient} is not in {sheet_path(config)}; correct the id or remove it"
            raise MskdexError(msg)
        if not reason.strip():
            msg = f"cohort.keep_pairs: {patient} has no reason; say why radiograph and CT belong together all the same"
            raise MskdexError(msg)


def sheet_rows(sheet: pd.DataFrame) -> dict[str, dict[str, object]]:
    """The rows by patient_id, without missing cells; a cell of a large sheet is slow to look up in pandas."""
    rows = sheet.to_dict("records")
    return {row["patient_id"]: {str(k): v for k, v in row.items() if not pd.isna(v)} for row in rows}


def left_out_objects(config: Config, sheet: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """The objects that not every label source of the cohort has, each with those that lack it."""
    from mskdex.pipeline.stages.cohort import lacking, lacking_objects

    if config.cohort.sheet:
        return lacking_objects(sheet, cohort_stage(config))
    from mskdex.imaging.label_names import match_names
    from mskdex.virtual.names import structure_names

    names = structure_names(config.virtual)
    return lacking(config.channels, {"the virtual patients": [c for c in config.channels if match_names(c, names)]})


def portable(path: str, root: Path) -> str:
    """A path of the sheet as it stays when the project is moved, its data with it.

    Args:
        path: absolute.
        root: where the sheet's paths start, as the config gives it.

    Returns:
        The path as that root leads to it, from the project's folder on where it lies in it. A file in results/ that
        a sheet names is the user's, not a rule's: it stays absolute.
    """
    found = Path(path)
    if found.is_relative_to(root.resolve()):
        found = root / found.relative_to(root.resolve())
    if found.is_absolute() and found.is_relative_to(Path.cwd()):
        found = found.relative_to(Path.cwd())
    return path if found.parts[:1] == VIRTUAL_ROOT.parts[:1] else str(found)


def own_columns(row: Mapping[str, Any]) -> list[str]:
    """Columns of a row whose path is a user's, not one that a rule makes."""
    made = (VIRTUAL_ROOT, SEGMENTED_ROOT)
    return [c for c in PATHS if row.get(c) and not any(Path(row[c]).is_relative_to(folder) for folder in made)]


def import_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the import takes from a row, but for the files: demographics are no business of it."""
    return {key: value for key, value in row.items() if key not in {*DEMOGRAPHICS, *PERSONS, *PATHS, "data_root"}}


def virtual_label_names(row: Mapping[str, Any]) -> list[str]:
    """The JSON of names beside a virtual patient's label map; nothing for other patients."""
    labels = Path(row["labels"])
    return [str(names_beside(labels))] if labels.is_relative_to(VIRTUAL_ROOT) else []


def folds_of_patients(sheet: pd.DataFrame, settings: FoldSettings) -> tuple[dict[str, int], str]:
    """The fold of each patient and, where there are too few for the folds, why nothing can be trained.

    Patients who are evaluated only have `NO_FOLD`. Too few are all given the same fold, so that what comes before the
    training can be planned and made; rule `folds` stops at them.
    """
    try:
        table = assign_folds(sheet, settings)[["patient_id", "fold"]]
        return {str(p): int(f) for p, f in table.itertuples(index=False)}, ""
    except MskdexError as error:
        advice = "nothing can be trained; --until stack qc quality collect makes what needs no folds"
        folds = trained_on(sheet).map({True: 0, False: NO_FOLD})
        return dict(zip(sheet["patient_id"].astype(str), folds, strict=True)), f"{error}; {advice}"


def persons_digest(sheet: pd.DataFrame) -> str:
    """Hash of what the search for patients twice in the cohort takes from the sheet beside the files."""
    return text_digest(sheet[["patient_id", "person", "allow_id_mismatch"]].to_json(orient="values"))


def rows_digest(sheet: pd.DataFrame) -> str:
    """Hash of what the cohort's summary takes from the sheet, in its order: all but files and cameras."""
    columns = ["patient_id", "label_source", *DEMOGRAPHICS]
    return text_digest(sheet[columns].to_json(orient="values"))


def files_digest(files: Mapping[str, Path], digests: Digests) -> str:
    """Hash of names and contents; a file that is absent counts as absent."""
    return text_digest(json.dumps([(name, digests.of(p) if p.is_file() else None) for name, p in files.items()]))


def starts_digest(config: Config, patient: str, digests: Digests) -> str:
    """Hash of a patient's start poses; the same for all patients without any."""
    file = Path(config.registration.starts or os.devnull) / f"{patient}.json"
    return digests.of(file) if file.is_file() else "none"


def require_starting_models(config: Config) -> None:
    """Every model that a training shall go on from is there.

    Raises:
        MskdexError: names the experiment and the file that is not.
    """
    for name, experiment in config.experiments.items():
        for fold in config.trained_folds:
            start = experiment.of_fold(fold).start_from
            if start and not Path(start).is_file():
                msg = f"experiments.{name}.start_from: {start} does not exist; give a trained fold's model.safetensors"
                raise MskdexError(msg)


def model_digest(config: Config, experiment: str, fold: int, digests: Digests) -> str:
    """Hash of the model that a fold's training goes on from; "none" without one."""
    start = config.experiments[experiment].of_fold(fold).start_from
    return files_digest({"model": Path(start)}, digests) if start else "none"


def comparators_digest(config: Config, digests: Digests) -> str:
    """Hash of the names and tables of further methods, in their order."""
    return files_digest({name: Path(path) for name, path in config.evaluation.comparators.items()}, digests)


def atlas_digest(config: Config, digests: Digests) -> str:
    """Hash of the atlas that virtual patients are made from; "none" for the built-in anatomy."""
    if not config.virtual.atlases:
        return "none"
    folders = [Path(a) for a in config.virtual.atlases]
    files = {f"{n}/{p.relative_to(f)}": p for n, f in enumerate(folders) for p in folder_files(f)}
    return files_digest(files, digests)
