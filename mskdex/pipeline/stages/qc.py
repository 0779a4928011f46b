"""Stage `qc`: a patient's picture for quality control."""

from collections.abc import Sequence
from pathlib import Path

from mskdex.config.objects import Channel
from mskdex.imaging.radiograph import read_radiograph
from mskdex.io.artifacts import read_json
from mskdex.io.volume import read_labelled
from mskdex.registration.quality_picture import draw


def qc(ct: Path, labels: Path, radiograph_dir: Path, pose_json: Path, channels: Sequence[Channel], out: Path) -> None:
    """Draws slices of the segmentation, and bone outlines over the radiograph before and after, into `out` (qc.png).

    Raises:
        MskdexError: a file that cannot be read.
    """
    volume, label_map = read_labelled(ct, labels)
    draw(volume, label_map, read_radiograph(radiograph_dir), read_json(pose_json)["bodies"], channels, out)
