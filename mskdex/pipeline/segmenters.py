"""The programs that segment a CT: their command lines, all of one form: a NIfTI in, a label map out.

Sources: README of TotalSegmentator 2 (options `-i`, `-o`, `--ml`, `--task`, `--device`); MuscleMap's documentation of
`mm_segment` and its `--help` (`-i`, `-o` a folder, `-r` wholebody by default, `-g` Y or N; the map is called as the CT
with `_dseg`).
"""

import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mskdex.errors import MskdexError
from mskdex.pipeline.settings import SegmentStage

log = logging.getLogger("mskdex")

_NO_VERSION = "unknown"


@dataclass(frozen=True)
class Segmenter:
    """A program and how it is called.

    Attributes:
        program: its executable's name.
        arguments: from the CT's file and the label map's to the arguments.
        result: from both to the file that it really writes.
        environment: what is set for it besides.
        version: arguments that make it tell its version; none where it has no such option.
        install: how it is installed.
        model: what is recorded of the model that it runs.
    """

    program: str
    arguments: Callable[[Path, Path], list[str]]
    result: Callable[[Path, Path], Path]
    install: str
    environment: Mapping[str, str] = field(default_factory=dict)
    version: tuple[str, ...] = ()
    model: str = ""

    def run(self, ct: Path, labels: Path) -> None:
        """Segments a CT.

        Args:
            ct: NIfTI to read.
            labels: label map to write, .nii.gz.

        Raises:
            MskdexError: it is not installed, fails, or writes no label map.
        """
        command = [self._executable(), *self.arguments(ct, labels)]
        try:
            ran = subprocess.run(
                command,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                env=os.environ | dict(self.environment),
            )
        except OSError as error:
            msg = f"{self.program} cannot be started ({error.strerror}); look at its installation"
            raise MskdexError(msg) from error
        written = self.result(ct, labels)
        if ran.returncode or not written.is_file():
            last = (ran.stderr.strip() or ran.stdout.strip() or "it said nothing").splitlines()[-1]
            why = f"failed with exit code {ran.returncode} ({last})" + ("" if ran.returncode else " and no label map")
            msg = f"{self.program} {why}; try cohort.segmenter_device: cpu, or see the log"
            log.info("%s%s", ran.stdout, ran.stderr)
            raise MskdexError(msg)
        if written != labels:
            written.replace(labels)

    def version_output(self) -> str:
        """The version that the program tells."""
        if not self.version:
            return _NO_VERSION
        ran = subprocess.run(
            [self._executable(), *self.version], capture_output=True, encoding="utf-8", errors="replace", check=False
        )
        return (ran.stdout.strip() or ran.stderr.strip() or _NO_VERSION).splitlines()[-1]

    def _executable(self) -> str:
        if found := shutil.which(self.program):
            return found
        msg = f"{self.program} is not installed: {self.install}, or give labels in the cohort sheet"
        raise MskdexError(msg)


def segmenter(settings: SegmentStage) -> Segmenter:
    """The segmenter of the settings."""
    return {"totalsegmentator": _totalsegmentator, "musclemap": _musclemap}.get(settings.segmenter, _command)(settings)


def _totalsegmentator(settings: SegmentStage) -> Segmenter:
    return Segmenter(
        "TotalSegmentator",
        lambda ct, out: [
            "-i",
            str(ct),
            "-o",
            str(out),
            "--ml",
            "--task",
            "total",
            "--device",
            settings.device,
        ],
        lambda _, out: out,
        _by_conda("totalsegmentator", "`pip install TotalSegmentator` into this environment"),
        version=("--version",),
        model="total",
    )


def _musclemap(settings: SegmentStage) -> Segmenter:
    kind, _, number = settings.device.partition(":")
    return Segmenter(
        "mm_segment",
        lambda ct, out: ["-i", str(ct), "-r", "wholebody", "-o", str(out.parent), "-g", "N" if kind == "cpu" else "Y"],
        lambda ct, out: out.parent / f"{ct.name.removesuffix('.nii.gz')}_dseg.nii.gz",
        _by_conda("musclemap", "install MuscleMap as its documentation says, so that mm_segment is on the path"),
        environment={"CUDA_VISIBLE_DEVICES": number} if number else {},
        model="wholebody",
    )


def _command(settings: SegmentStage) -> Segmenter:
    program, *arguments = settings.command
    return Segmenter(
        program,
        lambda ct, out: [_filled(argument, ct, out) for argument in arguments],
        lambda _, out: out,
        "correct the first entry of cohort.segmenter_command",
        model=" ".join(settings.command),
    )


def _filled(argument: str, ct: Path, out: Path) -> str:
    """An argument with its places filled in; any other braces stay as they are."""
    return argument.replace("{ct}", str(ct)).replace("{out}", str(out))


def _by_conda(name: str, otherwise: str) -> str:
    return (
        f"run the workflow with `snakemake --software-deployment-method conda`, which makes envs/{name}.yaml, or "
        f"{otherwise}"
    )


def mirrored_ids(channel_ids: Mapping[str, Sequence[int]], name: str) -> Sequence[int]:
    """The ids that a channel has in the segmentation of the mirrored CT: those of the other side."""
    other = {"left": "right", "right": "left"}
    stem, _, side = name.rpartition("_")
    return channel_ids.get(f"{stem}_{other[side]}" if side in other else name, ())
