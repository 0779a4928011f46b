import numpy as np
import pytest
import torch
from phantoms import CHANNELS

from mskdex.config.learning import AugmentationSettings
from mskdex.training.augmentation import Change, bend_tone, draw_change, retained_fraction, side_swap, warp


def _disc(side=64, centre=(32, 32), radius=8):
    v, u = np.mgrid[:side, :side] + 0.5
    return torch.tensor(((v - centre[0]) ** 2 + (u - centre[1]) ** 2 < radius**2)[None], dtype=torch.float32)


def _centre(image):
    mass = image[0].double()
    places = torch.arange(mass.shape[0]) + 0.5, torch.arange(mass.shape[1]) + 0.5
    return (mass.sum(1) @ places[0].double() / mass.sum()).item(), (
        mass.sum(0) @ places[1].double() / mass.sum()
    ).item()


def test_no_change_changes_nothing():
    image = torch.rand(2, 20, 30)
    assert warp(image, Change()) is image


def test_a_shift_moves_the_content_by_that_fraction():
    moved = warp(_disc(), Change(shift=(0.25, -0.125)))
    assert _centre(moved) == pytest.approx((32 - 8, 32 + 16), abs=0.01)


def test_a_quarter_turn_is_clockwise_on_square_and_oblong_images():
    for shape in ((64, 64), (64, 96)):
        image = torch.zeros(1, *shape)
        image[0, 10:14, shape[1] // 2 - 2 : shape[1] // 2 + 2] = 1.0  # 20 above the middle
        assert _centre(warp(image, Change(angle_deg=90))) == pytest.approx((32, shape[1] / 2 + 20), abs=0.02)


def test_a_zoom_changes_the_sum_by_the_area_and_what_leaves_is_gone():
    disc = _disc()
    assert retained_fraction(disc, warp(disc, Change(zoom=1.5))).item() == pytest.approx(2.25, rel=0.03)
    half_out = warp(disc, Change(shift=(0.5, 0.0)))
    assert retained_fraction(disc, half_out).item() == pytest.approx(0.5, abs=0.01)
    assert retained_fraction(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)).item() == 1.0


def test_what_comes_in_from_outside_is_zero_or_as_the_border_is():
    image = torch.arange(1.0, 9.0)[None, :, None].expand(1, 8, 8)
    change = Change(shift=(0.0, 0.25))
    assert warp(image, change)[0, :, 0].tolist() == pytest.approx([0, 0, 1, 2, 3, 4, 5, 6], abs=1e-4)
    assert warp(image, change, outside="border")[0, :, 0].tolist() == pytest.approx([1, 1, 1, 2, 3, 4, 5, 6], abs=1e-4)


def test_a_rotation_keeps_the_sum_of_what_stays_inside():
    disc = _disc(centre=(24, 36))
    assert retained_fraction(disc, warp(disc, Change(angle_deg=17.0))).item() == pytest.approx(1.0, abs=0.005)


def test_a_shear_keeps_the_area():
    disc = _disc()
    assert retained_fraction(disc, warp(disc, Change(shear_deg=8.0))).item() == pytest.approx(1.0, abs=0.005)


def test_the_flip_comes_first():
    image = torch.rand(1, 16, 16)
    assert torch.equal(warp(image, Change(flip=True)), image.flip(-1))
    assert _centre(warp(_disc(centre=(32, 20)), Change(flip=True, shift=(0.125, 0)))) == pytest.approx(
        (32, 52), abs=0.01
    )


@pytest.mark.parametrize("tone", [-0.4, 0.3])
def test_a_bent_tone_keeps_soft_tissue_and_bone_and_rises(tone):
    nepers = np.array([0.0, 2.8, 3.8, 5.3, 6.3, 9.0])
    bent = bend_tone(nepers, tone)
    assert bent[[2, 3]] == pytest.approx([3.8, 5.3])
    assert bent[1] == pytest.approx(2.8 + tone * (-1.0) * (-2.5) / 1.5)
    assert bent[4] == pytest.approx(6.3 + tone * 2.5 / 1.5)
    assert np.diff(bend_tone(np.linspace(-1.0, 10.0, 1101), tone)).min() > 0
    for at, slope in ((3.8, 1 - tone), (5.3, 1 + tone)):
        low, high = bend_tone(np.array([at - 0.01, at + 0.01]), tone)
        assert (high - low) / 0.02 == pytest.approx(slope, abs=1e-3)


def test_sides_swap_and_the_middle_stays():
    swap = side_swap(CHANNELS)
    names = [c.name for c in CHANNELS]
    assert [names[i] for i in swap] == [
        n.replace("left", "?").replace("right", "left").replace("?", "right") for n in names
    ]
    assert sorted(swap) == list(range(len(names)))
    one_sided = tuple(c for c in CHANNELS if c.name != "femur_right")
    assert side_swap(one_sided)[-1] == len(one_sided) - 1


def test_changes_are_drawn_within_their_ranges_and_follow_from_the_generator():
    settings = AugmentationSettings()
    changes = [draw_change(settings, np.random.default_rng(i)) for i in range(300)]
    assert changes[7] == draw_change(settings, np.random.default_rng(7))
    angles = np.array([c.angle_deg for c in changes])
    assert np.abs(angles).max() <= 25.0
    assert np.abs(angles).max() > 24.0
    assert 0.9 <= min(c.zoom for c in changes) < 0.91
    assert 100 < sum(c.flip for c in changes) < 200
