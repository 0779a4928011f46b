"""Reasons not to register a bone, and not to accept a pose; each in words for the patient's page."""

from collections.abc import Callable, Mapping

from mskdex.config.registration import RegistrationSettings
from mskdex.registration.bodies import RigidBody
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.measures import in_field
from mskdex.registration.single import Outcome, Task, flip_similarities

_FLIP_MARGIN = 0.02
"""Bones are nearly symmetric: noise alone makes either similarity the larger by less than this."""

_FLIP_LEAST = 0.2
"""Where neither fits better than this, the radiograph shows something else, and nothing is told of its side."""


def of_ct(body: RigidBody, min_extent_mm: float) -> str | None:
    """Too little of the bone in the CT."""
    if body.extent_mm >= min_extent_mm:
        return None
    cut = ", cut by the CT's border" if body.truncated else ""
    return (
        f"the CT holds only {body.extent_mm:.0f} mm of it{cut}; at least {min_extent_mm:.0f} mm are needed "
        "(min_extent_mm of the body)"
    )


def of_start(task: Task, view: FixedImage, settings: RegistrationSettings) -> str | None:
    """A bone that cannot be in the picture: decided at the start when the parent's pose gives it."""
    share = in_field(task, view, task.start)
    needed = settings.min_in_field if task.joint is not None else 0.0
    return None if share > needed else _not_in_field(share, settings)


def of_pose(
    task: Task, outcome: Outcome, views: Callable[[float], FixedImage], settings: RegistrationSettings
) -> str | None:
    """A pose that lies outside the field, fits the mirrored radiograph better, or is hardly determined."""
    share = outcome.scores["in_field"]
    if share < settings.min_in_field:
        return _not_in_field(share, settings)
    if task.joint is None:
        here, there = flip_similarities(task, views(settings.fine_pixels_mm[0]), outcome.pose, settings)
        if outcome.flipped > outcome.refined.similarity:
            here, there = outcome.refined.similarity, outcome.flipped
        if there > max(here + _FLIP_MARGIN, _FLIP_LEAST):
            return (
                f"the radiograph fits better when flipped left-right (similarity {there:.2f} against {here:.2f}); "
                "check its laterality and its view (AP or PA)"
            )
    sd_mm, sd_deg = outcome.scores["sd_mm"], outcome.scores["sd_deg"]
    if sd_mm > settings.max_sd_mm or sd_deg > settings.max_sd_deg:
        return (
            f"its pose is uncertain by {sd_mm:.1f} mm and {sd_deg:.1f}°, more than {settings.max_sd_mm:g} mm or "
            f"{settings.max_sd_deg:g}° (registration.max_sd_mm, max_sd_deg): "
            "the CT or the field holds too little of it, or an implant hides it"
        )
    return None


def _not_in_field(share: float, settings: RegistrationSettings) -> str:
    return (
        f"only {100 * share:.0f} % of it lies in the radiograph's exposed field; "
        f"{100 * settings.min_in_field:.0f} % are needed (registration.min_in_field)"
    )


def describe(scores: Mapping[str, float], trust: float, needed: float) -> str:
    """Why a pose is not trusted: its measures, the ones that stand out among them, and what to check."""
    signs = [
        f"its DRR explains {100 * scores['similarity']:.0f} % of the radiograph's gradients near it, with a mean "
        f"correlation of {scores['patch_correlation']:.2f}"
    ]
    if scores["margin"] < 0.02:
        signs.append("another pose fits as well")
    if scores["sd_mm"] > 2.0 or scores["sd_deg"] > 2.0:
        signs.append(f"its pose is uncertain by {scores['sd_mm']:.1f} mm and {scores['sd_deg']:.1f}°")
    why = "; ".join(signs)
    return (
        f"confidence {trust:.2f} is below {needed:.2f} (registration.min_confidence): {why}; "
        "check that the radiograph is this patient's, of this region, and without implants"
    )
