"""A working copy of the workflow and the package, in which the real workflow is run."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from mskdex.compute.cache import cache_folder

ROOT = Path(__file__).parents[2]

SMALL = {
    "virtual": {"patients": 8, "voxel_mm": 6.0, "radiograph_pixel_mm": 2.0},
    "ct": {"min_bone_median_hu": 50.0},  # voxels of 6 mm blur thin bone
    "radiograph": {"working_pixel_mm": 2.0},
    "image": {"rows": 64, "columns": 64, "pixel_mm": 6.72},
    "folds": {"train": [0, 2]},
    "evaluation": {"bootstrap_samples": 100},
}


class Running(subprocess.Popen):
    """A process whose output goes to a file: jobs that outlive it hold no pipe open."""

    def __init__(self, *arguments, **options):
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        super().__init__(*arguments, stdout=self.log, stderr=subprocess.STDOUT, **options)

    def communicate(self, *arguments, **options):
        """Waits for the end; what was said stands where stdout does."""
        super().communicate(*arguments, **options)
        self.log.seek(0)
        said = self.log.read()
        self.log.close()
        return said, None


@dataclass
class Project:
    """A working copy of the workflow and the package, with a config of its own."""

    folder: Path

    def configure(self, *path, value):
        """Sets one key of config.yaml."""
        file = self.folder / "config.yaml"
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        section = content
        for key in path[:-1]:
            section = section.setdefault(key, {})
        section[path[-1]] = value
        file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def snakemake(self, *arguments, check=True, **environment):
        """Runs Snakemake in the project; its output is stdout and stderr together."""
        process = self.start(*arguments, **environment)
        output = process.communicate()[0]
        if check and process.returncode:
            raise AssertionError(output)
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    def start(self, *arguments, **environment):
        """Starts Snakemake in the project; `communicate` gives its output, stdout and stderr together."""
        return Running(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=self.folder,
            env=self.environment() | environment,
        )

    def mskdex(self, *arguments):
        """Runs a command of the package in the project."""
        command = [sys.executable, "-m", "mskdex", *map(str, arguments)]
        subprocess.run(command, cwd=self.folder, env=self.environment(), check=True)

    def environment(self):
        """That of a process in the project; kernels are compiled once for all projects without a package."""
        return {**os.environ, "PYTHONPATH": str(self.folder), "MSKDEX_CACHE_DIR": str(cache_folder())}

    def planned(self):
        """The jobs that a dry run plans: {rule: number}, without the target."""
        return _jobs(self.snakemake("--dry-run", "--quiet", "rules").stdout)


def _jobs(output):
    lines = output.splitlines()
    if "Job stats:" not in lines:
        return {}
    table = lines[lines.index("Job stats:") + 3 :]
    counts = {}
    for line in table:
        words = line.split()
        if len(words) != 2 or words[0] == "total":
            break
        counts[words[0]] = int(words[1])
    counts.pop("all", None)
    return counts


_OPTIMISATION = {"epochs": 2, "restart_epochs": 2, "learning_rate": 1e-3, "history_images": 0}
EXPERIMENTS = {
    "mskdex": {
        "losses": {"lambda_gan": 0.0, "lambda_cyc": 0.0},
        "network": {"backbone": "hrnet_tiny", "ndf": 16, "head": "composition"},
        "optimisation": _OPTIMISATION,
    },
    "conventional": {
        "losses": {"gc_beta": 0.0, "lambda_is": 0.0, "lambda_bone": 0.0},
        "network": {"backbone": "hrnet_tiny", "ndf": 16},
        "optimisation": _OPTIMISATION,
    },
}
"""One experiment of each head, without pairs: few tests of the workflow need `simulate`."""


def copy_project(folder, *, package=False):
    """Copies what a clone holds that the workflow needs; the package only if it is edited: a copy compiles anew."""
    for name in ("workflow", "envs", *(["mskdex"] if package else [])):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "profiles").symlink_to("workflow/profiles")
    return Project(folder)


def shrink(project):
    """Makes the default config small enough for a test; the stages stay the same."""
    for section, values in SMALL.items():
        for key, value in values.items():
            project.configure(section, key, value=value)
    project.configure("experiments", value=EXPERIMENTS)
    return project
