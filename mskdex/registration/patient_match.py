"""Whether a patient's radiograph and CT belong together, as far as the registration can tell."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mskdex.io.artifacts import read_json

COARSE_VOXEL_MM = 4.0
"""Voxels beyond which right radiographs fit no better than a stranger's: at 6 mm no pose of 8 virtual patients is
accepted, and the share of gradients explained is 0.14 to 0.26 of theirs, 0.17 of a stranger's; at 3 mm 0.33 to 0.35."""


def unmatched(bodies: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why nothing shows that a radiograph and a CT belong together; None where something does, or nothing was tried.

    A child is registered from its parent's pose alone, so one accepted body shows that the radiograph is this
    patient's and of this region. Where none is, it may be another patient's, mirrored, of another part of the body or
    without usable grey values.

    Args:
        bodies: of pose.json, parents before children; each with `accepted`, `similarity` and `reason`.
    """
    if not bodies or any(body["accepted"] for body in bodies.values()):
        return None
    tried = {name: body for name, body in bodies.items() if body.get("similarity") is not None} or bodies
    name, first = next(iter(tried.items()))
    return f"radiograph and CT are not shown to belong together: {name} is not registered: {first['reason']}"


def too_coarse(content: Mapping[str, Any]) -> bool:
    """Whether the CT's voxels are too large for a refused pose to say anything of the pair.

    Args:
        content: of pose.json.
    """
    return float(content.get("voxel_mm", 0.0)) > COARSE_VOXEL_MM


def refusal(content: Mapping[str, Any]) -> str | None:
    """Why a patient counts in neither training nor evaluation; None where radiograph and CT may belong together.

    Args:
        content: of pose.json.
    """
    return None if too_coarse(content) else unmatched(content["bodies"])


def read_refusal(pose: Path) -> str | None:
    """As `refusal`, of a patient's pose.json; None where the patient has not been registered.

    Raises:
        MskdexError: the file is damaged.
    """
    return refusal(read_json(pose)) if pose.is_file() else None


def read_finding(pose: Path) -> str | None:
    """What a patient's pose.json says against the pair, whether or not the patient counts all the same.

    Raises:
        MskdexError: the file is damaged.
    """
    content = read_json(pose) if pose.is_file() else {"bodies": {}}
    found = unmatched(content["bodies"])
    if found and too_coarse(content):
        found += f"; voxels of {content['voxel_mm']:.1f} mm are too coarse to tell, and the patient counts"
    return found
