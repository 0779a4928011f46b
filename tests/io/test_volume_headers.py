"""NIfTI, NRRD and MetaImage files of users: every field that changes a voxel's value, size or place."""

import gzip
import struct
import zlib
from pathlib import Path

import hospital as make
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from mskdex.errors import MskdexError
from mskdex.imaging.ct import read_ct
from mskdex.io.volume import Volume
from mskdex.io.volume_files import read_volume_file
from mskdex.pipeline.stages.importing import import_patient

CT = make.settings().ct
PHANTOM, LABELS = make.phantom()
AFFINE = PHANTOM.world_from_voxel


def nifti(path, array=PHANTOM.array, affine=AFFINE, *, codes=(1, 1), kind=nibabel.Nifti1Image, **entries):
    """Writes a NIfTI file and then overwrites entries of its header as they are named in the standard."""
    image = kind(np.ascontiguousarray(array.transpose(2, 1, 0)), affine)
    image.set_sform(affine, codes[1])
    image.set_qform(affine, codes[0])
    raw = bytearray(image.to_bytes())
    header = image.header.__class__(bytes(raw[: image.header.sizeof_hdr]), check=False)
    for key, value in entries.items():
        header[key] = value
    raw[: image.header.sizeof_hdr] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(raw)) if path.name.endswith(".gz") else bytes(raw))
    return path


def text_file(path, head: str, voxels: bytes):
    path.write_bytes(head.encode() + voxels)
    return path


NRRD = {
    "type": "int16",
    "dimension": "3",
    "space": "right-anterior-superior",
    "sizes": "40 30 20",
    "space directions": "(2,0,0) (0,2.5,0) (0,0,3)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(-40,-30,100)",
}
MHA = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "-1 0 0 0 -1 0 0 0 1",
    "Offset": "40 30 100",
    "ElementSpacing": "2 2.5 3",
    "DimSize": "40 30 20",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


def nrrd(path, voxels=None, **changes):
    """An NRRD file; underscores of a changed field are blanks, None leaves it out."""
    fields = NRRD | {k.replace("_", " "): v for k, v in changes.items()}
    lines = ["NRRD0004", *[f"{k}: {v}" for k, v in fields.items() if v is not None]]
    return text_file(path, "\n".join(lines) + "\n\n", PHANTOM.array.tobytes() if voxels is None else voxels)


def mha(path, voxels=None, **changes):
    fields = {k: v for k, v in MHA.items() if k != "ElementDataFile"} | changes
    fields |= {"ElementDataFile": changes.get("ElementDataFile", "LOCAL")}
    lines = [f"{k} = {v}" for k, v in sorted(fields.items(), key=lambda f: f[0] == "ElementDataFile") if v is not None]
    return text_file(path, "\n".join(lines) + "\n", PHANTOM.array.tobytes() if voxels is None else voxels)


def same(path, warnings=0) -> None:
    found = read_ct(path, CT)
    np.testing.assert_array_equal(found.volume.array, PHANTOM.array)
    np.testing.assert_allclose(found.volume.world_from_voxel, AFFINE, atol=1e-4)
    assert len(found.warnings) == warnings, found.warnings


# ---- the named file, by its content


