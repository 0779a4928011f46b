"""Stage `cohort`: who is in the cohort, who is not and why, and which objects it has."""

import difflib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mskdex.cohort.sheet import read_sheet
from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.imaging.label_names import channels_named, channels_of_source, match_names
from mskdex.io.artifacts import write_json, write_parquet
from mskdex.io.csv_files import write_csv
from mskdex.pipeline.settings import CohortStage, segmenter_names

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

log = logging.getLogger("mskdex")
_PATIENT_COLUMNS = ["patient_id", "sex", "age", "height_cm", "weight_kg", "label_source"]


def cohort(sheet: Path, settings: CohortStage, out: Path) -> None:
    """Writes patients.parquet, excluded.parquet, the same for people as excluded.csv, and objects.json.

    Args:
        sheet: the cohort sheet.
        settings: objects, label sources and the config's cohort section; what of the objects is left out, where that
            is known.
        out: folder for the files.

    Raises:
        MskdexError: the sheet has problems, nobody is left, or no object is in every label source.
    """
    rows = read_sheet(sheet, settings.cohort, files=False)
    included = rows[~rows["exclude"]]
    if included.empty:
        msg = f"cohort sheet {sheet} excludes all {len(rows)} patients; correct its column exclude"
        raise MskdexError(msg)
    left_out = lacking_objects(included, settings) if settings.left_out is None else settings.left_out
    has = [c for c in settings.channels if c.object not in left_out]
    if left_out:
        log.warning("the cohort lacks %s: left out for everyone", _listed(left_out))
    out = Path(out)
    notes = ["affected_side"] * bool(included["affected_side"].notna().any())
    people = included[[*_PATIENT_COLUMNS, *notes]].reset_index(drop=True)
    write_parquet(out / "patients.parquet", patients_schema().validate(people))
    excluded = rows.loc[rows["exclude"], ["patient_id", "exclude_reason"]].rename(columns={"exclude_reason": "reason"})
    write_parquet(out / "excluded.parquet", excluded.astype(str).reset_index(drop=True))
    write_csv(out / "excluded.csv", excluded)
    write_json(out / "objects.json", [c.model_dump() for c in has])
    log.info("cohort: %d patients, %d excluded, %d objects", len(included), len(excluded), len(has))


def patients_schema() -> "DataFrameSchema":
    """What patients.parquet holds: one row a patient, units in the names, unknown values missing.

    The column `affected_side` is there where the sheet tells it of anybody.
    """
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
            "affected_side": Column(str, Check.isin(["left", "right", "both", "none"]), nullable=True, required=False),
        },
        strict=True,
        ordered=True,
    )


def lacking_objects(patients: pd.DataFrame, settings: CohortStage) -> dict[str, tuple[str, ...]]:
    """The objects of the config that a label source in use lacks, each with those sources.

    A source of `label_sources` has what it lists. One that is read by name has what any of its patients' label files
    names; files that are not there yet are taken to have all. A patient whose own file lacks a structure that its
    source has is no reason to leave the object out: it is absent for that patient alone.

    Raises:
        MskdexError: no object is left, or a source's name is nearly that of a known one.
    """
    known: dict[str, Sequence[Channel]] = {}
    for source in sorted({str(s) for s in patients["label_source"]}):
        if source in settings.label_sources:
            known[source] = channels_of_source(settings.channels, settings.label_sources[source])
            continue
        if near := difflib.get_close_matches(source, settings.label_sources, n=1, cutoff=0.8):
            msg = f"label source {source} is not in label_sources; did you mean {near[0]}?"
            raise MskdexError(msg)
        if source == settings.cohort.segmenter:
            names = segmenter_names(settings.cohort)
            known[source] = [c for c in settings.channels if match_names(c, names)]
            continue
        rows = patients[patients["label_source"] == source]
        series = (None if pd.isna(uid) else str(uid) for uid in rows["label_series"]) if "label_series" in rows else ()
        known[source] = channels_named(rows["labels"], settings.channels, series)
    return lacking(settings.channels, known)


def lacking(channels: Sequence[Channel], known: Mapping[str, Sequence[Channel]]) -> dict[str, tuple[str, ...]]:
    """The objects with a channel that a source lacks, each with those sources.

    Args:
        channels: the config's.
        known: by source, the channels that it has.

    Raises:
        MskdexError: no object is left.
    """
    found: dict[str, list[str]] = {}
    for source, has in known.items():
        for name in {c.object: None for c in channels if c not in has}:
            found.setdefault(name, []).append(source)
    if all(c.object in found for c in channels):
        msg = (
            f"no object of the config is in every label source of the cohort: {_listed(found)}; correct objects or "
            "label_sources"
        )
        raise MskdexError(msg)
    return {name: tuple(sources) for name, sources in found.items()}


def _listed(lacking: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{name} (not in {', '.join(sources)})" for name, sources in lacking.items())
