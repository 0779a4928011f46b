"""Two gaps of Snakemake that no setting of its closes; a version that is built otherwise is left as it is."""

from typing import Any


def forget_benchmark(rule: Any) -> None:
    """Takes a rule's benchmark away, so that the rule can be cached: a job that is not run has no time.

    Snakemake refuses to cache what it shall measure (snakemake/snakemake#2238, refused since #2335), and its setter
    takes a path only. Where the attribute is another one, Snakemake's own sentence about that stands.

    Args:
        rule: a `snakemake.rules.Rule`.
    """
    if hasattr(rule, "_benchmark"):
        rule._benchmark = None


def stop_reevaluation(workflow: Any) -> None:
    """Takes the limit of jobs per second away, which Snakemake 9.27 has no way to switch off.

    With it each finished job starts another once-a-second evaluation of all jobs, and these never end
    (snakemake/snakemake#3744). Where the attribute is another one, they go on.

    Args:
        workflow: Snakemake's `workflow`, once it has a scheduler.
    """
    scheduler: Any = getattr(workflow, "scheduler", None)
    if hasattr(scheduler, "job_rate_limiter"):
        scheduler.job_rate_limiter = None
