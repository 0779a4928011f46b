"""Helpers of the label tests: the phantom's labels under other names and ids, read as the import reads them."""

import json
from pathlib import Path

import hospital as make
import nibabel as nib
import numpy as np

from mskdex.imaging.labels import LabelRequest, read_labels
from mskdex.io.volume import Volume

SETTINGS = make.settings()
CHANNELS = {c.name: c for c in SETTINGS.channels}
WANTED = dict(enumerate(make.CHANNELS, start=1))
IDS = {name: i for i, name in WANTED.items()}


def expected(labels: Volume) -> np.ndarray:
    """The phantom's labels as the import should give them."""
    out = np.zeros_like(labels.array)
    for i, name in WANTED.items():
        out[labels.array == i] = CHANNELS[name].label
    return out


def request(path: Path, source: str = "phantom", keys=None, **more) -> LabelRequest:
    return LabelRequest(path, source, keys or SETTINGS.label_sources.get(source), SETTINGS.channels, **more)


def read(path: Path, source: str = "named", keys=None, **more):
    """Labels of the phantom's CT."""
    return read_labels(request(path, source, keys, **more), make.phantom()[0], SETTINGS.ct)


def present(found) -> set[str]:
    return {name for name, c in CHANNELS.items() if (found.volume.array == c.label).any()}


def as_read(found) -> bool:
    """Whether the labels came in as the phantom has them."""
    return np.array_equal(found.volume.array, expected(make.phantom()[1]))


def nifti(path: Path, array: np.ndarray) -> Path:
    """A label map of any type, scaled to it where it holds other values than `array`'s own type can."""
    affine = make.phantom()[1].world_from_voxel
    image = nib.Nifti1Image(array.transpose(2, 1, 0), affine, dtype=array.dtype)
    image.set_sform(affine, 1)
    nib.save(image, path)
    return path


def names_file(folder: Path, content: object, encoding: str = "utf-8") -> Path:
    """The phantom's label map with a JSON of names beside it."""
    path = make.write(folder / "labels.nii.gz", make.phantom()[1])
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    (folder / "labels.json").write_bytes(text.encode(encoding))
    return path


def mask(folder: Path, name: str, i: int) -> None:
    """One of the phantom's structures as a mask; 0 for an all-zero one."""
    folder.mkdir(exist_ok=True)
    labels = make.phantom()[1]
    array = (labels.array == i).astype(np.uint8) if i else np.zeros_like(labels.array)
    make.write(folder / name, Volume(array, labels.world_from_voxel))
