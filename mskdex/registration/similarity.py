"""How alike a radiograph and a DRR are: value, and derivative with respect to the DRR.

The similarity is prepared once for a radiograph and its mask, and is then asked about DRRs. It looks at gradients,
because the scale between a DRR of excess attenuation and a radiograph is unknown and changes slowly over the image
(soft tissue, scatter, beam hardening).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

_EPSILON = 1e-12


def sobel(image: np.ndarray) -> np.ndarray:
    """3×3 Sobel responses in grey values per pixel; zero on the image's border.

    Args:
        image: (…, rows, columns).

    Returns:
        (…, 2, rows, columns): along columns (x), along rows (y).
    """
    image = np.asarray(image)
    gradient = np.zeros((*image.shape[:-2], 2, *image.shape[-2:]), dtype=np.result_type(image, np.float32))
    down = image[..., :-2, :] + 2 * image[..., 1:-1, :] + image[..., 2:, :]
    gradient[..., 0, 1:-1, 1:-1] = (down[..., 2:] - down[..., :-2]) / 8
    across = image[..., :-2] + 2 * image[..., 1:-1] + image[..., 2:]
    gradient[..., 1, 1:-1, 1:-1] = (across[..., 2:, :] - across[..., :-2, :]) / 8
    return gradient


def sobel_adjoint(gradient: np.ndarray) -> np.ndarray:
    """Adjoint of `sobel`: takes a derivative by the responses to one by the image's pixels."""
    inner = gradient[..., 1:-1, 1:-1] / 8
    rows, columns = gradient.shape[-2:]
    image = np.zeros((*gradient.shape[:-3], rows, columns), dtype=gradient.dtype)
    for shift, weight in enumerate((1, 2, 1)):
        band = slice(shift, shift + rows - 2), slice(shift, shift + columns - 2)
        image[..., band[0], 2:] += weight * inner[..., 0, :, :]
        image[..., band[0], :-2] -= weight * inner[..., 0, :, :]
        image[..., 2:, band[1]] += weight * inner[..., 1, :, :]
        image[..., :-2, band[1]] -= weight * inner[..., 1, :, :]
    return image


