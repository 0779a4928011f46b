"""Labels on a part of the CT, turned, shifted and padded; and volumes that no patient has."""

import json

import hospital as make
import numpy as np
import pandas as pd
import pytest
from label_cases import CHANNELS, SETTINGS, as_read, expected, read, request

from mskdex.errors import MskdexError
from mskdex.imaging.label_checks import check_structures, structure_facts
from mskdex.imaging.labels import read_labels
from mskdex.imaging.structures import truncated_labels
from mskdex.imaging.usual_volumes import USUAL_VOLUMES_CM3
from mskdex.io.volume import Volume
from mskdex.pipeline.stages.importing import import_patient
from mskdex.pipeline.stages.quantities import quantities


def part(low=(0, 0, 0), high=(20, 30, 40)) -> Volume:
    """A cut-out of the phantom's labels, (z, y, x) voxels."""
    labels = make.phantom()[1]
    affine = labels.world_from_voxel.copy()
    affine[:3, 3] = (affine @ [*low[::-1], 1.0])[:3]
    cut = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Volume(np.ascontiguousarray(labels.array[cut]), affine)


CUTS = [
    ({"low": (5, 0, 0)}, {"femur_left", "femur_right", "gluteus_maximus_left", "gluteus_maximus_right"}),
    ({"high": (8, 30, 40)}, {"femur_left", "femur_right", "gluteus_maximus_left", "gluteus_maximus_right"}),
    ({"low": (0, 8, 0)}, {"gluteus_maximus_left", "gluteus_maximus_right", "sacrum"}),
    ({"low": (0, 0, 11)}, {"gluteus_maximus_left", "pelvis_left", "femur_left"}),
    ({"high": (20, 30, 29)}, {"gluteus_maximus_right", "pelvis_right", "femur_right"}),
    ({"low": (0, 0, 3), "high": (20, 28, 38)}, set()),
]


@pytest.mark.parametrize("order", ["RAS", "LPS", "SRA"])
@pytest.mark.parametrize(("box", "cut"), CUTS)
def test_a_cut_out_truncates_what_its_edge_cuts(tmp_path, box, cut, order):
    found = read(make.write(tmp_path / "l.nii.gz", part(**box), order), "phantom")
    labels = expected(make.phantom()[1])
    outside = np.ones(labels.shape, bool)
    low, high = box.get("low", (0, 0, 0)), box.get("high", labels.shape)
    outside[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = False
    labels[outside] = 0
    np.testing.assert_array_equal(found.volume.array, labels)
    assert {n for n, c in CHANNELS.items() if c.label in found.cut} == cut
    assert any("cover a part of the CT" in w for w in found.warnings) == bool(cut)


def test_a_cut_out_is_truncated_in_every_table(tmp_path):
    row = make.patient(tmp_path / "in")
    make.write(tmp_path / "in" / "labels.nii.gz", part((5, 0, 0)))
    import_patient(row, make.settings(ct={"spacing_mm": 2.0}), tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "import.json").read_text(encoding="utf-8"))
    assert facts["structures"]["femur_left"]["truncated"]
    assert not facts["structures"]["pelvis_left"]["truncated"]
    files = [tmp_path / "out" / name for name in ("ct.nii.gz", "labels.nii.gz")]
    quantities(*files, SETTINGS.channels, tmp_path / "q.parquet", tmp_path / "out" / "import.json")
    table = pd.read_parquet(tmp_path / "q.parquet").set_index("object")
    assert table.loc["femur_left", "truncated"]
    assert not table.loc["pelvis_left", "truncated"]


def test_masks_on_a_part_of_the_ct(tmp_path):
    folder = make.masks(tmp_path / "masks", part((5, 0, 0)))
    found = read(folder)
    assert {n for n, c in CHANNELS.items() if c.label in found.cut} == CUTS[0][1]


@pytest.mark.parametrize("layers", [False, True])
def test_a_segmentation_cropped_to_its_content_is_whole_and_a_cut_one_is_not(tmp_path, layers):
    whole = read(make.seg_nrrd(tmp_path / "w.seg.nrrd", make.phantom()[1], crop=True, layers=layers))
    assert as_read(whole)
    assert whole.cut == frozenset()
    cut = read(make.seg_nrrd(tmp_path / "c.seg.nrrd", part((6, 0, 0)), crop=True, layers=layers))
    assert {CHANNELS["femur_left"].label, CHANNELS["femur_right"].label} <= cut.cut
    assert CHANNELS["pelvis_left"].label not in cut.cut


@pytest.mark.parametrize("shift", [(1.0, 0, 0), (0, 1.25, 0), (0, 0, 1.5), (-1.0, 1.25, -1.5)])
def test_half_a_voxel_is_refused_with_the_numbers(tmp_path, shift):
    labels = make.phantom()[1]
    moved = labels.world_from_voxel.copy()
    moved[:3, 3] += shift
    told = ", ".join(f"{v:g}" for v in shift).replace(".", r"\.")
    with pytest.raises(MskdexError, match=rf"another grid than the CT: shifted by \({told}\) mm"):
        read(make.write(tmp_path / "l.nii.gz", Volume(labels.array, moved)), "phantom")
    with pytest.raises(MskdexError, match=r"off its grid by \(.*0\.50.*\) voxels"):
        read(make.write(tmp_path / "l.nii.gz", Volume(labels.array[:18], moved)), "phantom")


