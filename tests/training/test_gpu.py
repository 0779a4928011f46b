"""Training and prediction on a GPU, where there is one: what the CPU gives, but for last digits."""

import numpy as np
import pytest
import torch
from phantoms import write_cohort

from mskdex.config.learning import ExperimentSettings, LossSettings, NetworkSettings
from mskdex.io.stack import read_stack
from mskdex.io.tensors import read_tensors
from mskdex.models.model import GridRadiograph, read_model
from mskdex.pipeline.stages.train import describe, prepare, train
from mskdex.training.distributed import ProcessGroup
from mskdex.training.loop import Checkpoints
from mskdex.training.stack_store import StackStore

GPU = "cuda"

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

NETWORK = NetworkSettings(backbone="hrnet_tiny", stem_stride=2, ndf=8, discriminator_scales=1, head="composition")


def _experiment(gan, **optimisation):
    losses = LossSettings() if gan else LossSettings(lambda_gan=0.0, lambda_cyc=0.0)
    chosen = {"epochs": 3, "restart_epochs": 3, "history_images": 0, "tensorboard": False} | optimisation
    return ExperimentSettings(losses=losses, network=NETWORK, optimisation=chosen)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("cohort"), 8, side=32)


def _predicted(out, stacks, device):
    seen = [GridRadiograph(s.radiograph, s.camera, s.source_to_isocentre_mm, s.relative) for s in stacks]
    return read_model(out / "model.safetensors", torch.device(device)).decompose_batch(seen)


def _stacks(cohort):
    return [read_stack(path) for path in sorted(cohort[0].glob("*/stack.safetensors"))]


def _gradients(cohort, gan, device):
    """Of every parameter, in a row, after one step in single precision."""
    settings = _experiment(gan, mixed_precision=False)
    store = StackStore({p.parent.name: p for p in sorted(cohort[0].glob("*/stack.safetensors"))}, 1e9)
    trainer, loader = prepare(describe(store, settings, "gpu", 0), store, torch.device(device), ProcessGroup())
    trainer.train_batch(next(loader.epoch(0)), len(loader))
    found = [p.grad for m in trainer.networks.named().values() for p in m.parameters() if p.grad is not None]
    return torch.cat([g.float().flatten().cpu() for g in found])


@pytest.mark.parametrize("gan", [True, False], ids=["gan", "no gan"])
def test_the_gradients_are_the_cpu_s(cohort, gan, monkeypatch):
    """Without TensorFloat-32: its three digits become a tenth of these small networks' gradients, on a CPU too."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    expected, found = (_gradients(cohort, gan, device) for device in ("cpu", GPU))
    off = float((found - expected).norm() / expected.norm())
    print(f"relative difference of the gradients {off:.1e}")
    assert off < 0.02


def test_mixed_precision_learns_the_sums_as_the_cpu_does(cohort, tmp_path):
    """On a CPU another seed's sums differ by 25 %, those of one epoch by 81 %; an H100's by 7 to 8 %."""
    sums = {}
    for device in ("cpu", GPU):
        train(*cohort, 1, _experiment(False, device=device, epochs=30, restart_epochs=30), tmp_path / device)
        drr = _predicted(tmp_path / device, _stacks(cohort), device)
        sums[device] = drr.sum(axis=(-2, -1), dtype=np.float64)
    off = np.abs(sums[GPU] - sums["cpu"]).mean() / sums["cpu"].mean()
    print(f"sums differ by {100 * off:.2f} % on average")
    assert 0 < off < 0.15


def test_one_model_predicts_the_same_on_both_devices_alone_and_in_a_batch(cohort, tmp_path):
    train(*cohort, 1, _experiment(False, device=GPU), tmp_path)
    stacks = _stacks(cohort)[:3]
    expected = _predicted(tmp_path, stacks, "cpu")
    alone = np.concatenate([_predicted(tmp_path, [stack], GPU) for stack in stacks])
    for found in (_predicted(tmp_path, stacks, GPU), alone):
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 * expected.max())


def test_a_training_on_a_gpu_goes_on_from_its_checkpoint(cohort, tmp_path, monkeypatch, caplog):
    """The same training twice differs by 2 % of the brightest pixel: a GPU adds in any order."""
    settings = _experiment(True, device=GPU, mixed_precision=False, checkpoint_minutes=1e-6)
    train(*cohort, 1, settings, tmp_path / "whole")
    save = Checkpoints.save

    def save_and_stop(self):
        save(self)
        if self.trainer.progress.epoch == 2:
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        with pytest.raises(InterruptedError):
            train(*cohort, 1, settings, tmp_path / "cut")
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    with caplog.at_level("INFO", "mskdex"):
        train(*cohort, 1, settings, tmp_path / "cut")
    assert "going on from the checkpoint: epoch 3" in caplog.text
    whole, again = (_predicted(tmp_path / name, _stacks(cohort)[:2], "cpu") for name in ("whole", "cut"))
    np.testing.assert_allclose(again, whole, rtol=0, atol=0.05 * whole.max())
    assert read_tensors(tmp_path / "cut" / "model.safetensors")[1]["card"]["fold"] == 1
