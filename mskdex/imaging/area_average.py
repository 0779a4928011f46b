"""Area averaging of a radiograph onto the image grid."""

import numpy as np
from scipy import ndimage

from mskdex.geometry.camera import Camera


def overlap_matrix(source: tuple[float, float, int], target: tuple[float, float, int]) -> np.ndarray:
    """Lengths in mm that the pixels of two one-dimensional grids share.

    Args:
        source: (position of the first pixel's centre, pixel size, number of pixels), mm.
        target: likewise.

    Returns:
        (target pixels, source pixels).
    """
    edges = [(start + (np.arange(count + 1) - 0.5) * size) for start, size, count in (source, target)]
    low = np.maximum(edges[1][:-1, None], edges[0][None, :-1])
    high = np.minimum(edges[1][1:, None], edges[0][None, 1:])
    return np.clip(high - low, 0.0, None)


def average_onto(
    image: np.ndarray, field: np.ndarray, camera: Camera, grid: Camera, *, least_exposed: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Averages the exposed pixels of a radiograph over each pixel of another grid on the same detector.

    Args:
        image: (H, W) log attenuation.
        field: (H, W) bool, exposed and unmarked.
        camera: camera of `image`.
        grid: camera with the same source and the new grid.
        least_exposed: fraction of a new pixel that must be exposed for it to count.

    Returns:
        (rows, columns) float32 image, which goes on outside the field with the nearest exposed pixel (a network
        that reads sums from the whole image shall not take a collimator's blade for a thinner patient) and is 0
        where nothing is exposed; and its bool field.
    """
    rows, columns = (
        overlap_matrix(
            (-camera.principal_point_px[i] * camera.pixel_mm, camera.pixel_mm, camera.shape[i]),
            (-grid.principal_point_px[i] * grid.pixel_mm, grid.pixel_mm, grid.shape[i]),
        )
        for i in (0, 1)
    )
    weight = rows @ field.astype(np.float64) @ columns.T
    total = rows @ np.where(field, image, 0.0).astype(np.float64) @ columns.T
    exposed = weight >= least_exposed * grid.pixel_mm**2
    mean = np.divide(total, weight, out=np.zeros_like(total), where=exposed)
    if exposed.any() and not exposed.all():
        nearest = ndimage.distance_transform_edt(~exposed, return_distances=False, return_indices=True)
        mean = mean[tuple(nearest)]
    return mean.astype(np.float32), exposed
