"""Everything the report shows, read once from the results folder."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mskdex.cohort.folds import NO_FOLD
from mskdex.config import Config
from mskdex.evaluation.baselines import BASELINES
from mskdex.evaluation.points import refused_pairs
from mskdex.evaluation.stacking import FUSED
from mskdex.evaluation.text import QUANTITY_NAMES, QUANTITY_UNITS, method_name
from mskdex.io.artifacts import read_json, read_parquet

COLOURS = ("#2f6fde", "#d9730d", "#7a869a", "#a9a9a9", "#8b5cf6", "#0f9d76", "#c2417b", "#8a6d3b")
"""Of the methods, in the tables' order; told apart with colour-blind eyes on white and on black."""

BASELINE_COLOURS = {
    "demographics": "#7a869a",
    "thumbnail_ridge": "#8a6d3b",
    "demographics_thumbnail_ridge": "#a9a9a9",
    "training_mean": "#b5b5b5",
    "fused": "#0f9d76",
}
"""Of the methods of every evaluation."""

_TABLES = (
    "agreement",
    "added_value",
    "coverage",
    "subgroups",
    "decisions",
    "images",
    "maps",
    "tests",
    "points",
    "external_added_value",
    "external_coverage",
    "external_points",
)


@dataclass(frozen=True)
class Method:
    """A method in the tables.

    Attributes:
        id: as in the tables' files.
        label: as it is shown.
        kind: experiment, fused (an experiment joined with demographics), baseline or comparator.
        colour: of its marks.
    """

    id: str
    label: str
    kind: str
    colour: str


@dataclass(frozen=True)
class Results:
    """The results folder, as tables.

    Attributes:
        root: results.
        config: the whole config.
        patients: demographics with fold, indexed by patient_id; `bmi` in kg/m² where known.
        excluded: patient_id, reason, by: "sheet", or "registration" where radiograph and CT do not belong together.
        quantities: truth per patient and channel.
        registration: row per patient and body.
        calibration: row per patient, grey values beside the CT; None where they were not compared.
        objects: dict per channel.
        agreement: table of agreement, and so on for images, tests, points, tuning.
        added_value: what the image adds, per method, quantity, structure and measure.
        coverage: how many held-out patients the intervals cover, by group.
        subgroups: agreement and calibration by sex, age and body mass index.
        decisions: how well each method finds patients with low muscle.
        maps: likeness of predicted DRRs to the true ones in the radiograph's posture, where these are known.
        external_added_value, external_coverage, external_points: of patients whom no fold trains on; empty without.
        ranges: fixed intensity range per object and quantity.
        evaluation: manifest of the evaluation.
        flagged: patients that stand out, patient_id, flags, reasons; None where they were not looked at.
        warnings: what each patient's import warned of.
        trainings: train.json by (experiment, fold).
        histories: history.parquet by (experiment, fold).
    """

    root: Path
    config: Config
    patients: pd.DataFrame
    excluded: pd.DataFrame
    quantities: pd.DataFrame
    registration: pd.DataFrame
    objects: list[dict[str, Any]]
    agreement: pd.DataFrame
    added_value: pd.DataFrame
    coverage: pd.DataFrame
    subgroups: pd.DataFrame
    decisions: pd.DataFrame
    images: pd.DataFrame
    tests: pd.DataFrame
    points: pd.DataFrame
    maps: pd.DataFrame
    external_added_value: pd.DataFrame
    external_coverage: pd.DataFrame
    external_points: pd.DataFrame
    tuning: pd.DataFrame | None
    ranges: dict[str, dict[str, float]]
    evaluation: dict[str, Any]
    flagged: pd.DataFrame | None = None
    calibration: pd.DataFrame | None = None
    warnings: dict[str, list[str]] = field(default_factory=dict)
    trainings: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    histories: dict[tuple[str, int], pd.DataFrame] = field(default_factory=dict)

    @property
    def methods(self) -> list[Method]:
        """Experiments, baselines and comparators, in the tables' order."""
        found, colours = [], iter(c for c in COLOURS if c not in BASELINE_COLOURS.values())
        for name in dict.fromkeys(self.agreement["method"]):
            if name in (FUSED, *BASELINES):
                kind = "fused" if name == FUSED else "baseline"
            else:
                kind = "experiment" if name in self.config.experiments else "comparator"
            colour = BASELINE_COLOURS.get(name) or next(colours, "#444444")
            found.append(Method(name, method_name(name), kind, colour))
        return found

    @property
    def channel_names(self) -> list[str]:
        """Names of the cohort's channels."""
        return [c["name"] for c in self.objects]

    @property
    def sheet(self) -> str:
        """Name of the cohort sheet; its folders may say what nobody else should know. Empty for virtual patients."""
        return Path(self.config.cohort.sheet or "").name

    @property
    def object_names(self) -> list[str]:
        """Objects without side, in the config's order."""
        return list(dict.fromkeys(c["object"] for c in self.objects))

    @property
    def tested(self) -> list[str]:
        """Patients with a prediction in a reported fold."""
        rows = self.points[~self.points["fold"].isin(self.config.evaluation.tuning_folds)]
        return sorted(rows["patient_id"].unique())

    @property
    def external_patients(self) -> int:
        """Patients of the external cohort."""
        return int(self.external_points["patient_id"].nunique())

    @property
    def truth_root(self) -> Path | None:
        """Where the true images of virtual patients lie; None where patients are real."""
        return self.root / "virtual" if self.config.cohort.sheet is None else None

    @property
    def proposed(self) -> str:
        """The method that the report is about: the proposed experiment, or else the first."""
        names = [m.id for m in self.methods]
        return self.config.evaluation.proposed if self.config.evaluation.proposed in names else names[0]


