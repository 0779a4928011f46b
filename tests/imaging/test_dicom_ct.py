"""CTs as DICOM: every tag that changes a voxel's value, size, place or meaning."""

import gzip
import tracemalloc
import zlib
from copy import deepcopy
from io import BytesIO
from pathlib import Path

import hospital as make
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from mskdex.errors import MskdexError
from mskdex.imaging.ct import read_ct
from mskdex.io.dicom import read_dataset
from mskdex.io.dicom_pixels import stored_values
from mskdex.pipeline.stages.importing import import_patient
from mskdex.quantities import HU_MIN

CT = make.settings().ct
PHANTOM, _ = make.phantom()
LARGER, _ = make.phantom((6, 64, 72))  # JPEG 2000 halves an image five times


def read(datasets, folder, **settings):
    return read_ct(make.save_all(datasets, folder), CT.model_copy(update=settings))


def same(found, warnings=(), wanted=PHANTOM) -> None:
    np.testing.assert_array_equal(found.volume.array, wanted.array)
    np.testing.assert_allclose(found.volume.world_from_voxel, wanted.world_from_voxel, atol=1e-4)
    assert len(found.warnings) == len(warnings), found.warnings
    for told, part in zip(found.warnings, warnings, strict=True):
        assert part in told


def renamed(datasets, **tags):
    """The same images as another stack of the series."""
    out = deepcopy(datasets)
    for dataset in out:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        for key, value in tags.items():
            setattr(dataset, key, value)
    return out


# ---- one stack of slices


