"""The DICOM radiograph that results belong to: whose it is, and what refers to it."""

import logging
import re
import warnings
from pathlib import Path

from pydicom.config import disable_value_validation
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.uid import UID
from pydicom.valuerep import DA, TM, PersonName

from mskdex.errors import MskdexError
from mskdex.imaging.radiograph_source import only_radiograph
from mskdex.imaging.radiograph_tags import text_of
from mskdex.io.dicom import read_header
from mskdex.io.files import file_kind, reading

log = logging.getLogger("mskdex")

UTF8 = "ISO_IR 192"
_UID = re.compile(r"\d+(\.\d+)+")
"""Old systems write components with leading zeros, which are no fault for a reference."""
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_ALWAYS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""What every object has to have, if only blank (type 2 of the patient and study modules)."""
_PROJECTIONS = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{end}"
    for end in (
        "1",
        "1.1",
        "1.1.1",
        "7",
        "7.1",
        "7.2",
        "7.3",
        "7.4",
        "12.1",
        "12.1.1",
        "12.2",
        "12.2.1",
    )
)
"""SOP classes of CR, DX, XA, RF and secondary capture images."""
_LAST_GROUP = 0x0040
_LEFT_OUT = {tag_for_keyword("SpecificCharacterSet"), tag_for_keyword("Manufacturer")}
_SEXES = ("", "M", "F", "O")


def read_source(path: Path) -> Dataset:
    """What DICOM objects need of the radiograph that they are made from, and nothing else of it.

    Texts come back decoded, and as UTF-8: the objects are written so. Private elements and the maker of the X-ray
    system are left out.

    Args:
        path: a DICOM radiograph, or a folder with exactly one.

    Returns:
        Header without pixels; every type 2 attribute of the patient and study modules is there, blank where the
        radiograph has none, or one that means nothing (a sex other than M, F, O; a date that is none).

    Raises:
        MskdexError: not DICOM, so that there is no study to belong to; a UID is missing or none; or an image of a class
            that DICOM objects cannot refer to.
    """
    file = only_radiograph(path, None) if path.is_dir() else path
    if (kind := file_kind(file)) != "dicom":
        msg = (
            f"{file} is a {kind.upper()} file and belongs to no study, so no DICOM objects are made of it; give the "
            "radiograph as DICOM"
        )
        raise MskdexError(msg)
    with reading(file), disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _readable(read_header(file), file)
        _require_uids(found, file)
        _fill(found, file)
    return found


def _readable(header: Dataset, file: Path) -> Dataset:
    """The standard elements before the pixels, decoded; each by itself, as a broken one must not cost the others."""
    found = Dataset()
    for tag in sorted(header.keys()):
        if tag.is_private or tag.group > _LAST_GROUP or tag in _LEFT_OUT:
            continue
        try:
            found.add(_decoded(header, tag))
        except Exception:
            log.warning("%s: element %s cannot be read and is not copied into the DICOM objects", file, tag)
    found.SpecificCharacterSet = UTF8
    return found


def _decoded(header: Dataset, tag: BaseTag) -> DataElement:
    """An element with its texts decoded, private elements within it left out."""
    alone = Dataset()
    if "SpecificCharacterSet" in header:
        alone.SpecificCharacterSet = header.SpecificCharacterSet
    alone.add(header[tag])
    alone.remove_private_tags()
    alone.decode()
    for name in (element for element in alone.iterall() if element.VR == "PN"):
        several = isinstance(name.value, MultiValue | list)
        names = [PersonName(str(v)) for v in (name.value if several else [name.value or ""])]
        name.value = names if several else names[0]
    return alone[tag]


def _require_uids(dataset: Dataset, file: Path) -> None:
    for keyword in _UIDS:
        value = text_of(dataset, keyword)
        if not (_UID.fullmatch(value) and len(value) <= 64):
            what = "is no UID" if value else "is missing"  # its value is not told: messages stand among the results
            msg = (
                f"{file}: its {keyword} {what}, so nothing can refer to the image and no DICOM objects are made of it; "
                "export it again from the archive"
            )
            raise MskdexError(msg)
        setattr(dataset, keyword, value)
    if dataset.SOPClassUID not in _PROJECTIONS:
        msg = (
            f"{file}: its SOP class {dataset.SOPClassUID} ({UID(dataset.SOPClassUID).name}) is no radiograph's, so no "
            "DICOM objects are made of it; export it as CR, DX, XA, RF or secondary capture image"
        )
        raise MskdexError(msg)


def _fill(dataset: Dataset, file: Path) -> None:
    for keyword in _ALWAYS:
        if keyword not in dataset or dataset[keyword].value is None:
            setattr(dataset, keyword, "")
    for keyword, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM), ("PatientSex", _sex)):
        try:
            kind(dataset[keyword].value)
        except (TypeError, ValueError):
            log.warning("%s: its %s means nothing and is left blank in the DICOM objects", file, keyword)
            setattr(dataset, keyword, "")


def _sex(value: str) -> str:
    if value not in _SEXES:
        raise ValueError(value)
    return value
