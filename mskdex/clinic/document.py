"""A one-page report of one prediction, as an Encapsulated PDF."""

import io
import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd
from highdicom.base import SOPClass
from matplotlib.figure import Figure
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from mskdex import __version__
from mskdex.api.prediction import Prediction
from mskdex.clinic.lean_mass_picture import draw_objects
from mskdex.clinic.object_context import NOTICE, ObjectContext
from mskdex.clinic.overview import reference
from mskdex.evaluation.conformal import COVERAGE
from mskdex.quantities import COLUMNS

_A4_INCH = (8.27, 11.69)
_TITLE = "Hip muscles and bones from a radiograph"
_LINE = 96
_LARGEST_PT = 8.0
_SPACING = 1.25
_TEXT_PT = 420.0
"""Height of the page's upper part."""


class EncapsulatedPdf(SOPClass):
    """An Encapsulated PDF of a radiograph's study."""

    def __init__(self, source: Dataset, content: bytes, title: str, context: ObjectContext):
        super().__init__(
            study_instance_uid=source.StudyInstanceUID,
            sop_class_uid=EncapsulatedPDFStorage,
            modality="DOC",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            specific_character_set=source.SpecificCharacterSet,
            **context.instance("report", 9104),
        )
        self.copy_patient_and_study_information(source)
        self.ConversionType = "WSD"
        self.BurnedInAnnotation = "YES"
        self.AcquisitionDateTime = ""
        self.DocumentTitle = title
        self.ConceptNameCodeSequence: list[Dataset] = []
        self.SourceInstanceSequence = [reference(source)]
        self.MIMETypeOfEncapsulatedDocument = "application/pdf"
        self.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
        self.EncapsulatedDocumentLength = len(content)


def document(
    source: Dataset, prediction: Prediction, context: ObjectContext, warnings: Sequence[str] = ()
) -> EncapsulatedPdf:
    """The one-page report: values, intervals, flags, the model and the picture.

    Args:
        source: of `read_source`.
        prediction: of that radiograph.
        context: who made it, and when.
        warnings: of the radiograph's import.
    """
    return EncapsulatedPdf(source, _page(source, prediction, context, warnings), _TITLE, context)


def _page(source: Dataset, prediction: Prediction, context: ObjectContext, warnings: Sequence[str]) -> bytes:
    figure = Figure(figsize=_A4_INCH)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.25, 1.0))
    above, below = parts
    lines = page_lines(source, prediction, context, warnings)
    size = min(_LARGEST_PT, _TEXT_PT / (_SPACING * len(lines)))  # whatever there is to say finds its place
    style = {"family": "monospace", "fontsize": size, "va": "top", "linespacing": _SPACING, "parse_math": False}
    above.text(0.05, 0.97, "\n".join(lines), **style)
    below.suptitle("Lean mass, one scale for all", fontsize=8)
    draw_objects(below, prediction, fontsize=5)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="pdf", metadata={"Title": _TITLE, "CreationDate": context.created})
    return buffer.getvalue()


def page_lines(source: Dataset, prediction: Prediction, context: ObjectContext, warnings: Sequence[str]) -> list[str]:
    """The page's text, line by line; arguments as of `document`."""
    name = str(source.PatientName).split("=")[0].replace("^", " ").strip()
    head = [
        _TITLE,
        f"Patient: {name}, id {source.PatientID}, born {source.PatientBirthDate}",
        f"Study: {source.StudyDate}, accession {source.AccessionNumber}",
        f"Model: {context.algorithm.identifier}; MSKdeX {__version__}; {context.created:%Y-%m-%d %H:%M}",
    ]
    groups = list(prediction.table.groupby(["object", "side"], sort=False))
    table = [f"{'structure':22}{'side':10}{'volume, cm3':>24}{'lean mass, g':>24}", *(_row(rows) for _, rows in groups)]
    notes = [f"In brackets: {100 * COVERAGE:.0f} % interval; none where the radiograph or the structure is flagged."]
    notes += [f"Flag: {flag}" for flag in prediction.flags]
    notes += [
        f"Flag, {_name(rows)} {rows.iloc[0]['side']}: {flag}"
        for _, rows in groups
        for flag in dict.fromkeys(rows["flag"])
        if flag
    ]
    notes += [*(f"Warning: {warning}" for warning in warnings), NOTICE]
    return [*_wrapped(head), "", *table, "", *_wrapped(notes)]


def _wrapped(sentences: Sequence[str]) -> list[str]:
    return [line for sentence in sentences for line in textwrap.wrap(sentence, _LINE, subsequent_indent="  ")]


def _row(rows: pd.DataFrame) -> str:
    volume, mass = (_value(rows[rows["quantity"] == COLUMNS[q]].iloc[0]) for q in ("volume", "lean_mass"))
    return f"{_name(rows):22}{rows.iloc[0]['side']:10}{volume:>24}{mass:>24}"


def _name(rows: pd.DataFrame) -> str:
    return str(rows.iloc[0]["object"]).replace("_", " ")


def _value(row: pd.Series) -> str:
    bounded = pd.notna(row["low"]) and pd.notna(row["high"])
    interval = f" ({row['low']:.0f} to {row['high']:.0f})" if bounded else ""
    return f"{row['predicted']:.0f}{interval}"
