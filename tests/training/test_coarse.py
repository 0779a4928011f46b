"""Epochs that compare DRRs of half as many rows and columns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from phantoms import CHANNELS, phantom
from pydantic import ValidationError

from mskdex.config.learning import AugmentationSettings, ExperimentSettings, LossSettings, NetworkSettings
from mskdex.config.learning import OptimisationSettings as Optimisation
from mskdex.errors import MskdexError
from mskdex.io.stack import write_stack
from mskdex.models.normalisation import fit_normalisation
from mskdex.training.batches import Loader, halved
from mskdex.training.distributed import ProcessGroup
from mskdex.training.stack_store import StackStore
from mskdex.training.trainer import Trainer

NETWORK = NetworkSettings(backbone="unet_small", stem_stride=4, head="composition", ndf=4, discriminator_scales=1)
LOSSES = LossSettings(lambda_gan=0.0, lambda_cyc=0.0)


LEADING = {"mean_drr": ((0, 0), (0, 0)), "mean_water": ()}
"""Axes before the image's two."""


def _experiment(**changes):
    return ExperimentSettings(losses=LOSSES, network=NETWORK, optimisation=Optimisation(coarse_epochs=1, **changes))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("stacks")
    for stack in (phantom(i, side=64) for i in range(4)):
        write_stack(root / f"{stack.patient}.safetensors", stack)
    return StackStore({p.stem: p for p in sorted(root.iterdir())}, 1e9)


def _loader(store, augmentation, coarse_epochs=1):
    normalisation = fit_normalisation(store)
    return Loader(
        store,
        normalisation,
        batch_size=2,
        seed=0,
        augmentation=augmentation,
        device=torch.device("cpu"),
        unpaired=False,
        coarse_epochs=coarse_epochs,
    )


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_coarse_batch_is_the_fine_one_with_pixels_averaged(store, flip):
    still = dict.fromkeys(("rotation_deg", "shear_deg", "shift_fraction", "zoom_fraction"), 0.0)
    augmentation = AugmentationSettings(flip_probability=flip, **still)
    coarse, fine = (_loader(store, augmentation, n).batch(0, 0) for n in (1, 0))
    assert coarse.patients == fine.patients
    assert coarse.radiograph.shape == fine.radiograph.shape == (2, 1, 64, 64)
    assert coarse.water.shape == coarse.field.shape == coarse.compared.shape == (2, 1, 32, 32)
    for name in ("water", "aligned"):
        torch.testing.assert_close(
            getattr(coarse, name), halved(getattr(fine, name).flatten(0, -4)).view_as(getattr(coarse, name))
        )
    torch.testing.assert_close(coarse.compared, halved(fine.radiograph))
    torch.testing.assert_close(coarse.target, fine.target / 4.0)
    assert (coarse.field <= halved(fine.field)).all()


def test_sums_are_those_of_the_changed_patient_on_both_grids(store):
    """A zoom changes the sum that is asked for by the same factor on both grids."""
    augmentation = AugmentationSettings(rotation_deg=10.0)
    coarse, fine = (_loader(store, augmentation, n).batch(0, 0) for n in (1, 0))
    known = fine.known[:, None].expand_as(fine.target)
    torch.testing.assert_close(4.0 * coarse.target[known], fine.target[known], rtol=0.02, atol=0.0)
    torch.testing.assert_close(4.0 * coarse.water.sum(), fine.water.sum(), rtol=0.01, atol=0.0)


def test_losses_weigh_alike_on_both_grids(store):
    """The first losses of the same network; the normalised units of OWIS and L1 do not depend on the grid."""
    settings, found = _experiment(), {}
    for coarse in (0, 1):
        loader = _loader(store, None, coarse)
        trainer = Trainer(settings, loader.normalisation, CHANNELS, torch.device("cpu"), ProcessGroup())
        with torch.no_grad():
            found[coarse], drr, _ = trainer.objective.generator_losses(trainer.networks, loader.batch(0, 0))
        assert drr.shape[-1] == (32 if coarse else 64)
    assert found[1].keys() == found[0].keys()
    for name in ("intensity_sum", "bone"):
        assert float(found[1][name]) == pytest.approx(float(found[0][name]), rel=0.15)


def test_a_coarse_network_shares_out_the_whole_radiograph(store):
    loader = _loader(store, None)
    trainer = Trainer(_experiment(), loader.normalisation, CHANNELS, torch.device("cpu"), ProcessGroup())
    batch, generator = loader.batch(0, 0), trainer.networks.decompose
    with torch.no_grad():
        weighted, _, _ = generator.head.parts(generator.features(batch.radiograph), batch.water, batch.relative)
    torch.testing.assert_close(weighted.sum(1, keepdim=True), generator.head.volume(batch.water, batch.relative))


def test_the_epochs_after_are_fine(store):
    loader = _loader(store, None)
    sides = [next(iter(loader.epoch(epoch))).water.shape[-1] for epoch in range(3)]
    assert sides == [32, 64, 64]


def test_an_odd_image_is_refused(store):
    normalisation = fit_normalisation(store)
    wider = {n: np.pad(getattr(normalisation, n), (*leading, (0, 0), (0, 1))) for n, leading in LEADING.items()}
    padded = replace(normalisation, **wider)
    with pytest.raises(MskdexError, match=r"64×65 cannot be halved; make image.rows"):
        Trainer(_experiment(), padded, CHANNELS, torch.device("cpu"), ProcessGroup())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": LossSettings()}, "lambda_gan 0"),
        ({"network": NETWORK.model_copy(update={"head": "plain"})}, "head composition"),
        ({"network": NETWORK.model_copy(update={"stem_stride": 1})}, "stem_stride 2 or 4"),
    ],
)
def test_settings_that_cannot_be_coarse_are_refused(changes, message):
    content = _experiment().model_dump() | {k: v.model_dump() for k, v in changes.items()}
    with pytest.raises(ValidationError, match=message):
        ExperimentSettings.model_validate(content)


def test_halved_is_the_mean_of_four():
    image = np.arange(16.0, dtype=np.float32).reshape(1, 4, 4)
    assert halved(torch.from_numpy(image)).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]
    assert halved(torch.zeros(0, 4, 4)).shape == (0, 2, 2)
