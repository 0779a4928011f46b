"""Stage `folds`: assigns the sheet's patients to folds."""

from pathlib import Path

from mskdex.cohort.folds import assign_folds
from mskdex.cohort.sheet import read_sheet
from mskdex.config.learning import FoldSettings
from mskdex.io.artifacts import write_parquet
from mskdex.pipeline.settings import FoldsStage


def folds(sheet: Path, settings: FoldsStage, out: Path) -> None:
    """Writes folds.parquet: patient_id, fold (whose test set holds the patient; -1 if evaluated only), person."""
    rows = read_sheet(sheet, settings.cohort, files=False)
    included = rows[~rows["exclude"]]
    write_parquet(out, assign_folds(included, FoldSettings(count=settings.count, seed=settings.seed)))
