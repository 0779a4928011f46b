"""The exposed field of a radiograph: without collimated and blanked borders and without markers."""

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from mskdex.io.dicom import number, numbers

_LEAST_FIELD = 0.02
_FLAT_SHARE = 0.98
_FADING_SHARE = 0.5
_BLADE_NEPERS = 0.7
"""Collimator blades attenuate this much more than nearly all of the field's middle."""
_EDGE_NEPERS, _EDGE_SHARE, _EDGE_OF_SIDE = 0.5, 0.6, 150
"""A blade's edge lowers attenuation by this at least, along this share of a line, within this part of the image."""
_MARKER_MOST_MM = 45.0
_MARKER_NEPERS = 1.2
"""Lead takes nearly everything; cortical bone adds less than this."""
_MARKER_EDGE_SHARE = 0.2
"""Markers lie in this share of the field's width beside its edges; what lies further in may be an implant."""


def field_from_tags(dataset: Dataset | None, shape: tuple[int, int]) -> tuple[np.ndarray, list[str], list[str]]:
    """The field by the collimator's and the display shutter's tags.

    Returns:
        bool (H, W), all True where the tags are silent; the tags that were used; and what is wrong with others.
    """
    field = np.ones(shape, bool)
    used, wrong = [], []
    for kind in ("Collimator", "Shutter"):
        shapes = dataset.get(f"{kind}Shape") if dataset is not None else None
        for name in [shapes] if isinstance(shapes, str) else list(shapes or []):
            part = _tagged_shape(dataset, kind, str(name).upper(), shape)
            if part is not None and (field & part).mean() > _LEAST_FIELD:
                field &= part
                used.append(f"{kind}Shape {name}")
            else:
                reason = "leaves no image" if part is not None else "lacks numbers, or is of an unknown kind"
                wrong.append(f"tag {kind}Shape {name} {reason}; it is passed over")
    return field, used, wrong


