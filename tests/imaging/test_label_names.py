"""Names in label files: whatever the language and the encoding, right or refused."""

import json
import unicodedata

import hospital as make
import pytest
import SimpleITK as sitk
from label_cases import IDS, WANTED, as_read, mask, names_file, present, read

from mskdex.errors import MskdexError
from mskdex.imaging.label_names import parse_name, sideless
from mskdex.pipeline.stages.importing import import_patient


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("Hüftbein links", ("pelvis", "left")),
        (unicodedata.normalize("NFD", "Hüftbein links"), ("pelvis", "left")),
        ("Hueftknochen_re", ("pelvis", "right")),
        ("Großer Gesäßmuskel rechts", ("gluteus_maximus", "right")),
        ("M. gluteus max. li.", ("gluteus_maximus", "left")),
        ("Fémur gauche", ("femur", "left")),
        ("muscle iliaque droit", ("iliacus", "right")),
        ("os iliaque droit", ("pelvis", "right")),
        ("glúteo mayor derecho", ("gluteus_maximus", "right")),
        ("fêmur esquerdo", ("femur", "left")),
        ("gluteo medio dx", ("gluteus_medius", "right")),
        ("femore sinistro", ("femur", "left")),
        ("linker dijbeen", ("femur", "left")),
        ("左大腿骨", ("femur", "left")),
        ("大腿骨（右）", ("femur", "right")),
        ("右中殿筋", ("gluteus_medius", "right")),
        ("髂肌_左", ("iliacus", "left")),
        ("Kreuzbein", ("sacrum", None)),
        ("RFemur", ("femur", "right")),
        ("total_hip", ("total_hip", None)),
        ("total_hip_left", ("total_hip", "left")),
        ("hip_implant_left", ("hip_implant", "left")),
        ("left femur head", ("femur_head", "left")),
    ],
)
def test_names_of_many_languages(name, meaning):
    assert parse_name(name) == meaning


def test_a_name_with_both_sides_has_none():
    assert parse_name("femur_left_right")[1] is None
    channels = make.settings().channels
    assert sideless(channels, ["femur", "femur_both", "Gluteus maximus", "hips", "femur_left", "sacrum", "spleen"]) == {
        "femur": "femur",
        "femur_both": "femur",
        "Gluteus maximus": "gluteus_maximus",
        "hips": "pelvis",
    }


GERMAN = dict(
    zip(
        [
            "Hüftbein links",
            "Hüftbein rechts",
            "Femur links",
            "Femur rechts",
            "Kreuzbein",
            "Gluteus maximus li",
            "Gluteus maximus re",
        ],
        WANTED,
        strict=True,
    )
)
JAPANESE = dict(
    zip(["左寛骨", "右寛骨", "左大腿骨", "右大腿骨", "仙骨", "大殿筋_左", "大殿筋_右"], WANTED, strict=True)
)


@pytest.mark.parametrize("names", [IDS, GERMAN, JAPANESE])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_of_names_in_any_unicode_encoding(tmp_path, names, encoding):
    found = read(names_file(tmp_path, names, encoding))
    assert as_read(found)
    assert found.warnings == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"3": "femur_left", "4": "femur_left"}, r"labels\.json gives femur_left two ids, 3 and 4"),
        ('{"femur_left": 3, "femur_left": 4}', r"gives femur_left two ids, 3 and 4"),
        ({"femur_left": 3, "bladder": 3}, r"gives id 3 two names, femur_left and bladder"),
        ({"femur_left": 3, "Femur L": 4}, None),
        ({"Left femur": 3, "Femur L": 4}, r"two labels of femur_left: Left femur and Femur L"),
        ({"femur_left": 0, "femur_right": 4}, r"femur_left has id 0, the background's"),
        ({"femur_left": True}, r"femur_left has no id but 'True'"),
        ({"femur_left": 3.7}, r"femur_left has no id but '3\.7'"),
        ({"femur_left": -3}, r"femur_left has no id but '-3'"),
        ({"femur_left": {"id": 3}}, r"femur_left has no id but"),
        ({"femur_left": None}, r"femur_left has no id but 'None'"),
        ('{"femur_left": 1e999}', r"femur_left has no id but 'inf'"),
        (["background", "femur_left"], r"is no JSON object but list"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, r"nested too deeply"),
        ("{}", r"names no structure"),
        ("", r"cannot be read as JSON"),
    ],
)
def test_json_of_names_that_says_two_things_or_nothing(tmp_path, content, message):
    path = names_file(tmp_path, content)
    if message is None:
        assert any("Femur L means the same and is not used" in w for w in read(path).warnings)
        return
    with pytest.raises(MskdexError, match=message) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


