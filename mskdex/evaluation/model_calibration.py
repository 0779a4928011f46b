"""What the evaluation leaves for new radiographs: held-out errors for intervals, and how demographics are joined."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.errors import MskdexError
from mskdex.evaluation.baselines import NUMBERS, Design, regress
from mskdex.evaluation.conformal import Calibration
from mskdex.evaluation.points import Cohort
from mskdex.evaluation.stacking import held_out_weights
from mskdex.io.artifacts import read_json, read_parquet

ERRORS, FUSION = "errors.parquet", "fusion.json"
IMAGE, JOINED = "image", "fused"
"""Estimates of a model: of the radiograph alone, and joined with age, sex, height and weight."""

ERROR_COLUMNS = ("experiment", "fold", "estimate", "channel", "quantity", "error", "sex", "scale")


@dataclass(frozen=True)
class Fusion:
    """How one model's estimates are joined with demographics.

    Attributes:
        design: how demographics become regressors.
        parts: by (channel, quantity): coefficients of the regression, mean and spread of the training patients, and
            weights of an intercept and both standardised estimates.
    """

    design: Design
    parts: dict[tuple[str, str], dict[str, Any]]

    def fits(self, person: Mapping[str, Any]) -> bool:
        """Whether all is known of a person that the regression asks for."""
        numbers = all(np.isfinite(_number(person.get(name))) for name in self.design.means)
        known = {self.design.reference, *self.design.sexes} - {None}
        return numbers and (not self.design.sexes or person.get("sex") in known)

    def estimate(self, channel: str, quantity: str, of_image: float, person: Mapping[str, Any]) -> float:
        """The image's estimate joined with the regression on a person's sex, age, height_cm and weight_kg."""
        part = self.parts[channel, quantity]
        table = pd.DataFrame([{c: person.get(c) for c in ("sex", *NUMBERS)}])
        regressed = float((self.design.matrix(table) @ np.asarray(part["coefficients"]))[0])
        first, second = ((v - part["mean"]) / part["spread"] for v in (regressed, of_image))
        intercept, of_demographics, of_model = part["weights"]
        return float(part["mean"] + part["spread"] * (intercept + of_demographics * first + of_model * second))


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


@dataclass(frozen=True)
class ModelCalibration:
    """What is known of one model besides its weights.

    Attributes:
        image: errors of its own estimates on held-out patients.
        fused: errors of the joined estimates.
        fusions: how they are joined, by each of the models that are averaged; empty where nothing is known of
            demographics.
    """

    image: Calibration = field(default_factory=Calibration)
    fused: Calibration = field(default_factory=Calibration)
    fusions: tuple[Fusion, ...] = ()

    def joined(self, channel: str, quantity: str, of_image: float, person: Mapping[str, Any]) -> float | None:
        """The image's estimate joined with what is known of a person, the mean over the fusions; None without it."""
        able = [(channel, quantity) in fusion.parts and fusion.fits(person) for fusion in self.fusions]
        if not able or not all(able):
            return None
        return float(np.mean([fusion.estimate(channel, quantity, of_image, person) for fusion in self.fusions]))


def held_out_errors(
    points: pd.DataFrame, joined: pd.DataFrame, experiments: Sequence[str], people: pd.DataFrame
) -> Any:
    """`ERROR_COLUMNS`: truth less prediction of all that counts, without patients' names.

    Args:
        points: completed points. joined: each method's estimate joined with demographics.
        experiments: their names.
        people: sex and scale, indexed by patient_id.
    """
    parts = []
    for estimate, table in ((IMAGE, points), (JOINED, joined)):
        rows = table[table["method"].isin(experiments) & table["left_out"].isna() & table["predicted"].notna()]
        parts.append(
            rows.assign(
                experiment=rows["method"],
                estimate=estimate,
                error=rows["truth"] - rows["predicted"],
                sex=rows["patient_id"].map(people["sex"]),
                scale=rows["patient_id"].map(people["scale"]),
            )[list(ERROR_COLUMNS)]
        )
    order = ["experiment", "fold", "estimate", "channel", "quantity", "error"]
    return pd.concat(parts).sort_values(order, ignore_index=True)


