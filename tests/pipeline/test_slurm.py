"""On a real SLURM: a cancelled job, a killed Snakemake, a node that goes away; skipped where no SLURM answers."""

import os
import shutil
import signal
import subprocess

import pandas as pd
import pytest
from test_restart import PREDICTIONS, forget_training, is_training, times, wait_until

PROFILE = ["--profile", "workflow/profiles/slurm", "--workflow-profile", "none", "--jobs", "2"]
PROFILE += ["--slurm-init-seconds-before-status-checks", "2", "--set-resources", "train:slurm_partition=cpu"]


def slurm(*command):
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8", timeout=30).stdout


def answers():
    try:
        return shutil.which("sinfo") is not None and "idle" in slurm("sinfo", "--noheader", "--format=%t")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return False


pytestmark = [pytest.mark.slurm, pytest.mark.skipif(not answers(), reason="no SLURM answers")]


def running(project):
    """Id and node of the job that runs in this project."""
    for line in slurm("squeue", "--noheader", "--states=running", "--format=%A|%N|%Z").splitlines():
        job, node, folder = line.split("|")
        if folder == str(project.folder):
            return job, node
    return None


@pytest.fixture
def before(project):
    """Times of what is finished, where one training is missing."""
    forget_training(project)
    return times(project)


def assert_finished(finished, project, before):
    ours, theirs = (pd.read_parquet(p.folder / PREDICTIONS) for p in (project, finished))
    pd.testing.assert_frame_equal(ours, theirs)
    assert times(project) == before
    assert running(project) is None


def test_a_cancelled_job_is_submitted_again(finished, project, before):
    run = project.start(PREDICTIONS, *PROFILE)
    wait_until(is_training(project), run)
    slurm("scancel", running(project)[0])
    output = run.communicate()[0]
    assert run.returncode == 0, output
    assert_finished(finished, project, before)


def test_the_jobs_of_a_killed_snakemake_are_ended_and_the_run_goes_on(finished, project, before):
    run = project.start(PREDICTIONS, *PROFILE)
    wait_until(is_training(project), run)
    job, _ = running(project)
    slurm("scontrol", "suspend", job)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    again = project.snakemake(PREDICTIONS, *PROFILE)
    assert "The run before was killed" in again.stdout
    assert "the job that it left was ended" in again.stdout
    assert_finished(finished, project, before)


def test_a_job_whose_node_goes_down_runs_on_another(finished, project, before):
    run = project.start(PREDICTIONS, *PROFILE)
    wait_until(is_training(project), run)
    _, node = running(project)
    slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        output = run.communicate()[0]
    finally:
        # Where nodes return by themselves there is nothing to resume, and scontrol says so.
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], check=False, capture_output=True)
    assert run.returncode == 0, output
    assert_finished(finished, project, before)