def test_json_that_is_no_unicode(tmp_path):
    with pytest.raises(MskdexError, match=r"labels\.json cannot be read as JSON"):
        read(names_file(tmp_path, GERMAN, "latin-1"))


def test_a_paired_structure_without_sides_is_told(tmp_path):
    found = read(names_file(tmp_path, {"labels": {"femur_both": [3, 4], "pelvis": [1, 2], "sacrum": 5}}))
    assert present(found) == {"sacrum"}
    told = " ".join(found.warnings)
    assert "label femur_both means femur, a paired structure, without a side" in told
    assert "label pelvis means pelvis" in told


def test_regions_beside_the_sides_do_no_harm(tmp_path):
    found = read(names_file(tmp_path, {"labels": {**IDS, "bones": [1, 2, 3, 4, 5]}}))
    assert as_read(found)


def test_what_means_no_object_is_told_if_it_has_voxels(tmp_path):
    names = {**IDS, "bladder": 99} | {f"organ {i}": 100 + i for i in range(50)}
    names["Zwerchfell"] = names.pop("gluteus_maximus_left")
    found = read(names_file(tmp_path, names))
    assert [w for w in found.warnings if "mean" in w] == [w for w in found.warnings if "Zwerchfell" in w]
    assert found.facts["unused"] == ["Zwerchfell"]
    assert "bladder" not in " ".join(found.warnings)


def test_a_hundred_unused_labels_make_a_short_warning(tmp_path):
    folder = tmp_path / "masks"
    for name, i in IDS.items():
        mask(folder, f"{name}.nii.gz", i)
    content = (folder / "sacrum.nii.gz").read_bytes()
    for i in range(100):
        (folder / f"organ{i}.nii.gz").write_bytes(content)
    found = read(folder)
    assert as_read(found)
    told = [w for w in found.warnings if "organ" in w]
    assert len(told) == 1
    assert "and 92 more" in told[0]
    assert len(told[0]) < 400


def test_what_the_source_promises_but_lacks_is_a_fact_and_a_warning(tmp_path):
    found = read(names_file(tmp_path, {**IDS, "pectineus_left": 8, "pectineus_right": 9}))
    assert found.facts["absent"] == ["pectineus_left", "pectineus_right"]
    assert any("no voxel of pectineus_left, pectineus_right" in w for w in found.warnings)
    assert as_read(found)


def test_an_empty_mask_is_an_absent_structure(tmp_path):
    folder = make.masks(tmp_path / "masks", make.phantom()[1])
    mask(folder, "femur_R.nii.gz", 0)
    found = read(folder)
    assert present(found) == set(IDS) - {"femur_right"}
    assert found.facts["absent"] == ["femur_right"]
    for path in folder.iterdir():
        mask(folder, path.name, 0)
    with pytest.raises(MskdexError, match="none of the config's structures, or they are empty"):
        read(folder)