@dataclass(frozen=True)
class _Tiling:
    """Cuts an image into square tiles; `side` None is one tile, the whole image."""

    shape: tuple[int, int]
    side: int | None

    def cut(self, image: np.ndarray) -> np.ndarray:
        """(…, rows, columns) to (…, tiles, pixels per tile), zero-padded below and to the right."""
        if self.side is None:
            return image.reshape(*image.shape[:-2], 1, -1)
        p, lead = self.side, image.shape[:-2]
        rows, columns = (-(-n // p) for n in self.shape)
        padding = [(0, 0)] * len(lead) + [(0, rows * p - self.shape[0]), (0, columns * p - self.shape[1])]
        tiles = np.pad(image, padding).reshape(*lead, rows, p, columns, p)
        return np.moveaxis(tiles, -3, -2).reshape(*lead, rows * columns, p * p)

    def join(self, tiles: np.ndarray) -> np.ndarray:
        """Inverse of `cut`."""
        if self.side is None:
            return tiles.reshape(*tiles.shape[:-2], *self.shape)
        p, lead = self.side, tiles.shape[:-2]
        rows, columns = (-(-n // p) for n in self.shape)
        image = np.moveaxis(tiles.reshape(*lead, rows, columns, p, p), -3, -2)
        return image.reshape(*lead, rows * p, columns * p)[..., : self.shape[0], : self.shape[1]]


class GradientCorrelation:
    """Gradient correlation: normalised cross-correlation of the Sobel responses, whole or patch by patch.

    `weighting="equal"` averages over patches and over x and y (GC where there is one patch). With
    "energy", each patch counts its squared positive correlation by the radiograph's gradient energy in
    it: the share of that energy which the DRR explains when its local scale is fitted. Maximising it is
    least squares with one scale per patch, so that `residuals` gives Gauss–Newton its step.

    Source: gradient correlation, Penney et al. 1998; patches, Grupp et al. 2018.
    """

    def __init__(
        self,
        radiograph: np.ndarray,
        mask: np.ndarray,
        patch_px: int | None = None,
        weighting: Literal["equal", "energy"] = "equal",
        cap: float = 8.0,
        trend: int = 0,
    ) -> None:
        """Prepares the radiograph.

        Args:
            radiograph: log attenuation, (rows, columns).
            mask: pixels that may be looked at, bool of the same shape.
            patch_px: edge length of a patch; None is one patch over the whole image.
            weighting: how patches are weighed, see the class.
            cap: energy of a patch beyond so many times the median counts no more (gas, metal, markers).
            trend: degree of the polynomial that is taken out of every patch's gradients: 0 the mean, as in any
                correlation; 1 a plane, so that soft tissue of quadratic thickness does not count.
        """
        usable = ndimage.binary_erosion(mask, np.ones((3, 3)))
        self._tiling = _Tiling(radiograph.shape, patch_px)
        self._inside = self._tiling.cut(usable.astype(np.float32))
        self._basis = self._trends(trend)
        enough = self._inside.sum(axis=-1) >= self._inside.shape[-1] / 4 if patch_px else np.ones(1, dtype=bool)
        fixed = self._centred(self._tiling.cut(sobel(np.where(mask, radiograph, 0.0).astype(np.float32))))
        self._norm = np.sqrt((fixed * fixed).sum(axis=-1))
        self._fixed = fixed / np.maximum(self._norm, _EPSILON)[..., None]
        self._weight = self._weights(enough, weighting, cap)
        self._squared = weighting == "energy"

    def _weights(self, enough: np.ndarray, weighting: str, cap: float) -> np.ndarray:
        """Weights of the tiles, which add up to 1; 0 where a tile has too few pixels or the image has no edge in it.

        Args:
            enough: tiles of which enough pixels can be used.
            weighting: equal, or energy: of the image's gradients, so that tiles with strong edges count more.
            cap: the most energy that counts, over the tiles' median, lest one edge outweigh all others.
        """
        used = enough & (self._norm > _EPSILON)
        if not used.any():
            return np.zeros(self._norm.shape)
        energy = self._norm**2
        weights = np.minimum(energy, cap * np.median(energy[used])) if weighting == "energy" else np.ones(energy.shape)
        weights = np.where(used, weights, 0.0)
        return weights / weights.sum()

    def _trends(self, degree: int) -> np.ndarray:
        """Orthonormal polynomials on the usable pixels of every tile, (terms, tiles, pixels)."""
        rows, columns = (self._tiling.cut(n.astype(np.float64)) for n in np.indices(self._tiling.shape))
        terms = [self._inside.astype(np.float64)]
        if degree > 0:
            terms += [rows * self._inside, columns * self._inside]
        basis: list[np.ndarray] = []
        for term in terms:
            for known in basis * 2:
                term = term - (term * known).sum(axis=-1, keepdims=True) * known
            norm = np.sqrt((term**2).sum(axis=-1, keepdims=True))
            basis.append(np.where(norm > 1e-6, term / np.maximum(norm, 1e-6), 0.0))
        return np.stack(basis).astype(np.float32)

    def _centred(self, tiles: np.ndarray) -> np.ndarray:
        centred = tiles * self._inside
        for term in self._basis:
            centred = centred - (centred * term).sum(axis=-1, keepdims=True) * term
        return centred

    def _normalised(self, drrs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moving = self._centred(self._tiling.cut(sobel(drrs)))
        norm = np.sqrt((moving * moving).sum(axis=-1, keepdims=True))
        return moving / np.maximum(norm, _EPSILON), norm

    def value(self, drrs: np.ndarray) -> np.ndarray:
        """Values of a batch of DRRs, (…, rows, columns) to (…)."""
        moving, _ = self._normalised(drrs)
        correlation = np.einsum("...p,...p->...", self._fixed, moving)
        score = np.maximum(correlation, 0) ** 2 if self._squared else correlation
        return (self._weight * score).sum(axis=(-2, -1))

    def value_and_derivative(self, drr: np.ndarray) -> tuple[float, np.ndarray]:
        """Value of one DRR and its derivative with respect to every pixel."""
        moving, norm = self._normalised(drr)
        correlation = (self._fixed * moving).sum(axis=-1)
        positive = np.maximum(correlation, 0)
        score, slope = (positive**2, 2 * positive) if self._squared else (correlation, np.ones_like(correlation))
        towards = (self._fixed - correlation[..., None] * moving) / np.maximum(norm, _EPSILON)
        towards = np.where(norm > _EPSILON, towards, 0.0) * (self._weight * slope)[..., None]
        derivative = sobel_adjoint(self._tiling.join(towards))
        return float((self._weight * score).sum()), derivative

    def residuals(self, drr: np.ndarray, jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least-squares form: residuals r and their derivatives, with Σ r² = 1 − value ("energy").

        Args:
            drr: (rows, columns).
            jacobian: derivatives of the DRR by the pose, (6, rows, columns).

        Returns:
            r, (n,), and dr/dpose, (6, n): the radiograph's gradients less the DRR's at the best scale per
            patch; the derivative keeps the scales at their optimum (Kaufman's variable projection).
        """
        moving, norm = self._normalised(drr)
        tangent = self._centred(self._tiling.cut(sobel(jacobian)))
        correlation = np.maximum((self._fixed * moving).sum(axis=-1, keepdims=True), 0)
        along = (tangent * moving).sum(axis=-1, keepdims=True)
        turned = np.where(norm > _EPSILON, (tangent - along * moving) / np.maximum(norm, _EPSILON), 0.0)
        scale = np.sqrt(self._weight)[..., None]
        residual = scale * (self._fixed - correlation * moving)
        used = self._inside > 0
        keep = np.broadcast_to(used, residual.shape) & (self._weight[..., None] > 0)
        return residual[keep], (-scale * correlation * turned)[:, keep]
