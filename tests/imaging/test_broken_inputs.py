"""Everything that can be wrong with a patient's files: one plain error each, and nothing written."""

import gzip
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hospital as make
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.uid import JPEG2000Lossless

from mskdex.errors import MskdexError
from mskdex.io.volume import Volume
from mskdex.pipeline.stages.importing import import_patient

Row = dict[str, Any]
CASES: dict[str, tuple[Callable[[Row], Any], str]] = {}


def broken(message: str):
    """Registers a case: a function that damages a good patient (its row of the sheet), and the error to follow."""

    def register(function):
        CASES[function.__name__] = (function, message)
        return function

    return register


def home(row: Row) -> Path:
    """The folder of the good patient."""
    return Path(row["radiograph"]).parent


def edit(path: str | Path, at: int, content: bytes) -> None:
    """Overwrites bytes of a file, inside its gzip if it has one."""
    path = Path(path)
    zipped = path.suffix == ".gz"
    data = bytearray(gzip.decompress(path.read_bytes()) if zipped else path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(gzip.compress(bytes(data)) if zipped else bytes(data))


def cut(path: str | Path, share: float = 0.5) -> None:
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: int(len(data) * share)])


def series(row: Row, change: Callable[[list], None] = lambda _: None, **tags: Any) -> Path:
    """Replaces the CT by a DICOM series after a change of its slices."""
    datasets = make.slice_datasets(make.phantom()[0], **tags)
    change(datasets)
    row["ct"] = str(make.save_all(datasets, home(row) / "series"))
    return Path(row["ct"])


def replace(row: Row, column: str, volume: Volume, name: str = "new.nii.gz") -> None:
    row[column] = str(make.write(Path(row["ct"]).parent / name, volume))


# ---- the CT as a file


@broken(r"ct\.nii\.gz is cut short: \d+ bytes of \d+")
def ct_gzip_cut_short(row):
    cut(row["ct"])


@broken(r"ct\.nii is cut short: \d+ bytes of \d+")
def ct_cut_short(row):
    replace(row, "ct", make.phantom()[0], "ct.nii")
    cut(row["ct"])


@broken(r"ct\.nii\.gz is empty \(0 bytes\)")
def ct_of_zero_bytes(row):
    Path(row["ct"]).write_bytes(b"")


@broken(r"ct\.nii is a pipe or device, not a file")
def ct_that_is_a_pipe(row):
    row["ct"] = str(home(row) / "ct.nii")
    os.mkfifo(row["ct"])


@broken(r"absent\.nii\.gz does not exist; correct the sheet's column ct")
def ct_absent(row):
    folder = home(row)
    row["ct"] = str(folder / "absent.nii.gz")


@broken(r"ct\.nii\.gz has 3 voxels that are no number \(NaN or infinite\)")
def ct_with_nan(row):
    ct, _ = make.phantom()
    array = ct.array.astype(np.float32)
    array[3, 4, 5:8] = np.nan
    replace(row, "ct", Volume(array, ct.world_from_voxel), "ct.nii.gz")


@broken(r"has no air and no fat.*not HU; apply slope and intercept")
def ct_unscaled(row):
    ct, _ = make.phantom()
    replace(row, "ct", Volume(ct.array + np.int16(1024), ct.world_from_voxel))


@broken(r"hardly any voxel between -200 and 200 HU")
def ct_scaled_twice(row):
    ct, _ = make.phantom()
    replace(row, "ct", Volume((ct.array - 1024).astype(np.int16), ct.world_from_voxel))


@broken(r"has 4 dimensions \(40 x 30 x 20 x 3\)")
def ct_of_four_dimensions(row):
    folder = home(row)
    ct, _ = make.phantom()
    image = sitk.JoinSeries([make.volume_to_sitk(ct)] * 3)
    row["ct"] = str(folder / "four.nii.gz")
    sitk.WriteImage(image, row["ct"])


@broken(r"single slice \(40 x 30 x 1\)")
def ct_of_one_slice(row):
    ct, _ = make.phantom()
    replace(row, "ct", Volume(ct.array[:1], ct.world_from_voxel))


