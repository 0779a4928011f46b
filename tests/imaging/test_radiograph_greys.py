"""Grey values as hospitals store them: kind, direction, bits, scale; each comes in right, or is said, or is refused."""

import json

import hospital as make
import numpy as np
import pytest
from pydicom.dataset import Dataset

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.imaging.radiograph import read_radiograph
from mskdex.imaging.radiograph_import import import_radiograph
from mskdex.imaging.relative import BONE_NEPERS, BONE_QUANTILE, SOFT_NEPERS, SOFT_QUANTILE, middle_of_field
from mskdex.imaging.seen_direction import SeenDirection, seen_direction
from mskdex.pipeline.stages.importing import import_patient

NATIVE = RadiographSettings(working_pixel_mm=None)
VALUES = make.radiograph_values()
EXPOSURE = 50000 * np.exp(-VALUES)


def load(tmp_path, dataset, row=None, settings=NATIVE):
    return import_radiograph(make.save(dataset, tmp_path / "r.dcm"), row or {}, settings)


def dx(grey, bits=16, **tags):
    """A DX image of given stored values."""
    dataset = make.radiograph(**tags)
    photometric = dataset.PhotometricInterpretation
    make._pixels(dataset, np.ascontiguousarray(grey), bits)
    dataset.PhotometricInterpretation = photometric
    return dataset


def unsigned(values):
    return np.rint(values).astype(np.uint16)


FALLING = {"PixelIntensityRelationshipSign": -1, "PhotometricInterpretation": "MONOCHROME2"}
LOG = {"PixelIntensityRelationship": "LOG", **FALLING}


def same_up_to_scale(image):
    return np.corrcoef(image.ravel(), VALUES.ravel())[0, 1]


def test_the_unchanged_patient_is_absolute_and_unwarned(tmp_path):
    found = load(tmp_path, make.radiograph())
    assert (found.scale, found.warnings) == ("absolute", [])
    assert found.facts["scale"] == "absolute"


# ---- kinds


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({"PresentationIntentType": "FOR PRESENTATION"}, "FOR PRESENTATION, but PixelIntensityRelationship is LIN"),
        (
            {"PresentationIntentType": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1"},
            "FOR PRESENTATION, but PixelIntensityRelationship is LIN",
        ),
        ({"PixelIntensityRelationship": "DISP"}, "processed"),
        ({"PixelIntensityRelationship": "SQRT"}, "SQRT, neither LIN nor LOG"),
        ({"PixelIntensityRelationship": ""}, "no tag says"),
    ],
)
def test_what_is_not_linear_or_log_comes_in_on_a_relative_scale_with_a_word(tmp_path, tags, why):
    found = load(tmp_path, make.radiograph(**tags))
    assert found.facts["scale"] == "relative"
    assert any(why in w for w in found.warnings)


def test_the_scale_is_written_down_and_read_by_later_stages(tmp_path):
    row = make.patient(tmp_path / "in")
    import_patient(row, make.settings(), tmp_path / "one")
    import_patient(row | {"intensity": "processed"}, make.settings(), tmp_path / "two")
    for folder, scale in (("one", "absolute"), ("two", "relative")):
        facts = json.loads((tmp_path / folder / "import.json").read_text(encoding="utf-8"))
        assert facts["radiograph"]["scale"] == scale
        assert read_radiograph(tmp_path / folder).scale == scale