def test_what_macos_leaves_in_a_mask_folder_is_passed_over(tmp_path):
    folder = make.masks(tmp_path / "masks", make.phantom()[1])
    for path in list(folder.iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + b"\0" * 200)
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "more.nii.gz").mkdir()
    assert as_read(read(folder))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_mask_names_with_accents_blanks_and_signs(tmp_path, form):
    folder = tmp_path / "a & b's masks"
    keys = {"pelvis": ("Hüfte & 'x'", "Hüfte y"), "femur": ("Schenkel ä", "Schenkel ö"), "sacrum": ("Kreuz",)}
    for (left, right), ids in ((keys["pelvis"], (1, 2)), (keys["femur"], (3, 4))):
        mask(folder, unicodedata.normalize(form, f"{left}.nii.gz"), ids[0])
        mask(folder, unicodedata.normalize(form, f"{right}.nii.gz"), ids[1])
    mask(folder, "Kreuz.nii.gz", 5)
    other = {k: tuple(unicodedata.normalize("NFC", v) for v in names) for k, names in keys.items()}
    found = read(folder, "mine", other)
    assert present(found) == {n for n, i in IDS.items() if i <= 5}


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("femur_left.nii", r"femur_left\.nii and femur_left\.nii\.gz, two masks of one structure"),
        ("femur_left.nrrd", r"femur_left\.nii\.gz and femur_left\.nrrd, two masks of one structure"),
        ("right femur.nii.gz", r"two labels of femur_right: femur_R\.nii\.gz and right femur\.nii\.gz"),
    ],
)
def test_two_masks_of_one_structure_are_named(tmp_path, extra, message):
    folder = make.masks(tmp_path / "masks", make.phantom()[1])
    mask(folder, extra, 4)
    with pytest.raises(MskdexError, match=message):
        read(folder)


def test_the_exact_name_wins_and_the_other_is_told(tmp_path):
    folder = make.masks(tmp_path / "masks", make.phantom()[1])
    mask(folder, "L femur.nii.gz", 4)
    found = read(folder)
    assert as_read(found)
    assert any("L femur.nii.gz means the same and is not used" in w for w in found.warnings)


def slicer(path, labels, *, layers=False, **entries):
    """A Slicer segmentation with some of its header entries changed."""
    image = sitk.ReadImage(str(make.seg_nrrd(path, labels, layers=layers)))
    for key, value in entries.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("layers", [False, True])
@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"Segment6_Name": make.NAMES[6]}, r"segments 5 and 6 are both named Left Gluteus Maximus muscle"),
        ({"Segment6_Name": "gluteus max L"}, r"two labels of gluteus_maximus_left: Left Gluteus.* and gluteus max L"),
        ({"Segment3_LabelValue": "abc"}, r"segment 3, femur_R, has label value 'abc'"),
        ({"Segment3_LabelValue": "0"}, r"segment 3, femur_R, has label value '0'"),
        (
            {"Segment3_LabelValue": "3", "Segment3_Layer": "2", "Segment2_LabelValue": "3"},
            r"have the same voxels|layer 2",
        ),
        ({"Segmentation_SourceRepresentation": "Fractional labelmap"}, r"is a Fractional labelmap .* not segments"),
        ({"Segmentation_MasterRepresentation": "Fractional labelmap"}, r"is a Fractional labelmap .* not segments"),
        ({"Segment3_Layer": "9"}, r"segment femur_R is in layer 9 of [17]"),
    ],
)
def test_slicer_segments_that_contradict_each_other(tmp_path, layers, entries, message):
    path = slicer(tmp_path / "s.seg.nrrd", make.phantom()[1], layers=layers, **entries)
    with pytest.raises(MskdexError, match=message):
        read(path)


@pytest.mark.parametrize("layers", [False, True])
def test_german_slicer_segments(tmp_path, layers):
    entries = {f"Segment{n}_Name": name for n, name in enumerate(GERMAN)}
    found = read(slicer(tmp_path / "s.seg.nrrd", make.phantom()[1], layers=layers, **entries))
    assert as_read(found)
    assert found.warnings == []


