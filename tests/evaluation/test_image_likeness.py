"""PSNR, SSIM and gradient correlation on cases with a known value."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fabricated import Fabrication, fabricate

from mskdex.config import Config
from mskdex.evaluation.decompositions import RANGE_QUANTILE, RenderedDrrs, intensity_ranges
from mskdex.evaluation.images import gradient_correlation, measures, psnr_db, ssim
from mskdex.io.arrays import Crops
from mskdex.io.stack import read_stack, write_stack
from mskdex.models.normalisation import PEAK_QUANTILE


def _image(seed: int = 0) -> np.ndarray:
    rows, columns = np.mgrid[:48, :48] / 48
    return np.sin(7 * rows) * np.cos(5 * columns) + np.random.default_rng(seed).normal(0, 0.05, (48, 48))


def test_psnr_by_hand() -> None:
    image = np.zeros((8, 8))
    assert psnr_db(image + 0.1, image, 1.0) == pytest.approx(20.0)
    assert psnr_db(image + 0.1, image, 2.0) == pytest.approx(20.0 + 20 * np.log10(2))
    assert psnr_db(image, image, 1.0) == float("inf")


def test_ssim_of_constants_by_hand() -> None:
    # Without variance only the luminance term is left: (2ab + c1) / (a² + b² + c1), c1 = (0.01·range)².
    first, second = np.full((16, 16), 0.5), np.full((16, 16), 0.25)
    assert ssim(first, second, 1.0) == pytest.approx((2 * 0.125 + 1e-4) / (0.25 + 0.0625 + 1e-4))
    assert ssim(_image(), _image(), 2.0) == pytest.approx(1.0)


def test_ssim_by_its_definition_at_one_pixel() -> None:
    from scipy.ndimage import gaussian_filter

    x, y = _image(), _image() + 0.2 * _image(1)
    blur = {
        k: gaussian_filter(v, 1.5, truncate=3.5)
        for k, v in {"x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y}.items()
    }
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    vx, vy, cxy = blur["xx"] - blur["x"] ** 2, blur["yy"] - blur["y"] ** 2, blur["xy"] - blur["x"] * blur["y"]
    whole = ((2 * blur["x"] * blur["y"] + c1) * (2 * cxy + c2)) / (
        (blur["x"] ** 2 + blur["y"] ** 2 + c1) * (vx + vy + c2)
    )
    assert ssim(y, x, 2.0) == pytest.approx(whole[5:-5, 5:-5].mean(), abs=1e-6)


def test_gradient_correlation_is_blind_to_brightness_and_contrast_and_signed() -> None:
    image = _image()
    assert gradient_correlation(image, image) == pytest.approx(1.0)
    assert gradient_correlation(image, 3 * image + 7) == pytest.approx(1.0)
    assert gradient_correlation(image, -image) == pytest.approx(-1.0)
    assert np.isnan(gradient_correlation(image, np.ones_like(image)))


def test_a_worse_image_scores_worse_in_every_measure() -> None:
    truth = _image()
    noise = np.random.default_rng(5).normal(0, 1, truth.shape)
    good, bad = (measures(truth + a * noise, truth, 2.0) for a in (0.05, 0.3))
    assert all(good[m] > bad[m] for m in ("psnr_db", "ssim", "gc"))


def test_one_patient_with_metal_does_not_stretch_the_range(tmp_path: Path) -> None:
    root = fabricate(tmp_path, Fabrication(patients=24, size=24))
    names, patients = [c.name for c in Config().channels], [f"P{i:03d}" for i in range(24)]
    before = intensity_ranges(root / "patients", patients, names)["sacrum"]["volume_cm3"]
    path = root / "patients" / "P005" / "stack.safetensors"
    stack = read_stack(path)
    write_stack(path, replace(stack, drr=Crops.of(stack.drr.dense() * 50.0)))
    peaks = [RenderedDrrs.read(root / "patients", p, names).drr["sacrum"][1].max() for p in patients]
    after = intensity_ranges(root / "patients", patients, names)["sacrum"]["volume_cm3"]
    assert max(peaks) > 10 * before
    assert before <= after < 1.5 * before
    assert RANGE_QUANTILE == PEAK_QUANTILE
