"""What trainings and predictions ask for grows with network, image and batch, and covers what was measured."""

import pytest

from mskdex.config.learning import ExperimentSettings
from mskdex.pipeline.resources import TrainingSize, prediction_memory_mb, training_memory_mb


def experiment(backbone="hrnet_w32", **optimisation):
    return ExperimentSettings.model_validate({"network": {"backbone": backbone}, "optimisation": optimisation})


def work(side, objects=17, stacks=0):
    return TrainingSize(side * side, objects, stacks)


# Peaks of benchmarks/learning/memory.py, at stem stride 4 and batch 2.
@pytest.mark.parametrize(
    ("backbone", "side", "peak_mb"),
    [("hrnet_tiny", 256, 1672), ("hrnet_w18", 192, 2130), ("hrnet_w32", 192, 3274), ("hrnet_w48", 192, 4788)],
)
def test_what_was_measured_is_covered_and_not_doubled(backbone, side, peak_mb):
    asked = training_memory_mb(experiment(backbone, history_images=0), work(side), gpu=False)
    assert 1.2 * peak_mb < asked < 2 * peak_mb


def test_more_of_anything_asks_for_more():
    least = training_memory_mb(experiment(batch_size=2), work(256), gpu=False)
    assert training_memory_mb(experiment(batch_size=4), work(256), gpu=False) > least
    assert training_memory_mb(experiment("hrnet_w48", batch_size=2), work(256), gpu=False) > least
    assert training_memory_mb(experiment(batch_size=2), work(512), gpu=False) > 2 * least
    assert training_memory_mb(experiment(batch_size=2), work(256, objects=40), gpu=False) > least
    assert training_memory_mb(experiment(batch_size=2), work(256, stacks=500), gpu=False) > least


def test_on_a_gpu_the_batch_takes_none_of_the_hosts_memory():
    asked = {training_memory_mb(experiment(batch_size=n), work(512), gpu=True) for n in (2, 16)}
    assert len(asked) == 1
    assert asked.pop() < training_memory_mb(experiment(batch_size=2), work(512), gpu=False)


def test_stacks_take_no_more_than_the_cache():
    some, many = (training_memory_mb(experiment(cache_gb=1), work(512, stacks=n), gpu=True) for n in (10**3, 10**6))
    assert some == many == training_memory_mb(experiment(cache_gb=0), work(512), gpu=True) + 1000


def test_the_measured_prediction_is_covered():
    assert prediction_memory_mb(experiment("hrnet_w32"), work(512), gpu=False) > 1.2 * 868


def test_a_prediction_asks_for_less_than_its_training_and_a_foreign_network_for_the_most():
    assert prediction_memory_mb(experiment(), work(512), gpu=False) < training_memory_mb(
        experiment(), work(512), gpu=False
    )
    ours = experiment("hrnet_w48")
    foreign = ours.model_copy(update={"network": ours.network.model_copy(update={"backbone": "of_somebody"})})
    assert prediction_memory_mb(foreign, work(512), gpu=False) == prediction_memory_mb(ours, work(512), gpu=False)
