"""The torch function: gradients by the twist, at and away from zero."""

import numpy as np
import pytest
import torch
from test_density import CENTRE, CONE, smooth_volume

from mskdex.drr.autograd import differentiable_render
from mskdex.drr.density import Density
from mskdex.geometry.camera import nominal_pose


@pytest.mark.parametrize("twist", [[0.0] * 6, [0.3, -0.4, 0.2, 3.0, -2.0, 10.0]])
def test_gradient_by_the_twist(twist: list[float]) -> None:
    density = Density.of(*smooth_volume())
    pose = nominal_pose(CENTRE + np.array([0.013, 0.007, 0.021]), 820.0)
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=CONE.shape))

    def loss(values: torch.Tensor) -> torch.Tensor:
        return (weights * differentiable_render(values, density, CONE, pose, centre_mm=CENTRE)).sum()

    start = torch.tensor(twist, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(start), start)
    for axis in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[axis] = 1e-7 if axis < 3 else 1e-5
        with torch.no_grad():
            numeric = (loss(start + step) - loss(start - step)) / (2 * step[axis])
        assert gradient[axis].item() == pytest.approx(numeric.item(), rel=1e-4, abs=1e-6)


def test_single_precision_descends_to_the_pose() -> None:
    density = Density.of(*smooth_volume(np.float32))
    pose = nominal_pose(CENTRE, 820.0)
    target = differentiable_render(
        torch.tensor([0.03, -0.02, 0.04, 2.0, -1.0, 0.0]), density, CONE, pose, centre_mm=CENTRE
    )
    scale = torch.tensor([0.02, 0.02, 0.02, 1.0, 1.0, 1.0])
    twist = torch.zeros(6, requires_grad=True)
    optimiser = torch.optim.Adam([twist], lr=0.1)
    for _ in range(80):
        image = differentiable_render(twist * scale, density, CONE, pose, centre_mm=CENTRE)
        loss = ((image - target) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert (twist * scale)[3:5].detach().numpy() == pytest.approx([2.0, -1.0], abs=0.1)
