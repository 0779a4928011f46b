"""Heads: from a generator's features to DRRs."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from mskdex.anatomy import Kind
from mskdex.config.objects import Channel
from mskdex.models.normalisation import Normalisation
from mskdex.quantities import lean_mass_density_g_cm3, relative_attenuation

SHARPNESS = 10.0
"""Softplus(x·10)/10: its bend is about 0.1 wide, small beside the normalised range of 0 to 1."""

DARKEST = 1e-3
"""What an empty pixel of the plain head starts at: nothing to see, and still with a gradient."""

LEAST_SHARE = 1e-4
"""Share that an object starts with where no training patient has it: some cm³ over the whole image, and a gradient."""

LEAST_REST = 0.05
"""Share that the rest starts with at least."""

WATER_RANGE = 0.35
"""The attenuation coefficient of water is found within exp(±0.35) of that at 70 keV: 0.0135 to 0.0272 /mm.

The upper end lies beyond the coefficient at 50 keV (0.0227 /mm), the lower end is what is left of that at 60 keV
(0.0206 /mm) behind 20 cm of water with three times as much scattered as primary radiation, as without a grid.
"""

EXCESS_GRIDS = (16, 8, 4, 1)
"""Rows and columns of the surroundings that absolute attenuation is averaged over."""

EXCESS_WIDTH = 32
"""Channels of the features of absolute attenuation."""

STEEPNESS = 4.0
"""Factor on what is added to the starting logits.

A bone's edge that moves by some mm changes them by several units, and a step of the optimiser changes each weight by
about its learning rate, whatever the loss.
"""

BLUR = 0.05
"""SD, as a fraction of the image's side, of the starting shares' blur: the 2 cm by which positions differ."""

HU_RANGE: dict[Kind, tuple[int, int]] = {"muscle": (-100, 99), "bone": (-100, 1200)}
"""HU that the tissue on a ray through an object has on the whole: pure fat to dense muscle; fatty marrow to cortex."""


class PlainHead(nn.Module):
    """The paper's head: one convolution from features to images, without sign or with softplus."""

    def __init__(self, width: int, outputs: int, *, non_negative: bool):
        super().__init__()
        self.last = nn.Conv2d(width, outputs, 1)
        self.non_negative = non_negative

    def forward(self, features: Float[Tensor, "b width h w"]) -> Float[Tensor, "b outputs h w"]:
        """(B, width, H, W) to (B, outputs, H, W)."""
        level = in_single_precision(self.last, features)
        return functional.softplus(level, beta=SHARPNESS) if self.non_negative else level

    @torch.no_grad()
    def start_at(self, normalisation: Normalisation) -> None:
        """Makes the untrained head give about the level of the training patients' mean DRRs."""
        assert self.last.bias is not None
        level = torch.as_tensor(normalisation.mean_drr).flatten(0, 1).mean(dim=(-2, -1))
        if self.non_negative:
            level = torch.log(torch.expm1(SHARPNESS * level.clamp_min(DARKEST))) / SHARPNESS
        self.last.bias.copy_(level)