def test_the_named_file_is_read_not_its_twin(tmp_path):
    nifti(tmp_path / "ct.nii", PHANTOM.array // 2)
    same(nifti(tmp_path / "ct.nii.gz"))
    nifti(tmp_path / "other.nii.gz", PHANTOM.array // 2)
    same(nifti(tmp_path / "other.nii"))


@pytest.mark.parametrize(("made", "named"), [("a.nii.gz", "b.nii"), ("a.nii", "b.nii.gz")])
def test_gzip_is_known_by_content(tmp_path, made, named):
    same(nifti(tmp_path / made).rename(tmp_path / named))


def test_nifti_2_and_several_gzip_members_are_read(tmp_path):
    same(nifti(tmp_path / "two.nii.gz", kind=nibabel.Nifti2Image))
    raw = nifti(tmp_path / "one.nii").read_bytes()
    (tmp_path / "parts.nii.gz").write_bytes(gzip.compress(raw[:9000]) + gzip.compress(raw[9000:]) + bytes(512))
    same(tmp_path / "parts.nii.gz")


def test_a_users_file_is_neither_moved_nor_written(tmp_path):
    row = make.patient(tmp_path / "in")
    path = Path(row["labels"])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(MskdexError, match=r"labels\.nii\.gz is damaged: .*checksum"):
        import_patient(row, make.settings(), tmp_path / "out")
    assert sorted(p.name for p in path.parent.iterdir()) == ["ct.nii.gz", "labels.nii.gz", "radiograph.dcm"]
    assert path.read_bytes() == bytes(data)


def test_slope_and_intercept_of_nifti_are_applied(tmp_path):
    same(nifti(tmp_path / "a.nii", PHANTOM.array + np.int16(1024), scl_slope=1, scl_inter=-1024))
    same(nifti(tmp_path / "b.nii.gz", ((PHANTOM.array + 1024) * 2).astype(np.int16), scl_slope=0.5, scl_inter=-1024))
    same(nifti(tmp_path / "c.nii", PHANTOM.array.astype(np.float64)))
    same(nifti(tmp_path / "d.nii", scl_slope=0, scl_inter=77))


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha", "zraw"])
def test_every_flipped_bit_of_compressed_voxels_is_found(tmp_path, suffix):
    if suffix == "nii.gz":
        path, start = nifti(tmp_path / "ct.nii.gz"), 10
        data = path
    elif suffix == "nrrd":
        packed = gzip.compress(PHANTOM.array.tobytes())
        data = path = nrrd(tmp_path / "ct.nrrd", packed, encoding="gzip")
        start = path.stat().st_size - len(packed) + 10
    else:
        packed = zlib.compress(PHANTOM.array.tobytes())
        local = suffix == "mha"
        name = "LOCAL" if local else "ct.zraw"
        path = mha(tmp_path / "ct.mha", packed if local else b"", CompressedData="True", ElementDataFile=name)
        data = path if local else text_file(tmp_path / "ct.zraw", "", packed)
        start = data.stat().st_size - len(packed)
    good = data.read_bytes()
    same(path)
    generator = np.random.default_rng(0)
    for at in generator.integers(start, len(good), 12):
        bad = bytearray(good)
        bad[at] ^= 1 << int(generator.integers(8))
        data.write_bytes(bad)
        with pytest.raises(MskdexError):
            read_ct(path, CT)


@pytest.mark.parametrize("extra", [-2, 2])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd", "mha"])
def test_voxels_are_as_many_as_the_header_claims(tmp_path, suffix, extra):
    voxels = (PHANTOM.array.tobytes() + b"xx")[: PHANTOM.array.nbytes + extra]
    if suffix.startswith("nii"):
        raw = nifti(tmp_path / "x.nii").read_bytes()[:352] + voxels
        path = tmp_path / f"ct.{suffix}"
        path.write_bytes(gzip.compress(raw) if suffix.endswith("gz") else raw)
    else:
        path = {"nrrd": nrrd, "mha": mha}[suffix](tmp_path / f"ct.{suffix}", voxels)
    with pytest.raises(MskdexError, match="is cut short" if extra < 0 else "holds more than its header claims"):
        read_ct(path, CT)


# ---- NIfTI headers


@pytest.mark.parametrize("factor", [0.98, 1.1, 0.995, 0.5])
@pytest.mark.parametrize("qform", [0, 1])
def test_a_voxel_size_that_contradicts_the_sform_is_an_error(tmp_path, factor, qform):
    sizes = np.array([1, 2 * factor, 2.5 * factor, 3 * factor, 0, 0, 0, 0])
    path = nifti(tmp_path / "ct.nii.gz", codes=(qform, 1), pixdim=sizes)
    with pytest.raises(MskdexError, match=rf"two voxel sizes: {2 * factor:.5g} x .* \(pixdim\) and 2 x 2\.5 x 3 mm"):
        read_ct(path, CT)


def test_a_small_difference_of_sform_and_qform_is_said(tmp_path):
    found = read_ct(nifti(tmp_path / "ct.nii.gz", qoffset_x=-40.3), CT)
    assert found.warnings == ["ct.nii.gz: its sform and qform differ by up to 0.3 mm; the sform was taken"]
    assert found.volume.world_from_voxel[0, 3] == pytest.approx(-40.0)


def test_a_voxel_size_rounded_to_four_digits_is_none(tmp_path):
    affine = AFFINE.copy()
    affine[0, 0] = 0.78125
    path = nifti(tmp_path / "ct.nii", affine=affine, codes=(0, 1), pixdim=[1, 0.7813, 2.5, 3, 0, 0, 0, 0])
    assert read_ct(path, CT).volume.spacing_mm == pytest.approx((0.78125, 2.5, 3.0))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"qoffset_x": -20.0}, r"two positions: its sform and qform differ by up to 20 mm"),
        ({"quatern_b": 0.0, "quatern_c": 0.0, "quatern_d": 1.0}, "two positions"),
        ({"quatern_b": 1.5}, "are no rotation"),
        ({"scl_slope": np.nan}, "scl_slope nan"),
        ({"scl_inter": np.inf}, "scl_inter inf"),
        ({"bitpix": 8}, "bitpix says 8"),
        ({"datatype": 77}, "datatype 77 is none of NIfTI's"),
        ({"datatype": 32, "bitpix": 64}, r"values of datatype 32 \(complex64\)"),
        ({"datatype": 128, "bitpix": 24}, "3 values per voxel"),
        ({"vox_offset": 1e9}, r"begin at byte 1e\+09"),
        ({"vox_offset": 0}, "begin at byte 0 "),  # ITK reads such files from byte 348, nibabel from 0
        ({"vox_offset": 351}, "begin at byte 351 "),
        ({"xyzt_units": 5}, "name no unit of length"),
        ({"dim": [9, 40, 30, 20, 1, 1, 1, 1]}, r"dim\[0\] 9"),
        ({"dim": [3, -40, 30, 20, 1, 1, 1, 1]}, "claims"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "no numbers"),
        ({"srow_x": [2, 0, 0, 1e6], "qform_code": 0}, "farther than any scanner"),
        ({"magic": b"ni1"}, r"another file \(\.hdr and \.img\)"),
    ],
)
def test_nifti_entries_that_cannot_be_are_refused(tmp_path, entries, message):
    with pytest.raises(MskdexError, match=message):
        read_ct(nifti(tmp_path / "ct.nii.gz", **entries), CT)


