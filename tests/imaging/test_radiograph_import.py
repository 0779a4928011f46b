import json

import hospital as make
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.imaging.field import without_blades, without_blank_borders, without_markers
from mskdex.imaging.radiograph_import import camera_from_dicom, import_radiograph
from mskdex.imaging.view_geometry import average_down, pair_to_camera_frame, to_camera_frame

NATIVE = RadiographSettings(working_pixel_mm=None)
VALUES = make.radiograph_values()


def load(path, row=None, settings=NATIVE):
    return import_radiograph(path, row or {}, settings)


def stored(tmp_path, grey: np.ndarray, bits: int = 16, **tags):
    dataset = make.radiograph()
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelData = np.rint(grey).astype(np.uint16).tobytes()
    for key, value in tags.items():
        if value is None:
            delattr(dataset, key)
        else:
            setattr(dataset, key, value)
    return make.save(dataset, tmp_path / "r.dcm")


def test_linear_exposure_becomes_log_attenuation_with_air_at_zero(tmp_path):
    found = load(make.save(make.radiograph(), tmp_path / "r.dcm"))
    np.testing.assert_allclose(found.image, VALUES, atol=2e-3)
    assert found.image.dtype == np.float32
    assert found.field.all()


def test_linear_falling_with_exposure(tmp_path):
    grey = 65535 - 50000 * np.exp(-VALUES)
    path = stored(tmp_path, grey, PixelIntensityRelationshipSign=-1, PhotometricInterpretation="MONOCHROME2")
    np.testing.assert_allclose(load(path).image, VALUES, atol=2e-3)


def test_sign_tag_goes_before_the_photometric_interpretation(tmp_path):
    path = stored(tmp_path, 50000 * np.exp(-VALUES), PhotometricInterpretation="MONOCHROME2")
    found = load(path)
    assert found.facts["sources"]["grey_increases_with"] == "tag PixelIntensityRelationshipSign"
    np.testing.assert_allclose(found.image, VALUES, atol=2e-3)


@pytest.mark.parametrize(("photometric", "sign"), [("MONOCHROME1", -1), ("MONOCHROME2", 1)])
def test_without_sign_the_photometric_interpretation_decides(tmp_path, photometric, sign):
    grey = 2000 + sign * 400 * VALUES
    path = stored(
        tmp_path,
        grey,
        12,
        PixelIntensityRelationship="LOG",
        PixelIntensityRelationshipSign=None,
        PhotometricInterpretation=photometric,
    )
    found = load(path, {"log_decades": 4.0})
    scale = 4 * np.log(10) / 4095
    np.testing.assert_allclose(found.image, 400 * VALUES * scale, atol=2 * scale)
    assert found.facts["sources"]["grey_increases_with"] == "tag PhotometricInterpretation"


def test_optical_density_is_read_through_the_modality_lut(tmp_path):
    grey = 200 + 1000 * VALUES / np.log(10) / 0.8
    path = stored(
        tmp_path,
        grey,
        12,
        PixelIntensityRelationship="LOG",
        PixelIntensityRelationshipSign=-1,
        RescaleSlope=0.8,
        RescaleIntercept=5,
        RescaleType="OD",
    )
    np.testing.assert_allclose(load(path).image, VALUES, atol=2e-3)


def test_modality_lut_comes_before_the_log(tmp_path):
    lut = Dataset()
    table = np.rint(65535 * (np.arange(4096) / 4095) ** 2).astype(np.uint16)
    lut.LUTDescriptor, lut.ModalityLUTType, lut.LUTData = [4096, 0, 16], "US", table.tobytes()
    path = stored(tmp_path, 4095 * np.sqrt(0.9 * np.exp(-VALUES)), 12, ModalityLUTSequence=[lut])
    np.testing.assert_allclose(load(path).image, VALUES, atol=0.02)


