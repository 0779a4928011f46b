"""What one registration looks at: the radiograph on coarse to fine grids, and where it may be looked at."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from mskdex.geometry.camera import Camera
from mskdex.registration.bodies import RigidBody


@dataclass(frozen=True)
class FixedImage:
    """A radiograph on one grid.

    Attributes:
        image: log attenuation, (rows, columns) float32.
        field: pixels that lie wholly in the exposed field, bool.
        camera: the grid's camera.
    """

    image: np.ndarray
    field: np.ndarray
    camera: Camera

    def at(self, pixel_mm: float) -> "FixedImage":
        """Averaged down to pixels of about `pixel_mm` (a whole multiple of the present ones)."""
        factor = max(1, round(pixel_mm / self.camera.pixel_mm))
        rows, columns = (n // factor for n in self.image.shape)
        point = tuple((p - (factor - 1) / 2) / factor for p in self.camera.principal_point_px)
        camera = replace(
            self.camera,
            pixel_mm=self.camera.pixel_mm * factor,
            shape=(rows, columns),
            principal_point_px=(point[0], point[1]),
        )
        image = np.where(self.field, self.image, 0.0)
        field: np.ndarray = np.all(_blocks(self.field, factor), axis=(1, 3))
        return FixedImage(_blocks(image, factor).mean(axis=(1, 3)), field, camera)

    def blurred(self, sigma_mm: float) -> "FixedImage":
        """Blurred within the field by a Gaussian, `sigma_mm` on the detector: to the resolution of a CT's DRR."""
        if sigma_mm == 0:
            return self
        sigma = sigma_mm / self.camera.pixel_mm
        weight = ndimage.gaussian_filter(self.field.astype(np.float32), sigma)
        total = ndimage.gaussian_filter(np.where(self.field, self.image, 0.0).astype(np.float32), sigma)
        return replace(self, image=np.where(self.field, total / np.maximum(weight, 1e-3), 0.0))

    def cropped(self, mask: np.ndarray) -> tuple["FixedImage", np.ndarray]:
        """The part that holds `mask` with two pixels around it, and the mask on that part."""
        part = tuple(_span(np.any(mask, axis=1 - axis), mask.shape[axis]) for axis in (0, 1))
        row, column = (p - s.start for p, s in zip(self.camera.principal_point_px, part, strict=True))
        shape = (part[0].stop - part[0].start, part[1].stop - part[1].start)
        camera = replace(self.camera, shape=shape, principal_point_px=(row, column))
        return FixedImage(self.image[part], self.field[part], camera), mask[part]

    def mirrored(self) -> "FixedImage":
        """The image flipped left-right, as if it had been imported so."""
        row, column = self.camera.principal_point_px
        camera = replace(self.camera, principal_point_px=(row, self.camera.shape[1] - 1 - column))
        return FixedImage(np.ascontiguousarray(self.image[:, ::-1]), np.ascontiguousarray(self.field[:, ::-1]), camera)


def _blocks(image: np.ndarray, factor: int) -> np.ndarray:
    rows, columns = (n // factor for n in image.shape)
    return image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)


def _span(filled: np.ndarray | np.bool, size: int) -> slice:
    places = np.flatnonzero(filled)
    return slice(max(int(places[0]) - 2, 0), min(int(places[-1]) + 3, size)) if places.size else slice(0, size)


def near(mask: np.ndarray, distance_px: float) -> np.ndarray:
    """Pixels within `distance_px` of a mask."""
    if not mask.any():
        return mask
    return ndimage.distance_transform_edt(~mask) <= distance_px


def cut_shadow(body: RigidBody, camera: Camera, pose: np.ndarray, margin_mm: float) -> np.ndarray:
    """Pixels near the projection of the plane where the CT cuts the body: its DRR ends there, the bone does not.

    Args:
        margin_mm: distance on the detector.
    """
    shadow = np.zeros(camera.shape, dtype=bool)
    if not body.truncated:
        return shadow
    points = body.cut_mm @ pose[:3, :3].T + pose[:3, 3]
    pixel = np.round(camera.project(points)).astype(int)
    inside = np.all((pixel >= 0) & (pixel < camera.shape), axis=1)
    shadow[tuple(pixel[inside].T)] = True
    return near(shadow, margin_mm / camera.pixel_mm)
