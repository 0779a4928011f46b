"""Stage `register`: 2D-3D registration of a patient's bones to the radiograph."""

import time
from collections.abc import Mapping, Sequence
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
from mskdex.registration.bodies import RigidBody, find_bodies
from mskdex.registration.camera_prior import CameraPrior, space_error
from mskdex.registration.confidence import in_space
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.joint_camera import CameraEstimate, Depth, PlacedBody, estimate_camera
from mskdex.registration.registering import (
    PatientViews,
    Registration,
    no_finer_than_voxels,
    register_bodies,
    sided,
    voxel_of,
)
from mskdex.registration.single import RenderedBody
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
    registered is an entry with a reason, not an error. `voxel_mm` is the edge of a cube of a voxel's volume. `camera`
    is the one that prior and accepted bodies agree on, with its standard deviations in mm and those of the prior, null
    where none is accepted; `camera_from_ct_estimated` is the pose in that camera, which the errors in space are about.
    `imported` is the import.json, which knows what the label file's own edge cuts.

    Raises:
        MskdexError: a file that cannot be read, or that does not belong to the others.
    """
    started = time.time()
    volume, label_map = read_labelled(ct, labels)
    radiograph = read_radiograph(radiograph_dir)
    cut = recorded_cuts(imported, channels)
    bodies = find_bodies(volume.array, label_map, volume.world_from_voxel, channels, cut)
    view = FixedImage(radiograph.image, radiograph.field, radiograph.camera)
    starts = read_starts(settings.starts, out.parent.name, bodies, radiograph.camera)
    patient = PatientViews(bodies, view, radiograph.camera_from_ct, starts)
    found = register_bodies(patient, settings, rendering.step_mm)
    content = {name: _entry(found.get(name), name, bodies, radiograph, channels) for name in _names(settings, channels)}
    camera_facts = read_json(radiograph_dir / "camera.json")
    prior = CameraPrior.of(camera_facts.get("sources", {}), settings.camera_prior)
    middle = np.array(camera_facts["isocentre_mm"], dtype=np.float64)
    depth = Depth(middle, float(camera_facts["source_to_isocentre_mm"]), prior.depth_mm)
    accepted = {name: one for name, one in found.items() if one.pose is not None}
    estimate = _estimate(accepted, bodies, view, (prior, depth), settings, rendering.step_mm)
    poses = dict(zip(accepted, estimate.poses if estimate else (), strict=True))
    for name, entry in content.items():
        entry |= _in_space(found.get(name), bodies.get(name), poses.get(name), estimate)
    facts = {"seed": settings.seed, "accepted": sum(entry["accepted"] for entry in content.values())}
    voxel_mm = round(abs(float(np.linalg.det(volume.world_from_voxel[:3, :3]))) ** (1 / 3), 3)
    camera = _camera(estimate, prior)
    manifested = manifest("register", started, **facts)
    write_json(out, {"bodies": content, "camera": camera, "voxel_mm": voxel_mm, "manifest": manifested})


def _estimate(
    accepted: Mapping[str, Registration],
    bodies: Mapping[str, RigidBody],
    view: FixedImage,
    known: tuple[CameraPrior, Depth],
    settings: RegistrationSettings,
    step_mm: float,
) -> CameraEstimate | None:
    """The camera of the accepted bodies, compared on the finest grid of their refinement."""
    if not accepted:
        return None
    voxel_mm = min(voxel_of(bodies[name]) for name in accepted)
    fine = view.blurred(settings.radiograph_blur_mm).at(no_finer_than_voxels(settings.fine_pixels_mm, voxel_mm)[-1])
    placed = [
        PlacedBody(RenderedBody.of(bodies[name], settings, step_mm), one.pose)
        for name, one in accepted.items()
        if one.pose is not None
    ]
    prior, depth = known
    return estimate_camera(placed, fine, prior, settings, depth)


def _camera(estimate: CameraEstimate | None, prior: CameraPrior) -> dict[str, Any] | None:
    if estimate is None:
        return None
    names = ("sdd_mm", "principal_row_mm", "principal_column_mm")
    spread = np.sqrt(np.diag(estimate.covariance))
    return {
        "sdd_mm": _rounded(estimate.camera.sdd_mm),
        "pixel_mm": estimate.camera.pixel_mm,
        "principal_point_px": [_rounded(v) for v in estimate.camera.principal_point_px],
        "sd": {name: _rounded(v) for name, v in zip(names, spread, strict=True)},
        "prior_sd": {name: _rounded(v) for name, v in zip(names, prior.deviations_mm, strict=True)}
        | {"source_to_isocentre_mm": _rounded(prior.depth_mm)},
    }


def _in_space(
    registration: Registration | None, body: RigidBody | None, pose: np.ndarray | None, estimate: CameraEstimate | None
) -> dict[str, Any]:
    """Confidence and errors apart: on the image, given the camera, and in space, its uncertainty included."""
    if registration is None or body is None or pose is None or estimate is None or registration.covariance is None:
        image = 0.0 if registration is None else registration.confidence
        names = ("expected_mpd_mm", "expected_mtre_mm", "sd_space_mm", "camera_from_ct_estimated")
        return {"confidence_image": _rounded(image), "confidence_space": 0.0, **dict.fromkeys(names)}
    error = space_error(
        pose, registration.covariance, body.centre_mm, body.targets_mm, estimate.camera, estimate.covariance
    )
    return {
        "confidence_image": _rounded(registration.confidence),
        "confidence_space": _rounded(in_space(registration.scores) * error.within),
        "expected_mpd_mm": _rounded(error.expected_mpd_mm),
        "expected_mtre_mm": _rounded(error.expected_mtre_mm),
        "sd_space_mm": _rounded(error.sd_mm),
        "camera_from_ct_estimated": pose.tolist(),
    }


def _names(settings: RegistrationSettings, channels: Sequence[Channel]) -> list[str]:
    known = {c.body for c in channels}
    return [n for item in settings.bodies for n, _ in sided(item, settings.bodies) if n in known]


def _entry(
    registration: Registration | None,
    name: str,
    bodies: dict[str, RigidBody],
    radiograph: Radiograph,
    channels: Sequence[Channel],
) -> dict[str, Any]:
    if registration is None:
        objects = [c.name for c in channels if c.body == name]
        registration = Registration(
            tuple(objects),
            None,
            radiograph.camera_from_ct,
            None,
            0.0,
            False,
            "the CT's labels do not hold it",
            None,
            None,
            0.0,
        )
    return {
        "objects": list(registration.objects),
        "camera_from_ct": None if registration.pose is None else registration.pose.tolist(),
        "start": registration.start.tolist(),
        "similarity": _rounded(registration.similarity),
        "confidence": _rounded(registration.confidence),
        "accepted": registration.accepted,
        "reason": registration.reason,
        "sd_mm": _rounded(registration.sd_mm),
        "sd_deg": _rounded(registration.sd_deg),
        "seconds": round(registration.seconds, 3),
        "truncated": name in bodies and bodies[name].truncated,
        "scores": {key: _rounded(value) for key, value in registration.scores.items()},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 5)
