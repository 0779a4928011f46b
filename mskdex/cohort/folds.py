"""Patient-level folds for cross-validation."""

import hashlib
from collections.abc import Iterable

import pandas as pd

from mskdex.cohort.columns import EVALUATE_ONLY, TRAIN_AND_EVALUATE
from mskdex.config.learning import FoldSettings
from mskdex.errors import MskdexError

NO_FOLD = -1
"""What stands for the fold of patients who are evaluated only: nobody trains on them."""


def assign_folds(patients: pd.DataFrame, settings: FoldSettings) -> pd.DataFrame:
    """Assigns every patient to the fold whose test set it is in.

    Within each sex, persons are ordered by a hash of seed and id and dealt out in turn, so that folds are equal in
    size and in sex, and do not depend on the order of the sheet's rows. Rows of one person stay together; those with
    the most rows are dealt first. Patients whose use is `evaluate_only` are dealt to no fold.

    Args:
        patients: columns patient_id, sex (which may be missing) and, where rows are tied, person; `use`, without which
            all are trained on and evaluated.
        settings: number of folds and seed.

    Returns:
        Columns patient_id, fold (`NO_FOLD` for patients who are evaluated only), person; sorted by patient_id.

    Raises:
        MskdexError: fewer persons to train on than folds.
    """
    table = pd.DataFrame({"patient_id": patients["patient_id"], "sex": patients["sex"].fillna("").astype(str)})
    table["person"] = patients.get("person", patients["patient_id"])
    dealt = trained_on(patients).to_numpy()
    people = table[dealt].groupby("person", as_index=False).agg(sex=("sex", "max"), rows=("patient_id", "size"))
    if detail := too_few(patients, settings.count):
        raise MskdexError(detail)
    people["order"] = [_order(settings.seed, p) for p in people["person"]]
    people = people.sort_values(["sex", "rows", "order"], ascending=[True, False, True])
    folds = dict(zip(people["person"], _fold_of_each(people["sex"], people["rows"], settings.count), strict=True))
    table["fold"] = table["person"].map(folds).where(dealt, NO_FOLD).astype(int)
    return table[["patient_id", "fold", "person"]].sort_values("patient_id", ignore_index=True)


def trained_on(patients: pd.DataFrame) -> pd.Series:
    """Which rows of a sheet are trained on, bool by row.

    Args:
        patients: rows of the sheet; without column `use` all are trained on.
    """
    use = patients.get("use", pd.Series(TRAIN_AND_EVALUATE, patients.index))
    return use != EVALUATE_ONLY


def too_few(patients: pd.DataFrame, folds: int) -> str:
    """What is said where fewer persons are to be trained on than there are folds; "" where there are enough.

    Args:
        patients: as `assign_folds` takes them.
        folds: their number.
    """
    trained = patients[trained_on(patients)]
    persons, rows = trained.get("person", trained["patient_id"]).nunique(), len(trained)
    if persons >= folds:
        return ""
    who = f"{rows} patients" if persons == rows else f"{rows} patients, {persons} persons,"
    who += f" to train on ({len(patients) - rows} are evaluate_only)" if rows < len(patients) else ""
    return f"{who} cannot fill {folds} folds; add patients or lower folds.count"


def _fold_of_each(sexes: Iterable[str], sizes: Iterable[int], count: int) -> list[int]:
    """The fold of each person in turn: the one with the fewest rows of that sex, of these the smallest, the first."""
    of_sex: dict[str, list[int]] = {}
    total = [0] * count
    found = []
    for sex, size in zip(sexes, sizes, strict=True):
        own = of_sex.setdefault(sex, [0] * count)
        fold = min(range(count), key=lambda k: (own[k], total[k], k))
        own[fold] += size
        total[fold] += size
        found.append(fold)
    return found


def _order(seed: int, patient_id: str) -> str:
    return hashlib.sha256(f"{seed}:{patient_id}".encode()).hexdigest()
