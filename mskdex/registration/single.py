"""Registration of one body: search, refinement, and what the result looks like."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from mskdex.config.registration import RegistrationSettings
from mskdex.drr.density import Density, render_density, render_with_tangents
from mskdex.geometry.camera import Camera
from mskdex.registration.bodies import RigidBody
from mskdex.registration.contrast import attenuation_slope, bone_attenuation
from mskdex.registration.fixed_image import FixedImage, cut_shadow, near
from mskdex.registration.refine import Joint, RefinedPose, RefinementProblem, refine
from mskdex.registration.search import SearchEffort, SearchResult, SearchSpread, multi_start
from mskdex.registration.similarity import GradientCorrelation
from mskdex.registration.splat import Points, body_points, splat

_SUPPORT_MM = 0.5
"""Line integral of excess attenuation, mm of water, from which a pixel counts as the bone's projection."""

_COARSE_MARGIN_MM = 20.0


@dataclass(frozen=True)
class RenderedBody:
    """A body made ready for rendering.

    Attributes:
        coarse: for the search. density: for the refinement. step_mm: march of the refinement.
    """

    body: RigidBody
    coarse: Points
    density: Density
    step_mm: float

    @classmethod
    def of(cls, body: RigidBody, settings: RegistrationSettings, step_mm: float) -> "RenderedBody":
        """Prepares a body; `step_mm` is raised to half a voxel, below which nothing is gained."""
        spacing = float(np.linalg.norm(body.world_from_voxel[:3, :3], axis=0).min())
        points = body_points(body, settings.coarse_pixel_mm)
        return cls(body, points, Density.of(body.excess, body.world_from_voxel), max(step_mm, spacing / 2))

    def image(self, camera: Camera, pose: np.ndarray) -> np.ndarray:
        """DRR of excess attenuation, mm of water."""
        return render_density(self.density, camera, pose, step_mm=self.step_mm)


@dataclass(frozen=True)
class Task:
    """One body to register.

    Attributes:
        model: the body.
        start: camera_from_ct to search around.
        pivot_mm: RAS point that the search turns it about.
        spread: how far the search looks.
        others: bodies that are registered already, with their poses; they are part of the scene.
        joint: the parent's hold, if any.
        seed: of the search.
    """

    model: RenderedBody
    start: np.ndarray
    pivot_mm: np.ndarray
    spread: SearchSpread
    others: tuple[tuple[RenderedBody, np.ndarray], ...] = ()
    joint: Joint | None = None
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """A body's best pose with what tells whether it can be trusted.

    Attributes:
        pose: camera_from_ct.
        refined: the last refinement.
        ends: where the restarts of the search ended.
        candidates: the start, and those of them that lie apart, after a first refinement, best first.
        scores: named similarities and measures at the pose.
        flipped: similarity of the best pose in the flipped radiograph, where that was searched, else 0.
    """

    pose: np.ndarray
    refined: RefinedPose
    ends: tuple[np.ndarray, ...]
    candidates: tuple[np.ndarray, ...]
    scores: dict[str, float] = field(default_factory=dict)
    flipped: float = 0.0


def register_body(task: Task, views: Callable[[float], FixedImage], settings: RegistrationSettings) -> Outcome:
    """Registers one body.

    Args:
        task: the body, its start and what surrounds it.
        views: the radiograph at a pixel size in mm.
        settings: effort, levels and margins.
    """
    ends = _search(task, views(settings.coarse_pixel_mm), settings)
    first, *rest = settings.fine_pixels_mm
    # The start too: a bone is seldom far from how its parent stands, and a coarse DRR can match better elsewhere.
    starts = [task.start, *(end.pose for end in _distinct(ends, task))]
    candidates = [_refined(task, views(first), start, settings) for start in starts]
    order = sorted(candidates, key=lambda c: -objective(task, views(first), c.pose, settings))
    best = order[0]
    for pixel_mm in rest:
        best = _refined(task, views(pixel_mm), best.pose, settings)
    return Outcome(best.pose, best, tuple(e.pose for e in ends), tuple(c.pose for c in order))


def neighbourhood(model: RenderedBody, view: FixedImage, pose: np.ndarray, margin_mm: float) -> np.ndarray:
    """Pixels of the field near the body's projection, and not near where the CT cuts it."""
    support = np.abs(model.image(view.camera, pose)) > _SUPPORT_MM
    mask = near(support, margin_mm / view.camera.pixel_mm) & view.field
    result: np.ndarray = mask & ~cut_shadow(model.body, view.camera, pose, margin_mm + 4.0)
    return result


def objective(task: Task, view: FixedImage, pose: np.ndarray, settings: RegistrationSettings) -> float:
    """Share of gradient energy explained near the body, on a mask that does not depend on the pose."""
    mask = _reach(task, view)
    patch = max(4, round(settings.patch_mm / view.camera.pixel_mm))
    similarity = GradientCorrelation(view.image, mask, patch, "energy")
    scene = task.model.image(view.camera, pose) + _background(task, view.camera)
    return float(similarity.value(bone_attenuation(scene, settings.scatter_to_primary)))


