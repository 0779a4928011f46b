"""Mutations of what names structures: JSON beside a map, header of a 3D Slicer segmentation, masks, DICOM SEG."""

import gzip
import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from fuzzing import dicom_cases
from fuzzing.case import Case
from fuzzing.patients import NAMES, Base, encoded, seg_dataset
from fuzzing.values import flipped, mutated_text, pick
from fuzzing.volume_cases import nifti_field

_BY_NAME = {name: i for i, name in NAMES.items()}
_LETTERS = {re.sub(r"[\W_]", "", name): name for name in _BY_NAME}
"""Names without what stands between their words, which says nothing."""

_JUNK: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    0.5,
    3.0,
    1e308,
    65536,
    10**30,
    "",
    "3",
    "abc",
    [],
    [3],
    [3, 4],
    [[3]],
    {},
    {"id": 3},
    "\u0000",
    "日本",
    "femur_left",
    "femur",
    "background",
)


def names_json(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """The JSON's text, structure, names or ids changed."""
    content = base.files["labels.json"]
    names: dict[str, Any] = json.loads(content)
    how = rng.random()
    if how < 0.15:
        text, _ = flipped(rng, content, 0, len(content))
    elif how < 0.25:
        text = pick(rng, _texts(names)).encode("utf-8", "surrogatepass")
    else:
        text = json.dumps(_changed(rng, names), ensure_ascii=bool(rng.random() < 0.5)).encode("utf-8", "surrogatepass")
    wanted = _ids_by_name(text)
    return Case(base.write(folder, {"labels.json": text}), repr(text[:160])[2:-1], "names", "labels", expected=wanted)


def _texts(names: dict[str, Any]) -> list[str]:
    plain = json.dumps(names)
    return [
        "[" * 100000,
        '{"a":' * 50000,
        plain[:-5],
        plain + plain,
        "\ufeff" + plain,
        plain.replace(":", ": 0"),
        "NaN",
        "null",
        "[]",
        "7",
        '"femur"',
        "{}",
        plain.replace("3", "NaN"),
        plain.replace('"femur_left": 3', '"femur_left": 3, "femur_left": 4'),
        json.dumps({"labels": names}),
        json.dumps({str(i): n for n, i in names.items()}),
        json.dumps([names]),
        json.dumps([{"name": n, "id": i} for n, i in names.items()]),
        plain.replace("3", "3" * 5000),
        "{'femur_left': 3}",
        json.dumps({"labels": {"background": 0} | names}),
        plain + " // comment",
        "\udcff" + plain,
    ]


def _changed(rng: np.random.Generator, names: dict[str, Any]) -> Any:
    found = dict(names)
    for _ in range(pick(rng, (1, 1, 2))):
        name = pick(rng, list(found))
        how = rng.random()
        if how < 0.3:
            found[name] = pick(rng, _JUNK)
        elif how < 0.45:
            other = pick(rng, list(found))
            found[name], found[other] = found[other], found[name]
        elif how < 0.6:
            del found[name]
        elif how < 0.85:
            found[mutated_text(rng, name, tuple(names))] = found.pop(name)
        else:
            found[pick(rng, ("x", "femur", "Femur left", "hip left 2", "", "🦴", "sacrum\n"))] = pick(
                rng, (1, 3, 5, 9, 300)
            )
    return found


def _ids_by_name(text: bytes) -> dict[str, int] | None:
    """Of plain JSON of the phantom's own names and whole ids, the ids; None where it is anything else."""
    pairs: list[tuple[str, Any]] = []

    def keep(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = found
        return dict(found)

    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=keep)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict):
        duplicates = len(pairs) != len(found)
        found = {k: v for k, v in found.items() if not _of_no_voxel(k, v, found)}
        found = {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in found.items()}
        found = {_LETTERS.get(re.sub(r"[\W_]", "", k), k): v for k, v in found.items()}
    plain = isinstance(found, dict) and not duplicates and all(type(v) is int for v in found.values())
    return found if plain and set(found) <= set(_BY_NAME) and len(set(found.values())) == len(found) else None


def _of_no_voxel(name: str, value: Any, names: dict[str, Any]) -> bool:
    """Whether a name of none of the structures is of an id that no voxel has, or spells one again with blanks."""
    if name in _BY_NAME or type(value) is not int:
        return False
    return value not in NAMES or (name.strip() != name and names.get(name.strip()) == value)


