"""From the stored values of a DICOM CT to HU: what the tags say, and what of it is not HU."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from mskdex.errors import MskdexError
from mskdex.imaging.dicom_frames import Frame
from mskdex.io.dicom import has_value, integer, number, read_dataset, text
from mskdex.io.dicom_pixels import stored_values
from mskdex.io.files import quote, reading
from mskdex.quantities import HU_MIN

_NOT_HU = frozenset(
    {
        "MAT_SPECIFIC",
        "MAT_FRACTIONAL",
        "MAT_MODIFIED",
        "MAT_VALUE_BASED",
        "EFF_ATOMIC_NUM",
        "ELECTRON_DENSITY",
        "STOPPING_POWER_RATIO",
        "IODINE",
        "Z_EFF",
        "ZEFF",
        "EFFECTIVE_Z",
        "RHO",
        "MGML",
        "PERFUSION",
        "CBF",
        "CBV",
        "MTT",
        "TTP",
        "TMAX",
        "FAT_FRACTION",
    }
)
"""Words of ImageType (or FrameType) for maps whose values are no HU.

Source: DICOM PS3.3, C.8.15.2.1.1.5 (multi-energy CT); the last ones are vendors'.
"""

_COMBINED = frozenset(
    {
        "MIP",
        "MINIP",
        "MAX_IP",
        "MIN_IP",
        "MAXIMUM",
        "MINIMUM",
        "STD_DEVIATION",
        "SUBTRACTION",
        "DIVISION",
        "QUANTITY",
        "VOLUME_RENDER",
        "SURFACE_RENDER",
    }
)
"""Words of ImageType, FrameType or VolumeBasedCalculationTechnique for images whose values are no voxel's.