@pytest.mark.parametrize(("unit", "factor"), [(1, 1e-3), (3, 1e3)])
def test_units_of_nifti_are_used_and_said(tmp_path, unit, factor):
    affine = np.diag([factor, factor, factor, 1]) @ AFFINE
    found = read_ct(nifti(tmp_path / "ct.nii", affine=affine, xyzt_units=unit), CT)
    np.testing.assert_allclose(found.volume.world_from_voxel, AFFINE, atol=1e-3)
    assert "metres, converted" in found.warnings[0]


@pytest.mark.parametrize(
    "entries",
    [{"cal_max": 99}, {"intent_code": 5}, {"slice_code": 3}, {"toffset": 7}, {"descrip": b"x"}, {"dim_info": 57}],
)
def test_nifti_entries_without_effect_have_none(tmp_path, entries):
    same(nifti(tmp_path / "ct.nii", **entries))


@pytest.mark.parametrize("size", [0.05, 12.0])
@pytest.mark.parametrize("writer", [nifti, "nrrd", "mha", "dicom"])
def test_voxels_of_a_size_that_no_ct_has_stop_the_import(tmp_path, size, writer):
    affine = np.diag([2.0, 2.5, size, 1.0])
    volume = Volume(PHANTOM.array, affine)
    if writer == "dicom":
        path = make.save_all(make.slice_datasets(volume), tmp_path / "s")
    elif writer is nifti:
        path = nifti(tmp_path / "ct.nii", affine=affine)
    else:
        path = make.write(tmp_path / f"ct.{writer}", volume)
    with pytest.raises(MskdexError, match=rf"voxels are 2 x 2\.5 x {size:g} mm; 0\.1 to 10 mm are possible"):
        read_ct(path, CT)


