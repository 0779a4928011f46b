import pytest
import torch
from torch import nn

from mskdex.models.layers import GroupNorm


@pytest.mark.parametrize("groups", [12, 3, 1])
@pytest.mark.parametrize("shape", [(2, 12, 5, 7), (1, 12, 2, 2)])
def test_a_channels_last_norm_is_pytorchs_with_its_gradients(groups, shape):
    generator = torch.Generator().manual_seed(0)
    ours, theirs = GroupNorm(groups, 12).double(), nn.GroupNorm(groups, 12).double()
    x = torch.randn(shape, generator=generator, dtype=torch.float64) + 3.0
    target = torch.randn(shape, generator=generator, dtype=torch.float64)
    found = []
    for norm, layout in ((ours, torch.channels_last), (theirs, torch.contiguous_format)):
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(0.5, 2.0, 12))
            norm.bias.copy_(torch.linspace(-1.0, 1.0, 12))
        image = x.contiguous(memory_format=layout).requires_grad_()
        y = norm(image)
        ((y - target) ** 2).sum().backward()
        assert y.is_contiguous(memory_format=layout)
        assert image.grad.is_contiguous(memory_format=layout)
        found.append((y, image.grad, norm.weight.grad, norm.bias.grad))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)  # its statistics are float32 of any image


def test_a_channels_last_norm_of_half_precision_has_single_precision_statistics_and_keeps_its_image_alone():
    x = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(0)) + 30.0
    x = x.bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    norm, kept = GroupNorm(8, 8), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = norm(x)
    assert y.dtype == torch.bfloat16
    expected = nn.functional.group_norm(x.detach().float(), 8)
    assert (y.detach().float() - expected).abs().max() < 0.02
    assert sum(t.numel() * t.element_size() for t in kept) < 1.1 * x.numel() * 2


def test_the_layers_of_other_images_are_pytorchs():
    x = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(GroupNorm(4, 8)(x), nn.GroupNorm(4, 8)(x))
    assert GroupNorm(4, 8)(x[:, :, :1, :1]).shape == (2, 8, 1, 1)
