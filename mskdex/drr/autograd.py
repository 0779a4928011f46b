"""The density render as a torch function that is differentiable in the pose."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Real

from mskdex.drr.density import Density, render_with_tangents
from mskdex.geometry.camera import Camera
from mskdex.geometry.pose import left_jacobian, moved


class DensityRender(torch.autograd.Function):
    """Image of a density volume as a function of a twist that moves it; see `differentiable_render`."""

    @staticmethod
    def forward(
        ctx: Any, twist: torch.Tensor, density: Density, camera: Camera, motion: dict[str, Any]
    ) -> torch.Tensor:
        """Renders at the moved pose, and keeps the six derivatives that the same pass gives."""
        start, centre = motion["camera_from_ct"], motion["centre_mm"]
        values = twist.detach().to("cpu", torch.float64).numpy()
        pose = moved(start, values, centre)
        image, jacobian = render_with_tangents(
            density, camera, pose, centre_mm=centre, step_mm=motion["step_mm"], conserve_sums=motion["conserve_sums"]
        )
        # The jacobian is taken at the moved pose, by a further small motion; the chain rule through the
        # rotation vector is its left jacobian, and the translation is the shift itself.
        chained = np.concatenate(
            [left_jacobian(values[:3]).T @ jacobian[:3].reshape(3, -1), jacobian[3:].reshape(3, -1)]
        )
        ctx.save_for_backward(torch.from_numpy(chained).to(twist))
        return torch.from_numpy(image).to(twist)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        """Vector-jacobian product of the image's gradient."""
        (jacobian,) = ctx.saved_tensors
        return jacobian @ gradients[0].reshape(-1), None, None, None


def differentiable_render(
    twist: Float[torch.Tensor, "6"],
    density: Density,
    camera: Camera,
    camera_from_ct: Real[np.ndarray, "4 4"],
    *,
    centre_mm: Real[np.ndarray, "3"] | None = None,
    step_mm: float = 1.0,
    conserve_sums: bool = False,
) -> Float[torch.Tensor, "h w"]:
    """Renders a density volume at `pose.moved(camera_from_ct, twist, centre_mm)`, differentiable in the twist.

    Args:
        twist: (6,) rotation vector in rad, then shift in mm, along the camera's axes.
        density: what to integrate; its precision is the computation's.
        camera: camera of the image.
        camera_from_ct: 4×4 pose that the twist moves.
        centre_mm: RAS point that the volume turns about, see `density.render_with_tangents`.
        step_mm: distance between samples in depth.
        conserve_sums: as in `density.render_density`.

    Returns:
        (H, W), of the twist's dtype and device.
    """
    motion = {
        "camera_from_ct": camera_from_ct,
        "centre_mm": centre_mm,
        "step_mm": step_mm,
        "conserve_sums": conserve_sums,
    }
    image: torch.Tensor = DensityRender.apply(twist, density, camera, motion)  # type: ignore[no-untyped-call]
    return image
