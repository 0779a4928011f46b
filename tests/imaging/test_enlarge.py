"""Images of quantities drawn with more pixels."""

import numpy as np
import pytest

from mskdex.imaging.enlarge import drawn_factor, enlarged


def blocks(images: np.ndarray, factor: int) -> np.ndarray:
    """Sums over blocks of pixels."""
    rows, columns = (n // factor for n in images.shape[-2:])
    return images.reshape(*images.shape[:-2], rows, factor, columns, factor).sum(axis=(-3, -1))


def ball(size: int) -> np.ndarray:
    """Chords through a ball, (size, size), in pixels of `size`, sums over 8 × 8 points a pixel."""
    points = (np.arange(8 * size) + 0.5) / (8 * size) - 0.5
    chords = np.sqrt(np.maximum(0.09 - points[:, None] ** 2 - (points[None] - 0.1) ** 2, 0.0))
    return blocks(chords, 8) / (8 * size) ** 2


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("signs", [1.0, -1.0, "both"])
def test_each_pixel_keeps_what_it_holds(factor: int, signs: float | str) -> None:
    images = np.random.default_rng(1).random((2, 3, 8, 10)) ** 4
    images[:, 1, 2:6, 3:7] = 0.0
    images[0, 2] = 0.0
    images = images - 0.1 if signs == "both" else images * signs
    found = enlarged(images.astype(np.float32), factor)
    assert found.shape == (2, 3, 8 * factor, 10 * factor)
    np.testing.assert_allclose(blocks(found, factor), images, rtol=1e-6, atol=1e-9)
    if signs == 1.0:
        assert found.min() == 0.0


def test_a_flat_image_stays_flat_and_a_slope_a_slope() -> None:
    np.testing.assert_allclose(enlarged(np.full((4, 5), 8.0), 2), 2.0)
    slope = enlarged(np.tile(np.arange(1.0, 9.0), (6, 1)), 2)
    np.testing.assert_allclose(np.diff(slope[3, 2:-2]), 0.125)


def test_a_ball_is_nearer_to_its_fine_image_than_with_pixels_repeated() -> None:
    fine = ball(32)
    coarse = blocks(fine, 2)
    repeated = np.repeat(np.repeat(coarse, 2, axis=0), 2, axis=1) / 4.0
    errors = [np.abs(image - fine).sum() / fine.sum() for image in (enlarged(coarse, 2), repeated)]
    assert errors[0] < 0.4 * errors[1]
    assert errors[0] < 0.05


@pytest.mark.parametrize(
    ("shape", "factor"), [((64, 64), 2), ((3, 2, 32, 30), 4), ((128, 96), 1), ((96, 96), 2), ((512, 512), 1)]
)
def test_pictures_have_at_least_128_pixels(shape: tuple[int, ...], factor: int) -> None:
    assert drawn_factor(shape) == factor