@pytest.mark.parametrize("curve", ["log", "sigmoid", "square root", "inverted"])
def test_processed_values_are_standardised_by_soft_tissue_and_bone(tmp_path, curve):
    grey = {
        "log": 4095 * VALUES / 5,
        "sigmoid": 4095 / (1 + np.exp(-(VALUES - 2.2))),
        "square root": 4095 * np.sqrt(VALUES / 5),
        "inverted": 4095 - 4095 * VALUES / 5,
    }[curve]
    mono = "MONOCHROME1" if curve == "inverted" else "MONOCHROME2"
    tags = {"PresentationIntentType": "FOR PRESENTATION", "PixelIntensityRelationship": "DISP"}
    dataset = dx(unsigned(grey), 12, PixelIntensityRelationshipSign=None, PhotometricInterpretation=mono, **tags)
    found = load(tmp_path, dataset)
    soft, bone = np.quantile(middle_of_field(found.image, found.field), [SOFT_QUANTILE, BONE_QUANTILE])
    assert (soft, bone) == (pytest.approx(SOFT_NEPERS, abs=1e-3), pytest.approx(BONE_NEPERS, abs=1e-3))
    assert same_up_to_scale(found.image) > 0.9
    assert np.corrcoef(found.image.ravel(), grey.ravel())[0, 1] > 0 or curve == "inverted"


def test_standardising_needs_no_air_and_does_not_follow_gain_and_offset(tmp_path):
    tags = {"PixelIntensityRelationship": "DISP", **FALLING}
    inner = VALUES[:, 24:56]
    tags["ImagerPixelSpacing"] = [1.2, 1.2]
    one = load(tmp_path, dx(unsigned(500 + 600 * inner), 12, **tags))
    other = load(tmp_path, dx(unsigned(1000 + 300 * inner), 12, **tags))
    np.testing.assert_allclose(one.image, other.image, atol=0.02)


def test_eight_bit_dicom_is_processed(tmp_path):
    grey = np.rint(50 * VALUES).astype(np.uint8)
    found = load(tmp_path, dx(grey, 8, PhotometricInterpretation="MONOCHROME2", PixelIntensityRelationshipSign=None))
    assert (found.scale, found.facts["intensity"]) == ("relative", "processed")
    assert same_up_to_scale(found.image) > 0.999


def test_the_sheet_overrules_a_wrong_tag_and_it_is_recorded(tmp_path):
    found = load(tmp_path, make.radiograph(PixelIntensityRelationship="LOG"), {"intensity": "linear"})
    assert found.facts["sources"]["intensity"] == "sheet, overruling tag PixelIntensityRelationship"
    np.testing.assert_allclose(found.image, VALUES, atol=2e-3)
    found = load(tmp_path, make.radiograph(PixelIntensityRelationshipSign=-1), {"grey_increases_with": "exposure"})
    assert found.facts["sources"]["grey_increases_with"] == "sheet, overruling tag PixelIntensityRelationshipSign"
    np.testing.assert_allclose(found.image, VALUES, atol=2e-3)
    found = load(tmp_path, make.radiograph(), {"intensity": "processed"})
    assert found.scale == "relative"


def test_air_and_decades_can_stand_in_the_sheet(tmp_path):
    found = load(tmp_path, make.radiograph(), {"air_grey": 25000.0}, NATIVE.model_copy(update={"air_grey": 1.0}))
    np.testing.assert_allclose(found.image, VALUES - np.log(2), atol=2e-3)
    grey = unsigned(200 + VALUES * 4095 / (4 * np.log(10)))
    found = load(tmp_path, dx(grey, 12, **LOG), {"log_decades": 4.0}, NATIVE.model_copy(update={"log_decades": 2.0}))
    assert found.facts["sources"]["log_scale"] == "sheet"
    np.testing.assert_allclose(found.image, VALUES, atol=5e-3)


# ---- the scale of logs


@pytest.mark.parametrize("unit", [None, "US", "LOG_E REL", "OD REL"])
@pytest.mark.parametrize("decades", [2, 4, 5])
def test_a_log_image_of_unknown_scale_is_relative_whatever_its_decades(tmp_path, unit, decades):
    grey = unsigned(100 + VALUES * 4095 / (decades * np.log(10)))
    rescale = {"RescaleSlope": 0.001, "RescaleIntercept": 0.0, "RescaleType": unit} if unit else {}
    found = load(tmp_path, dx(grey, 12, **LOG, **rescale))
    assert found.scale == "relative"
    assert any("logarithmic" in w and "log_decades" in w for w in found.warnings)
    assert same_up_to_scale(found.image) > 0.9999


