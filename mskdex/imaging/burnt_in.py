"""What was drawn into a radiograph or laid around it: burnt-in text and the corners of a turned image."""

import numpy as np
import SimpleITK as sitk

_MOST_TEXT = 0.1
_LEAST_TEXT_PIXELS = 12
_ABOVE_AIR, _CONTRAST = 0.05, 0.25
"""Text differs from what is around it by this share of the image's range: the first where it is brighter than air."""
_EDGE_SHARE = 0.2
"""Text as dark as lead counts in this share of the width beside the edges only; further in it may be an implant."""
_LETTER = 0.15
"""Letters are smaller than this share of the image's shorter side."""
_TRIANGLE = (0.35, 0.65)
"""Area of a corner over that of its box."""


def burnt_in_text(attenuation: np.ndarray, field: np.ndarray, lossy: bool) -> np.ndarray:
    """Thin strokes of exactly the image's lowest or highest value, far from the values around them.

    Args:
        attenuation: log attenuation on any scale (H, W).
        field: pixels that are part of the image, bool (H, W).
        lossy: whether pixels were compressed with loss, which makes strokes uneven.

    Returns:
        bool (H, W).
    """
    found = np.zeros(attenuation.shape, bool)
    low, high = (float(v) for v in np.quantile(attenuation[field][::7], [0.005, 0.995]))
    span = max(high - low, 1e-9)
    for image, part, contrast in (
        (-attenuation, field, _ABOVE_AIR),
        (attenuation, field & _edges(field), _CONTRAST),
    ):
        peak = float(image[field].max())
        mask = (image >= peak - (0.02 * span if lossy else 0.0)) & part
        if _LEAST_TEXT_PIXELS <= mask.sum() <= _MOST_TEXT * mask.size:
            text = _letters(_thin(image, mask, contrast * span), field)
            found |= text if text.sum() >= _LEAST_TEXT_PIXELS else False
    return found


def _thin(image: np.ndarray, mask: np.ndarray, least: float) -> np.ndarray:
    radius = max(2, round(0.005 * min(image.shape)))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    pad = 3 * radius + 1
    box = np.s_[max(rows[0] - pad, 0) : rows[-1] + pad + 1, max(columns[0] - pad, 0) : columns[-1] + pad + 1]
    part = np.ascontiguousarray(image[box], dtype=np.float32)
    opened = sitk.GrayscaleMorphologicalOpening(sitk.GetImageFromArray(part), [radius, radius], sitk.sitkBox)
    text = np.zeros(mask.shape, bool)
    text[box] = mask[box] & (part - sitk.GetArrayViewFromImage(opened) > least)
    return text


def _letters(strokes: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The strokes that are small and within the field, as letters are; air between patient and blade is a stripe."""
    shapes = sitk.LabelShapeStatisticsImageFilter()
    joined = sitk.ConnectedComponent(sitk.GetImageFromArray(strokes.astype(np.uint8)), True)
    shapes.Execute(joined)
    most = _LETTER * min(strokes.shape)
    small = [i for i in shapes.GetLabels() if max(shapes.GetBoundingBox(i)[2:]) <= most]
    labels = sitk.GetArrayFromImage(joined)
    outside = sitk.GetImageFromArray((~field).astype(np.uint8))
    beside = np.unique(labels[sitk.GetArrayViewFromImage(sitk.BinaryDilate(outside, [1, 1])) > 0])
    return np.isin(labels, np.setdiff1d(small, beside))


def _edges(field: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
    inner = np.zeros(field.shape, bool)
    h, w = (round(_EDGE_SHARE * (at[-1] - at[0])) for at in (rows, columns))
    inner[rows[0] + h : rows[-1] + 1 - h, columns[0] + w : columns[-1] + 1 - w] = True
    return ~inner


def turned_corners(grey: np.ndarray) -> np.ndarray:
    """The triangles of one value that remain at the corners of an image turned by some degrees.

    Args:
        grey: stored values (H, W).

    Returns:
        bool (H, W); at least three corners must be such triangles, as air beside a patient may touch some.
    """
    found = np.zeros(grey.shape, bool)
    corners = np.array([grey[r, c] for r in (0, -1) for c in (0, -1)])
    values, counts = np.unique(corners, return_counts=True)
    if counts.max() < 3:
        return found
    mask = grey == values[counts.argmax()]
    triangles = 0
    for rows in (slice(None), slice(None, None, -1)):
        for columns in (slice(None), slice(None, None, -1)):
            part = _triangle(mask[rows, columns])
            triangles += int(part.any())
            found[rows, columns] |= part
    return found if triangles >= 3 else np.zeros(grey.shape, bool)


def _triangle(mask: np.ndarray) -> np.ndarray:
    """The triangle at the upper left corner of a mask, empty if there is none."""
    run = np.logical_and.accumulate(mask, axis=1).sum(axis=1)
    height = int(np.argmin(run > 0)) if (run == 0).any() else len(run)
    found = np.zeros(mask.shape, bool)
    if height < 3 or run[0] < 3 or height > 0.9 * mask.shape[0] or run[0] > 0.9 * mask.shape[1]:
        return found
    share = run[:height].sum() / (height * run[0])
    if not _TRIANGLE[0] <= share <= _TRIANGLE[1] or (np.diff(run[:height]) > 1).any():
        return found
    found[:height] = np.arange(mask.shape[1]) < run[:height, None]
    return found
