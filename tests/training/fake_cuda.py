"""Trains, evaluates, saves, loads and predicts on fake CUDA tensors, and prints as JSON what was seen.

Fake tensors have shapes, types, layouts and devices but no values. A CPU build of PyTorch takes them as CUDA's once
cuda_stub.cpp is loaded, which has to be before PyTorch is.

    g++ -std=c++20 -O0 -shared -fPIC -I TORCH/include tests/training/cuda_stub.cpp -o stub.so -L TORCH/lib \
        -lc10 -ltorch_cpu -Wl,-rpath,TORCH/lib
    python tests/training/fake_cuda.py stub.so          what the test looks at, on small images
    python tests/training/fake_cuda.py stub.so --paper  GB that a step of the paper's network keeps, at 512 × 512
    … --paper --plain                                   the same with PyTorch's own group norm
"""

import ctypes
import json
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ctypes.CDLL(sys.argv[1])

import numpy as np  # noqa: E402
import torch  # noqa: E402
from phantoms import write_cohort  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from mskdex.config.learning import ExperimentSettings, LossSettings, NetworkSettings  # noqa: E402
from mskdex.io.stack import read_stack  # noqa: E402
from mskdex.io.tensors import read_tensors, write_tensors  # noqa: E402
from mskdex.models import layers  # noqa: E402
from mskdex.models import model as model_file  # noqa: E402
from mskdex.models.model import GridRadiograph, read_model, write_model  # noqa: E402
from mskdex.pipeline.stages.train import describe, prepare  # noqa: E402
from mskdex.training.distributed import ProcessGroup  # noqa: E402
from mskdex.training.monitor import _grid  # noqa: E402
from mskdex.training.stack_store import StackStore  # noqa: E402

CUDA = torch.device("cuda", 0)
LARGE = 1024
"""Elements from which on a tensor is an image, not a handful of numbers."""


