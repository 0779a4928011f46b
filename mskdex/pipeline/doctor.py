"""What an installation has, and whether MSKdeX can run on it."""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import mskdex

_TOOLS = {
    "snakemake": "runs the workflow",
    "TotalSegmentator": "segments CTs without labels (cohort.segmenter: totalsegmentator)",
    "mm_segment": "MuscleMap, segments CTs without labels (cohort.segmenter: musclemap)",
    "sbatch": "submits jobs to SLURM (profile slurm)",
    "apptainer": "runs the container of envs/mskdex.def",
    "nvidia-smi": "shows the GPU",
}
"""Programs that MSKdeX uses where they are there, and for what."""

_LEAST_FREE_GB = 2.0


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was looked at.
        detail: what was found.
        state: ok, absent (optional), warning, or error (nothing runs without it).
    """

    name: str
    detail: str
    state: str = "ok"

    @property
    def fatal(self) -> bool:
        """Whether MSKdeX cannot run so."""
        return self.state == "error"

    def __str__(self) -> str:
        return f"{self.state:8}{self.name:34}{self.detail}"


def examine(folder: Path | None = None) -> list[Finding]:
    """Looks at versions, device, threads, folders and optional tools.

    Args:
        folder: where results would be written; None is this folder.
    """
    return [
        Finding("mskdex", f"{mskdex.__version__} in {Path(mskdex.__file__).parent}"),
        Finding("python", f"{platform.python_version()} on {platform.platform()}"),
        *_packages(),
        *_compute(),
        _writable("results", folder or Path.cwd()),
        _kernels(),
        *(_tool(name, use) for name, use in _TOOLS.items()),
    ]


def _packages() -> Iterator[Finding]:
    """The packages that pyproject.toml asks for, which `pip check` compares with what it asks of them."""
    for requirement in requires("mskdex") or []:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield Finding(name, f"is not installed: pip install '{requirement}'", "error")


def _compute() -> Iterator[Finding]:
    from mskdex.compute.parallel import threads

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("threads", f"{threads()} of {cores} cores (NUMBA_NUM_THREADS, OMP_NUM_THREADS)")
    try:
        from mskdex.compute.device import choose_device

        device = choose_device("auto")
        if device.type == "cpu":
            yield Finding("device", "cpu; torch sees no GPU")
            return
        import torch

        yield Finding("device", f"{device}: {torch.cuda.get_device_name(device)}")
    except (ImportError, OSError, RuntimeError) as error:  # a torch whose libraries do not load, or a broken driver
        yield Finding("device", f"torch cannot be used ({type(error).__name__}: {error}); install it again", "error")


def _writable(name: str, folder: Path) -> Finding:
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free / 1e9
    except OSError as error:
        return Finding(name, f"{folder} cannot be written to ({error.strerror}); run MSKdeX in another folder", "error")
    if free < _LEAST_FREE_GB:
        return Finding(name, f"{folder} has {free:.1f} GB left; a run needs {_LEAST_FREE_GB:.0f} or more", "warning")
    return Finding(name, f"{folder} can be written to, {free:.0f} GB are free")


def _kernels() -> Finding:
    from mskdex.compute.cache import cache_folder

    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            count = len(list(folder.rglob("*.nbc")))
    except (OSError, RuntimeError) as error:
        return Finding("kernel cache", f"cannot be written to ({error}); every process compiles anew", "warning")
    return Finding("kernel cache", f"{folder}, {count} compiled kernels")


def _tool(name: str, use: str) -> Finding:
    found = shutil.which(name)
    return Finding(name, f"{found}; {use}") if found else Finding(name, f"not found; {use}", "absent")