class CompositionHead(nn.Module):
    """Shares each pixel's own attenuation out among N objects and the rest, and converts the shares.

    The water that attenuates as a pixel does is a volume in cm³ (`water.py`). A softmax over N + 1 channels shares it
    out: an object's share is its weighted volume, so that those of all objects and the rest add up to the radiograph.
    Weighted volume over a density ratio is volume, volume times a lean density is mass; both are images,
    bounded to what the tissue can have.

    What the softmax is taken of comes on the features' grid and is enlarged bilinearly to the radiograph's. An edge
    may lie anywhere between two features, and where little is known the shares are smooth.

    Attributes:
        logits: what the shares of the mean training patient are the softmax of.
        water: natural logarithm, before its bound, of water's volume over that at 70 keV.
        relative: natural logarithm of the volume that one unit of an image of relative scale stands for.
    """

    def __init__(self, width: int, channels: Sequence[Channel], shape: tuple[int, int]):
        super().__init__()
        self.count = len(channels)
        self.excess = nn.Sequential(
            nn.Conv2d(1, EXCESS_WIDTH, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(EXCESS_WIDTH, EXCESS_WIDTH, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.last = nn.Conv2d(width + 1 + len(EXCESS_GRIDS) + EXCESS_WIDTH, 3 * self.count + 1, 1)
        self.mean_water: Tensor
        self.register_buffer("mean_water", torch.zeros(1, *shape))
        self.water_sd: Tensor
        self.register_buffer("water_sd", torch.ones(()))
        self.water = nn.Parameter(torch.zeros(()))
        self.relative = nn.Parameter(torch.zeros(()))
        self.logits: Tensor
        self.register_buffer("logits", torch.zeros(self.count + 1, *shape))
        self.density: Tensor
        self.register_buffer("density", torch.zeros(2, self.count, 1, 1))
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(3, self.count, 1, 1))
        bounds = np.array([density_bounds(c.kind) for c in channels]).transpose(1, 2, 0)  # density, end, object
        self.bounds: Tensor
        self.register_buffer("bounds", torch.as_tensor(bounds, dtype=torch.float32)[..., None, None])

    def forward(
        self, features: Float[Tensor, "b width fh fw"], water: Float[Tensor, "b 1 h w"], relative: Bool[Tensor, " b"]
    ) -> Float[Tensor, "b c h w"]:
        """Normalised DRRs, quantities outermost, on the grid of `water`.

        Args:
            features: the generator's, on a grid that is no finer.
            water: volume of water that attenuates as the pixel does, cm³ per pixel, at 70 keV. Of images of fewer
                pixels than the head's, the mean of the pixels that each covers.
            relative: images of relative scale, whose water is known up to a factor.
        """
        weighted, ratio, lean = self.parts(features, water, relative)
        weighted = weighted[:, :-1]
        volume = weighted / ratio
        drr = torch.stack([weighted, volume, volume * lean], dim=1) / self.scale
        return drr.flatten(1, 2)

    def parts(
        self, features: Float[Tensor, "b width fh fw"], water: Float[Tensor, "b 1 h w"], relative: Bool[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b objects_and_rest h w"], Float[Tensor, "b n h w"], Float[Tensor, "b n h w"]]:
        """Weighted volumes of N objects and the rest in cm³, density ratio, and lean density.

        The ratio is weighted volume over volume, the lean density is in g/cm³.
        """
        volume = self.volume(water, relative)
        absolute = self.absolute(_averaged(volume, features))
        level = in_single_precision(self.last, torch.cat([features.float(), absolute], dim=1))
        shares, densities = _enlarged(level, volume).split([self.count + 1, 2 * self.count], dim=1)
        weighted = torch.softmax(_averaged(self.logits, volume) + STEEPNESS * shares, dim=1) * volume
        low, high = self.bounds[:, 0], self.bounds[:, 1]
        between = torch.sigmoid(self.density + densities.unflatten(1, (2, self.count)))
        ratio, lean = (low + (high - low) * between).unbind(1)
        return weighted, ratio, lean

    def absolute(self, volume: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b c h w"]:
        """How much more there is than in the mean training patient: of each pixel, and of ever larger surroundings.

        In units of the patients' spread. The last channels are features of the finest surroundings, of which
        two convolutions without normalisation see the neighbours.
        """
        excess = (volume - _averaged(self.mean_water, volume)) / self.water_sd
        around = [functional.adaptive_avg_pool2d(excess, side) for side in EXCESS_GRIDS]
        coarse = [*around, in_single_precision(self.excess, around[0])]
        size = (excess.shape[-2], excess.shape[-1])
        return torch.cat(
            [excess, *(functional.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in coarse)], 1
        )

    def volume(self, water: Tensor, relative: Tensor) -> Float[Tensor, "b 1 h w"]:
        """The volume that is shared out: the water at the energy, or the scale, that was learned."""
        absolute = WATER_RANGE * torch.tanh(self.water / WATER_RANGE)
        return water.float() * torch.exp(torch.where(relative, self.relative, absolute))[:, None, None, None]

    @torch.no_grad()
    def start_at(self, normalisation: Normalisation) -> None:
        """Makes the untrained head share out and convert as the training patients' means do."""
        scale = torch.as_tensor(normalisation.drr, dtype=torch.float32)[..., None, None]
        mean = torch.as_tensor(normalisation.mean_drr) * scale
        self.scale.copy_(scale)
        self.mean_water.copy_(torch.as_tensor(normalisation.mean_water))
        self.water_sd.fill_(normalisation.water_sd)
        self.relative.fill_(float(np.log(normalisation.relative_water or 1.0)))
        sd = [0.0, *(BLUR * n for n in mean.shape[-2:])]
        blurred = torch.as_tensor(ndimage.gaussian_filter(mean[0].numpy(), sd, mode="constant"))
        self.logits.copy_(share_logits(blurred, torch.as_tensor(normalisation.mean_water)))
        weighted, volume, mass = mean.sum(dim=(-2, -1)).clamp_min(1e-9)
        wanted = torch.stack([weighted / volume, mass / volume])[..., None, None]
        low, high = self.bounds[:, 0], self.bounds[:, 1]
        self.density.copy_(torch.logit((wanted - low) / (high - low), eps=0.02))


def _averaged(images: Tensor, like: Tensor) -> Tensor:
    """The mean of the pixels that each pixel of `like`'s grid covers; the images themselves on that grid."""
    size = (like.shape[-2], like.shape[-1])
    return images if images.shape[-2:] == size else functional.adaptive_avg_pool2d(images, size)


def _enlarged(level: Tensor, like: Tensor) -> Tensor:
    """Bilinearly to `like`'s grid, of which each pixel covers a whole number of pixels a side, the last ones fewer."""
    rows, columns = (int(side) for side in like.shape[-2:])  # a tracer has tensors for them
    factor = -(-rows // int(level.shape[-2]))
    if factor == 1:
        return level
    enlarged = functional.interpolate(level, scale_factor=factor, mode="bilinear", align_corners=False)
    return enlarged[..., :rows, :columns]


def density_bounds(kind: Kind) -> tuple[tuple[float, float], tuple[float, float]]:
    """Least and greatest density ratio (weighted volume over volume) and lean density (g/cm³) of a kind of tissue."""
    hu = np.arange(HU_RANGE[kind][0], HU_RANGE[kind][1] + 1)
    ratio, lean = relative_attenuation(hu), lean_mass_density_g_cm3(hu)
    return (float(ratio.min()), float(ratio.max())), (float(lean.min()), float(lean.max()))


def share_logits(weighted: Float[Tensor, "n h w"], water: Float[Tensor, "h w"]) -> Float[Tensor, "n_plus_1 h w"]:
    """Logarithms of the shares that N objects and the rest have of each pixel of the mean training patient.

    Args:
        weighted: mean WVDRRs, cm³ per pixel.
        water: mean volume of water, cm³ per pixel.
    """
    shares = weighted / water.clamp_min(1e-6)
    # Registered at the nominal pose, objects may hold more than the mean radiograph has at that pixel.
    shares = shares * ((1.0 - LEAST_REST) / shares.sum(0, keepdim=True).clamp_min(1.0 - LEAST_REST))
    shares = shares.clamp_min(LEAST_SHARE)
    rest = (1.0 - shares.sum(0, keepdim=True)).clamp_min(LEAST_REST)
    shares = torch.cat([shares, rest])
    return torch.log(shares / shares.sum(0, keepdim=True))


def in_single_precision(layer: nn.Module, features: Tensor) -> Tensor:
    """A layer's float32 output, under autocast too: sums of many pixels do not bear bfloat16's three digits."""
    with torch.autocast(features.device.type, enabled=False):
        found: Tensor = layer(features.float())
    return found