def test_a_body_that_no_patient_has_stops_the_import(tmp_path):
    volume = Volume(PHANTOM.array, np.diag([2.0, 2.5, 10.0, 1.0]))
    tall = Volume(np.repeat(volume.array, 7, axis=0), volume.world_from_voxel)
    with pytest.raises(MskdexError, match=r"is \d+ mm long, and 1200 mm is allowed"):
        read_ct(make.write(tmp_path / "ct.nrrd", tall), CT)
    table = np.full((140, 30, 40), -1000, np.int16)
    table[:, 3, 18:21] = 100
    table[40:60] = PHANTOM.array
    read_ct(make.write(tmp_path / "table.nrrd", Volume(table, volume.world_from_voxel)), CT)


# ---- NRRD headers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space_directions": None}, "does not say its voxel size and orientation"),
        ({"space_directions": None, "space": None, "spacings": "2 2.5 3"}, "does not say its voxel size and orient"),
        ({"space": None, "space_dimension": "3"}, r"does not say how it lies in the patient \(it names no space"),
        ({"space": "scanner-xyz"}, "its space is scanner-xyz"),
        ({"space_directions": "(2,0,0) (0,2.5,0) (0,0,nan)"}, "where numbers are needed"),
        ({"space_directions": "(2,0,0) (0,2_5,0) (0,0,3)"}, "where numbers are needed"),
        ({"sizes": "4_0 30 20"}, "its sizes is '4_0 30 20'"),
        ({"space_directions": "(2,0,0) (0,2.5,0)"}, "2 space directions"),
        ({"space_directions": "(2,0,0) (0,2.5,0) (0,0,0)"}, "zero or not a number"),
        ({"space_directions": "(2,0,0) (0,2.5,0) ((0,0,3)"}, "no vectors in brackets"),
        ({"space_origin": "(9(-40,-30,100)"}, "are not three numbers"),
        ({"space_origin": "(4\x1c0,-30,100)"}, "no field of NRRD"),
        ({"space_units": '"furlong" "furlong" "furlong"'}, "units furlong"),
        ({"kinds": "domain domain time"}, "an axis of kind time"),
        ({"endian": None}, "no endian"),
        ({"endian": "middle"}, "not little or big"),
        ({"type": "block"}, "type block"),
        ({"encoding": "ascii"}, "encoding ascii"),
        ({"encoding": "bzip2"}, "encoding bzip2"),
        ({"sizes": "40 thirty 20"}, "its sizes is '40 thirty 20'"),
        ({"dimension": "2"}, "3 sizes for dimension 2"),
        ({"old_min": "-1000"}, "were quantised"),
        ({"space_orgin": "(0,0,0)"}, "no field of NRRD"),
        ({"spacings": "1 1 1"}, r"two voxel sizes: 1 1 1 \(spacings\) and 2 x 2\.5 x 3 \(space directions\)"),
        ({"spacings": "2 2.5"}, "gives 2 spacings for 3 axes"),
        ({"space_units": '"cm" "cm"'}, "gives 2 space units for 3 axes"),
        ({"units": '"mm"'}, "gives 1 units for 3 axes"),
        ({"byte_skip": "0 0"}, "where one number is needed"),
        ({"space_dimension": "4"}, "its space dimension is 4, not 3"),
        ({"block_size": "2"}, "has a block size"),
        ({"type": "x" * 5000}, r"of type x{60}\.\.\.; export"),
        ({"byte_skip": "-7"}, "cannot be"),
        ({"data_file": "LIST"}, "lists several data files"),
        ({"data_file": "ct%03d.raw 1 20 1"}, "lists several data files"),
        ({"data_file": "LIST\ns0.raw\ns1.raw"}, "lists several data files"),
        ({"kinds": " "}, "its kinds is blank"),
        ({"byte_skip": ""}, "its byte skip is blank"),
        ({"units": 'space "mm" "mm" "mm"'}, "its units are .*, no words in quotes"),
        (
            {
                "dimension": "4",
                "sizes": "40 30 20 1",
                "kinds": "domain domain domain time",
                "space": "right-anterior-superior-time",
                "space_directions": "(2,0,0,0) (0,2.5,0,0) (0,0,3,0) (0,0,0,1)",
            },
            r"has 4 dimensions \(40 30 20 1\), one of them time",
        ),
    ],
)
def test_nrrd_fields_that_cannot_be_are_refused(tmp_path, changes, message):
    with pytest.raises(MskdexError, match=message):
        read_ct(nrrd(tmp_path / "ct.nrrd", **changes), CT)


