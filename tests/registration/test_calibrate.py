"""The CT tells whether a radiograph's grey values are what its scale says."""

import json
import re
import shutil

import numpy as np
import pytest
from scipy import ndimage

from mskdex.config import Config
from mskdex.config.registration import CalibrationSettings
from mskdex.exposure.exposing import LEAN_HU, MATERIALS, Beam
from mskdex.exposure.spectrum import DENSITY_G_CM3
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.imaging.radiograph import write_image
from mskdex.io.artifacts import write_json
from mskdex.io.nifti import read_nifti
from mskdex.pipeline.stages.calibrate import ComparedGreys, RegisteredPose, assessment, calibrate, compare
from mskdex.registration.bodies import find_bodies
from mskdex.registration.contrast import WATER_PER_MM
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.grey_calibration import (
    LEAST_PIXELS,
    PIXEL_MM,
    _dilated,
    _eroded,
    covered_rays,
    ct_nepers,
    fit_greys,
    moving_pixels,
    patient_attenuation,
)
from mskdex.registration.grey_flags import correction, grey_flags
from mskdex.registration.joint import joint_centre
from mskdex.registration.thin_parts import ThinParts, air_pixels, paths_within, thin_parts

SETTINGS = CalibrationSettings()
CHANNELS = Config().channels
WRONG = {
    "decades halved": (lambda r: 0.5 * r, "times as much as the CT's.*decades"),
    "decades doubled": (lambda r: 2.0 * r, "times as much as the CT's.*decades"),
    "no air": (lambda r: r - 0.8, "its air or its scale is wrong"),
    "saturated at half of air": (lambda r: np.maximum(r - np.log(2.0), 0.0), "where the CT's is 3 nepers"),
    "saturated at a tenth of air": (lambda r: np.maximum(r - np.log(10.0), 0.0), "where the CT's is 3 nepers"),
    "saturated in soft tissue": (lambda r: np.maximum(r, np.quantile(r, 0.6)), "calibration.bend"),
    "sigmoid": (lambda r: 5.0 / (1.0 + np.exp(-1.6 * (r - 3.2))), "calibration.bend|calibration.slope"),
    "inverted": (lambda r: 6.0 - r, "may be inverted"),
}


@pytest.fixture(scope="module")
def compared(patients):
    """CT's nepers and grey values of three virtual patients of 5 mm at the pelvis' true pose."""
    from registration_cases import virtual

    found = []
    for number in (2, 3, 4):
        case = virtual(number, patients, 5.0)
        pose = RegisteredPose("pelvis", case.truth["pelvis"])
        view = case.patient.view.at(PIXEL_MM)
        found.append(compare(case.ct.array, case.ct.world_from_voxel, case.patient.bodies, view, pose).pixels)
    return found


def test_sound_radiographs_are_not_flagged(compared):
    for nepers, grey in compared:
        fit = fit_greys(nepers, grey)
        assert fit is not None
        assert fit.pixels > 1000
        assert grey_flags(fit, "absolute", SETTINGS) == []
        assert grey_flags(fit, "relative", SETTINGS) == []
        assert 3.1 < fit.at_reference < 3.5


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_scales_are_flagged(compared, kind):
    change, words = WRONG[kind]
    for nepers, grey in compared:
        fit = fit_greys(nepers, change(grey))
        assert fit is not None
        assert re.search(words, " ".join(grey_flags(fit, "absolute", SETTINGS))), fit


def test_a_processed_radiograph_may_have_any_rising_tone_curve(compared):
    for nepers, grey in compared:
        for change in (WRONG["sigmoid"][0], WRONG["decades doubled"][0], np.sqrt):
            assert grey_flags(fit_greys(nepers, change(grey)), "relative", SETTINGS) == []
        for kind in ("inverted", "saturated in soft tissue"):
            assert grey_flags(fit_greys(nepers, WRONG[kind][0](grey)), "relative", SETTINGS), kind
        shuffled = np.random.default_rng(0).permutation(grey)
        assert grey_flags(fit_greys(nepers, shuffled), "relative", SETTINGS)


