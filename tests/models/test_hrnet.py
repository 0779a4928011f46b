import numpy as np
import pytest
import torch

from mskdex.config.learning import NetworkSettings
from mskdex.config.objects import channels, default_objects
from mskdex.models.generator import make_composer, make_decomposer
from mskdex.models.hrnet import SHAPES, Hrnet
from mskdex.models.layers import norm_factory
from mskdex.models.normalisation import Normalisation

CHANNELS = channels(default_objects(), frozenset({"femur"}))


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
@pytest.mark.parametrize("head", ["plain", "composition"])
@pytest.mark.parametrize("backbone", ["hrnet_tiny", "unet_small"])
def test_a_generator_keeps_the_grid_and_its_drrs_are_not_negative(stride, norm, size, head, backbone):
    settings = NetworkSettings(backbone=backbone, stem_stride=stride, norm=norm, head=head)
    generator = make_decomposer(CHANNELS[:2], size, settings, seed=1)
    image, water = torch.rand(2, 2, 1, *size, generator=torch.Generator().manual_seed(0))
    drr = generator(image, water, torch.tensor([False, True]))
    assert drr.shape == (2, 6, *size)
    assert (drr >= 0).all()
    assert drr.std() > 0
    assert make_composer(2, settings, seed=1)(drr).shape == (2, 1, *size)


def test_a_linear_head_can_be_negative():
    settings = NetworkSettings(backbone="hrnet_tiny", output="linear")
    generator = make_decomposer(CHANNELS[:2], (64, 64), settings, seed=1)
    assert (generator(torch.rand(2, 1, 64, 64)) < 0).any()


@pytest.mark.parametrize("head", ["plain", "composition"])
def test_weights_follow_from_the_seed_alone(head):
    settings = NetworkSettings(backbone="hrnet_tiny", head=head)
    torch.manual_seed(1)
    first = make_decomposer(CHANNELS[:2], (64, 64), settings, seed=5).state_dict()
    torch.manual_seed(2)
    same = make_decomposer(CHANNELS[:2], (64, 64), settings, seed=5).state_dict()
    other = make_decomposer(CHANNELS[:2], (64, 64), settings, seed=6).state_dict()
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize("output", ["softplus", "linear"])
def test_an_untrained_plain_head_starts_near_the_mean_level(output):
    settings = NetworkSettings(backbone="hrnet_tiny", output=output)
    level = torch.tensor([0.1, 0.4, 1.0])[:, None, None, None]
    mean = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * level
    generator = make_decomposer(CHANNELS[:1], (64, 64), settings, seed=1)
    scale, none = np.ones((3, 1)), np.zeros((64, 64), np.float32)
    generator.head.start_at(Normalisation(1.0, scale, mean.numpy(), none, 1.0, None, (0.0, 1.0)))
    with torch.no_grad():
        generator.head.last.weight.zero_()
        image = generator(torch.rand(1, 1, 64, 64))[0]
    expected = mean.mean(dim=(-2, -1)).flatten()[:, None, None].expand_as(image)
    assert torch.allclose(image, expected, atol=1.1e-3)
