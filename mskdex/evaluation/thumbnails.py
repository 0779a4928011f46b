"""What a linear model sees of a radiograph: a thumbnail of it, and of its mirror image."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mskdex.io.stack import Greys, read_stack, require_same
from mskdex.models.device_profiles import DeviceProfile, by_profile, fit_profiles

_FINER = 4
"""Pixels on the edge of a thumbnail's pixel on which a device's curve is read off; curve and mean do not commute."""


@dataclass(frozen=True)
class Thumbnails:
    """Radiographs of some patients, averaged over a coarse grid.

    Attributes:
        patients: whose they are.
        images: (patients, m, m), log attenuation or standardised grey values.
        scales: (patients,) of the grey values as imported, absolute or relative.
        greys: (patients,) where the grey values come from.
        pixels: rows and columns of a thumbnail.
    """

    patients: tuple[str, ...]
    images: np.ndarray
    scales: np.ndarray
    greys: tuple[Greys, ...]
    pixels: int
    _profiles: dict[tuple[str, ...], tuple[DeviceProfile, ...]] = field(default_factory=dict, repr=False, compare=False)

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
        edge = _FINER * pixels
        images, scales, greys = np.empty((len(patients), edge, edge)), np.empty(len(patients), dtype=object), []
        for number, patient in enumerate(patients):
            path = patients_root / patient / "stack.safetensors"
            stack = read_stack(path, patient)
            of = f"patient {patient}: {path}"
            require_same(stack.objects, objects, of, "the cohort (results/cohort/objects.json)")
            images[number], scales[number] = thumbnail(stack.radiograph, edge), stack.scale
            greys.append(stack.greys)
        return cls(tuple(patients), images, scales, tuple(greys), pixels)

    def pixels_of(self, patients: Sequence[str], train: Sequence[str], *, mirrored: bool = False) -> np.ndarray:
        """(patients, n²) pixels less the mean of the training patients' images and mirror images of the same scale.

        Processed images are read off the training patients' device profiles, as the network takes them. Grey values of
        different scales have nothing but their differences between patients in common. An image of a scale that no
        training patient has becomes zero: it says nothing.
        """
        images, scales = self._read_off(patients, train)
        known, known_scales = self._read_off(train, train)
        centred = np.zeros_like(images)
        for scale in set(scales):
            own, same = scales == scale, known[known_scales == scale]
            if len(same):
                centred[own] = images[own] - (same + same[..., ::-1]).mean(axis=0) / 2
        return (centred[..., ::-1] if mirrored else centred).reshape(len(images), -1)

    def _read_off(self, patients: Sequence[str], train: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Thumbnails (patients, n, n) and scales by the device profiles of the training patients."""
        place = {name: i for i, name in enumerate(self.patients)}
        key = tuple(train)
        if key not in self._profiles:
            self._profiles[key] = fit_profiles((self.scales[place[p]], self.greys[place[p]]) for p in train)
        rows = [place[p] for p in patients]
        read = [by_profile(self.images[i], self.scales[i], self.greys[i], self._profiles[key]) for i in rows]
        images = np.array([thumbnail(image, self.pixels) for image, _ in read])
        return images.reshape(len(rows), self.pixels, self.pixels), np.array([scale for _, scale in read], dtype=object)


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