def _tagged_shape(dataset: Dataset | None, kind: str, name: str, shape: tuple[int, int]) -> np.ndarray | None:
    if dataset is None:
        return None
    rows, columns = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    if name == "RECTANGULAR":
        edges = [
            number(dataset, f"{kind}{edge}Edge")
            for edge in ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
        ]
        if None in edges:
            return None
        left, right, upper, lower = (e or 0.0 for e in edges)
        return (columns > left) & (columns < right) & (rows > upper) & (rows < lower)
    if name == "CIRCULAR":
        centre, radius = numbers(dataset, f"CenterOfCircular{kind}", 2), number(dataset, f"RadiusOfCircular{kind}")
        return (
            None
            if centre is None or radius is None
            else (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2
        )
    vertices = dataset.get(f"VerticesOfThePolygonal{kind}")
    if name == "POLYGONAL" and vertices and len(vertices) >= 6:
        from skimage.draw import polygon2mask

        return polygon2mask(shape, np.array([float(v) for v in vertices]).reshape(-1, 2) - 1)
    return None


def without_blank_borders(values: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Takes away rows and columns at the border that hold one value throughout: blanked by the console.

    Saturated air beside the patient is flat too, but ends gradually: where the first line that is not flat still
    holds the flat value over half of its length, the border is kept.
    """
    rows, columns = slice(0, values.shape[0]), slice(0, values.shape[1])
    for _ in range(2):  # Blanked columns hide that a row is blanked, and the reverse.
        rows = _unblanked(values[:, columns], rows)
        columns = _unblanked(values[rows].T, columns)
    inside = np.zeros_like(field)
    inside[rows, columns] = True
    return field & inside if (field & inside).any() else field


def _unblanked(lines: np.ndarray, remaining: slice) -> slice:
    """The lines that remain of `remaining` when blanked ones are taken from both ends."""
    first, last = remaining.start, remaining.stop - 1
    at = first
    while at < last and _flat(lines[at]):
        at += 1
    if at > first and _share(lines[at], lines[at - 1]) < _FADING_SHARE:
        first = at
    at = last
    while at > first and _flat(lines[at]):
        at -= 1
    if at < last and _share(lines[at], lines[at + 1]) < _FADING_SHARE:
        last = at
    return slice(first, last + 1)


def _flat(line: np.ndarray) -> bool:
    return bool(np.mean(line == np.median(line)) >= _FLAT_SHARE)


def _share(line: np.ndarray, flat: np.ndarray) -> float:
    return float(np.mean(line == np.median(flat)))


def without_blades(attenuation: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Takes away rows and columns at the border that collimator blades shade.

    A border line is shaded where most of its pixels attenuate more than 98 % of the middle half of the image does,
    by a margin; and all lines are up to one along most of which attenuation drops within a few mm, as along the
    straight edge of a blade behind which the patient's scatter lies.

    Args:
        attenuation: log attenuation, any offset, (H, W).
        field: bool (H, W).
    """
    h, w = attenuation.shape
    middle = attenuation[h // 4 : h - h // 4, w // 4 : w - w // 4]
    limit = np.percentile(middle, 98) + _BLADE_NEPERS
    dark = attenuation > limit
    inside = field.copy()
    for axis, lines in ((0, dark), (1, dark.T)):
        shaded = lines.mean(axis=1) > 0.5
        n = len(shaded)
        first = int(np.argmin(shaded)) if not shaded.all() else 0
        last = n - int(np.argmin(shaded[::-1])) if not shaded.all() else n
        if axis == 0:
            inside[:first], inside[last:] = False, False
        else:
            inside[:, :first], inside[:, last:] = False, False
    inside = _within_edges(attenuation, inside)
    return inside if inside.any() else field


def _within_edges(attenuation: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The field without what lies beyond a straight edge of a blade in its outer quarters."""
    inside = field.copy()
    for quarter_turns in range(4):
        lines, known = np.rot90(attenuation, quarter_turns), np.rot90(field, quarter_turns)
        reach = max(2, len(lines) // _EDGE_OF_SIDE)
        both = known[:-reach] & known[reach:]
        drops = (lines[:-reach] - lines[reach:] > _EDGE_NEPERS) & both
        edge = drops.sum(axis=1) > np.maximum(_EDGE_SHARE * both.sum(axis=1), _EDGE_SHARE * lines.shape[1] / 2)
        found = np.flatnonzero(edge[: len(lines) // 4])
        if found.size:
            np.rot90(inside, quarter_turns)[: found[-1] + reach] = False
    return inside


def without_markers(attenuation: np.ndarray, field: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Takes away lead letters and burnt-in text: small, denser than what is around them, and near the field's edge.

    Args:
        attenuation: log attenuation (H, W).
        field: bool (H, W).
        pixel_mm: pixel size.
    """
    rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
    if rows.size < 8 or columns.size < 8:
        return field
    size = max(3, round(_MARKER_MOST_MM / pixel_mm / 2) * 2 + 1)
    # Padding and burnt-in text brighter than air would make all that is beside them look dense.
    known = np.where(field, attenuation, np.maximum(attenuation, attenuation[field].min()))
    image = sitk.GetImageFromArray(known.astype(np.float32))
    opened = sitk.GetArrayFromImage(sitk.GrayscaleMorphologicalOpening(image, [size // 2, size // 2], sitk.sitkBox))
    found = (attenuation - opened > _MARKER_NEPERS) & field
    if not found.any():
        return field
    shapes = sitk.LabelShapeStatisticsImageFilter()
    joined = sitk.ConnectedComponent(sitk.GetImageFromArray(found.astype(np.uint8)), True)
    shapes.Execute(joined)
    marked = [i for i in shapes.GetLabels() if _like_marker(shapes, i, rows, columns, pixel_mm)]
    inside = field.copy()
    if marked:
        inside[dilated(np.isin(sitk.GetArrayViewFromImage(joined), marked))] = False
    return inside


def _like_marker(
    shapes: sitk.LabelShapeStatisticsImageFilter, label: int, rows: np.ndarray, columns: np.ndarray, pixel_mm: float
) -> bool:
    left, top, width, height = shapes.GetBoundingBox(label)
    if max(width, height) * pixel_mm > _MARKER_MOST_MM or min(width, height) < 2:
        return False
    for centre, line in ((top + height / 2, rows), (left + width / 2, columns)):
        margin = _MARKER_EDGE_SHARE * (line[-1] - line[0])
        if centre < line[0] + margin or centre > line[-1] - margin:
            return True
    return False


def dilated(mask: np.ndarray) -> np.ndarray:
    """A mask and the two pixels around it, bool (H, W)."""
    return sitk.GetArrayFromImage(sitk.BinaryDilate(sitk.GetImageFromArray(mask.astype(np.uint8)), [2, 2])) > 0
