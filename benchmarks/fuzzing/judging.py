"""What came of a mutated patient, and whether it was right."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from fuzzing import second_reader
from fuzzing.case import Case
from fuzzing.patients import NAMES, phantom

_CAMERA = (
    "sdd_mm",
    "pixel_mm",
    "shape",
    "principal_point_px",
    "view",
    "source_to_isocentre_mm",
    "isocentre_mm",
    "camera_from_ct",
)
_OF_LABELS = {"", "labels", "isocentre_mm", "camera_from_ct"}
_GRID_NOTE = "on another grid"
_VOXEL_SHARE = 0.12
_HALF_VOXEL = 0.51
_NEPERS = 2e-3


@dataclass(frozen=True)
class Numbers:
    """What an import wrote.

    Attributes:
        ct: HU (z, y, x).
        affine: 4×4 RAS.
        labels: ids (z, y, x).
        image: attenuation.
        field: exposed pixels.
        camera: camera.json.
        warnings: of import.json.
    """

    ct: np.ndarray
    affine: np.ndarray
    labels: np.ndarray
    image: np.ndarray
    field: np.ndarray
    camera: dict[str, Any]
    warnings: tuple[str, ...]


def written(out: Path, told: list[str] | None = None) -> Numbers:
    """Reads an import's files through nibabel."""
    ct = nibabel.load(out / "ct.nii.gz")
    arrays = [np.asarray(ct.dataobj).T] + [
        np.asarray(nibabel.load(out / f"{n}.nii.gz").dataobj).T for n in ("labels", "radiograph", "field")
    ]
    told = json.loads((out / "import.json").read_text())["warnings"] + (told or [])
    return Numbers(arrays[0], ct.affine, *arrays[1:], json.loads((out / "camera.json").read_text()), tuple(told))


def error_outcome(error: BaseException, case: Case) -> tuple[str, str]:
    """Whether an error names the patient and a file of his, in one sentence."""
    text = str(error)
    if "MemoryError" in text or isinstance(error, MemoryError):
        return "MEMORY", text
    named = text.startswith("patient ") or case.part == "sheet"
    files = [str(Path(case.row["ct"]).parent)]
    plain = case.part == "sheet" or ("\n" not in text and text.isprintable())
    if not named or not any(f in text for f in files) or not plain or len(text) > 1500:
        return "UNCLEAR", text
    return "clear error", text


def outcome(found: Numbers, base: Numbers, case: Case, channels: dict[str, int]) -> tuple[str, str]:
    """Whether an import's numbers are right; see `fuzzing.case.Case.claim`."""
    new = [w for w in found.warnings if w not in base.warnings and _GRID_NOTE not in w]
    differing = differences(found, base, _HALF_VOXEL if case.claim == "twice" else _VOXEL_SHARE)
    if case.claim == "open":
        return ("open", "")
    if case.claim == "names":
        return _by_names(found, base, case, differing, new)
    if case.claim == "sheet":
        return _by_sheet(found, case, differing, new)
    if case.claim == "picture" and not differing:
        return ("said" if new else "same"), "; ".join(new)
    if case.claim in ("used", "picture"):
        radiograph = case.part == "radiograph"
        wrong = _second_radiograph(found, case) if radiograph else _second_opinion(found, case, channels)
        if wrong == "":
            return ("right" if differing else "same"), ""
        if new:
            return "said", "; ".join(new)
        return "SILENT", f"a second reader: {wrong}; against the valid patient: {differing or 'the same'}"
    if new:
        return "said", "; ".join(new)
    if differing:
        return "SILENT", differing
    if case.contradicts:
        return "SILENT", "a contradiction that is not said"
    return "same", ""


def _by_names(found: Numbers, base: Numbers, case: Case, differing: str, new: list[str]) -> tuple[str, str]:
    """Labels against what the names say of the phantom's ids, where a plain reading of them is possible."""
    by_id = {i: base.labels[phantom()[1].array == i] for i in NAMES}
    wanted = np.zeros_like(base.labels)
    for name, i in (case.expected or {}).items():
        own = next(k for k, n in NAMES.items() if n == name)
        wanted[phantom()[1].array == i] = by_id[own][0]
    if case.expected is not None and (wanted == found.labels).all() and set(differing.split(", ")) <= _OF_LABELS:
        return ("right" if differing else "same"), ""
    if new:
        return "said", "; ".join(new)
    if not differing and case.expected is None:
        return "same", ""
    return "SILENT", f"names say {case.expected}; {differing or 'the labels of the valid patient'}"


_NUMBERS = ("sdd_mm", "pixel_mm", "source_to_isocentre_mm")


