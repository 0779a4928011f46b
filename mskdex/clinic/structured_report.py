"""Volumes and lean masses of one radiograph as a Comprehensive 3D SR (TID 1500, Measurement Report)."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from mskdex import __version__
from mskdex.api.prediction import Prediction
from mskdex.clinic import codes as own
from mskdex.clinic.object_context import MANUFACTURER, NOTICE, ObjectContext, derived_uid
from mskdex.evaluation.conformal import COVERAGE

_WITHIN = sr.RelationshipTypeValues.CONTAINS


def structured_report(
    source: Dataset, prediction: Prediction, context: ObjectContext, warnings: Sequence[str] = ()
) -> sr.Comprehensive3DSR:
    """One measurement group per structure and side: volume (cm³), lean mass (g), their intervals and flags.

    What is flagged has no interval, and the flag stands in its group, or in the report's where it is of the image.

    Args:
        source: of `read_source`.
        prediction: of that radiograph.
        context: who made it, and when.
        warnings: of the radiograph's import.
    """
    groups = [_group(source, rows, context) for _, rows in prediction.table.groupby(["object", "side"], sort=False)]
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_device()),
        procedure_reported=codes.cid100.XRUnspecifiedBodyRegion,
        imaging_measurements=groups,
        title=codes.cid7021.ImagingMeasurementReport,
        referenced_images=[source],
    )
    report[0].ContentSequence.append(_of_the_image(prediction.flags, warnings))
    return sr.Comprehensive3DSR(
        evidence=[source],
        content=report[0],
        is_complete=True,
        coding_schemes=[own.private_scheme()],
        **context.instance("measurements", 9101),
    )


def _device() -> sr.ObserverContext:
    return sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=derived_uid("device"), name="MSKdeX", manufacturer_name=MANUFACTURER, model_name="MSKdeX"
        ),
    )


def _of_the_image(flags: Sequence[str], warnings: Sequence[str]) -> sr.ContainerContentItem:
    container = sr.ContainerContentItem(own.QUALITATIVE_EVALUATIONS, relationship_type=_WITHIN)
    texts = [(own.NOTICE, NOTICE), *((own.FLAG, f) for f in flags), *((own.WARNING, w) for w in warnings)]
    container.ContentSequence = sr.ContentSequence([_text(name, value) for name, value in texts])
    return container


def _group(source: Dataset, rows: pd.DataFrame, context: ObjectContext) -> sr.MeasurementsAndQualitativeEvaluations:
    first = rows.iloc[0]
    name = first["object"] if first["side"] == "midline" else f"{first['object']}_{first['side']}"
    structure = own.structure_code(first["object"])
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(derived_uid(source.StudyInstanceUID, name), name),
        finding_category=codes.SCT.AnatomicalStructure,
        finding_type=structure,
        finding_sites=[sr.FindingSite(structure, laterality=own.side_code(first["side"]))],
        algorithm_id=_algorithm(context),
        measurements=[_measurement(row) for row in rows.to_dict("records")],
        source_images=[sr.SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)],
    )
    content = group[0].ContentSequence
    content.extend(_text(own.INTERVAL, _interval(row)) for row in rows.to_dict("records") if _bounded(row))
    content.extend(_text(own.FLAG, flag) for flag in dict.fromkeys(rows["flag"]) if flag)
    return group


def _algorithm(context: ObjectContext) -> sr.AlgorithmIdentification:
    return sr.AlgorithmIdentification(
        name="MSKdeX",
        version=__version__,
        parameters=[f"model: {context.algorithm.identifier}"],
        family=codes.cid7162.ArtificialIntelligence,
    )


def _measurement(row: dict[Any, Any]) -> sr.Measurement:
    name, unit = own.MEASURED[row["quantity"]]
    value = float(row["predicted"])
    if not _bounded(row):
        return sr.Measurement(name, value, unit)
    properties = sr.MeasurementProperties(
        upper_measurement_uncertainty=float(row["high"]) - value,
        lower_measurement_uncertainty=value - float(row["low"]),
    )
    for uncertainty in properties:  # highdicom calls them numbers without a unit
        uncertainty.MeasuredValueSequence[0].MeasurementUnitsCodeSequence = [unit]
    return sr.Measurement(name, value, unit, properties=properties)


def _bounded(row: dict[Any, Any]) -> bool:
    return bool(pd.notna(row["low"]) and pd.notna(row["high"]))


def _interval(row: dict[Any, Any]) -> str:
    name, unit = own.MEASURED[row["quantity"]]
    return f"{name.meaning}: {row['low']:.1f} to {row['high']:.1f} {unit.value}, {100 * COVERAGE:.0f} % interval"


def _text(name: sr.CodedConcept, value: str) -> sr.TextContentItem:
    return sr.TextContentItem(name, value, relationship_type=_WITHIN)
