import numpy as np
import pytest

from mskdex.imaging.visible import exposed_pixels, visible_fractions


def test_the_share_of_the_mass_in_the_exposed_field():
    mass = np.zeros((4, 4, 6), np.float32)
    mass[0, 1, 1:5] = [1.0, 2.0, 3.0, 4.0]
    mass[1, 2, 0] = 5.0
    exposed = np.ones((4, 6), bool)
    exposed[:, 4:] = False
    found = visible_fractions(mass, np.array([0.0, 0.5, 1.0, np.nan]), exposed)
    np.testing.assert_allclose(found[:3], [0.6, 0.5, 0.0])
    assert np.isnan(found[3])


def test_what_lies_behind_a_marker_was_exposed():
    field = np.zeros((9, 9), bool)
    field[1:8, 1:8] = True
    field[3:5, 3:6] = False
    assert exposed_pixels(field).sum() == 49
    field[3:5, :6] = False
    assert exposed_pixels(field).sum() == field.sum(), "a notch at the border is no marker"


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_collimated_part_is_not_asked_for(share):
    exposed = np.zeros((1, 8), bool)
    exposed[:, : int(8 * share)] = True
    found = visible_fractions(np.ones((1, 1, 8), np.float32), np.zeros(1), exposed)
    assert found.tolist() == [share]
