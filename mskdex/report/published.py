"""The paper's published figures: of another data set, for orientation beside one's own."""

import csv
import functools
from pathlib import Path

SOURCE = "Gu et al., MICCAI 2023: 539 other patients, four-fold cross-validation"
"""What every published value has to be marked with."""

_FOLDER = Path(__file__).parent


@functools.cache
def _values() -> dict[tuple[str, str, str], tuple[float, float]]:
    with (_FOLDER / "published.csv").open(encoding="utf-8") as handle:
        return {
            (row["statistic"], row["quantity"], row["object"]): (float(row["proposed"]), float(row["conventional"]))
            for row in csv.DictReader(handle)
        }


def published(statistic: str, quantity: str, name: str) -> tuple[float, float] | None:
    """The paper's value of (proposed, conventional) for an object of that name; None where it has none.

    Args:
        statistic: pcc, icc, psnr_db or ssim.
        quantity: e.g. lean_mass_g.
        name: the object, without side.

    Source: MSKdeX (Gu et al. 2023), tables 1 and 3 and supplementary table 1.
    """
    return _values().get((statistic, quantity, name))


@functools.cache
def published_ablation() -> dict[tuple[float, bool], float]:
    """Mean PCC of the muscles' lean mass by (lambda_is, bone loss used), 404 training and 135 test patients.

    Source: MSKdeX (Gu et al. 2023), table 2.
    """
    with (_FOLDER / "published_ablation.csv").open(encoding="utf-8") as handle:
        return {(float(r["lambda_is"]), r["bone_loss"] == "yes"): float(r["pcc"]) for r in csv.DictReader(handle)}