Source: DICOM PS3.3, Volume Based Calculation Technique and Derived Pixel Contrast of enhanced CT; MIP and MINIP are
vendors'.
"""

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

_ENERGY = {
    "VMI": "virtual monoenergetic",
    "MONOENERGETIC": "virtual monoenergetic",
    "MAT_REMOVED": "virtual non-contrast",
}
"""Words of images in HU that depend on the energy chosen or on a material taken out."""

_AIR_HU = -900
_HU_UNITS = ("[hnsf'U]", "HU", "HOUNSFIELD")


def opened_frames(frames: Sequence[Frame]) -> Iterator[tuple[Frame, Dataset]]:
    """Each image with its file, read whole; a file of several frames that follow each other is read once."""
    last: tuple[Path, Dataset] | None = None
    for frame in frames:
        if last is None or last[0] != frame.path:
            last = frame.path, read_dataset(frame.path)
        yield frame, last[1]


def frame_hu(frame: Frame, dataset: Dataset, shape: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    """One image in HU, its padding at the lowest HU.

    Args:
        frame: which image, and its tags.
        dataset: its file.
        shape: (rows, columns) of the series.

    Returns:
        int32 or float32 (rows, columns), and what a reader should know.

    Raises:
        MskdexError: values that are not HU, or that contradict their tags.
    """
    path = frame.path
    with reading(path):
        warnings = _require_hu(frame, dataset)
        slope, intercept = number(frame.header, "RescaleSlope"), number(frame.header, "RescaleIntercept")
        if slope is None or intercept is None or slope == 0:
            odd = [
                k for k in ("RescaleSlope", "RescaleIntercept") if k in frame.header and number(frame.header, k) is None
            ]
            detail = f"has a {' and a '.join(odd)} that is no number" if odd else "has no rescale slope and intercept"
            msg = f"{path} {detail}, so its values are not HU; export the series again"
            raise MskdexError(msg)
        pixels = stored_values(dataset, path, frame.index, all_bits=True)
        if pixels.shape != shape:
            msg = f"{path} decodes to {pixels.shape} values instead of {shape}; export the series again"
            raise MskdexError(msg)
        padded = _padding(dataset, pixels, path)
        pixels = _in_stored_bits(dataset, pixels, padded, path)
        if slope == 1 and intercept == int(intercept) and abs(intercept) < 1 << 30 and pixels.dtype.itemsize <= 2:
            hu: np.ndarray = pixels.astype(np.int32) + int(intercept)
        else:
            hu = pixels * np.float32(slope) + np.float32(intercept)
        if padded is not None and padded.any():
            warnings += _padding_in_tissue(dataset, float(hu[padded].max()))
            hu[padded] = HU_MIN
    return hu, warnings


def _require_hu(frame: Frame, dataset: Dataset) -> list[str]:
    path, header = frame.path, frame.header
    kind = text(header, "RescaleType").strip().upper() or "HU"
    if kind not in {"HU", "US"}:
        msg = f"{path} holds {quote(kind, 40)}, not HU; name the series of the CT itself"
        raise MskdexError(msg)
    words = {w.strip().upper() for w in text(header, "ImageType").split("\\")}
    if maps := words & _NOT_HU:
        msg = f"{path} is a map of {', '.join(sorted(maps))} (ImageType), not HU; name the series of the CT itself"
        raise MskdexError(msg)
    if combined := (words | {text(dataset, "VolumeBasedCalculationTechnique").strip().upper()}) & _COMBINED:
        msg = (
            f"{path} is made of several voxels' values ({', '.join(sorted(combined))}), as a projection is; name the "
            "series of the CT itself"
        )
        raise MskdexError(msg)
    colours = text(dataset, "PhotometricInterpretation").strip().upper()
    if integer(dataset, "SamplesPerPixel", 1) != 1 or colours not in ("MONOCHROME1", "MONOCHROME2", ""):
        msg = f"{path} is a picture ({quote(colours, 40)}), not a CT; name the series of the CT itself"
        raise MskdexError(msg)
    if dataset.get("ModalityLUTSequence"):
        msg = f"{path} has a modality LUT, which no CT in HU has; name the series of the CT itself"
        raise MskdexError(msg)
    aspect = text(dataset, "PixelAspectRatio").split("\\")
    spacing = header.get("PixelSpacing")
    if (
        len(aspect) == 2
        and spacing
        and not np.isclose(float(aspect[0]) * float(spacing[1]), float(aspect[1]) * float(spacing[0]), rtol=1e-2)
    ):
        msg = f"{path}: its PixelAspectRatio {':'.join(aspect)} contradicts its PixelSpacing; export it again"
        raise MskdexError(msg)
    _require_same_mapping(frame, dataset)
    return _how_they_were_made(words, text(dataset, "SOPClassUID"))


def _how_they_were_made(words: set[str], sop_class: str) -> list[str]:
    captured = f"{sop_class}.".startswith(f"{_SECONDARY_CAPTURE}.")
    said = ["its images are secondary captures, which a program made of others; use the scanner's own"]
    return (said if captured else []) + [
        f"{name} images ({word} in ImageType): HU of muscle and bone depend on how they were made"
        for word, name in _ENERGY.items()
        if word in words
    ]


def _require_same_mapping(frame: Frame, dataset: Dataset) -> None:
    """Refuses a real-world mapping to another unit than HU, or to HU other than slope and intercept give."""
    for source in (dataset, frame.header):
        for item in source.get("RealWorldValueMappingSequence") or []:
            codes = item.get("MeasurementUnitsCodeSequence")
            unit = text(codes[0], "CodeValue").strip() if codes else ""
            if unit and unit.upper() not in {u.upper() for u in _HU_UNITS}:
                msg = f"{frame.path} maps its values to {quote(unit, 40)}, not HU; name the series of the CT itself"
                raise MskdexError(msg)
            pairs = (("RealWorldValueSlope", "RescaleSlope"), ("RealWorldValueIntercept", "RescaleIntercept"))
            for key, other in pairs:
                said, used = number(item, key), number(frame.header, other)
                if said is not None and used is not None and not np.isclose(said, used):
                    msg = f"{frame.path}: its {key} {said:g} contradicts its {other} {used:g}; export it again"
                    raise MskdexError(msg)


def _padding(dataset: Dataset, pixels: np.ndarray, path: Path) -> np.ndarray | None:
    padding, limit = (number(dataset, key) for key in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    for key, value in (("PixelPaddingValue", padding), ("PixelPaddingRangeLimit", limit)):
        if value is None and has_value(dataset, key):
            msg = f"{path}: its {key} {quote(text(dataset, key), 40)} is no number; export it again"
            raise MskdexError(msg)
    if padding is None:
        return None
    ends = sorted([_as_stored(padding, pixels), _as_stored(padding if limit is None else limit, pixels)])
    return (pixels >= ends[0]) & (pixels <= ends[1])


def _padding_in_tissue(dataset: Dataset, hu: float) -> list[str]:
    if hu <= _AIR_HU:
        return []
    value = quote(text(dataset, "PixelPaddingValue"), 40)
    return [
        f"PixelPaddingValue {value} stands for {hu:.0f} HU, which tissue has too: its voxels were taken for padding; "
        "look at the CT for holes, and export it again if it has some"
    ]


def _as_stored(value: float, pixels: np.ndarray) -> int:
    """PixelPaddingValue is often written signed where pixels are not, or the reverse; both have the same bits."""
    return int(np.array(int(value)).astype(pixels.dtype))


def _in_stored_bits(dataset: Dataset, pixels: np.ndarray, padded: np.ndarray | None, path: Path) -> np.ndarray:
    """The values of the stored bits, without what other bits of a cell hold; PS3.5, 8.1.1."""
    allocated, stored = integer(dataset, "BitsAllocated"), integer(dataset, "BitsStored")
    high = integer(dataset, "HighBit", stored - 1)
    if high != stored - 1 or not 0 < stored <= allocated:
        msg = f"{path}: BitsStored {stored} and HighBit {high} of {allocated} bits cannot be; export it again"
        raise MskdexError(msg)
    cell = 8 * pixels.dtype.itemsize
    if stored >= cell or pixels.dtype.kind not in "iu":
        return pixels
    signed = pixels.dtype.kind == "i"
    low, top = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
    outside = (pixels < low) | (pixels > top)
    if padded is not None:
        outside &= ~padded
    if not outside.any():
        return pixels
    overlays = any(e.tag.group & 0xFF00 == 0x6000 and e.tag.element == 0x0102 for e in dataset)
    unextended = signed and pixels.min() >= 0 and pixels.max() < 1 << stored
    if not (overlays or unextended):
        msg = f"{path} has {int(outside.sum())} values beyond the {stored} bits of BitsStored; export it again"
        raise MskdexError(msg)
    return (pixels << (cell - stored)) >> (cell - stored)
