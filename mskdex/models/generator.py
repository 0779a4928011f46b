"""Generators: an HRNet and a head that brings its features back to the image's grid."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mskdex.config.learning import NetworkSettings
from mskdex.models.hrnet import SHAPES, Hrnet
from mskdex.models.layers import conv_norm, initialise, norm_factory


class Generator(nn.Module):
    """Image to image at the same resolution.

    The head is HRNetV2's: all branches enlarged to the finest grid, joined, mixed by a 1×1 convolution,
    then doubled in size, bilinearly, with a 3×3 convolution until the image's own grid is reached: doubled pixels would
    leave a checkerboard in the images.

    Two options of this project shorten the way to right totals, and change no loss. With `global_context`
    the level of each output channel is a gain computed from a thumbnail of the input: normalisation layers divide
    a feature map's level out, and here it comes back in. A non-negative map is first brought to the mean sum of the
    training patients, so that the gain alone decides the sum and the head alone where in the image it lies. With
    a template, the head's map is added to one that reproduces the mean DRR of the training patients.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        settings: NetworkSettings,
        *,
        non_negative: bool,
        template_shape: tuple[int, int] | None = None,
    ):
        super().__init__()
        norm = norm_factory(settings.norm)
        self.backbone = Hrnet(inputs, SHAPES[settings.backbone], norm, settings.stem_stride)
        joined, width = sum(self.backbone.widths), 2 * self.backbone.widths[0]
        self.mix = conv_norm(joined, width, norm, kernel=1)
        # Half as many channels on the image's own grid, where a convolution costs the most.
        widths = {1: [width], 2: [width, width // 2], 4: [width, width, width // 2]}[settings.stem_stride]
        self.enlarge = nn.ModuleList(conv_norm(a, b, norm) for a, b in itertools.pairwise(widths))
        self.last = nn.Conv2d(widths[-1], outputs, 1)
        self.context = _context(inputs, outputs) if settings.global_context else None
        self.thumbnail_mean: Tensor | None
        self.thumbnail_sd: Tensor | None
        self.register_buffer("thumbnail_mean", torch.zeros(inputs * THUMBNAIL**2) if self.context else None)
        self.register_buffer("thumbnail_sd", torch.ones(()) if self.context else None)
        self.expected_sum: Tensor | None
        self.register_buffer("expected_sum", torch.ones(outputs) if self.context and non_negative else None)
        self.non_negative = non_negative
        self.template: Tensor | None
        self.register_buffer("template", torch.zeros(outputs, *template_shape) if template_shape else None)

    def forward(self, image: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h w"]:
        """Normalised image in, normalised image out."""
        features = self.backbone(image)
        size = features[0].shape[-2:]
        enlarged = [features[0]] + [
            functional.interpolate(f, size=size, mode="bilinear", align_corners=False) for f in features[1:]
        ]
        joined = torch.cat(enlarged, dim=1)
        x = self.mix(joined)
        for layer in self.enlarge:
            x = layer(functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        level = self.last(x[..., : image.shape[-2], : image.shape[-1]])
        if self.template is not None:
            level = level + self.template
        output = functional.softplus(level, beta=SHARPNESS) if self.non_negative else level
        if self.context is not None:
            output = output * self._gain(image, output)[:, :, None, None]
        return output

    def _gain(self, image: Float[Tensor, "b inputs h w"], output: Float[Tensor, "b outputs h w"]) -> Tensor:
        assert self.context is not None
        assert self.thumbnail_mean is not None
        assert self.thumbnail_sd is not None
        gain = torch.exp(self.context((_thumbnail(image) - self.thumbnail_mean) / self.thumbnail_sd))
        if self.expected_sum is None:
            return gain
        return gain * self.expected_sum / output.float().sum(dim=(-2, -1))

    @torch.no_grad()
    def start_at(self, start: Float[Tensor, "outputs h w"]) -> None:
        """Makes the untrained network give about this normalised image: exactly with a template, else its mean."""
        assert self.last.bias is not None
        if self.template is not None:
            self.template.copy_(self._level(start))
        else:
            self.last.bias.copy_(self._level(start.mean(dim=(-2, -1))))
        if self.expected_sum is not None:
            self.expected_sum.copy_(start.sum(dim=(-2, -1)).clamp_min(DARKEST))

    @torch.no_grad()
    def expect(self, mean: Float[Tensor, "inputs h w"], sd: float) -> None:
        """Centres and scales the thumbnails that the gain is computed from by those of the training data.

        Patients differ by a tenth of what their thumbnails have in common, and an untrained layer sees mostly that.
        """
        if self.context is not None:
            assert self.thumbnail_mean is not None
            assert self.thumbnail_sd is not None
            self.thumbnail_mean.copy_(_thumbnail(mean[None])[0])
            self.thumbnail_sd.fill_(sd)

    def _level(self, output: Tensor) -> Tensor:
        if not self.non_negative:
            return output
        return torch.log(torch.expm1(SHARPNESS * output.clamp_min(DARKEST))) / SHARPNESS


SHARPNESS = 10.0
"""Softplus(x·10)/10: its bend is about 0.1 wide, small beside the normalised range of 0 to 1."""

DARKEST = 1e-3
"""What an empty pixel starts at: nothing to see, and still with a gradient."""

THUMBNAIL = 16
"""Rows and columns of the input's thumbnail that the gain is computed from."""


def _thumbnail(image: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b values"]:
    return functional.adaptive_avg_pool2d(image, THUMBNAIL).flatten(1)


def _context(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs * THUMBNAIL**2, 64), nn.ReLU(), nn.Linear(64, outputs))


def make_generator(
    inputs: int, outputs: int, settings: NetworkSettings, *, seed: int, start: Tensor | None = None
) -> Generator:
    """A generator with weights from a seed.

    Args:
        inputs: channels in.
        outputs: channels out.
        settings: the network's settings.
        seed: seed of the weights.
        start: mean DRR stack of the training data, normalised, (outputs, H, W), for the generator of DRRs,
            which cannot be negative where `settings.output` says so; None for the way back to radiographs.
    """
    template_shape = None
    if start is not None and settings.template:
        template_shape = (start.shape[-2], start.shape[-1])
    non_negative = start is not None and settings.output == "softplus"
    generator = Generator(inputs, outputs, settings, non_negative=non_negative, template_shape=template_shape)
    initialise(generator, torch.Generator().manual_seed(seed))
    with torch.no_grad():  # starts flat (or at the template) with gain 1, and detail grows from there
        generator.last.weight.mul_(0.1)
        if generator.context is not None:
            generator.context[-1].weight.zero_()  # type: ignore[operator, union-attr]
    if start is not None:
        generator.start_at(start)
    return generator