def title(name: str) -> str:
    """A structure's name for people."""
    return name.replace("_", " ").capitalize()


def quantity_title(quantity: str, *, unit: bool = False) -> str:
    """A quantity's name for people."""
    text = QUANTITY_NAMES[quantity].capitalize()
    return f"{text} ({QUANTITY_UNITS[quantity]})" if unit else text


def read_results(root: Path, config: Config) -> Results:
    """Reads what earlier stages left.

    Raises:
        MskdexError: an artifact is missing or cannot be read.
    """
    cohort, evaluation = root / "cohort", root / "evaluation"
    tuning, quality = read_parquet(evaluation / "tuning.parquet"), cohort / "quality.parquet"
    calibration = cohort / "calibration.parquet"
    trainings, histories = _trainings(root / "experiments", config)
    patients = _patients(cohort)
    return Results(
        root=root,
        config=config,
        patients=patients,
        excluded=_excluded(cohort),
        quantities=_of(patients.index, read_parquet(cohort / "quantities.parquet")),
        registration=read_parquet(cohort / "registration.parquet").astype({"patient_id": str}),
        objects=read_json(cohort / "objects.json"),
        **{name: read_parquet(evaluation / f"{name}.parquet") for name in _TABLES},
        tuning=tuning if len(tuning) else None,
        ranges=read_json(evaluation / "ranges.json"),
        evaluation=read_json(evaluation / "evaluate.json"),
        flagged=read_parquet(quality) if quality.is_file() else None,
        calibration=read_parquet(calibration) if calibration.is_file() else None,
        warnings=_warnings(root / "patients", patients.index),
        trainings=trainings,
        histories=histories,
    )


def _of(patients: Iterable[str], table: pd.DataFrame) -> pd.DataFrame:
    table = table.astype({"patient_id": str})
    return table[table["patient_id"].isin(list(patients))].reset_index(drop=True)


def _excluded(cohort: Path) -> pd.DataFrame:
    refused = refused_pairs(cohort / "pairs.parquet")
    pairs = pd.DataFrame({"patient_id": list(refused), "reason": list(refused.values())}).astype(str)
    by_sheet = read_parquet(cohort / "excluded.parquet")
    return pd.concat([by_sheet.assign(by="sheet"), pairs.assign(by="registration")], ignore_index=True)


def _patients(cohort: Path) -> pd.DataFrame:
    table = read_parquet(cohort / "patients.parquet").astype({"patient_id": str})
    folds = read_parquet(cohort / "folds.parquet").astype({"patient_id": str})
    table = table[~table["patient_id"].isin(refused_pairs(cohort / "pairs.parquet"))]
    table = table.merge(folds[["patient_id", "fold"]], on="patient_id", how="left").set_index("patient_id")
    table = table[table["fold"] != NO_FOLD]
    for column in ("age", "height_cm", "weight_kg"):
        table[column] = pd.to_numeric(table[column], errors="coerce") if column in table else float("nan")
    if "sex" not in table:
        table["sex"] = None
    table["bmi"] = table["weight_kg"] / (table["height_cm"] / 100.0) ** 2
    return table


def _warnings(root: Path, patients: Iterable[str]) -> dict[str, list[str]]:
    """What the imports warned of, of the patients that it did."""
    read = {p: read_json(root / p / "import.json")["warnings"] for p in patients}
    return {p: [str(w) for w in notes] for p, notes in read.items() if notes}


def _trainings(root: Path, config: Config) -> tuple[dict, dict]:
    manifests, histories = {}, {}
    for name in config.experiments:
        for fold in range(config.folds.count):
            folder = root / name / f"fold{fold}"
            if (folder / "train.json").is_file():
                manifests[name, fold] = read_json(folder / "train.json")
            if (folder / "history.parquet").is_file():
                histories[name, fold] = read_parquet(folder / "history.parquet")
    return manifests, histories
