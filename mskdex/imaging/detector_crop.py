"""Where the central ray meets an image that shows a part of the detector."""

import numpy as np

from mskdex.imaging.radiograph_camera import DetectorTags

_SAME_SIZE = 0.02
"""Sizes of detector and image may differ by this share before the image counts as cropped."""


def central_ray(
    detector: DetectorTags, shape: tuple[int, int], pixel_mm: tuple[float, float]
) -> tuple[tuple[float, float] | None, list[str]]:
    """The stored pixel that the middle of the detector's active area falls on; the central ray is taken to meet it.

    The field of view's first pixel lies at FieldOfViewOrigin on the detector; the image was then turned clockwise by
    FieldOfViewRotation, then flipped left to right where FieldOfViewHorizontalFlip says so (DICOM PS3.3, DX Detector
    module).

    Args:
        detector: what the tags say.
        shape: (rows, columns) of the stored image.
        pixel_mm: (row, column) distances of the stored image at the detector.

    Returns:
        (row, column) in the stored image, None where the tags do not say it; and what a human should know.
    """
    turned = detector.rotation_deg % 180 == 90
    rows, columns = shape[::-1] if turned else shape
    pixel = np.array(pixel_mm[::-1] if turned else pixel_mm)
    size = np.array([rows, columns]) * pixel
    if detector.origin_elements is None or detector.element_mm is None or detector.active_mm is None:
        return None, _unplaced(detector, size)
    if detector.rotation_deg not in {0.0, 90.0, 180.0, 270.0}:
        return None, [f"tag FieldOfViewRotation is {detector.rotation_deg:g}, no quarter turn; it is passed over"]
    doubt = _cropped_later(detector, size) or _beyond_detector(detector, size)
    if doubt:
        return None, [f"{doubt}; the central ray is taken to meet the middle of the image; {_GIVE}"]
    middle = _active_origin_mm(detector) + detector.active_mm / 2
    row, column = (middle - detector.origin_elements * detector.element_mm) / pixel - 0.5
    for _ in range(round(detector.rotation_deg / 90)):
        row, column, rows, columns = column, rows - 1 - row, columns, rows
    if detector.flipped:
        column = columns - 1 - column
    return (float(row), float(column)), []


def _active_origin_mm(detector: DetectorTags) -> np.ndarray:
    """First corner of the active area on the detector."""
    if detector.active_origin_elements is None or detector.element_mm is None:
        return np.zeros(2)
    return detector.active_origin_elements * detector.element_mm


def _cropped_later(detector: DetectorTags, size: np.ndarray) -> str:
    """Why the tags do not place the image: it is not their field of view, of which any part may have been cut off."""
    field = detector.field_mm
    if field is None or np.abs(size / field - 1).max() <= _SAME_SIZE:
        return ""
    return f"the image is {_text(size)} mm, its field of view {_text(field)} mm: cropped later"


def _beyond_detector(detector: DetectorTags, size: np.ndarray) -> str:
    """Why the tags cannot be right: by them a part of the image lies beside the detector's active area."""
    assert detector.origin_elements is not None
    assert detector.element_mm is not None
    assert detector.active_mm is not None
    low = detector.origin_elements * detector.element_mm - _active_origin_mm(detector)
    spare = _SAME_SIZE * detector.active_mm
    if (low >= -spare).all() and (low + size <= detector.active_mm + spare).all():
        return ""
    return (
        f"by tag FieldOfViewOrigin the image, {_text(size)} mm, begins {_text(low)} mm from the corner of a detector "
        f"of {_text(detector.active_mm)} mm, beyond which it lies"
    )


_GIVE = "give principal_row_px and principal_column_px in the sheet"


def _unplaced(detector: DetectorTags, size: np.ndarray) -> list[str]:
    whole = detector.active_mm if detector.active_mm is not None else detector.field_mm
    if whole is None or whole.min() <= 0:
        if detector.origin_elements is not None and detector.origin_elements.any():
            return [f"tag FieldOfViewOrigin says that the image is cropped, but not how large the detector is; {_GIVE}"]
        return []
    share = min((size / whole for whole in (whole, whole[::-1])), key=lambda s: float(np.abs(s - 1).max()))
    if share.max() > 1 + _SAME_SIZE:
        return [f"the image is {_text(size)} mm, larger than its detector of {_text(whole)} mm; check the pixel size"]
    if share.min() < 1 - _SAME_SIZE:
        return [
            f"the image shows {_text(size)} mm of a detector of {_text(whole)} mm and no tag says which part; the "
            f"central ray is taken to meet the middle of the image; {_GIVE}"
        ]
    return []


def _text(size: np.ndarray | None) -> str:
    return "?" if size is None else " x ".join(f"{v:.0f}" for v in size)
