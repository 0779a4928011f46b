"""Samples of virtual patients without a CT, and on fewer pixels."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mskdex.config.virtual import VirtualSettings
from mskdex.io.stack import Stack
from mskdex.virtual.built_in_anatomy import built_in
from mskdex.virtual.population import person

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "learning"))

from groups import coarser
from many_patients import Maker
from upper_bound import evidence_config

COARSE = VirtualSettings(voxel_mm=6.0, radiograph_pixel_mm=3.2, seed=7)


@pytest.fixture(scope="module")
def sample() -> Stack:
    return Maker.of(evidence_config()).standing(COARSE, 3, 12.0)


def test_the_standing_body_has_the_persons_muscles_where_the_image_shows_them(sample: Stack) -> None:
    """A muscle of few voxels is counted to some percent; a wrong person, side or unit would be off by far more."""
    template, one = built_in(COARSE.voxel_mm), person(COARSE, 3)
    muscles = {i: c for i, c in enumerate(sample.channels) if c.kind == "muscle"}
    drawn = [
        template.volumes_cm3[template.label(c.name)] * one.muscle_factor(c.object, c.side) for c in muscles.values()
    ]
    assert sample.truth[1, list(muscles)] == pytest.approx(np.array(drawn), rel=0.25)
    assert sample.truth[1, list(muscles)].sum() == pytest.approx(sum(drawn), rel=0.03)
    left = sample.drr.dense()[2, sample.objects.index("femur_left")]
    assert left[:, 32:].sum() > 0.99 * left.sum() > 0.0, "AP: the patient's left is on the image's right"


def test_the_radiograph_is_brighter_where_the_drrs_are(sample: Stack) -> None:
    bone = sample.drr.dense()[0, 12:].sum(axis=0)
    inside, thick = sample.field, bone > np.quantile(bone, 0.9)
    assert sample.radiograph[inside & thick].mean() > sample.radiograph[inside & (bone == 0)].mean() + 0.5


def test_fewer_pixels_keep_the_sums(sample: Stack) -> None:
    small = coarser(sample, 32)
    assert small.camera.shape == small.radiograph.shape == (32, 32)
    assert small.camera.pixel_mm == pytest.approx(2 * sample.camera.pixel_mm)
    sums = [s.drr.dense().sum(axis=(-2, -1)) for s in (small, sample)]
    assert sums[0] == pytest.approx(sums[1], rel=2e-3, abs=1e-3)
    assert coarser(sample, 64) is sample
