from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mskdex.config import Config
from mskdex.config.imaging import ImageSettings
from mskdex.config.objects import channels, default_objects
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.imaging.area_average import average_onto
from mskdex.imaging.radiograph import write_image
from mskdex.io.arrays import write_arrays
from mskdex.io.artifacts import read_json, write_json, write_parquet
from mskdex.io.stack import Greys, read_stack, write_stack
from mskdex.pipeline.cli.patient import stack as command
from mskdex.pipeline.settings import stack_stage
from mskdex.pipeline.stages.stack import stack

CHANNELS = channels(default_objects(), frozenset({"femur"}))
IMAGE = ImageSettings(rows=16, columns=24, pixel_mm=2.0)
FINE = Camera(1000.0, 1.0, (32, 48), (15.0, 24.5))


@pytest.fixture
def patient(tmp_path):
    folder = tmp_path / "V0001"
    rng = np.random.default_rng(0)
    grid = FINE.resized((16, 24), 2.0)
    write_image(folder / "radiograph.nii.gz", rng.uniform(0, 6, (32, 48)).astype(np.float32), 1.0)
    write_image(folder / "field.nii.gz", np.ones((32, 48), np.uint8), 1.0)
    camera = FINE.as_dict() | {
        "source_to_isocentre_mm": 850.0,
        "view": "AP",
        "camera_from_ct": np.eye(4).tolist(),
    }
    write_json(folder / "camera.json", camera)
    names = [c.name for c in CHANNELS]
    drr = rng.uniform(0, 1, (3, len(names), 16, 24)).astype(np.float32)
    write_arrays(folder / "drr.safetensors", {"drr": drr}, {"objects": names, "camera": grid.as_dict()})
    aligned = {"objects": ["pelvis_left", "sacrum"], "camera": grid.as_dict(), "visible": dict.fromkeys(names, 0.9)}
    aligned["visible"]["pectineus_left"] = None
    write_arrays(folder / "aligned.safetensors", {"aligned": drr[:, [12, 14]]}, aligned)
    table = pd.DataFrame({"object": names, "present": True, "truncated": False})
    for number, column in enumerate(("weighted_volume_cm3", "volume_cm3", "lean_mass_g")):
        table[column] = 100.0 * (number + 1) + np.arange(len(names))
    table.loc[table["object"] == "femur_left", "truncated"] = True
    absent = table["object"] == "pectineus_left"
    table.loc[absent, "present"] = False
    table.loc[absent, ["weighted_volume_cm3", "volume_cm3", "lean_mass_g"]] = np.nan
    write_parquet(folder / "quantities.parquet", table)
    return folder, drr


def _run(folder, chosen=CHANNELS, image=IMAGE):
    stack(
        folder / "drr.safetensors",
        folder / "aligned.safetensors",
        folder,
        folder / "quantities.parquet",
        chosen,
        image,
        folder / "stack.safetensors",
    )
    return read_stack(folder / "stack.safetensors")


def test_everything_of_a_patient_is_in_the_stack(patient):
    folder, drr = patient
    sample = _run(folder)
    assert sample.patient == "V0001"
    assert sample.objects == tuple(c.name for c in CHANNELS)
    assert sample.camera == FINE.resized((16, 24), 2.0)
    assert sample.source_to_isocentre_mm == 850.0
    assert sample.scale == "absolute"
    write_stack(folder / "relative.zst", replace(sample, scale="relative"))
    assert read_stack(folder / "relative.zst").scale == "relative"
    np.testing.assert_allclose(sample.drr.dense(), drr, rtol=1e-3)
    assert sample.aligned_objects == ("pelvis_left", "sacrum")
    np.testing.assert_allclose(sample.aligned.dense(), drr[:, [12, 14]], rtol=1e-3)
    unknown = [n for n, known in zip(sample.objects, sample.known, strict=True) if not known]
    assert unknown == ["pectineus_left", "femur_left"]
    assert sample.truth[:, 0].tolist() == [100.0, 200.0, 300.0]
    assert np.isfinite(sample.truth).all()
    assert sample.visible[0] == 0.9
    assert sample.visible[sample.objects.index("pectineus_left")] == 0.0


def test_the_radiographs_scale_goes_along(patient):
    folder, _ = patient
    assert _run(folder).relative is False
    camera = read_json(folder / "camera.json")
    for scale, expected in (("relative", True), ("absolute", False)):
        write_json(folder / "camera.json", camera | {"radiograph_scale": scale})
        assert _run(folder).relative is expected


def test_a_cohort_with_fewer_objects_takes_its_own(patient):
    folder, drr = patient
    fewer = tuple(c for c in CHANNELS if c.object in ("gluteus_minimus", "femur"))
    sample = _run(folder, fewer)
    assert sample.objects == tuple(c.name for c in fewer)
    places = [i for i, c in enumerate(CHANNELS) if c in fewer]
    np.testing.assert_allclose(sample.drr.dense(), drr[:, places], rtol=1e-3)
    assert sample.truth[1].tolist() == [200.0 + i if CHANNELS[i].name != "femur_left" else 0.0 for i in places]
    assert sample.aligned_objects == ()


def test_files_that_do_not_belong_together_are_named(patient):
    folder, _ = patient
    with pytest.raises(MskdexError, match=r"V0001.*drr\.safetensors was rendered for"):
        _run(folder, image=ImageSettings(rows=16, columns=24, pixel_mm=1.9))
    table = pd.read_parquet(folder / "quantities.parquet")
    write_parquet(folder / "quantities.parquet", table[table["object"] != "sacrum"])
    with pytest.raises(MskdexError, match=r"quantities\.parquet has no row for sacrum"):
        _run(folder)


