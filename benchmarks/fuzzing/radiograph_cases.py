"""Mutations of radiographs: elements of CR, DX and XA images, bytes of PNG and TIFF files, cells of the sheet."""

from copy import deepcopy
from pathlib import Path

import numpy as np
from pydicom.datadict import tag_for_keyword

from fuzzing import dicom_cases
from fuzzing.case import Case
from fuzzing.patients import Base, encoded, radiograph
from fuzzing.values import flipped, mutated_text, pick

USED = (
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "EstimatedRadiographicMagnificationFactor",
    "ImagerPixelSpacing",
    "PixelSpacing",
    "ViewPosition",
    "PatientOrientation",
    "ImageLaterality",
    "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
    "PhotometricInterpretation",
    "RescaleSlope",
    "RescaleIntercept",
    "Rows",
    "Columns",
    "PresentationIntentType",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "PixelRepresentation",
    "BitsStored",
    "HighBit",
    "CollimatorShape",
    "Modality",
)
"""Each may change the result; `second_reader.radiograph` says how."""

_ADDED = {
    "EstimatedRadiographicMagnificationFactor": ("DS", "1.2"),
    "PixelSpacing": ("DS", "0.8\\0.8"),
    "ImageLaterality": ("CS", "L"),
    "RescaleSlope": ("DS", "1"),
    "RescaleIntercept": ("DS", "0"),
    "RescaleType": ("LO", "US"),
    "PixelPaddingValue": ("US", "0"),
    "PixelPaddingRangeLimit": ("US", "5"),
    "CollimatorShape": ("CS", "RECTANGULAR"),
    "ShutterShape": ("CS", "RECTANGULAR"),
    "WindowCenter": ("DS", "2000"),
    "WindowWidth": ("DS", "4000"),
    "PresentationLUTShape": ("CS", "INVERSE"),
    "BodyPartExamined": ("CS", "PELVIS"),
    "PositionerPrimaryAngle": ("DS", "0"),
    "PositionerSecondaryAngle": ("DS", "0"),
    "BurnedInAnnotation": ("CS", "NO"),
    "FieldOfViewOrigin": ("DS", "0\\0"),
    "FieldOfViewRotation": ("DS", "0"),
    "FieldOfViewHorizontalFlip": ("CS", "NO"),
    "DetectorActiveDimensions": ("DS", "43\\54"),
    "PixelSpacingCalibrationType": ("CS", "GEOMETRY"),
    "NumberOfFrames": ("IS", "1"),
    "KVP": ("DS", "80"),
    "ImageType": ("CS", "ORIGINAL\\PRIMARY"),
    "Laterality": ("CS", "R"),
    "Grid": ("CS", "FIXED"),
    "Exposure": ("IS", "10"),
    "SmallestImagePixelValue": ("US", "0"),
    "SeriesDescription": ("LO", "AP pelvis"),
    "PixelAspectRatio": ("IS", "1\\1"),
    "CollimatorLeftVerticalEdge": ("IS", "5"),
}
_SAID = (
    "ShutterShape",
    "FieldOfViewOrigin",
    "FieldOfViewRotation",
    "FieldOfViewHorizontalFlip",
    "DetectorActiveDimensions",
    "PixelSpacingCalibrationType",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PixelAspectRatio",
    "RescaleType",
    "PositionerPrimaryAngle",
    "PositionerSecondaryAngle",
)
_OWN = (*USED, "BitsAllocated", "SamplesPerPixel", "PatientName", "PatientID", "InstitutionName", "StudyInstanceUID")
_PLAIN = {"radiograph": {"working_pixel_mm": None}}


def dicom(rng: np.random.Generator, base: Base, folder: Path, modality: str) -> Case:
    """One element changed, or bytes before the pixels flipped."""
    if rng.random() < 0.2:
        changed, what, _ = dicom_cases.mutated_bytes(rng, base.files["radiograph.dcm"])
        keywords = dicom_cases.differing(base.files["radiograph.dcm"], changed)
        claims = {_claim(k) for k in keywords}
        claim = next((c for c in ("open", "used", "twice") if c in claims), "free")
        return Case(base.write(folder, {"radiograph.dcm": changed}), what, claim, "radiograph", _PLAIN)
    dataset = deepcopy(radiograph(modality))
    keyword = pick(rng, _OWN if rng.random() < 0.6 else tuple(_ADDED))
    if keyword not in dataset:
        vr, text = _ADDED.get(keyword, ("LO", "1"))
        dataset.add_new(tag_for_keyword(keyword), vr, int(text) if vr == "US" else text)
    if rng.random() < 0.85:
        _, change, what = dicom_cases.mutation(rng, dataset, (keyword,))
        change(dataset)
    else:
        what = f"with {keyword} {dataset[keyword].value}"
    row = base.write(folder, {"radiograph.dcm": encoded(dataset)})
    return Case(row, what, _claim(keyword), "radiograph", _PLAIN)


