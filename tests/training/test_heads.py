import dataclasses

import numpy as np
import pytest
import torch
from phantoms import CHANNELS, phantom

from mskdex.config.learning import ExperimentSettings, LossSettings, NetworkSettings
from mskdex.io.stack import write_stack
from mskdex.models.generator import make_composer, make_decomposer
from mskdex.models.heads import WATER_RANGE, density_bounds, share_logits
from mskdex.models.normalisation import fit_normalisation
from mskdex.models.water import WATER_PER_MM
from mskdex.quantities import lean_mass_density_g_cm3
from mskdex.training.batches import Loader
from mskdex.training.distributed import ProcessGroup
from mskdex.training.stack_store import StackStore
from mskdex.training.trainer import Trainer

SIDE = 32
SETTINGS = NetworkSettings(backbone="hrnet_tiny", stem_stride=2, head="composition", ndf=4, discriminator_scales=1)


@pytest.fixture(scope="module")
def stacks():
    return [phantom(i, side=SIDE) for i in range(4)]


@pytest.fixture(scope="module")
def normalisation(stacks):
    return fit_normalisation(stacks)


@pytest.fixture
def generator(normalisation):
    made = make_decomposer(CHANNELS, (SIDE, SIDE), SETTINGS, seed=1)
    made.head.start_at(normalisation)
    return made


def _images(count, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, SIDE, SIDE, generator=random), 5 * torch.rand(count, 1, SIDE, SIDE, generator=random)


def _absolute(count):
    return torch.zeros(count, dtype=torch.bool)


def _stirred(generator):
    """As after a training: nothing near its start."""
    with torch.no_grad():
        generator.head.last.weight.mul_(40.0)
        generator.head.water.fill_(0.2)
    return generator