@pytest.mark.parametrize("layers", [False, True])
def test_an_unmapped_slicer_segment_is_told(tmp_path, layers):
    path = slicer(tmp_path / "s.seg.nrrd", make.phantom()[1], layers=layers, Segment2_Name="Segment_1")
    found = read(path)
    assert present(found) == set(IDS) - {"femur_left"}
    assert any("Segment_1" in w for w in found.warnings)


@pytest.mark.parametrize("layers", [False, True])
def test_voxels_of_no_segment_are_told(tmp_path, layers):
    path = make.seg_nrrd(tmp_path / "s.seg.nrrd", make.phantom()[1], layers=layers)
    path.write_bytes(path.read_bytes().replace(b"Segment4_", b"Sagment4_"))
    found = read(path)
    assert present(found) == set(IDS) - {"sacrum"}
    assert any(
        ("value 1 without a segment in layer 4" if layers else "id 5 without a name") in w for w in found.warnings
    )


@pytest.mark.parametrize(
    "sidecar", [{"Type": "ROI", "Manual": True, "Sources": ["x"]}, {"Modality": "CT", "SeriesNumber": 3}]
)
def test_a_sidecar_that_names_no_structure_is_passed_over_where_ids_are_known(tmp_path, sidecar):
    row = make.patient(tmp_path)
    (tmp_path / "labels.json").write_text(json.dumps(sidecar), encoding="utf-8")
    import_patient(row, make.settings(), tmp_path / "out")
    with pytest.raises(MskdexError, match=r"labels\.json: (Type|Modality) has no id"):
        import_patient(row | {"label_source": "named"}, make.settings(), tmp_path / "again")


def test_ids_without_a_name_are_told(tmp_path):
    found = read(names_file(tmp_path, {n: i for n, i in IDS.items() if i != 5}))
    assert present(found) == set(IDS) - {"sacrum"}
    assert any("id 5 without a name" in w for w in found.warnings)


def test_values_per_voxel_without_segments_are_refused(tmp_path):
    labels = make.phantom()[1]
    image = sitk.ReadImage(str(make.seg_nrrd(tmp_path / "s.seg.nrrd", labels, layers=True)))
    for key in image.GetMetaDataKeys():
        if key.startswith("Segment"):
            image.EraseMetaData(key)
    sitk.WriteImage(image, str(tmp_path / "s.nrrd"))
    with pytest.raises(MskdexError, match="7 values per voxel and no segments"):
        read(tmp_path / "s.nrrd")


def test_layers_that_overlap_are_refused(tmp_path):
    labels = make.phantom()[1]
    path = slicer(tmp_path / "s.seg.nrrd", labels, layers=True)
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    array[..., 2] |= array[..., 3]
    both = sitk.GetImageFromArray(array, isVector=True)
    both.CopyInformation(image)
    for key in image.GetMetaDataKeys():
        both.SetMetaData(key, image.GetMetaData(key))
    sitk.WriteImage(both, str(path))
    with pytest.raises(MskdexError, match=r"femur_R shares \d+ of its \d+ voxels"):
        read(path)


def test_a_link_of_names_that_leads_out_of_the_data_root_is_refused(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    path = make.write(folder / "labels.nii.gz", make.phantom()[1])
    (tmp_path / "outside.json").write_text(json.dumps(IDS), encoding="utf-8")
    (folder / "labels.json").symlink_to(tmp_path / "outside.json")
    with pytest.raises(MskdexError, match=r"labels\.json is a link that leads out of"):
        read(path, root=folder)
    assert as_read(read(path, root=tmp_path))


def test_masks_one_folder_deeper_are_pointed_to(tmp_path):
    make.masks(tmp_path / "P01" / "segmentations", make.phantom()[1])
    with pytest.raises(MskdexError, match="holds no mask itself, but its folder segmentations does"):
        read(tmp_path / "P01")
