"""A kill, a full disk, a damaged artifact, a second Snakemake: the same command goes on, and nothing is made twice."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pandas as pd
from working_copy import Running

TRAINING = "results/experiments/mskdex/fold0"
PREDICTIONS = f"{TRAINING}/predictions.parquet"
FINAL = (
    "results/evaluation/agreement.parquet",
    "results/evaluation/points.parquet",
    "results/evaluation/tests.parquet",
)
END = (
    "results/report",
    "results/evaluation",
    "results/logs",
    "results/benchmarks",
    f"{TRAINING}/predictions",
    f"{TRAINING}/decomp",
)
REDONE = (*END, TRAINING)


def forget_end(project):
    """Takes the report and the evaluation out of a finished project."""
    for name in ("report", "evaluation"):
        shutil.rmtree(project.folder / "results" / name)


def forget_training(project):
    """Takes one fold's training, and what follows from it, out of a finished project."""
    forget_end(project)
    for name in ("model.safetensors", "history.parquet", "train.json", "predictions.parquet"):
        (project.folder / TRAINING / name).unlink()
    for checkpoint in (project.folder / TRAINING / "checkpoint").glob("*.safetensors"):
        checkpoint.unlink()


def times(project, without=REDONE):
    """When each artifact was written, but for those that are to be made again."""
    found = {}
    for path in (project.folder / "results").rglob("*"):
        name = path.relative_to(project.folder).as_posix()
        if path.is_file() and not name.startswith(without):
            found[name] = path.stat().st_mtime_ns
    return found


def wait_until(happened, process, seconds=120):
    """Waits for a condition while the process lives."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def trainings(project):
    """Processes that train in this project, the shell around them left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            here = (folder / "cwd").readlink() == project.folder
        except OSError:
            continue
        if here and b"train" in words:
            found.append(int(folder.name))
    return found


def is_training(project):
    return lambda: (project.folder / TRAINING / "checkpoint" / "last.safetensors").is_file()


def assert_same_table(finished, project, name):
    pd.testing.assert_frame_equal(pd.read_parquet(project.folder / name), pd.read_parquet(finished.folder / name))


def assert_final_numbers_are(finished, project):
    for name in FINAL:
        assert_same_table(finished, project, name)
    for table in (finished.folder / "results/report/tables").glob("*.csv"):
        if table.name not in {"run.csv", "trainings.csv"}:  # they tell how long it took
            pd.testing.assert_frame_equal(untimed(project.folder / table.relative_to(finished.folder)), untimed(table))


def untimed(table):
    """A table of the report as text, without how long a registration took."""
    return pd.read_csv(table, dtype=str, keep_default_na=False).drop(columns="Median seconds", errors="ignore")


def test_a_second_snakemake_is_refused_and_a_killed_one_is_taken_up(finished, project):
    forget_training(project)
    before = times(project)
    first = project.start()
    wait_until(is_training(project), first)
    (training,) = trainings(project)
    os.kill(training, signal.SIGSTOP)

    second = project.snakemake(check=False)
    assert second.returncode != 0
    assert f"in use by another Snakemake, process {first.pid} on" in second.stdout
    assert "Directory cannot be locked" in second.stdout
    assert first.poll() is None

    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert trainings(project) == [training], "the job outlives its Snakemake"
    again = project.snakemake()
    assert "The run before was killed" in again.stdout
    assert "the job that it left was ended" in again.stdout
    assert "going on from the checkpoint" in again.stdout
    assert times(project) == before
    assert_final_numbers_are(finished, project)
    assert project.planned() == {}


def test_a_killed_training_goes_on_from_its_checkpoint(finished, project):
    forget_training(project)
    before = times(project)
    run = project.start(PREDICTIONS)
    wait_until(is_training(project), run)
    (training,) = trainings(project)
    os.kill(training, signal.SIGKILL)
    output = run.communicate()[0]
    assert run.returncode != 0
    assert "died with <Signals.SIGKILL" in output
    assert not (project.folder / TRAINING / "model.safetensors").exists()
    again = project.snakemake(PREDICTIONS)
    assert "going on from the checkpoint" in again.stdout
    assert times(project) == before
    assert_same_table(finished, project, PREDICTIONS)


