"""Registration of all bodies of a patient: parents first, each with what tells whether to trust it."""

import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mskdex.config.registration import BodySettings, RegistrationSettings
from mskdex.registration import checks, confidence
from mskdex.registration.bodies import RigidBody
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.joint import joint_centre
from mskdex.registration.measures import measures
from mskdex.registration.refine import Joint
from mskdex.registration.search import SearchSpread
from mskdex.registration.single import Outcome, RenderedBody, Task, register_body, search_mirrored

_LEAST_PIXELS_PER_VOXEL = 0.8
"""Finer pixels of the refinement than this share of a voxel show the voxels' own edges; found on virtual patients."""

_SMALLER = 0.625
"""Patches of the search in later attempts, against those of the first; tried on one failure of the first world."""

_SURE = 0.8
"""Confidence from which no other search is tried."""


@dataclass(frozen=True)
class Registration:
    """What became of one body.

    Attributes:
        pose: camera_from_ct, None where it was not accepted.
        start: camera_from_ct that the search began at.
        similarity: share of the radiograph's gradient energy near the bone that its DRR explains, 0 … 1.
        confidence: calibrated probability that mPD is below 1 mm: about the image.
        accepted: whether the pose may be used.
        reason: why not; None when accepted.
        sd_mm, sd_deg: standard deviation of the centre's position and of the rotation, given the camera.
        seconds: CPU time.
        scores: the measures behind the confidence.
        covariance: of `rigid.PARAMETERS` about the centre, given the camera, (6, 6); None where nothing was tried.
    """

    objects: tuple[str, ...]
    pose: np.ndarray | None
    start: np.ndarray
    similarity: float | None
    confidence: float
    accepted: bool
    reason: str | None
    sd_mm: float | None
    sd_deg: float | None
    seconds: float
    scores: dict[str, float] = field(default_factory=dict)
    covariance: np.ndarray | None = None


@dataclass(frozen=True)
class PatientViews:
    """What is registered.

    Attributes:
        bodies: by name with side. view: the radiograph. nominal: camera_from_ct of the nominal camera.
        starts: poses that a user gave, by body.
    """

    bodies: Mapping[str, RigidBody]
    view: FixedImage
    nominal: np.ndarray
    starts: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class _RegisteredBody:
    task: Task
    outcome: Outcome
    seconds: float


