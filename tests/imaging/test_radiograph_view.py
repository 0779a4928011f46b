"""View, side and body part by tags: AP and PA of the hip come in, everything else is named."""

import hospital as make
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.imaging.radiograph_import import import_radiograph
from mskdex.imaging.radiograph_view import view_tags

SETTINGS = RadiographSettings(working_pixel_mm=None)
SILENT = {"ViewPosition": None, "PatientOrientation": None}


def code(value, meaning, scheme="SCT", **more):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    for key, content in more.items():
        setattr(item, key, content)
    return [item]


def found(**tags):
    return view_tags(make.radiograph(**(SILENT | tags)))


@pytest.mark.parametrize(
    ("position", "view"),
    [
        ("AP", "AP"),
        ("ap ", "AP"),
        ("A.P.", "AP"),
        ("A/P", "AP"),
        ("PA", "PA"),
        ("AP PELVIS", "AP"),
        ("AP_STANDING", "AP"),
        ("ANTERO-POSTERIOR", "AP"),
        ("ANTEROPOSTERIOR", "AP"),
        ("AP SUPINE", "AP"),
        ("", None),
        ("UNKNOWN", None),
        ("FRONTAL", None),
        ("Becken AP", "AP"),
        ("HIP", None),
    ],
)
def test_ap_and_pa_however_written(position, view):
    tags = found(ViewPosition=position)
    assert (tags.view, tags.problems) == (view, [])


@pytest.mark.parametrize(
    "position",
    [
        "LL",
        "RL",
        "LLD",
        "RLO",
        "LAT",
        "LATERAL",
        "RAO",
        "LAO",
        "RPO",
        "LPO",
        "OBLIQUE",
        "AXIAL",
        "AP AXIAL",
        "FROG",
        "FROG LEG",
        "INLET",
        "OUTLET",
        "JUDET",
        "LAUENSTEIN",
        "DUNN",
        "XTABLE LAT",
        "AP/LAT",
        "SUNRISE",
        "AP PA",
        "正面",
    ],
)
def test_any_other_view_is_named(tmp_path, position):
    assert any("ViewPosition" in p for p in found(ViewPosition=position).problems)
    if position.isascii():
        path = make.save(make.radiograph(ViewPosition=position), tmp_path / "r.dcm")
        with pytest.raises(
            MskdexError, match=r"r\.dcm: its tags say that it is no AP or PA .*ViewPosition.*column view"
        ):
            import_radiograph(path, {}, SETTINGS)
        imported = import_radiograph(path, {"view": "AP"}, SETTINGS)
        assert any("the sheet's view AP overrules" in w and position in w for w in imported.warnings)


@pytest.mark.parametrize(("name", "view"), [("AnteroPosterior", "AP"), ("PosteroAnterior", "PA"), ("Frontal", None)])
def test_codes_of_frontal_views(name, view):
    concept = getattr(codes.cid4010, name)
    tags = found(ViewCodeSequence=code(concept.value, concept.meaning))
    assert (tags.view, tags.problems) == (view, [])


def test_older_codes_need_no_meaning():
    assert found(ViewCodeSequence=code("R-10206", "", "SRT")).view == "AP"
    assert found(ViewCodeSequence=code("R-10214", "", "SRT")).view == "PA"


@pytest.mark.parametrize("name", sorted(set(codes.cid4010.dir()) - {"AnteroPosterior", "PosteroAnterior", "Frontal"}))
def test_every_other_code_of_the_standard_is_named(name):
    concept = getattr(codes.cid4010, name)
    assert found(ViewCodeSequence=code(concept.value, concept.meaning)).problems


@pytest.mark.parametrize("name", sorted(codes.cid4012.dir()))
def test_every_eponymous_projection_is_named(name):
    concept = getattr(codes.cid4012, name)
    assert found(ProjectionEponymousNameCodeSequence=code(concept.value, concept.meaning)).problems


@pytest.mark.parametrize("name", ["Caudad", "Cephalad", "Crosstable"])
def test_a_modifier_that_tilts_the_beam_is_named(name):
    concept = getattr(codes.cid4011, name)
    modifier = code(concept.value, "Cross-table" if name == "Crosstable" else concept.meaning)
    view = code("399348003", "antero-posterior", ViewModifierCodeSequence=modifier)
    assert found(ViewCodeSequence=view).problems


