"""DICOM segmentations: every attribute that changes what a voxel means is used, or contradicted by an error."""

import tempfile
from copy import deepcopy
from functools import cache
from pathlib import Path

import hospital as make
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from label_cases import IDS, as_read, present, read
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from mskdex.errors import MskdexError
from mskdex.imaging.dicom_seg import segment_names
from mskdex.io.volume import Volume, volume_from_sitk, volume_to_sitk


def lps(volume: Volume) -> Volume:
    return volume_from_sitk(sitk.DICOMOrient(volume_to_sitk(volume), "LPS"))


def slices() -> list[Dataset]:
    return make.slice_datasets(lps(make.phantom()[0]))


@cache
def made() -> bytes:
    """The phantom's segmentation; made once, as that takes half a second."""
    with tempfile.TemporaryDirectory() as folder:
        return make.dicom_seg(Path(folder) / "s.dcm", lps(make.phantom()[1]), slices()).read_bytes()


def seg(path: Path, change=lambda _: None, sources=None, array=None) -> Path:
    """The phantom's segmentation, after a change of its voxels or its dataset."""
    if sources is None and array is None:
        path.write_bytes(made())
    else:
        labels = lps(make.phantom()[1])
        labels = labels if array is None else Volume(array(labels.array.copy()), labels.world_from_voxel)
        make.dicom_seg(path, labels, sources or slices())
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def code(value: str, scheme: str = "SCT") -> Dataset:
    found = Dataset()
    found.CodeValue, found.CodingSchemeDesignator, found.CodeMeaning = value, scheme, "side"
    return found


def sided(dataset: Dataset, n: int, modifier: Dataset, label: str) -> None:
    segment = dataset.SegmentSequence[n]
    segment.SegmentLabel = label
    segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]


@pytest.mark.parametrize(("left", "right"), [(("7771000",), ("24028007",)), (("G-A101", "SRT"), ("G-A100", "SRT"))])
def test_a_side_that_only_a_code_says_is_used(tmp_path, left, right):
    def change(dataset):
        sided(dataset, 2, code(*left), "Femur")
        sided(dataset, 3, code(*right), "Femur")

    path = seg(tmp_path / "s.dcm", change)
    assert as_read(read(path))
    assert segment_names(path)[2:5] == ["Femur left", "Femur right", "sacrum"]


def test_a_side_of_the_anatomic_region_is_used(tmp_path):
    def change(dataset):
        for n, value in ((2, "7771000"), (3, "24028007")):
            region = code("71341001")
            region.AnatomicRegionModifierSequence = [code(value)]
            dataset.SegmentSequence[n].SegmentLabel = "Femur"
            dataset.SegmentSequence[n].AnatomicRegionSequence = [region]

    assert as_read(read(seg(tmp_path / "s.dcm", change)))


def change_of(keyword: str, value: object):
    def change(dataset):
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)

    return change


def relabel(dataset):
    dataset.SegmentSequence[3].SegmentLabel = "femur_left"


def renumber(dataset):
    dataset.SegmentSequence[3].SegmentNumber = 3


def contradict(dataset):
    sided(dataset, 2, code("24028007"), "femur_left")


def strange_segment(dataset):
    frame = dataset.PerFrameFunctionalGroupsSequence[0]
    frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 99


def without_position(dataset):
    del dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence


def without_orientation(dataset):
    del dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence


def far_position(dataset):
    frame = dataset.PerFrameFunctionalGroupsSequence[3]
    frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 1e9]


def other_spacing(dataset):
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [5.0, 2.0]


def one_frame_less(dataset):
    dataset.NumberOfFrames = int(dataset.NumberOfFrames) - 1


def twice_the_same_frame(dataset):
    one, other = dataset.PerFrameFunctionalGroupsSequence[:2]
    other.PlanePositionSequence[0].ImagePositionPatient = one.PlanePositionSequence[0].ImagePositionPatient


def one_direction_differs(dataset):
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.PlaneOrientationSequence = deepcopy(shared.PlaneOrientationSequence)
    del shared.PlaneOrientationSequence
    frame.PlaneOrientationSequence[0].ImageOrientationPatient = [0, 1, 0, 1, 0, 0]


