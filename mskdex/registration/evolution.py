"""CMA-ES: an evolution strategy that learns the shape of the function around its mean."""

import numpy as np

_SMALLEST = 1e-12


class Evolution:
    """One CMA-ES search, which minimises.

    Ask for a generation, tell its values, repeat. All randomness follows from the seed.

    Source: Hansen 2016, The CMA Evolution Strategy: A Tutorial, arXiv 1604.00772; equation numbers are its.

    Attributes:
        mean: middle of the next generation, (N,).
        sigma: its step.
        covariance: its shape, (N, N).
    """

    def __init__(self, mean: np.ndarray, sigma: float, population: int, seed: int) -> None:
        n, mu = len(mean), population // 2
        raw = np.log((population + 1) / 2) - np.log(np.arange(1, population + 1))  # eq. 49
        chosen, rest = (float(part.sum() ** 2 / (part**2).sum()) for part in (raw[:mu], raw[mu:]))
        rank_one = 2.0 / ((n + 1.3) ** 2 + chosen)  # eq. 57
        rank_mu = min(1 - rank_one - 1e-8, 2 * (chosen - 2 + 1 / chosen) / ((n + 2) ** 2 + chosen))  # eq. 58
        against = min(1 + rank_one / rank_mu, 1 + 2 * rest / (chosen + 2), (1 - rank_one - rank_mu) / (n * rank_mu))
        self._weights = np.where(raw >= 0, raw / raw[raw > 0].sum(), against * raw / -raw[raw < 0].sum())  # eq. 53
        self._mu, self._chosen = mu, chosen
        self._rank_one, self._rank_mu = rank_one, rank_mu
        self._step_memory = (chosen + 2) / (n + chosen + 5)  # eq. 55
        self._damping = 1 + 2 * max(0.0, np.sqrt((chosen - 1) / (n + 1)) - 1) + self._step_memory
        self._path_memory = (4 + chosen / n) / (n + 4 + 2 * chosen / n)  # eq. 56
        self._expected = np.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))  # E‖N(0, I)‖
        self._step_path, self._path = np.zeros(n), np.zeros(n)
        self._random, self._population, self._generation = np.random.default_rng(seed), population, 0
        self.mean, self.sigma, self.covariance = np.array(mean, float), float(sigma), np.eye(n)

    @property
    def step(self) -> float:
        """Standard deviation of the next generation along the axis on which it is largest."""
        return float(self.sigma * np.sqrt(np.diag(self.covariance).max()))

    def ask(self) -> np.ndarray:
        """The next generation, (population, N)."""
        scale, axes = self._axes()
        normal = self._random.normal(size=(self._population, len(self.mean)))
        return self.mean + self.sigma * normal @ (axes * scale).T  # eq. 38 to 40

    def tell(self, points: np.ndarray, values: np.ndarray) -> None:
        """Learns from a generation.

        Args:
            points: (population, N), of `ask`.
            values: (population,), smaller is better; NaN counts as worst.
        """
        n = len(self.mean)
        self._generation += 1
        scale, axes = self._axes()
        whiten = (axes / scale) @ axes.T
        steps = (points[np.argsort(values, kind="stable")] - self.mean) / self.sigma
        middle = self._weights[: self._mu] @ steps[: self._mu]  # eq. 41
        self.mean = self.mean + self.sigma * middle
        c, m = self._step_memory, self._path_memory
        self._step_path = (1 - c) * self._step_path + np.sqrt(c * (2 - c) * self._chosen) * whiten @ middle  # eq. 43
        length = float(np.linalg.norm(self._step_path))
        self.sigma *= float(np.exp(c / self._damping * (length / self._expected - 1)))  # eq. 44
        usual = length / np.sqrt(1 - (1 - c) ** (2 * (self._generation + 1))) < (1.4 + 2 / (n + 1)) * self._expected
        self._path = (1 - m) * self._path + usual * np.sqrt(m * (2 - m) * self._chosen) * middle  # eq. 45
        length2 = ((steps @ whiten.T) ** 2).sum(axis=1) + _SMALLEST
        weights = np.where(self._weights >= 0, self._weights, self._weights * n / length2)  # eq. 46
        decay = 1 - self._rank_one * (1 - (not usual) * m * (2 - m)) - self._rank_mu * self._weights.sum()
        learnt = self._rank_one * np.outer(self._path, self._path) + self._rank_mu * (steps.T * weights) @ steps
        self.covariance = decay * self.covariance + learnt  # eq. 47

    def _axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviation along each principal axis, and the axes as columns."""
        squares, axes = np.linalg.eigh((self.covariance + self.covariance.T) / 2)
        return np.sqrt(np.maximum(squares, _SMALLEST)), axes