def test_decades_that_no_hip_can_have_are_refused(tmp_path):
    grey = unsigned(100 + VALUES * 4095 / (2 * np.log(10)))
    for decades, told in ((20.0, r"34\.\d+ nepers"), (0.5, r"0\.8\d nepers")):
        with pytest.raises(MskdexError, match=f"95th percentile .* in the field is {told}.*from 1 to 9"):
            load(tmp_path, dx(grey, 12, **LOG), {"log_decades": decades})


# ---- bits and signs


def test_signed_values_from_zero_begin_at_zero(tmp_path):
    found = load(tmp_path, dx(np.rint(4000 * np.exp(-VALUES)).astype(np.int16)))
    np.testing.assert_allclose(found.image, VALUES, atol=2e-2)


def test_signed_values_around_zero_begin_at_the_lower_end(tmp_path):
    found = load(tmp_path, dx((np.rint(EXPOSURE) - 32768).astype(np.int16)))
    np.testing.assert_allclose(found.image, VALUES, atol=2e-3)
    assert any("are signed, from" in w for w in found.warnings)


def test_a_sign_bit_that_is_none_is_found(tmp_path):
    dataset = make.radiograph(PixelRepresentation=1)
    found = load(tmp_path, dataset)
    np.testing.assert_allclose(found.image, VALUES, atol=2e-3)
    assert any("only as unsigned ones" in w for w in found.warnings)


@pytest.mark.parametrize(("depth", "stated"), [(10, 16), (12, 16), (14, 16), (10, 14), (12, 12), (14, 14)])
def test_more_bits_stated_than_used(tmp_path, depth, stated):
    most = 2**depth - 1
    found = load(tmp_path, dx(unsigned(most - 0.95 * most * np.exp(-VALUES)), stated, **FALLING))
    np.testing.assert_allclose(found.image, VALUES, atol=60 / most)
    used = most < 2**stated / 4
    assert any(f"taken as {depth} bits" in w for w in found.warnings) == used or not used
    grey = unsigned(100 + VALUES * most / (4 * np.log(10)))
    if used:
        found = load(tmp_path, dx(grey, stated, **LOG), {"log_decades": 4.0})
        np.testing.assert_allclose(found.image, VALUES, atol=20 / most)


def test_fewer_bits_stated_than_used(tmp_path):
    found = load(tmp_path, dx(unsigned(16383 - 15000 * np.exp(-VALUES)), 12, **FALLING))
    np.testing.assert_allclose(found.image, VALUES, atol=1e-2)
    assert any("BitsStored is 12, but grey values reach" in w for w in found.warnings)


@pytest.mark.parametrize("high_bit", [15, 11])
def test_bits_at_the_upper_end_of_the_word(tmp_path, high_bit):
    dataset = dx(unsigned(4095 - 4000 * np.exp(-VALUES)) << 4, 12, **FALLING)
    dataset.HighBit = high_bit
    found = load(tmp_path, dataset)
    np.testing.assert_allclose(found.image, VALUES, atol=2e-2)


def test_overlays_in_the_upper_bits_are_no_grey_values(tmp_path):
    grey = unsigned(4095 - 4000 * np.exp(-VALUES))
    grey[10:20, 10:20] |= 1 << 12
    dataset = dx(grey, 12, **FALLING)
    dataset.add_new(0x60000102, "US", 12)
    found = load(tmp_path, dataset)
    np.testing.assert_allclose(found.image, VALUES, atol=2e-2)
    assert found.warnings == []


# ---- LUTs


