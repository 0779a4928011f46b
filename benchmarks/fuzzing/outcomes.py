"""What came of a mutated patient, and whether it was right."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from fuzzing import contradictions, radiograph_reader, second_reader
from fuzzing.case import Case
from fuzzing.numbers import Numbers, grid_differs
from fuzzing.patients import NAMES, phantom
from fuzzing.radiograph_cases import SHEET

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
_NEPERS = 2e-3


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
    if "MemoryError" in text or " memory" in text or isinstance(error, MemoryError):
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
    differing = differences(found, base, _VOXEL_SHARE)
    if case.claim == "open":
        return ("said" if new else "open" if differing else "same"), f"{differing}; {'; '.join(new)}"
    if case.claim == "names":
        return _by_names(found, base, case, differing, new)
    if case.claim == "sheet":
        return _by_sheet(found, case, differing, new)
    if case.claim == "picture" and not differing:
        return ("said" if new else "same"), "; ".join(new)
    if case.claim in ("used", "raw", "picture"):
        radiograph = case.part == "radiograph"
        wrong = _second_radiograph(found, case) if radiograph else _second_opinion(found, case, channels)
        if new:
            return "said", f"{differing}: {'; '.join(new)}"
        if wrong:
            return "SILENT", f"a second reader: {wrong}; against the valid patient: {differing or 'the same'}"
        against = "" if case.claim == "raw" else contradictions.of(found, base, case, channels)
        if against:
            return "SILENT", f"a second reader agrees, but {against}; against the valid patient: {differing}"
        return ("right" if differing else "same"), differing
    if new:
        return "said", f"{differing}: {'; '.join(new)}"
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
    if new:
        return "said", f"{differing}: {'; '.join(new)}"
    if case.expected is not None and (wanted == found.labels).all() and set(differing.split(", ")) <= _OF_LABELS:
        return ("right" if differing else "same"), differing
    if not differing and case.expected is None:
        return "same", ""
    return "SILENT", f"names say {case.expected}; {differing or 'the labels of the valid patient'}"


_NUMBERS = ("sdd_mm", "pixel_mm", "source_to_isocentre_mm")
_OF_PATIENT = ("age", "height_cm", "weight_kg")


def _second_radiograph(found: Numbers, case: Case) -> str:
    """What another reader of the same radiograph says differently; empty where it agrees."""
    wanted = radiograph_reader.radiograph(Path(case.row["radiograph"]), case.row)
    if wanted is None:
        return "cannot say"
    if wrong := [
        f"{k} {wanted[k]:g}, not {found.camera[k]:g}" for k in _NUMBERS if not _alike(found.camera[k], wanted[k])
    ]:
        return ", ".join(wrong)
    if found.camera["view"] != wanted["view"]:
        return f"view {wanted['view']}, not {found.camera['view']}"
    if wanted["image"].shape != found.image.shape:
        return f"shape {wanted['image'].shape}"
    middle = (np.array(found.image.shape) - 1) / 2
    if np.abs(np.array(found.camera["principal_point_px"]) - middle).max() > 1:
        return f"the central ray in the middle, not at {found.camera['principal_point_px']}"
    inside = (found.field > 0) & np.isfinite(wanted["image"])
    off = radiograph_reader.offset(found.image[inside], wanted["image"][inside], found.camera["radiograph_scale"])
    return f"attenuation by {off:.3g}" if off > 0.05 else ""


def _by_sheet(found: Numbers, case: Case, differing: str, new: list[str]) -> tuple[str, str]:
    """Whether the camera and the patient are what the sheet's cells say, and nothing else changed."""
    if new:
        return "said", f"{differing}: {'; '.join(new)}"
    cells = {k: v.strip() for k, v in case.expected.items()}
    for key in (*_NUMBERS, *_OF_PATIENT):
        said = found.camera[key] if key in _NUMBERS else case.row.get(key)
        try:
            wanted = float(cells[key].replace(",", ".")) if cells[key] else None
        except ValueError:
            return "SILENT", f"{key} {cells[key]!r} was passed over"
        if wanted is not None and not (said is not None and np.isclose(said, wanted)):
            return "SILENT", f"{key} is {said}, the sheet says {wanted:g}"
    if cells["intensity"].lower() != "linear":
        return ("right" if differing else "same"), differing
    numbers = {k: cells[k].replace(",", ".") for k in _NUMBERS if cells[k]}
    wrong = _second_radiograph(
        found, replace(case, row=case.row | SHEET | {k: v for k, v in cells.items() if v} | numbers | _files(case))
    )
    if wrong or set(differing.split(", ")) & {"labels"} or "HU" in differing or "place" in differing:
        return "SILENT", f"{wrong}; {differing}"
    return ("right" if differing else "same"), differing


def _files(case: Case) -> dict[str, str]:
    return {k: case.row[k] for k in ("ct", "labels", "radiograph")}


def differences(one: Numbers, other: Numbers, place: float) -> str:
    """What differs between two imports, in words; empty where nothing does."""
    told = []
    if wrong := grid_differs(one.ct, one.affine, other.ct, other.affine, place):
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


def _second_opinion(found: Numbers, case: Case, channels: dict[str, int]) -> str:
    """What another reader of the same files says differently; empty where it agrees."""
    ct = second_reader.volume(Path(case.row["ct"]))
    if ct is None:
        return "cannot read the CT"
    hu, affine = ct
    if wrong := grid_differs(found.ct, found.affine, hu, affine, _VOXEL_SHARE):
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
