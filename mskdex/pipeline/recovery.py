"""What a killed run leaves behind: Snakemake's lock on the folder, and jobs that go on."""

import atexit
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

from mskdex.errors import MskdexError
from mskdex.io.artifacts import write_plain_json

OWNERS = Path(".snakemake/mskdex-owners")
LOCKS = Path(".snakemake/locks")
RUN = "MSKDEX_RUN"
"""Environment variable that every job of a run inherits: the run's id."""

_SLURM_JOB = "SLURM_JOB_ID"
_SECONDS_TO_END = 10.0
_SLURM_RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def claim_folder() -> str | None:
    """`recover_from_kill`, then `record_owner`: before Snakemake locks the folder.

    Raises:
        MskdexError: the folder cannot be written to.
    """
    try:
        found = recover_from_kill()
        record_owner()
    except OSError as error:
        msg = (
            f"{Path.cwd() / (error.filename or '')}: {error.strerror}; the workflow keeps its notes and results in "
            "this folder, so it needs the right to write there; or start it with --directory in another one"
        )
        raise MskdexError(msg) from error
    return found


def record_owner() -> None:
    """Notes this process and its run, to be called before Snakemake locks the folder; taken back when the process ends.

    One that is killed, at whatever moment, leaves its note beside its lock.
    """
    os.environ[RUN] = uuid.uuid4().hex
    if owner := _this_process():
        note = OWNERS / f"{os.environ[RUN]}.json"
        write_plain_json(note, owner | {"run": os.environ[RUN], "slurm_job": os.environ.get(_SLURM_JOB)})
        atexit.register(_forget, note, os.getpid())


def recover_from_kill() -> str | None:
    """Clears the lock of a run whose process is dead, and ends the jobs that it left.

    Nothing is touched while a process that may hold the lock lives, or where that cannot be told: a note from another
    machine or container, or no note at all. Then Snakemake's own check decides.

    Returns:
        What was found and done, a sentence; None where there was nothing.
    """
    owners = _owners()
    locks = {lock: lock.stat().st_mtime_ns for lock in sorted(LOCKS.glob("*.lock"))}
    if not locks:
        for note in owners:
            if not _alive(owners[note]):
                note.unlink(missing_ok=True)
        return None
    for owner in owners.values():
        if not _dead(owner):
            return f"This folder is in use by another Snakemake, {_name(owner)}, since {owner['since']}."
    killed = [owner for note, owner in owners.items() if _taken_over(note)]
    if not killed:
        return None
    ended = sum(_end_jobs(owner) for owner in killed) + _cancel_slurm_jobs()
    for lock, written in locks.items():
        if lock.stat().st_mtime_ns == written:
            lock.unlink()
    jobs = {0: "", 1: " and the job that it left was ended"}.get(
        ended, f" and the {ended} jobs that it left were ended"
    )
    name = _name(killed[-1])
    return f"The run before was killed ({name}): its lock was cleared{jobs}; the run goes on where it stopped."


def _forget(note: Path, process: int) -> None:
    if os.getpid() == process:
        note.unlink(missing_ok=True)


def _owners() -> dict[Path, dict]:
    """The notes of this folder, the latest last."""
    found = {}
    for note in OWNERS.glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            found[note] = json.loads(note.read_text(encoding="utf-8"))
    return dict(sorted(found.items(), key=lambda entry: entry[1]["since"]))


def _taken_over(note: Path) -> bool:
    """Whether this process is the one that clears up after a note: of several that start at once, one is."""
    taken = note.with_suffix(f".{os.getpid()}")
    try:
        note.rename(taken)
    except FileNotFoundError:
        return False
    taken.unlink()
    return True


def _name(owner: dict) -> str:
    return f"process {owner['pid']} on {owner['host']}"


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


def _alive(owner: dict) -> bool:
    """Whether a process lives on this machine; of another machine it cannot be told."""
    here = _machine()
    return all(owner[key] == here[key] for key in here) and _started(owner["pid"]) == owner["started"]


def _started(pid: int) -> str | None:
    """When a process began, in ticks since the machine's start; None where there is none, or only its remains."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else fields[18]


def _end_jobs(owner: dict) -> int:
    """Ends this user's processes that belong to a run on this machine, and waits until they are gone.

    Those that SLURM started for the run are left to `_cancel_slurm_jobs`.

    Returns:
        How many there were, without the shells around them.
    """
    found = {pid: started for pid in _processes(owner) if (started := _started(pid))}
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


def _processes(owner: dict) -> list[int]:
    marks = {RUN: owner["run"], _SLURM_JOB: owner["slurm_job"]}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = _environment(folder / "environ")
            if all(environment.get(key) == value for key, value in marks.items()) and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


def _environment(file: Path) -> dict[str, str]:
    entries = (entry.partition("=") for entry in file.read_bytes().decode(errors="replace").split("\0"))
    return {name: value for name, _, value in entries}


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
