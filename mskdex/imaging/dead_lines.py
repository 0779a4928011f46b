"""Rows and columns of a radiograph that hold one value throughout: lines of the detector that do not read."""

import numpy as np

_MOST_WIDE = 4
"""Lines side by side; more of one value are a blanked part of the image."""

_MOST_LISTED = 6


def dead_lines(grey: np.ndarray, field: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Finds lines of one value between lines that vary.

    Args:
        grey: stored values (H, W).
        field: pixels that are part of the image, bool (H, W).

    Returns:
        bool (H, W), True on such lines, and a warning that names them.
    """
    found = np.zeros(field.shape, bool)
    notes = []
    for name, turned, image, part in (("rows", found, grey, field), ("columns", found.T, grey.T, field.T)):
        lines = _lines(image, part)
        turned[lines] = True
        if lines:
            more = ", ..." if len(lines) > _MOST_LISTED else ""
            notes.append(f"{name} {', '.join(str(n + 1) for n in lines[:_MOST_LISTED])}{more}")
    if not notes:
        return found, []
    return found, [
        f"{' and '.join(notes)} hold one value throughout, as dead lines of a detector do: they are left out of the "
        "field; use the corrected image"
    ]


def _lines(image: np.ndarray, part: np.ndarray) -> list[int]:
    """Rows of one value within the field, in narrow groups with rows that vary on either side."""
    inside = np.flatnonzero(part.any(axis=1))
    if inside.size < 3:
        return []
    top, bottom = int(inside[0]), int(inside[-1]) + 1
    body, mask = image[top:bottom], part[top:bottom]
    low = np.where(mask, body, body.max()).min(axis=1)
    flat = (np.where(mask, body, body.min()).max(axis=1) == low) & (mask.sum(axis=1) > 1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(np.int8)))
    groups = zip(edges[::2], edges[1::2], strict=True)
    return [
        top + n for a, b in groups if a > 0 and b < len(flat) and b - a <= _MOST_WIDE for n in range(int(a), int(b))
    ]
