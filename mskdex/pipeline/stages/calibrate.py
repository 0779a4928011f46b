"""Stage `calibrate`: a radiograph's grey values beside the attenuation of the patient's CT at the registered pose."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.objects import Channel
from mskdex.config.registration import CalibrationSettings
from mskdex.imaging.radiograph import read_radiograph
from mskdex.io.artifacts import manifest, read_json, write_json
from mskdex.io.volume import read_labelled
from mskdex.registration.bodies import Outline, find_outlines
from mskdex.registration.fixed_image import View
from mskdex.registration.grey_calibration import (
    LEAST_PIXELS,
    PIXEL_MM,
    GreyFit,
    compared_pixels,
    ct_nepers,
    fit_greys,
    moving_pixels,
    patient_attenuation,
)
from mskdex.registration.grey_flags import correction, grey_flags


@dataclass(frozen=True)
class _Pose:
    """The first accepted body of pose.json."""

    body: str
    camera_from_ct: np.ndarray


def calibrate(
    ct: Path, labels: Path, radiograph_dir: Path, channels: Sequence[Channel], settings: CalibrationSettings, out: Path
) -> None:
    """Writes `out` (calibration.json): fit, flags and, where it is flagged, the correction.

    `scale` is the radiograph's; `body` is the one whose registered pose is used (the pelvis); `fit` holds the numbers
    of `grey_calibration.GreyFit`, null with a `reason` where nothing could be compared; `sound` is what a sound
    absolute radiograph shows at its knots, in nepers; `flags` are in words;
    `correction` is the [gain, shift] that takes the grey values to the expected line, null where nothing is flagged
    or no line corrects it; `device` and `standardisation` are import.json's `device_profile` and `standardisation`.

    Args:
        ct: ct.nii.gz. labels: labels.nii.gz.
        radiograph_dir: folder of the imported patient, with import.json and pose.json.
        channels: all objects.
        settings: what a sound radiograph looks like, and how far it may be off.
        out: the file to write.

    Raises:
        MskdexError: a file that cannot be read, or that does not belong to the others.
    """
    started = time.time()
    radiograph = read_radiograph(radiograph_dir)
    pose = _pose(read_json(radiograph_dir / "pose.json")["bodies"])
    content: dict[str, Any] = {"scale": radiograph.scale, "body": None, "fit": None, "flags": [], "correction": None}
    content["sound"] = None
    imported = read_json(radiograph_dir / "import.json")["radiograph"]
    content |= {"device": imported["device_profile"], "standardisation": imported["standardisation"]}
    if pose is None:
        content["reason"] = "no body is registered, so nothing says where the radiograph shows the CT"
    else:
        volume, label_map = read_labelled(ct, labels)
        bodies = find_outlines(label_map, volume.world_from_voxel, channels)
        view = View(radiograph.image, radiograph.field, radiograph.camera).at(PIXEL_MM)
        fit = fit_greys(*_compared(volume.array, volume.world_from_voxel, bodies, view, pose))
        content["body"] = pose.body
        content["reason"] = None if fit else "too few pixels, or too equal ones, can be compared with the CT"
        if fit is not None:
            flags = grey_flags(fit, radiograph.scale, settings)
            content |= {"fit": fit.as_dict(), "flags": flags, "sound": _sound(fit, settings)}
            content["correction"] = correction(fit, radiograph.scale, settings) if flags else None
    write_json(out, content | {"manifest": manifest("calibrate", started)})


def _sound(fit: GreyFit, settings: CalibrationSettings) -> list[float]:
    return [round(settings.expected_slope * v + settings.expected_offset, 5) for v in fit.attenuation]


def _pose(bodies: Mapping[str, Mapping[str, Any]]) -> _Pose | None:
    for name, entry in bodies.items():
        if entry["accepted"]:
            return _Pose(name, np.array(entry["camera_from_ct"], dtype=np.float64))
    return None


def comparison_region(
    hu: np.ndarray, world_from_voxel: np.ndarray, bodies: Mapping[str, Outline], view: View, pose: _Pose
) -> tuple[np.ndarray, np.ndarray]:
    """The CT's nepers, (H, W), and the pixels that are compared, bool (H, W).

    A CT that shows too little above the hips is compared below them too.
    """
    attenuation = patient_attenuation(hu)
    nepers = ct_nepers(attenuation, world_from_voxel, view.camera, pose.camera_from_ct)
    for thighs in (True, False):
        moving = moving_pixels(bodies, pose.body, view.camera, pose.camera_from_ct, thighs=thighs)
        chosen = compared_pixels(nepers, view, attenuation, world_from_voxel, pose.camera_from_ct, moving)
        if chosen.sum() >= LEAST_PIXELS:
            break
    return nepers, chosen


def _compared(
    hu: np.ndarray, world_from_voxel: np.ndarray, bodies: Mapping[str, Outline], view: View, pose: _Pose
) -> tuple[np.ndarray, np.ndarray]:
    """The CT's nepers and the radiograph's grey values, (N,) each, of the pixels that are compared."""
    nepers, chosen = comparison_region(hu, world_from_voxel, bodies, view, pose)
    return nepers[chosen].astype(np.float64), view.image[chosen].astype(np.float64)
