"""Grey values of a radiograph to log attenuation."""

from typing import Any

import numpy as np

from mskdex.errors import MskdexError
from mskdex.imaging.grey_scale import GreyScale

_AIR_SHARES = (0.01, 0.003, 0.001)
"""Most exposed shares of the field that may show the unattenuated beam, the largest first."""

_AIR_SPREAD_NEPERS = 0.02
"""Interquartile range within such a share above which it is not air alone, which is as even as its noise."""

_FLOOR = 1e-5
"""Share of the unattenuated beam that a linear image's darkest pixels are taken to have."""

_PLATEAU, _PLATEAU_OF_AIR = 0.005, 0.8
"""Share of the field, and of what is within `_AIR_SPREAD_NEPERS` of the most exposed value, that has that value
exactly where exposure is clipped; elsewhere air has noise."""
_EDGE_RATIO, _EDGE_PIXELS = 1.3, 20
"""Beside air, attenuation at a round skin line begins steeply, as the square root of the depth: the second pixel adds
0.7 times the first one's at the median. Cut off within the patient, it goes on evenly: 2 times."""

ATTENUATION_NEPERS = (1.0, 9.0)
"""What the 95th percentile of attenuation in the field of a radiograph of a hip lies between."""


def relative_exposure(values: np.ndarray, scale: GreyScale) -> np.ndarray:
    """Linear values as exposure, still without a reference; others as minus attenuation, in nepers if that is known."""
    rises_with_exposure = scale.rises_with == "exposure"
    if scale.kind == "linear":
        # Negative values, as some detectors store them, have no logarithm.
        return values - min(scale.low, 0.0) if rises_with_exposure else scale.high - values
    nepers = values * (scale.nepers_per_unit or 1.0)
    return nepers if rises_with_exposure else -nepers


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
        facts = {"air_level": air, "air_found_by": "air_grey", "air_in_field": True}
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


def clipped(exposure: np.ndarray, field: np.ndarray, scale: GreyScale) -> str | None:
    """Why the most exposed pixels seem cut off within the patient, so that all attenuations are too low; else None.

    Args:
        exposure: of `relative_exposure`, not averaged, (H, W).
        field: exposed pixels, bool (H, W).
        scale: what the values mean.
    """
    inside = exposure[field]
    if inside.size == 0:
        return None
    top = float(inside.max())
    share = float(np.mean(inside == top))
    if share < _PLATEAU or (top <= 0 and scale.kind == "linear"):
        return None
    detail = f"{100 * share:.1f} % of the field have exactly the most exposed grey value"
    most = scale.high - (min(scale.low, 0.0) if scale.rises_with == "exposure" else scale.low)
    if scale.kind == "linear" and top >= most:
        return f"{detail}, the largest there is"
    below = top - exposure if scale.kind == "log" else -np.log(np.maximum(exposure, _FLOOR * top) / top)
    if share < _PLATEAU_OF_AIR * float(np.mean(below[field] <= _AIR_SPREAD_NEPERS)):
        return None
    first, second = _beside_plateau(np.where(field, below, np.nan))
    if first.size >= _EDGE_PIXELS and np.median((second - first) / first) > _EDGE_RATIO:
        return f"{detail}, and beside them attenuation begins without the step of a skin line"
    return None


def _beside_plateau(below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Attenuation of the first and the second pixel beside the plateau, along the rows in both directions."""
    pairs = []
    for lines in (below, below[:, ::-1]):
        at = (lines[:, :-2] == 0) & (lines[:, 1:-1] > 0) & (lines[:, 2:] > lines[:, 1:-1])
        pairs.append((lines[:, 1:-1][at], lines[:, 2:][at]))
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def require_possible_attenuation(image: np.ndarray, field: np.ndarray) -> None:
    """Refuses an image in nepers whose attenuation no hip has.

    Args:
        image: log attenuation in nepers (H, W).
        field: exposed and unmarked pixels, bool (H, W).

    Raises:
        MskdexError: names the value and what may be wrong.
    """
    low, high = ATTENUATION_NEPERS
    value = float(np.quantile(image[field], 0.95)) if field.any() else 0.0
    if not low <= value <= high:
        msg = (
            f"the 95th percentile of its attenuation in the field is {value:.2f} nepers, that of a hip lies from "
            f"{low:g} to {high:g}: the grey values are not what tags, sheet or config say; check intensity, "
            "grey_increases_with, air_grey and log_decades, or give intensity processed in the sheet"
        )
        raise MskdexError(msg)
