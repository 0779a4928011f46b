"""Patient-level folds for cross-validation."""

import hashlib

import pandas as pd

from mskdex.config.learning import FoldSettings
from mskdex.errors import MskdexError


def assign_folds(patients: pd.DataFrame, settings: FoldSettings) -> pd.DataFrame:
    """Assigns every patient to the fold whose test set it is in.

    Within each sex, patients are ordered by a hash of seed and id and dealt out in turn, so that folds
    are equal in size and in sex, and do not depend on the order of the sheet's rows.

    Args:
        patients: columns patient_id and sex (which may be missing).
        settings: number of folds and seed.

    Returns:
        Columns patient_id, fold; sorted by patient_id.

    Raises:
        MskdexError: fewer patients than folds.
    """
    if len(patients) < settings.count:
        msg = f"{len(patients)} patients cannot fill {settings.count} folds; add patients or lower folds.count"
        raise MskdexError(msg)
    dealt = pd.DataFrame(
        {
            "patient_id": patients["patient_id"],
            "sex": patients["sex"].fillna("").astype(str),
            "order": [_order(settings.seed, p) for p in patients["patient_id"]],
        }
    ).sort_values(["sex", "order"])
    dealt["fold"] = [i % settings.count for i in range(len(dealt))]
    return dealt[["patient_id", "fold"]].sort_values("patient_id", ignore_index=True)


def _order(seed: int, patient_id: str) -> str:
    return hashlib.sha256(f"{seed}:{patient_id}".encode()).hexdigest()
