"""How large the report becomes."""

from pathlib import Path

import numpy as np
import pytest
from fabricated import Fabrication
from fabricated_report import EXPERIMENTS, SETTINGS, make_index, make_results

from mskdex.config import Config
from mskdex.config.learning import FoldSettings
from mskdex.io.arrays import read_arrays, write_arrays
from mskdex.pipeline.stages.report import report

pytestmark = pytest.mark.slow
MB = 1e6

REGISTRATION_PICTURE = 26e3
"""Of a page, in bytes as embedded: mean of three virtual patients; fabricated ones have none."""

OTHERS_GROW = 1.65
"""Everything but the patients' pages, 539 patients over 60: 17.9 MB over 11.0 MB."""


def test_the_index_of_539_patients_stays_below_5_mb(tmp_path: Path) -> None:
    config = Config(evaluation=SETTINGS, experiments=EXPERIMENTS, folds=FoldSettings(train="all"))
    make_results(tmp_path, Fabrication(patients=539, trained=(0, 1, 2, 3), size=16), config)
    size = len(make_index(tmp_path, config).encode())
    print(f"index of 539 patients: {size / MB:.2f} MB")
    assert size <= 5 * MB


def test_a_report_of_60_patients_stays_below_25_mb(tmp_path: Path) -> None:
    """Predictions carry noise, as a network's do: it is what makes pictures large."""
    config = Config(evaluation=SETTINGS, experiments=EXPERIMENTS, folds=FoldSettings(train="all"))
    make_results(tmp_path, Fabrication(patients=60, trained=(0, 1, 2, 3), size=96), config)
    generator = np.random.default_rng(0)
    for path in sorted(tmp_path.glob("experiments/*/fold*/decompositions/*.safetensors")):
        arrays, meta = read_arrays(path)
        noise = generator.normal(
            0, 0.006 * np.abs(arrays["drr"]).max(axis=(-2, -1), keepdims=True), arrays["drr"].shape
        )
        write_arrays(path, {"drr": (arrays["drr"] + noise).astype(np.float16)}, meta)
    report(tmp_path, config, tmp_path / "report")
    sizes = {p: p.stat().st_size for p in (tmp_path / "report").rglob("*") if p.is_file()}
    print(f"report of 60 patients: {sum(sizes.values()) / MB:.1f} MB")
    assert sum(sizes.values()) <= 25 * MB
    assert sizes[tmp_path / "report" / "index.html"] <= 5 * MB
    pages = [size for p, size in sizes.items() if p.parent.name == "patients" and p.suffix == ".html"]
    assert len(pages) == 60
    others = sum(sizes.values()) - sum(pages)
    print(f"a page {np.mean(pages) / 1e3:.0f} kB, all else {others / MB:.1f} MB")
    assert 539 * (np.mean(pages) + REGISTRATION_PICTURE) + OTHERS_GROW * others <= 60 * MB, "539 patients"