def test_tags_that_contradict_each_other_are_named():
    assert found(ViewPosition="PA", ViewCodeSequence=code("399348003", "antero-posterior")).problems
    assert found(ViewPosition="AP", ViewCodeSequence=code("399067008", "lateral")).problems


@pytest.mark.parametrize(
    ("towards", "kind"),
    [
        (["A", "F"], "problem"),
        (["P", "F"], "problem"),
        (["L", "P"], "problem"),
        (["LA", "F"], "problem"),
        (["L", "FA"], "problem"),
        (["L", "R"], "warning"),
        (["X", "F"], "warning"),
        (["L"], "warning"),
        (["L", "FR"], "warning"),
        (["L", "F"], ""),
        (["R", "F"], ""),
        ([" l", "f "], ""),
    ],
)
def test_patient_orientation(towards, kind):
    tags = found(PatientOrientation=towards)
    assert bool(tags.problems) == (kind == "problem")
    assert bool(tags.warnings) == (kind == "warning")
    assert (tags.orientation is None) == (kind == "problem" or towards in (["L", "R"], ["X", "F"], ["L"]))


@pytest.mark.parametrize("part", ["PELVIS", "HIP", "Hip joint", "BOTH HIPS", "BECKEN", "Hüfte", "HANCHE", "COXA", ""])
def test_hips_by_any_name(part):
    tags = found(BodyPartExamined=part)
    assert (tags.problems, tags.warnings) == ([], [])


@pytest.mark.parametrize(
    "part", ["CHEST", "SKULL", "KNEE", "TSPINE", "CSPINE", "HAND", "FOOT", "ANKLE", "SHOULDER", "HEAD"]
)
def test_another_body_part_is_named(part):
    assert found(BodyPartExamined=part).problems
    assert found(AnatomicRegionSequence=code("x", part.capitalize())).problems


@pytest.mark.parametrize("part", ["ABDOMEN", "LSPINE", "FEMUR", "EXTREMITY", "Foo"])
def test_a_body_part_that_may_show_hips_is_a_warning(part):
    tags = found(BodyPartExamined=part)
    assert tags.problems == []
    assert any(part in w for w in tags.warnings)


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageType": ["DERIVED", "PRIMARY", "", "STITCHED"]},
        {"DerivationDescription": "Composed of 3 images"},
        {"Manufacturer": "EOS imaging", "ManufacturerModelName": "EOS"},
        {"DetectorDescription": "slot scanning detector"},
        {"PositionerPrimaryAngle": 45.0},
        {"PositionerSecondaryAngle": -30.0},
        {"ColumnAngulation": 25.0},
        {"SeriesDescription": "Lauenstein links"},
        {"ProtocolName": "Hip frog-leg"},
    ],
)
def test_stitched_scanned_tilted_and_described_otherwise(tags):
    assert found(**tags).problems


def test_a_description_is_only_a_hint_beside_a_view():
    tags = found(ViewPosition="AP", SeriesDescription="Hip lateral")
    assert tags.problems == []
    assert any("LATERAL" in w for w in tags.warnings)
    assert found(ViewPosition="AP", SeriesDescription="Pelvis AP and lateral").warnings == []


def test_sides():
    tags = found(ImageLaterality="L", Laterality="R")
    assert tags.laterality == "L"
    assert len(tags.warnings) == 2
    assert found(Laterality="R").laterality == "R"
    tags = found(ImageLaterality="B", Laterality="R")
    assert (tags.laterality, tags.warnings) == (None, [])


def test_a_view_position_without_letters_is_told():
    tags = found(ViewPosition=["1", "2", "3"])
    assert (tags.view, tags.problems) == (None, [])
    assert tags.warnings == ["tag ViewPosition '1 2 3' names no view; passed over"]


def test_text_is_text_whatever_representation_it_is_given():
    header = Dataset()
    header.add_new("ViewPosition", "OB", b"LAT ")
    header.add_new("ImageLaterality", "OB", b"L\0")
    header.add_new("PatientOrientation", "OW", b"R\\F ")
    found = view_tags(header)
    assert (found.problems, found.laterality, found.orientation) == (["tag ViewPosition 'LAT'"], "L", "RF")
