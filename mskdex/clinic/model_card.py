"""A model's card in Markdown: what it was trained on, its settings, evidence and limits."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mskdex.errors import MskdexError
from mskdex.io.tensors import read_tensors
from mskdex.io.user_files import read_user_parquet
from mskdex.models.flags import DISTANCE_TOLERANCE, EDGE_SHARE, INTENSITY_TOLERANCE
from mskdex.models.model import FORMAT, ModelCard

LICENCE = (
    "The software is under the Apache License 2.0. The weights are their trainers' own, who decide under what terms "
    "they and the data behind them may be used."
)
_LONGEST = 6
"""A longer list, as of a curve's knots, is counted."""
_SHOWN = ("volume_cm3", "lean_mass_g")


def model_card(path: Path) -> str:
    """Markdown of a model file; patients are counted, never named.

    Args:
        path: model.safetensors; a predictions.parquet beside it is the evidence.

    Raises:
        MskdexError: not a model.
    """
    _, facts = read_tensors(path)
    raw = facts.get("card", {})
    if raw.get("format") != FORMAT:
        msg = f"{path} is not a model of format {FORMAT}; give the model.safetensors of an experiment's fold"
        raise MskdexError(msg)
    card = ModelCard.from_dict(raw)
    with open(path, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    parts = [
        f"# {card.name}, fold {card.fold}",
        f"Takes hip radiographs apart into objects and gives their volume and lean mass (MSKdeX). sha256 `{digest}`.",
        *_section("Trained on", _training(card)),
        *_section("Device profiles", _device_profiles(raw.get("device_profiles"))),
        *_section("Made with", _manifest(facts.get("manifest") or {})),
        *_section("Settings", f"```yaml\n{yaml.safe_dump(raw['experiment'], sort_keys=False)}```"),
        *_section("Evidence", _evidence(path.with_name("predictions.parquet"), card)),
        *_section("Limits", _limits(card)),
        *_section("Licence", LICENCE),
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, text: str) -> list[str]:
    return [f"## {title}", text] if text else []


def _training(card: ModelCard) -> str:
    grid, seen = card.grid, card.normalisation
    low, high = seen.radiograph_range
    rows, columns = grid.shape
    return _bullets(
        {
            "Patients": len(card.patients),
            "Left out": f"fold {card.fold}",
            "Objects": ", ".join(card.objects),
            "Grey scales": ", ".join(seen.scales),
            "Mean log attenuation": f"{low:.2f} to {high:.2f}",
            "Source to detector": "{:.0f} to {:.0f} mm".format(*card.sdd_range_mm),
            "Source to patient": "{:.0f} to {:.0f} mm".format(*card.isocentre_range_mm),
            "Grid": f"{rows} x {columns} pixels of {grid.pixel_mm:.4g} mm",
        }
    )


def _device_profiles(profiles: Any) -> str:
    if isinstance(profiles, Mapping):
        return _bullets({str(name): _flat(value) for name, value in profiles.items()})
    if isinstance(profiles, list | tuple):
        return "\n".join(f"* {_flat(value)}" for value in profiles)
    return _flat(profiles) if profiles else ""


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_flat(v)}" for name, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_flat, value)) if len(value) <= _LONGEST else f"{len(value)} values"
    return str(value)


def _manifest(manifest: Mapping[str, Any]) -> str:
    return _bullets(
        {name: manifest[name] for name in sorted(manifest) if isinstance(manifest[name], str | int | float)}
    )


def _bullets(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"* {name}: {value}" for name, value in facts.items())


def _evidence(path: Path, card: ModelCard) -> str:
    if not path.is_file():
        return "None lies beside the model (predictions.parquet of its left-out fold)."
    table = read_user_parquet(path)
    table = table[~table["patient_id"].astype(str).isin(card.patients)]
    lines = [
        f"Of {table['patient_id'].nunique()} patients of the left-out fold, against their CT. *n*: objects whole in "
        "the CT; *bias*: predicted minus CT; *MAE*: mean absolute error; *PCC*: Pearson's correlation.",
        "",
        "| object | quantity | n | mean of CT | bias | MAE | PCC |",
        "|---|---|---|---|---|---|---|",
    ]
    for (channel, quantity), rows in table.groupby(["channel", "quantity"], sort=False):
        known = rows[["predicted", "truth"]].dropna()
        if quantity in _SHOWN and len(known):
            lines.append(f"| {channel} | {quantity} | {len(known)} | {_agreement(known)} |")
    return "\n".join(lines)


def _agreement(known: pd.DataFrame) -> str:
    predicted, truth = known["predicted"].to_numpy(float), known["truth"].to_numpy(float)
    error = predicted - truth
    vary = len(known) > 2 and np.ptp(predicted) > 0 and np.ptp(truth) > 0
    correlation = f"{np.corrcoef(predicted, truth)[0, 1]:.2f}" if vary else "undefined"
    return f"{truth.mean():.1f} | {error.mean():+.1f} | {np.abs(error).mean():.1f} | {correlation}"


def _limits(card: ModelCard) -> str:
    return "\n".join(
        [
            "* Research software, not a medical device.",
            f"* A radiograph is flagged, and gets no interval, where its distances lie more than "
            f"{100 * DISTANCE_TOLERANCE:.0f} % or its mean attenuation more than {100 * INTENSITY_TOLERANCE:.0f} % "
            f"outside of what training saw, where its grey scale is not {' or '.join(card.normalisation.scales)}, or "
            "where less than 80 % of the grid is exposed.",
            f"* An object is flagged where over {100 * EDGE_SHARE:.0f} % of its predicted volume lies at the edge.",
            "* Intervals hold for patients like the held-out ones only.",
        ]
    )
