"""On a real SLURM (`slurm.sh up DIR` starts one): accidents, a whole run, one node for the light stages.

Skipped where no SLURM answers. Continuous integration leaves out the slow ones.
"""

import contextlib
import os
import shutil
import signal
import subprocess

import numpy as np
import pandas as pd
import pytest
from fabricated import Fabrication, fabricate
from safetensors.numpy import load_file
from test_restart import (
    END,
    PREDICTIONS,
    TRAINING,
    assert_final_numbers_are,
    assert_same_table,
    forget_training,
    spoil,
    times,
    trainings,
    wait_until,
)
from working_copy import EXPERIMENTS, copy_project, shrink

from mskdex.io.artifacts import write_json
from mskdex.pipeline.origin import mark_origin

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


def jobs(project):
    """Ids and nodes of the jobs that run in this project."""
    lines = slurm("squeue", "--noheader", "--states=running", "--format=%A|%N|%Z").splitlines()
    return [tuple(line.split("|")[:2]) for line in lines if line.split("|")[2] == str(project.folder)]


def halted_training(project, run):
    """Waits until a job trains, and halts the training so that it does not end before its accident.

    Returns:
        Its process, its job and the job's node.
    """
    wait_until(lambda: trainings(project), run)
    (training,) = trainings(project)
    os.kill(training, signal.SIGSTOP)
    ((job, node),) = jobs(project)
    return training, job, node


def gone(process):
    return lambda: not os.path.exists(f"/proc/{process}")  # noqa: PTH110


def test_a_second_snakemake_is_refused_and_a_kill_a_failure_a_cancellation_and_the_loss_of_a_node_are_survived(
    finished, project
):
    forget_training(project)
    before = times(project)
    command = [PREDICTIONS, *PROFILE, "train:mem_mb=2500", "--retries", "3"]  # the fourth attempt still fits the nodes
    killed = project.start(*command)
    left, _, _ = halted_training(project, killed)
    second = project.snakemake(*command, check=False)
    assert second.returncode != 0
    assert f"in use by another Snakemake, process {killed.pid} on" in second.stdout
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert jobs(project), "the job outlives its Snakemake"

    run = project.start(*command)
    wait_until(gone(left), run)
    training, _, _ = halted_training(project, run)
    os.kill(training, signal.SIGKILL)
    wait_until(gone(training), run)

    training, job, _ = halted_training(project, run)
    slurm("scancel", job)
    wait_until(gone(training), run)

    training, _, node = halted_training(project, run)
    slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    os.kill(training, signal.SIGKILL)
    try:
        output = run.communicate()[0]
    finally:
        # Where nodes return by themselves there is nothing to resume, and scontrol says so.
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], check=False, capture_output=True)
    assert run.returncode == 0, output
    assert "The run before was killed" in output
    assert "the job that it left was ended" in output
    assert output.count("Trying to restart job") == 3, output
    assert times(project) == before
    assert jobs(project) == []
    assert_same_table(finished, project, PREDICTIONS)


@pytest.mark.slow
def test_a_job_that_needs_more_memory_or_time_gets_it_at_the_next_attempt(finished, project):
    forget_training(project)
    before = times(project)
    short = ["predict:mem_mb=200 if attempt == 1 else 2000", "train:runtime=attempt"]
    run = project.start(PREDICTIONS, *PROFILE, *short)
    training, _, _ = halted_training(project, run)
    wait_until(gone(training), run, seconds=180)
    output = run.communicate()[0]
    assert run.returncode == 0, output
    assert "TIMEOUT" in output
    assert output.count("Trying to restart job") == 2, output
    assert times(project) == before
    assert_same_table(finished, project, PREDICTIONS)


@pytest.mark.slow
def test_a_full_disk_and_a_damaged_artifact_are_said_and_made_good(finished, project, tmp_path):
    patients = project.folder / "results/patients"
    damaged = patients / "V0003/ct.nii.gz"
    pictures = [patients / name / "qc.png" for name in ("V0002", "V0003")]
    for picture in pictures:
        picture.unlink()
    truth, collected = patients / "V0002/quantities.parquet", "results/cohort/quantities.parquet"
    (project.folder / collected).unlink()
    redone = ("results/patients/V0002", "results/patients/V0003", "results/cohort", *END)
    before = times(project, redone)
    spoil(damaged, 5000)
    spoil(truth, 0)
    limit = tmp_path / "limit.sh"
    limit.write_text(
        'case "${BASH_EXECUTION_STRING-}" in *"mskdex --log results/logs/qc/V0002"*) ulimit -f 16 ;; esac\n',
        encoding="utf-8",
    )
    command = [
        *(p.relative_to(project.folder).as_posix() for p in pictures),
        collected,
        *PROFILE,
        "--group-components",
        "patients=1",
    ]
    full = project.snakemake(*command, "--retries", "0", check=False, BASH_ENV=str(limit))
    assert full.returncode != 0
    logs = {
        name: (project.folder / f"results/logs/{name}.log").read_text(encoding="utf-8")
        for name in ("qc/V0002", "qc/V0003", "collect")
    }
    assert "qc.png could not be written, the disk is full" in logs["qc/V0002"]
    assert "results/patients/V0003/ct.nii.gz is damaged" in logs["qc/V0003"]
    assert "results/patients/V0002/quantities.parquet is damaged" in logs["collect"]
    assert not list(patients.glob("V000[23]/*qc.png"))
    project.snakemake(*command)
    for picture in pictures:
        assert picture.read_bytes() == (finished.folder / picture.relative_to(project.folder)).read_bytes()
    assert_same_table(finished, project, collected)
    assert times(project, redone) == before


