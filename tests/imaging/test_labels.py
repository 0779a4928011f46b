import json

import hospital as make
import nibabel as nib
import numpy as np
import pytest
from label_cases import CHANNELS, SETTINGS, WANTED, expected, request

from mskdex.config import Config
from mskdex.errors import MskdexError
from mskdex.imaging.label_checks import check_structures, structure_facts
from mskdex.imaging.label_names import match_names, parse_name
from mskdex.imaging.labels import LabelRequest, read_labels
from mskdex.io.volume import Volume, volume_from_sitk, volume_to_sitk


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("order", ["RAS", "LPS", "SRA"])
def test_label_map_by_ids(tmp_path, suffix, order):
    ct, labels = make.phantom()
    found = read_labels(request(make.write(tmp_path / f"l.{suffix}", labels, order)), ct, SETTINGS.ct)
    np.testing.assert_array_equal(found.volume.array, expected(labels))
    assert found.warnings == []


def test_what_a_header_says_beside_the_grid_is_without_effect(tmp_path):
    ct, labels = make.phantom()
    path = make.write(tmp_path / "l.nii.gz", labels)
    image = nib.load(path)
    image = nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
    image.header.set_intent("t test", (3.0,), "femur_right")
    image.header["descrip"], image.header["aux_file"] = b"gluteus", b"colours.lut"
    image.header["cal_max"], image.header["cal_min"] = 3, 1
    nib.save(image, path)
    found = read_labels(request(path), ct, SETTINGS.ct)
    np.testing.assert_array_equal(found.volume.array, expected(labels))
    assert found.warnings == []


def test_several_ids_of_one_side_are_united_and_names_stand_for_ids(tmp_path):
    ct, labels = make.phantom()
    config = Config.model_validate(
        {
            "objects": [
                {"name": "pelvis", "kind": "bone", "body": "pelvis"},
                {"name": "lower_bones", "kind": "bone", "paired": False, "body": "femur"},
            ],
            "label_sources": {"mine": {"pelvis": [[1, 5], ["two"]], "lower_bones": [3, 4]}},
        }
    )
    source = config.label_sources["mine"]
    path = make.write(tmp_path / "l.nii.gz", labels)
    (tmp_path / "l.json").write_text(json.dumps({"two": 2, "other": 9}), encoding="utf-8")
    found = read_labels(LabelRequest(path, "mine", source, config.channels), ct, SETTINGS.ct).volume.array
    assert (found == 1).sum() == np.isin(labels.array, [1, 5]).sum()
    assert (found == 2).sum() == (labels.array == 2).sum()
    assert (found == 3).sum() == np.isin(labels.array, [3, 4]).sum()


@pytest.mark.parametrize("form", ["name to id", "id to name", "nnU-Net dataset.json"])
def test_named_label_map_reads_the_json_beside_it(tmp_path, form):
    ct, labels = make.phantom()
    path = make.write(tmp_path / "labels.nii.gz", labels)
    names = {"background": 0} | {name: i for i, name in make.NAMES.items()} | {"bladder": 11}
    content = {"name to id": names, "id to name": {str(i): n for n, i in names.items()}}.get(form, {"labels": names})
    (tmp_path / "labels.json").write_text(json.dumps(content), encoding="utf-8")
    found = read_labels(request(path, "named"), ct, SETTINGS.ct)
    np.testing.assert_array_equal(found.volume.array, expected(labels))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_folder_of_masks(tmp_path, suffix):
    ct, labels = make.phantom()
    folder = make.masks(tmp_path / "masks", labels, suffix)
    found = read_labels(request(folder, "totalsegmentator"), ct, SETTINGS.ct)
    np.testing.assert_array_equal(found.volume.array, expected(labels))
    assert found.facts["format"] == "masks"


@pytest.mark.parametrize("how", [{}, {"crop": True}, {"layers": True}, {"layers": True, "crop": True}])
def test_slicer_segmentation(tmp_path, how):
    ct, labels = make.phantom()
    path = make.seg_nrrd(tmp_path / "s.seg.nrrd", labels, **how)
    found = read_labels(request(path, "named"), ct, SETTINGS.ct)
    np.testing.assert_array_equal(found.volume.array, expected(labels))