@broken(r"single slice \(40 x 30\)")
def ct_of_two_dimensions(row):
    folder = home(row)
    row["ct"] = str(folder / "two.nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(make.phantom()[0].array[0]), row["ct"])


@broken(r"3 values per voxel")
def ct_in_colour(row):
    folder = home(row)
    array = np.zeros((5, 6, 7, 3), np.uint8)
    row["ct"] = str(folder / "colour.nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), row["ct"])


@broken(r"its voxel size is \(0\.0, .*\) mm")
def ct_with_zero_spacing(row):
    edit(row["ct"], 80, struct.pack("<f", 0.0))
    edit(row["ct"], 254, struct.pack("<h", 0))


@broken(r"does not say how it lies in the patient.*left and right are unknown")
def ct_without_orientation(row):
    edit(row["ct"], 252, struct.pack("<2h", 0, 0))


@broken(r"axes are not at right angles \(gantry tilt\?\)")
def ct_with_sheared_axes(row):
    edit(row["ct"], 252, struct.pack("<2h", 0, 1))
    edit(row["ct"], 280, struct.pack("<12f", 2, 0, 0, 0, 0, 2.5, 0.8, 0, 0, 0, 3, 0))


@broken(r"claims 30000 x 30000 x 30000 voxels, more than 800 million")
def ct_of_absurd_size(row):
    edit(row["ct"], 42, struct.pack("<3h", 30000, 30000, 30000))


@broken(r"claims 900 x 900 x 900 voxels, which \d+ bytes cannot hold")
def ct_that_claims_more_than_it_holds(row):
    edit(row["ct"], 42, struct.pack("<3h", 900, 900, 900))


@broken(r"is a NIFTI file by its content; rename it to end in \.nii or \.nii\.gz")
def ct_with_wrong_extension(row):
    folder = home(row)
    row["ct"] = str(shutil.move(row["ct"], folder / "ct.nrrd"))


@broken(r"is a PNG file; the CT may be NIFTI, NRRD, METAIMAGE")
def ct_is_a_picture(row):
    folder = home(row)
    row["ct"] = str(folder / "ct.png")
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((9, 9), np.uint16)), row["ct"])


@broken(r"is an archive; unpack it")
def ct_is_an_archive(row):
    folder = home(row)
    shutil.make_archive(str(folder / "ct"), "zip", folder, "ct.nii.gz")
    row["ct"] = str(folder / "ct.zip")


@broken(r"is an archive; unpack it")
def ct_is_a_tarball(row):
    folder = home(row)
    shutil.make_archive(str(folder / "ct"), "gztar", folder, "ct.nii.gz")
    row["ct"] = str(folder / "ct.tar.gz")


@broken(r"of no known format, or damaged")
def ct_is_noise(row):
    Path(row["ct"]).write_bytes(np.random.default_rng(0).bytes(5000))


@broken(r"points to data outside its folder \(\.\./secret\.raw\)")
def ct_header_leads_outside(row):
    folder = home(row)
    (folder.parent / "secret.raw").write_bytes(bytes(1000))
    row["ct"] = str(folder / "ct.mhd")
    lines = ["ObjectType = Image", "NDims = 3", "DimSize = 5 5 5", "ElementType = MET_SHORT", "ElementSpacing = 1 1 1"]
    Path(row["ct"]).write_text("\n".join([*lines, "ElementDataFile = ../secret.raw", ""]), encoding="utf-8")


@broken(r"points to ct\.raw, which does not exist")
def ct_header_without_its_data(row):
    folder = home(row)
    replace(row, "ct", make.phantom()[0], "ct.mhd")
    (folder / "ct.raw").unlink()


# ---- the CT as DICOM


@broken(r"lacks 2 of 20 slices, at 21, 24 mm")
def series_with_missing_slices(row):
    def change(datasets):
        for d in datasets:
            x, y, z = d.ImagePositionPatient
            d.ImagePositionPatient = [x, y, float(z) - 100.0]
        del datasets[7:9]

    series(row, change)


@broken(r"3 or more slices at one position, at .* mm: the series holds 2 stacks: .*\(20 slices.*folder of their own")
def series_with_duplicate_slices(row):
    def change(datasets):
        datasets += make.slice_datasets(make.phantom()[0])[4:6]
        for d in datasets:
            d.SeriesInstanceUID = datasets[0].SeriesInstanceUID

    series(row, change)


