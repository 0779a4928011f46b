"""Codes of structures, sides, quantities and units in DICOM objects."""

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from mskdex.anatomy import Side
from mskdex.quantities import COLUMNS

PRIVATE = "99MSKDEX"
"""Designator of this project's own coding scheme."""

_SNOMED = {
    "gluteus_maximus": ("206007", "Gluteus maximus muscle"),
    "gluteus_medius": ("78333006", "Gluteus medius muscle"),
    "gluteus_minimus": ("75297007", "Gluteus minimus muscle"),
    "iliopsoas": ("68455001", "Iliopsoas muscle"),
    "pelvis": ("118645006", "Bone structure of pelvis"),
    "sacrum": ("54735007", "Sacrum"),
    "femur": ("71341001", "Femur"),
}
"""SNOMED CT by structure.

Sources: DICOM PS3.16 (bones); TotalSegmentator's table of segmented structures (gluteus medius and minimus, iliopsoas);
the AIR body site value set of HL7 New Zealand (gluteus maximus and medius).
"""

_SIDES: dict[Side, Code | None] = {"left": codes.SCT.Left, "right": codes.SCT.Right, "midline": None}

GRAM = CodedConcept("g", "UCUM", "gram")
CUBIC_CENTIMETRE = CodedConcept("cm3", "UCUM", "cubic centimeter")
LEAN_MASS = CodedConcept("lean_mass", PRIVATE, "Lean mass")
FLAG = CodedConcept("flag", PRIVATE, "Flag")
WARNING = CodedConcept("warning", PRIVATE, "Warning of the import")
INTERVAL = CodedConcept("interval", PRIVATE, "Interval")
NOTICE = CodedConcept("notice", PRIVATE, "Notice")
QUALITATIVE_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")

MEASURED = {
    COLUMNS["volume"]: (CodedConcept("118565006", "SCT", "Volume"), CUBIC_CENTIMETRE),
    COLUMNS["lean_mass"]: (LEAN_MASS, GRAM),
}
"""Concept and unit of each quantity, by its column of the tables."""


def structure_code(structure: str) -> CodedConcept:
    """SNOMED CT's code of a structure; one of the project's own scheme where none is known or it is the user's own."""
    if structure in _SNOMED:
        value, meaning = _SNOMED[structure]
        return CodedConcept(value, "SCT", meaning)
    return CodedConcept(structure[:64], PRIVATE, structure.replace("_", " ").capitalize()[:64])


def side_code(side: Side) -> Code | None:
    """SNOMED CT's code of a side; None at the midline."""
    return _SIDES[side]


def private_scheme() -> CodingSchemeIdentificationItem:
    """What declares the project's own coding scheme in an object that uses it."""
    return CodingSchemeIdentificationItem(
        PRIVATE, name="Codes of MSKdeX", responsible_organization="MSKdeX, research software"
    )
