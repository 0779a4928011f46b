"""Processed radiographs and logs of unknown scale: standardised by soft tissue and bone, on a scale like nepers."""

import numpy as np

from mskdex.errors import MskdexError

SOFT_QUANTILE, BONE_QUANTILE = 0.20, 0.95
SOFT_NEPERS, BONE_NEPERS = 3.8, 5.3
"""Log attenuation at those quantiles of the middle of the field: means of 60 virtual patients, 3.77 (SD 0.60) and 5.28
(0.55; `python benchmarks/relative_scale.py --patients 60`). They fix a range like that of a hip, no more: the scale
stays relative."""
_ROWS, _COLUMNS = 0.8, 0.7
"""Share of the field's height and width that is its middle, where there is little air beside the patient."""


def standardisation(values: np.ndarray, field: np.ndarray) -> tuple[float, float]:
    """Gain and offset that take soft tissue to `SOFT_NEPERS` and bone to `BONE_NEPERS`.

    Args:
        values: grey values that rise with attenuation (H, W).
        field: exposed and unmarked pixels, bool (H, W).

    Returns:
        gain and offset: gain · values + offset.

    Raises:
        MskdexError: the middle of the field is flat.
    """
    soft, bone = np.quantile(middle_of_field(values, field), [SOFT_QUANTILE, BONE_QUANTILE])
    if not bone > soft:
        msg = "the middle of its exposed field is flat: soft tissue and bone have one value; export the original image"
        raise MskdexError(msg)
    gain = (BONE_NEPERS - SOFT_NEPERS) / float(bone - soft)
    return gain, SOFT_NEPERS - gain * float(soft)


def middle_of_field(values: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The values of the field's middle, 1-D; of the whole field where its middle is not exposed."""
    box = []
    for axis, share in ((1, _ROWS), (0, _COLUMNS)):
        at = np.flatnonzero(field.any(axis=axis))
        if at.size == 0:
            msg = "no pixel of it is in the exposed field; check its collimator and shutter tags"
            raise MskdexError(msg)
        cut = int((1 - share) / 2 * (at[-1] + 1 - at[0]))
        box.append(slice(at[0] + cut, at[-1] + 1 - cut))
    inside = values[box[0], box[1]][field[box[0], box[1]]]
    return inside if inside.size else values[field]
