"""Grey values of a radiograph to log attenuation."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.imaging.radiograph_source import Source

_AIR_SHARES = (0.01, 0.003, 0.001)
"""Most exposed shares of the field that may show the unattenuated beam, the largest first."""

_AIR_SPREAD_NEPERS = 0.02
"""Interquartile range within such a share above which it is not air alone, which is as even as its noise."""

_NEPERS_PER_DECADE = float(np.log(10.0))
_FLOOR = 1e-5
"""Share of the unattenuated beam that a linear image's darkest pixels are taken to have."""

_RELATIONSHIPS = {"LIN": "linear", "LOG": "log"}


@dataclass(frozen=True)
class GreyScale:
    """What grey values mean.

    Attributes:
        kind: linear in exposure, or log.
        rises_with: exposure or attenuation.
        low: value, after the modality LUT, of the smallest grey.
        high: of the largest.
        nepers_per_unit: of a log image.
        sources: where kind and direction came from.
    """

    kind: str
    rises_with: str
    low: float
    high: float
    nepers_per_unit: float
    sources: dict[str, str]


def physical_values(source: Source, settings: RadiographSettings) -> tuple[np.ndarray, tuple[float, float], bool]:
    """Grey values after the modality LUT and, where it belongs to the image, the VOI LUT.

    Returns:
        float32 values; the values of the smallest and the largest grey; whether a VOI LUT was applied.
    """
    ends = _stored_range(source)
    if source.dataset is None:
        return source.grey.astype(np.float32), ends, False
    dataset = source.dataset
    voi = settings.voi == "apply" or (
        settings.voi == "auto"
        and source.tags.get("presentation") == "FOR PRESENTATION"
        and bool(dataset.get("VOILUTSequence"))
    )
    probe = np.array(ends, dtype=source.grey.dtype)[None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values, range_ = (apply_modality_lut(a, dataset) for a in (source.grey, probe))
        if voi:
            values, range_ = (apply_voi_lut(a, dataset) for a in (values, range_))
    low, high = float(np.min(range_)), float(np.max(range_))
    return np.asarray(values, dtype=np.float32), (low, high), voi


def grey_scale(
    source: Source, row: Mapping[str, Any], settings: RadiographSettings, ends: tuple[float, float]
) -> GreyScale:
    """Resolves what grey values mean: by the sheet, by the config, by tags; else refuses.

    Raises:
        MskdexError: linear or log is nowhere.
    """
    tags, sources = source.tags, {}
    kind = row.get("intensity") or (settings.intensity if settings.intensity != "auto" else None)
    sources["intensity"] = "sheet" if row.get("intensity") else "config radiograph.intensity"
    unit = str(source.dataset.get("RescaleType") or "") if source.dataset is not None else ""
    if not kind:
        kind = _RELATIONSHIPS.get(tags.get("relationship", ""), "log" if unit == "OD" else None)
        sources["intensity"] = "tag PixelIntensityRelationship" if unit != "OD" else "tag RescaleType OD"
    if not kind:
        silent = f"PixelIntensityRelationship is {tags['relationship']}" if "relationship" in tags else "no tag says"
        msg = (
            f"{silent} whether its grey values are linear in exposure or logarithmic; give the sheet's "
            "column intensity "
            f"or radiograph.intensity in config.yaml (linear or log)"
        )
        raise MskdexError(msg)
    rises, sources["grey_increases_with"] = _direction(source, row, settings, kind)
    slope = (
        1e-3 * _NEPERS_PER_DECADE if unit == "OD" else settings.log_decades * _NEPERS_PER_DECADE / (ends[1] - ends[0])
    )
    return GreyScale(kind, rises, *ends, slope, sources)


def _direction(source: Source, row: Mapping[str, Any], settings: RadiographSettings, kind: str) -> tuple[str, str]:
    if row.get("grey_increases_with"):
        return str(row["grey_increases_with"]), "sheet"
    if settings.grey_increases_with != "auto":
        return settings.grey_increases_with, "config radiograph.grey_increases_with"
    if "sign" in source.tags:
        return ("exposure" if source.tags["sign"] > 0 else "attenuation"), "tag PixelIntensityRelationshipSign"
    photometric = source.tags.get("photometric")
    if photometric and not (kind == "linear" and source.facts.get("modality") in {"XA", "RF"}):
        # Bone is shown white: MONOCHROME1 shows low values white.
        return ("exposure" if photometric == "MONOCHROME1" else "attenuation"), "tag PhotometricInterpretation"
    return ("exposure" if kind == "linear" else "attenuation"), f"assumed of {kind} grey values"


def relative_exposure(values: np.ndarray, scale: GreyScale) -> np.ndarray:
    """Linear values as exposure, still without a reference; log values as minus attenuation."""
    if scale.kind == "linear":
        return values - min(scale.low, 0.0) if scale.rises_with == "exposure" else scale.high - values
    return values * (scale.nepers_per_unit if scale.rises_with == "exposure" else -scale.nepers_per_unit)


def log_attenuation(
    exposure: np.ndarray, field: np.ndarray, scale: GreyScale, air_grey: float | None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Log attenuation with air at 0.

    -ln(I / I0) of a linear image; of a log image the difference to air.

    Args:
        exposure: of `relative_exposure`, (H, W).
        field: exposed pixels, bool (H, W).
        scale: what the values mean.
        air_grey: value of the unattenuated beam after the modality LUT; None takes the median of the most exposed
            percent of the field, or of the largest smaller share of it that is even, as air is.

    Returns:
        float32 (H, W), and facts: the level of air, how it was found, and whether the field shows air at all.

    Raises:
        MskdexError: the image is flat, or no pixel is exposed.
    """
    inside = exposure[field]
    if inside.size == 0 or inside.min() == inside.max():
        msg = "its exposed field is flat: every pixel has one value; export the original image"
        raise MskdexError(msg)
    if air_grey is None:
        facts = _air_in_field(inside, scale)
    else:
        air = float(relative_exposure(np.array(air_grey), scale))
        facts = {"air_level": air, "air_found_by": "config radiograph.air_grey", "air_in_field": True}
    air = facts["air_level"]
    if scale.kind == "log":
        return (air - exposure).astype(np.float32), facts
    if air <= 0:
        msg = (
            "no pixel is exposed: the most exposed percent of the field is at zero; check "
            "radiograph.grey_increases_with"
        )
        raise MskdexError(msg)
    return -np.log(np.maximum(exposure, air * _FLOOR) / air).astype(np.float32), facts


def _air_in_field(inside: np.ndarray, scale: GreyScale) -> dict[str, Any]:
    """Level of the unattenuated beam among the exposures of the field, and whether there is any."""
    for share in _AIR_SHARES:
        low, air, high = (float(v) for v in np.quantile(inside, [1 - 0.75 * share, 1 - 0.5 * share, 1 - 0.25 * share]))
        spread = high - low if scale.kind == "log" else float(np.log(max(high, _FLOOR) / max(low, _FLOOR * high)))
        if spread <= _AIR_SPREAD_NEPERS:
            break
    how = f"median of the most exposed {100 * share:g} % of the field"
    return {"air_level": air, "air_found_by": how, "air_in_field": spread <= _AIR_SPREAD_NEPERS}


def _stored_range(source: Source) -> tuple[float, float]:
    dataset = source.dataset
    if dataset is None:
        info = source.grey
        return (0.0, 65535.0) if np.issubdtype(info.dtype, np.integer) else (float(info.min()), float(info.max()))
    bits = source.tags["bits"]
    if int(dataset.get("PixelRepresentation", 0)):
        return -float(2 ** (bits - 1)), float(2 ** (bits - 1) - 1)
    return 0.0, float(2**bits - 1)