@pytest.mark.parametrize(("value", "slices"), [(-1024, 6), (0, 6), (-1024, 5), (300, 7)])
def test_blank_slices_truncate(value, slices):
    ct, labels = make.phantom()
    hu, ids = ct.array.copy(), expected(labels)
    ids[-slices:], hu[-slices:] = 0, value
    beside = set(np.unique(ids[-slices - 1]).tolist()) - {0}
    assert beside
    assert truncated_labels(ct.array, ids) == set()
    assert truncated_labels(hu, ids) == beside


def test_padding_of_a_part_of_a_slice_truncates_from_above_and_below():
    ct = np.zeros((12, 20, 20), np.int16)
    ct[:, 0, 0] = 5
    ids = np.zeros_like(ct, dtype=np.uint8)
    ids[2:8, 4:12, 4:12] = 1
    assert truncated_labels(ct, ids) == set()
    ct[8, 2:14, 2:14] = -1024
    assert truncated_labels(ct, ids) == {1}


def facts(volume_cm3: float, name: str = "gluteus_maximus_left", **more):
    """What the import knows of the phantom, one structure's volume set."""
    ct, labels = make.phantom()
    mapped = Volume(expected(labels), labels.world_from_voxel)
    found = structure_facts(ct, mapped, SETTINGS.channels)
    found[name] |= {"volume_cm3": volume_cm3} | more
    return {n: f for n, f in found.items() if n == name}, ct, mapped, SETTINGS.channels


CHECKED = SETTINGS.ct.model_copy(update={"min_volume_ratio": 0.01})


@pytest.mark.parametrize("name", ["gluteus_maximus_left", "femur_right", "sacrum", "pelvis_left"])
@pytest.mark.parametrize(("ratio", "refused"), [(0.0099, "less"), (0.0101, ""), (9.9, ""), (10.1, "more")])
def test_a_volume_beyond_the_usual_ones_is_refused(name, ratio, refused):
    usual = USUAL_VOLUMES_CM3[CHANNELS[name].object]
    if not refused:
        check_structures(*facts(ratio * usual, name), CHECKED)
        return
    with pytest.raises(MskdexError, match=rf"label {name} has [\d.e+]+ cm3, {refused} than ct\.m.*usual {usual:g} cm3"):
        check_structures(*facts(ratio * usual, name), CHECKED)


def test_a_truncated_structure_may_be_small_but_not_large():
    check_structures(*facts(0.1, truncated=True), CHECKED)
    with pytest.raises(MskdexError, match="more than"):
        check_structures(*facts(20_000.0, truncated=True), CHECKED)


def test_the_limits_can_be_turned_off():
    off = SETTINGS.ct.model_copy(update={"min_volume_ratio": 0.0, "max_volume_ratio": None})
    for volume in (1e-3, 1e6):
        check_structures(*facts(volume), off)


def test_every_default_object_has_a_usual_volume():
    assert {c.object for c in SETTINGS.channels} | {"iliopsoas"} <= set(USUAL_VOLUMES_CM3)


def test_usual_volumes_are_those_of_the_visible_human(shared_data):
    table = pd.read_csv(shared_data / "vhm_atlas" / "objects.csv").set_index("object")["volume_cm3"]
    sides = table.groupby(table.index.str.replace("_left|_right", "", regex=True)).mean()
    sides["iliopsoas"] = sides["iliacus"] + sides["psoas_major"]
    for name, volume in USUAL_VOLUMES_CM3.items():
        assert volume == pytest.approx(sides[name], abs=1.0)


def test_a_voxel_size_that_is_wrong_by_ten_stops_the_import(tmp_path):
    row = make.patient(tmp_path / "in")
    with pytest.raises(MskdexError, match=r"labels\.nii\.gz: label gluteus_maximus_left has 3\.24 cm3, less than"):
        import_patient(row, make.settings(ct={"min_volume_ratio": 0.01}), tmp_path / "out")


def test_labels_of_a_resampled_grid_keep_what_their_edge_cuts(tmp_path):
    _, fine = make.phantom((40, 60, 80), (1.0, 1.25, 1.5))
    affine = fine.world_from_voxel.copy()
    affine[2, 3] += 10 * 1.5
    path = make.write(tmp_path / "l.nii.gz", Volume(fine.array[10:], affine))
    lenient = SETTINGS.ct.model_copy(update={"resample_labels": True})
    found = read_labels(request(path), make.phantom()[0], lenient)
    assert CHANNELS["femur_left"].label in found.cut
    assert CHANNELS["pelvis_left"].label not in found.cut


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [((0, 0, 0), (19, 30, 40), "1 at the top"), ((1, 0, 2), (20, 30, 40), "2 at the left, 1 at the bottom")],
)
def test_labels_that_reach_beyond_the_ct_are_told(tmp_path, low, high, told):
    ct, labels = make.phantom()
    own = part(low, high)
    smaller = Volume(ct.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], own.world_from_voxel)
    asked = request(make.write(tmp_path / "l.nii.gz", labels), "phantom")
    found = read_labels(asked, smaller, SETTINGS.ct)
    np.testing.assert_array_equal(found.volume.array, expected(own))
    assert [w for w in found.warnings if "reach beyond" in w] == [
        f"labels reach beyond the CT by voxels ({told}): the CT may lack slices or be cropped; look at it"
    ]