def test_blank_rescale_is_said_and_half_of_one_refused(tmp_path):
    found = load(tmp_path, make.radiograph(RescaleSlope="", RescaleIntercept=""))
    assert any("RescaleSlope and RescaleIntercept are blank" in w for w in found.warnings)
    np.testing.assert_allclose(found.image, VALUES, atol=2e-3)
    for tags in ({"RescaleSlope": "", "RescaleIntercept": 0}, {"RescaleSlope": 0, "RescaleIntercept": 1}):
        with pytest.raises(MskdexError, match="cannot be scaled by RescaleSlope"):
            load(tmp_path, make.radiograph(**tags))
    dataset = make.radiograph(RescaleSlope="1", RescaleIntercept="0")
    dataset["RescaleSlope"]._value = "1,5"
    with pytest.raises(MskdexError, match="cannot be scaled by RescaleSlope"):
        load(tmp_path, dataset)


def test_sign_speaks_of_stored_values_so_a_falling_slope_turns_it_round(tmp_path):
    grey = unsigned(3000 - 1000 * VALUES / np.log(10))
    tags = {"RescaleSlope": -1, "RescaleIntercept": 3000, "RescaleType": "OD", "PixelIntensityRelationshipSign": 1}
    found = load(
        tmp_path, dx(grey, 12, PixelIntensityRelationship="LOG", PhotometricInterpretation="MONOCHROME2", **tags)
    )
    np.testing.assert_allclose(found.image, VALUES, atol=3e-3)
    assert found.facts["sources"]["log_scale"] == "tag RescaleType OD"


@pytest.mark.parametrize("lut", ["no data", "no descriptor", "empty", "up and down"])
def test_broken_luts_end_as_one_sentence(tmp_path, lut):
    item = Dataset()
    if lut != "empty":
        item.ModalityLUTType = "US"
    if lut in {"no data", "up and down"}:
        item.add_new("LUTDescriptor", "US", [65536 if lut == "up and down" else 256, 0, 16])
        item["LUTDescriptor"].value = [0 if lut == "up and down" else 256, 0, 16]
    if lut == "up and down":
        item.LUTData = np.abs(np.arange(65536) - 20000).astype(np.uint16).tobytes()
    with pytest.raises(
        MskdexError, match=r"r\.dcm: its ModalityLUTSequence (is broken|neither rises nor falls)"
    ) as error:
        load(tmp_path, make.radiograph(ModalityLUTSequence=[item]))
    assert "\n" not in str(error.value)


def test_an_empty_sequence_of_luts_is_none(tmp_path):
    np.testing.assert_allclose(load(tmp_path, make.radiograph(ModalityLUTSequence=[])).image, VALUES, atol=2e-3)


@pytest.mark.parametrize("width", ["-100", "0"])
def test_a_window_that_is_none_is_refused_where_it_is_to_be_applied(tmp_path, width):
    dataset = make.radiograph(WindowCenter="30000", WindowWidth=width)
    np.testing.assert_allclose(load(tmp_path, dataset).image, VALUES, atol=2e-3)
    with pytest.raises(MskdexError, match=f"WindowWidth is {width}"):
        load(tmp_path, dataset, settings=NATIVE.model_copy(update={"voi": "apply"}))


# ---- direction


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelIntensityRelationshipSign": -1},
        {"PixelIntensityRelationshipSign": -1, "PresentationLUTShape": "INVERSE"},
        {"PixelIntensityRelationshipSign": None, "PhotometricInterpretation": "MONOCHROME2"},
    ],
)
def test_a_wrong_direction_is_found_by_the_air_beside_the_patient(tmp_path, tags):
    with pytest.raises(MskdexError, match=r"pixels show air beside the patient as if .* rose with exposure"):
        load(tmp_path, make.radiograph(**tags))


def test_the_shade_of_four_blades_is_no_air():
    """Each blade covers a fifth of the edges of the two across it, and the console's filter leaves no flat shade."""
    rows, columns = np.meshgrid(np.linspace(0, np.pi, 122), np.linspace(0, np.pi, 134), indexing="ij")
    grey = 900.0 + 700.0 * np.sin(rows) + 500.0 * np.sin(columns)
    grey[13:-13, 13:-13] = 3900.0 - 700.0 * make.radiograph_values((96, 108))
    field = np.ones(grey.shape, bool)
    assert seen_direction(grey, field) == SeenDirection("exposure", sure=True)
    assert seen_direction(4095.0 - grey, field) == SeenDirection("attenuation", sure=True)


