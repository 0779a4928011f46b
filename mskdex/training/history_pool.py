"""Past fakes for the discriminators."""

import numpy as np
import torch
from torch import Tensor

_FAKES_A_PLACE = 20


class HistoryPool:
    """Half of the time swaps a new fake for an old one, so that a discriminator does not forget.

    Source: Shrivastava et al. 2017; size 50 as in CycleGAN (Zhu et al. 2017).

    Attributes:
        images: what is kept, half precision, oldest place first.
    """

    def __init__(self, size: int, seed: int):
        self.size, self.seed = size, seed
        self.images: list[Tensor] = []

    def epochs(self, images: int) -> int:
        """Epochs after which the pool is emptied, whatever interrupts the training: about 20 fakes a place.

        A checkpoint then need not hold the pool, which at the paper's size is larger than all networks, and the pool is
        filling a twentieth of the time. After a restart it has to hold what it held: fakes of earlier weights,
        which nothing makes again.

        Args:
            images: fakes of one epoch.
        """
        return max(1, -(-_FAKES_A_PLACE * self.size // images))

    def exchange(self, fakes: Tensor, step: int) -> Tensor:
        """Fakes for the discriminator: (B, C, H, W) in and out, detached; decided by (seed, step) alone."""
        fakes = fakes.detach()
        if self.size == 0:
            return fakes
        rng = np.random.default_rng([self.seed, step, 2])
        chosen = []
        for fake in fakes:
            if len(self.images) < self.size:
                self.images.append(fake.to(torch.bfloat16))
                chosen.append(fake)
            elif rng.uniform() < 0.5:
                place = int(rng.integers(self.size))
                chosen.append(self.images[place].to(fake.dtype))
                self.images[place] = fake.to(torch.bfloat16)
            else:
                chosen.append(fake)
        return torch.stack(chosen)