def slicer_header(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """A line of a .seg.nrrd that describes a segment changed, left out or doubled."""
    content = base.files["labels.seg.nrrd"]
    head, _, voxels = content.partition(b"\n\n")
    lines = head.decode().split("\n")
    at = pick(rng, [n for n, line in enumerate(lines) if line.startswith("Segment")])
    key, _, value = lines[at].partition(":=")
    how = rng.random()
    if how < 0.6:
        lines[at] = f"{key}:={mutated_text(rng, value, tuple(NAMES.values()) if key.endswith('Name') else ())}"
    elif how < 0.75:
        del lines[at]
    elif how < 0.85:
        lines.insert(at, lines[at])
    elif how < 0.93:
        lines[at] = f"{mutated_text(rng, key)}:={value}"
    else:
        lines[at] = flipped(rng, lines[at].encode(), 0, len(lines[at]))[0].decode("latin-1")
    text = "\n".join(lines).encode()
    case = base.write(folder, {"labels.seg.nrrd": text + b"\n\n" + voxels})
    what = f"{key}:={value} -> {lines[min(at, len(lines) - 1)][:80]!r}" if how < 0.6 else f"{key} {how:.2f}"
    return Case(case, what, "names", "labels", expected=_segments(text))


def _segments(head: bytes) -> dict[str, int] | None:
    """Label values by name, where each segment has both once and in one layer; None else."""
    found: dict[str, dict[str, str]] = {}
    for line in head.decode("utf-8", "replace").split("\n"):
        if line.startswith("Segment"):
            matched = re.fullmatch(r"(Segment\d+)_(\w+):=(.*)", line)
            if not matched or matched[2] in found.setdefault(matched[1], {}):
                return None
            found[matched[1]][matched[2]] = matched[3]
    try:
        plain = all(set(s) >= {"Name", "LabelValue", "ID"} and s.get("Layer") == "0" for s in found.values())
        ids = {s["Name"]: int(s["LabelValue"]) for s in found.values()} if plain else {}
    except ValueError:
        return None
    known = plain and len(ids) == len(found) and set(ids) <= set(_BY_NAME) and len(set(ids.values())) == len(ids)
    return ids if known else None


def mask_folder(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """One mask of a folder changed in its name, header or voxels."""
    name = pick(rng, [n for n in base.files if n.startswith("masks/")])
    how = rng.random()
    if how < 0.4:
        one = nifti_field(rng, Base(base.row | {"ct": name, "labels": name}, base.files), folder)
        row = base.row | {k: str(folder / base.row[k]) for k in ("ct", "labels", "radiograph")}
        claim = {"used": "twice"}.get(one.claim, one.claim)
        return Case(row, f"{name} {one.what}", claim, "labels", contradicts=one.contradicts)
    structure = next(n for n in NAMES.values() if name == f"masks/{n}.nii.gz")
    wanted = dict(_BY_NAME)
    if how < 0.5:
        changed: dict[str, bytes | None] = {name: None}
        wanted.pop(structure)
    elif how < 0.75:
        other = mutated_text(rng, structure, tuple(NAMES.values())).replace("/", "_").replace("\0", "0")[:60]
        changed = {name: None, f"masks/{other}.nii.gz": base.files[name]}
        wanted = {n: i for n, i in wanted.items() if n != structure} | {other: wanted[structure]}
        name += f" called {other!r}"
    else:
        voxels = gzip.decompress(base.files[name])
        value = int(pick(rng, (0, 2, 255)))
        changed = {name: gzip.compress(voxels[:352] + bytes(value if v else 0 for v in voxels[352:]), 1, mtime=0)}
        name += f" of the value {value}"
        if value == 0:
            wanted.pop(structure)
    wanted = {n: i for n, i in wanted.items() if n and not n.startswith(".")}  # files that a folder hides
    known = wanted if set(wanted) <= set(_BY_NAME) and len(wanted) == len(set(wanted.values())) else None
    return Case(base.write(folder, changed), name, "names", "labels", expected=known)


def dicom_seg(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """An element of a DICOM SEG, at any depth, or bytes before its pixels."""
    if rng.random() < 0.25:
        changed, what, claim = dicom_cases.mutated_bytes(rng, base.files["labels.dcm"])
        claim = claim if claim in ("free", "open") else "twice"
        return Case(base.write(folder, {"labels.dcm": changed}), what, claim, "labels")
    dataset = deepcopy(seg_dataset())
    holder, path = _somewhere(rng, dataset, "")
    keyword, change, what = dicom_cases.mutation(
        rng, holder, tuple(e.keyword for e in holder if e.VR != "SQ" and e.keyword != "PixelData")
    )
    change(holder)
    claim = "open" if keyword in ("ReferencedSegmentNumber", "SegmentNumber", "DimensionIndexValues") else "twice"
    claim = (
        "free" if dicom_cases.claim_of(keyword) == "free" and keyword not in _SEG_NAMES and claim == "twice" else claim
    )
    return Case(base.write(folder, {"labels.dcm": encoded(dataset)}), f"{path}{what}", claim, "labels")


_SEG_NAMES = ("SegmentLabel", "SegmentationType", "MaximumFractionalValue", "SegmentationFractionalType")


def _somewhere(rng: np.random.Generator, dataset: pydicom.Dataset, path: str) -> tuple[pydicom.Dataset, str]:
    inner = [e for e in dataset if e.VR == "SQ" and len(e.value)]
    plain = [e for e in dataset if e.VR != "SQ"]
    if inner and (not plain or rng.random() < 0.75):
        element = pick(rng, inner)
        at = int(rng.integers(len(element.value)))
        return _somewhere(rng, element.value[at], f"{path}{element.keyword}[{at}] ")
    return dataset, path
