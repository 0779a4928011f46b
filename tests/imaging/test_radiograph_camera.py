"""Camera numbers as hospitals write them: right, or said, or refused."""

import hospital as make
import numpy as np
import pytest

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.imaging.radiograph_import import camera_from_dicom, import_radiograph

NATIVE = RadiographSettings(working_pixel_mm=None)
NO_DISTANCE = {"DistanceSourceToPatient": None}


def geometry(tmp_path, row=None, settings=NATIVE, **tags):
    return import_radiograph(make.save(make.radiograph(**tags), tmp_path / "r.dcm"), row or {}, settings).geometry


def raw(keyword, value):
    """A tag whose text is no number."""
    dataset = make.radiograph()
    dataset[keyword]._value = value
    return dataset


# ---- distances


@pytest.mark.parametrize(
    ("sdd", "unit"), [(110.0, "cm"), (1.1, "m"), (43.3, "inches"), (20000.0, None), (-1100.0, None), (300.0, "cm")]
)
def test_a_source_distance_that_no_hip_has_is_refused_with_its_likely_unit(tmp_path, sdd, unit):
    told = rf" \(is it in {unit}\?\)" if unit else ""
    match = rf"sdd_mm {sdd:g} \(tag DistanceSourceToDetector\), allowed are 500 to 4500 mm{told}; .*column sdd_mm"
    with pytest.raises(MskdexError, match=match):
        geometry(tmp_path, DistanceSourceToDetector=sdd, **NO_DISTANCE)
    found = geometry(tmp_path, {"sdd_mm": 1100.0}, DistanceSourceToDetector=sdd, **NO_DISTANCE)
    assert found.sdd_mm == 1100
    assert found.sources["sdd_mm"].startswith("sheet, overruling tag DistanceSourceToDetector")


def test_zero_stands_for_not_known(tmp_path):
    with pytest.raises(MskdexError, match=r"DistanceSourceToDetector.* is nowhere"):
        geometry(tmp_path, DistanceSourceToDetector=0)
    assert geometry(tmp_path, DistanceSourceToPatient=0).source_to_isocentre_mm == 950


@pytest.mark.parametrize(("modality", "middle"), [("DX", 1000.0), ("CR", 1000.0), ("XA", 1100.0), ("RF", 1100.0)])
def test_distance_to_the_patient_is_to_the_table_except_on_a_c_arm(tmp_path, modality, middle):
    tags = {"DistanceSourceToDetector": 1250.0, "DistanceSourceToPatient": 1100.0, "Modality": modality}
    found = geometry(tmp_path, **tags)
    assert found.source_to_isocentre_mm == middle
    thick = geometry(tmp_path, {"half_thickness_mm": 130.0}, **tags)
    assert thick.source_to_isocentre_mm == (middle - 30 if middle == 1000 else middle)
    assert "tag DistanceSourceToPatient" in found.sources["source_to_isocentre_mm"]


@pytest.mark.parametrize(("sdd", "table"), [(1100.0, 95.0), (1800.0, 1846.0), (1100.0, 400.0), (1100.0, 11000.0)])
def test_a_table_that_is_not_before_the_detector_is_refused(tmp_path, sdd, table):
    tags = {"DistanceSourceToDetector": sdd, "DistanceSourceToPatient": table}
    with pytest.raises(MskdexError, match=f"the table or support {table:g} mm from the source.*source_to_isocentre_mm"):
        geometry(tmp_path, **tags)
    found = geometry(tmp_path, {"source_to_isocentre_mm": 0.85 * sdd}, **tags)
    assert found.source_to_isocentre_mm == 0.85 * sdd
    assert found.sources["source_to_isocentre_mm"] == "sheet, overruling tag DistanceSourceToPatient"
    assert any("no possible distance" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("factor", "told"), [(115.0, "per cent"), (1.03, "33 mm before"), (0.87, "ratio"), (3.0, "ratio")]
)
def test_a_magnification_that_no_hip_has_is_refused(tmp_path, factor, told):
    tags = {"DistanceSourceToDetector": 1150.0, "EstimatedRadiographicMagnificationFactor": factor, **NO_DISTANCE}
    with pytest.raises(MskdexError, match=rf"geometry is impossible.*{told}"):
        geometry(tmp_path, **tags)


def test_a_magnification_of_one_is_a_default(tmp_path):
    found = geometry(tmp_path, EstimatedRadiographicMagnificationFactor=1.0, **NO_DISTANCE)
    assert found.sources["source_to_isocentre_mm"].startswith("assumed")


