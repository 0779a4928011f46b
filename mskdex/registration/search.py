"""Global search: CMA-ES from several starts on coarse DRRs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mskdex.geometry.rigid import along_ray
from mskdex.registration.evolution import Evolution

_SIGMA = 0.7
_LIMIT, _PENALTY = 1.8, 0.2
"""Beyond so many spreads a pose is penalised: a bone far away, or mostly out of the picture, can match noise."""

Score = Callable[[np.ndarray], np.ndarray]
"""Takes poses, (N, 4, 4), to similarities, (N,); larger is better."""


@dataclass(frozen=True)
class SearchSpread:
    """How far around its start a search looks, as standard deviations.

    Attributes:
        rotation_deg: about each axis.
        shift_mm: across and down.
        depth_mm: along the ray.
    """

    rotation_deg: float
    shift_mm: float
    depth_mm: float

    @property
    def scale(self) -> np.ndarray:
        """One standard deviation of each of `rigid.PARAMETERS`, (6,)."""
        return np.array([self.rotation_deg] * 3 + [self.shift_mm] * 2 + [self.depth_mm])


@dataclass(frozen=True)
class SearchEffort:
    """How hard a search tries.

    Attributes:
        restarts: independent searches; the first starts at the start, the others around it.
        finalists: how many of them go on after the screening, the best.
        population: poses per generation.
        screening_generations: generations of every restart.
        generations: of the finalists, at most, the screening counted in.
        tolerance: a search ends when its step is below this share of the spread.
    """

    restarts: int
    finalists: int
    population: int
    screening_generations: int
    generations: int
    tolerance: float = 0.04


@dataclass(frozen=True)
class SearchResult:
    """The end of one search: a pose and its similarity."""

    pose: np.ndarray
    similarity: float


def multi_start(
    score: Score, start: np.ndarray, pivot_mm: np.ndarray, spread: SearchSpread, effort: SearchEffort, seed: int
) -> list[SearchResult]:
    """Runs the restarts; best first.

    Args:
        score: similarity of a batch of poses.
        start: camera_from_ct to search around, (4, 4).
        pivot_mm: RAS point that rotations leave in place, (3,).
        seed: all randomness follows from it.

    Source: Hansen 2016, CMA-ES; in 2D-3D registration Otake et al. 2012.
    """
    random = np.random.default_rng(seed)
    runs = []
    for restart in range(effort.restarts):
        mean = np.zeros(6) if restart == 0 else random.uniform(-1.0, 1.0, 6)
        runs.append(_CmaSearch(mean, effort.population, int(random.integers(2**31))))

    def evaluate(units: np.ndarray) -> np.ndarray:
        excess = np.maximum(np.abs(units) - _LIMIT, 0.0)
        return score(along_ray(start, pivot_mm, units * spread.scale)) - _PENALTY * (excess**2).sum(axis=1)

    for run in runs:
        run.advance(evaluate, effort.screening_generations, effort.tolerance)
    runs.sort(key=lambda r: -r.value)
    for run in runs[: effort.finalists]:
        run.advance(evaluate, effort.generations - effort.screening_generations, effort.tolerance)
    ends = [
        SearchResult(along_ray(start, pivot_mm, run.best * spread.scale), run.value) for run in runs[: effort.finalists]
    ]
    return sorted(ends, key=lambda found: -found.similarity)


class _CmaSearch:
    """One CMA-ES search in units of the spread, which can be continued."""

    def __init__(self, mean: np.ndarray, population: int, seed: int) -> None:
        self._evolution = Evolution(mean, _SIGMA, population, seed)
        self._finished = False
        self.best, self.value = mean, -np.inf

    def advance(self, evaluate: Score, generations: int, tolerance: float) -> None:
        """Runs some generations more, or fewer once the step is below `tolerance` spreads."""
        for _ in range(generations):
            if self._finished:
                return
            units = self._evolution.ask()
            values = evaluate(units)
            if values.max() > self.value:
                self.best, self.value = units[values.argmax()], float(values.max())
            self._evolution.tell(units, -values)
            self._finished = self._evolution.step < tolerance
