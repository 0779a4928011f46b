"""What is unusual about a radiograph for a model."""

import numpy as np

from mskdex.geometry.camera import Camera
from mskdex.models.model import ModelCard

DISTANCE_TOLERANCE = 0.05
"""Distances this far beyond those of the training patients are still taken, relative."""

INTENSITY_TOLERANCE = 0.15
"""Mean attenuation this far beyond that of the training patients is still taken, relative."""

EDGE_SHARE = 0.10
"""An object with more of its predicted volume than this in the frame's outermost two pixels is cut by it."""


def radiograph_flags(
    card: ModelCard,
    image: np.ndarray,
    field: np.ndarray,
    camera: Camera,
    source_to_isocentre_mm: float,
    scale: str = "absolute",
) -> list[str]:
    """Sentences about a radiograph on the model's grid that is unlike the training patients'.

    Args:
        card: the model's card.
        image: (H, W) log attenuation on the model's grid.
        field: (H, W) bool, exposed pixels.
        camera: camera of that grid.
        source_to_isocentre_mm: distance from the source to the patient's middle.
        scale: of the radiograph, absolute or relative.
    """
    found = []
    if scale not in card.normalisation.scales:
        seen = " and ".join(card.normalisation.scales)
        found.append(f"grey values unlike training: their scale is {scale}, training had {seen} ones")
    for what, value, (low, high) in (
        ("distance from source to detector", camera.sdd_mm, card.sdd_range_mm),
        ("distance from source to patient", source_to_isocentre_mm, card.isocentre_range_mm),
    ):
        if not low * (1 - DISTANCE_TOLERANCE) <= value <= high * (1 + DISTANCE_TOLERANCE):
            found.append(f"camera unlike training: {what} is {value:.0f} mm, training had {low:.0f} to {high:.0f} mm")
    mean = float(image[field].mean()) if field.any() else 0.0
    low, high = card.normalisation.radiograph_range
    if not low * (1 - INTENSITY_TOLERANCE) <= mean <= high * (1 + INTENSITY_TOLERANCE):
        unit = " nepers" if scale == "absolute" else " (relative)"
        detail = f"{mean:.2f}{unit}, training had {low:.2f} to {high:.2f}"
        found.append(f"intensities out of range: mean log attenuation {detail}")
    exposed = float(field.mean())
    if exposed < 0.8:
        found.append(f"out of field of view: only {100 * exposed:.0f} % of the model's image is exposed")
    return found


def object_flags(card: ModelCard, volume: np.ndarray, field: np.ndarray) -> dict[str, str]:
    """For each object that the frame or the field probably cuts, a sentence.

    Args:
        card: the model's card.
        volume: (N, H, W) predicted volume DRRs.
        field: (H, W) bool, exposed pixels.
    """
    inner = np.zeros(field.shape, bool)
    inner[2:-2, 2:-2] = True
    edge = ~(inner & field)
    total = volume.sum(axis=(-2, -1))
    share = np.divide(volume[:, edge].sum(axis=-1), total, out=np.zeros(len(total)), where=total > 0)
    return {
        channel.name: f"out of field of view: {100 * s:.0f} % of the predicted volume lies at the edge"
        for channel, s in zip(card.channels, share, strict=True)
        if s > EDGE_SHARE
    }
