"""Grey values of a radiograph after its modality LUT and, where it belongs to the image, its VOI LUT."""

import warnings
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.imaging.radiograph_source import Source
from mskdex.imaging.radiograph_tags import tag_numbers, text_of
from mskdex.imaging.stored_greys import correct_bits_and_sign
from mskdex.io.files import quote


@dataclass(frozen=True)
class GreyValues:
    """Grey values after their LUTs.

    Attributes:
        values: float32 (rows, columns).
        valid: False where the file says that pixels are padding, bool (rows, columns).
        low: value of the smallest stored grey.
        high: value of the largest stored grey.
        falling: whether the LUTs turn the order of the stored values round.
        voi: whether a VOI LUT or window was applied.
        narrow: why the range is smaller than the stated bits span, None if it is not.
        warnings: what a human should know.
    """

    values: np.ndarray
    valid: np.ndarray
    low: float
    high: float
    falling: bool
    voi: bool
    narrow: str | None
    warnings: list[str] = field(default_factory=list)


def grey_values(source: Source, settings: RadiographSettings) -> GreyValues:
    """Applies the modality LUT, then the VOI LUT if the config or the image's intent says so.

    Raises:
        MskdexError: a LUT that is broken or not monotone.
    """
    stored = correct_bits_and_sign(source.grey, source.tags.bits, source.dataset)
    ends = np.array([[stored.low, stored.high]])
    if source.dataset is None:
        return _with_ends(stored.grey, stored.valid, ends, False, stored.narrow, stored.warnings)
    dataset, notes = source.dataset, list(stored.warnings)
    if np.issubdtype(stored.grey.dtype, np.integer):
        ends = ends.astype(np.int64)
    values, ends = _by_modality(stored.grey, ends, dataset, notes)
    automatic = source.tags.intent == "FOR PRESENTATION" and bool(dataset.get("VOILUTSequence"))
    voi = settings.voi == "apply" or (settings.voi == "auto" and automatic)
    if voi:
        values, ends = _by_voi(values, ends, dataset, notes)
    return _with_ends(values, stored.valid, ends, voi, stored.narrow, notes)


def _with_ends(
    values: np.ndarray, valid: np.ndarray, ends: np.ndarray, voi: bool, narrow: str | None, notes: list[str]
) -> GreyValues:
    first, last = float(ends[0, 0]), float(ends[0, 1])
    low, high = min(first, last), max(first, last)
    return GreyValues(np.asarray(values, dtype=np.float32), valid, low, high, first > last, voi, narrow, notes)


def _by_modality(
    grey: np.ndarray, ends: np.ndarray, dataset: Dataset, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    if dataset.get("ModalityLUTSequence"):
        return _through(apply_modality_lut, "ModalityLUTSequence", grey, ends, dataset)
    slope, intercept = (tag_numbers(dataset, k, 1) for k in ("RescaleSlope", "RescaleIntercept"))
    present = [k for k in ("RescaleSlope", "RescaleIntercept") if k in dataset]
    if slope.first is None and intercept.first is None and not (slope.broken or intercept.broken):
        if present:
            notes.append(f"tags {' and '.join(present)} are blank; grey values are taken as they are stored")
        return grey, ends
    if slope.first in (None, 0.0) or intercept.first is None:
        keys = ("RescaleSlope", "RescaleIntercept")
        said = ", ".join(f"{k} {quote(text_of(dataset, k) or 'blank', 60)}" for k in keys)
        msg = f"its grey values cannot be scaled by {said}; correct the tags or export the image again"
        raise MskdexError(msg)
    return grey * slope.first + intercept.first, ends * slope.first + intercept.first


def _by_voi(values: np.ndarray, ends: np.ndarray, dataset: Dataset, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    luts = dataset.get("VOILUTSequence")
    if luts and len(luts) > 1:
        notes.append(f"it has {len(luts)} VOI LUTs; the first is applied")
    if not luts:
        width = tag_numbers(dataset, "WindowWidth", 1).first
        if width is not None and width < 1:
            msg = f"WindowWidth is {width:g}, allowed is 1 or more; correct the tag or set radiograph.voi to ignore"
            raise MskdexError(msg)
    elif np.any(np.asarray(values) != np.rint(values)):
        msg = "its VOI LUT cannot be applied to the fractions that RescaleSlope makes; set radiograph.voi to ignore"
        raise MskdexError(msg)
    return _through(apply_voi_lut, "VOILUTSequence or window", values, ends, dataset)


def _through(apply, what: str, grey: np.ndarray, ends: np.ndarray, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    """Image and ends through a LUT of the header, which must keep or turn round the order of grey values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = np.asarray(apply(grey, dataset))
            used = np.linspace(float(grey.min()), float(grey.max()), 513)
            curve = np.asarray(apply(np.rint(used).astype(ends.dtype) if ends.dtype.kind == "i" else used, dataset))
            mapped = np.asarray(apply(ends, dataset))
    except MemoryError:
        raise
    except Exception as error:
        msg = f"its {what} is broken ({quote(error)}); export the image again, or without it"
        raise MskdexError(msg) from error
    steps = np.diff(curve.astype(np.float64))
    if (steps > 0).any() and (steps < 0).any():
        msg = f"its {what} neither rises nor falls throughout, so grey values lose their order; export it without"
        raise MskdexError(msg)
    return image, mapped
