"""Values worked out by hand, invariances, and derivatives against central differences."""

import numpy as np
import pytest

from mskdex.registration.similarity import (
    GradientCorrelation,
    sobel,
    sobel_adjoint,
)

ALL = np.ones((24, 20), dtype=bool)


def images(seed: int = 0, shape: tuple[int, int] = (24, 20)) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    fixed = draw.normal(size=shape)
    return fixed, 0.6 * fixed + 0.8 * draw.normal(size=shape)


def prepared(kind: str, fixed: np.ndarray, mask: np.ndarray):
    return {
        "gc": lambda: GradientCorrelation(fixed, mask),
        "patches": lambda: GradientCorrelation(fixed, mask, 8),
        "energy": lambda: GradientCorrelation(fixed, mask, 8, "energy"),
        "energy, trend": lambda: GradientCorrelation(fixed, mask, 8, "energy", trend=1),
    }[kind]()


KINDS = ("gc", "patches", "energy", "energy, trend")


def test_sobel_of_a_ramp_is_its_slope():
    rows, columns = np.indices((6, 7)).astype(float)
    gradient = sobel(3.0 * columns - 2.0 * rows)
    np.testing.assert_allclose(gradient[0, 1:-1, 1:-1], 3.0)
    np.testing.assert_allclose(gradient[1, 1:-1, 1:-1], -2.0)
    assert not gradient[:, 0].any()
    assert not gradient[:, :, -1].any()


def test_sobel_adjoint_is_the_adjoint():
    draw = np.random.default_rng(1)
    image, response = draw.normal(size=(9, 11)), draw.normal(size=(2, 9, 11))
    assert np.vdot(sobel(image), response) == pytest.approx(np.vdot(image, sobel_adjoint(response)), rel=1e-12)


def test_gradient_correlation_by_hand():
    # One row of interior pixels: x responses are (b, c, d, e) differences over two columns.
    fixed = np.tile([0.0, 0.0, 1.0, 3.0, 3.0, 3.0], (3, 1))
    moving = np.tile([0.0, 1.0, 1.0, 2.0, 4.0, 4.0], (3, 1))
    fx, mx = np.array([1.0, 3.0, 2.0, 0.0]) / 2, np.array([1.0, 1.0, 3.0, 2.0]) / 2
    np.testing.assert_allclose(sobel(fixed)[0, 1, 1:-1], fx)
    np.testing.assert_allclose(sobel(moving)[0, 1, 1:-1], mx)
    by_hand = np.corrcoef(fx[1:-1], mx[1:-1])[0, 1]  # the mask loses one more pixel on each side
    mask = np.zeros((3, 6), dtype=bool)
    mask[:, 1:-1] = True
    value = GradientCorrelation(fixed, mask).value(moving)
    # y responses are zero, so that the y correlation is 0 and x carries all of the weight that has any
    assert value == pytest.approx(by_hand, abs=1e-6)


def test_patches_by_hand():
    # Two patches of equal weight, each the mean of its correlations along x and along y.
    fixed, moving = images(2, (8, 16))
    gf, gm = sobel(fixed), sobel(moving)
    inner = np.zeros((8, 16), dtype=bool)
    inner[1:-1, 1:-1] = True
    patches = np.s_[:, :8], np.s_[:, 8:]
    by_hand = [np.corrcoef(gf[axis][p][inner[p]], gm[axis][p][inner[p]])[0, 1] for p in patches for axis in (0, 1)]
    value = GradientCorrelation(fixed, np.ones((8, 16), dtype=bool), 8).value(moving)
    assert value == pytest.approx(np.mean(by_hand), abs=1e-6)


