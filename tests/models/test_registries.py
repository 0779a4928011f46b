"""Losses and backbones are found by name: the config knows them without torch, and their decorator is all they need."""

import subprocess
import sys

import pytest
import torch

from mskdex.config.learning import ExperimentSettings, LossSettings, NetworkSettings
from mskdex.config.registries import Registry, backbone, loss
from mskdex.models import losses
from mskdex.models.generator import Generator
from mskdex.models.layers import Backbone
from mskdex.models.loss_terms import Comparison
from mskdex.training.batches import Batch
from mskdex.training.objective import Networks, Objective


@pytest.fixture
def own(monkeypatch):
    """Registries that forget afterwards what a test adds."""
    for registry in (backbone, loss):
        monkeypatch.setattr(registry, "_found", dict(registry._found))


def _batch():
    generator = torch.Generator().manual_seed(0)
    drr, aligned = torch.rand(2, 3 * 2, 12, 10, generator=generator), torch.rand(2, 3, 1, 12, 10, generator=generator)
    image, field = torch.rand(2, 1, 12, 10, generator=generator), torch.ones(2, 1, 12, 10)
    field[..., :3] = 0.0
    ones = torch.ones(2, dtype=torch.bool)
    return Batch(
        patients=("A", "B"),
        partners=("C", "D"),
        radiograph=image,
        field=field,
        water=image,
        relative=ones,
        drr=drr,
        partner_water=image,
        partner_relative=ones,
        aligned=aligned,
        available=torch.tensor([[1.0], [0.5]]),
        target=50 * torch.rand(2, 3, 2, generator=generator),
        known=torch.tensor([[True, False], [True, True]]),
    )


def _objective(settings):
    scale = torch.tensor([[2.0, 1.0], [3.0, 1.0], [0.5, 1.0]])
    return Objective(LossSettings(lambda_gan=0, lambda_cyc=0, **settings), scale, (1,))


def _found(objective, batch):
    fake = batch.drr.flip(0).requires_grad_()
    networks = Networks(lambda *_: fake, None, None, None)
    found, _, _ = objective.generator_losses(networks, batch)
    return found, fake


def test_the_papers_terms_are_those_of_its_equations():
    batch, objective = _batch(), _objective({"lambda_gca": 0.5, "lambda_is": 7.0})
    found, fake = _found(objective, batch)
    weighted, volume, mass = fake.unflatten(1, (3, -1)).unbind(1)
    physical = weighted * torch.tensor([2.0, 1.0])[:, None, None] / 1.5
    sums = fake.unflatten(1, (3, -1)).sum((-2, -1))
    bone = sum(
        losses.bone(image[:, [1]], batch.aligned[:, q], batch.available, 100.0, mask=batch.field)
        for q, image in enumerate((weighted, volume, mass))
    )
    expected = {
        "gc_alpha": losses.gc_alpha(batch.radiograph, physical, mask=batch.field),
        "gc_beta": losses.gc_beta(weighted, volume, mass),
        "intensity_sum": losses.intensity_sum(sums, batch.target / objective.scale, batch.known, 120),
        "bone": bone,
    }
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-5)
    total = 0.5 * expected["gc_alpha"] + expected["gc_beta"] + 7.0 * expected["intensity_sum"] + expected["bone"]
    assert objective.total(found).item() == pytest.approx(total.item(), rel=1e-5)


@pytest.mark.usefixtures("own")
def test_a_decorated_loss_has_a_weight_in_the_config_and_enters_the_objective():
    with pytest.raises(ValueError, match=r"no loss 'mean_volume'; (none is registered|choose one of)"):
        LossSettings(others={"mean_volume": 3.0})

    @loss("mean_volume")
    def mean_volume(comparison: Comparison) -> torch.Tensor:
        return comparison.drr[:, 1].mean()

    none = {"lambda_gc": 0.0, "lambda_is": 0.0, "lambda_bone": 0.0}
    objective = _objective({**none, "others": {"mean_volume": 3.0}})
    found, fake = _found(objective, _batch())
    assert list(found) == ["mean_volume"]
    assert objective.total(found).item() == pytest.approx(3.0 * fake[:, 2:4].mean().item())
    objective.total(found).backward()
    assert torch.allclose(fake.grad[:, 2:4], torch.tensor(3.0 / (2 * 2 * 120)))
    assert not fake.grad[:, :2].any()
    assert _found(_objective({**none, "others": {"mean_volume": 0.0}}), _batch())[0] == {}


@pytest.mark.usefixtures("own")
def test_a_decorated_backbone_is_what_the_generator_is_made_of():
    @backbone("one_convolution")
    class OneConvolution(Backbone):
        def __init__(self, inputs, norm, stem_stride):
            super().__init__()
            self.widths = [5]
            self.layer = torch.nn.Sequential(torch.nn.Conv2d(inputs, 5, 3, stem_stride, 1), norm(5))

        def forward(self, image):
            return [self.layer(image)]

    generator = Generator(2, NetworkSettings(backbone="one_convolution", stem_stride=2))
    assert isinstance(generator.backbone, OneConvolution)
    assert generator.features(torch.rand(1, 2, 12, 16)).shape == (1, generator.width, 12, 16)


def test_a_name_is_given_once_and_the_papers_weights_have_their_own_keys():
    with pytest.raises(ValueError, match="two loss 'bone'"):
        loss("bone")(print)
    with pytest.raises(ValueError, match="intensity_sum has a key of its own, lambda_is"):
        LossSettings(others={"intensity_sum": 1.0})
    with pytest.raises(ValueError, match="no backbone 'resnet'; choose one of hrnet_tiny"):
        ExperimentSettings.model_validate({"network": {"backbone": "resnet"}})
    with pytest.raises(LookupError, match="no backbone 'resnet' has been imported"):
        backbone["resnet"]


@pytest.mark.parametrize("registry", [backbone, loss], ids=["backbone", "loss"])
def test_every_name_in_the_source_is_there_where_it_is_used(registry: Registry):
    assert len(registry.names()) >= 4
    assert all(callable(registry[name]) for name in registry.names())


def test_the_config_knows_the_names_without_torch():
    code = """
import sys
from mskdex.config.learning import ExperimentSettings, NetworkSettings
NetworkSettings(backbone="unet_small")
schema = NetworkSettings.model_json_schema()["properties"]["backbone"]
assert {"hrnet_w32", "unet_small"} <= set(schema["enum"]), schema
for wrong in ({"network": {"backbone": "resnet"}}, {"losses": {"others": {"dice": 1.0}}}):
    try:
        ExperimentSettings.model_validate(wrong)
    except ValueError:
        continue
    raise AssertionError(wrong)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_shapes_that_a_loss_names_are_checked_in_tests():
    with pytest.raises(TypeError, match="cycle"):
        losses.cycle(torch.zeros(2, 3), torch.zeros(2, 3))