def test_dicom_segmentation(tmp_path):
    ct, labels = make.phantom()
    lps = volume_to_sitk(labels)
    import SimpleITK as sitk

    order = "LPS"
    turned = volume_from_sitk(sitk.DICOMOrient(lps, order))
    slices = make.slice_datasets(volume_from_sitk(sitk.DICOMOrient(volume_to_sitk(ct), order)))
    path = make.dicom_seg(tmp_path / "seg.dcm", turned, slices)
    for where in (path, tmp_path):
        found = read_labels(request(where, "named"), ct, SETTINGS.ct)
        np.testing.assert_array_equal(found.volume.array, expected(labels))
        assert found.facts["format"] == "dicom_seg"


def test_labels_on_another_grid_are_resampled_only_when_allowed(tmp_path):
    ct, labels = make.phantom()
    _, fine_labels = make.phantom((40, 60, 80), (1.0, 1.25, 1.5))
    path = make.write(tmp_path / "l.nii.gz", fine_labels)
    with pytest.raises(MskdexError, match=r"80 x 60 x 40 voxels against 40 x 30 x 20.*resample_labels"):
        read_labels(request(path), ct, SETTINGS.ct)
    found = read_labels(request(path), ct, SETTINGS.ct.model_copy(update={"resample_labels": True}))
    assert "resampled" in found.warnings[0]
    agree = (found.volume.array > 0) & (labels.array > 0)
    assert agree.sum() / (labels.array > 0).sum() > 0.8


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("Left Gluteus Maximus muscle", ("gluteus_maximus", "left")),
        ("gluteus_maximus_L", ("gluteus_maximus", "left")),
        ("hip-right.nii.gz", ("pelvis", "right")),
        ("GluteusMediusRight", ("gluteus_medius", "right")),
        ("R_Femur", ("femur", "right")),
        ("sacrum", ("sacrum", None)),
        ("m. iliacus lt", ("iliacus", "left")),
        ("left_hip_bone", ("pelvis", "left")),
        ("l", ("l", None)),
    ],
)
def test_names_are_understood(name, meaning):
    assert parse_name(name) == meaning


def test_exact_name_wins_over_similar_ones():
    channel = CHANNELS["femur_left"]
    assert match_names(channel, ["Femur L", "femur_left.nii.gz", "femur_right"]) == ["femur_left.nii.gz"]
    assert match_names(CHANNELS["sacrum"], ["Sacrum_L", "sacrum_right"]) == ["Sacrum_L", "sacrum_right"]


def facts_of(ct: Volume, array: np.ndarray):
    mapped = Volume(array, ct.world_from_voxel)
    return structure_facts(ct, mapped, SETTINGS.channels), mapped


