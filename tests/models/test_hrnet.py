import pytest
import torch
from torch.nn import functional

from mskdex.config.learning import NetworkSettings
from mskdex.models.generator import THUMBNAIL, make_generator
from mskdex.models.hrnet import SHAPES, Hrnet
from mskdex.models.layers import norm_factory


@pytest.mark.parametrize(
    ("name", "parameters"),
    # timm's hrnet_w18/w32/w48 without classification head; benchmarks/learning/timm_hrnet.py also compares outputs.
    [("hrnet_w18", 9_562_260), ("hrnet_w32", 29_305_536), ("hrnet_w48", 65_325_120)],
)
def test_the_published_variants_have_the_published_number_of_parameters(name, parameters):
    with torch.device("meta"):
        network = Hrnet(3, SHAPES[name], norm_factory("batch"))
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("name", sorted(SHAPES))
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_each_branch_halves_the_grid_and_doubles_the_channels(name, stride):
    with torch.device("meta"):
        network = Hrnet(1, SHAPES[name], norm_factory("instance"), stride)
        features = network(torch.empty(2, 1, 96, 64))
    width = SHAPES[name].width
    assert [tuple(f.shape) for f in features] == [
        (2, width * 2**i, 96 // stride // 2**i, 64 // stride // 2**i) for i in range(4)
    ]
    assert network.widths == [width * 2**i for i in range(4)]


def test_the_shapes_of_the_layers_of_w32_are_those_of_the_paper():
    with torch.device("meta"):
        network = Hrnet(1, SHAPES["hrnet_w32"], norm_factory("instance"))
        seen = {}
        for name, module in network.named_modules():
            module.register_forward_hook(lambda *args, n=name: seen.__setitem__(n, args[-1]))
        network(torch.empty(1, 1, 512, 512))
    assert tuple(seen["stem.0"].shape) == (1, 64, 256, 256)
    assert tuple(seen["stem"].shape) == (1, 64, 128, 128)
    assert tuple(seen["first"].shape) == (1, 256, 128, 128)
    for stage, modules, branches in ((0, 1, 2), (1, 4, 3), (2, 3, 4)):
        for module in range(modules):
            shapes = [tuple(f.shape) for f in seen[f"stages.{stage}.{module}"]]
            assert shapes == [(1, 32 * 2**i, 128 // 2**i, 128 // 2**i) for i in range(branches)]


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("norm", ["instance", "group", "none"])
@pytest.mark.parametrize("size", [(64, 64), (72, 100)])
def test_a_generator_keeps_the_grid_and_its_drrs_are_not_negative(stride, norm, size):
    settings = NetworkSettings(backbone="hrnet_tiny", stem_stride=stride, norm=norm)
    generator = make_generator(1, 6, settings, seed=1, start=torch.full((6, *size), 0.1))
    drr = generator(torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0)))
    assert drr.shape == (2, 6, *size)
    assert (drr >= 0).all()
    assert drr.std() > 0


def test_a_linear_head_can_be_negative():
    settings = NetworkSettings(backbone="hrnet_tiny", output="linear")
    generator = make_generator(1, 6, settings, seed=1, start=torch.zeros(6, 64, 64))
    assert (generator(torch.rand(2, 1, 64, 64)) < 0).any()


def test_weights_follow_from_the_seed_alone():
    settings = NetworkSettings(backbone="hrnet_tiny")
    torch.manual_seed(1)
    first = make_generator(1, 6, settings, seed=5).state_dict()
    torch.manual_seed(2)
    same = make_generator(1, 6, settings, seed=5).state_dict()
    other = make_generator(1, 6, settings, seed=6).state_dict()
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize("output", ["softplus", "linear"])
@pytest.mark.parametrize("template", [False, True])
def test_an_untrained_generator_starts_near_the_mean(output, template):
    settings = NetworkSettings(backbone="hrnet_tiny", output=output, template=template, global_context=True)
    start = (
        torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 0.4, 1.0])[:, None, None]
    )
    generator = make_generator(1, 3, settings, seed=1, start=start)
    with torch.no_grad():
        generator.last.weight.zero_()
        image = generator(torch.rand(1, 1, 64, 64))[0]
    expected = start if template else start.mean(dim=(-2, -1))[:, None, None].expand_as(start)
    assert torch.allclose(image, expected, atol=1.1e-3)
    if output == "softplus":
        assert torch.allclose(image.sum(dim=(-2, -1)), start.sum(dim=(-2, -1)), rtol=1e-5)


def test_the_gain_alone_decides_the_sum_of_a_map_that_cannot_be_negative():
    settings = NetworkSettings(backbone="hrnet_tiny", output="softplus", template=True, global_context=True)
    start = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    generator = make_generator(1, 3, settings, seed=1, start=start)
    image = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    gains = torch.tensor([0.5, 1.0, 3.0])
    with torch.no_grad():
        plain = generator(image)
        generator.context[-1].bias.copy_(gains.log())
        generator.last.weight.mul_(20.0)
        changed = generator(image)
    sums = changed.sum(dim=(-2, -1))
    assert torch.allclose(sums, (start.sum(dim=(-2, -1)) * gains).expand_as(sums), rtol=1e-4)
    assert (changed / sums[..., None, None] - plain / plain.sum(dim=(-2, -1), keepdim=True)).abs().max() > 1e-5


def test_the_gain_sees_how_a_radiograph_differs_from_the_expected_one():
    """Scaled away from the mean by as much as the spread was scaled, a radiograph's thumbnail gives the same gain."""
    settings = NetworkSettings(backbone="hrnet_tiny", global_context=True)
    generator = make_generator(1, 3, settings, seed=1, start=torch.full((3, 64, 64), 0.1))
    seen = []
    generator.context.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    mean = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        generator(image)
        generator.expect(mean, 0.1)
        generator(image)
        generator.expect(mean, 0.2)
        generator(mean + 2.0 * (image - mean))
        generator(mean[None])
    assert torch.allclose(seen[0], functional.adaptive_avg_pool2d(image, THUMBNAIL).flatten())
    assert torch.allclose(seen[1], seen[2], atol=1e-5)
    assert seen[3].abs().max() < 1e-6
    assert seen[1].std() > 0.1
