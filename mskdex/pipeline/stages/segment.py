"""Stage `segment`: labels for a CT that has none, from a program in an environment of its own."""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.errors import MskdexError
from mskdex.imaging.ct import read_ct
from mskdex.imaging.label_names import names_beside
from mskdex.io.artifacts import atomic_path, manifest, write_plain_json
from mskdex.io.volume import Volume, write_volume
from mskdex.io.volume_files import read_volume_file
from mskdex.io.volume_grid import grid_difference, to_ras
from mskdex.pipeline.segmenters import Segmenter, mirrored_ids, segmenter
from mskdex.pipeline.settings import SegmentStage

log = logging.getLogger("mskdex")


def segment(row: Mapping[str, Any], settings: SegmentStage, out: Path) -> None:
    """Segments a patient's CT and writes the label map.

    Beside it stand `{out's name}.segment.json` of versions and, with flips, of `flip_dice` by channel; and, where the
    program is the user's own, `{out's name}.json` of the map's names.

    The CT goes to the program as the NIfTI that the import would make of it, so that every format the import reads
    can be segmented and the labels lie on the CT's grid.

    Args:
        row: the patient's row of the sheet: patient_id, ct and, where the sheet has it, ct_series.
        settings: the program, its device, and the config's ct section.
        out: label map, .nii.gz.

    Raises:
        MskdexError: the program is not installed, fails, or gives labels on another grid.
    """
    started, patient, program = time.time(), row.get("patient_id", "?"), segmenter(settings)
    root = Path(row["data_root"]) if row.get("data_root") else None
    facts: dict[str, Any] = {"segmenter": settings.segmenter, "device": settings.device, "model": program.model}
    try:
        ct = read_ct(Path(row["ct"]), settings.ct, row.get("ct_series"), root).volume
        with tempfile.TemporaryDirectory() as folder:
            found = _labels(program, ct, Path(folder, "as_it_is"), settings)
            if settings.flips:
                facts["flip_dice"] = _flip_dice(found, program, ct, Path(folder, "mirrored"), settings)
            with atomic_path(out) as temporary:
                shutil.copyfile(Path(folder, "as_it_is", "labels.nii.gz"), temporary)
        facts["program"] = program.version_output()
    except MskdexError as error:
        msg = f"patient {patient}: {error}"
        raise MskdexError(msg) from error
    _write_names(out, settings)
    beside = out.with_name(out.name.removesuffix(".nii.gz") + ".segment.json")
    write_plain_json(beside, manifest("segment", started, **facts))


def _labels(program: Segmenter, ct: Volume, folder: Path, settings: SegmentStage) -> np.ndarray:
    """The label map on the CT's grid, whose file is `folder`/labels.nii.gz."""
    folder.mkdir()
    image, labels = folder / "ct.nii.gz", folder / "labels.nii.gz"
    write_volume(image, ct)
    log.info("%s %s", program.program, " ".join(program.arguments(image, labels)))
    program.run(image, labels)
    found = to_ras(read_volume_file(labels, "labels", settings.ct.max_megavoxels)[0])
    if (difference := grid_difference(found, ct)) is not None:
        msg = f"{program.program} gave labels on another grid ({difference}); install another version"
        raise MskdexError(msg)
    return found.array


def _flip_dice(
    labels: np.ndarray, program: Segmenter, ct: Volume, folder: Path, settings: SegmentStage
) -> dict[str, float]:
    """Dice coefficient of each channel's segmentation with that of the left-right mirrored CT, mirrored back.

    In the mirrored CT a left muscle is a right one. A channel that neither of both has is left out.
    """
    mirrored = Volume(np.ascontiguousarray(ct.array[..., ::-1]), ct.world_from_voxel)
    back = _labels(program, mirrored, folder, settings)[..., ::-1]
    result = {}
    for name, ids in settings.channel_ids.items():
        one, other = np.isin(labels, ids), np.isin(back, list(mirrored_ids(settings.channel_ids, name)))
        if total := int(one.sum()) + int(other.sum()):
            result[name] = round(2 * int((one & other).sum()) / total, 4)
    return result


def _write_names(out: Path, settings: SegmentStage) -> None:
    """The JSON of names that the import reads the map by; none where the segmenter's ids are known."""
    path = names_beside(out)
    if not settings.names:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary:
        content = {name: list(ids) if len(ids) != 1 else ids[0] for name, ids in settings.names.items()}
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