@broken(r"slice distances vary from .*set ct\.resample_uneven_slices: true")
def series_with_uneven_slices(row):
    def change(datasets):
        for k, d in enumerate(datasets):
            x, y, z = d.ImagePositionPatient
            d.ImagePositionPatient = [x, y, float(z) + 0.05 * k * k]

    series(row, change)


@broken(r"gantry was tilted by 15\.\d degrees")
def series_with_tilted_gantry(row):
    def change(datasets):
        for k, d in enumerate(datasets):
            x, y, z = d.ImagePositionPatient
            d.ImagePositionPatient = [x, float(y) + k * 3.0 * np.tan(np.radians(15)), z]

    series(row, change)


@broken(r"single slice; a CT needs the whole series")
def series_of_one_slice(row):
    series(row, lambda d: d.__delitem__(slice(1, None)))


@broken(r"no CT series; it has files of modality MR")
def series_of_another_modality(row):
    series(row, Modality="MR")


@broken(r"no CT series 1\.2\.3; it has .* Correct ct_series")
def series_that_is_not_there(row):
    series(row)
    row["ct_series"] = "1.2.3"


@broken(r"has 2 CT series: .* Name one in the sheet's column ct_series")
def two_series_and_none_named(row):
    folder = home(row)
    series(row)
    make.save_all(make.slice_datasets(make.phantom()[0]), folder / "series" / "deeper")


@broken(r"has no rescale slope and intercept, so its values are not HU")
def series_without_rescale(row):
    def change(datasets):
        del datasets[3].RescaleIntercept

    series(row, change)


@broken(r"has another size or pixel spacing than")
def series_of_two_sizes(row):
    def change(datasets):
        datasets[5].PixelSpacing = [1.0, 1.0]

    series(row, change)


@broken(r"has another orientation than")
def series_of_two_orientations(row):
    def change(datasets):
        datasets[5].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    series(row, change)


@broken(r"its PixelSpacing is \[0\.0, 0\.0\] mm")
def series_with_zero_spacing(row):
    series(row, PixelSpacing=[0.0, 0.0])


@broken(r"has no ImagePositionPatient")
def series_without_positions(row):
    def change(datasets):
        del datasets[2].ImagePositionPatient

    series(row, change)


@broken(r"the pixels of .* cannot be decoded")
def series_with_a_slice_cut_short(row):
    files = sorted(series(row).iterdir())
    cut(files[4], 0.8)


@broken(r"holds OD, not HU")
def series_in_another_unit(row):
    series(row, RescaleType="OD")


@broken(r"holds neither masks .* nor a DICOM SEG; surfaces and contours are not read")
def labels_as_surfaces(row):
    folder = home(row) / "surfaces"
    folder.mkdir()
    (folder / "femur_left.stl").write_text("solid x\nendsolid\n", encoding="utf-8")
    row["labels"] = str(folder)


@broken(r"it has labels\.nii\.gz.*name the file itself where it is one label map")
def folder_of_one_label_map(row):
    folder = home(row) / "folder"
    folder.mkdir()
    row["labels"] = str(Path(row["labels"]).rename(folder / "labels.nii.gz").parent)


@broken(r"folder .* has no DICOM file")
def folder_without_dicom(row):
    folder = home(row)
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").write_text("nothing here", encoding="utf-8")
    row["ct"] = str(folder / "empty")


@broken(r"is a link that leads out of")
def series_with_a_link_outside(row):
    folder = home(row)
    path = series(row)
    outside = folder.parent / "outside.dcm"
    shutil.copy(next(path.iterdir()), outside)
    (path / "linked.dcm").symlink_to(outside)


# ---- labels


@broken(r"labels\.nii\.gz is empty: every voxel is 0")
def labels_empty(row):
    labels = make.phantom()[1]
    replace(row, "labels", Volume(np.zeros_like(labels.array), labels.world_from_voxel), "labels.nii.gz")


@broken(r"holds fractions, not label ids")
def labels_interpolated(row):
    labels = make.phantom()[1]
    replace(row, "labels", Volume(labels.array.astype(np.float32) * 0.7, labels.world_from_voxel))


@broken(r"holds values from -1000 to .* \(is it the CT\?\)")
def labels_are_the_ct(row):
    row["labels"] = row["ct"]