def pixel_bits(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """Bits of uncompressed pixels, which have no checksum: they are read as they stand."""
    content = base.files["radiograph.dcm"]
    found, places = flipped(rng, content, dicom_cases.pixels_at(content), len(content))
    what = f"bits at {places} of {len(content)}"
    return Case(base.write(folder, {"radiograph.dcm": found}), what, "raw", "radiograph", _PLAIN)


def _claim(keyword: str) -> str:
    if keyword in ("unreadable", "PixelData", "TransferSyntaxUID", "BitsAllocated") or keyword.endswith("Sequence"):
        return "open"
    if keyword in USED or keyword.startswith("Collimator"):
        return "used"
    return "twice" if keyword in _SAID else "free"


def picture(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """Bits of a PNG or JPEG anywhere, or of what describes a TIFF; only a PNG's chunks have checksums."""
    name = base.row["radiograph"]
    content = base.files[name]
    if rng.random() < 0.1:
        at = int(rng.integers(len(content)))
        return Case(
            base.write(folder, {name: content[:at]}), f"cut at {at} of {len(content)}", "picture", "radiograph", _PLAIN
        )
    low, high = _tiff_tags(content) if name.endswith("tif") else (0, len(content))
    found, places = flipped(rng, content, low, high)
    what = f"bits at {places} of {len(content)}"
    return Case(base.write(folder, {name: found}), what, "picture", "radiograph", _PLAIN)


def _tiff_tags(content: bytes) -> tuple[int, int]:
    """Where the directory of a little-endian TIFF begins and ends."""
    at = int.from_bytes(content[4:8], "little")
    return at, at + 2 + 12 * int.from_bytes(content[at : at + 2], "little") + 4


SHEET = {
    "patient_id": "P01",
    "ct": "ct.nii.gz",
    "labels": "labels.nii.gz",
    "label_source": "phantom",
    "radiograph": "radiograph.png",
    "sdd_mm": "1100",
    "source_to_isocentre_mm": "950",
    "pixel_mm": "0.9",
    "view": "AP",
    "orientation": "LF",
    "intensity": "linear",
    "grey_increases_with": "exposure",
    "sex": "F",
    "age": "71",
    "height_cm": "160",
    "weight_kg": "60",
    "exclude": "",
    "exclude_reason": "",
}


def sheet_cell(rng: np.random.Generator, base: Base, folder: Path) -> Case:
    """A cell, a header, or bytes of the sheet changed."""
    row = base.write(folder, {})
    cells, names = dict(SHEET), list(SHEET)
    column = pick(rng, names)
    how = rng.random()
    others = {
        "view": ("PA", "pa", "LAT"),
        "orientation": ("RF", "LH", "RH", "FL"),
        "intensity": ("log", "processed"),
        "grey_increases_with": ("attenuation",),
        "exclude": ("yes", "no", "maybe"),
    }.get(column, ())
    if how < 0.75:
        cells[column] = mutated_text(rng, cells[column], others)
        what = f"{column} {SHEET[column]!r} -> {cells[column][:60]!r}"
    else:
        names[names.index(column)] = mutated_text(rng, column) if how < 0.9 else pick(rng, names)
        what = f"header {column} -> {names[list(SHEET).index(column)][:60]!r}"
    content = "\n".join("\t".join(v) for v in (names, cells.values())).encode("utf-8", "replace")
    if how > 0.97:
        content, places = flipped(rng, content, 0, len(content))
        what = f"bits at {places}"
    (folder / "cohort.tsv").write_bytes(content)
    claim = "open" if how > 0.97 or "\t" in cells[column] or "\n" in cells[column] else "sheet"
    wanted = cells if how < 0.75 else SHEET | ({column: ""} if column not in names else {})
    return Case(row | {"sheet": str(folder / "cohort.tsv")}, what, claim, "sheet", _PLAIN, expected=wanted)