@pytest.mark.parametrize(
    ("intent", "voi", "applied"),
    [
        ("FOR PRESENTATION", "auto", True),
        ("FOR PROCESSING", "auto", False),
        ("FOR PROCESSING", "apply", True),
        ("FOR PRESENTATION", "ignore", False),
    ],
)
def test_voi_lut_belongs_to_images_for_presentation(tmp_path, intent, voi, applied):
    lut = Dataset()
    table = np.rint(65535 * (np.arange(4096) / 4095) ** 2).astype(np.uint16)
    lut.LUTDescriptor, lut.LUTData = [4096, 0, 16], table.tobytes()
    curve = 2 if applied else 1
    grey = 4095 * np.power(0.9 * np.exp(-VALUES), 1 / curve)
    path = stored(tmp_path, grey, 12, VOILUTSequence=[lut], PresentationIntentType=intent)
    found = load(path, settings=NATIVE.model_copy(update={"voi": voi}))
    assert found.facts["voi_lut_applied"] is applied
    assert found.scale == ("relative" if intent == "FOR PRESENTATION" else "absolute")
    assert any("FOR PRESENTATION" in w for w in found.warnings) == (intent == "FOR PRESENTATION")
    found = load(path, {"intensity": "linear"}, NATIVE.model_copy(update={"voi": voi}))
    np.testing.assert_allclose(found.image, VALUES, atol=0.03)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_compressed_radiographs(tmp_path, syntax):
    dataset = make.radiograph()
    dataset.compress(syntax, generate_instance_uid=False)
    np.testing.assert_allclose(load(make.save(dataset, tmp_path / "r.dcm")).image, VALUES, atol=2e-3)


def test_grey_values_without_a_known_relationship_come_in_as_processed_unless_someone_knows(tmp_path):
    path = make.save(make.radiograph(PixelIntensityRelationship=None), tmp_path / "r.dcm")
    found = load(path)
    assert (found.scale, found.facts["intensity"]) == ("relative", "processed")
    assert any("no tag says that they are linear or log" in w for w in found.warnings)
    for row, settings in (({"intensity": "linear"}, NATIVE), ({}, NATIVE.model_copy(update={"intensity": "linear"}))):
        np.testing.assert_allclose(load(path, row, settings).image, VALUES, atol=2e-3)


def test_a_fixed_level_of_air_replaces_the_estimate(tmp_path):
    path = make.save(make.radiograph(), tmp_path / "r.dcm")
    found = load(path, settings=NATIVE.model_copy(update={"air_grey": 25000.0}))
    np.testing.assert_allclose(found.image, VALUES - np.log(2), atol=2e-3)


@pytest.mark.parametrize("relationship", ["LIN", "LOG"])
def test_a_little_air_is_found_and_none_at_all_is_told(tmp_path, relationship):
    thick = 0.8 + 1.5 * np.add.outer(np.linspace(0.0, 1.0, 128), np.linspace(0.0, 1.0, 160))
    corner = thick.copy()
    corner[:8, :12] = 0.0
    for values, in_field in ((corner, True), (thick, False)):
        grey = 50000 * np.exp(-values) if relationship == "LIN" else 60000 - 10000 * values
        dataset = make.radiograph(np.zeros(values.shape), PixelIntensityRelationship=relationship)
        dataset.PixelData = np.rint(grey).astype(np.uint16).tobytes()
        log = NATIVE.model_copy(update={"log_decades": 65535 / 10000 / np.log(10)})
        found = load(make.save(dataset, tmp_path / "r.dcm"), settings=log)
        assert found.facts["air_in_field"] == in_field
        assert any("no unattenuated beam" in warning for warning in found.warnings) != in_field
        if in_field:
            np.testing.assert_allclose(found.image, values, atol=5e-3)
            assert found.facts["air_found_by"] == "median of the most exposed 0.3 % of the field"


def test_numbers_come_from_the_sheet_then_tags_then_config(tmp_path):
    settings = NATIVE.model_copy(update={"sdd_mm": 1300.0, "pixel_mm": 0.5, "source_to_isocentre_mm": 1000.0})
    path = make.save(make.radiograph(), tmp_path / "r.dcm")
    found = load(path, {}, settings)
    assert found.camera.sdd_mm == 1100
    assert found.geometry.sources["sdd_mm"] == "tag DistanceSourceToDetector"
    found = load(path, {"sdd_mm": 1200.0, "pixel_mm": 0.9}, settings)
    assert found.camera.sdd_mm == 1200
    assert found.geometry.sources["sdd_mm"] == "sheet, overruling tag DistanceSourceToDetector 1100.0"
    assert found.geometry.sources["pixel_mm"] == "sheet"
    assert found.warnings == [
        "sdd_mm: the tag DistanceSourceToDetector says 1100.0, the sheet 1200.0; the sheet is used"
    ]
    bare = make.radiograph(DistanceSourceToDetector=None, DistanceSourceToPatient=None, ImagerPixelSpacing=None)
    path = make.save(bare, tmp_path / "bare.dcm")
    found = load(path, {"sdd_mm": 1200.0}, settings)
    assert (found.camera.sdd_mm, found.camera.pixel_mm) == (1200, 0.5)
    assert found.geometry.sources["sdd_mm"] == "sheet"
    assert found.geometry.sources["pixel_mm"] == "config radiograph.pixel_mm"
    with pytest.raises(MskdexError, match=r"bare.dcm: .*DistanceSourceToDetector.* is nowhere.*sdd_mm"):
        load(path)
    with pytest.raises(MskdexError, match=r"pixel size.* is nowhere"):
        load(path, {"sdd_mm": 1200.0})