def wrong_slice_distance(dataset):
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = 1.5


def too_large(dataset):
    dataset.Rows = dataset.Columns = 60000


def half_the_pixels(dataset):
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]


def part_of_a_concatenation(dataset):
    dataset.ConcatenationUID, dataset.InConcatenationNumber = "1.2.3", 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (part_of_a_concatenation, r"is part 2 of a segmentation that is kept in several files"),
        (relabel, r"two segments named femur_left, numbers 3 and 4"),
        (renumber, r"describes segment 3 twice, as femur_left and femur_R"),
        (contradict, r"segment 3 is named femur_left, but its code says right"),
        (strange_segment, r"frames refer to segment 99, which it does not describe"),
        (without_position, r"frame 4 has no PlanePositionSequence, so nothing says where it lies"),
        (without_orientation, r"frame 1 has no PlaneOrientationSequence, so nothing says where it lies"),
        (far_position, r"more than ct\.max_megavoxels|do not make a regular volume"),
        (other_spacing, r"lies on another grid than the CT"),
        (one_frame_less, r"has \d+ frames and describes \d+"),
        (half_the_pixels, r"bytes of pixels instead of"),
        (change_of("SegmentSequence", None), r"describes no segment"),
        (change_of("SegmentationType", "FRACTIONAL"), r"SegmentationType FRACTIONAL .*fractions or probabilities"),
        (change_of("SegmentationType", None), r"SegmentationType blank"),
        (change_of("SOPClassUID", "1.2.840.10008.5.1.4.1.1.66.5"), r"not a segmentation of voxels"),
        (change_of("Modality", "CT"), r"has no SEG series"),
        (change_of("Rows", 29), r"bytes of pixels instead of"),
        (change_of("Columns", 41), r"bytes of pixels instead of"),
        (change_of("BitsAllocated", 8), r"has BitsAllocated 8, and a segmentation has 1"),
        (change_of("BitsStored", 8), r"has BitsStored 8"),
        (change_of("PixelRepresentation", 1), r"has PixelRepresentation 1"),
        (change_of("SamplesPerPixel", 3), r"has SamplesPerPixel 3"),
        (change_of("PhotometricInterpretation", "MONOCHROME1"), r"has PhotometricInterpretation MONOCHROME1"),
        (change_of("FrameOfReferenceUID", None), r"has no FrameOfReferenceUID"),
        (change_of("NumberOfFrames", None), r"claims 0 x 30 x 40 voxels"),
        (change_of("DimensionIndexSequence", None), r"cannot be read as a regular volume"),
        (twice_the_same_frame, r"do not uniquely identify frames"),
        (one_direction_differs, r"directions or pixel sizes differ"),
        (wrong_slice_distance, r"lies on another grid than the CT"),
        (too_large, r"claims 55 x 60000 x 60000 voxels"),
    ],
)
def test_a_segmentation_that_contradicts_itself(tmp_path, change, message):
    path = seg(tmp_path / "s.dcm", change)
    with pytest.raises(MskdexError, match=message) as error:
        read(path)
    assert "\n" not in str(error.value)


