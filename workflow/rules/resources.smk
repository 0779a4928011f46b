# Memory, threads and GPUs that jobs ask for.
import shutil

from mskdex.pipeline import resources


def by_attempt(**first):
    """Resources, by name, of which each further attempt asks more: as much again as the first.

    Args:
        first: what the first attempt asks for, or a function of the wildcards that gives it.
    """
    return {name: times_attempt(amount) for name, amount in first.items()}


def times_attempt(first):
    """A resource that each further attempt asks more of."""

    @signed
    def asked(wildcards, attempt):
        return (first(wildcards) if callable(first) else first) * attempt

    return asked


def training_gpus(wildcards):
    """GPUs of one training, or of its predictions: one, unless the config says cpu or there is none on this machine."""
    device = train_settings(wildcards).experiment.optimisation.device
    return int(
        device != "cpu" and (device != "auto" or shutil.which("nvidia-smi") is not None)
    )


def training_threads(wildcards):
    """Threads of one training: with a GPU those that read stacks, otherwise one, for folds train beside each other."""
    return 4 if training_gpus(wildcards) else 1


def training_memory(wildcards):
    """Memory of one training in MB."""
    paired = train_settings(wildcards).experiment.pairs != "none"
    each = 1 + paired * CONFIG.simulation.variants
    stacks = each * len(training_patients(wildcards))
    return memory_of(wildcards, resources.training_memory_mb, stacks)


def prediction_memory(wildcards):
    """Memory of the predictions of one model in MB."""
    return memory_of(wildcards, resources.prediction_memory_mb, 0)


def memory_of(wildcards, estimate, stacks):
    """What a function of `mskdex.pipeline.resources` estimates for a fold of an experiment."""
    pixels = CONFIG.image.rows * CONFIG.image.columns
    size = resources.TrainingSize(pixels, len(CHANNELS), stacks)
    experiment = train_settings(wildcards).experiment
    return estimate(experiment, size, gpu=training_gpus(wildcards) > 0)