def test_averaging_keeps_the_integral_and_a_linear_image():
    rng = np.random.default_rng(1)
    image, field = rng.uniform(0, 5, (32, 48)), np.ones((32, 48), bool)
    coarse, exposed = average_onto(image, field, FINE, FINE.resized((16, 24), 2.0))
    assert exposed.all()
    np.testing.assert_allclose(coarse, image.reshape(16, 2, 24, 2).mean(axis=(1, 3)), rtol=1e-5)
    # A grid that does not line up: a linear image keeps its value at every pixel's centre.
    v, u = np.mgrid[:32, :48]
    grid = FINE.resized((9, 13), 3.1)
    slope = 0.3 * v + 0.1 * u
    got, _ = average_onto(slope, field, FINE, grid)
    rows = FINE.principal_point_px[0] + (np.arange(9) - grid.principal_point_px[0]) * 3.1
    columns = FINE.principal_point_px[1] + (np.arange(13) - grid.principal_point_px[1]) * 3.1
    inside = np.ix_((rows > 2) & (rows < 29), (columns > 2) & (columns < 45))
    expected = 0.3 * rows[:, None] + 0.1 * columns[None]
    np.testing.assert_allclose(got[inside], expected[inside], atol=0.06)


def test_unexposed_pixels_neither_count_nor_dilute():
    image, field = np.full((32, 48), 2.0), np.ones((32, 48), bool)
    field[:, :10] = False
    image[:, :10] = 99.0
    coarse, exposed = average_onto(image, field, FINE, FINE.resized((16, 24), 2.0))
    assert exposed.tolist() == [[False] * 5 + [True] * 19] * 16
    assert (coarse[exposed] == 2.0).all()


def test_outside_the_field_the_nearest_exposed_pixel_goes_on():
    image, field = np.tile(np.arange(48.0), (32, 1)), np.ones((32, 48), bool)
    field[:, 40:] = False
    field[:4] = False
    image[~field] = 99.0
    coarse, exposed = average_onto(image, field, FINE, FINE.resized((16, 24), 2.0))
    assert not exposed[:, 20:].any()
    assert not exposed[:2].any()
    np.testing.assert_allclose(coarse, np.tile(np.minimum(2.0 * np.arange(24) + 0.5, 38.5), (16, 1)))
    dark, exposed = average_onto(image, np.zeros_like(field), FINE, FINE.resized((16, 24), 2.0))
    assert not exposed.any()
    assert (dark == 0.0).all()


def put_together(folder, settings):
    command(patient=folder, settings=settings, config=None, set=None, out=folder / "stack.safetensors")


def test_the_command_takes_the_cohorts_objects(patient):
    folder, _ = patient
    config = Config.model_validate({"image": IMAGE.model_dump()})
    has = [c for c in CHANNELS if c.object not in ("iliacus", "pectineus")]
    put_together(folder, stack_stage(config, has).model_dump_json())
    assert read_stack(folder / "stack.safetensors").objects == tuple(c.name for c in has)


def test_what_is_hardly_visible_is_not_trained(patient):
    folder, _ = patient
    config = Config.model_validate({"image": IMAGE.model_dump(), "evaluation": {"min_visible_fraction": 0.95}})
    put_together(folder, stack_stage(config, CHANNELS).model_dump_json())
    sample = read_stack(folder / "stack.safetensors")
    assert sample.known.sum() > 0
    assert not sample.counted.any(), "0.9 of each object is visible"
    config = Config.model_validate({"image": IMAGE.model_dump(), "evaluation": {"min_visible_fraction": 0.9}})
    put_together(folder, stack_stage(config, CHANNELS).model_dump_json())
    sample = read_stack(folder / "stack.safetensors")
    assert sample.counted.tolist() == sample.known.tolist()


def test_a_refused_pair_is_told_in_the_stack_unless_it_is_kept(patient):
    folder, _ = patient
    refused = {"pelvis": {"accepted": False, "reason": "confidence 0.10", "similarity": 0.1}}
    write_json(folder / "pose.json", {"bodies": refused})
    assert "confidence 0.10" in str(_run(folder).refused)
    config = Config.model_validate({"image": IMAGE.model_dump(), "cohort": {"keep_pairs": {"V0001": "seen"}}})
    put_together(folder, stack_stage(config, CHANNELS, "V0001").model_dump_json())
    assert read_stack(folder / "stack.safetensors").refused is None


def test_device_and_curve_of_the_grey_values_are_in_the_stack_unless_flagged(patient):
    folder, _ = patient
    assert _run(folder).greys == Greys()
    fit = {"attenuation": [1.0, 3.0], "grey": [2.0, 4.0]}
    content = {"device": "Corvia / DR-S / 2.4 / -", "standardisation": [5.0, 0.5], "fit": fit, "sound": [1.2, 3.3]}
    write_json(folder / "calibration.json", content | {"flags": [], "correction": None})
    assert _run(folder).greys == Greys(content["device"], (5.0, 0.5), (1.2, 3.3), (2.0, 4.0))
    thin = {"thin": {"sound": [0.0, 0.6], "grey": [0.5, 1.0]}, "flags": [], "correction": None}
    write_json(folder / "calibration.json", content | thin)
    whole = Greys(content["device"], (5.0, 0.5), (0.0, 0.6, 1.2, 3.3), (0.5, 1.0, 2.0, 4.0))
    assert _run(folder).greys == whole, "from air to the thickest part"
    write_json(folder / "calibration.json", content | {"flags": ["grey values: saturated"], "correction": None})
    assert _run(folder).greys == Greys(content["device"], (5.0, 0.5))
    absolute = {"device": "", "standardisation": None, "fit": None, "sound": None, "flags": [], "correction": None}
    write_json(folder / "calibration.json", absolute)
    assert _run(folder).greys == Greys()