def written(path: Path, kind: str, pixels: np.ndarray) -> Path:
    """A segmentation of another type, made by highdicom."""
    import highdicom
    from pydicom.sr.codedict import codes

    sources = slices()
    for source in sources:
        source.PatientSex, source.StudyDate, source.StudyTime, source.StudyID = "F", "20200101", "000000", "1"
        source.ReferringPhysicianName = ""
    described = [
        highdicom.seg.SegmentDescription(
            n, make.NAMES[i], codes.SCT.Organ, codes.SCT.Bone, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for n, i in enumerate(sorted(make.NAMES), start=1)
    ]
    form = highdicom.seg.SegmentationTypeValues[kind]
    uid = generate_uid
    found = highdicom.seg.Segmentation(
        sources, pixels, form, described, uid(), 1, uid(), 1, "maker", "model", "1", "serial"
    )
    found.save_as(path)
    return path


def without_derivation(dataset):
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    del dataset.SourceImageSequence


@pytest.mark.parametrize(
    "change",
    [
        change_of("ContentLabel", "LIVER"),
        change_of("SegmentsOverlap", "YES"),
        change_of("Manufacturer", "none"),
        change_of("LossyImageCompression", "01"),
        change_of("PatientID", "another"),
        without_derivation,
    ],
)
def test_attributes_without_effect(tmp_path, change):
    def more(dataset):
        change(dataset)
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SliceThickness = 99
        del measures.SpacingBetweenSlices
        for segment in dataset.SegmentSequence:
            segment.RecommendedDisplayCIELabValue = [1, 2, 3]
            segment.SegmentDescription = "right femur"

    found = read(seg(tmp_path / "s.dcm", more))
    assert as_read(found)
    assert found.warnings == []


def test_a_segment_without_a_label_is_told(tmp_path):
    def change(dataset):
        dataset.SegmentSequence[2].SegmentLabel = ""

    found = read(seg(tmp_path / "s.dcm", change))
    assert present(found) == set(IDS) - {"femur_left"}
    assert any("segment 3" in w for w in found.warnings)


def test_label_map_storage(tmp_path):
    path = written(tmp_path / "s.dcm", "LABELMAP", lps(make.phantom()[1]).array)
    assert str(pydicom.dcmread(path).SOPClassUID) == "1.2.840.10008.5.1.4.1.1.66.7"
    assert as_read(read(path))


def test_fractions_are_refused(tmp_path):
    array = lps(make.phantom()[1]).array
    fractions = np.stack([(array == i) * 0.6 for i in sorted(make.NAMES)], -1)
    with pytest.raises(MskdexError, match=r"FRACTIONAL \(PROBABILITY\)"):
        read(written(tmp_path / "s.dcm", "FRACTIONAL", fractions))


def test_segments_that_overlap_are_refused(tmp_path):
    array = lps(make.phantom()[1]).array
    masks = np.stack([array == i for i in sorted(make.NAMES)], -1).astype(np.uint8)
    masks[..., 2] |= masks[..., 3]
    with pytest.raises(MskdexError, match=r"femur_R shares \d+ of its \d+ voxels"):
        read(written(tmp_path / "s.dcm", "BINARY", masks))


def test_a_segment_without_frames_is_absent(tmp_path):
    def without_femur(array):
        array[array == 4] = 0
        return array

    found = read(seg(tmp_path / "s.dcm", array=without_femur))
    assert present(found) == set(IDS) - {"femur_right"}
    assert found.facts["absent"] == ["femur_right"]


def test_empty_slices_between_labelled_ones_are_left_out_and_stay_empty(tmp_path):
    def gap(array):
        array[9:11] = 0
        return array

    found = read(seg(tmp_path / "s.dcm", array=gap)).volume.array
    labels = make.phantom()[1].array.copy()
    labels[9:11] = 0
    np.testing.assert_array_equal(found > 0, labels > 0)


def test_the_series_and_frame_of_reference_of_the_ct_are_compared(tmp_path):
    sources = slices()
    ct = make.save_all(sources, tmp_path / "ct")
    found = read(seg(tmp_path / "same.dcm", sources=sources), ct=ct)
    assert as_read(found)
    assert found.warnings == []

    def other_series(dataset):
        dataset.ReferencedSeriesSequence[0].SeriesInstanceUID = generate_uid()

    found = read(seg(tmp_path / "series.dcm", other_series, sources), ct=ct)
    assert as_read(found)
    assert any("another series than the CT's" in w for w in found.warnings)
    with pytest.raises(MskdexError, match="lies in another frame of reference"):
        read(seg(tmp_path / "frame.dcm", change_of("FrameOfReferenceUID", generate_uid()), sources), ct=ct)


def test_several_segmentations_in_a_folder_are_told_apart(tmp_path):
    folder = tmp_path / "seg"
    folder.mkdir()
    one, two = seg(folder / "1.dcm"), seg(folder / "2.dcm", change_of("SeriesInstanceUID", generate_uid()))
    with pytest.raises(MskdexError, match=r"2 SEG series.*label_series"):
        read(folder)
    assert as_read(read(folder, series_uid=str(pydicom.dcmread(one).SeriesInstanceUID)))
    assert two.is_file()