def search_mirrored(task: Task, views: Callable[[float], FixedImage], settings: RegistrationSettings) -> Outcome:
    """Looks for the body in the radiograph flipped left-right, and refines the mirror image of what is found.

    Bones are nearly symmetric, so this is one more search, and it tells a flipped radiograph from a wrong one.
    """
    flipped = replace(task, start=_mirrored(task, task.start))
    found = register_body(flipped, lambda pixel_mm: views(pixel_mm).mirrored(), settings)
    start = pose = _mirrored(task, found.pose)
    for pixel_mm in settings.fine_pixels_mm:
        refined = _refined(task, views(pixel_mm), pose, settings)
        pose = refined.pose
    return Outcome(pose, refined, (start,), (pose,), flipped=found.refined.similarity)


def flip_similarities(
    task: Task, view: FixedImage, pose: np.ndarray, settings: RegistrationSettings
) -> tuple[float, float]:
    """Similarity near the body on the radiograph as it is, and flipped left-right near the pose's mirror image."""
    alone = replace(task, others=(), joint=None)
    here = _refined(alone, view, pose, settings).similarity
    return here, _refined(alone, view.mirrored(), _mirrored(task, pose), settings).similarity


def _mirrored(task: Task, pose: np.ndarray) -> np.ndarray:
    """The pose of the same body, taken as symmetric, in the radiograph flipped left-right."""
    mirror, across = np.diag([-1.0, 1.0, 1.0, 1.0]), np.eye(4)
    across[0, 3] = 2 * task.model.body.centre_mm[0]
    flipped: np.ndarray = mirror @ pose @ across @ mirror
    return flipped


def _reach(task: Task, view: FixedImage) -> np.ndarray:
    """Pixels that the body can reach from its start."""
    support = np.abs(task.model.image(view.camera, task.start)) > _SUPPORT_MM
    radius = float(np.linalg.norm(task.model.body.surface_mm - task.pivot_mm, axis=1).max())
    reach = task.spread.shift_mm + radius * np.sin(np.deg2rad(min(task.spread.rotation_deg, 60.0)))
    mask: np.ndarray = near(support, (reach + _COARSE_MARGIN_MM) / view.camera.pixel_mm) & view.field
    return mask


def _background(task: Task, camera: Camera) -> np.ndarray | float:
    images = [model.image(camera, pose) for model, pose in task.others]
    return np.sum(images, axis=0) if images else 0.0


def _search(task: Task, view: FixedImage, settings: RegistrationSettings) -> list[SearchResult]:
    patch = max(4, round(settings.coarse_patch_mm / view.camera.pixel_mm))
    similarity = GradientCorrelation(view.image, _reach(task, view), patch)
    background = _background(task, view.camera)

    def score(poses: np.ndarray) -> np.ndarray:
        scenes = splat(task.model.coarse, view.camera, poses) + background
        values = similarity.value(bone_attenuation(scenes, settings.scatter_to_primary))
        if task.joint is None:
            return values
        offset = poses[:, :3, :3] @ task.joint.point_mm + poses[:, :3, 3] - task.joint.target_mm
        return values - 0.005 * (offset**2).sum(axis=1) / task.joint.sd_mm**2

    effort = SearchEffort(
        settings.restarts, settings.finalists, settings.population, settings.screening_generations, settings.generations
    )
    return multi_start(score, task.start, task.pivot_mm, task.spread, effort, task.seed)


def _distinct(ends: list[SearchResult], task: Task) -> list[SearchResult]:
    """Ends of the search that lie apart, best first, at most three."""
    distinct: list[SearchResult] = []
    targets = task.model.body.targets_mm
    for end in ends:
        apart = [
            np.linalg.norm((end.pose - k.pose)[:3, :3] @ targets.T + (end.pose - k.pose)[:3, 3:], axis=0).mean()
            for k in distinct
        ]
        if all(distance > 6.0 for distance in apart):
            distinct.append(end)
    return distinct[:3]


def _refined(task: Task, view: FixedImage, start: np.ndarray, settings: RegistrationSettings) -> RefinedPose:
    mask = neighbourhood(task.model, view, start, settings.neighbourhood_mm)
    view, mask = view.cropped(mask)
    patch = max(4, round(settings.patch_mm / view.camera.pixel_mm))
    pivot = task.model.body.centre_mm

    background, scatter = _background(task, view.camera), settings.scatter_to_primary

    def render(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        image, jacobian = render_with_tangents(
            task.model.density, view.camera, pose, centre_mm=pivot, step_mm=task.model.step_mm
        )
        scene = image + background
        return bone_attenuation(scene, scatter), jacobian * attenuation_slope(scene, scatter)

    similarity = GradientCorrelation(view.image, mask, patch, "energy", trend=1)
    return refine(RefinementProblem(render, similarity, pivot, task.joint), start)
