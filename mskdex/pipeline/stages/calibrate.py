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
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.grey_calibration import (
    AIR_NEPERS,
    LEAST_PIXELS,
    PIXEL_MM,
    compared_pixels,
    covered_rays,
    ct_nepers,
    fit_greys,
    moving_pixels,
    patient_attenuation,
)
from mskdex.registration.grey_flags import correction, grey_flags
from mskdex.registration.thin_parts import air_pixels, paths_within, thin_parts

_OFFSET_NEPERS = 1.0
"""Attenuation from which on a sound radiograph's line has its offset: scattered radiation comes with the body."""


@dataclass(frozen=True)
class RegisteredPose:
    """The first accepted body of pose.json.

    Attributes:
        body: its name.
        camera_from_ct: 4×4.
    """

    body: str
    camera_from_ct: np.ndarray


@dataclass(frozen=True)
class ComparedGreys:
    """A radiograph beside its CT, on the same pixels (H, W).

    Attributes:
        nepers: attenuation of the CT.
        image: the radiograph's grey values.
        chosen: pixels that are compared one by one.
        body: pixels of the body that the CT covers and in which nothing moves, edges among them.
        air: pixels of bare air.
    """

    nepers: np.ndarray
    image: np.ndarray
    chosen: np.ndarray
    body: np.ndarray
    air: np.ndarray

    @property
    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """The CT's nepers and the radiograph's grey values, (N,) each, of the pixels that are compared."""
        return self.nepers[self.chosen].astype(np.float64), self.image[self.chosen].astype(np.float64)


def calibrate(
    ct: Path, labels: Path, radiograph_dir: Path, channels: Sequence[Channel], settings: CalibrationSettings, out: Path
) -> None:
    """Writes `out` (calibration.json): fit, flags and, where it is flagged, the correction.

    `scale` is the radiograph's; `body` is the one whose registered pose is used (the pelvis); `fit` holds the numbers
    of `grey_calibration.GreyFit`, null with a `reason` where nothing could be compared; `sound` is what a sound
    absolute radiograph shows at its knots, in nepers; `thin` has grey values and `sound` of air and of thinner parts
    (`thin_parts.ThinParts`); `flags` are in words;
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
    content |= {"sound": None, "thin": None}
    imported = read_json(radiograph_dir / "import.json")["radiograph"]
    content |= {"device": imported["device_profile"], "standardisation": imported["standardisation"]}
    if pose is None:
        content["reason"] = "no body is registered, so nothing says where the radiograph shows the CT"
    else:
        volume, label_map = read_labelled(ct, labels)
        bodies = find_outlines(label_map, volume.world_from_voxel, channels)
        view = FixedImage(radiograph.image, radiograph.field, radiograph.camera).at(PIXEL_MM)
        compared = compare(volume.array, volume.world_from_voxel, bodies, view, pose)
        content |= {"body": pose.body} | assessment(compared, radiograph.scale, settings)
    write_json(out, content | {"manifest": manifest("calibrate", started)})


def assessment(compared: ComparedGreys, scale: str, settings: CalibrationSettings) -> dict[str, Any]:
    """What calibration.json says of a comparison.

    Args:
        compared: radiograph and CT.
        scale: of the radiograph, absolute or relative.
        settings: what a sound radiograph looks like, and how far it may be off.
    """
    fit = fit_greys(*compared.pixels)
    if fit is None:
        return {"reason": "too few pixels, or too equal ones, can be compared with the CT"}
    thin = thin_parts(fit, compared.nepers, compared.image, compared.body, compared.air)
    flags = grey_flags(fit, scale, settings, thin)
    return {
        "reason": None,
        "fit": fit.as_dict(),
        "flags": flags,
        "sound": _sound(fit.attenuation, settings),
        "thin": {"sound": _sound(thin.attenuation, settings), "grey": [round(v, 5) for v in thin.grey]},
        "correction": correction(fit, scale, settings) if flags else None,
    }


def _sound(nepers: Sequence[float], settings: CalibrationSettings) -> list[float]:
    """What a sound absolute radiograph shows where the CT has so many nepers: the expected line, and 0 in air."""
    slope, offset = settings.expected_slope, settings.expected_offset
    return [round(slope * v + offset * min(v / _OFFSET_NEPERS, 1.0), 5) for v in nepers]


def _pose(bodies: Mapping[str, Mapping[str, Any]]) -> RegisteredPose | None:
    for name, entry in bodies.items():
        if entry["accepted"]:
            return RegisteredPose(name, np.array(entry["camera_from_ct"], dtype=np.float64))
    return None


def compare(
    hu: np.ndarray, world_from_voxel: np.ndarray, bodies: Mapping[str, Outline], view: FixedImage, pose: RegisteredPose
) -> ComparedGreys:
    """The radiograph beside the CT at the registered pose.

    A CT that shows too little above the hips is compared below them too.
    """
    attenuation = patient_attenuation(hu)
    nepers = ct_nepers(attenuation, world_from_voxel, view.camera, pose.camera_from_ct)
    covered = covered_rays(attenuation, world_from_voxel, view.camera, pose.camera_from_ct)
    for thighs in (True, False):
        moving = moving_pixels(bodies, pose.body, view.camera, pose.camera_from_ct, thighs=thighs)
        chosen = compared_pixels(nepers, view, covered, moving)
        if chosen.sum() >= LEAST_PIXELS:
            break
    body = view.field & covered & ~moving & (nepers > AIR_NEPERS)
    air = air_pixels(nepers, view, moving, paths_within(hu.shape, world_from_voxel, view.camera, pose.camera_from_ct))
    return ComparedGreys(nepers, view.image, chosen, body, air)
