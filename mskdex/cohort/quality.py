"""Which segmentations a human should look at: robust z-scores against the cohort."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mskdex.config.objects import Channel

LEAST_PATIENTS = 8
"""With fewer values no patient can stand out; no score is given."""

_MAD_TO_SD = 1.4826


def robust_z(values: np.ndarray) -> np.ndarray:
    """Distance from the median in units of the scaled median absolute deviation.

    Args:
        values: (n,), NaN where unknown.

    Returns:
        (n,), NaN where unknown or where fewer than `LEAST_PATIENTS` values are known. Where more than half of the
        values are alike, the scale is the mean absolute deviation, as Iglewicz and Hoaglin (1993) advise.
    """
    known = values[np.isfinite(values)]
    if known.size < LEAST_PATIENTS:
        return np.full(values.shape, np.nan)
    off = np.abs(known - np.median(known))
    scale = _MAD_TO_SD * np.median(off) or 1.2533 * off.mean()
    if scale == 0:
        return np.where(np.isfinite(values), 0.0, np.nan)
    return (values - np.median(known)) / scale


def structure_table(
    imports: Mapping[str, Mapping[str, Any]],
    channels: Sequence[Channel],
    flip_dice: Mapping[str, Mapping[str, float]] | None = None,
) -> pd.DataFrame:
    """One row for each patient and channel.

    Args:
        imports: content of every patient's import.json, by patient id.
        channels: those that the cohort has.
        flip_dice: by patient and channel, the Dice coefficient of the segmentation with that of the mirrored CT, where
            one was made.

    Returns:
        Columns patient_id, object, volume_cm3, mean_hu, pieces, largest_piece, truncated, present, flip_dice and the
        robust z-scores z_volume (of log volume), z_hu and z_left_right (of the log ratio of left to right). Structures
        that the scan cuts have no score of volume.
    """
    rows = []
    for patient, content in imports.items():
        for channel in channels:
            facts = content["structures"].get(channel.name)
            dice = (flip_dice or {}).get(patient, {}).get(channel.name, np.nan)
            row = {"patient_id": patient, "object": channel.name, "present": facts is not None, "flip_dice": dice}
            rows.append(row | _kept(facts))
    table = pd.DataFrame(rows)
    table["z_volume"] = table["z_hu"] = table["z_left_right"] = np.nan
    whole = table["volume_cm3"].where(~table["truncated"].astype(bool))
    logs = np.log(whole.to_numpy(dtype=float))
    hu = table["mean_hu"].to_numpy(dtype=float)
    where = {c.name: np.flatnonzero((table["object"] == c.name).to_numpy()) for c in channels}
    scores = {name: np.full(len(table), np.nan) for name in ("z_volume", "z_hu", "z_left_right")}
    for channel in channels:
        rows_of = where[channel.name]
        scores["z_volume"][rows_of] = robust_z(logs[rows_of])
        scores["z_hu"][rows_of] = robust_z(hu[rows_of])
        other = where.get(f"{channel.object}_right") if channel.side == "left" else None
        if other is not None:
            scores["z_left_right"][rows_of] = robust_z(logs[rows_of] - logs[other])
    return table.assign(**scores)


def flags(
    table: pd.DataFrame,
    limit: float,
    warnings: Mapping[str, Sequence[str]] | None = None,
    findings: Mapping[str, Sequence[str]] | None = None,
    least_dice: float = 0.0,
) -> pd.DataFrame:
    """What stands out, in words.

    Args:
        table: of `structure_table`.
        limit: scores beyond this, either way, are flagged.
        warnings: those of each patient's import.
        findings: what the registration and the calibration found wrong with each pair of radiograph and CT.
        least_dice: a Dice coefficient with the segmentation of the mirrored CT below this is flagged.

    Returns:
        Columns patient_id, flags (number), reasons; one row a patient, findings before warnings of the import before
        all else, of the patients and of each one's reasons; then most flags first.
    """
    warnings, findings = warnings or {}, findings or {}
    found = {
        p: [*findings.get(p, ()), *(f"import: {w}" for w in warnings.get(p, ()))] for p in table["patient_id"].unique()
    }
    for row in table.to_dict("records"):
        notes, name = found[row["patient_id"]], row["object"]
        notes += [r for r in _stands_out(row, limit, least_dice) if not any(r in t for t in notes)]
        if row["present"] and row["largest_piece"] < 0.9 and not any(f"{name} is in " in t for t in notes):
            notes.append(f"{name} in {int(row['pieces'])} pieces")
    rows = [
        {
            "patient_id": p,
            "flags": len(r),
            "reasons": "; ".join(r),
            "found": bool(findings.get(p)),
            "warned": bool(warnings.get(p)),
        }
        for p, r in found.items()
    ]
    by = ["found", "warned", "flags", "patient_id"]
    order = pd.DataFrame(rows).sort_values(by, ascending=[False, False, False, True])
    return order.drop(columns=["found", "warned"]).reset_index(drop=True)


def _stands_out(row: Mapping[Any, Any], limit: float, least_dice: float) -> list[str]:
    name = row["object"]
    if not row["present"]:
        return [f"{name} is absent"]
    scores = (("z_volume", "volume"), ("z_hu", "mean HU"), ("z_left_right", "left-right ratio"))
    notes = [f"{words} of {name} (z {row[key]:+.1f})" for key, words in scores if abs(row[key]) > limit]
    if row["flip_dice"] < least_dice:
        notes.append(f"{name} is segmented otherwise in the mirrored CT (Dice {row['flip_dice']:.2f})")
    return notes


def _kept(facts: Mapping[str, Any] | None) -> dict[str, Any]:
    if facts is None:
        return {"volume_cm3": np.nan, "mean_hu": np.nan, "pieces": 0, "largest_piece": np.nan, "truncated": False}
    return {k: facts[k] for k in ("volume_cm3", "mean_hu", "pieces", "largest_piece", "truncated")}