@pytest.mark.parametrize(
    ("tag", "values", "name"),
    [
        ("AcquisitionNumber", (2, 3), "acquisition number"),
        ("TemporalPositionIdentifier", (1, 2), "time point"),
        ("NominalPercentageOfCardiacPhase", (40.0, 75.0), "cardiac phase"),
        ("ConvolutionKernel", ("B30f", "B70f"), "kernel"),
        ("KVP", (80.0, 140.0), "kV"),
        ("FilterType", ("WEDGE_1", "FLAT"), "filter"),
        ("ContrastBolusAgent", ("", "Iomeron"), "contrast agent"),
        ("ImageType", (["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "SECONDARY", "AXIAL"]), "image type"),
        ("AcquisitionTime", ("101500", "101700"), "acquisition time"),
        ("ContentTime", ("101500", "101700"), "content time"),
    ],
)
def test_two_stacks_in_one_series_are_named_and_how_to_choose(tmp_path, tag, values, name):
    one = make.slice_datasets(PHANTOM, **{tag: values[0]})
    two = renamed(one, **{tag: values[1]})
    told = [("\\\\".join(v) if isinstance(v, list) else str(v)) or "blank" for v in values]
    with pytest.raises(MskdexError) as error:
        read(one + two, tmp_path / "s")
    text = str(error.value)
    assert f"holds 2 stacks: {name} " in text
    assert all(t.replace("\\\\", "\\") in text for t in told)
    assert text.count("20 slices") == 2
    assert "folder of their own" in text
    assert "remove the duplicates" not in text


def test_stacks_that_differ_in_several_tags_are_told_all(tmp_path):
    one = make.slice_datasets(PHANTOM, AcquisitionNumber=1, AcquisitionTime="101500", ConvolutionKernel="B30f")
    two = renamed(one, AcquisitionNumber=2, AcquisitionTime="101700", ConvolutionKernel="B70f")
    with pytest.raises(MskdexError, match=r"acquisition number 1 \(20 slices, kernel B30f, acquisition time 101500"):
        read(one + two, tmp_path / "s")


def test_stacks_that_nothing_tells_apart_are_an_error_too(tmp_path):
    one = make.slice_datasets(PHANTOM)
    with pytest.raises(MskdexError, match=r"no tag groups them \(e\.g\. .* may share the series"):
        read(one + renamed(one), tmp_path / "s")


def test_the_same_images_twice_are_said_to_be_that(tmp_path):
    one = make.slice_datasets(PHANTOM)
    with pytest.raises(MskdexError, match=r"holds 20 images twice, under the same SOPInstanceUID \(e\.g\. .* and "):
        read(one + deepcopy(one), tmp_path / "s")


def test_acquisitions_between_each_other_are_refused_and_parts_of_a_scan_are_not(tmp_path):
    datasets = make.slice_datasets(PHANTOM)
    for k, dataset in enumerate(datasets):
        dataset.AcquisitionNumber = 1 + k % 2
    with pytest.raises(MskdexError, match=r"acquisition number 1 .* and acquisition number 2 .* lie between"):
        read(datasets, tmp_path / "s")
    for k, dataset in enumerate(datasets):
        dataset.AcquisitionNumber = 1 + k // 4
    same(read(datasets, tmp_path / "t"))


@pytest.mark.parametrize(
    ("tag", "value"), [("ConvolutionKernel", "B70f"), ("KVP", 140.0), ("ImageType", ["DERIVED", "SECONDARY", "AXIAL"])]
)
def test_slices_of_two_kinds_are_refused_wherever_they_lie(tmp_path, tag, value):
    datasets = make.slice_datasets(PHANTOM, ConvolutionKernel="B30f", KVP=120.0)
    for dataset in datasets[12:]:
        setattr(dataset, tag, value)
    with pytest.raises(MskdexError, match=r"holds 2 stacks: .*\(\d+ slices.* in one series"):
        read(datasets, tmp_path / "s")


def test_slices_of_two_patients_are_refused_and_not_named(tmp_path):
    datasets = make.slice_datasets(PHANTOM)
    for k, dataset in enumerate(datasets):
        dataset.PatientID = "SECRET1" if k < 8 else "SECRET2"
    with pytest.raises(MskdexError, match=r"slices of 2 PatientIDs in one series, e\.g\. \S+ and \S+;") as told:
        read(datasets, tmp_path / "s")
    assert "SECRET" not in str(told.value)


@pytest.mark.parametrize("tag", ["FrameOfReferenceUID", "StudyInstanceUID"])
def test_slices_of_two_frames_of_reference_are_said(tmp_path, tag):
    datasets = make.slice_datasets(PHANTOM)
    for dataset in datasets[10:]:
        setattr(dataset, tag, "1.2.3.4")
    same(read(datasets, tmp_path / "s"), [f"2 values of {tag}"])


def test_a_slice_missing_at_an_end_is_said(tmp_path):
    datasets = make.slice_datasets(PHANTOM, ImagesInAcquisition=20, AcquisitionNumber=1)
    found = read(datasets[:-1], tmp_path / "s")
    assert "ImagesInAcquisition is 20, but the series has 19 slices" in found.warnings[0]
    found = read(make.slice_datasets(PHANTOM)[2:], tmp_path / "t")
    assert "InstanceNumbers begin at 3" in found.warnings[0]
    same(read(make.slice_datasets(PHANTOM, ImagesInAcquisition=20), tmp_path / "u"))


def test_numbers_that_occur_again_are_said(tmp_path):
    datasets = make.slice_datasets(PHANTOM)
    for k, dataset in enumerate(datasets):
        dataset.InstanceNumber = k // 2 + 1
    same(read(datasets, tmp_path / "s"), ["10 InstanceNumbers occur again"])
    same(read(make.slice_datasets(PHANTOM, InstanceNumber=None), tmp_path / "t"))


def test_distances_that_contradict_the_tags_are_said(tmp_path):
    assert (
        "SpacingBetweenSlices is 1.5 mm"
        in read(make.slice_datasets(PHANTOM, SpacingBetweenSlices=1.5), tmp_path / "a").warnings[0]
    )
    every_other = [d for k, d in enumerate(make.slice_datasets(PHANTOM)) if k % 2 == 0]
    assert any("every other one may be missing" in w for w in read(every_other, tmp_path / "b").warnings)
    same(read(make.slice_datasets(PHANTOM, SpacingBetweenSlices=3.0, SliceThickness=5.0), tmp_path / "c"))
    same(read(make.slice_datasets(PHANTOM, GantryDetectorTilt=12.0), tmp_path / "d"), ["taken as corrected"])


def test_files_beside_the_series_that_may_be_slices_of_it_are_said(tmp_path):
    folder = make.save_all(make.slice_datasets(PHANTOM), tmp_path / "s")
    last = max(folder.iterdir(), key=lambda p: pydicom.dcmread(p).InstanceNumber)
    good = last.read_bytes()
    last.write_bytes(b"x" * 132 + good[132:])
    assert "no DICOM file, but may be a damaged slice" in read_ct(folder, CT).warnings[0]
    dataset = pydicom.dcmread(BytesIO(good))
    dataset.SeriesInstanceUID = generate_uid()
    dataset.save_as(last)
    assert "may be a slice of this one" in read_ct(folder, CT).warnings[0]
    dataset = pydicom.dcmread(BytesIO(good))
    dataset.Modality = "CX"
    dataset.save_as(last)
    with pytest.raises(MskdexError, match="belongs to the series, but is of modality CX"):
        read_ct(folder, CT)


def test_what_lies_about_in_a_folder_is_passed_over(tmp_path):
    folder = make.save_all(make.slice_datasets(PHANTOM), tmp_path / "a b" / "h\u00fcfte")
    (folder / "._IM00000").write_bytes(b"\0\x05\x16\x07" + bytes(4000))
    directory = Dataset()
    directory.file_meta = pydicom.dataset.FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    directory.FileSetID = "X"
    directory.save_as(folder / "index.dcm", enforce_file_format=True)
    (folder / "DICOMDIR").write_bytes(b"x")
    (folder / "notes.txt").write_text("notes", encoding="utf-8")
    same(read_ct(tmp_path / "a b", CT))


# ---- values


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"RescaleType": "MGML"}, "holds MGML, not HU"),
        ({"RescaleType": "Z_EFF"}, "holds Z_EFF, not HU"),
        ({"RescaleType": "HU_MOD"}, "holds HU_MOD, not HU"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MAT_SPECIFIC"]}, "map of MAT_SPECIFIC"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "EFF_ATOMIC_NUM"]}, "map of EFF_ATOMIC_NUM"),
        ({"ImageType": ["DERIVED", "SECONDARY", "IODINE"]}, "map of IODINE"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]}, r"made of several voxels' values \(MIP\)"),
        ({"ImageType": ["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"]}, r"several voxels' values \(MAXIMUM\)"),
        ({"VolumeBasedCalculationTechnique": "MAX_IP"}, r"several voxels' values \(MAX_IP\)"),
        ({"RescaleSlope": "nan"}, "has a RescaleSlope that is no number"),
        ({"RescaleSlope": ""}, "has a RescaleSlope that is no number"),
        ({"RescaleSlope": "1,0"}, "has a RescaleSlope that is no number"),
        ({"RescaleIntercept": "inf"}, "has a RescaleIntercept that is no number"),
        ({"ImagePositionPatient": [1.0, 2.0]}, "has not three numbers as ImagePositionPatient"),
        ({"SamplesPerPixel": 3}, "is a picture"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, r"is a picture \(PALETTE COLOR\)"),
        ({"PixelAspectRatio": ["2", "1"]}, "PixelAspectRatio 2:1 contradicts"),
        ({"HighBit": 11}, "BitsStored 16 and HighBit 11 of 16 bits cannot be"),
        ({"BitsStored": 9, "HighBit": 8}, r"values beyond the 9 bits of BitsStored"),
    ],
)
def test_values_that_are_not_hu_are_refused(tmp_path, tags, message):
    datasets = make.slice_datasets(PHANTOM)
    for dataset in datasets:
        for key, value in tags.items():
            if key.startswith("Rescale") and key != "RescaleType":
                dataset.add_new(key, "LO", value)
            else:
                setattr(dataset, key, value)
    with pytest.raises(MskdexError, match=message):
        read(datasets, tmp_path / "s")


