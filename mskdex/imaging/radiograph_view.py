"""What a DICOM radiograph's tags say of view, side and body part: AP or PA of the hip, or something else."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from mskdex.imaging.radiograph_tags import code_items, tag_numbers, text_of, texts_of
from mskdex.io.files import quote

_AP_PA_CODES = {"399348003": "AP", "R-10206": "AP", "272479007": "PA", "R-10214": "PA"}
"""DICOM PS3.16 CID 4010 (DX View), SNOMED CT and SRT."""

_SILENT = frozenset("UNKNOWN UNDEFINED UNSPECIFIED OTHER NONE NULL NA VIEW PROJECTION DEFAULT".split())  # noqa: SIM905
_NEUTRAL = _SILENT | frozenset(
    "PELVIS PELVIC HIP HIPS JOINT JOINTS BOTH BILATERAL BILAT STANDING ERECT UPRIGHT SUPINE LYING WEIGHT BEARING WB "  # noqa: SIM905
    "NON L R LEFT RIGHT LT RT B CENTERED CENTRED LOW DEEP OVERVIEW FRONTAL FACE TABLE BUCKY GRID BECKEN HUEFTE BASSIN "
    "UEBERSICHT OF THE IN WITH".split()
)
"""Words beside AP and PA that name no other view."""

_OTHER_VIEWS = re.compile(
    r"\b(LATERAL|LAT|LATERALE|SEITLICH|PROFIL|AXIAL|AXIALE|AXIOLATERAL|LAUENSTEIN|FROG\w*|CLEAVES|OBLIQUE|OBL|"
    r"SCHRAEG\w*|JUDET|INLET|OUTLET|DUNN|RAO|LAO|RPO|LPO|CROSS ?TABLE|TANGENTIAL|DANELIUS|LEQUESNE|FERGUSON|"
    r"STITCH\w*|LONG ?LEG\w*|FULL ?LEG|GANZBEIN\w*|SCANOGRAM)\b"
)
_HIP = re.compile(r"HIP|PELVI|COXA|ACETAB|SACR|BECKEN|HUEFT|HUFT|BASSIN|HANCHE|\bANCA|BACINO|CADERA|BEKKEN|HEUP")
_NEAR_THE_HIP = re.compile(r"FEMUR|FEMOR|THIGH|UPPER ?LEG|OBERSCHENKEL")
_ELSEWHERE = re.compile(
    r"CHEST|THORA|LUNG|HEART|\bRIBS?\b|STERN|BREAST|MAMM|SKULL|HEAD|BRAIN|SINUS|NASAL|ORBIT|JAW|MANDIB|MAXILL|TEETH|"
    r"DENT|NECK|CERVI|C ?SPINE|T ?SPINE|KNEE|PATELLA|KNIE|GENOU|TIBIA|FIBULA|LOWER ?LEG|CALF|ANKLE|FOOT|FEET|FUSS|TOE|"
    r"CALCAN|HEEL|HAND|FINGER|THUMB|WRIST|CARP|FOREARM|RADIUS|ULNA|ELBOW|HUMER|UPPER ?ARM|SHOULDER|SCHULTER|CLAVIC|"
    r"SCAPULA"
)
_AXES = {"L": "side", "R": "side", "A": "depth", "P": "depth", "H": "length", "F": "length"}
_MOST_TILT_DEG, _LEAST_TILT_DEG = 15.0, 1.0
"""Inlet, outlet and Judet views tilt by 25° to 45°; a frontal radiograph by some degrees at most."""


@dataclass
class ViewTags:
    """What the tags say.

    Attributes:
        view: AP or PA, None where the tags are silent.
        orientation: where rows and columns point to, e.g. LF; None where they are silent.
        laterality: L or R where one side is shown, else None.
        where: which tag each came from.
        problems: why this is not an AP or PA radiograph of the hip; empty if nothing speaks against it.
        warnings: what a human should know.
    """

    view: str | None = None
    orientation: str | None = None
    laterality: str | None = None
    where: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def view_tags(header: Dataset) -> ViewTags:
    """Reads view, orientation, side, body part, stitching and tilt."""
    found = ViewTags()
    _view(header, found)
    _patient_orientation(header, found)
    _side(header, found)
    _body_part(header, found)
    _stitched_or_scanned(header, found)
    _tilt(header, found)
    return found


def _plain(text: str) -> str:
    """Upper case without accents and punctuation, AP and PA written alike."""
    text = text.upper().replace("Ä", "AE").replace("Ö", "OE").replace("Ü", "UE").replace("ß", "SS")
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = re.sub(r"ANTERO[\s_-]*POSTERIOR", " AP ", text)
    text = re.sub(r"POSTERO[\s_-]*ANTERIOR", " PA ", text)
    text = re.sub(r"(?<![A-Z])([AP])[./\s-]+([AP])(?![A-Z])\.?", r" \1\2 ", text)
    return " ".join(re.sub(r"[\W_\d]+", " ", text).split())


def _stated_view(text: str) -> tuple[str | None, bool]:
    """AP, PA or None; and whether the text names anything else."""
    words = set(_plain(text).split())
    named = words & {"AP", "PA"}
    other = bool(words - named - _NEUTRAL) or len(named) > 1
    return (next(iter(named)) if len(named) == 1 and not other else None), other


def _view(header: Dataset, tags: ViewTags) -> None:
    notes: list[tuple[str, str, str | None, bool]] = []
    if position := " ".join(texts_of(header, "ViewPosition")):
        said = f"tag ViewPosition {quote(position, 60)!r}"
        notes.append((said, "tag ViewPosition", *_stated_view(position)))
        if set(_plain(position).split()) <= _SILENT:
            tags.warnings.append(f"{said} names no view; passed over")
    for code, meaning, item in code_items(header, "ViewCodeSequence"):
        stated = (_AP_PA_CODES[code], False) if code in _AP_PA_CODES else _stated_view(meaning or code)
        notes.append((f"tag ViewCodeSequence {quote(meaning or code, 60)!r}", "tag ViewCodeSequence", *stated))
        for _, modifier, _ in code_items(item, "ViewModifierCodeSequence"):
            if _OTHER_VIEWS.search(_plain(modifier)) or _plain(modifier) in {"CAUDAD", "CEPHALAD"}:
                tags.problems.append(f"tag ViewModifierCodeSequence {quote(modifier, 60)!r}")
    for what, tag, view, other in notes:
        if other:
            tags.problems.append(what)
        elif view and tags.view not in {None, view}:
            tags.problems.append(f"{tags.where['view']} says {tags.view}, {tag} {view}")
        elif view and tags.view is None:
            tags.view, tags.where["view"] = view, tag
    for code, meaning, _ in code_items(header, "ProjectionEponymousNameCodeSequence"):
        tags.problems.append(f"tag ProjectionEponymousNameCodeSequence {quote(meaning or code, 60)!r}")
    _descriptions(header, tags)


def _descriptions(header: Dataset, tags: ViewTags) -> None:
    """Free text is a hint: it counts where no tag names the view, and warns where one does."""
    for keyword in ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription"):
        text = _plain(text_of(header, keyword))
        match = _OTHER_VIEWS.search(text)
        if match and not {"AP", "PA"} & set(text.split()):
            detail = f"tag {keyword} speaks of {match.group(0)!r}"
            (tags.warnings if tags.view else tags.problems).append(detail)


def _patient_orientation(header: Dataset, tags: ViewTags) -> None:
    towards = [v.upper() for v in texts_of(header, "PatientOrientation")]
    if not towards:
        return
    detail = "tag PatientOrientation " + "\\".join(towards)
    axes = [
        {"L": "side", "R": "side", "A": "depth", "P": "depth", "H": "length", "F": "length"}.get(t[0]) for t in towards
    ]
    if len(towards) != 2 or None in axes or axes[0] == axes[1]:
        tags.warnings.append(f"{detail} is no pair of directions; it is passed over")
    elif "depth" in axes or any(c in "AP" for t in towards for c in t[1:]):
        tags.problems.append(f"{detail}, which is lateral, axial or oblique")
    else:
        tags.orientation, tags.where["orientation"] = towards[0][0] + towards[1][0], "tag PatientOrientation"
        if any(len(t) > 1 for t in towards):
            tags.warnings.append(f"{detail}: the image is turned in its plane; its main directions are taken")


def _side(header: Dataset, tags: ViewTags) -> None:
    image, series = (text_of(header, k).upper() for k in ("ImageLaterality", "Laterality"))
    if image in {"L", "R"} and series in {"L", "R"} and image != series:
        tags.warnings.append(f"tag ImageLaterality says {image}, Laterality {series}; the former is taken")
    for side, tag in ((image, "ImageLaterality"), (series, "Laterality")):
        if side in {"L", "R"}:
            tags.laterality, tags.where["laterality"] = side, f"tag {tag}"
            tags.warnings.append(
                f"tag {tag} is {side}: a radiograph of one side, whose bones the nominal pose is centred on"
            )
        if side:
            return


def _body_part(header: Dataset, tags: ViewTags) -> None:
    notes = [("BodyPartExamined", " ".join(texts_of(header, "BodyPartExamined")))]
    notes += [("AnatomicRegionSequence", m or c) for c, m, _ in code_items(header, "AnatomicRegionSequence")]
    for keyword, text in notes:
        plain = _plain(text)
        if not plain or set(plain.split()) <= _SILENT or _HIP.search(plain):
            continue
        if _ELSEWHERE.search(plain) and not _NEAR_THE_HIP.search(plain):
            tags.problems.append(f"tag {keyword} {quote(text, 60)!r}")
        else:
            tags.warnings.append(f"tag {keyword} is {quote(text, 60)!r}, not hip or pelvis; look at the image")


def _stitched_or_scanned(header: Dataset, tags: ViewTags) -> None:
    meanings = (m for _, m, _ in code_items(header, "DerivationCodeSequence"))
    texts: Iterable[str] = [*texts_of(header, "ImageType"), *meanings, text_of(header, "DerivationDescription")]
    stitched = re.compile(r"STITCH|COMPOSED|COMPOSITE|MOSAIC|PASTED|LONG ?LEG|FULL ?LEG|FULL ?SPINE")
    word = stitched.search(" ".join(_plain(text) for text in texts))
    if word:
        tags.problems.append(f"{word.group(0)!r} in ImageType or derivation: several exposures put together")
    maker = " ".join(text_of(header, k) for k in ("Manufacturer", "ManufacturerModelName"))
    scan = " ".join(text_of(header, k) for k in ("DetectorDescription", "DetectorConfiguration", "ScanOptions"))
    if re.search(r"\bEOS\b|BIOSPACE", _plain(maker)) or re.search(r"\bSLOT\b|\bSLIT\b", _plain(scan)):
        tags.problems.append("a slot scanner's image, whose rays are parallel along the patient")


def _tilt(header: Dataset, tags: ViewTags) -> None:
    for keyword in ("PositionerPrimaryAngle", "PositionerSecondaryAngle", "ColumnAngulation"):
        angle = tag_numbers(header, keyword, 1).first
        if angle is not None and abs(angle) > _MOST_TILT_DEG:
            tags.problems.append(f"tag {keyword} {angle:g} degrees: an oblique or tilted view")
        elif angle is not None and abs(angle) > _LEAST_TILT_DEG:
            tags.warnings.append(
                f"{keyword} is {angle:g} degrees; the nominal pose leaves it out, registration must find it"
            )