def test_the_magnification_goes_before_the_table_and_a_contradiction_is_said(tmp_path):
    agree = geometry(tmp_path, EstimatedRadiographicMagnificationFactor=1100 / 860)
    assert agree.source_to_isocentre_mm == pytest.approx(860, abs=0.1)
    assert agree.warnings == []
    written_to_the_middle = geometry(tmp_path, EstimatedRadiographicMagnificationFactor=1100 / 950)
    assert written_to_the_middle.warnings == []
    differ = geometry(tmp_path, EstimatedRadiographicMagnificationFactor=1.6)
    assert any("puts the middle of the patient 688 mm from the source" in w for w in differ.warnings)


def test_every_distance_can_stand_in_the_sheet(tmp_path):
    found = geometry(tmp_path, {"isocentre_to_detector_mm": 180.0}, **NO_DISTANCE)
    assert found.source_to_isocentre_mm == 920
    assert found.sources["source_to_isocentre_mm"] == "sheet isocentre_to_detector_mm"
    with pytest.raises(MskdexError, match=r"would be 1098 mm before the detector, allowed are 50 mm.* to 550 mm"):
        geometry(tmp_path, settings=NATIVE.model_copy(update={"source_to_isocentre_mm": 2.0}), **NO_DISTANCE)


@pytest.mark.parametrize(
    ("keyword", "value", "column"),
    [
        ("DistanceSourceToDetector", "1100,0", "sdd_mm"),
        ("DistanceSourceToPatient", "95 cm", "source_to_isocentre_mm"),
        ("ImagerPixelSpacing", ["0,9", "0,9"], "pixel_mm"),
        ("ImagerPixelSpacing", "0.9", "pixel_mm"),
    ],
)
def test_what_is_no_number_is_named_and_the_sheet_can_replace_it(tmp_path, keyword, value, column):
    path = make.save(raw(keyword, value), tmp_path / "r.dcm")
    with pytest.raises(MskdexError, match=rf"r\.dcm: tag {keyword} is .*column {column}"):
        import_radiograph(path, {}, NATIVE)
    row = {"sdd_mm": 1100.0, "source_to_isocentre_mm": 950.0, "pixel_mm": 0.9}
    assert import_radiograph(path, row, NATIVE).camera.sdd_mm == 1100


# ---- pixels


@pytest.mark.parametrize(
    ("pixel", "hint"),
    [(0.009, "is it in cm"), (0.014, "is it in cm"), (0.09, ""), (0.0001, ""), (12.0, ""), (25.0, "")],
)
def test_a_pixel_size_that_no_detector_has_is_refused(tmp_path, pixel, hint):
    with pytest.raises(MskdexError, match=rf"pixel_mm {pixel:g} x {pixel:g}, which makes the image .*mm.*{hint}"):
        geometry(tmp_path, ImagerPixelSpacing=[pixel, pixel])


def test_an_image_longer_than_any_detector_needs_a_view_in_the_sheet(tmp_path):
    with pytest.raises(MskdexError, match="longer than any detector for one exposure: stitched, or of a slot scanner"):
        geometry(tmp_path, ImagerPixelSpacing=[9.5, 9.5])
    assert geometry(tmp_path, {"view": "AP"}, ImagerPixelSpacing=[9.5, 9.5]).pixel_mm == (9.5, 9.5)


@pytest.mark.parametrize(
    ("spacing", "calibration", "said"),
    [
        (0.9, None, False),
        (0.9 * 850 / 1100, None, False),
        (0.9 * 850 / 1100, "GEOMETRY", False),
        (0.5, None, True),
        (0.9, "GEOMETRY", True),
        (0.7, "FIDUCIAL", False),
        (1.2, "FIDUCIAL", True),
        (9.0, None, True),
    ],
)
def test_pixel_spacing_against_the_detectors_and_the_magnification(tmp_path, spacing, calibration, said):
    found = geometry(tmp_path, PixelSpacing=[spacing, spacing], PixelSpacingCalibrationType=calibration)
    assert any("times PixelSpacing" in w for w in found.warnings) == said


def test_pixels_that_are_oblong_or_of_an_unsure_tag_are_said(tmp_path):
    assert any("oblong" in w for w in geometry(tmp_path, ImagerPixelSpacing=[0.9, 0.8]).warnings)
    found = geometry(tmp_path, ImagerPixelSpacing=None, PixelSpacing=[0.9, 0.9])
    assert any("no tag says that it is the detector's" in w for w in found.warnings)


def test_an_aspect_ratio_that_contradicts_the_pixel_size_is_said(tmp_path):
    assert any("PixelAspectRatio" in w for w in geometry(tmp_path, PixelAspectRatio=[2, 1]).warnings)
    oblong = geometry(tmp_path, PixelAspectRatio=[2, 1], ImagerPixelSpacing=[1.8, 0.9])
    assert not any("PixelAspectRatio" in w for w in oblong.warnings)


# ---- crops