def models(
    points: pd.DataFrame, trained: Mapping[tuple[str, int], Iterable[str]], cohort: Cohort
) -> dict[str, dict[str, Any]]:
    """What `read_model_calibration` makes a `Fusion` of, by experiment and fold.

    Args:
        points: completed points, those of demographics among them.
        trained: patients whom the model of each experiment and fold has seen.
        cohort: the cohort's tables.
    """
    found: dict[str, dict[str, Any]] = {}
    for (experiment, fold), seen in trained.items():
        train = cohort.folds.index[cohort.folds != fold]
        content: dict[str, Any] = {"trained_on": trained_digest(seen), "design": None, "parts": []}
        design = Design.fit(cohort.patients.loc[train])
        if not design.empty:
            truth, matrix = cohort.truth.loc[train], design.matrix(cohort.patients.loc[train])
            weights = held_out_weights(points[points["fold"] == fold], experiment, truth)
            content |= {"design": asdict(design), "parts": list(_parts(truth, matrix, weights, cohort))}
        found.setdefault(experiment, {})[str(fold)] = content
    return found


def _parts(
    truth: pd.DataFrame, matrix: np.ndarray, weights: Mapping[tuple[str, str], np.ndarray], cohort: Cohort
) -> Iterator[dict[str, Any]]:
    structures = {c["name"]: c["object"] for c in cohort.objects}
    columns: list[Any] = list(truth.columns)
    for place, (channel, quantity) in enumerate(columns):
        values = truth.iloc[:, place].to_numpy(np.float64)
        coefficients = regress(matrix, values, np.eye(matrix.shape[1]))
        known = values[np.isfinite(values)]
        own = weights.get((quantity, structures[channel]))
        spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
        if own is not None and spread > 0 and np.isfinite(coefficients).all():
            yield {
                "channel": channel,
                "quantity": quantity,
                "coefficients": coefficients.tolist(),
                "mean": float(known.mean()),
                "spread": spread,
                "weights": own.tolist(),
            }


def trained_digest(patients: Iterable[str]) -> str:
    """Stands for the patients that a model was trained on."""
    return hashlib.sha256("\n".join(sorted(map(str, patients))).encode()).hexdigest()


def read_model_calibration(folder: Path, experiment: str, trained_on: Mapping[int, Iterable[str]]) -> ModelCalibration:
    """What an evaluation says of one model, or of the mean of several folds' models.

    Of several each held-out patient's error is that of the model that left this patient out: intervals of the mean are
    then rather too wide (CV+, Barber et al. 2021).

    Args:
        folder: results/evaluation.
        experiment: of the model.
        trained_on: by fold, training patients of the model.

    Raises:
        MskdexError: the evaluation knows nothing of this model, or is of one that other patients trained.
    """
    table = read_parquet(folder / ERRORS)
    own = table[(table["experiment"] == experiment) & table["fold"].isin(list(trained_on))]
    stored = read_json(folder / FUSION)["models"].get(experiment, {})
    fusions = [_fusion(folder, experiment, fold, stored.get(str(fold)), seen) for fold, seen in trained_on.items()]
    image, fused = (Calibration.of_errors(own[own["estimate"] == e]) for e in (IMAGE, JOINED))
    known = tuple(fusion for fusion in fusions if fusion)
    return ModelCalibration(image, fused, known) if len(known) == len(fusions) else ModelCalibration(image)


def _fusion(
    folder: Path, experiment: str, fold: int, stored: Mapping[str, Any] | None, trained_on: Iterable[str]
) -> Fusion | None:
    if stored is None:
        msg = (
            f"{folder / FUSION} has nothing of experiment {experiment}, fold {fold}; give the evaluation of this model"
        )
        raise MskdexError(msg)
    if stored["trained_on"] != trained_digest(trained_on):
        msg = f"{folder / FUSION} is of a model that other patients trained; run the evaluation of this model again"
        raise MskdexError(msg)
    if stored["design"] is None:
        return None
    return Fusion(Design(**stored["design"]), {(p["channel"], p["quantity"]): p for p in stored["parts"]})
