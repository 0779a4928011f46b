"""Agreement in sub-groups of the tested patients: sex, age, body mass index, grey scale, X-ray unit,
affected side."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.evaluation.added_value import MEAN_OF_MUSCLES, SEXES
from mskdex.evaluation.agreement import Pairs, statistics, undefined
from mskdex.evaluation.summaries import panels
from mskdex.io.artifacts import read_json

OLD_YEARS = 65
"""Where WHO's statistics begin the older age."""

OVERWEIGHT_KG_M2 = 25.0
"""WHO's limit of overweight."""

MEASURES = ("pcc", "icc21", "bias_percent", "slope", "intercept_percent")
"""Calibration is the regression of the truth on the prediction; its intercept is in per cent of the mean truth."""

AFFECTED, OTHER_SIDE = "affected side", "other side"
"""Groups of sides of patients, by the sheet's column affected_side."""

COLUMNS = ("method", "quantity", "structure", "kind", "group", "measure", "value", "n", "undefined")


def scale_group(scale: str) -> str:
    """Name of the group of radiographs of a grey scale, absolute or relative."""
    return f"{scale} grey scale"


def device_group(device: str) -> str:
    """Name of the group of radiographs of an X-ray unit."""
    return f"unit {device}"


def with_examinations(patients: pd.DataFrame, scales: pd.Series, patients_root: Path) -> pd.DataFrame:
    """Demographics with what is known of each radiograph: `scale` of its grey values, and `device` by the import.

    Args:
        patients: demographics, indexed by patient_id.
        scales: absolute or relative, indexed by patient.
        patients_root: results/patients; the devices are those of the import.
    """
    read = {str(p): read_json(patients_root / str(p) / "import.json") for p in patients.index}
    devices = [read[str(p)].get("radiograph", {}).get("device") or None for p in patients.index]
    known = pd.Series(devices, patients.index, dtype=object)
    return patients.assign(scale=scales.reindex(patients.index), device=known)


def subgroups(patients: pd.DataFrame) -> dict[str, np.ndarray]:
    """Which patients are in each group; who lacks the value is in none.

    Args:
        patients: demographics and, where known, `scale` and `device`, which make groups where there are several.
    """
    absent = pd.Series(np.nan, patients.index)
    known = {c: pd.to_numeric(patients.get(c, absent), errors="coerce") for c in ("age", "height_cm", "weight_kg")}
    bmi = known["weight_kg"] / (known["height_cm"] / 100.0) ** 2
    sex = patients.get("sex", pd.Series(None, patients.index, dtype=object))
    found = {name: sex == code for name, code in SEXES.items()}
    found |= {
        f"below {OLD_YEARS} years": known["age"] < OLD_YEARS,
        f"{OLD_YEARS} years or more": known["age"] >= OLD_YEARS,
    }
    limit = f"{OVERWEIGHT_KG_M2:g} kg/m²"
    found |= {f"BMI below {limit}": bmi < OVERWEIGHT_KG_M2, f"BMI {limit} or more": bmi >= OVERWEIGHT_KG_M2}
    for column, name_of in (("scale", scale_group), ("device", device_group)):
        of = patients.get(column, absent)
        values = sorted(of.dropna().unique())
        found |= {name_of(value): of == value for value in values if len(values) > 1}
    return {name: np.asarray(members, dtype=bool) for name, members in found.items() if np.asarray(members).any()}


def side_groups(patients: pd.DataFrame, sides: np.ndarray) -> dict[str, np.ndarray]:
    """Which sides of which patients are affected, and which are not; midline and unknown is neither.

    Args:
        patients: demographics and, where known, `affected_side`: left, right, both or none.
        sides: (channels,) left, right or midline.

    Returns:
        (patients, channels) by group, where the sheet tells the side of somebody whose one hip is affected.
    """
    affected_side = patients.get("affected_side", pd.Series(None, patients.index, dtype=object))
    side = affected_side.to_numpy(dtype=object)[:, None]
    if not np.isin(side, ["left", "right"]).any():
        return {}
    affected = (side == sides) | ((side == "both") & (sides != "midline"))
    other = ~affected & np.isin(side, ["left", "right", "none"]) & (sides != "midline")
    return {AFFECTED: affected, OTHER_SIDE: other}


def subgroup_table(points: pd.DataFrame, methods: list[str], patients: pd.DataFrame) -> pd.DataFrame:
    """Agreement and calibration in each group; a structure's value is the mean of its sides', as everywhere.

    Args:
        points: completed points of the reported folds.
        methods: those to look at.
        patients: demographics, with scale, device and affected_side where known, indexed by patient_id.

    Returns:
        `COLUMNS`; `mean_of_muscles` is the mean over the muscles that are defined.
    """
    rows: list[dict[str, Any]] = []
    for method, quantity, panel in panels(points[points["method"].isin(methods)]):
        kinds: dict[str, str] = dict(panel.channels[["structure", "kind"]].itertuples(index=False))
        people, sides = patients.reindex(panel.patients), panel.channels["side"].to_numpy(dtype=object)
        groups = {name: members[:, None] for name, members in subgroups(people).items()}
        paired = [(name, own) for name, own in panel.objects if (sides[own] != "midline").all()]
        for group, members in (groups | side_groups(people, sides)).items():
            objects = paired if group in (AFFECTED, OTHER_SIDE) else panel.objects
            own = panel.pairs
            pairs = Pairs(own.truth, own.predicted, own.known & members, own.groups)
            common = {"method": method, "quantity": quantity, "group": group}
            rows += [common | row for row in _rows(pairs, objects, kinds)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(pairs: Pairs, objects: list[tuple[str, list[int]]], kinds: dict[str, str]) -> Iterator[dict[str, Any]]:
    values, n = _values(pairs), pairs.known.sum(axis=0)
    for measure in MEASURES:
        why = [
            undefined("slope" if "intercept" in measure else measure.split("_percent")[0], pairs, c)
            for c in range(len(n))
        ]
        muscles = []
        for name, members in objects:
            defined = [c for c in members if not why[c]]
            value = float(values[measure][defined].mean()) if defined else float("nan")
            reason = None if defined else "; ".join(dict.fromkeys(str(why[c]) for c in members))
            count = int(n[members].max())
            yield {
                "structure": name,
                "kind": kinds[name],
                "measure": measure,
                "value": value,
                "n": count,
                "undefined": reason,
            }
            muscles += [value] * (kinds[name] == "muscle" and bool(defined))
        yield {
            "structure": MEAN_OF_MUSCLES,
            "kind": "muscle",
            "measure": measure,
            "n": int(n.max(initial=0)),
            "value": float(np.mean(muscles)) if muscles else float("nan"),
            "undefined": None if muscles else "defined in no muscle",
        }


def _values(pairs: Pairs) -> dict[str, np.ndarray]:
    found = {name: value[0] for name, value in statistics(pairs, np.ones((1, len(pairs.truth)))).items()}
    count = np.maximum(pairs.known.sum(axis=0), 1)
    mean, predicted = (np.where(pairs.known, v, 0.0).sum(axis=0) / count for v in (pairs.truth, pairs.predicted))
    with np.errstate(invalid="ignore", divide="ignore"):
        found["bias_percent"] = 100.0 * found["bias"] / mean
        found["intercept_percent"] = 100.0 * (mean - found["slope"] * predicted) / mean
    return found