class _PatientRegistration:
    """The registration of one patient, body by body."""

    def __init__(self, patient: PatientViews, settings: RegistrationSettings, step_mm: float) -> None:
        voxel_mm = min((voxel_of(body) for body in patient.bodies.values()), default=0.0)
        pixels_mm = no_finer_than_voxels(settings.fine_pixels_mm, voxel_mm)
        self.patient, self.settings = patient, settings.model_copy(update={"fine_pixels_mm": pixels_mm})
        self.models = {name: RenderedBody.of(body, settings, step_mm) for name, body in patient.bodies.items()}
        self.done: dict[str, _RegisteredBody] = {}
        self.refused: dict[str, str] = {}
        self.blurred = patient.view.blurred(settings.radiograph_blur_mm)
        self._views: dict[float, FixedImage] = {}

    def views(self, pixel_mm: float) -> FixedImage:
        """The radiograph on a grid, made once."""
        if pixel_mm not in self._views:
            self._views[pixel_mm] = self.blurred.at(pixel_mm)
        return self._views[pixel_mm]

    def register(self, name: str, parent: str | None, minimum: float) -> None:
        """Registers one body, or notes why it cannot be."""
        started = time.process_time()
        body = self.patient.bodies[name]
        reason = checks.of_ct(body, minimum)
        if reason is None and parent is not None:
            reason = self.refused.get(parent) and f"{parent}, which gives its start, is not registered"
        task = self._task(name, parent)
        reason = reason or checks.of_start(task, self.views(self.settings.coarse_pixel_mm), self.settings)
        if reason is not None:
            self.refused[name] = reason
            return
        task, outcome = self._best_of_attempts(task)
        self.done[name] = _RegisteredBody(task, outcome, time.process_time() - started)
        trust = confidence.on_image(outcome.scores)
        reason = checks.of_pose(task, outcome, self.views, self.settings)
        if reason is None and trust < self.settings.min_confidence:
            reason = checks.describe(outcome.scores, trust, self.settings.min_confidence)
        if reason is not None:
            self.refused[name] = reason

    def _best_of_attempts(self, task: Task) -> tuple[Task, Outcome]:
        """Searches again, otherwise and at last in the flipped radiograph, until a pose can be trusted."""
        looks: list[tuple[Task, Callable[..., Outcome], RegistrationSettings]] = [
            (replace(task, seed=task.seed + attempt), register_body, _otherwise(self.settings, attempt))
            for attempt in range(self.settings.attempts)
        ]
        if task.joint is None:
            looks.append((task, search_mirrored, self.settings))
        found: list[tuple[float, Task, Outcome]] = []
        for one, look, settings in looks:
            outcome = look(one, self.views, settings)
            outcome = replace(outcome, scores=measures(one, outcome, self.views, self.settings))
            found.append((confidence.on_image(outcome.scores), one, outcome))
            if found[-1][0] >= _SURE:
                break
        _, best_task, best = max(found, key=lambda entry: entry[0])
        return best_task, replace(best, flipped=max(outcome.flipped for _, _, outcome in found))

    def _task(self, name: str, parent: str | None) -> Task:
        body, settings = self.patient.bodies[name], self.settings
        seed = zlib.crc32(f"{settings.seed} {name}".encode())
        given = self.patient.starts.get(name)
        spread = SearchSpread(settings.rotation_range_deg, settings.shift_range_mm, settings.depth_range_mm)
        if given is not None:
            spread = SearchSpread(5.0, 5.0, 15.0)
        if parent is None or parent not in self.done:
            start = self.patient.nominal if given is None else given
            return Task(self.models[name], start, body.centre_mm, spread, seed=seed)
        pose = self.done[parent].outcome.pose
        pivot = joint_centre(body.surface_mm, self.patient.bodies[parent].surface_mm)
        joint = Joint(pivot, pose[:3, :3] @ pivot + pose[:3, 3], settings.joint_sd_mm)
        spread = SearchSpread(settings.joint_rotation_range_deg, settings.joint_sd_mm, settings.joint_sd_mm)
        others = tuple((d.task.model, d.outcome.pose) for n, d in self.done.items() if n not in self.refused)
        return Task(self.models[name], pose if given is None else given, pivot, spread, others, joint, seed)

    def result(self, name: str) -> Registration:
        """What became of a body that was tried."""
        objects = self.patient.bodies[name].objects
        if name not in self.done:
            return Registration(
                objects, None, self.patient.nominal, None, 0.0, False, self.refused[name], None, None, 0.0
            )
        done, reason = self.done[name], self.refused.get(name)
        scores = done.outcome.scores
        return Registration(
            objects,
            done.outcome.pose if reason is None else None,
            done.task.start,
            done.outcome.refined.similarity,
            confidence.on_image(scores),
            reason is None,
            reason,
            scores["sd_mm"],
            scores["sd_deg"],
            done.seconds,
            scores,
            done.outcome.refined.covariance,
        )


def _otherwise(settings: RegistrationSettings, attempt: int) -> RegistrationSettings:
    """Settings of an attempt's search: all runs may agree on a wrong place, which smaller patches do not favour."""
    if attempt == 0:
        return settings
    patch_mm, finalists = settings.coarse_patch_mm * _SMALLER, settings.finalists * (1 if attempt == 1 else 2)
    return settings.model_copy(update={"coarse_patch_mm": patch_mm, "finalists": min(finalists, settings.restarts)})


def voxel_of(body: RigidBody) -> float:
    """Edge in mm of a cube of the volume of a body's voxels."""
    return float(abs(np.linalg.det(body.world_from_voxel[:3, :3])) ** (1 / 3))


def no_finer_than_voxels(pixels_mm: tuple[float, ...], voxel_mm: float) -> tuple[float, ...]:
    """Detector pixels of the refinement, coarse to fine, where those that the CT cannot fill are enlarged."""
    least = _LEAST_PIXELS_PER_VOXEL * voxel_mm
    return tuple(dict.fromkeys(max(pixel, least) for pixel in pixels_mm))


def register_bodies(patient: PatientViews, settings: RegistrationSettings, step_mm: float) -> dict[str, Registration]:
    """Registers every body of the settings that the CT holds.

    Args:
        patient: bodies, radiograph, nominal camera and given starts.
        settings: bodies with their parents, ranges, effort and thresholds.
        step_mm: march along each ray.

    Returns:
        by body, with its side, in the order of the settings.
    """
    run = _PatientRegistration(patient, settings, step_mm)
    for item in settings.bodies:
        for name, parent in sided(item, settings.bodies):
            if name in patient.bodies:
                run.register(name, parent, item.min_extent_mm)
    return {name: run.result(name) for name in patient.bodies if name in run.done or name in run.refused}


def sided(item: BodySettings, bodies: tuple[BodySettings, ...]) -> list[tuple[str, str | None]]:
    """A body's names with their sides, each with its parent's."""
    paired_parent = next((b.paired for b in bodies if b.name == item.parent), False)
    sides = ("_left", "_right") if item.paired else ("",)
    return [(item.name + s, item.parent and item.parent + (s if paired_parent else "")) for s in sides]
