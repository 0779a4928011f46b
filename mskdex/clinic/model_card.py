"""A model file's card in Markdown, with the evidence that lies beside the file."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from mskdex.errors import MskdexError
from mskdex.io.tensors import read_tensors
from mskdex.io.user_files import read_user_parquet
from mskdex.models.card_text import card_text
from mskdex.models.model import FORMAT, ModelCard

_SHOWN = ("volume_cm3", "lean_mass_g")


def model_card(path: Path) -> str:
    """Markdown of a model file; patients are counted, never named.

    Args:
        path: model.safetensors; a predictions.parquet beside it is the evidence.

    Raises:
        MskdexError: not a model.
    """
    _, facts = read_tensors(path)
    if facts.get("card", {}).get("format") != FORMAT:
        msg = f"{path} is not a model of format {FORMAT}; give the model.safetensors of an experiment's fold"
        raise MskdexError(msg)
    card = ModelCard.from_dict(facts["card"])
    with open(path, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    evidence = _evidence(path.with_name("predictions.parquet"), card)
    return card_text(card, facts.get("manifest") or {}, {"File": f"sha256 `{digest}`", "Evidence": evidence})


def _evidence(path: Path, card: ModelCard) -> str:
    if not path.is_file():
        return "None lies beside the model (predictions.parquet of its left-out fold)."
    table = read_user_parquet(path)
    table = table[card.unseen(table)]
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