def test_nrrd_fields_that_are_used(tmp_path):
    same(nrrd(tmp_path / "a.nrrd"))
    same(nrrd(tmp_path / "b.nrrd", PHANTOM.array.astype(">i2").tobytes(), endian="big"))
    same(
        nrrd(
            tmp_path / "c.nrrd", space="LPS", space_directions="(-2,0,0) (0,-2.5,0) (0,0,3)", space_origin="(40,30,100)"
        )
    )
    same(
        nrrd(
            tmp_path / "d.nrrd",
            space="left-anterior-superior",
            space_directions="(-2,0,0) (0,2.5,0) (0,0,3)",
            space_origin="(40,-30,100)",
        )
    )
    same(nrrd(tmp_path / "spacings.nrrd", spacings="2 2.5 3", space_dimension="3"))
    same(nrrd(tmp_path / "nan.nrrd", spacings="nan nan nan"))
    same(nrrd(tmp_path / "e.nrrd", b"12345" + PHANTOM.array.tobytes(), byte_skip="5"))
    same(nrrd(tmp_path / "f.nrrd", b"12345" + PHANTOM.array.tobytes(), byteskip="-1"))
    same(nrrd(tmp_path / "g.nrrd", b"one\ntwo\n" + PHANTOM.array.tobytes(), line_skip="2"))
    same(nrrd(tmp_path / "h.nrrd", space_units='"mm" "mm" "mm"', thicknesses="nan nan 3", content="ct", min="0"))
    same(
        nrrd(
            tmp_path / "cm.nrrd",
            space_units='"cm" "cm" "cm"',
            space_origin="(-4,-3,10)",
            space_directions="(.2,0,0) (0,.25,0) (0,0,.3)",
        ),
        warnings=1,
    )
    (tmp_path / "v.raw").write_bytes(PHANTOM.array.tobytes())
    same(nrrd(tmp_path / "i.nhdr", b"", datafile="v.raw"))


def test_a_position_that_is_not_given_is_said(tmp_path):
    for path in (nrrd(tmp_path / "a.nrrd", space_origin=None), mha(tmp_path / "a.mha", Offset=None)):
        found = read_ct(path, CT)
        assert "first voxel is taken to lie at 0" in found.warnings[0]


def test_a_field_given_twice_is_refused(tmp_path):
    path = nrrd(tmp_path / "ct.nrrd")
    path.write_bytes(path.read_bytes().replace(b"encoding: raw", b"sizes: 40 20 30\nencoding: raw"))
    with pytest.raises(MskdexError, match="gives sizes twice"):
        read_ct(path, CT)
    path = mha(tmp_path / "ct.mha")
    path.write_bytes(path.read_bytes().replace(b"BinaryData = True", b"BinaryData = True\nPosition = 1 2 3"))
    with pytest.raises(MskdexError, match="gives Offset twice"):
        read_ct(path, CT)