def test_distance_to_the_patient_from_magnification_or_assumed(tmp_path):
    tags = {"DistanceSourceToPatient": None}
    path = make.save(make.radiograph(EstimatedRadiographicMagnificationFactor=1.25, **tags), tmp_path / "m.dcm")
    assert load(path).geometry.source_to_isocentre_mm == pytest.approx(880.0)
    path = make.save(make.radiograph(**tags), tmp_path / "n.dcm")
    found = load(path)
    assert found.geometry.source_to_isocentre_mm == 950.0
    assert found.geometry.sources["source_to_isocentre_mm"].startswith("assumed")


@pytest.mark.parametrize(
    ("tags", "pixel"),
    [
        ({"ImagerPixelSpacing": None, "PixelSpacing": [0.7, 0.7]}, 0.7),
        ({"PixelSpacing": [0.7, 0.7]}, 0.9),
        (
            {
                "ImagerPixelSpacing": None,
                "PixelSpacing": [0.8, 0.8],
                "PixelSpacingCalibrationType": "GEOMETRY",
                "EstimatedRadiographicMagnificationFactor": 1.25,
            },
            1.0,
        ),
    ],
)
def test_pixel_size_at_the_detector(tmp_path, tags, pixel):
    assert load(make.save(make.radiograph(**tags), tmp_path / "r.dcm")).camera.pixel_mm == pytest.approx(pixel)


def test_pixel_size_calibrated_by_a_fiducial_is_not_the_detectors(tmp_path):
    tags = {"ImagerPixelSpacing": None, "PixelSpacing": [0.7, 0.7], "PixelSpacingCalibrationType": "FIDUCIAL"}
    with pytest.raises(MskdexError, match="pixel size"):
        load(make.save(make.radiograph(**tags), tmp_path / "r.dcm"))


@pytest.mark.parametrize("towards", ["LF", "RF", "LH", "RH", "FL", "HL", "FR", "HR"])
@pytest.mark.parametrize("view", ["AP", "PA"])
def test_every_stored_orientation_is_turned_to_the_cameras(tmp_path, towards, view):
    upright = VALUES if view == "AP" else VALUES[:, ::-1]
    image = VALUES
    if "R" in towards:
        image = image[:, ::-1]
    if "H" in towards:
        image = image[::-1]
    if towards[0] in "FH":
        image = image.T
    tags = {"PatientOrientation": list(towards), "ViewPosition": view}
    path = make.save(make.radiograph(np.ascontiguousarray(image), **tags), tmp_path / "r.dcm")
    found = load(path)
    np.testing.assert_allclose(found.image, upright, atol=2e-3)
    assert found.camera.shape == upright.shape
    assert camera_from_dicom(path, {}, NATIVE) == found.camera


@pytest.mark.parametrize("towards", ["LF", "RF", "LH", "RH", "FL", "HL", "FR", "HR"])
def test_central_ray_follows_the_image(towards):
    shape, at = (7, 11), (2, 9)
    image = np.zeros(shape)
    image[at] = 1
    turned = to_camera_frame(image, "AP", towards)
    assert turned[tuple(int(v) for v in pair_to_camera_frame(at, "AP", towards, shape))] == 1