def test_a_run_whose_terminal_closes_goes_on(finished, project):
    """The signal reaches Snakemake and its jobs alike."""
    forget_training(project)
    before = times(project)
    run = Running(
        ["setsid", sys.executable, "-m", "snakemake", "--cores", "2"], cwd=project.folder, env=project.environment()
    )
    wait_until(is_training(project), run)
    os.killpg(run.pid, signal.SIGHUP)
    run.communicate()
    assert run.returncode != 0
    assert not (project.folder / TRAINING / "model.safetensors").exists()
    project.snakemake()
    assert times(project) == before
    assert_final_numbers_are(finished, project)
    assert project.planned() == {}


def test_a_disk_that_fills_up_is_said_and_leaves_no_half_artifact(finished, project, tmp_path):
    name = "results/patients/V0002/qc.png"
    picture = project.folder / name
    picture.unlink()
    project.snakemake(name)  # compiles this copy's kernels, whose files are larger than the limit
    picture.unlink()
    before = times(project)
    limit = tmp_path / "limit.sh"
    limit.write_text("ulimit -f 16\n", encoding="utf-8")  # files of 16 KiB at most, in the jobs' shells alone
    full = project.snakemake(name, check=False, BASH_ENV=str(limit))
    assert full.returncode != 0
    assert (
        "qc.png could not be written, the disk is full; free some space and run the same command again" in full.stdout
    )
    assert not list(picture.parent.glob("*qc.png"))
    project.snakemake(name)
    assert picture.read_bytes() == (finished.folder / name).read_bytes()
    assert times(project, (*REDONE, name)) == before


def spoil(path, keep):
    """Cuts a file short, its time unchanged, as a failing disk or a broken copy would."""
    before = path.stat()
    path.write_bytes(path.read_bytes()[:keep])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flip(path, bit):
    """Flips one bit, the file's time unchanged."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_another_patients_artifact_is_refused_and_stays_where_it_is(finished, project):
    patients = project.folder / "results/patients"
    for name in ("drr.safetensors", "quantities.parquet"):
        place = patients / "V0002" / name
        before = place.stat()
        place.write_bytes((patients / "V0003" / name).read_bytes())
        os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
        (patients / "V0002" / "stack.safetensors").unlink(missing_ok=True)
        run = project.snakemake("results/patients/V0002/stack.safetensors", check=False)
        assert run.returncode != 0
        kind = name.split(".")[0]
        assert f"should be {kind} of patient V0002, but holds {kind} of patient V0003" in run.stdout, run.stdout
        place.write_bytes((finished.folder / "results/patients/V0002" / name).read_bytes())
        os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_damaged_artifacts_are_named_moved_away_and_made_again(finished, project):
    patients = project.folder / "results/patients"
    folds = pd.read_parquet(project.folder / "results/cohort/folds.parquet")
    one, other = (patients / name for name in folds.loc[folds["fold"] == 0, "patient_id"])
    ct, stack, truth = one / "ct.nii.gz", one / "stack.safetensors", other / "quantities.parquet"
    spoil(ct, 5000)
    spoil(truth, 0)
    flip(stack, 5003)
    targets = [
        (ct.parent / "qc.png"),
        project.folder / "results/cohort/quantities.parquet",
        project.folder / PREDICTIONS,
    ]
    for target in targets:
        target.unlink()
    names = [target.relative_to(project.folder).as_posix() for target in targets]
    redone = (f"results/patients/{one.name}", f"results/patients/{other.name}", "results/cohort")
    before = times(project, redone + END)
    first = project.snakemake(*names, check=False)
    assert first.returncode != 0
    for damaged in (ct, truth, stack):
        said = f"patient {damaged.parent.name}: {damaged.relative_to(project.folder)} is damaged"
        assert said in first.stdout, first.stdout
        assert f"moved to {damaged.name}.damaged, run the same command again" in first.stdout
        assert not damaged.exists()
        assert damaged.with_name(f"{damaged.name}.damaged").is_file()
    project.snakemake(*names)
    assert times(project, redone + END) == before
    for name in names[1:]:
        assert_same_table(finished, project, name)
    for path in (ct, targets[0]):
        assert path.read_bytes() == (finished.folder / path.relative_to(project.folder)).read_bytes()
