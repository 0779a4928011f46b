"""What of a radiograph's grey values does not fit its CT, in words, and what line would correct it."""

from mskdex.config.registration import CalibrationSettings
from mskdex.registration.grey_calibration import REFERENCE_NEPERS, GreyFit
from mskdex.registration.thin_parts import ThinParts

_FLAT = 0.1
"""Ratio of the curve's slopes in its halves below which, or above whose inverse, one half shows nothing."""
THIN_NEPERS = 1.5
"""Attenuation of the CT up to which the edge of the body tells where air lies, whatever the line's slope."""
_NOT_SEEN = ThinParts((), ())


def grey_flags(fit: GreyFit, scale: str, settings: CalibrationSettings, thin: ThinParts = _NOT_SEEN) -> list[str]:
    """What stands out; empty for a sound radiograph.

    Of an absolute radiograph the line, its straightness and its way to bare air are checked, of a relative one, whose
    tone curve is not known, only that grey values rise with attenuation everywhere and follow it closely.

    Args:
        fit: of `grey_calibration.fit_greys`.
        scale: "absolute" or "relative".
        settings: limits.
        thin: of `thin_parts.thin_parts`.
    """
    found = []
    if fit.slope <= 0:
        found.append("its grey values fall where the CT attenuates more: they may be inverted")
    elif scale == "absolute":
        found += _line_flags(fit, settings) + _thin_flags(thin, settings)
    elif not _FLAT <= fit.bend <= 1 / _FLAT:
        found.append(f"its grey values hardly change in {'thick' if fit.bend < 1 else 'thin'} parts: saturated")
    if fit.residual > settings.max_residual:
        found.append(
            f"its grey values scatter by {fit.residual:.2f} nepers around those of the CT, more than "
            f"{settings.max_residual:g} (calibration.max_residual)"
        )
    return [f"grey values: {text}" for text in found]


def _line_flags(fit: GreyFit, settings: CalibrationSettings) -> list[str]:
    found = []
    low, high = settings.slope
    if not low <= fit.slope <= high:
        found.append(
            f"attenuation changes {fit.slope:.2f} times as much as the CT's, allowed are {low:g} to {high:g} "
            "(calibration.slope): the decades or the kind of its grey values are wrong, or it saturates"
        )
    low, high = settings.at_3_nepers
    if not low <= fit.at_reference <= high:
        found.append(
            f"attenuation is {fit.at_reference:.2f} where the CT's is {REFERENCE_NEPERS:g} nepers, allowed are {low:g} "
            f"to {high:g} (calibration.at_3_nepers): its air or its scale is wrong, or it saturates"
        )
    low, high = settings.bend
    if not low <= fit.bend <= high:
        found.append(
            f"attenuation rises {fit.bend:.2f} times as steeply in thick as in thin parts, allowed are {low:g} to "
            f"{high:g} (calibration.bend): a tone curve or saturation"
        )
    return found


def thin_off(thin: ThinParts) -> float | None:
    """By how many nepers the thinnest part is off the CT's attenuation; None where nothing thin enough is seen."""
    if not thin.attenuation or thin.attenuation[0] > THIN_NEPERS:
        return None
    return thin.grey[0] - thin.attenuation[0]


def _thin_flags(thin: ThinParts, settings: CalibrationSettings) -> list[str]:
    """A line whose offset makes up for its slope goes past bare air."""
    off = thin_off(thin)
    if off is None or abs(off) <= settings.max_thin_off:
        return []
    where = f"{thin.attenuation[0]:.2f} nepers" if thin.attenuation[0] else "0 (bare air)"
    return [
        f"attenuation is {thin.grey[0]:.2f} where the CT's is {where}, allowed is a difference of "
        f"{settings.max_thin_off:g} nepers (calibration.max_thin_off): its air or its scale is wrong"
    ]


def correction(fit: GreyFit, scale: str, settings: CalibrationSettings) -> tuple[float, float] | None:
    """Gain and shift that take an absolute radiograph's fitted line to that of a sound one.

    Args:
        fit: of `grey_calibration.fit_greys`.
        scale: "absolute" or "relative".
        settings: the expected line.

    Returns:
        None where a line is no cure: relative or bent grey values, or ones that do not rise.
    """
    low, high = settings.bend
    if scale != "absolute" or fit.slope <= 0 or not low <= fit.bend <= high:
        return None
    gain = settings.expected_slope / fit.slope
    return gain, settings.expected_offset - gain * fit.offset
