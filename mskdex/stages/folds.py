"""Stage `folds`: assigns the sheet's patients to folds."""

from pathlib import Path

from mskdex.artifacts import write_parquet
from mskdex.cohort import read_sheet
from mskdex.config.cohort import CohortSettings
from mskdex.config.learning import FoldSettings
from mskdex.folds import assign_folds


def folds(sheet: Path, cohort: CohortSettings, settings: FoldSettings, out: Path) -> None:
    """Writes folds.parquet: patient_id, fold (the one whose test set holds the patient)."""
    rows = read_sheet(sheet, cohort, files=False)
    write_parquet(out, assign_folds(rows[~rows["exclude"].astype(bool)], settings))
