"""What the Snakefile asks the package while it is read: light, and without side effects."""

import hashlib
import logging
import os
import sys
from pathlib import Path

import pandas as pd

from mskdex.config import Config
from mskdex.config.stages import cohort_stage

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
    """The rows of the cohort sheet that are not excluded, with paths that rules can take as input.

    Raises:
        MskdexError: lists every problem of the sheet.
    """
    if config.cohort.sheet:
        from mskdex.cohort import read_sheet

        sheet = read_sheet(sheet_path(config), config.cohort)
        blank = sheet["labels"].isna()
        sheet.loc[blank, "labels"] = [str(SEGMENTED_ROOT / p / "labels.nii.gz") for p in sheet.loc[blank, "patient_id"]]
    else:
        from mskdex.virtual.population import cohort_sheet

        sheet = cohort_sheet(config.virtual)
        for column in ("ct", "labels", "radiograph"):
            sheet[column] = [str(VIRTUAL_ROOT / p) for p in sheet[column]]
        sheet["person"] = sheet["patient_id"]
        sheet["allow_id_mismatch"] = False
    return sheet[~sheet["exclude"].astype(bool)].reset_index(drop=True)


def sheet_rows(sheet: pd.DataFrame) -> dict[str, dict[str, object]]:
    """The rows by patient_id, without missing cells; a cell of a large sheet is slow to look up in pandas."""
    rows = sheet.to_dict("records")
    return {row["patient_id"]: {str(k): v for k, v in row.items() if not pd.isna(v)} for row in rows}


def left_out_objects(config: Config, sheet: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """The objects that not every label source of the cohort has, each with those that lack it."""
    from mskdex.stages.cohort import lacking, lacking_objects

    if config.cohort.sheet:
        return lacking_objects(sheet, cohort_stage(config))
    from mskdex.imaging.label_names import match_names
    from mskdex.virtual.names import structure_names

    names = structure_names(config.virtual)
    return lacking(config.channels, {"the virtual patients": [c for c in config.channels if match_names(c, names)]})


def sheet_digest(sheet: pd.DataFrame, columns: list[str]) -> str:
    """Hash of some columns of the sheet, whatever the order of its rows."""
    lines = sheet[columns].fillna("").astype(str).agg("\t".join, axis=1).sort_values()
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