def test_averaging_down_keeps_the_mean_and_the_central_ray(tmp_path):
    path = make.save(make.radiograph(ImagerPixelSpacing=[0.5, 0.5]), tmp_path / "r.dcm")
    row = {"principal_row_px": 20.0, "principal_column_px": 50.0}
    fine, coarse = load(path, row), load(path, row, RadiographSettings(working_pixel_mm=1.0))
    assert coarse.image.shape == (32, 40)
    mean = np.exp(-VALUES).reshape(32, 2, 40, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(np.exp(-coarse.image), mean, atol=2e-3)
    for i, n in enumerate((64, 80)):
        fine_mm = (fine.camera.principal_point_px[i] - (n - 1) / 2) * 0.5
        coarse_mm = (coarse.camera.principal_point_px[i] - (n / 2 - 1) / 2) * 1.0
        assert coarse_mm == pytest.approx(fine_mm)
    assert camera_from_dicom(path, row, RadiographSettings(working_pixel_mm=1.0)) == coarse.camera


def test_a_camera_needs_no_pixels_but_its_geometry(tmp_path):
    dataset = make.radiograph()
    del dataset.PixelData
    camera = camera_from_dicom(make.save(dataset, tmp_path / "r.dcm"), {}, NATIVE)
    assert (camera.sdd_mm, camera.pixel_mm, camera.shape) == (1100.0, 0.9, VALUES.shape)
    assert Camera.from_dict(json.loads(json.dumps(camera.as_dict()))) == camera
    path = make.save(make.radiograph(DistanceSourceToDetector=None), tmp_path / "bare.dcm")
    with pytest.raises(MskdexError, match=r"bare.dcm: .*DistanceSourceToDetector.* is nowhere"):
        camera_from_dicom(path, {}, NATIVE)
    path = make.save(make.radiograph(Modality="US"), tmp_path / "us.dcm")
    with pytest.raises(MskdexError, match=r"us.dcm is of modality US"):
        camera_from_dicom(path, {}, NATIVE)


def test_oblong_pixels_become_square(tmp_path):
    path = make.save(make.radiograph(ImagerPixelSpacing=[0.5, 1.0]), tmp_path / "r.dcm")
    found = load(path)
    assert found.camera.pixel_mm == 1.0
    assert found.image.shape == (32, 80)


def test_cell_means_are_exact_for_fractional_edges():
    image = np.arange(12.0).reshape(3, 4)
    found = average_down(image, (1.0, 1.0), 1.5)
    assert found.shape == (2, 2)
    assert found[0, 0] == pytest.approx(np.array([1, 0.5]) @ image[:2, :2] @ np.array([0.5, 1]) / 1.5**2)
    np.testing.assert_allclose(average_down(np.full((7, 9), 3.0), (1.0, 1.0), 2.3), 3.0)


def test_sixteen_bit_picture_with_camera_columns(tmp_path):
    image = sitk.GetImageFromArray(np.rint(50000 * np.exp(-VALUES)).astype(np.uint16))
    row = {"sdd_mm": 1100.0, "pixel_mm": 0.9, "intensity": "linear", "orientation": "LF", "view": "AP"}
    for suffix in ("png", "tif"):
        sitk.WriteImage(image, str(tmp_path / f"r.{suffix}"))
        found = load(tmp_path / f"r.{suffix}", row)
        np.testing.assert_allclose(found.image, VALUES, atol=2e-3)
        assert found.geometry.sources["sdd_mm"] == "sheet"


def test_collimation_by_tags_and_by_image(tmp_path):
    tags = {
        "CollimatorShape": "RECTANGULAR",
        "CollimatorLeftVerticalEdge": 10,
        "CollimatorRightVerticalEdge": 71,
        "CollimatorUpperHorizontalEdge": 5,
        "CollimatorLowerHorizontalEdge": 60,
    }
    expected = np.zeros(VALUES.shape, bool)
    expected[5:59, 10:70] = True
    shaded = np.where(expected, VALUES, 9.0)
    found = load(make.save(make.radiograph(shaded, **tags), tmp_path / "t.dcm"))
    np.testing.assert_array_equal(found.field, expected)
    np.testing.assert_allclose(found.image[expected], VALUES[expected], atol=2e-3)
    found = load(make.save(make.radiograph(shaded), tmp_path / "i.dcm"))
    np.testing.assert_array_equal(found.field, expected)


@pytest.mark.parametrize("shape", ["CIRCULAR", "POLYGONAL"])
def test_other_collimator_shapes(tmp_path, shape):
    tags = {
        "CollimatorShape": shape,
        "CenterOfCircularCollimator": [32, 40],
        "RadiusOfCircularCollimator": 25,
        "VerticesOfThePolygonalCollimator": [5, 10, 60, 10, 60, 70, 5, 70],
    }
    found = load(make.save(make.radiograph(**tags), tmp_path / "r.dcm"))
    area = np.pi * 25**2 if shape == "CIRCULAR" else 56 * 61
    assert found.field.sum() == pytest.approx(area, rel=0.03)


def test_a_display_shutter_bounds_the_field_and_one_that_leaves_nothing_is_said(tmp_path):
    edges = ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
    tags = {"ShutterShape": "RECTANGULAR"} | {f"Shutter{k}Edge": v for k, v in zip(edges, (4, 77, 3, 62), strict=True)}
    found = load(make.save(make.radiograph(**tags), tmp_path / "r.dcm"))
    assert found.field.sum() == 72 * 58
    assert found.facts["field_by_tags"] == ["ShutterShape RECTANGULAR"]
    for change, told in (
        ({"ShutterRightVerticalEdge": 2}, "leaves no image"),
        ({"ShutterLeftVerticalEdge": None}, "lacks numbers"),
        ({"ShutterShape": "BITMAP"}, "unknown kind"),
    ):
        found = load(make.save(make.radiograph(**(tags | change)), tmp_path / "r.dcm"))
        assert found.field.all()
        assert any(told in w for w in found.warnings)


def test_borders_blanked_to_white_do_not_count_as_air(tmp_path):
    grey = 40000 * np.exp(-VALUES)
    grey[:, :20] = grey[:7] = 65535
    found = load(stored(tmp_path, grey))
    assert not found.field[:, :20].any()
    assert not found.field[:7].any()
    assert found.field[7:, 20:].all()
    np.testing.assert_allclose(found.image[found.field], VALUES[found.field], atol=2e-3)


def test_saturated_air_beside_the_patient_stays_in_the_field():
    values = np.maximum(VALUES, 0.2)
    assert without_blank_borders(values, np.ones(values.shape, bool)).all()


@pytest.mark.parametrize("scattered", [0.7, 3.0])
def test_blades_end_where_attenuation_drops_along_a_straight_line(scattered):
    """Behind a blade lies the patient's scatter, which may be as bright as bone."""
    y, x = np.meshgrid(np.linspace(-1, 1, 300), np.linspace(-1, 1, 240), indexing="ij")
    body = 4.0 * np.sqrt(np.clip(1 - (x / 0.8) ** 2, 0, 1)) + 1.5 * (np.hypot(x - 0.3, y) < 0.2)
    opened = np.zeros(body.shape, bool)
    opened[20:-40, 15:-25] = True
    shaded = np.where(opened, body, 4.5 + scattered)
    found = without_blades(shaded, np.ones(body.shape, bool))
    assert not (found & ~opened).any()
    assert found.sum() > 0.97 * opened.sum()
    assert without_blades(body, np.ones(body.shape, bool)).all(), "a skin line, a bone's edge and air are no blades"
    assert without_blades(body.T, np.ones(body.T.shape, bool)).all()


def test_blades_are_not_mistaken_for_a_patient_without_air():
    full = np.tile(np.linspace(2.0, 4.0, 80), (64, 1))
    assert without_blades(full, np.ones(full.shape, bool)).all()


def test_lead_letter_is_masked_and_an_implant_is_not():
    image = make.radiograph_values((256, 320))
    letter, implant = np.zeros(image.shape, bool), np.zeros(image.shape, bool)
    letter[20:36, 22:25] = letter[33:36, 22:32] = True
    implant[140:165, 150:156] = True
    image[letter | implant] += 3.0
    field = without_markers(image, np.ones(image.shape, bool), 1.0)
    assert not field[letter].any()
    assert field[implant].all()
    assert field.mean() > 0.97


def test_markers_stay_when_the_config_says_so(tmp_path):
    image = make.radiograph_values((128, 160))
    image[8:20, 10:14] += 3
    path = make.save(make.radiograph(image, ImagerPixelSpacing=[2.0, 2.0]), tmp_path / "r.dcm")
    assert not load(path).field.all()
    assert load(path, settings=NATIVE.model_copy(update={"mask_markers": False})).field.all()


def test_folder_with_one_radiograph(tmp_path):
    make.save(make.radiograph(), tmp_path / "r.dcm")
    np.testing.assert_allclose(load(tmp_path).image, VALUES, atol=2e-3)
    make.save(make.radiograph(), tmp_path / "q.dcm")
    with pytest.raises(MskdexError, match=r"2 radiographs \(q.dcm, r.dcm\)"):
        load(tmp_path)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_compressed_pixels_that_are_cut_short_are_refused(tmp_path, syntax):
    dataset = make.radiograph()
    dataset.compress(syntax, generate_instance_uid=False)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame[: int(0.9 * len(frame))]])
    with pytest.raises(MskdexError, match="are cut short: their end is missing"):
        load(make.save(dataset, tmp_path / "r.dcm"))