def test_the_line_and_the_curve_are_those_that_made_the_greys():
    rng = np.random.default_rng(0)
    nepers = rng.uniform(1, 5, 4000)
    grey = 0.9 * nepers + 0.3 + rng.normal(0, 0.03, 4000)
    grey[:800] += 1.5
    fit = fit_greys(nepers, grey)
    assert fit.slope == pytest.approx(0.9, abs=0.02)
    assert fit.offset == pytest.approx(0.3, abs=0.06)
    assert fit.at_reference == pytest.approx(3.0, abs=0.02)
    assert fit.bend == pytest.approx(1.0, abs=0.1)
    assert fit.residual < 0.1
    assert fit.pixels == 4000
    assert (np.diff(fit.grey) >= 0).all()
    assert fit_greys(nepers[:100], grey[:100]) is None
    assert fit_greys(np.full(4000, 3.0), grey) is None


def test_a_correction_leads_to_the_expected_line_and_only_where_a_line_is_the_cure():
    nepers = np.linspace(1, 5, 1000)
    gain, shift = correction(fit_greys(nepers, 2.0 * nepers + 0.5), "absolute", SETTINGS)
    corrected = gain * (2.0 * nepers + 0.5) + shift
    np.testing.assert_allclose(corrected, SETTINGS.expected_slope * nepers + SETTINGS.expected_offset, atol=1e-3)
    assert correction(fit_greys(nepers, 2.0 * nepers), "relative", SETTINGS) is None
    assert correction(fit_greys(nepers, -nepers), "absolute", SETTINGS) is None
    assert correction(fit_greys(nepers, np.maximum(nepers, 4.0)), "absolute", SETTINGS) is None


def cylinder():
    """A body of water that the CT cuts at both ends, a table under it, and the camera before it."""
    hu = np.full((40, 60, 60), -1000, np.int16)
    y, x = np.mgrid[:60, :60] - 29.5
    hu[:, x**2 + y**2 < 18**2] = 0
    hu[:, 2:4, 5:55] = 200
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    centre = np.array([118.0, 118.0, 78.0])
    camera = Camera(1000.0, 4.0, (80, 80), (39.5, 39.5))
    return hu, affine, camera, nominal_pose(centre, 800.0)


def test_the_table_does_not_attenuate_and_water_does_as_it_should():
    hu, affine, camera, pose = cylinder()
    attenuation = patient_attenuation(hu)
    assert attenuation[:, 2:4].max() == 0.0
    nepers = ct_nepers(attenuation, affine, camera, pose)
    assert nepers[39:41, 39:41].mean() == pytest.approx(0.02 * 2 * 18 * 4, rel=0.03)


def test_volumes_are_eroded_and_dilated_as_scipy_does():
    mask = np.random.default_rng(0).random((6, 7, 8)) < 0.8
    np.testing.assert_array_equal(_eroded(mask), ndimage.binary_erosion(mask))
    np.testing.assert_array_equal(_dilated(~mask), ndimage.binary_dilation(~mask))


def test_rays_that_leave_the_ct_inside_the_body_are_not_compared():
    hu, affine, camera, pose = cylinder()
    covered = covered_rays(patient_attenuation(hu), affine, camera, pose)
    middle = covered[:, 39]
    assert middle[35:45].all()
    assert not middle[15:19].any(), "there the cone passes through the CT's upper end"
    whole = np.pad(patient_attenuation(hu), 1)
    assert covered_rays(whole, affine, camera, pose).all(), "a body that ends within the CT is covered"


def test_air_is_where_rays_pass_the_body_within_the_ct():
    hu, affine, _, pose = cylinder()
    camera = Camera(1000.0, 4.0, (80, 120), (39.5, 59.5))
    within = paths_within(hu.shape, affine, camera, pose)
    assert within[39, 59] == pytest.approx(240.0, abs=8.0), "60 slices of 4 mm"
    nepers = ct_nepers(patient_attenuation(hu), affine, camera, pose)
    view = FixedImage(np.zeros(camera.shape), np.ones(camera.shape, bool), camera)
    air = air_pixels(nepers, view, np.zeros(camera.shape, bool), within)
    beside, beyond = camera.project((pose @ [[28.0], [118.0], [78.0], [1.0]])[:3, 0][None])[0], (39, 2)
    assert air[tuple(np.round(beside).astype(int))]
    assert not air[beyond], "there the CT does not tell what is beside it"
    assert not air[nepers > 0].any()