@broken(r"has none of the structures that label source phantom maps \(it has the ids 0, 100\)")
def labels_of_unknown_ids(row):
    labels = make.phantom()[1]
    replace(row, "labels", Volume((labels.array > 0).astype(np.uint8) * 100, labels.world_from_voxel))


@broken(r"lies on another grid than the CT: 40 x 30 x 18 voxels against 40 x 30 x 20")
def labels_of_another_size(row):
    labels = make.phantom()[1]
    moved = labels.world_from_voxel.copy()
    moved[2, 3] += 0.7
    replace(row, "labels", Volume(labels.array[:18], moved))


@broken(r"another grid than the CT: shifted by \(0, 0, 1\.2\) mm")
def labels_shifted_by_header(row):
    labels = make.phantom()[1]
    moved = labels.world_from_voxel.copy()
    moved[2, 3] += 1.2
    replace(row, "labels", Volume(labels.array, moved))


@broken(r"shifted by .* and \d+ labelled voxels lie outside the CT")
def labels_far_away(row):
    labels = make.phantom()[1]
    moved = labels.world_from_voxel.copy()
    moved[2, 3] += 3.0 * 15
    replace(row, "labels", Volume(labels.array, moved))


@broken(r"labels\.nii\.gz: label \w+ has a median of \d+ HU, below 100.*when flipped upside down")
def labels_flipped(row):
    labels = make.phantom()[1]
    replace(row, "labels", Volume(labels.array[::-1].copy(), labels.world_from_voxel), "labels.nii.gz")


@broken(r"left and right of gluteus_maximus, pelvis, femur are swapped")
def labels_mirrored(row):
    labels = make.phantom()[1]
    swap = np.array([0, 2, 1, 4, 3, 5, 7, 6], np.uint8)
    replace(row, "labels", Volume(swap[labels.array], labels.world_from_voxel))


@broken(r"carries no names of structures, and label source totalsegmentor is not in label_sources")
def labels_of_unknown_source(row):
    row["label_source"] = "totalsegmentor"


@broken(r"labels\.json cannot be read as JSON")
def labels_with_broken_names(row):
    folder = home(row)
    row["label_source"] = "named"
    (folder / "labels.json").write_text("{'pelvis': 1", encoding="utf-8")


@broken(r"labels\.json: pelvis_left has no id but 'one'")
def labels_with_names_without_ids(row):
    folder = home(row)
    row["label_source"] = "named"
    (folder / "labels.json").write_text(json.dumps({"pelvis_left": "one"}), encoding="utf-8")


@broken(r"id 1 would belong to several objects")
def labels_with_one_id_for_two_names(row):
    folder = home(row)
    row["label_source"] = "named"
    (folder / "labels.json").write_text(json.dumps({"pelvis_left": 1, "pelvis_right": 1}), encoding="utf-8")


@broken(r"shares \d+ of its \d+ voxels with other structures")
def masks_that_overlap(row):
    folder = home(row)
    labels = make.phantom()[1]
    masks = make.masks(folder / "masks", labels)
    shutil.copy(masks / "femur_left.nii.gz", masks / "hip_left.nii.gz")
    row |= {"labels": str(masks), "label_source": "named"}


@broken(r"femur_left\.nii\.gz is a label map of several ids, not a mask")
def masks_that_are_label_maps(row):
    folder = home(row)
    labels = make.phantom()[1]
    masks = make.masks(folder / "masks", labels)
    shutil.copy(row["labels"], masks / "femur_left.nii.gz")
    row |= {"labels": str(masks), "label_source": "named"}


@broken(r"none of the config's structures, or they are empty")
def masks_of_other_structures(row):
    folder = home(row)
    (folder / "masks").mkdir()
    shutil.copy(row["labels"], folder / "masks" / "spleen.nii.gz")
    row |= {"labels": str(folder / "masks"), "label_source": "named"}


@broken(r"the sheet gives no labels; run rule segment, or give labels")
def labels_not_given(row):
    del row["labels"]


# ---- the radiograph


def xray(row: Row, **tags: Any) -> None:
    make.save(make.radiograph(**tags), Path(row["radiograph"]))


@broken(r"radiograph\.dcm is of modality CT, not a radiograph")
def radiograph_of_another_modality(row):
    xray(row, Modality="CT")