def _second_radiograph(found: Numbers, case: Case) -> str:
    """What another reader of the same radiograph says differently; empty where it agrees."""
    wanted = second_reader.radiograph(Path(case.row["radiograph"]), case.row)
    if wanted is None:
        return "cannot say"
    if wrong := [
        f"{k} {wanted[k]:g}, not {found.camera[k]:g}" for k in _NUMBERS if not _alike(found.camera[k], wanted[k])
    ]:
        return ", ".join(wrong)
    if wanted["image"].shape != found.image.shape:
        return f"shape {wanted['image'].shape}"
    off = found.image - wanted["image"]
    off = np.abs(off - np.median(off))
    return f"attenuation by {np.quantile(off, 0.9):.3g}" if np.quantile(off, 0.9) > 0.02 else ""


def _by_sheet(found: Numbers, case: Case, differing: str, new: list[str]) -> tuple[str, str]:
    """Whether the camera is what the sheet's cells say, and nothing else changed."""
    if new:
        return "said", "; ".join(new)
    cells = case.expected
    for key in _NUMBERS:
        try:
            wanted = float(cells[key]) if cells[key].strip() else None
        except ValueError:
            return "SILENT", f"{key} {cells[key]!r} was passed over"
        if wanted is not None and not np.isclose(found.camera[key], wanted):
            return "SILENT", f"{key} is {found.camera[key]:g}, the sheet says {wanted:g}"
    if (view := cells["view"].strip().upper()) and found.camera["view"] != view:
        return "SILENT", f"view is {found.camera['view']}, the sheet says {view}"
    told = set(differing.split(", ")) - {"", *_NUMBERS, "view", "camera_from_ct"}
    turned = cells["orientation"].strip().upper() not in ("LF", "L\\F", "") or view == "PA"
    if (
        any(not t.startswith("pixel") for t in told)
        and not turned
        and cells["intensity"] == "linear"
        and cells["pixel_mm"] == "0.9"
    ):
        return "SILENT", differing
    return ("right" if differing else "same"), ""


def differences(one: Numbers, other: Numbers, place: float) -> str:
    """What differs between two imports, in words; empty where nothing does."""
    told = []
    if wrong := _grid_differs(one.ct, one.affine, other.ct, other.affine, place):
        told.append(wrong)
    elif one.ct.shape == other.ct.shape and (off := int(np.abs(one.ct.astype(int) - other.ct).max())) > 1:
        told.append(f"HU by up to {off}")
    if one.labels.shape != other.labels.shape or (one.labels != other.labels).any():
        told.append("labels")
    if one.image.shape != other.image.shape:
        told.append(f"radiograph {one.image.shape} instead of {other.image.shape}")
    elif (off := float(np.abs(one.image - other.image).max())) > _NEPERS or not np.isfinite(off):
        told.append(f"attenuation by up to {off:.3g}")
    if one.field.shape != other.field.shape or (one.field != other.field).any():
        told.append("field")
    told += [k for k in _CAMERA if not _alike(one.camera.get(k), other.camera.get(k))]
    return ", ".join(told)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, str) or one is None or other is None:
        return one == other
    return np.shape(one) == np.shape(other) and bool(np.allclose(one, other, rtol=1e-4, atol=2e-1))


def _grid_differs(ct, affine, other_ct, other_affine, place: float) -> str:
    if ct.shape != other_ct.shape:
        return f"shape {ct.shape} instead of {other_ct.shape}"
    ends = np.array(ct.shape[::-1]) - 1
    corners = np.array([[i, j, k, 1] for i in (0, ends[0]) for j in (0, ends[1]) for k in (0, ends[2])])
    size = float(np.linalg.norm(other_affine[:3, :3], axis=0).min())
    off = float(np.linalg.norm(corners @ (affine - other_affine).T, axis=1).max())
    return f"place by up to {off:.3g} mm" if not off <= place * size else ""


def _second_opinion(found: Numbers, case: Case, channels: dict[str, int]) -> str:
    """What another reader of the same files says differently; empty where it agrees."""
    ct = second_reader.volume(Path(case.row["ct"]))
    if ct is None:
        return "cannot read the CT"
    hu, affine = ct
    if wrong := _grid_differs(found.ct, found.affine, hu, affine, _VOXEL_SHARE):
        return wrong
    if (off := np.abs(found.ct - second_reader.hounsfield(hu)).max()) > 1:
        return f"HU by up to {off:.0f}"
    if case.settings.get("ct"):
        return ""
    labels = second_reader.volume(Path(case.row["labels"]))
    wanted = None if labels is None else second_reader.on_grid(labels, found.ct.shape, found.affine, channels)
    if wanted is None:
        return "cannot lay the labels on the CT"
    return "" if (wanted == found.labels).all() else f"labels of {int((wanted != found.labels).sum())} voxels"
