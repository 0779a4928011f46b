"""What a killed run leaves behind: Snakemake's lock on the folder, and jobs that go on."""

import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

OWNER = Path(".snakemake/mskdex-owner.json")
LOCKS = Path(".snakemake/locks")
RUN = "MSKDEX_RUN"
"""Environment variable that every job of a run inherits: the run's id."""

_SECONDS_TO_END = 10.0
_SLURM_RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def record_owner() -> None:
    """Notes which process runs the workflow in this folder; to be called once it holds Snakemake's lock."""
    os.environ[RUN] = uuid.uuid4().hex
    if owner := _this_process():
        OWNER.write_text(json.dumps(owner | {"run": os.environ[RUN]}) + "\n", encoding="utf-8")


def forget_owner() -> None:
    """Takes the note back at the end of a run."""
    OWNER.unlink(missing_ok=True)


def clear_leftovers() -> str | None:
    """Clears the lock of a run whose process is dead, and ends the jobs that it left.

    Nothing is touched while the process lives, or where that cannot be told: a note from another machine or
    container, or no note at all. Then Snakemake's own check decides.

    Returns:
        What was found and done, a sentence; None where there was nothing.
    """
    owner = _read_owner()
    locks = sorted(LOCKS.glob("*.lock"))
    if owner is None or not locks:
        return None
    name = f"process {owner['pid']} on {owner['host']}"
    if not _dead(owner):
        return f"This folder is in use by another Snakemake, {name}, since {owner['since']}."
    noted, claim = OWNER.stat().st_mtime, OWNER.with_name(f"{OWNER.name}.{os.getpid()}")
    try:
        OWNER.rename(claim)  # of several that start at once, one
    except FileNotFoundError:
        return None
    ended = _end_jobs(owner["run"]) + _cancel_slurm_jobs()
    for lock in locks:
        if lock.stat().st_mtime <= noted:
            lock.unlink()
    claim.unlink()
    jobs = {0: "", 1: " and the job that it left was ended"}.get(
        ended, f" and the {ended} jobs that it left were ended"
    )
    return f"The run before was killed ({name}): its lock was cleared{jobs}; the run goes on where it stopped."


def _read_owner() -> dict | None:
    try:
        return json.loads(OWNER.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _this_process() -> dict | None:
    started = _started(os.getpid())
    if started is None:
        return None
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return _machine() | {"pid": os.getpid(), "started": started, "since": since}


def _machine() -> dict[str, str]:
    """What tells machines, their boots and their containers apart."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return {"host": platform.node(), "boot": boot, "namespace": str(Path("/proc/self/ns/pid").readlink())}


def _dead(owner: dict) -> bool:
    here = _machine()
    if owner["host"] != here["host"]:
        return False
    if owner["boot"] != here["boot"]:
        return True
    return owner["namespace"] == here["namespace"] and _started(owner["pid"]) != owner["started"]


def _started(pid: int) -> str | None:
    """When a process began, in ticks since the machine's start; None where there is none, or only its remains."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else fields[18]


def _end_jobs(run: str) -> int:
    """Ends this user's processes that belong to a run on this machine, and waits until they are gone.

    Returns:
        How many there were, without the shells around them.
    """
    mark = f"{RUN}={run}".encode()
    found = {pid: started for pid in _processes(mark) if (started := _started(pid))}
    jobs = sum(not _is_shell(pid) for pid in found)
    for end in (signal.SIGTERM, signal.SIGKILL):
        for pid, started in found.items():
            if _started(pid) == started:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, end)
                    os.kill(pid, signal.SIGCONT)  # one that is suspended would not hear
        deadline = time.monotonic() + _SECONDS_TO_END
        while time.monotonic() < deadline and any(_started(p) == s for p, s in found.items()):
            time.sleep(0.05)
    return jobs


def _processes(mark: bytes) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            if mark in environment and int(folder.name) != os.getpid() and b"SLURM_JOB_ID" not in _names(environment):
                found.append(int(folder.name))
    return found


def _names(environment: list[bytes]) -> set[bytes]:
    return {entry.partition(b"=")[0] for entry in environment}


def _is_shell(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() in {"bash", "sh"}
    return True


def _cancel_slurm_jobs() -> int:
    """Cancels this user's SLURM jobs that a Snakemake submitted from this folder, and waits until they are gone.

    Returns:
        How many there were.
    """
    if shutil.which("squeue") is None:
        return 0
    found = _slurm_jobs()
    if found:
        subprocess.run(["scancel", *found], check=False, capture_output=True)
    deadline = time.monotonic() + 6 * _SECONDS_TO_END
    while set(found) & set(_slurm_jobs()) and time.monotonic() < deadline:
        time.sleep(1.0)
    return len(found)


def _slurm_jobs() -> list[str]:
    """Ids of jobs whose folder is this one and whose name is a Snakemake run's id."""
    command = ["squeue", "--me", "--noheader", "--format=%A|%j|%Z"]
    listed = subprocess.run(command, check=False, capture_output=True, encoding="utf-8").stdout.splitlines()
    jobs = [line.split("|", 2) for line in listed]
    return [job for job, name, folder in jobs if _SLURM_RUN.fullmatch(name) and Path(folder) == Path.cwd()]