# ---- MHA and MHD headers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ElementSpacing": None}, "does not say its voxel size"),
        ({"TransformMatrix": None}, "does not say its orientation"),
        ({"TransformMatrix": "-1 0 0 0 -1 0 0 0 2"}, "have lengths"),
        ({"ElementSpacing": "2 2.5 -3"}, "cannot be"),
        ({"ElementSpacing": "2 2_5 3"}, "where numbers are needed"),
        ({"ElementSpacing": "2 2,5 3"}, "where numbers are needed"),
        ({"ElementToIntensityFunctionSlope": "2"}, "ElementToIntensityFunctionSlope is 2"),
        ({"ElementToIntensityFunctionOffset": "-1024"}, "ElementToIntensityFunctionOffset is -1024"),
        ({"Modality": "MET_MOD_MR"}, "Modality is MET_MOD_MR"),
        ({"BinaryData": "False"}, "BinaryData is False"),
        ({"ObjectType": "Tube"}, "ObjectType is Tube"),
        ({"ElementType": "MET_STRING"}, "MET_STRING"),
        ({"CompressedData": "Perhaps"}, "not True or False"),
        ({"DistanceUnits": "furlong"}, "DistanceUnits are furlong"),
        ({"elementspacing": "1 1 1"}, "no field of MetaImage"),
        ({"Offset": "4\x1c0 30 100"}, "no field of MetaImage"),
        ({"HeaderSize": "-5"}, "HeaderSize -5 cannot be"),
        ({"HeaderSize": "0 4"}, "where one number is needed"),
        ({"ElementNumberOfChannels": "1 3"}, "where one number is needed"),
        ({"ElementToIntensityFunctionSlope": "1 1"}, "ElementToIntensityFunctionSlope is 1 1"),
        ({"ElementDataFile": "LIST"}, "lists several data files"),
        ({"ElementDataFile": "ct%03d.raw 1 20 1"}, "lists several data files"),
        ({"ElementNumberOfChannels": "3"}, "3 values per voxel"),
        ({"ElementSize": "1 1 1"}, "says two voxel sizes"),
        ({"NDims": "4", "DimSize": "40 30 20 1"}, r"has 4 dimensions \(40 30 20 1\)"),
    ],
)
def test_metaimage_fields_that_cannot_be_are_refused(tmp_path, changes, message):
    with pytest.raises(MskdexError, match=message):
        read_ct(mha(tmp_path / "ct.mha", **changes), CT)


def test_metaimage_fields_that_are_used(tmp_path):
    same(mha(tmp_path / "a.mha"))
    same(mha(tmp_path / "b.mha", PHANTOM.array.astype(">i2").tobytes(), BinaryDataByteOrderMSB="True"))
    same(mha(tmp_path / "c.mha", b"12345" + PHANTOM.array.tobytes(), HeaderSize="5"))
    same(mha(tmp_path / "d.mha", b"12345" + PHANTOM.array.tobytes(), HeaderSize="-1"))
    voxels = PHANTOM.array.tobytes()
    for name, zipped in (("zlib.mha", zlib.compress(voxels)), ("gzip.mha", gzip.compress(voxels))):
        same(mha(tmp_path / name, zipped, CompressedData="True"))
    same(mha(tmp_path / "e.mha", Modality="MET_MOD_CT", ElementSize="2 2.5 1", CenterOfRotation="9 9 9", Comment="x"))
    same(mha(tmp_path / "f.mha", AnatomicalOrientation="LPI"))
    same(mha(tmp_path / "g.mha", AnatomicalOrientation="SAR"), warnings=1)
    same(mha(tmp_path / "half.mha", AnatomicalOrientation="LP"), warnings=1)
    same(mha(tmp_path / "unknown.mha", AnatomicalOrientation="???"))
    same(mha(tmp_path / "h.mha", DistanceUnits="cm", Offset="4 3 10", ElementSpacing=".2 .25 .3"), warnings=1)
    same(
        mha(
            tmp_path / "i.mha",
            TransformMatrix=None,
            Offset=None,
            Orientation="-1 0 0 0 -1 0 0 0 1",
            Position="40 30 100",
        )
    )