def mapping(unit: str, slope: float, intercept: float) -> Sequence:
    item, code = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = unit, "UCUM", unit
    item.MeasurementUnitsCodeSequence = Sequence([code])
    item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
    return Sequence([item])


def test_a_real_world_mapping_agrees_or_is_an_error(tmp_path):
    for k, (unit, slope, intercept, message) in enumerate(
        [
            ("mg/mL", 1.0, -1024.0, "maps its values to mg/mL, not HU"),
            ("[hnsf'U]", 2.0, -1024.0, "RealWorldValueSlope 2 contradicts its RescaleSlope 1"),
            ("[hnsf'U]", 1.0, 0.0, "RealWorldValueIntercept 0 contradicts"),
        ]
    ):
        datasets = make.slice_datasets(PHANTOM)
        for dataset in datasets:
            dataset.RealWorldValueMappingSequence = mapping(unit, slope, intercept)
        with pytest.raises(MskdexError, match=message):
            read(datasets, tmp_path / str(k))
    for dataset in datasets:
        dataset.RealWorldValueMappingSequence = mapping("[hnsf'U]", 1.0, -1024.0)
    same(read(datasets, tmp_path / "good"))


def test_a_modality_lut_is_refused(tmp_path):
    datasets = make.slice_datasets(PHANTOM)
    for dataset in datasets:
        item = Dataset()
        item.LUTDescriptor, item.LUTData, item.ModalityLUTType = [4, 0, 16], bytes(8), "US"
        dataset.ModalityLUTSequence = Sequence([item])
    with pytest.raises(MskdexError, match="has a modality LUT"):
        read(datasets, tmp_path / "s")


