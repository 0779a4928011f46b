"""What a linear model sees of a radiograph: a thumbnail of it, and of its mirror image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mskdex.io.stack import read_stack, require_same


@dataclass(frozen=True)
class Thumbnails:
    """Radiographs of some patients, averaged over a coarse grid.

    Attributes:
        patients: whose they are.
        images: (patients, n, n), log attenuation.
        scales: (patients,) of the grey values, absolute or relative.
    """

    patients: tuple[str, ...]
    images: np.ndarray
    scales: np.ndarray

    @classmethod
    def read(cls, patients_root: Path, patients: Sequence[str], objects: Sequence[str], pixels: int) -> "Thumbnails":
        """Reads the radiographs of results/patients/{patient}/stack.safetensors.

        Args:
            patients_root: results/patients.
            patients: patient ids.
            objects: names of the cohort's channels.
            pixels: rows and columns of a thumbnail.

        Raises:
            MskdexError: a stack is absent, damaged, another patient's, or has other objects than the cohort.
        """
        found = []
        for patient in patients:
            path = patients_root / patient / "stack.safetensors"
            stack = read_stack(path, patient)
            of = f"patient {patient}: {path}"
            require_same(stack.objects, objects, of, "the cohort (results/cohort/objects.json)")
            found.append((thumbnail(stack.radiograph, pixels), stack.scale))
        images = np.array([image for image, _ in found]).reshape(len(found), pixels, pixels)
        return cls(tuple(patients), images, np.array([scale for _, scale in found], dtype=object))

    def pixels_of(self, patients: Sequence[str], train: Sequence[str], *, mirrored: bool = False) -> np.ndarray:
        """(patients, n²) pixels less the mean of the training patients' images and mirror images of the same scale.

        Grey values of different scales have nothing but their differences between patients in common. An image of a
        scale that no training patient has becomes zero: it says nothing.
        """
        place = {name: i for i, name in enumerate(self.patients)}
        rows, known = [place[p] for p in patients], [place[p] for p in train]
        images = self.images[rows]
        centred = np.zeros_like(images)
        for scale in set(self.scales[rows]):
            own, same = self.scales[rows] == scale, self.images[known][self.scales[known] == scale]
            if len(same):
                centred[own] = images[own] - (same + same[..., ::-1]).mean(axis=0) / 2
        return (centred[..., ::-1] if mirrored else centred).reshape(len(rows), -1)


def thumbnail(image: np.ndarray, pixels: int) -> np.ndarray:
    """(H, W) averaged by area onto (pixels, pixels), whatever H and W."""
    down, across = (_area_weights(n, pixels) for n in image.shape)
    return np.asarray(down @ image.astype(np.float64) @ across.T)


def _area_weights(size: int, pixels: int) -> np.ndarray:
    """(pixels, size): the share of each old pixel in each new one; rows sum to one."""
    edges = np.linspace(0.0, size, pixels + 1)
    old = np.arange(size)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    weights: np.ndarray = np.maximum(overlap, 0.0) * pixels / size
    return weights
