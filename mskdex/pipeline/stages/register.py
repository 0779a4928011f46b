"""Stage `register`: 2D-3D registration of a patient's bones to the radiograph."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.imaging import RenderingSettings
from mskdex.config.objects import Channel
from mskdex.config.registration import RegistrationSettings
from mskdex.imaging.label_extent import recorded_cuts
from mskdex.imaging.radiograph import Radiograph, read_radiograph
from mskdex.io.artifacts import manifest, read_json, write_json
from mskdex.io.volume import read_labelled
from mskdex.registration.bodies import Body, find_bodies
from mskdex.registration.camera_prior import CameraPrior, space_error
from mskdex.registration.fixed_image import View
from mskdex.registration.registering import Patient, Registration, register_bodies, sided
from mskdex.registration.starts import read_starts


def register(
    ct: Path,
    labels: Path,
    radiograph_dir: Path,
    channels: Sequence[Channel],
    settings: RegistrationSettings,
    rendering: RenderingSettings,
    out: Path,
    imported: Path | None = None,
) -> None:
    """Registers every rigid body and writes `out` (pose.json).

    Each body has its camera_from_ct (4×4, null when it was not accepted), the start, similarity, confidence,
    `confidence_image` (that alone decides on acceptance and so on the bone loss, which is rendered in the same camera;
    `confidence` is the same number), `confidence_space`, the errors to be expected on the image and in space,
    `accepted` with the `reason` when it was not, standard deviations and CPU seconds. A bone that cannot be
    registered is an entry with a reason, not an error. `voxel_mm` is the edge of a cube of a voxel's volume. `imported`
    is the import.json, which knows what the label file's own edge cuts.

    Raises:
        MskdexError: a file that cannot be read, or that does not belong to the others.
    """
    started = time.time()
    volume, label_map = read_labelled(ct, labels)
    radiograph = read_radiograph(radiograph_dir)
    cut = recorded_cuts(imported, channels)
    bodies = find_bodies(volume.array, label_map, volume.world_from_voxel, channels, cut)
    view = View(radiograph.image, radiograph.field, radiograph.camera)
    starts = read_starts(settings.starts, out.parent.name, bodies, radiograph.camera)
    patient = Patient(bodies, view, radiograph.camera_from_ct, starts)
    found = register_bodies(patient, settings, rendering.step_mm)
    content = {name: _entry(found.get(name), name, bodies, radiograph, channels) for name in _names(settings, channels)}
    prior = CameraPrior.of(read_json(radiograph_dir / "camera.json").get("sources", {}), settings.camera_prior)
    for name, entry in content.items():
        entry |= _in_space(found.get(name), bodies.get(name), radiograph, prior)
    facts = {"seed": settings.seed, "accepted": sum(entry["accepted"] for entry in content.values())}
    voxel_mm = round(abs(float(np.linalg.det(volume.world_from_voxel[:3, :3]))) ** (1 / 3), 3)
    write_json(out, {"bodies": content, "voxel_mm": voxel_mm, "manifest": manifest("register", started, **facts)})


def _in_space(
    found: Registration | None, body: Body | None, radiograph: Radiograph, prior: CameraPrior
) -> dict[str, Any]:
    """Confidence and errors apart: on the image, given the camera, and in space, its uncertainty included."""
    if found is None or body is None or found.pose is None or found.covariance is None:
        image = 0.0 if found is None else found.confidence
        names = ("expected_mpd_mm", "expected_mtre_mm", "sd_space_mm")
        return {"confidence_image": _rounded(image), "confidence_space": 0.0, **dict.fromkeys(names)}
    error = space_error(found.pose, found.covariance, body.centre_mm, body.targets_mm, radiograph.camera, prior)
    return {
        "confidence_image": _rounded(found.confidence),
        "confidence_space": _rounded(found.confidence * error.within),
        "expected_mpd_mm": _rounded(error.expected_mpd_mm),
        "expected_mtre_mm": _rounded(error.expected_mtre_mm),
        "sd_space_mm": _rounded(error.sd_mm),
    }


def _names(settings: RegistrationSettings, channels: Sequence[Channel]) -> list[str]:
    known = {c.body for c in channels}
    return [n for item in settings.bodies for n, _ in sided(item, settings.bodies) if n in known]


def _entry(
    found: Registration | None,
    name: str,
    bodies: dict[str, Body],
    radiograph: Radiograph,
    channels: Sequence[Channel],
) -> dict[str, Any]:
    if found is None:
        objects = [c.name for c in channels if c.body == name]
        found = Registration(
            tuple(objects), None, radiograph.camera_from_ct, None, 0.0, False, "the CT's labels do not hold it",
            None, None, 0.0,
        )  # fmt: skip
    return {
        "objects": list(found.objects),
        "camera_from_ct": None if found.pose is None else found.pose.tolist(),
        "start": found.start.tolist(),
        "similarity": _rounded(found.similarity),
        "confidence": _rounded(found.confidence),
        "accepted": found.accepted,
        "reason": found.reason,
        "sd_mm": _rounded(found.sd_mm),
        "sd_deg": _rounded(found.sd_deg),
        "seconds": round(found.seconds, 3),
        "truncated": name in bodies and bodies[name].truncated,
        "scores": {key: _rounded(value) for key, value in found.scores.items()},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 5)