@pytest.mark.parametrize("relationship", ["LIN", "LOG", "DISP"])
def test_a_wrong_sign_is_found_in_every_kind(tmp_path, relationship):
    tags = {"PixelIntensityRelationship": relationship, "PixelIntensityRelationshipSign": 1}
    dataset = dx(unsigned(4095 - 4000 * np.exp(-VALUES)), 12, PhotometricInterpretation="MONOCHROME2", **tags)
    with pytest.raises(MskdexError, match=r"rose with attenuation.*column grey_increases_with"):
        load(tmp_path, dataset)


def test_contradicting_tags_are_said_where_the_pixels_do_not_show_which_is_right(tmp_path):
    thick = np.add.outer(np.linspace(0.8, 2.3, 128), np.linspace(0.0, 1.5, 160))
    found = load(tmp_path, make.radiograph(thick, PhotometricInterpretation="MONOCHROME2"))
    assert any("contradict each other" in w for w in found.warnings)
    found = load(tmp_path, make.radiograph(thick, PresentationLUTShape="IDENTITY"))
    assert any("PresentationLUTShape IDENTITY and MONOCHROME1 contradict" in w for w in found.warnings)


def test_without_any_word_the_pixels_decide_and_it_is_said(tmp_path):
    tags = {"PixelIntensityRelationshipSign": None, "Modality": "XA", "PhotometricInterpretation": "MONOCHROME2"}
    found = load(tmp_path, dx(unsigned(65535 - EXPOSURE), **tags))
    np.testing.assert_allclose(found.image, VALUES, atol=2e-3)
    assert found.facts["sources"]["grey_increases_with"] == "the pixels: air beside the patient"
    told = "as if grey values rose with attenuation, where linear grey values are assumed to rise with exposure"
    assert any(told in w and "the pixels are followed" in w for w in found.warnings)


# ---- saturation, padding, text


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("sign", [1, -1])
def test_exposure_cut_off_below_air_is_said(tmp_path, share, sign):
    clipped = np.minimum(EXPOSURE, share * 50000)
    tags = {} if sign > 0 else FALLING
    found = load(tmp_path, dx(unsigned(clipped if sign > 0 else 65535 - clipped), **tags))
    assert any("cut off below that of air" in w for w in found.warnings)
    known = load(tmp_path, dx(unsigned(clipped)), {"air_grey": 50000.0})
    np.testing.assert_allclose(known.image[VALUES > 3], VALUES[VALUES > 3], atol=5e-3)
    assert known.warnings == []


@pytest.mark.parametrize("limit", [None, 300])
def test_padding_by_tags_is_no_image(tmp_path, limit):
    grey = unsigned(EXPOSURE)
    grey[:, :6] = 0
    if limit:
        grey[:, 3:6] = limit
    tags = {"PixelPaddingValue": 0} | ({"PixelPaddingRangeLimit": limit} if limit else {})
    found = load(tmp_path, dx(grey, **tags))
    assert not found.field[:, :6].any()
    assert found.field[:, 6:].all()
    np.testing.assert_allclose(found.image[:, 6:], VALUES[:, 6:], atol=2e-3)


@pytest.mark.parametrize("value", [0, 65535])
def test_corners_of_a_turned_image_are_no_image(tmp_path, value):
    y, x = np.mgrid[:64, :80]
    corner = (x / 12 + y / 9 < 1) | ((79 - x) / 9 + y / 12 < 1) | (x / 9 + (63 - y) / 12 < 1)
    corner |= (79 - x) / 12 + (63 - y) / 9 < 1
    grey = unsigned(EXPOSURE)
    grey[corner] = value
    found = load(tmp_path, dx(grey), settings=NATIVE.model_copy(update={"mask_markers": False}))
    assert not found.field[corner].any()
    assert found.field[~corner].all()
    np.testing.assert_allclose(found.image[~corner], VALUES[~corner], atol=2e-3)


