"""How large the report becomes."""

from pathlib import Path

import numpy as np
import pytest
from fabricated import Fabrication
from fabricated_report import EXPERIMENTS, SETTINGS, make_index, make_results
from PIL import Image
from scipy import ndimage

from mskdex.config import Config
from mskdex.config.learning import FoldSettings
from mskdex.io.arrays import read_arrays, write_arrays
from mskdex.pipeline.stages.report import report
from mskdex.report.sprites import picture_uri

pytestmark = pytest.mark.slow
MB = 1e6

REGISTRATION_PICTURE = 22.8e3
"""Bytes of a registration's picture as a page embeds it: mean of the default run's 30 virtual patients."""


def test_the_index_of_539_patients_stays_below_5_mb(tmp_path: Path) -> None:
    config = Config(evaluation=SETTINGS, experiments=EXPERIMENTS, folds=FoldSettings(train="all"))
    make_results(tmp_path, Fabrication(patients=539, trained=(0, 1, 2, 3), size=16), config)
    size = len(make_index(tmp_path, config).encode())
    print(f"index of 539 patients: {size / MB:.2f} MB")
    assert size <= 5 * MB


@pytest.mark.parametrize(("patients", "limit_mb"), [(60, 25), (539, 60)])
def test_size_of_a_report(tmp_path: Path, patients: int, limit_mb: float) -> None:
    """Predictions carry noise, as a network's do: it is what makes pictures large."""
    config = Config(evaluation=SETTINGS, experiments=EXPERIMENTS, folds=FoldSettings(train="all"))
    make_results(tmp_path, Fabrication(patients=patients, trained=(0, 1, 2, 3), size=96), config)
    _add_noise(tmp_path)
    _add_registration_pictures(tmp_path)
    report(tmp_path, config, tmp_path / "report")
    sizes = {p: p.stat().st_size for p in (tmp_path / "report").rglob("*") if p.is_file()}
    pages = [size for p, size in sizes.items() if p.parent.name == "patients" and p.suffix == ".html"]
    whole = sum(sizes.values())
    print(f"report of {patients} patients: {whole / MB:.1f} MB, a page {np.mean(pages) / 1e3:.0f} kB")
    assert len(pages) == patients
    assert whole <= limit_mb * MB
    assert sizes[tmp_path / "report" / "index.html"] <= 5 * MB


def _add_noise(root: Path) -> None:
    generator = np.random.default_rng(0)
    for path in sorted(root.glob("experiments/*/fold*/decompositions/*.safetensors")):
        arrays, meta = read_arrays(path)
        noise = generator.normal(
            0, 0.006 * np.abs(arrays["drr"]).max(axis=(-2, -1), keepdims=True), arrays["drr"].shape
        )
        write_arrays(path, {"drr": (arrays["drr"] + noise).astype(np.float16)}, meta)


def _add_registration_pictures(root: Path) -> None:
    """Noise of the size of a real picture, as sharp as makes it as many bytes on the page."""
    generator = np.random.default_rng(1)
    for folder in sorted((root / "patients").iterdir()):
        grey = ndimage.gaussian_filter(generator.normal(size=(352, 1200)), 1.8)
        Image.fromarray((127 + 40 * grey / grey.std()).clip(0, 255).astype(np.uint8)).save(folder / "qc.png")
    assert len(picture_uri(folder / "qc.png") or "") >= REGISTRATION_PICTURE
