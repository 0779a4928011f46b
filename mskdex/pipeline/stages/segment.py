"""Stage `segment`: labels from TotalSegmentator for a CT that has none, in an environment of its own."""

import logging
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mskdex.cohort.sheet import SEGMENTED_SOURCE
from mskdex.config.imaging import CtSettings
from mskdex.errors import MskdexError
from mskdex.imaging.ct import read_ct
from mskdex.io.artifacts import atomic_path, manifest, write_plain_json
from mskdex.io.volume import write_volume
from mskdex.io.volume_files import read_volume_file
from mskdex.io.volume_grid import grid_difference, to_ras

log = logging.getLogger("mskdex")
PROGRAM = "TotalSegmentator"


def segment(row: Mapping[str, Any], settings: CtSettings, device: str, out: Path) -> None:
    """Segments a patient's CT and writes the label map, with `{out's name}.json` of versions beside it.

    The CT goes to the program as the NIfTI that the import would make of it, so that every format the import reads
    can be segmented and the labels lie on the CT's grid.

    Args:
        row: the patient's row of the sheet: patient_id, ct and, where the sheet has it, ct_series.
        settings: the config's ct section.
        device: cpu, mps, gpu or gpu:i.
        out: label map, .nii.gz.

    Raises:
        MskdexError: the program is not installed, fails, or gives labels on another grid.
    """
    started = time.time()
    patient, program = row.get("patient_id", "?"), _program()
    root = Path(row["data_root"]) if row.get("data_root") else None
    try:
        ct = read_ct(Path(row["ct"]), settings, row.get("ct_series"), root).volume
    except MskdexError as error:
        msg = f"patient {patient}: {error}"
        raise MskdexError(msg) from error
    with tempfile.TemporaryDirectory() as folder:
        image, labels = Path(folder, "ct.nii.gz"), Path(folder, "labels.nii.gz")
        write_volume(image, ct)
        _run([program, "-i", str(image), "-o", str(labels), "--ml", "--task", "total", "--device", device], patient)
        found, _ = read_volume_file(labels, "labels", settings.max_megavoxels)
        if (difference := grid_difference(to_ras(found), ct)) is not None:
            msg = f"patient {patient}: {PROGRAM} gave labels on another grid ({difference}); install another version"
            raise MskdexError(msg)
        with atomic_path(out) as temporary:
            shutil.copyfile(labels, temporary)
    facts = {"device": device, "program": _version(program), "task": "total", "label_source": SEGMENTED_SOURCE}
    write_plain_json(
        out.with_name(out.name.removesuffix(".nii.gz") + ".segment.json"), manifest("segment", started, **facts)
    )


def _program() -> str:
    found = shutil.which(PROGRAM)
    if found is None:
        msg = (
            f"{PROGRAM} is not installed: run the workflow with `snakemake --software-deployment-method conda`, which "
            f"makes envs/totalsegmentator.yaml, or `pip install TotalSegmentator` into this environment, or give "
            f"labels in the cohort sheet"
        )
        raise MskdexError(msg)
    return found


def _run(command: Sequence[str], patient: str) -> None:
    log.info("patient %s: %s", patient, " ".join(command[5:]))
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if result.returncode or not Path(command[4]).is_file():
        last = (result.stderr.strip() or result.stdout.strip() or "it said nothing").splitlines()[-1]
        log.info("%s%s", result.stdout, result.stderr)
        advice = "try cohort.segment_device: cpu, or see the log"
        msg = f"patient {patient}: {PROGRAM} failed with exit code {result.returncode} ({last}); {advice}"
        raise MskdexError(msg)


def _version(program: str) -> str:
    result = subprocess.run([program, "--version"], capture_output=True, encoding="utf-8", check=False)
    return (result.stdout.strip() or result.stderr.strip() or "unknown").splitlines()[-1]