def with_text(values, text):
    values = values.copy()
    values[3:9, 3:40:2] = text
    return values


@pytest.mark.parametrize("text", [65535, 0])
def test_burnt_in_text_is_no_air_and_is_said(tmp_path, text):
    found = load(tmp_path, dx(unsigned(with_text(EXPOSURE, text))))
    assert not found.field[3:9, 3:40:2].any()
    np.testing.assert_allclose(found.image[found.field], VALUES[found.field], atol=2e-3)
    assert any("burnt-in text" in w for w in found.warnings)


def test_text_is_painted_over_where_the_config_says_so(tmp_path):
    dataset = dx(unsigned(with_text(EXPOSURE, 65535)), BurnedInAnnotation="YES")
    shown = load(tmp_path, dataset)
    assert any("BurnedInAnnotation is YES" in w for w in shown.warnings)
    assert shown.image[4, 5] != shown.image[4, 6]
    hidden = load(tmp_path, dataset, settings=NATIVE.model_copy(update={"hide_text_in_pictures": True}))
    assert np.ptp(hidden.image[3:9, 3:40:2]) == 0
    np.testing.assert_array_equal(hidden.image[hidden.field], shown.image[hidden.field])


TAGS_WITHOUT_EFFECT = {
    "SmallestImagePixelValue": 3,
    "LargestImagePixelValue": 100,
    "WindowCenter": "100",
    "WindowWidth": "50",
    "KVP": "75",
    "Exposure": "10",
    "ExposureIndex": "400",
    "Sensitivity": "200",
    "Grid": "NONE",
    "PixelAspectRatio": [1, 1],
    "PresentationLUTShape": "INVERSE",
    "LossyImageCompression": "00",
    "FilterType": "NONE",
    "ReferencedImageSequence": [],
    "BurnedInAnnotation": "NO",
    "ImageLaterality": "B",
    "TableType": "FIXED",
    "DetectorTemperature": "30",
    "ExposureControlMode": "AUTOMATIC",
    "PatientPosition": "HFS",
}


@pytest.mark.parametrize("keyword", sorted(TAGS_WITHOUT_EFFECT))
def test_tags_without_effect_have_none(tmp_path, keyword):
    found = load(tmp_path, make.radiograph(**{keyword: TAGS_WITHOUT_EFFECT[keyword]}))
    np.testing.assert_array_equal(found.image, load(tmp_path, make.radiograph()).image)
    assert found.warnings == []


def test_what_cannot_be_imported_is_one_sentence(tmp_path):
    dataset = make.radiograph(CollimatorShape="POLYGONAL")
    dataset.add_new("VerticesOfThePolygonalCollimator", "IS", ["1"] * 6)
    dataset["VerticesOfThePolygonalCollimator"]._value = ["a", "b", "c", "d", "e", "f"]
    with pytest.raises(MskdexError, match=r"r\.dcm") as error:
        load(tmp_path, dataset)
    assert "\n" not in str(error.value)


def test_a_sign_that_is_none_is_told(tmp_path):
    found = load(tmp_path, make.radiograph(PixelIntensityRelationshipSign=257))
    assert "tag PixelIntensityRelationshipSign is 257, neither 1 nor -1; passed over" in found.warnings


def test_an_unknown_presentation_intent_is_told(tmp_path):
    right = load(tmp_path, make.radiograph())
    other = load(tmp_path, make.radiograph(PresentationIntentType="PROCESSING"))
    np.testing.assert_array_equal(other.image, right.image)
    assert other.warnings == [
        "tag PresentationIntentType is PROCESSING, neither FOR PROCESSING nor FOR PRESENTATION; passed over"
    ]


def test_a_secondary_capture_is_said(tmp_path):
    dataset = make.radiograph()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    found = import_radiograph(make.save(dataset, tmp_path / "r.dcm"), {}, RadiographSettings())
    assert any("it is a secondary capture" in w for w in found.warnings)
