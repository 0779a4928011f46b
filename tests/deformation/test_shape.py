import numpy as np
import pytest

from mskdex.deformation.flow import displacement
from mskdex.deformation.shape import cell_means, grow, rates
from mskdex.deformation.template import Tissue


def divergence(u, cell):
    return sum(np.gradient(u[..., d], cell, axis=2 - d) for d in range(3))


def test_displacement_has_the_wanted_divergence():
    z, y, x = np.indices((24, 26, 28)) - 13.0
    rate = 0.1 * np.exp(-(x**2 + y**2 + z**2) / 40.0)
    u = displacement(rate, np.ones(rate.shape), 5.0, np.zeros(rate.shape), tolerance=1e-8)
    inner = (slice(3, -3),) * 3
    assert divergence(u, 5.0)[inner] == pytest.approx(rate[inner], abs=0.004)
    assert divergence(u, 5.0)[inner].sum() == pytest.approx(rate[inner].sum(), rel=0.03)


def test_what_is_rigid_does_not_move_and_nothing_leaves_at_the_ends():
    rate, mobility = np.zeros((16, 16, 16)), np.ones((16, 16, 16))
    rate[4:8, 4:8, 4:8] = 0.1
    mobility[10:13] = 0.0
    u = displacement(rate, mobility, 4.0, np.zeros(rate.shape), tolerance=1e-8)
    assert not u[11].any()
    assert np.abs(u[0, ..., 2]).max() < 0.5 * np.abs(u[3, ..., 2]).max()
    assert np.abs(u[4:8]).max() > 0.05


def test_tissues_grow_to_their_volumes_and_bones_keep_theirs(template):
    scale = np.full(3, 0.9)
    volumes = template.volumes_cm3
    wanted = {}
    for name, factor in (("gluteus_maximus_left", 0.55), ("gluteus_medius_right", 0.95), ("iliacus_left", 0.6)):
        wanted[template.label(name)] = factor * volumes[template.label(name)]
    wanted[template.label("fat")] = 1.3 * 0.9**3 * volumes[template.label("fat")]
    box = np.array([-240.0, -200.0, -200.0]), np.array([240.0, 220.0, 200.0])
    shape = grow(template, scale, wanted, box, np.random.default_rng(1), warp_mm=0.0)

    found = np.bincount(shape.labels.ravel()) * 0.064
    for label, volume in wanted.items():
        assert found[label] == pytest.approx(volume, rel=0.06)
    for name in ("pelvis_left", "sacrum"):
        assert found[template.label(name)] == pytest.approx(0.9**3 * volumes[template.label(name)], rel=0.06)


def test_labels_that_share_cells_are_asked_for_what_makes_each_grow_as_wanted():
    """Three labels in layers of 3, 4 and 9 voxels: the cell of 2 between the first two holds both."""
    layers = np.repeat(np.arange(3, dtype=np.uint8), (3, 4, 9))
    labels = np.broadcast_to(layers[:, None, None], (16, 4, 4)).copy()
    now = np.array([30.0, 40.0, 90.0])
    asked = rates(labels, now * (1.1, 0.95, 1.0), now, 0.3)
    cells = cell_means(labels, np.eye(3))
    growth = np.tensordot(asked, cells, 1)
    grown = [np.average(growth, weights=share) for share in cells]
    assert grown == pytest.approx(np.log((1.1, 0.95, 1.0)), abs=0.002)
    assert asked[0] > np.log(1.1)  # its border cells are held back by the second


def test_a_free_label_is_asked_for_nothing_and_growth_is_limited():
    """The first label is free, the second has no voxels, the third wants much."""
    labels = np.repeat(np.array([0, 2], np.uint8), 4)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    assert rates(labels, np.array([0.0, 10.0, 200.0]), np.array([80.0, 0.0, 100.0]), 0.3) == pytest.approx([0, 0, 0.3])


def test_the_way_back_from_the_template_is_the_inverse(two_postures):
    shape = two_postures.shape
    for head in shape.template.heads_mm.values():
        point = shape.from_template(head).astype(np.float32)
        assert shape.to_template(point[None])[0] == pytest.approx(head, abs=0.05)


def test_no_fold(two_postures):
    """Nowhere in the body does the map to the template turn inside out."""
    shape = two_postures.shape
    gradient = np.stack(
        [np.stack(np.gradient(shape.shift[..., c], shape.grid.cell_mm)[::-1], -1) for c in range(3)], -2
    )
    body = np.linalg.det(gradient + np.eye(3))[4:-4, 8:-8, 8:-8]
    assert body.min() > 0.15
    assert Tissue.BONE in shape.template.tissues