def test_structure_facts_agree_with_direct_counts():
    ct, labels = make.phantom()
    array = expected(labels)
    array[0, 0, 0] = CHANNELS["sacrum"].label
    facts, _ = facts_of(ct, array)
    for i, name in WANTED.items():
        inside = array == CHANNELS[name].label
        assert facts[name]["voxels"] == inside.sum()
        assert facts[name]["volume_cm3"] == pytest.approx(inside.sum() * 2.0 * 2.5 * 3.0 / 1000)
        assert facts[name]["mean_hu"] == pytest.approx(ct.array[inside].mean(), abs=0.01)
        assert facts[name]["median_hu"] == np.sort(ct.array[inside])[(inside.sum() - 1) // 2]
        assert facts[name]["truncated"] == (i == 5)
        assert facts[name]["pieces"] == (2 if i == 5 else 1)


@pytest.mark.parametrize(("axis", "words"), [(0, "upside down"), (1, "from front to back")])
def test_a_flipped_map_is_found_by_hu_and_the_flip_is_named(axis, words):
    ct, labels = make.phantom()
    facts, mapped = facts_of(ct, np.ascontiguousarray(np.flip(expected(labels), axis)))
    with pytest.raises(MskdexError, match=rf"median of \d+ HU, below 100.*flipped {words}"):
        check_structures(facts, ct, mapped, SETTINGS.channels, SETTINGS.ct)


def test_a_shifted_map_is_found_by_hu():
    ct, labels = make.phantom()
    facts, mapped = facts_of(ct, np.roll(expected(labels), 6, axis=1))
    with pytest.raises(MskdexError, match="is not bone"):
        check_structures(facts, ct, mapped, SETTINGS.channels, SETTINGS.ct)


@pytest.mark.parametrize(("steps", "axis", "words"), [(3, 1, r"0, -8, 0"), (-3, 2, r"6, 0, 0"), (4, 0, r"0, 0, -12")])
def test_a_small_shift_is_found_by_where_the_bone_is(steps, axis, words):
    ct, labels = make.phantom()
    dense = np.where(np.isin(labels.array, range(1, 6)), 900, ct.array).astype(np.int16)
    facts, mapped = facts_of(Volume(dense, ct.world_from_voxel), np.roll(expected(labels), steps, axis=axis))
    lenient = SETTINGS.ct.model_copy(update={"min_bone_median_hu": -2000.0, "max_muscle_median_hu": 2000.0})
    with pytest.raises(MskdexError, match=rf"fit the CT better when shifted by \({words}\) mm"):
        check_structures(facts, Volume(dense, ct.world_from_voxel), mapped, SETTINGS.channels, lenient)


def test_muscle_on_bone_is_refused():
    ct, labels = make.phantom()
    array = expected(labels)
    array[labels.array == 1] = CHANNELS["gluteus_medius_left"].label
    facts, mapped = facts_of(ct, array)
    with pytest.raises(MskdexError, match=r"gluteus_medius_left.*is not muscle"):
        check_structures(facts, ct, mapped, SETTINGS.channels, SETTINGS.ct)


def test_swapped_sides_are_named():
    ct, labels = make.phantom()
    array = expected(labels)
    left, right = (array == CHANNELS[f"femur_{s}"].label for s in ("left", "right"))
    array[left], array[right] = CHANNELS["femur_right"].label, CHANNELS["femur_left"].label
    facts, mapped = facts_of(ct, array)
    with pytest.raises(MskdexError, match="left and right of femur are swapped"):
        check_structures(facts, ct, mapped, SETTINGS.channels, SETTINGS.ct)


def test_many_pieces_are_a_warning():
    ct, labels = make.phantom()
    array = expected(labels)
    k, j, i = np.nonzero(labels.array == 6)
    array[k, j, i] = 0
    array[10:13, 4:7, 10:13] = array[10:13, 8:12, 5:8] = CHANNELS["gluteus_maximus_left"].label
    facts, mapped = facts_of(ct, array)
    warnings = check_structures(facts, ct, mapped, SETTINGS.channels, SETTINGS.ct)
    assert any("gluteus_maximus_left is in 2 pieces" in w for w in warnings)


@pytest.mark.parametrize(("box", "away_mm"), [(np.s_[1:2, 1:2, 1:2], 28), (np.s_[1:3, 3:6, 15:19], 18)])
def test_voxels_far_from_their_structure_are_said(box, away_mm):
    ct, labels = make.phantom()
    array = expected(labels)
    array[box] = CHANNELS["gluteus_maximus_left"].label
    facts, mapped = facts_of(ct, array)
    assert facts["gluteus_maximus_left"]["far_voxels"] == np.zeros_like(array)[box].size
    told = check_structures(facts, ct, mapped, SETTINGS.channels, SETTINGS.ct)
    assert [w for w in told if "gluteus_maximus_left has voxels far from the rest of it" in w and f"{away_mm} mm" in w]


def test_a_piece_beside_its_structure_is_not_far():
    ct, labels = make.phantom()
    array = expected(labels)
    own = np.argwhere(labels.array == 6)
    k, j, i = own[own[:, 2].argmin()]
    array[k, j, i - 3] = CHANNELS["gluteus_maximus_left"].label
    facts, mapped = facts_of(ct, array)
    assert (facts["gluteus_maximus_left"]["pieces"], facts["gluteus_maximus_left"]["far_voxels"]) == (2, 0)
    assert check_structures(facts, ct, mapped, SETTINGS.channels, SETTINGS.ct) == []
