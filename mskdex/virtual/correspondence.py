"""Templates of several people: where one's places lie in the others, and people between and beyond them.

Every structure that all templates have is cut at the same shares of its height. The centre of each cut and points one
standard deviation to its sides are landmarks, as are the sides of the body. A person's landmarks are weighted means of
the templates'; from them a spline leads back to the first template, whose labels the person gets.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RBFInterpolator

from mskdex.deformation.coarse_grid import Grid, sample
from mskdex.deformation.template import Template
from mskdex.errors import MskdexError

_LEVELS = (0.05, 0.275, 0.5, 0.725, 0.95)
"""Shares of a structure's height at which it is cut."""
_BODY_LEVELS = 11
_FEWEST_VOXELS = 4
"""Of a slice of a structure that counts."""
_CELL_MM = 24.0
"""Of the grid on which the spline is evaluated; between its cells the displacement is linear."""
_SMOOTHING = 30.0
"""Ridge of the spline, mm: landmarks closer than this are met in the mean, as cuts are a few mm off."""
_SD, _MOST_SD = 0.5, 1.5
_LEAST_VOLUME = 0.1
"""Least volume that a part of the person may have in the first template, over its own; below 0 the map folds."""


@dataclass(frozen=True)
class Correspondence:
    """The same places in several templates.

    Attributes:
        landmarks_mm: (templates, landmarks, 3) in each template's own frame.
    """

    landmarks_mm: np.ndarray

    @classmethod
    def of(cls, templates: Sequence[Template], structures: Iterable[str]) -> "Correspondence":
        """Landmarks of templates.

        Args:
            templates: two or more.
            structures: names of labels, with sides, that all of them have.
        """
        cuts = [_Cuts(t) for t in templates]
        found = []
        for name in structures:
            low = _common([c.ends_mm(name)[0] for c in cuts], [c.cut_below(name) for c in cuts], max)
            high = _common([c.ends_mm(name)[1] for c in cuts], [c.cut_above(name) for c in cuts], min)
            found.append([c.landmarks(name, a, b) for c, a, b in zip(cuts, low, high, strict=True)])
        bottom, top = max(c.z_mm[0] for c in cuts), min(c.z_mm[-1] for c in cuts)
        found.append([c.sides(np.linspace(bottom, top, _BODY_LEVELS)) for c in cuts])
        return cls(np.concatenate([np.stack(f) for f in found], axis=1))

    def shift(self, points_mm: np.ndarray, scale: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Displacement from a person's points back to the scaled first template, float32 (…, 3) in mm.

        Args:
            points_mm: (…, 3) in the person's frame.
            scale: factors from the templates to the person.
            weights: (templates,) of the person, see `draw_weights`.

        Raises:
            MskdexError: the templates differ so much that the displacement folds.
        """
        own = self.landmarks_mm[0] * scale
        person = np.einsum("t,tld->ld", weights, self.landmarks_mm) * scale
        flat = points_mm.reshape(-1, 3)
        grid = Grid.around(flat.min(axis=0), flat.max(axis=0), _CELL_MM)
        spline = RBFInterpolator(person, own - person, kernel="linear", degree=1, smoothing=_SMOOTHING)
        field = spline(grid.points().reshape(-1, 3)).reshape(*grid.shape, 3).astype(np.float32)
        gradient = np.stack(np.gradient(field, grid.cell_mm, axis=(2, 1, 0)), axis=-1)
        if (least := float(np.linalg.det(gradient + np.eye(3)).min())) < _LEAST_VOLUME:
            msg = (
                f"virtual.atlas: the label maps differ so much that a part of a body between them has {least:.2f} of "
                f"its volume in the first one, allowed is {_LEAST_VOLUME:g} or more; look whether left and right and "
                "the names mean the same in all of them, or give label maps of people who are more alike"
            )
            raise MskdexError(msg)
        return sample(field, grid, points_mm)


def draw_weights(count: int, draw: np.random.Generator) -> np.ndarray:
    """A person's weights of so many templates, (count,): they add up to 1 and go beyond 0 and 1.

    With two templates the second one's is 0.5 with an SD of 0.35, from -0.25 to 1.25.
    """
    normal = np.clip(draw.normal(size=count), -_MOST_SD, _MOST_SD)
    return np.asarray(1.0 / count + _SD / np.sqrt(max(count - 1, 1)) * (normal - normal.mean()))


def _common(ends_mm: Sequence[float], cut: Sequence[bool], inner: Callable[[Sequence[float]], float]) -> list[float]:
    """Ends of a structure in each template: its own, or where a map cuts it, one height that all of them show."""
    return [inner(ends_mm)] * len(ends_mm) if any(cut) else list(ends_mm)


class _Cuts:
    """Slices of a template's structures: how many voxels they have, their centres and standard deviations."""

    def __init__(self, template: Template):
        labels, names = template.labels, template.names
        self.names = names
        depth, rows, columns = labels.shape
        self.z_mm, self.y_mm, self.x_mm = (
            template.origin_mm[d] + template.voxel_mm * np.arange(n) for d, n in ((2, depth), (1, rows), (0, columns))
        )
        self.body = labels > 0
        place = (np.arange(depth)[:, None, None] * len(names) + labels).ravel()
        x, y = (np.broadcast_to(a, labels.shape).ravel() for a in (self.x_mm, self.y_mm[:, None]))

        def sums(weights: np.ndarray | None) -> np.ndarray:
            return np.bincount(place, weights, depth * len(names)).reshape(depth, len(names))

        self.voxels = sums(None)
        some = np.maximum(self.voxels, 1)
        self.centre = np.stack([sums(x), sums(y)], axis=-1) / some[..., None]
        square = np.stack([sums(x**2), sums(y**2)], axis=-1) / some[..., None]
        self.sd = np.sqrt(np.maximum(square - self.centre**2, 0.0))

    def _slices(self, name: str) -> np.ndarray:
        return np.flatnonzero(self.voxels[:, self.names.index(name)] >= _FEWEST_VOXELS)

    def ends_mm(self, name: str) -> tuple[float, float]:
        """Height of a structure's lowest and highest slice."""
        slices = self._slices(name)
        return float(self.z_mm[slices[0]]), float(self.z_mm[slices[-1]])

    def cut_below(self, name: str) -> bool:
        """Whether the map ends before the structure does."""
        return bool(self._slices(name)[0] == 0)

    def cut_above(self, name: str) -> bool:
        """As `cut_below`, at the upper end."""
        return bool(self._slices(name)[-1] == len(self.z_mm) - 1)

    def landmarks(self, name: str, low_mm: float, high_mm: float) -> np.ndarray:
        """(5 · levels, 3): the centre of each cut, and one standard deviation to the sides, forwards and backwards."""
        label, slices = self.names.index(name), self._slices(name)
        heights = low_mm + np.asarray(_LEVELS) * (high_mm - low_mm)
        (x, y), (dx, dy) = (
            [np.interp(heights, self.z_mm[slices], a[slices, label, d]) for d in range(2)]
            for a in (self.centre, self.sd)
        )
        places = [(x, y), (x - dx, y), (x + dx, y), (x, y - dy), (x, y + dy)]
        return np.concatenate([np.stack([a, b, heights], axis=-1) for a, b in places])

    def sides(self, heights_mm: np.ndarray) -> np.ndarray:
        """(4 · heights, 3): where the body ends to the sides, in front and behind, at its middle."""
        found = []
        for z in heights_mm:
            body = self.body[int(np.abs(self.z_mm - z).argmin())]
            x, y = self.x_mm[body.any(axis=0)], self.y_mm[body.any(axis=1)]
            middle = (x[0] + x[-1]) / 2.0, (y[0] + y[-1]) / 2.0
            found += [(x[0], middle[1], z), (x[-1], middle[1], z), (middle[0], y[0], z), (middle[0], y[-1], z)]
        return np.asarray(found)