def stored_of(detector, first, shape, turns, flip):
    """The stored image of a crop of a detector image, and where the detector's middle lies in it."""
    rows, columns = detector.shape
    marked = np.zeros(detector.shape)
    marked[rows // 2 - 1 : rows // 2 + 1, columns // 2 - 1 : columns // 2 + 1] = 1.0
    parts = []
    for whole in (detector, marked):
        part = np.rot90(whole[first[0] : first[0] + shape[0], first[1] : first[1] + shape[1]], -turns)
        parts.append(np.ascontiguousarray(part[:, ::-1] if flip else part))
    return parts[0], np.argwhere(parts[1]).mean(axis=0)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("flip", [False, True])
def test_the_central_ray_of_a_crop_meets_the_middle_of_the_detector(tmp_path, turns, flip):
    detector = make.radiograph_values((100, 120))
    image, at = stored_of(detector, (20, 10), (70, 90), turns, flip)
    towards = {
        (0, False): "LF",
        (0, True): "RF",
        (1, False): "HL",
        (1, True): "FL",
        (2, False): "RH",
        (2, True): "LH",
        (3, False): "FR",
        (3, True): "HR",
    }[turns, flip]
    found = geometry(
        tmp_path,
        attenuation=image,
        FieldOfViewOrigin=[20, 10],
        FieldOfViewRotation=90 * turns,
        FieldOfViewHorizontalFlip="YES" if flip else "NO",
        DetectorActiveDimensions=[90.0, 108.0],
        PatientOrientation=list(towards),
    )
    assert found.principal_px == pytest.approx(tuple(at))
    assert found.sources["principal_row_px"] == "tags FieldOfViewOrigin and DetectorActiveDimensions"
    assert found.warnings == []


def test_elements_binning_and_the_active_areas_origin_count(tmp_path):
    found = geometry(
        tmp_path,
        FieldOfViewOrigin=[30, 40],
        DetectorActiveOrigin=[10, 20],
        DetectorElementSpacing=[0.45, 0.45],
        DetectorActiveDimensions=[90.0, 108.0],
    )
    assert found.principal_px == pytest.approx(((45 - 20 * 0.45) / 0.9 - 0.5, (54 - 20 * 0.45) / 0.9 - 0.5))
    binned = geometry(tmp_path, FieldOfViewOrigin=[20, 20], DetectorBinning=[2, 2], DetectorActiveDimensions=[90, 108])
    assert binned.principal_px == pytest.approx(((45 - 9) / 0.9 - 0.5, (54 - 9) / 0.9 - 0.5))


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"DetectorActiveDimensions": [430.0, 430.0]}, "no tag says which part"),
        ({"FieldOfViewDimensions": [100.0, 100.0]}, "no tag says which part"),
        ({"DetectorActiveDimensions": [40.0, 50.0]}, "larger than its detector"),
        ({"FieldOfViewOrigin": [10, 10]}, "not how large the detector is"),
        (
            {"FieldOfViewOrigin": [0, 0], "DetectorActiveDimensions": [90, 90], "FieldOfViewDimensions": [90, 90]},
            "cropped later",
        ),
        (
            {"FieldOfViewOrigin": [0, 0], "DetectorActiveDimensions": [90, 90], "FieldOfViewRotation": 5},
            "no quarter turn",
        ),
        ({"FieldOfViewOrigin": [60, 10], "DetectorActiveDimensions": [90, 108]}, "beyond which it lies"),
        (
            {"FieldOfViewOrigin": [5, 5], "DetectorActiveOrigin": [20, 20], "DetectorActiveDimensions": [90, 108]},
            "beyond which it lies",
        ),
    ],
)
def test_a_crop_of_unknown_place_is_said_unless_the_sheet_tells(tmp_path, tags, told):
    silent = geometry(tmp_path, **tags)
    assert any(told in w for w in silent.warnings)
    assert silent.principal_px == (31.5, 39.5)
    assert silent.sources["principal_row_px"] == "assumed: middle of the image"
    row = {"principal_row_px": 5.0, "principal_column_px": 6.0}
    found = geometry(tmp_path, row, **tags)
    assert found.principal_px == (5, 6)
    assert found.warnings == []


def test_a_whole_detector_is_no_crop(tmp_path):
    found = geometry(tmp_path, DetectorActiveDimensions=[57.6, 72.0], FieldOfViewOrigin=[0, 0])
    assert found.principal_px == pytest.approx((31.5, 39.5))
    assert geometry(tmp_path, DetectorActiveDimensions=[72.0, 57.6]).warnings == []


def test_the_header_alone_gives_the_same_camera(tmp_path):
    tags = {"FieldOfViewOrigin": [20, 20], "DetectorActiveDimensions": [90, 108], "DistanceSourceToDetector": 1200.0}
    path = make.save(make.radiograph(**tags), tmp_path / "r.dcm")
    assert camera_from_dicom(path, {}, NATIVE) == import_radiograph(path, {}, NATIVE).camera
