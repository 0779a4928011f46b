"""What looks like the training radiographs, and what does not."""

import dataclasses

import numpy as np
import pytest
import torch
from phantoms import CHANNELS
from test_predict_radiographs import SIDE, _card

from mskdex.models.generator import make_decomposer
from mskdex.models.likeness import LEAST_PATIENTS, fit_likeness, thumbnail
from mskdex.models.model import read_model, write_model

WHOLE = np.ones((64, 64), bool)


def hip(number: int) -> np.ndarray:
    """Log attenuation of a trunk that ends in two thighs, with pelvis and femurs; sizes and place differ."""
    rng = np.random.default_rng(number)
    size, thick, across, down = rng.normal(1.0, 0.08), rng.normal(1.0, 0.15), *rng.normal(0.0, 0.04, 2)
    y, x = np.meshgrid(np.linspace(-1, 1, 64) - down, np.linspace(-1, 1, 64) - across, indexing="ij")

    def thickness(column, width):
        return np.sqrt(np.clip(1 - ((x - column) / (width * size)) ** 2, 0, 1))

    trunk, thighs = thickness(0.0, 0.85), thickness(-0.42, 0.4) + thickness(0.42, 0.4)
    image = 3.6 * thick * np.where(y < 0.15, trunk, thighs)
    for side in (-1, 1):
        wing = ((x - 0.35 * side) / 0.28) ** 2 + ((y + 0.45) / 0.35) ** 2 < size**2
        image += 0.9 * wing + 1.3 * (np.abs(x - 0.52 * side) < 0.09 * size) * (y > -0.05)
    return (image + rng.normal(0, 0.02, image.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def radiographs():
    return [hip(number) for number in range(24)]


@pytest.fixture(scope="module")
def likeness(radiographs):
    return fit_likeness(thumbnail(image, WHOLE) for image in radiographs[:14])


def flagged(likeness, image, field=WHOLE):
    return bool(likeness.flags(image, field))


def test_other_patients_are_alike_whatever_their_brightness_contrast_and_side(likeness, radiographs):
    for image in radiographs[14:]:
        assert not flagged(likeness, image)
        assert not flagged(likeness, 3.0 * image - 2.0)
        assert not flagged(likeness, image[:, ::-1]), "a mirror image of an AP radiograph is as likely"


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("upside down", lambda image: image[::-1]),
        ("lying", np.rot90),
        ("a thigh: the hip above the upper edge", lambda image: np.roll(image, -32, axis=0)),
        ("inverted", lambda image: -image),
        ("even, with noise", lambda image: np.random.default_rng(0).normal(3.0, 0.1, image.shape)),
        ("flat", lambda image: np.full(image.shape, 3.0)),
        ("one line of text on nothing", lambda image: np.eye(len(image))),
    ],
)
def test_what_is_no_upright_hip_is_flagged(likeness, radiographs, what, change):
    for image in radiographs[14:18]:
        text = likeness.flags(np.ascontiguousarray(change(image)), WHOLE)
        assert text, what
        assert "unlike the training radiographs" in text[0]


def test_grey_values_outside_the_field_set_no_brightness(radiographs):
    image, field = radiographs[15].copy(), WHOLE.copy()
    field[:, :4] = False
    image[:, :4] = 1000.0
    found = thumbnail(image, field).reshape(24, 24)[:, 2:]
    sound = thumbnail(radiographs[15], WHOLE).reshape(24, 24)[:, 2:]
    assert np.corrcoef(found.ravel(), sound.ravel())[0, 1] > 0.99
    assert np.isfinite(thumbnail(image, np.zeros_like(field))).all()


def test_few_patients_tell_nothing(radiographs):
    assert fit_likeness(thumbnail(image, WHOLE) for image in radiographs[: LEAST_PATIENTS - 1]) is None
    alike = fit_likeness([thumbnail(radiographs[0], WHOLE)] * LEAST_PATIENTS)
    assert not flagged(alike, radiographs[0])
    assert flagged(alike, radiographs[0][::-1])


def test_it_is_kept_with_the_weights(likeness, radiographs, tmp_path):
    generator = make_decomposer(CHANNELS, (SIDE, SIDE), _card().experiment.network, seed=0)
    for name, model in (("with", likeness), ("without", None)):
        write_model(tmp_path / f"{name}.safetensors", generator, dataclasses.replace(_card()), {}, model)
    back = read_model(tmp_path / "with.safetensors", torch.device("cpu")).likeness
    thumb = thumbnail(radiographs[20], WHOLE)
    assert back.distance(thumb) == pytest.approx(likeness.distance(thumb), abs=1e-3)
    assert back.limit == pytest.approx(likeness.limit, abs=1e-5)
    assert read_model(tmp_path / "without.safetensors", torch.device("cpu")).likeness is None
