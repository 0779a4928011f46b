"""What a radiograph's grey values mean: linear, log or processed; rising with exposure or attenuation; their scale."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.imaging.camera_numbers import has_value
from mskdex.imaging.grey_values import GreyValues
from mskdex.imaging.radiograph_source import GreyTags, Source
from mskdex.imaging.seen_direction import SeenDirection

NEPERS_PER_DECADE = float(np.log(10.0))
_RELATIONSHIPS = {"LIN": "linear", "LOG": "log", "DISP": "processed"}
_DENSITY = {"OD": 1e-3}
"""Decades per unit of RescaleType: OD is thousandths of optical density (DICOM PS3.3 C.11.1.1.2)."""
_LOG_TYPES = ("OD", "LOG_E REL", "LOG E REL", "LOG_E", "LOG")
"""Types of log values; only OD has a unit by the standard, LOG_E REL is written with any."""
_LEAST_BITS = 10
_OPPOSITE = {"exposure": "attenuation", "attenuation": "exposure"}


@dataclass(frozen=True)
class GreyScale:
    """What grey values mean, after their LUTs.

    Attributes:
        kind: linear in exposure, log, or processed.
        rises_with: exposure or attenuation.
        low: value of the smallest stored grey.
        high: of the largest.
        nepers_per_unit: of a log image whose scale is known, else None.
        sources: where kind, direction and scale came from.
        warnings: what a human should know.
    """

    kind: str
    rises_with: str
    low: float
    high: float
    nepers_per_unit: float | None
    sources: dict[str, str]
    warnings: list[str] = field(default_factory=list)

    @property
    def absolute(self) -> bool:
        """Whether attenuation can be had in nepers."""
        return self.kind == "linear" or (self.kind == "log" and self.nepers_per_unit is not None)


def grey_scale(
    source: Source, greys: GreyValues, seen: SeenDirection, row: Mapping[str, Any], settings: RadiographSettings
) -> GreyScale:
    """Resolves what grey values mean: by the sheet, by the config, by tags, and by what the pixels show.

    Raises:
        MskdexError: tags contradict the pixels, or eight bits are said to be linear or log.
    """
    sources: dict[str, str] = {}
    warnings: list[str] = []
    kind = _kind(source.tags, row, settings, sources, warnings)
    rises = _direction(source, greys, seen, kind, row, settings, sources, warnings)
    slope = _slope(source.tags, greys, row, settings, sources, warnings) if kind == "log" else None
    if greys.narrow and ((kind == "linear" and rises == "attenuation") or slope):
        warnings.append(greys.narrow)
    return GreyScale(kind, rises, greys.low, greys.high, slope, sources, warnings)


def _kind(
    tags: GreyTags, row: Mapping[str, Any], settings: RadiographSettings, sources: dict[str, str], warnings: list[str]
) -> str:
    stated = str(row["intensity"]) if has_value(row.get("intensity")) else None
    human = "sheet" if stated else "config radiograph.intensity"
    if not stated and settings.intensity != "auto":
        stated = settings.intensity
    by_tags, why, contradicted = _kind_by_tags(tags)
    if stated:
        if stated != "processed" and tags.bits < _LEAST_BITS:
            msg = (
                f"it has {tags.bits} bits per pixel, a display copy, which cannot be {stated}; export the original "
                f"with {_LEAST_BITS} bits or more, or set intensity to processed ({human} says {stated})"
            )
            raise MskdexError(msg)
        differs = by_tags != stated and (by_tags != "processed" or tags.intent or tags.relationship)
        sources["intensity"] = f"{human}, overruling {why}" if differs else human
        if differs and stated != "processed":
            warnings.append(f"intensity: {why} says {by_tags}, the {human} {stated}; the {human} is used")
        return stated
    sources["intensity"] = why
    warnings += contradicted
    if by_tags == "processed":
        warnings.append(
            f"its grey values are taken as processed ({why}): they come in on a relative scale, not in nepers"
        )
    return by_tags


def _kind_by_tags(tags: GreyTags) -> tuple[str, str, list[str]]:
    """Kind, why, and what tags contradict each other."""
    relation = _RELATIONSHIPS.get(tags.relationship)
    log = tags.rescale_type in _LOG_TYPES
    if tags.bits < _LEAST_BITS:
        return "processed", f"{tags.bits} bits per pixel, a display copy", []
    if tags.intent == "FOR PRESENTATION":
        detail = f"PixelIntensityRelationship is {tags.relationship}" if relation in {"linear", "log"} else ""
        detail = detail or (f"RescaleType is {tags.rescale_type}" if log else "")
        contradicted = [f"it is FOR PRESENTATION, but {detail}; if it is not processed, give intensity in the sheet"]
        return "processed", "tag PresentationIntentType FOR PRESENTATION", contradicted if detail else []
    if relation == "linear" and log:
        contradicted = [f"PixelIntensityRelationship is LIN, but RescaleType {tags.rescale_type}; the former is taken"]
        return "linear", "tag PixelIntensityRelationship", contradicted
    if relation:
        return relation, "tag PixelIntensityRelationship", []
    if tags.relationship:
        return "processed", f"PixelIntensityRelationship is {tags.relationship}, neither LIN nor LOG", []
    if log:
        return "log", f"tag RescaleType {tags.rescale_type}", []
    return "processed", "no tag says that they are linear or log; the sheet's column intensity can", []


def _direction(
    source: Source,
    greys: GreyValues,
    seen: SeenDirection,
    kind: str,
    row: Mapping[str, Any],
    settings: RadiographSettings,
    sources: dict[str, str],
    warnings: list[str],
) -> str:
    rises, where, human = _stated_direction(source, greys, kind, row, settings)
    sources["grey_increases_with"] = where + (_overruled(source.tags, greys, rises) if human else "")
    if seen.rises_with is None and where.startswith("assumed"):
        warnings.append(f"nothing says what a higher grey value means: {rises} is {where}; give grey_increases_with")
    elif seen.rises_with is None and not human:
        warnings += _contradicting_tags(source)
    if seen.rises_with in {None, rises}:
        return rises
    what = "air beside the patient" if seen.sure else "a middle and sides"
    by = (
        f"where {where.removeprefix('assumed of ')} are assumed to rise"
        if where.startswith("assumed")
        else f"by the {where}"
    )
    detail = f"its pixels show {what} as if grey values rose with {seen.rises_with}, {by} with {rises}"
    if human or not seen.sure:
        warnings.append(f"{detail}; check grey_increases_with")
        return rises
    if where.startswith("assumed"):
        sources["grey_increases_with"] = "the pixels: air beside the patient"
        warnings.append(f"{detail}; the pixels are followed, check grey_increases_with")
        return str(seen.rises_with)
    if kind == "processed" and _two_tags_agree(source.tags):
        warnings.append(f"{detail}; the tags are followed, check grey_increases_with")
        return rises
    stored = _OPPOSITE[str(seen.rises_with)] if greys.falling else seen.rises_with
    msg = f"{detail}; look at it and write what is right ({stored}?) into the sheet's column grey_increases_with"
    raise MskdexError(msg)


def _stated_direction(
    source: Source, greys: GreyValues, kind: str, row: Mapping[str, Any], settings: RadiographSettings
) -> tuple[str, str, bool]:
    """What the values after the LUTs rise with, by whom, and whether by a human."""

    def after_luts(stored: str) -> str:
        return _OPPOSITE[stored] if greys.falling else stored

    if has_value(row.get("grey_increases_with")):
        return after_luts(str(row["grey_increases_with"])), "sheet", True
    if settings.grey_increases_with != "auto":
        return after_luts(settings.grey_increases_with), "config radiograph.grey_increases_with", True
    tags = source.tags
    if tags.sign is not None:
        return after_luts("exposure" if tags.sign > 0 else "attenuation"), "tag PixelIntensityRelationshipSign", False
    if tags.photometric and not (kind == "linear" and source.facts.get("modality") in {"XA", "RF"}):
        # Bone is shown white: MONOCHROME1 shows low values white.
        rises = "exposure" if tags.photometric == "MONOCHROME1" else "attenuation"
        return rises, "tag PhotometricInterpretation", False
    return ("exposure" if kind == "linear" else "attenuation"), f"assumed of {kind} grey values", False


def _overruled(tags: GreyTags, greys: GreyValues, rises: str) -> str:
    by_sign = "exposure" if (tags.sign or 0) > 0 else "attenuation"
    differs = tags.sign is not None and rises != (_OPPOSITE[by_sign] if greys.falling else by_sign)
    return ", overruling tag PixelIntensityRelationshipSign" if differs else ""


def _two_tags_agree(tags: GreyTags) -> bool:
    """Whether two tags say the same of the direction; of processed images the pixels are then less sure than they."""
    shown = {"MONOCHROME1": 1, "MONOCHROME2": -1}.get(tags.photometric)
    shape = {"INVERSE": 1, "IDENTITY": -1}.get(tags.shape)
    notes = [v for v in (tags.sign, shown, shape) if v is not None]
    return len(notes) > 1 and len(set(notes)) == 1


def _contradicting_tags(source: Source) -> list[str]:
    """Sign, photometric interpretation and presentation shape that do not go together, of an image shown bone white."""
    tags = source.tags
    if source.facts.get("modality") in {"XA", "RF"}:
        return []
    shown = {"MONOCHROME1": 1, "MONOCHROME2": -1}.get(tags.photometric)
    shape = {"INVERSE": "MONOCHROME1", "IDENTITY": "MONOCHROME2"}.get(tags.shape)
    found = []
    if tags.sign is not None and shown is not None and tags.sign != shown:
        found.append(
            f"PixelIntensityRelationshipSign {tags.sign} and {tags.photometric} contradict each other if bone is to be "
            "white, and the pixels do not show which is right; the sign is taken, check grey_increases_with"
        )
    if shape and tags.photometric and shape != tags.photometric:
        found.append(f"PresentationLUTShape {tags.shape} and {tags.photometric} contradict each other")
    return found


def _slope(
    tags: GreyTags,
    greys: GreyValues,
    row: Mapping[str, Any],
    settings: RadiographSettings,
    sources: dict[str, str],
    warnings: list[str],
) -> float | None:
    """Nepers per unit of a log image, None where nothing says it."""
    by_density = _DENSITY.get(tags.rescale_type)
    for decades, where in ((row.get("log_decades"), "sheet"), (settings.log_decades, "config radiograph.log_decades")):
        if where != "sheet" and by_density:
            break
        if has_value(decades):
            overruled = f", overruling tag RescaleType {tags.rescale_type}" if by_density else ""
            sources["log_scale"] = where + overruled
            return float(str(decades)) * NEPERS_PER_DECADE / (greys.high - greys.low)
    if by_density:
        sources["log_scale"] = f"tag RescaleType {tags.rescale_type}"
        return by_density * NEPERS_PER_DECADE
    sources["log_scale"] = "unknown"
    said = f"RescaleType {tags.rescale_type} has no unit" if tags.rescale_type else "no tag says of how many decades"
    warnings.append(
        f"its grey values are logarithmic, but {said}: they come in on a relative scale, not in nepers; give "
        "log_decades in the sheet if it is known"
    )
    return None
