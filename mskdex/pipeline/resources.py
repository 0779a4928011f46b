"""What a training or a prediction asks of its machine: memory, by network, image, batch and device.

The figures are peaks of `python benchmarks/learning/memory.py` on a CPU (17 objects, 2026-11-26); a GPU holds most of
it itself, and what its driver and libraries take of the host's memory was not measured.
"""

from dataclasses import dataclass

from mskdex.config.learning import ExperimentSettings, NetworkSettings

_MARGIN = 1.5
_LEAST_MB = 1500
_LIBRARIES_MB, _GPU_LIBRARIES_MB = 450, 4000
_MEASURED_OBJECTS = 17
_STACK_BYTES_PER_PIXEL = 8.5
"""Of a decoded stack: 2.2 MB at 512² (`python benchmarks/learning/store.py`)."""
_FAKE_BYTES = 2
"""Of a number in the pools of past fakes."""


@dataclass(frozen=True)
class _Cost:
    """What a network takes.

    Attributes:
        fixed_mb: of libraries, weights, gradients and the optimisers' states.
        bytes_per_pixel: of a step, per pixel of each image of a batch.
        stem_stride: at which that was measured; a finer stem has more pixels in its feature maps.
    """

    fixed_mb: float
    bytes_per_pixel: float
    stem_stride: int = 4


_COSTS = {
    "unet_small": _Cost(655, 8700, stem_stride=2),
    "hrnet_tiny": _Cost(670, 7700),
    "hrnet_w18": _Cost(960, 15900),
    "hrnet_w32": _Cost(1580, 23100),
    "hrnet_w48": _Cost(2770, 27400),
}
_UNKNOWN = _COSTS["hrnet_w48"]
"""A backbone that others registered is taken for the largest of ours."""


@dataclass(frozen=True)
class TrainingSize:
    """What a training is about, beside its settings.

    Attributes:
        pixels: of an image.
        objects: that are decomposed.
        stacks: training samples that may be kept in memory.
    """

    pixels: int
    objects: int
    stacks: int


def training_memory_mb(experiment: ExperimentSettings, size: TrainingSize, *, gpu: bool) -> int:
    """Memory of the host that one training needs, in MB, with a margin of a half."""
    settings = experiment.optimisation
    cost = _COSTS.get(experiment.network.backbone, _UNKNOWN)
    cache = min(settings.cache_gb * 1000, size.stacks * size.pixels * _STACK_BYTES_PER_PIXEL / 1e6)
    if gpu:
        used = cost.fixed_mb + _GPU_LIBRARIES_MB
    else:
        fakes = settings.history_images * (3 * size.objects + 1) * size.pixels * _FAKE_BYTES / 1e6
        used = cost.fixed_mb + settings.batch_size * _step_mb(experiment.network, cost, size) + fakes
    return max(_LEAST_MB, round(_MARGIN * used + cache))


def prediction_memory_mb(experiment: ExperimentSettings, size: TrainingSize, *, gpu: bool) -> int:
    """Memory of the host that predicting one radiograph after the other needs, in MB.

    It has one generator's weights without gradients or optimiser states, and keeps no activations: a quarter of what is
    fixed in a training, and a tenth of a step.
    """
    cost = _COSTS.get(experiment.network.backbone, _UNKNOWN)
    used = _GPU_LIBRARIES_MB if gpu else _LIBRARIES_MB + _step_mb(experiment.network, cost, size) / 10
    return max(_LEAST_MB, round(_MARGIN * (used + cost.fixed_mb / 4)))


def _step_mb(network: NetworkSettings, cost: _Cost, size: TrainingSize) -> float:
    finer = max(1.0, cost.stem_stride / network.stem_stride) ** 2
    more_objects = max(1.0, size.objects / _MEASURED_OBJECTS)
    return finer * more_objects * cost.bytes_per_pixel * size.pixels / 1e6