@broken(r"pixel size \(tag ImagerPixelSpacing\) is nowhere; give it in the sheet's column pixel_mm")
def radiograph_without_pixel_size(row):
    xray(row, ImagerPixelSpacing=None)


@broken(r"distance from source to detector .* is nowhere; give it in the sheet's column sdd_mm")
def radiograph_without_distance(row):
    xray(row, DistanceSourceToDetector=None)


@broken(r"geometry is impossible: sdd_mm 1100 .*table or support 1500 mm from the source .*source_to_isocentre_mm")
def radiograph_with_impossible_geometry(row):
    xray(row, DistanceSourceToPatient=1500.0)


@broken(r"no AP or PA radiograph of the hip \(tag ViewPosition 'LATERAL'\).*sheet's column view")
def radiograph_lateral(row):
    xray(row, ViewPosition="LATERAL")


@broken(r"has 8 bits per pixel, a display copy, which cannot be linear")
def radiograph_of_eight_bits(row):
    grey = np.rint(250 * np.exp(-make.radiograph_values())).astype(np.uint8)
    dataset = make.radiograph()
    make._pixels(dataset, grey)
    make.save(dataset, Path(row["radiograph"]))
    row["intensity"] = "linear"


@broken(r"has 3 frames; export the one frame")
def radiograph_of_several_frames(row):
    xray(row, NumberOfFrames=3)


@broken(r"is a colour image")
def radiograph_in_colour(row):
    xray(row, SamplesPerPixel=3)


@broken(r"the pixels of .*radiograph\.dcm cannot be decoded")
def radiograph_cut_short(row):
    cut(row["radiograph"], 0.7)


@broken(r"the pixels of .* cannot be decoded .*JPEG 2000")
def radiograph_with_broken_jpeg_2000(row):
    dataset = make.radiograph()
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    data = bytearray(dataset.PixelData)
    data[60:-8] = bytes(len(data) - 68)
    dataset.PixelData = bytes(data)
    make.save(dataset, Path(row["radiograph"]))


@broken(r"cannot be read as DICOM|cannot be decoded|no pixel data")
def radiograph_cut_within_the_header(row):
    cut(row["radiograph"], 0.03)


@broken(r"exposed field is flat")
def radiograph_blank(row):
    make.save(make.radiograph(np.full((64, 80), 1.0)), Path(row["radiograph"]))


@broken(r"claims 60000 x 60000 voxels, more than 100 million")
def radiograph_of_absurd_size(row):
    xray(row, Rows=60000, Columns=60000)


@broken(r"has 8 bits per pixel, a display copy, which cannot be log")
def picture_of_eight_bits(row):
    path = home(row) / "r.png"
    sitk.WriteImage(sitk.GetImageFromArray(np.rint(60 * make.radiograph_values()).astype(np.uint8)), str(path))
    row |= {"radiograph": str(path), "intensity": "log", "sdd_mm": 1100.0, "pixel_mm": 0.9}


@broken(r"is a colour image; export the radiograph itself in grey")
def radiograph_is_a_photograph(row):
    path = home(row) / "r.jpg"
    colours = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(path))
    row["radiograph"] = str(path)


@broken(r"is no two-dimensional grey image")
def radiograph_is_the_ct(row):
    row["radiograph"] = row["ct"]


@pytest.mark.parametrize("name", sorted(CASES))
def test_error_is_plain_and_nothing_is_written(tmp_path, name):
    damage, message = CASES[name]
    folder = tmp_path / "in"
    row = make.patient(folder)
    damage(row)
    with pytest.raises(MskdexError, match=message) as error:
        import_patient(row, make.settings(), tmp_path / "out")
    text = str(error.value)
    assert text.startswith("patient P01: ")
    assert str(tmp_path) in text or "the sheet gives no" in text
    assert "\n" not in text
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_there_are_at_least_forty():
    assert len(CASES) >= 40


def test_the_good_patient_is_imported(tmp_path):
    import_patient(make.patient(tmp_path / "in"), make.settings(), tmp_path / "out")
    written = {p.name for p in (tmp_path / "out").iterdir()}
    names = {"ct.nii.gz", "labels.nii.gz", "radiograph.nii.gz", "field.nii.gz", "camera.json", "import.json"}
    assert written == names