@pytest.mark.parametrize(("word", "told"), [("VMI", "virtual monoenergetic"), ("MAT_REMOVED", "virtual non-contrast")])
def test_images_in_hu_that_depend_on_how_they_were_made_are_said(tmp_path, word, told):
    datasets = make.slice_datasets(PHANTOM, ImageType=["DERIVED", "PRIMARY", "AXIAL", word])
    same(read(datasets, tmp_path / "s"), [told])


def test_secondary_captures_are_said(tmp_path):
    captured = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.3"}
    same(read(make.slice_datasets(PHANTOM, **captured), tmp_path / "s"), ["secondary captures"])


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 40.0, "WindowWidth": 400.0, "PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"SliceLocation": 5.0, "TableHeight": 150.0, "PatientPosition": "FFS"},
        {"SmallestImagePixelValue": 0, "LargestImagePixelValue": 1, "RedPaletteColorLookupTableDescriptor": [1, 0, 16]},
        {"ReconstructionDiameter": 500.0, "XRayTubeCurrent": 200, "Exposure": 5, "PixelAspectRatio": ["250", "200"]},
        {"RescaleType": "US"},
    ],
)
def test_tags_without_effect_have_none(tmp_path, tags):
    same(read(make.slice_datasets(PHANTOM, **tags), tmp_path / "s"))


def test_bits_beyond_the_stored_ones_do_not_count(tmp_path):
    datasets = make.slice_datasets(PHANTOM)
    for dataset in datasets:  # 12 bits; the upper four hold an overlay, as of old scanners
        pixels = np.frombuffer(dataset.PixelData, "<i2").astype(np.uint16)
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        dataset.PixelData = (pixels | 0x1000).tobytes()
        dataset.add_new(0x60000100, "US", 16)
        dataset.add_new(0x60000102, "US", 12)
    same(read(datasets, tmp_path / "s"))
    for dataset in datasets:  # signed values that were not extended to 16 bits
        hu = np.frombuffer(dataset.PixelData, "<u2").astype(np.int32) % 4096 - 1024
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0.0
        dataset.PixelData = (hu & 0x0FFF).astype(np.uint16).tobytes()
        del dataset[0x60000100], dataset[0x60000102]
    same(read(datasets, tmp_path / "t"))


@pytest.mark.parametrize("at", [0, 9, 19])
def test_one_slice_that_lies_a_little_aside_does_not_move_the_volume(tmp_path, at):
    datasets = make.slice_datasets(PHANTOM)
    x, y, z = datasets[at].ImagePositionPatient
    datasets[at].ImagePositionPatient = [x + 0.9, y, z]
    same(read(datasets, tmp_path / "s"))


@pytest.mark.parametrize("keyword", ["PixelPaddingValue", "PixelPaddingRangeLimit"])
def test_padding_that_is_no_number_is_refused(tmp_path, keyword):
    datasets = make.slice_datasets(PHANTOM, PixelPaddingValue=-2000)
    tag = pydicom.tag.Tag(keyword)
    datasets[3][tag] = pydicom.dataelem.RawDataElement(tag, "US", 4, b"\1\2\3\4", 0, False, True)
    with pytest.raises(MskdexError, match=rf"IM03743: its {keyword} .* is no number"):
        read(datasets, tmp_path / "s")


