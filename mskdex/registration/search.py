"""Global search: CMA-ES from several starts on coarse DRRs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cmaes import CMA

from mskdex.registration.rigid import along_ray

_LIMIT, _PENALTY = 1.8, 0.2
"""Beyond so many spreads a pose is penalised: a bone far away, or mostly out of the picture, can match noise."""

Score = Callable[[np.ndarray], np.ndarray]
"""Takes poses, (N, 4, 4), to similarities, (N,); larger is better."""


@dataclass(frozen=True)
class Spread:
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
class Effort:
    """How hard a search tries.

    Attributes:
        restarts: independent searches; the first starts at the start, the others around it.
        population: poses per generation.
        generations: at most so many.
        tolerance: a search ends when its step is below this share of the spread.
    """

    restarts: int
    population: int
    generations: int
    tolerance: float = 0.04


@dataclass(frozen=True)
class Found:
    """The end of one search: a pose and its similarity."""

    pose: np.ndarray
    similarity: float


def multi_start(
    score: Score, start: np.ndarray, pivot_mm: np.ndarray, spread: Spread, effort: Effort, seed: int
) -> list[Found]:
    """Runs the restarts; best first.

    Args:
        score: similarity of a batch of poses.
        start: camera_from_ct to search around, (4, 4).
        pivot_mm: RAS point that rotations leave in place, (3,).
        seed: all randomness follows from it.

    Source: Hansen 2016, CMA-ES; in 2D-3D registration Otake et al. 2012.
    """
    random = np.random.default_rng(seed)
    found = []
    for restart in range(effort.restarts):
        mean = np.zeros(6) if restart == 0 else random.uniform(-1.0, 1.0, 6)
        found.append(_search(score, start, pivot_mm, spread, effort, mean, int(random.integers(2**31))))
    return sorted(found, key=lambda f: -f.similarity)


def _search(
    score: Score,
    start: np.ndarray,
    pivot_mm: np.ndarray,
    spread: Spread,
    effort: Effort,
    mean: np.ndarray,
    seed: int,
) -> Found:
    optimiser = CMA(mean=mean, sigma=0.7, seed=seed, population_size=effort.population)
    best, best_value = start, -np.inf
    for _ in range(effort.generations):
        units = np.stack([optimiser.ask() for _ in range(effort.population)])
        poses = along_ray(start, pivot_mm, units * spread.scale)
        values = score(poses) - _PENALTY * (np.maximum(np.abs(units) - _LIMIT, 0.0) ** 2).sum(axis=1)
        if values.max() > best_value:
            best, best_value = poses[values.argmax()], float(values.max())
        optimiser.tell([(unit, -float(value)) for unit, value in zip(units, values, strict=True)])
        if optimiser.should_stop() or _step(optimiser) < effort.tolerance:
            break
    return Found(best, best_value)


def _step(optimiser: CMA) -> float:
    return float(optimiser._sigma * np.sqrt(np.diag(optimiser._C).max()))