def test_thin_parts_go_on_from_the_fit_down_to_air():
    rng = np.random.default_rng(0)
    nepers = np.sort(np.r_[np.zeros(500), rng.uniform(0.1, 5.0, 4500)]).reshape(50, 100)
    tone = 4.0 / (1.0 + np.exp(-1.6 * (nepers - 3.2)))
    fit = fit_greys(nepers[nepers > 2.0], tone[nepers > 2.0])
    thin = thin_parts(fit, nepers, tone, nepers > 0.05, nepers == 0.0)
    assert thin.attenuation[0] == 0.0
    assert thin.grey[0] == pytest.approx(4.0 / (1.0 + np.exp(1.6 * 3.2)))
    assert (np.diff(thin.attenuation) > 0).all()
    np.testing.assert_allclose(thin.grey, 4.0 / (1.0 + np.exp(-1.6 * (np.array(thin.attenuation) - 3.2))), atol=0.03)
    assert max(thin.grey) <= fit.grey[0]
    nowhere = np.zeros_like(nepers, bool)
    assert thin_parts(fit, nepers, tone, nowhere, nowhere) == ThinParts((), ())


def test_thighs_and_femurs_are_not_compared(case):
    camera, pose = case.patient.view.at(PIXEL_MM).camera, case.truth["pelvis"]
    moving = moving_pixels(case.patient.bodies, "pelvis", camera, pose)
    pelvis = camera.project(case.patient.bodies["pelvis"].surface_mm @ pose[:3, :3].T + pose[:3, 3])
    assert moving[int(pelvis[:, 0].max()) + 1 :].all()
    assert not moving[: int(pelvis[:, 0].min())].all()
    head = case.patient.bodies["femur_left"].centre_mm
    row, column = np.round(camera.project(pose[:3, :3] @ head + pose[:3, 3])).astype(int)
    assert moving[row, column]


def test_what_lies_below_the_hips_moves_with_the_thighs(case):
    """The perineum, between the femurs, is as far from both of them as it can be."""
    bodies, pose = case.patient.bodies, case.truth["pelvis"]
    camera = case.patient.view.at(PIXEL_MM).camera
    sides = [bodies[f"femur_{side}"].surface_mm for side in ("left", "right")]
    hip = np.mean([joint_centre(side, bodies["pelvis"].surface_mm) for side in sides], axis=0)
    row, column = np.round(camera.project(pose[:3, :3] @ hip + pose[:3, 3])).astype(int)
    below = round(20.0 / camera.pixel_mm)
    assert moving_pixels(bodies, "pelvis", camera, pose)[row + below, column]
    assert not moving_pixels(bodies, "pelvis", camera, pose, thighs=False)[row + below, column]
    assert not moving_pixels(bodies, "pelvis", camera, pose)[row - below, column]


BEAMS = ((70, 3.0, 0.4), (80, 3.0, 0.6), (90, 6.0, 0.3), (75, 3.0, 0.8), (85, 4.0, 0.5))
"""Tube voltage in kV, filtration in mm of aluminium, scattered over primary radiation behind the grid at 4 nepers."""


@pytest.mark.parametrize("beam", BEAMS, ids=str)
def test_other_tubes_and_grids_are_sound_and_misread_decades_are_not(beam):
    voltage, filtration, scattered = beam
    thick_mm = np.linspace(90.0, 240.0, 2000)
    muscle = np.zeros((4, 2000))
    muscle[MATERIALS.index("muscle")] = 0.1 * thick_mm * DENSITY_G_CM3["muscle"]
    primary = Beam.of(voltage, filtration).transmission(muscle)
    grey = -np.log(primary * (1.0 - scattered / 4.0 * np.log(primary)))
    nepers = WATER_PER_MM * (1.0 + 0.001 * LEAN_HU) * thick_mm
    assert grey_flags(fit_greys(nepers, grey), "absolute", SETTINGS) == []
    for misread in (0.5, 2 / 3, 4 / 5, 4 / 3, 3 / 2, 2.0):
        assert grey_flags(fit_greys(nepers, misread * grey), "absolute", SETTINGS), misread


