import itertools

import pytest
import torch

from mskdex.models.layers import norm_factory
from mskdex.models.unet import SMALL, Unet


def _expected_parameters(inputs, channels):
    """Of 3×3 convolutions with a bias: two of each scale on the way down, two on the way up."""
    pairs = [(inputs, channels[0])]
    pairs += [(a, b) for a, b in itertools.pairwise(channels)]
    pairs += [(c, c) for c in channels]
    pairs += [p for a, b in itertools.pairwise(channels) for p in ((a + b, a), (a, a))]
    return sum(9 * a * b + b for a, b in pairs)


def test_the_small_unet_has_two_convolutions_of_each_scale_and_way():
    with torch.device("meta"):
        network = Unet(1, SMALL, norm_factory("none"))
    count = sum(p.numel() for p in network.parameters())
    assert count == _expected_parameters(1, SMALL)
    assert 0.8e6 < count < 1.0e6


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("size", [(64, 96), (45, 37), (13, 8)])
def test_one_map_of_the_images_size_over_the_stems_stride(stride, size):
    with torch.device("meta"):
        network = Unet(3, SMALL, norm_factory("group"), stride)
        (features,) = network(torch.empty(2, 3, *size))
    assert tuple(features.shape) == (2, SMALL[0], *(-(-n // stride) for n in size))
    assert network.widths == [SMALL[0]]


@pytest.mark.parametrize(("shift", "equal"), [(8, True), (3, False)])
def test_what_moves_by_whole_coarse_pixels_moves_its_features(shift, equal):
    """Strides of 2 three times: without normalisation and away from the borders, features follow a shift by 8."""
    network = Unet(1, (4, 4, 4, 4), norm_factory("none"))
    generator = torch.Generator().manual_seed(0)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, 0.0, 0.2, generator=generator)
    patch = torch.rand(1, 1, 16, 16, generator=generator)
    image, moved = torch.zeros(2, 1, 1, 160, 160)
    image[..., 72:88, 72:88] = patch
    moved[..., 72:88, 72 + shift : 88 + shift] = patch
    with torch.no_grad():
        (a,), (b,) = network(image), network(moved)
    inside = b[..., 64:96, 64 + shift : 96 + shift] - a[..., 64:96, 64:96]
    assert (inside.abs().max() < 1e-5) == equal


def test_the_coarsest_scale_reaches_far():
    network = Unet(1, (4, 4, 4, 4), norm_factory("none"))
    for weight in network.parameters():
        torch.nn.init.constant_(weight, 0.05)
    image = torch.zeros(1, 1, 128, 128, requires_grad=True)
    network(image)[0][0, 0, 64, 64].backward()
    seen = image.grad[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) > 60).all()