def test_energy_weighting_by_hand():
    # Two patches whose correlations are c1, c2 and energies e1, e2: Σ e c² / Σ e over the positive ones.
    fixed, moving = images(3, (8, 16))
    mask = np.ones((8, 16), dtype=bool)
    gf, gm = sobel(fixed), sobel(moving)
    inner = np.zeros((8, 16), dtype=bool)
    inner[1:-1, 1:-1] = True
    top = bottom = 0.0
    for patch in (np.s_[:, :8], np.s_[:, 8:]):
        for axis in (0, 1):
            a, b = gf[axis][patch][inner[patch]], gm[axis][patch][inner[patch]]
            energy = ((a - a.mean()) ** 2).sum()
            top += energy * max(np.corrcoef(a, b)[0, 1], 0) ** 2
            bottom += energy
    assert GradientCorrelation(fixed, mask, 8, "energy").value(moving) == pytest.approx(top / bottom, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_scale_offset_and_identity(kind):
    fixed, moving = images(4)
    similarity = prepared(kind, fixed, ALL)
    assert similarity.value(5.0 * moving + 7.0) == pytest.approx(similarity.value(moving), abs=1e-5)
    assert similarity.value(fixed) > similarity.value(moving)
    assert similarity.value(moving) > similarity.value(-moving)
    assert similarity.value(fixed) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_batch_equals_single(kind):
    fixed, moving = images(5)
    similarity = prepared(kind, fixed, ALL)
    batch = np.stack([moving, fixed, moving**2])
    values = similarity.value(batch)
    assert values.shape == (3,)
    for one, value in zip(batch, values, strict=True):
        assert similarity.value(one) == pytest.approx(value, abs=1e-6)
        assert similarity.value_and_derivative(one)[0] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_derivative_against_central_differences(kind):
    fixed, moving = images(6)
    mask = ALL.copy()
    mask[:5, :7] = False
    similarity = prepared(kind, fixed, mask)
    _, derivative = similarity.value_and_derivative(moving)
    draw = np.random.default_rng(7)
    for _ in range(4):
        direction = draw.normal(size=moving.shape)
        step = 3e-3  # the sums are float32
        numeric = (similarity.value(moving + step * direction) - similarity.value(moving - step * direction)) / (
            2 * step
        )
        assert np.vdot(derivative, direction) == pytest.approx(numeric, rel=2e-3, abs=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_outside_the_mask_does_not_count(kind):
    fixed, moving = images(8)
    mask = ALL.copy()
    mask[:, 12:] = False
    changed, fixed_changed = moving.copy(), fixed.copy()
    changed[:, 14:] = 50.0
    fixed_changed[:, 12:] = -9.0
    assert prepared(kind, fixed_changed, mask).value(changed) == pytest.approx(
        prepared(kind, fixed, mask).value(moving), abs=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_empty_images_are_zero_not_nan(kind):
    fixed, _ = images(9)
    value, derivative = prepared(kind, fixed, ALL).value_and_derivative(np.zeros_like(fixed))
    assert value == 0.0
    assert np.isfinite(derivative).all()
    assert np.isfinite(prepared(kind, fixed, np.zeros_like(ALL)).value(fixed))


def test_trend_takes_out_smooth_soft_tissue():
    fixed, moving = images(10)
    rows, columns = np.indices(fixed.shape) / 10.0
    thick = fixed + 40.0 * columns**2 - 30.0 * rows * columns
    plain = GradientCorrelation(thick, ALL, 8, "energy").value(moving)
    flat = GradientCorrelation(thick, ALL, 8, "energy", trend=1).value(moving)
    undisturbed = GradientCorrelation(fixed, ALL, 8, "energy", trend=1).value(moving)
    assert flat == pytest.approx(undisturbed, abs=2e-3)
    assert plain < 0.8 * flat


def test_residuals_are_one_less_the_value_and_their_derivative_is_its_gradient():
    fixed, moving = images(11)
    similarity = GradientCorrelation(fixed, ALL, 8, "energy", cap=1e9)
    jacobian = np.random.default_rng(12).normal(size=(6, *fixed.shape))
    residual, slope = similarity.residuals(moving, jacobian)
    value, derivative = similarity.value_and_derivative(moving)
    negative = 1.0 - value - residual @ residual  # patches of negative correlation explain nothing
    assert negative == pytest.approx(0.0, abs=1e-5)
    np.testing.assert_allclose(2 * slope @ residual, -(jacobian * derivative).sum(axis=(1, 2)), rtol=1e-3, atol=1e-5)
