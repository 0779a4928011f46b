import dataclasses
from datetime import datetime

import highdicom
import pydicom
import pytest

from mskdex.clinic.codes import FLAG, INTERVAL, LEAN_MASS, NOTICE, PRIVATE, WARNING, structure_code
from mskdex.clinic.dicom_objects import dicom_objects, write_objects
from mskdex.clinic.source import read_source

pytestmark = pytest.mark.usefixtures("_undrawn")

SIDES = {"left": "7771000", "right": "24028007"}
WHEN = datetime(2026, 1, 2, 3, 4, 5)


def report_of(radiograph, imported, prediction, algorithm, created=WHEN):
    objects = dicom_objects(read_source(radiograph), imported, prediction, algorithm, created)
    return next(o for o in objects if o.Modality == "SR")


def groups_of(report):
    found = highdicom.sr.Comprehensive3DSR.from_dataset(report).content
    return found.get_image_measurement_groups()


def texts(items, name):
    return [i.TextValue for i in items if i.ValueType == "TEXT" and i.ConceptNameCodeSequence[0] == name]


def test_every_structure_and_side_has_a_group_with_volume_mass_and_interval(
    radiograph, imported, prediction, algorithm, tmp_path
):
    (path,) = write_objects([report_of(radiograph, imported, prediction, algorithm)], tmp_path, "r")
    groups = groups_of(pydicom.dcmread(path))
    assert [g.tracking_identifier for g in groups] == [c.name for c in prediction.channels]
    assert len({g.tracking_uid for g in groups}) == len(groups)
    for group, channel in zip(groups, prediction.channels, strict=True):
        assert group.finding_type == group.finding_sites[0].value == structure_code(channel.object)
        laterality = group.finding_sites[0].laterality
        assert (laterality.value if laterality else None) == SIDES.get(channel.side)
        volume, mass = group.get_measurements()
        assert (volume.name.value, volume.unit.value) == ("118565006", "cm3")
        assert (mass.name, mass.unit.value) == (LEAN_MASS, "g")
        assert volume.value == pytest.approx(prediction.volumes_cm3[channel.name])
        assert mass.value == pytest.approx(prediction.masses_g[channel.name])
        above, below = (i.MeasuredValueSequence[0] for i in volume[0].ContentSequence)
        assert float(above.NumericValue) == pytest.approx(12.0)
        assert float(below.NumericValue) == pytest.approx(min(12.0, volume.value))
        assert above.MeasurementUnitsCodeSequence[0].CodeValue == "cm3"
        low, high = max(volume.value - 12.0, 0.0), volume.value + 12.0
        told = texts(group[0].ContentSequence, INTERVAL)[0]
        assert told == f"Volume: {low:.1f} to {high:.1f} cm3, 90 % interval"


def test_it_names_the_model_the_radiograph_and_its_own_codes(radiograph, imported, prediction, algorithm):
    report, source = report_of(radiograph, imported, prediction, algorithm), pydicom.dcmread(radiograph)
    group = groups_of(report)[0][0].ContentSequence
    told = {i.ConceptNameCodeSequence[0].CodeMeaning: i for i in group}
    assert told["Algorithm Parameters"].TextValue == f"model: hip, fold 1, sha256 {algorithm.sha256[:16]}"
    image = told["Source of Measurement"].ReferencedSOPSequence[0]
    assert (image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID) == (source.SOPClassUID, source.SOPInstanceUID)
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0]
    assert evidence.StudyInstanceUID == report.StudyInstanceUID == source.StudyInstanceUID
    assert evidence.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert report.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == PRIVATE
    assert texts(report.ContentSequence[-1].ContentSequence, NOTICE)[0].startswith("Research software")


def test_what_is_flagged_says_so_and_has_no_interval(radiograph, imported, prediction, algorithm):
    table = prediction.table.copy()
    iliacus = (table["object"] == "iliacus") & (table["side"] == "left")
    table.loc[iliacus, ["low", "high"]], table.loc[iliacus, "flag"] = None, "out of field of view: 30 % at the edge"
    flagged = dataclasses.replace(prediction, table=table, flags=["intensities out of range"])
    warned = dataclasses.replace(imported, warnings=["the image's air is cut off"])
    report = report_of(radiograph, warned, flagged, algorithm)
    of_image = report.ContentSequence[-1].ContentSequence
    assert texts(of_image, FLAG) == ["intensities out of range"]
    assert texts(of_image, WARNING) == ["the image's air is cut off"]
    for group in groups_of(report):
        at_edge = group.tracking_identifier == "iliacus_left"
        content = group[0].ContentSequence
        assert texts(content, FLAG) == (["out of field of view: 30 % at the edge"] if at_edge else [])
        assert len(texts(content, INTERVAL)) == (0 if at_edge else 2)
        assert all(("ContentSequence" in m[0]) != at_edge for m in group.get_measurements())


def test_the_same_prediction_has_the_same_uids_and_another_has_others(radiograph, imported, prediction, algorithm):
    first, again = (report_of(radiograph, imported, prediction, algorithm) for _ in range(2))
    later = report_of(radiograph, imported, prediction, algorithm, datetime(2026, 1, 3))
    other = report_of(radiograph, imported, dataclasses.replace(prediction, flags=["x"]), algorithm)
    assert first.SOPInstanceUID == again.SOPInstanceUID == later.SOPInstanceUID, "sent again it is the same object"
    assert first.SOPInstanceUID != other.SOPInstanceUID
    assert [str(first[k].value) for k in ("ContentDate", "InstanceCreationDate")] == ["20260102", "20260102"]
    tracked = [[g.tracking_uid for g in groups_of(r)] for r in (first, later)]
    assert tracked[0] == tracked[1], "the structure of this study stays the same one"


def test_a_structure_without_a_known_code_has_one_of_the_projects_own():
    assert structure_code("pectineus").scheme_designator == PRIVATE
    assert structure_code("obturator_externus").value == "obturator_externus"
    assert structure_code("tensor_fasciae_latae_" * 5).meaning