def forget_patient(project, patient):
    for folder in ("patients", "virtual"):
        shutil.rmtree(project.folder / "results" / folder / patient)


@pytest.mark.slow
def test_a_run_on_slurm_has_the_numbers_of_a_local_one(finished, project):
    """Every rule: one patient's light stages on one node, another's in a group, the rest as jobs of their own."""
    for name in ("cohort", "experiments", "evaluation", "report"):
        shutil.rmtree(project.folder / "results" / name)
    (project.folder / "results/virtual/cohort.tsv").unlink()
    forget_patient(project, "V0002")
    light = ["snakemake", "--cores", "2", "--until", "stack", "qc", "quality", "collect"]
    node = ["srun", "--cpus-per-task", "2", "--mem", "6G", "--time", "60"]
    subprocess.run([*node, *light], cwd=project.folder, env=project.environment(), check=True)
    assert (project.folder / "results/patients/V0002/stack.safetensors").is_file()
    forget_patient(project, "V0003")
    shutil.rmtree(project.folder / "results/cohort")
    project.snakemake(*PROFILE)
    assert project.planned() == {}
    assert_final_numbers_are(finished, project)


SLOW = """
import time
from mskdex.training.job_deadline import JobDeadline
due = JobDeadline.due
def slow(self, seconds):
    time.sleep(10.0)
    return due(self, seconds)
JobDeadline.due = slow
"""
"""As `sitecustomize`: each of the 30 batches takes ten seconds longer, as on a slow computer."""


def untrained(folder):
    """A project whose next step is a training of 30 batches: its stacks are made up."""
    project = shrink(copy_project(folder))
    results = folder / "results"
    fabricate(results, Fabrication(patients=8, experiments={}, trained=(), size=64))
    (results / "cohort/folds.parquet").unlink()
    write_json(results / "cohort/identity.json", {})
    people = pd.read_parquet(results / "cohort/patients.parquet")
    for column in ("ct", "labels", "radiograph"):
        people[column] = people["patient_id"] + f"-{column}.nii.gz"
        for file in people[column]:
            (folder / file).write_bytes(b"x")
    people.to_csv(folder / "cohort.csv", index=False)
    project.configure("cohort", "sheet", value="cohort.csv")
    project.configure("folds", "train", value=[0])
    optimisation = EXPERIMENTS["mskdex"]["optimisation"] | {"epochs": 10, "restart_epochs": 10, "batch_size": 2}
    project.configure("experiments", "mskdex", value=EXPERIMENTS["mskdex"] | {"optimisation": optimisation})
    with contextlib.chdir(folder):
        mark_origin()
    return project


MODEL = f"{TRAINING}/model.safetensors"
AS_THEY_ARE = ["--rerun-triggers", "mtime"]


def weights_and_history(project):
    history = pd.read_parquet(project.folder / TRAINING / "history.parquet")
    return load_file(project.folder / MODEL), history.drop(columns=[c for c in history if "seconds" in c])


@pytest.mark.slow
def test_a_training_longer_than_its_jobs_goes_on_in_the_next_ones_to_the_same_bits(tmp_path):
    local, project = (untrained(tmp_path / name) for name in ("local", "slurm"))
    local.snakemake(MODEL, *AS_THEY_ARE)
    (project.folder / "sitecustomize.py").write_text(SLOW, encoding="utf-8")
    run = project.snakemake(MODEL, *PROFILE, "train:runtime=3", "--retries", "8", *AS_THEY_ARE)
    logs = [p.read_text(encoding="utf-8") for p in (project.folder / "results/logs/slurm").rglob("*.log")]
    ended = [log for log in logs if "the training ends before its time is up" in log]
    assert run.stdout.count("Trying to restart job") == len(ended) >= 2, run.stdout
    assert "TIMEOUT" not in run.stdout
    (weights, history), (found, told) = weights_and_history(local), weights_and_history(project)
    assert found.keys() == weights.keys()
    assert all(np.array_equal(found[name], weights[name]) for name in weights)
    pd.testing.assert_frame_equal(told, history)
