"""The terms of the objective that compare a radiograph's DRRs with what is known of its patient.

A further term is a function here with the decorator `loss`; its weight is `losses.others` of an experiment.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from mskdex.config.learning import LossSettings
from mskdex.config.registries import loss
from mskdex.models import losses


@dataclass(frozen=True)
class Comparison:
    """What a term may compare.

    Attributes:
        drr: predicted DRRs in normalised units: weighted volume, volume and mass of each object.
        radiograph: what they were predicted from, any linear scale of log attenuation.
        field: 1 where the radiograph is exposed, else 0.
        scale: cm³ or g per pixel that 1 in a normalised DRR stands for.
        target: sums of the DRRs by the CT, cm³, cm³ and g.
        known: objects whose sums the CT tells.
        compared: indices of the objects that `aligned` shows, on the images' device.
        aligned: their normalised DRRs in the radiograph's posture.
        available: how much each of them counts in each radiograph; 0 where it is not known.
        settings: of the experiment's losses.
    """

    drr: Float[Tensor, "b 3 n h w"]
    radiograph: Float[Tensor, "b 1 h w"]
    field: Float[Tensor, "b 1 h w"]
    scale: Float[Tensor, "3 n"]
    target: Float[Tensor, "b 3 n"]
    known: Bool[Tensor, "b n"]
    compared: Int[Tensor, " k"]
    aligned: Float[Tensor, "b 3 k h w"]
    available: Shaped[Tensor, "b k"]
    settings: LossSettings


@loss("gc_alpha")
def _gc_alpha(c: Comparison) -> Float[Tensor, ""]:
    weighted, scale = c.drr[:, 0], c.scale[0]
    physical = weighted * scale[:, None, None] / scale.mean()
    return losses.gc_alpha(c.radiograph, physical, absolute=c.settings.absolute_gradients, mask=c.field)


@loss("gc_beta")
def _gc_beta(c: Comparison) -> Float[Tensor, ""]:
    return losses.gc_beta(*c.drr.unbind(1), absolute=c.settings.absolute_gradients)


@loss("intensity_sum")
def _intensity_sum(c: Comparison) -> Float[Tensor, ""]:
    rows, columns = c.drr.shape[-2:]
    return losses.intensity_sum(c.drr.sum(dim=(-2, -1)), c.target / c.scale, c.known, pixels=rows * columns)


@loss("bone")
def _bone(c: Comparison) -> Float[Tensor, ""]:
    s = c.settings
    return torch.stack(
        [
            losses.bone(
                c.drr[:, q].index_select(1, c.compared),
                c.aligned[:, q],
                c.available,
                s.lambda_l1,
                mask=c.field,
                absolute=s.absolute_gradients,
            )
            for q in range(3)
        ]
    ).sum()