@pytest.mark.parametrize(("gain", "shift"), [(0.7, 0.95), (0.65, 1.1), (0.8, 0.7)])
def test_an_offset_that_makes_up_for_the_slope_is_told_by_air_and_the_edge_of_the_body(gain, shift):
    """The line alone is as of a sound image behind much scattered radiation."""
    thick_mm = np.tile(np.r_[np.zeros(40), np.linspace(4.0, 240.0, 160)], (60, 1))
    muscle = np.zeros((4, *thick_mm.shape))
    muscle[MATERIALS.index("muscle")] = 0.1 * thick_mm * DENSITY_G_CM3["muscle"]
    primary = Beam.of(80, 3.0).transmission(muscle)
    grey = -np.log(primary * (1.0 - 0.1 * np.log(primary)))
    nepers = WATER_PER_MM * (1.0 + 0.001 * LEAN_HU) * thick_mm
    body, nothing = nepers > 0, np.zeros(nepers.shape, bool)

    def flags(image, body, air):
        return assessment(ComparedGreys(nepers, image, nepers > 1.8, body, air), "absolute", SETTINGS)["flags"]

    misread = gain * grey + shift
    assert flags(grey, body, ~body) == flags(grey, body, nothing) == []
    assert re.search("bare air.*max_thin_off", " ".join(flags(misread, body, ~body)))
    assert re.search("max_thin_off", " ".join(flags(misread, body, nothing)))
    assert flags(misread, nepers > 1.8, nothing) == [], "what is not shown tells nothing"


def test_a_ct_of_little_above_the_hips_is_compared_below_them(case):
    """Rather than not at all."""
    view, pose = case.patient.view.at(PIXEL_MM), case.truth["pelvis"]
    hip = joint_centre(case.patient.bodies["femur_left"].surface_mm, case.patient.bodies["pelvis"].surface_mm)
    first = int(np.ceil(np.linalg.solve(case.ct.world_from_voxel, [*hip, 1.0])[2] + 12.0 / case.ct.spacing_mm[2]))
    bodies = find_bodies(case.ct.array[:first], case.labels.array[:first], case.ct.world_from_voxel, CHANNELS)
    args = case.ct.array[:first], case.ct.world_from_voxel, bodies, view, RegisteredPose("pelvis", pose)
    assert len(compare(*args).pixels[0]) >= LEAST_PIXELS


def test_the_stage_writes_fit_flags_and_correction(case, patients, tmp_path):
    folder = tmp_path / "V0001"
    shutil.copytree(patients / "3mm" / "imported" / "V0001", folder)
    entry = {"accepted": True, "camera_from_ct": case.truth["pelvis"].tolist()}
    write_json(folder / "pose.json", {"bodies": {"pelvis": entry}})
    files = (folder / "ct.nii.gz", folder / "labels.nii.gz", folder, CHANNELS, SETTINGS, folder / "calibration.json")
    calibrate(*files)
    content = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    assert (content["scale"], content["body"], content["reason"]) == ("absolute", "pelvis", None)
    assert content["flags"] == []
    assert content["correction"] is None
    assert content["manifest"]["stage"] == "calibrate"
    thin = content["thin"]
    assert (thin["sound"][0], thin["grey"][0]) == (0.0, pytest.approx(0.0, abs=0.05)), "air"
    np.testing.assert_allclose(thin["grey"], thin["sound"], atol=0.35)
    assert thin["sound"][-1] < content["sound"][0]
    image, affine = read_nifti(folder / "radiograph.nii.gz")[:2]
    write_image(folder / "radiograph.nii.gz", (2.0 * image).astype(np.float32), float(affine[0, 0]))
    calibrate(*files)
    content = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    assert "decades" in content["flags"][0]
    assert content["correction"][0] == pytest.approx(0.5, abs=0.05)
    write_json(folder / "pose.json", {"bodies": {"pelvis": entry | {"accepted": False}}})
    calibrate(*files)
    content = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    assert content["fit"] is None
    assert "no body is registered" in content["reason"]
