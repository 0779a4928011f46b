import numpy as np
import pytest

from mskdex.registration.evolution import Evolution

TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0]


def sphere(x):
    return (x**2).sum(axis=1)


def ellipsoid(x):
    """Axes of 1 to 1000, turned against the coordinates: only a learnt covariance gets down it."""
    return ((x @ TURN) ** 2 * 1000.0 ** (2 * np.arange(6) / 5)).sum(axis=1)


def rosenbrock(x):
    return (100.0 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1.0 - x[:, :-1]) ** 2).sum(axis=1)


def run(function, generations, seed=1, start=2.0):
    search, best = Evolution(np.full(6, start), 0.7, 24, seed), np.inf
    for _ in range(generations):
        points = search.ask()
        values = function(points)
        best = min(best, float(values.min()))
        search.tell(points, values)
    return search, best


@pytest.mark.parametrize(
    ("function", "generations", "reached"), [(sphere, 80, 1e-8), (ellipsoid, 200, 1e-8), (rosenbrock, 250, 1e-6)]
)
@pytest.mark.parametrize("seed", [1, 2])
def test_minima_of_known_functions(function, generations, reached, seed):
    assert run(function, generations, seed)[1] < reached


def test_covariance_becomes_the_inverse_hessian():
    search, _ = run(ellipsoid, 150)
    axis = np.linalg.eigh(search.covariance)[1][:, -1]
    assert abs(axis @ TURN[:, 0]) > 0.99


def test_the_step_grows_on_a_slope_and_shrinks_at_the_minimum():
    slope, _ = run(lambda x: x[:, 0], 20)
    assert slope.step > 5 * 0.7
    bowl, _ = run(sphere, 60)
    assert bowl.step < 1e-3


def test_seed_decides_all_and_order_does_not_matter():
    one, same, other = (run(rosenbrock, 20, seed)[0].mean for seed in (4, 4, 5))
    assert (one == same).all()
    assert (one != other).any()
    told, shuffled = Evolution(np.zeros(6), 1.0, 12, 0), Evolution(np.zeros(6), 1.0, 12, 0)
    points, order = told.ask(), np.random.default_rng(0).permutation(12)
    told.tell(points, sphere(points))
    shuffled.tell(points[order], sphere(points[order]))
    assert told.mean == pytest.approx(shuffled.mean)


def test_nan_is_worst():
    search = Evolution(np.zeros(6), 1.0, 12, 0)
    points = search.ask()
    values = sphere(points)
    values[:6] = np.nan
    search.tell(points, values)
    assert np.isfinite(search.covariance).all()
    assert np.abs(search.mean - points[6:].mean(axis=0)).max() < 1.0