# ---- where the voxels lie


@pytest.mark.parametrize(
    "name", ["../secret.raw", "  ../secret.raw", "./a/../../secret.raw", "{root}/secret.raw", "link.raw"]
)
@pytest.mark.parametrize("key", ["data file", "Data File", "datafile", "DATA  FILE", "ElementDataFile"])
def test_voxels_outside_the_headers_folder_are_refused(tmp_path, name, key):
    home = tmp_path / "in"
    (home / "a").mkdir(parents=True)
    (tmp_path / "secret.raw").write_bytes(PHANTOM.array.tobytes())
    (home / "link.raw").symlink_to(tmp_path / "secret.raw")
    name = name.format(root=tmp_path)
    if key == "ElementDataFile":
        path = mha(home / "ct.mhd", b"", ElementDataFile=name)
    else:
        path = nrrd(home / "ct.nhdr", b"", **{key: name})
    with pytest.raises(MskdexError, match="points to data outside its folder"):
        read_ct(path, CT)


@pytest.mark.parametrize("key", ["elementdatafile", "ELEMENTDATAFILE", " ElementDatafile"])
def test_a_field_of_other_case_is_no_field(tmp_path, key):
    path = mha(tmp_path / "ct.mhd", b"")
    path.write_bytes(path.read_bytes().replace(b"ElementDataFile", key.encode()))
    with pytest.raises(MskdexError, match="no field of MetaImage"):
        read_ct(path, CT)


@pytest.mark.parametrize("forms", [("h\u00fcfte.raw", "hu\u0308fte.raw"), ("hu\u0308fte.raw", "h\u00fcfte.raw")])
def test_names_are_found_in_either_unicode_form(tmp_path, forms):
    (tmp_path / forms[1]).write_bytes(PHANTOM.array.tobytes())
    same(mha(tmp_path / "ct.mhd", b"", ElementDataFile=forms[0]))


def test_a_gzip_bomb_takes_no_memory(tmp_path):
    import tracemalloc

    raw = nifti(tmp_path / "x.nii").read_bytes()
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(raw[:352] + bytes(40_000_000)))
    tracemalloc.start()
    with pytest.raises(MskdexError, match="holds more than its header claims"):
        read_volume_file(path, "the CT", 800)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_itk_reads_the_same_of_the_same_file(tmp_path):
    """The readers agree with ITK on files that ITK itself wrote, compressed or not, in every type."""
    for suffix in ("nrrd", "mha", "mhd", "nii.gz"):
        for kind in (np.int16, np.uint8, np.float32, np.int32):
            image = make.volume_to_sitk(Volume(LABELS.array.astype(kind), AFFINE))
            path = tmp_path / f"x.{suffix}"
            sitk.WriteImage(image, str(path), True)
            found, _ = read_volume_file(path, "labels", 800)
            np.testing.assert_array_equal(found.array, sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
            assert found.array.dtype == kind


def test_a_short_header_is_one_sentence(tmp_path):
    for name, content in (("a.nii", struct.pack("<i", 348)), ("b.nrrd", b"NRRD0004\n"), ("c.mha", b"NDims = 3\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MskdexError):
            read_volume_file(tmp_path / name, "the CT", 800)


def test_a_freesurfer_volume_is_called_by_its_name_and_no_archive(tmp_path):
    image = nibabel.MGHImage(PHANTOM.array.transpose(2, 1, 0).astype(np.int32), AFFINE.astype(np.float32))
    for name in ("ct.mgz", "ct.mgh"):
        nibabel.save(image, tmp_path / name)
        with pytest.raises(MskdexError, match=rf"{name} is a MGH file; the CT may be NIFTI"):
            read_ct(tmp_path / name, CT)
