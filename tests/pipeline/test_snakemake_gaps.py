"""What is reached for inside Snakemake is there in the locked version, and not missed in another."""

from types import SimpleNamespace

import pytest
from snakemake.rules import Rule
from snakemake.scheduling.job_scheduler import JobScheduler

from mskdex.pipeline.snakemake_gaps import forget_benchmark, stop_reevaluation


@pytest.mark.parametrize(("kind", "name"), [(Rule, "_benchmark"), (JobScheduler, "job_rate_limiter")])
def test_the_locked_snakemake_has_what_is_reached_for(kind, name):
    assert name in kind.__init__.__code__.co_names


def test_what_is_there_is_taken_away():
    rule = SimpleNamespace(_benchmark="time.tsv")
    forget_benchmark(rule)
    assert rule == SimpleNamespace(_benchmark=None)
    workflow = SimpleNamespace(scheduler=SimpleNamespace(job_rate_limiter="100 a second"))
    stop_reevaluation(workflow)
    assert workflow.scheduler.job_rate_limiter is None


@pytest.mark.parametrize(
    "other", [SimpleNamespace(), SimpleNamespace(scheduler=None), SimpleNamespace(scheduler=object())]
)
def test_a_snakemake_that_is_built_otherwise_is_left_alone(other):
    before = vars(other).copy()
    forget_benchmark(other)
    stop_reevaluation(other)
    assert vars(other) == before