@dataclass
class Watch(TorchDispatchMode):
    """Counts what a GPU would wait for, and what it would do in vain.

    Attributes:
        counts: transfers to the device, pinned and asynchronous or "blocking"; readings of values by the host; casts
            of images on the device, by their types; images that end up on the CPU.
        convolutions: their outputs' types and layouts, and how many of their images had to be turned.
    """

    counts: Counter = field(default_factory=Counter)
    convolutions: Counter = field(default_factory=Counter)

    def __post_init__(self):
        super().__init__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            self.counts["readings"] += 1
            return 0.0
        result = func(*args, **kwargs)
        if func is torch.ops.aten.empty.memory_format and kwargs.get("pin_memory"):
            result.was_pinned = True
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            source, target = (args[0], result) if func is torch.ops.aten._to_copy.default else (args[1], args[0])
            self._copied(source, target, kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
        if func is torch.ops.aten.convolution.default:
            layout = "channels last" if result.is_contiguous(memory_format=torch.channels_last) else "rows"
            self.convolutions[f"{result.dtype} {layout}".removeprefix("torch.")] += 1
            # An image in rows of channels is turned first.
            self.convolutions["turned"] += not args[0].is_contiguous(memory_format=torch.channels_last)
        return result

    def _copied(self, source, target, asynchronous):
        way = source.device.type, target.device.type
        if way == ("cpu", "cuda"):
            pinned = getattr(source, "was_pinned", False) or (
                not isinstance(source, FakeTensor) and outside(source.is_pinned)()
            )
            self.counts["transfers" if asynchronous and pinned else "blocking transfers"] += 1
        elif way == ("cuda", "cpu"):
            self.counts["readings"] += 1
        elif way == ("cuda", "cuda") and source.dtype != target.dtype and source.numel() >= LARGE:
            self.counts[f"cast {source.dtype} {target.dtype}".replace("torch.", "")] += 1


def without_values(real):
    """A tensor method that gives the host values; of a fake tensor zeros, after the transfer that it would cost."""

    def method(self, *arguments, **options):
        if not isinstance(self, FakeTensor):
            return real(self, *arguments, **options)
        if self.device.type == "cuda":
            self.cpu()
        kind = {torch.bfloat16: torch.float32}.get(self.dtype, self.dtype)
        zeros = np.zeros(self.shape, str(kind).removeprefix("torch."))
        return zeros if real.__name__ == "numpy" else zeros.tolist()

    return method


def outside(call):
    """The call in a thread of its own, where tensors are real."""

    def there(*arguments, **options):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(call, *arguments, **options).result()

    return there


def set_up():
    """Makes this process believe in its GPU as far as fake tensors need it."""
    torch.Tensor.numpy = without_values(torch.Tensor.numpy)
    FakeTensor.tolist = without_values(torch.Tensor.tolist)
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False  # or autocast turns itself off
    torch.cuda.is_bf16_supported = lambda *_: True
    torch.set_num_threads(1)
    model_file.read_tensors = outside(read_tensors)


def experiment(gan, **network):
    small = {"backbone": "hrnet_tiny", "stem_stride": 2, "ndf": 4, "discriminator_scales": 1, "head": "composition"}
    losses = LossSettings() if gan else LossSettings(lambda_gan=0.0, lambda_cyc=0.0)
    optimisation = {"epochs": 8, "restart_epochs": 8, "history_images": 3, "ema_decay": 0.9, "max_gradient_norm": 9.0}
    return ExperimentSettings(
        losses=losses, network=NetworkSettings(**(small | network)), optimisation=optimisation | {"tensorboard": False}
    )


def strides_differ(trainer):
    """Parameters whose gradient or optimiser state lies otherwise in memory than they do."""
    wrong = []
    for name, optimiser in trainer.optimisers.items():
        for number, (parameter, state) in enumerate(optimiser.state.items()):
            own = [t for t in state.values() if t.shape == parameter.shape]
            own += [] if parameter.grad is None else [parameter.grad]
            if any(t.stride() != parameter.stride() for t in own):
                wrong.append(f"{name} {number}")
    return wrong


def elsewhere(trainer):
    """Tensors of a training that are not on the GPU."""
    tensors, _ = trainer.state()
    tensors |= {"scale": trainer.objective.scale, "stopped": trainer.record.stopped}
    return [name for name, t in tensors.items() if t.device != CUDA]


def noted(add, types):
    """`LossRecord.add` that notes the types of what it is given."""

    def method(found, *arguments, **options):
        types.update({name: str(value.dtype) for name, value in found.items()})
        return add(found, *arguments, **options)

    return method


def watched(mode, call):
    with mode, Watch() as watch:
        call()
    return watch


def everything(cohort, folder, settings):
    """What the test looks at, of one experiment."""
    store = StackStore({p.parent.name: p for p in sorted(cohort.glob("*/stack.safetensors"))}, 1e9)
    card = describe(store, settings, "fake", 0)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    seen = {}
    with mode:
        trainer, loader = prepare(card, store, CUDA, ProcessGroup())
        batches = loader.epoch(0)
        batch = next(batches)
        trainer.record.add = noted(trainer.record.add, seen.setdefault("losses", {}))
        trainer.train_batch(batch, 100)
        trainer.progress.place += 1
    made = []
    seen["batch"] = watched(mode, lambda: made.append(next(batches))).counts
    step = watched(mode, lambda: trainer.train_batch(made[0], 100))
    seen["step"], seen["convolutions"] = step.counts, step.convolutions
    seen["reading"] = watched(mode, trainer.record.read).counts
    seen["grid"] = watched(mode, lambda: _grid(trainer.networks, loader)).counts
    with mode:
        seen["elsewhere"], seen["strides"] = elsewhere(trainer), strides_differ(trainer)
        write_tensors(folder / "checkpoint.safetensors", *trainer.state())
        again, _ = prepare(card, store, CUDA, ProcessGroup())
        again.load_state(*outside(read_tensors)(folder / "checkpoint.safetensors"))
        seen["elsewhere after"], seen["strides after"] = elsewhere(again), strides_differ(again)
        write_model(folder / "model.safetensors", trainer.final, card, {})
        model = read_model(folder / "model.safetensors", CUDA)
        stack = read_stack(next(cohort.glob("*/stack.safetensors")))
    radiographs = [GridRadiograph(stack.radiograph, stack.camera, stack.source_to_isocentre_mm, stack.relative)] * 2
    shapes = []
    seen["prediction"] = watched(mode, lambda: shapes.append(model.decompose_batch(radiographs).shape)).counts
    seen["shape"] = shapes[0]
    return seen


def counters():
    """What the counters say of code that is wrong in each way."""

    def wrong():
        image = torch.zeros(1, 4, 32, 32, device=CUDA)
        image[:, [1, 2]]
        torch.ones(3).to(CUDA, non_blocking=True)
        image.sum().item()
        image.half()

    return watched(FakeTensorMode(allow_non_fake_inputs=True), wrong).counts


def kept_bytes(folder):
    """GB of each type that autograd keeps between a generators' step's two passes, of the paper's network at 512²."""
    paper = {"backbone": "hrnet_w32", "stem_stride": 4, "ndf": 64, "discriminator_scales": 2, "head": "plain"}
    cohort, _ = write_cohort(folder / "large", 2, side=512)
    store = StackStore({p.parent.name: p for p in sorted(cohort.glob("*/stack.safetensors"))}, 1e9)
    kept = {}
    with FakeTensorMode(allow_non_fake_inputs=True):
        trainer, loader = prepare(describe(store, experiment(True, **paper), "fake", 0), store, CUDA, ProcessGroup())
        weights = {p.untyped_storage()._cdata for m in trainer.networks.named().values() for p in m.parameters()}

        def keep(tensor):
            storage = tensor.untyped_storage()
            if storage._cdata not in weights:
                kept[storage._cdata] = storage, str(tensor.dtype).removeprefix("torch.")
            return tensor

        for discriminator in trainer.networks.discriminators:
            discriminator.requires_grad_(False)
        batch = next(loader.epoch(0))
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), trainer._precision():
            trainer.objective.total(trainer.objective.generator_losses(trainer.called, batch)[0])
    sums = Counter()
    for storage, kind in kept.values():
        sums[kind] += storage.nbytes() / 1e9
    return sums


if __name__ == "__main__":
    set_up()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if "--paper" in sys.argv:
            if "--plain" in sys.argv:
                layers.GroupNorm = torch.nn.GroupNorm
            facts = kept_bytes(place)
        else:
            patients, _ = write_cohort(place, 4, side=32)
            facts = {"counters": counters()}
            for title, gan in (("gan", True), ("no gan", False)):
                (place / title).mkdir()
                facts[title] = everything(patients, place / title, experiment(gan))
    json.dump(facts, sys.stdout, default=str)
