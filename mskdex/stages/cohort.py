"""Stage `cohort`: who is in the cohort, who is not and why, and which objects it has."""

import difflib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mskdex.artifacts import atomic_path, write_json, write_parquet
from mskdex.cohort import read_sheet
from mskdex.config.objects import Channel
from mskdex.config.stages import CohortStage
from mskdex.errors import MskdexError
from mskdex.imaging.label_names import channels_named, channels_of_source

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

log = logging.getLogger("mskdex")
_PATIENT_COLUMNS = ["patient_id", "sex", "age", "height_cm", "weight_kg", "label_source"]


def cohort(sheet: Path, settings: CohortStage, out: Path) -> None:
    """Writes patients.parquet, excluded.csv and objects.json.

    Args:
        sheet: the cohort sheet.
        settings: objects, label sources and the config's cohort section.
        out: folder for the three files.

    Raises:
        MskdexError: the sheet has problems, nobody is left, or no object is in every label source.
    """
    rows = read_sheet(sheet, settings.cohort, files=False)
    kept = rows[~rows["exclude"]]
    if kept.empty:
        msg = f"cohort sheet {sheet} excludes all {len(rows)} patients; correct its column exclude"
        raise MskdexError(msg)
    has = channels_of_cohort(kept, settings)
    out = Path(out)
    write_parquet(out / "patients.parquet", patients_schema().validate(kept[_PATIENT_COLUMNS].reset_index(drop=True)))
    excluded = rows.loc[rows["exclude"], ["patient_id", "exclude_reason"]].rename(columns={"exclude_reason": "reason"})
    with atomic_path(out / "excluded.csv") as temporary:
        excluded.to_csv(temporary, index=False)
    write_json(out / "objects.json", [c.model_dump() for c in has])
    log.info("cohort: %d patients, %d excluded, %d objects", len(kept), len(excluded), len(has))


def patients_schema() -> "DataFrameSchema":
    """What patients.parquet holds: one row a patient, units in the names, unknown values missing."""
    from pandera.pandas import Check, Column, DataFrameSchema

    def number(low: float, high: float) -> Column:
        return Column(float, Check.in_range(low, high), nullable=True)

    return DataFrameSchema(
        {
            "patient_id": Column(str, unique=True),
            "sex": Column(str, Check.isin(["F", "M"]), nullable=True),
            "age": number(0, 120),
            "height_cm": number(40, 250),
            "weight_kg": number(2, 400),
            "label_source": Column(str),
        },
        strict=True,
        ordered=True,
    )


def channels_of_cohort(patients: pd.DataFrame, settings: CohortStage) -> Sequence[Channel]:
    """The channels that every label source in use has; what is missing is logged, once.

    A source that is read by name has what any of its patients' label files names; a patient that lacks a structure
    has it marked absent. Files that are not there yet are taken to have all.

    Raises:
        MskdexError: no object is left, or a source's name is nearly that of a known one.
    """
    lacking: dict[str, list[str]] = {}
    for source in sorted({str(s) for s in patients["label_source"]}):
        rows = patients[patients["label_source"] == source]
        if source in settings.label_sources:
            known = channels_of_source(settings.channels, settings.label_sources[source])
        else:
            if near := difflib.get_close_matches(source, settings.label_sources, n=1, cutoff=0.8):
                msg = f"label source {source} is not in label_sources; did you mean {near[0]}?"
                raise MskdexError(msg)
            known = channels_named(rows["labels"], settings.channels)
        for name in {c.object: None for c in settings.channels if c not in known}:
            lacking.setdefault(name, []).append(source)
    left = [c for c in settings.channels if c.object not in lacking]
    told = "; ".join(f"{name} (not in {', '.join(sources)})" for name, sources in lacking.items())
    if not left:
        msg = (
            f"no object of the config is in every label source of the cohort: {told}; correct objects or label_sources"
        )
        raise MskdexError(msg)
    if lacking:
        log.warning("the cohort lacks %s: left out for everyone", told)
    return left