def test_all_objects_and_the_rest_add_up_to_the_radiograph(generator):
    image, water = _images(2)
    head = _stirred(generator).head
    with torch.no_grad():
        features = generator.features(image)
        weighted, ratio, lean = head.parts(features, water, _absolute(2))
        drr = generator(image, water, _absolute(2)).unflatten(1, (3, -1)) * head.scale
    assert weighted.shape == (2, len(CHANNELS) + 1, SIDE, SIDE)
    assert (weighted >= 0).all()
    found = WATER_RANGE * np.tanh(0.2 / WATER_RANGE)
    torch.testing.assert_close(weighted.sum(1, keepdim=True), water * float(np.exp(found)), rtol=1e-5, atol=1e-6)
    # The three DRRs of an object are the same matter: two densities apart.
    torch.testing.assert_close(drr[:, 0], weighted[:, :-1])
    torch.testing.assert_close(drr[:, 1] * ratio, weighted[:, :-1], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(drr[:, 2], drr[:, 1] * lean, rtol=1e-4, atol=1e-6)


def test_densities_stay_what_tissue_can_have(generator):
    image, water = _images(1)
    generator = _stirred(generator)
    with torch.no_grad():
        generator.head.last.weight.mul_(10.0)
        _, ratio, lean = generator.head.parts(generator.features(image), water, _absolute(1))
    muscle = torch.tensor([c.kind == "muscle" for c in CHANNELS])
    assert ratio[:, muscle].min() == pytest.approx(0.9, abs=1e-3)
    assert ratio[:, muscle].max() == pytest.approx(1.1, abs=2e-3)
    assert ratio[:, ~muscle].max() == pytest.approx(2.2, abs=2e-3)
    assert 0.0 <= lean.min() < 1e-6
    assert lean[:, ~muscle].max() == pytest.approx(float(lean_mass_density_g_cm3(np.array(1200.0))), abs=2e-3)


def test_the_bounds_are_those_of_the_tissues_hu():
    (low, high), (lean_low, lean_high) = density_bounds("muscle")
    assert (low, high) == pytest.approx((0.9, 1.099))
    assert lean_low == 0.0
    assert lean_high == pytest.approx(1.1187, abs=1e-3)  # f·ρ just below 100 HU, 1.003 + 1.169e-3·99
    assert density_bounds("bone")[0] == pytest.approx((0.9, 2.2))


def test_an_untrained_head_gives_the_mean_training_patients_sums(generator, normalisation):
    with torch.no_grad():
        generator.head.last.weight.zero_()
        water = torch.as_tensor(normalisation.mean_water)[None, None]
        drr = generator(torch.rand(1, 1, SIDE, SIDE), water, _absolute(1))[0].unflatten(0, (3, -1))
    expected = normalisation.mean_drr.sum(axis=(-2, -1))
    np.testing.assert_allclose(drr.sum(dim=(-2, -1)).numpy(), expected, rtol=0.15)
    # Where an object is, the start is that object's mean share.
    shares = torch.softmax(generator.head.logits, 0)
    assert torch.allclose(shares.sum(0), torch.ones(SIDE, SIDE))
    assert shares[-1].min() >= 0.04


def test_shares_of_a_pixel_that_holds_less_than_its_objects_are_those_objects_alone():
    weighted = torch.tensor([3.0, 1.0])[:, None, None]
    shares = torch.softmax(share_logits(weighted, torch.tensor([[2.0]])), 0)[:, 0, 0]
    assert shares.tolist() == pytest.approx([0.7125, 0.2375, 0.05], abs=1e-4)
    empty = torch.softmax(share_logits(0 * weighted, torch.tensor([[0.0]])), 0)[:, 0, 0]
    assert empty.tolist() == pytest.approx([0.0001, 0.0001, 0.9998], abs=1e-5)


def test_absolute_attenuation_passes_no_normalisation_layer(generator):
    """What is shared out, and what the shares may depend on, is as much as the radiograph says, whatever its level."""
    image, water = _images(1)
    head = generator.head
    with torch.no_grad():
        first, second = (head.absolute(head.volume(f * water, _absolute(1)))[:, :5] for f in (1.0, 2.0))
        torch.testing.assert_close((second - first)[:, :1], water / head.water_sd, rtol=1e-4, atol=1e-4)
        everywhere = (water.mean() / head.water_sd).expand(1, SIDE, SIDE)
        torch.testing.assert_close((second - first)[:, 4], everywhere, rtol=1e-4, atol=1e-4)
        head.last.weight.zero_()
        once, twice = (generator(f * image, f * water, _absolute(1)).sum(dim=(-2, -1)) for f in (1.0, 2.0))
    torch.testing.assert_close(twice, 2 * once, rtol=1e-5, atol=0)


def test_images_of_relative_scale_have_a_learned_scale_of_their_own(generator):
    image, water = _images(2)
    image[1], water[1] = image[0], water[0]
    mixed = torch.tensor([False, True])
    with torch.no_grad():
        generator.head.last.weight.zero_()
        generator.head.water.fill_(0.1)
        generator.head.relative.fill_(float(np.log(3.0)))
        absolute, relative = generator(image, water, mixed)
    ratio = 3.0 / np.exp(WATER_RANGE * np.tanh(0.1 / WATER_RANGE))
    torch.testing.assert_close(relative, absolute * float(ratio), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        generator.head.last.weight.fill_(0.01)
    for chosen, other, flag in (("water", "relative", False), ("relative", "water", True)):
        generator.zero_grad()
        generator(image, water, torch.full((2,), flag)).sum().backward()
        assert getattr(generator.head, chosen).grad.abs() > 0
        assert getattr(generator.head, other).grad == 0


def test_waters_attenuation_stays_within_its_range(generator):
    _, water = _images(1)
    for far in (-50.0, 50.0):
        with torch.no_grad():
            generator.head.water.fill_(far)
            found = generator.head.volume(water, _absolute(1)) / water
        assert float(found.log().abs().max()) <= WATER_RANGE + 1e-5


def test_relative_radiographs_start_at_the_volume_that_others_have(stacks):
    relative = [
        dataclasses.replace(s, scale="relative", radiograph=(s.radiograph / 4.0).astype(np.float32)) for s in stacks
    ]
    assert fit_normalisation(stacks).relative_water is None
    mixed = fit_normalisation([*stacks, *relative])
    assert mixed.relative_water == pytest.approx(4.0, rel=1e-3)
    np.testing.assert_allclose(mixed.mean_water, fit_normalisation(stacks).mean_water, rtol=1e-5)
    # Without any absolute radiograph, the objects are to fit into the image.
    alone = fit_normalisation(relative)
    total = (alone.mean_drr[0] * alone.drr[0][:, None, None]).sum(0)
    inside = alone.mean_water > 0
    assert np.quantile((total[inside] / alone.mean_water[inside]), 0.99) == pytest.approx(0.8, abs=0.02)


def test_the_head_stays_in_single_precision_under_autocast(generator):
    image, water = _images(1)
    plain = make_decomposer(CHANNELS, (SIDE, SIDE), SETTINGS.model_copy(update={"head": "plain"}), seed=1)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert generator.features(image).dtype != torch.float64
        assert generator(image, water, _absolute(1)).dtype == torch.float32
        assert plain(image).dtype == torch.float32
        assert make_composer(len(CHANNELS), SETTINGS, seed=1)(plain(image)).dtype == torch.float32
        assert generator.mix(torch.rand(1, 240, 8, 8)).dtype == torch.bfloat16


@pytest.mark.parametrize("head", ["composition", "plain"])
def test_the_sums_reach_the_maps_as_the_other_losses_do(tmp_path, stacks, head):
    """Gradients of the weighted losses on the network before the head are of one order."""
    for s in stacks:
        write_stack(tmp_path / f"{s.patient}.safetensors", s)
    store = StackStore({s.patient: tmp_path / f"{s.patient}.safetensors" for s in stacks}, 1e9)
    normalisation = fit_normalisation(store)
    loader = Loader(store, normalisation, batch_size=2, seed=0, augmentation=None, device=torch.device("cpu"))
    sizes = {}
    for name, losses in (
        ("sum", {"lambda_is": 100.0}),
        ("others", {"lambda_gc": 1.0, "lambda_bone": 1.0}),
    ):
        off = dict.fromkeys(("lambda_gan", "lambda_cyc", "lambda_gc", "lambda_is", "lambda_bone"), 0.0)
        network = SETTINGS.model_copy(update={"head": head})
        experiment = ExperimentSettings(losses=LossSettings(**(off | losses)), network=network)
        trainer = Trainer(experiment, normalisation, CHANNELS, torch.device("cpu"), ProcessGroup())
        found, _, _ = trainer.objective.generator_losses(trainer.networks, loader.batch(0, 0))
        trainer.objective.total(found).backward()
        gradient = [p.grad for p in trainer.networks.decompose.mix.parameters()]
        sizes[name] = float(torch.stack([g.norm() for g in gradient]).norm())
    assert 0.05 < sizes["sum"] / sizes["others"] < 20


def test_water_stands_for_its_coefficient_at_70_kev():
    assert pytest.approx(0.0192, abs=2e-4) == WATER_PER_MM