def test_more_pixels_than_the_header_claims_are_refused_and_a_few_zeros_are_padding(tmp_path):
    datasets = make.slice_datasets(PHANTOM)
    datasets[3].PixelData += bytes(40)
    same(read(datasets, tmp_path / "padded"))
    for dataset in datasets:
        dataset.Columns = 39
    with pytest.raises(MskdexError, match="holds 2400 bytes of pixels, its header claims 30 x 39, which are 2340"):
        read(datasets, tmp_path / "narrower")


def test_a_length_beyond_the_end_of_the_file_takes_no_memory(tmp_path):
    path = make.save(make.slice_datasets(PHANTOM)[0], tmp_path / "a.dcm")
    content = bytearray(path.read_bytes())
    at = content.index(b"\xe0\x7f\x10\x00OW") + 8  # length of PixelData
    content[at : at + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(content)
    tracemalloc.start()
    np.testing.assert_array_equal(stored_values(read_dataset(path), path), PHANTOM.array[0] + 1024)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 22


def test_a_long_or_unprintable_value_is_cut_in_messages(tmp_path):
    row = make.patient(tmp_path / "in")
    datasets = make.slice_datasets(PHANTOM, RescaleType="HU\x01" + "x" * 3000)
    row["ct"] = str(make.save_all(datasets, tmp_path / "in" / "s"))
    with pytest.raises(MskdexError, match=r"IM00000 holds HU\?X{37}\.\.\., not HU; name the series"):
        import_patient(row, make.settings(), tmp_path / "out")


@pytest.mark.parametrize(("tag", "value"), [("RescaleIntercept", -24.0), ("RescaleSlope", 2.0)])
@pytest.mark.parametrize("at", [0, 7, 19])
def test_one_slice_scaled_unlike_all_others_is_refused(tmp_path, tag, value, at):
    datasets = make.slice_datasets(PHANTOM)
    setattr(datasets[at], tag, value)
    with pytest.raises(MskdexError, match=rf"has {tag} {value:g} instead of .* HU differ from its neighbours' by \d+"):
        read(datasets, tmp_path / "s")


def test_one_slice_of_other_bits_is_refused_where_its_hu_do_not_fit(tmp_path):
    datasets = make.slice_datasets(PHANTOM, intercept=0.0)
    datasets[7].PixelRepresentation = 0
    with pytest.raises(MskdexError, match="has PixelRepresentation 0 instead of 1"):
        read(datasets, tmp_path / "s")


def test_slopes_of_their_own_are_legitimate_where_the_hu_fit(tmp_path):
    datasets = [make.slice_datasets(PHANTOM, slope=1 / (k + 1))[k] for k in range(20)]
    for dataset in datasets:
        for tag in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(dataset, tag, getattr(datasets[0], tag))
    same(read(datasets, tmp_path / "all"))
    odd = make.slice_datasets(PHANTOM)
    odd[5].RescaleIntercept = -1000.0
    odd[5].PixelData = (np.frombuffer(odd[5].PixelData, "<i2") - 24).astype(np.int16).tobytes()
    same(read(odd, tmp_path / "one"), ["another slope, intercept or bits than the rest, but fit"])


@pytest.mark.parametrize("window", [(-160, 240), (-1024, 300), (-200, 3071)])
def test_a_windowed_ct_is_said_with_share_and_value(tmp_path, window):
    cut = make.Volume(PHANTOM.array.clip(*window), PHANTOM.world_from_voxel)
    warnings = read_ct(make.write(tmp_path / "ct.nii.gz", cut), CT).warnings
    ends = [v for v in window if PHANTOM.array.min() < v < PHANTOM.array.max()]
    assert len(warnings) == len(ends)
    for end in ends:
        assert any(f"% of the voxels are at exactly {end} HU" in w for w in warnings)


def test_metal_at_the_scanners_limit_is_no_window(tmp_path):
    metal = PHANTOM.array.copy()
    metal[8:12, 12:16, 15:20] = 3071
    assert read_ct(make.write(tmp_path / "ct.nii.gz", make.Volume(metal, PHANTOM.world_from_voxel)), CT).warnings == []


# ---- enhanced CT


def frames_of(dataset, keep):
    """A part of an enhanced CT's frames as a file of its own."""
    out = deepcopy(dataset)
    size = dataset.Rows * dataset.Columns * 2
    out.SOPInstanceUID = out.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    out.PerFrameFunctionalGroupsSequence = [dataset.PerFrameFunctionalGroupsSequence[k] for k in keep]
    out.NumberOfFrames = len(keep)
    out.PixelData = b"".join(dataset.PixelData[k * size : (k + 1) * size] for k in keep)
    return out


def test_enhanced_ct_in_several_files_is_one_volume_or_says_how_many(tmp_path):
    whole = make.enhanced_ct(PHANTOM)
    same(read([frames_of(whole, range(0, 20, 2)), frames_of(whole, range(1, 20, 2))], tmp_path / "s"))
    with pytest.raises(MskdexError, match="the series is split over 3 multi-frame files"):
        read([frames_of(whole, range(20)) for _ in range(3)], tmp_path / "t")


def test_a_concatenation_that_lacks_a_part_is_refused(tmp_path):
    whole = make.enhanced_ct(PHANTOM)
    parts = [frames_of(whole, range(0, 8)), frames_of(whole, range(8, 14)), frames_of(whole, range(14, 20))]
    for number, part in enumerate(parts, start=1):
        part.ConcatenationUID, part.InConcatenationNumber, part.ConcatenationFrameOffsetNumber = "1.2.3", number, 0
    same(read(parts, tmp_path / "all"))
    with pytest.raises(MskdexError, match=r"2 of the 3 files of one multi-frame image .*Number 1 is missing"):
        read(parts[1:], tmp_path / "without the first")
    for part in parts:
        part.InConcatenationTotalNumber = 3
    with pytest.raises(MskdexError, match=r"2 of the 3 files of one multi-frame image .*Number 3 is missing"):
        read(parts[:2], tmp_path / "without the last")


@pytest.mark.parametrize(
    ("group", "tags", "message"),
    [
        ("PixelValueTransformationSequence", {"RescaleType": "MGML"}, "holds MGML, not HU"),
        ("PixelValueTransformationSequence", {"RescaleType": "Z_EFF"}, "holds Z_EFF, not HU"),
        ("PixelValueTransformationSequence", {"RescaleSlope": None}, "no rescale slope"),
        ("PixelMeasuresSequence", {"PixelSpacing": None}, "has no PixelSpacing"),
        ("PixelMeasuresSequence", {"PixelSpacing": [0, 0]}, "PixelSpacing is"),
        ("PlaneOrientationSequence", {"ImageOrientationPatient": None}, "no ImageOrientationPatient"),
        ("CTImageFrameTypeSequence", {"FrameType": ["DERIVED", "PRIMARY", "VOLUME", "EFF_ATOMIC_NUM"]}, "map of EFF"),
    ],
)
def test_functional_groups_that_cannot_be_are_refused(tmp_path, group, tags, message):
    dataset = make.enhanced_ct(PHANTOM)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    if group not in shared:
        setattr(shared, group, [Dataset()])
    item = getattr(shared, group)[0]
    for key, value in tags.items():
        if value is None:
            delattr(item, key)
        else:
            setattr(item, key, value)
    with pytest.raises(MskdexError, match=message):
        read([dataset], tmp_path / "s")


def test_enhanced_ct_of_two_stacks_is_named(tmp_path):
    for tag, name in (("FrameAcquisitionNumber", "acquisition number"), ("TemporalPositionIndex", "time point")):
        dataset = make.enhanced_ct(PHANTOM)
        groups = [deepcopy(g) for g in (*dataset.PerFrameFunctionalGroupsSequence,) * 2]
        for k, group in enumerate(groups):
            content = Dataset()
            setattr(content, tag, 1 + k // 20)
            group.FrameContentSequence = [content]
        dataset.PerFrameFunctionalGroupsSequence, dataset.NumberOfFrames = groups, 40
        dataset.PixelData *= 2
        with pytest.raises(MskdexError, match=f"holds 2 stacks: {name} 1 .* and {name} 2"):
            read([dataset], tmp_path / tag)


def test_two_energies_of_an_enhanced_ct_are_named(tmp_path):
    for sequence, tag, values, name in (
        ("CTXRayDetailsSequence", "KVP", (80.0, 140.0), "kV"),
        ("CTReconstructionSequence", "ConvolutionKernel", ("B30f", "B70f"), "kernel"),
    ):
        dataset = make.enhanced_ct(PHANTOM)
        for k, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            item = Dataset()
            setattr(item, tag, values[k % 2])
            setattr(group, sequence, [item])
        with pytest.raises(MskdexError, match=rf"holds 2 stacks: {name} ({values[0]}|{values[1]}) .* and {name}"):
            read([dataset], tmp_path / tag)


def test_groups_of_an_enhanced_ct_without_effect_have_none(tmp_path):
    dataset = make.enhanced_ct(PHANTOM)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        window, source, exposure, content, anatomy = (Dataset() for _ in range(5))
        window.WindowCenter, window.WindowWidth = 40.0, 400.0
        source.KVP, source.EnergyWeightingFactor = 140.0, 0.5
        exposure.ExposureTimeInms = 500.0
        content.DimensionIndexValues, content.FrameReferenceDateTime = [1, 1], "20200101101500"
        anatomy.FrameLaterality = "B"
        group.FrameVOILUTSequence, group.CTAdditionalXRaySourceSequence = [window], [source]
        group.CTExposureSequence, group.FrameContentSequence = [exposure], [content]
        group.FrameAnatomySequence = [anatomy]
    same(read([dataset], tmp_path / "s"))


def test_enhanced_ct_scales_each_frame_and_pads(tmp_path):
    dataset = make.enhanced_ct(PHANTOM)
    del dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    stored = np.frombuffer(dataset.PixelData, "<i2").reshape(20, 30, 40).astype(np.int32)
    out = []
    for k, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        rescale = Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1.0 / (1 + k % 3), -1024.0, "HU"
        group.PixelValueTransformationSequence = [rescale]
        out.append(stored[k] * (1 + k % 3))
    pixels = np.array(out, np.int16)
    dataset.PixelData = pixels.tobytes()
    same(read([dataset], tmp_path / "s"))
    pixels[:, :3] = -2000
    pixels[:, 3:5] = -1990
    dataset.PixelData = pixels.tobytes()
    dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = -2000, -1990
    found = read([dataset], tmp_path / "t").volume.array
    assert (found == HU_MIN).any(axis=(0, 2)).sum() == 5
    assert (found != HU_MIN).sum() == 20 * 25 * 40


def test_enhanced_ct_of_another_mapping_or_count_is_refused(tmp_path):
    dataset = make.enhanced_ct(PHANTOM)
    dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = mapping("mg/mL", 1.0, 0.0)
    with pytest.raises(MskdexError, match="maps its values to mg/mL"):
        read([dataset], tmp_path / "s")
    dataset = make.enhanced_ct(PHANTOM)
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:-1]
    with pytest.raises(MskdexError, match="says that it has 20 frames, but describes 19"):
        read([dataset], tmp_path / "t")


def test_several_frames_of_ct_image_storage_are_read_if_they_say_where_they_lie(tmp_path):
    dataset = make.enhanced_ct(PHANTOM)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = make.CT_CLASS
    same(read([dataset], tmp_path / "s"))
    del dataset.PerFrameFunctionalGroupsSequence
    with pytest.raises(MskdexError, match="holds 20 frames without positions"):
        read([dataset], tmp_path / "t")


# ---- transfer syntaxes and limits


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("enhanced", [False, True])
def test_lossless_syntaxes_give_the_same_voxels(tmp_path, syntax, enhanced):
    datasets = [make.enhanced_ct(LARGER)] if enhanced else make.slice_datasets(LARGER)
    for dataset in datasets:
        dataset.compress(syntax, generate_instance_uid=False)
    same(read(datasets, tmp_path / "s"), wanted=LARGER)


def test_gdcm_decodes_what_no_plug_in_of_pydicom_does(monkeypatch):
    path = get_testdata_file("JPEG-lossy.dcm", download=False)
    dataset = pydicom.dcmread(path)
    with pytest.raises(RuntimeError, match="all available plugins"):
        _ = dataset.pixel_array
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.RescaleSlope, dataset.RescaleIntercept = 3.0, 7.0
    found = stored_values(dataset, Path(path))
    assert found.shape == (1024, 256)
    assert 0 <= found.min() < found.max() < 4096
    assert dataset.PhotometricInterpretation == "MONOCHROME1"
    plain = make.slice_datasets(LARGER)[3]
    wanted = plain.pixel_array.copy()
    for syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        packed = deepcopy(plain)
        packed.compress(syntax, generate_instance_uid=False)
        monkeypatch.setattr("mskdex.io.dicom_pixels.pixel_array", _fails)
        np.testing.assert_array_equal(stored_values(packed, Path("x")), wanted)


def _fails(*_, **__):
    raise NotImplementedError("no plug-in")


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_compressed_pixels_that_claim_another_size_are_refused_before_memory_is_taken(tmp_path, syntax):
    datasets = make.slice_datasets(LARGER)
    for dataset in datasets:
        dataset.compress(syntax, generate_instance_uid=False)
    frame = bytearray(next(pydicom.encaps.generate_frames(datasets[4].PixelData, number_of_frames=1)))
    if syntax == JPEG2000Lossless:
        at = frame.find(b"\xff\x4f\xff\x51")
        frame[at + 8 : at + 16] = (60000).to_bytes(4, "big") * 2
    else:
        at = frame.find(b"\xff\xf7")
        frame[at + 5 : at + 9] = (60000).to_bytes(2, "big") * 2
    datasets[4].PixelData = encapsulate([bytes(frame)])
    with pytest.raises(MskdexError, match="compressed pixels claim 60000 x 60000, its header 64 x 72"):
        read(datasets, tmp_path / "s")


def test_deflated_files_are_read_and_bombs_are_not(tmp_path, monkeypatch):
    datasets = make.slice_datasets(PHANTOM)
    for dataset in datasets:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    folder = make.save_all(datasets, tmp_path / "s")
    same(read_ct(folder, CT))
    monkeypatch.setattr("mskdex.io.dicom_deflate._MOST_BYTES", 1 << 22)
    path = sorted(folder.iterdir())[3]
    raw = path.read_bytes()
    start = 144 + int.from_bytes(raw[140:144], "little")
    body = zlib.decompressobj(-15).decompress(raw[start:])
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    path.write_bytes(raw[:start] + engine.compress(body + bytes(20_000_000)) + engine.flush())
    with pytest.raises(MskdexError, match=r"its \d+ bytes inflate to more than \d MB"):
        read_ct(folder, CT)


def test_values_that_cannot_be_read_are_one_sentence(tmp_path):
    datasets = make.slice_datasets(PHANTOM)
    folder = make.save_all(datasets, tmp_path / "s")
    path = sorted(folder.iterdir())[5]
    good = path.read_bytes()
    for tag, damage in (
        (b"\x28\x00\x30\x00DS", b"\x28\x00\x30\x00ZZ"),
        (b"\x28\x00\x52\x10DS", b"\x28\x00\x52\x10FD"),
        (b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00SQ"),
    ):
        assert tag in good
        path.write_bytes(good.replace(tag, damage))
        with pytest.raises(MskdexError) as error:
            read_ct(folder, CT)
        assert "\n" not in str(error.value)
        assert str(folder) in str(error.value)


def test_numbers_that_only_python_reads_are_none(tmp_path):
    folder = make.save_all(make.slice_datasets(PHANTOM), tmp_path / "s")
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"2.5\\2.0", b"2.5\\2_0"))
    with pytest.raises(MskdexError, match="its PixelSpacing is no list of numbers"):
        read_ct(folder, CT)


def test_compressed_files_beside_or_instead_of_slices_are_told(tmp_path):
    folder = make.save_all(make.slice_datasets(PHANTOM), tmp_path / "s")
    last = folder / f"IM{(19 * 7919) % 10007:05d}"
    last.with_name("last.dcm.gz").write_bytes(gzip.compress(last.read_bytes()))
    last.unlink()
    told = "last.dcm.gz was passed over: it is compressed, but may be a slice; unpack it"
    assert told in read_ct(folder, CT).warnings
    for path in folder.iterdir():
        path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(MskdexError, match="has no DICOM file but archives"):
        read_ct(folder, CT)


def test_a_run_length_segment_of_another_length_is_damage(tmp_path):
    datasets = make.slice_datasets(PHANTOM)
    datasets[7].compress(RLELossless, generate_instance_uid=False)
    damaged = bytearray(datasets[7].PixelData)
    damaged[-300] ^= 0x10
    datasets[7].PixelData = bytes(damaged)
    with pytest.raises(MskdexError, match="are damaged: a run-length segment has another length"):
        read_ct(make.save_all(datasets, tmp_path / "s"), CT)
