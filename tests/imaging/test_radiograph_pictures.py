"""Radiographs as PNG, JPEG and TIFF, however they were exported."""

import re
import struct
import zlib

import hospital as make
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image, TiffImagePlugin

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.imaging.radiograph_import import import_radiograph

NATIVE = RadiographSettings(working_pixel_mm=None)
VALUES = make.radiograph_values()
LINEAR = np.rint(50000 * np.exp(-VALUES)).astype(np.uint16)
SHOWN = np.rint(60 * VALUES).astype(np.uint8)
CAMERA = {"sdd_mm": 1100.0, "source_to_isocentre_mm": 950.0, "pixel_mm": 0.9}
ROW = CAMERA | {"intensity": "linear", "grey_increases_with": "exposure"}


def load(path, row=CAMERA, **changes):
    return import_radiograph(path, row, NATIVE.model_copy(update=changes))


def saved(image, path, **how):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **how)
    return path


def correlation(found):
    return np.corrcoef(found.image.ravel(), VALUES.ravel())[0, 1]


@pytest.mark.parametrize("name", ["r.png", "r.jpg", "r.jpeg", "r.tif", "r.bmp.png"])
def test_eight_bit_exports_are_processed_with_the_camera_from_the_sheet(tmp_path, name):
    found = load(saved(SHOWN, tmp_path / name))
    assert (found.scale, found.facts["intensity"]) == ("relative", "processed")
    assert correlation(found) > 0.99
    assert found.camera.sdd_mm == 1100
    with pytest.raises(MskdexError, match="sdd_mm"):
        load(tmp_path / name, {})


@pytest.mark.parametrize("name", ["r.png", "r.jpg", "r.tif"])
def test_grey_saved_as_colour_is_grey(tmp_path, name):
    found = load(saved(Image.fromarray(SHOWN).convert("RGB"), tmp_path / name))
    assert correlation(found) > 0.99
    assert any("colours that are all grey" in w for w in found.warnings)


def test_a_grey_palette_and_an_opaque_alpha_channel_are_grey(tmp_path):
    for n, mode in enumerate(("P", "LA", "RGBA")):
        assert correlation(load(saved(Image.fromarray(SHOWN).convert(mode), tmp_path / f"{n}.png"))) > 0.99


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "RGBA", "1"])
def test_colour_transparency_and_black_and_white_are_refused(tmp_path, mode):
    colours = np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)
    image = Image.fromarray(colours)
    if mode == "P":
        image = image.quantize(16)
    elif mode == "RGBA":
        image = Image.fromarray(SHOWN).convert("RGBA")
        image.putalpha(128)
    else:
        image = image.convert(mode)
    path = saved(image, tmp_path / ("r.tif" if mode == "CMYK" else "r.png"))
    with pytest.raises(MskdexError, match=r"r\.(png|tif) (is a colour image|is no grey image|has transparent pixels)"):
        load(path)


TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: np.rot90(a, -1),
}
"""How a picture is stored that is to be shown upright, by its orientation tag (TIFF 6.0, Exif)."""


@pytest.mark.parametrize("orientation", sorted(TURNS))
@pytest.mark.parametrize("kind", ["tif", "png", "jpg"])
def test_the_orientation_tag_turns_the_picture(tmp_path, orientation, kind):
    grey = LINEAR if kind != "jpg" else SHOWN
    stored = np.ascontiguousarray(TURNS[orientation](grey))
    path = tmp_path / f"r.{kind}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "tif":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[274] = orientation
        saved(stored, path, tiffinfo=tags, compression="tiff_deflate")
    else:
        saved(stored, path, exif=exif)
    found = load(path, CAMERA if kind == "jpg" else ROW)
    assert found.image.shape == VALUES.shape
    if kind == "jpg":
        assert correlation(found) > 0.99
    else:
        np.testing.assert_allclose(found.image, VALUES, atol=2e-3)
    assert found.facts["turned_by_orientation_tag"] == orientation
    assert any("orientation tag" in w for w in found.warnings) == (orientation != 1)


def test_an_uncompressed_tiff_on_its_side_is_refused(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274] = 6
    path = saved(np.ascontiguousarray(TURNS[6](LINEAR)), tmp_path / "r.tif", tiffinfo=tags)
    with pytest.raises(MskdexError, match=r"orientation tag 6.*save it upright"):
        load(path, ROW)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits"])
def test_compressed_tiffs(tmp_path, compression):
    found = load(saved(LINEAR, tmp_path / "r.tif", compression=compression), ROW)
    np.testing.assert_allclose(found.image, VALUES, atol=2e-3)


def test_a_tiff_whose_zero_is_white_is_read_as_shown(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    saved(65535 - LINEAR, tmp_path / "r.tif", tiffinfo=tags)
    with Image.open(tmp_path / "r.tif") as image:
        assert image.tag_v2[262] == 0
    np.testing.assert_allclose(load(tmp_path / "r.tif", ROW).image, VALUES, atol=2e-3)


def test_several_pages_are_refused(tmp_path):
    saved(Image.fromarray(LINEAR), tmp_path / "r.tif", save_all=True, append_images=[Image.fromarray(LINEAR)])
    with pytest.raises(MskdexError, match=r"r\.tif has 2 pages; export the one"):
        load(tmp_path / "r.tif", ROW)


@pytest.mark.parametrize("kind", ["log", "linear"])
def test_twelve_bits_in_sixteen(tmp_path, kind):
    grey = 200 + VALUES * 4095 / (4 * np.log(10)) if kind == "log" else 4095 - 4000 * np.exp(-VALUES)
    path = saved(np.rint(grey).astype(np.uint16), tmp_path / "r.png")
    row = CAMERA | {"intensity": kind, "grey_increases_with": "attenuation"}
    found = load(path, row | {"log_decades": 4.0})
    np.testing.assert_allclose(found.image, VALUES, atol=2e-2)
    assert any("taken as 12 bits" in w for w in found.warnings)
    assert load(path, row).scale == ("relative" if kind == "log" else "absolute")


def test_sixteen_bits_of_unknown_meaning_are_processed_and_the_pixels_say_the_direction(tmp_path):
    found = load(saved(LINEAR, tmp_path / "r.png"))
    assert found.scale == "relative"
    assert found.facts["grey_increases_with"] == "exposure"
    assert any("the pixels are followed" in w for w in found.warnings)


def test_a_direction_that_nothing_shows_is_assumed_with_a_word(tmp_path):
    thick = np.rint(100 + 50 * np.add.outer(np.linspace(0.0, 1.5, 64), np.linspace(0.0, 1.5, 80))).astype(np.uint8)
    path = saved(thick, tmp_path / "r.png")
    assert any("nothing says what a higher grey value means" in w for w in load(path).warnings)
    assert not any("nothing says" in w for w in load(path, CAMERA | {"grey_increases_with": "exposure"}).warnings)


def test_a_picture_too_large_is_refused_before_it_is_decoded(tmp_path):
    path = saved(np.zeros((2000, 1000), np.uint8), tmp_path / "r.png")
    with pytest.raises(MskdexError, match="2000 x 1000 voxels, more than 1 million"):
        load(path, max_megapixels=1.0)
    header = struct.pack(">IIBBBBB", 60000, 60000, 16, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0" * 64)
    with pytest.raises(MskdexError, match=r"bomb\.png.*(claims|cannot be read)"):
        load(tmp_path / "bomb.png")


@pytest.mark.parametrize("name", ["r.png", "r.tif", "r.jpg"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_a_picture_cut_short_is_one_sentence(tmp_path, name, share):
    path = saved(SHOWN, tmp_path / name)
    path.write_bytes(path.read_bytes()[: max(12, int(share * path.stat().st_size))])
    with pytest.raises(MskdexError, match=rf"{name}") as error:
        load(path)
    assert "\n" not in str(error.value)


def test_every_flipped_byte_is_a_picture_or_one_sentence(tmp_path):
    draw = np.random.default_rng(0)
    for name in ("r.png", "r.tif", "r.jpg"):
        content = saved(SHOWN, tmp_path / name).read_bytes()
        for at in draw.integers(0, min(400, len(content)), 40):
            damaged = bytearray(content)
            damaged[at] ^= int(draw.integers(1, 256))
            (tmp_path / name).write_bytes(damaged)
            error = None
            try:
                found = load(tmp_path / name)
            except MskdexError as refused:
                error = str(refused)
            assert np.isfinite(found.image).all() if error is None else "\n" not in error


def test_every_flipped_bit_of_a_pngs_pixels_is_found(tmp_path):
    path = saved(np.arange(64 * 80, dtype=np.uint16).reshape(64, 80), tmp_path / "r.png")
    content = path.read_bytes()
    begin, end = content.index(b"IDAT") + 4, content.index(b"IEND") - 8
    for at in range(begin, end, max(1, (end - begin) // 20)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with pytest.raises(MskdexError, match=r"r\.png is damaged: the checksum of its chunk IDAT is wrong"):
            load(path)


def test_eight_bit_nrrd_is_processed_and_floats_are_read(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(SHOWN), str(tmp_path / "r.nrrd"))
    assert load(tmp_path / "r.nrrd").scale == "relative"
    sitk.WriteImage(sitk.GetImageFromArray(np.exp(-VALUES).astype(np.float32)), str(tmp_path / "f.tif"))
    np.testing.assert_allclose(load(tmp_path / "f.tif", ROW).image, VALUES, atol=1e-4)
    sitk.WriteImage(sitk.GetImageFromArray(np.where(VALUES > 3, np.nan, VALUES)), str(tmp_path / "n.mha"))
    with pytest.raises(MskdexError, match="NaN"):
        load(tmp_path / "n.mha", ROW)


def volume_file(path, **how):
    sitk.WriteImage(sitk.GetImageFromArray(LINEAR), str(path), **how)
    return path


def test_of_two_nifti_files_the_named_one_is_read(tmp_path):
    np.testing.assert_allclose(load(volume_file(tmp_path / "r.nii.gz"), ROW).image, VALUES, atol=1e-3)
    sitk.WriteImage(sitk.GetImageFromArray(LINEAR // 2), str(tmp_path / "r.nii"))
    np.testing.assert_allclose(load(tmp_path / "r.nii.gz", ROW).image, VALUES, atol=1e-3)


def damaged(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)
    return path


def test_volume_files_of_pictures_are_read_to_their_checksum_and_by_all_fields(tmp_path):
    for path in (
        damaged(volume_file(tmp_path / "z.mha", useCompression=True), -40),
        volume_file(tmp_path / "n.nii.gz"),
    ):
        if path.suffix == ".gz":
            damaged(path, path.stat().st_size // 2)
        with pytest.raises(MskdexError, match="cannot be read to their checksum"):
            load(path, ROW)
    header = volume_file(tmp_path / "h.mhd")
    with open(tmp_path / "h.raw", "ab") as handle:
        handle.write(bytes(160))
    with pytest.raises(MskdexError, match="holds more than its header claims"):
        load(header, ROW)
    text = header.read_text(encoding="utf-8")
    for change, told in (
        (("ElementType", "ElementToIntensityFunctionSlope = 2\nElementType"), "ElementToIntensityFunctionSlope is 2"),
        (("h.raw", "../h.raw"), "points to data outside its folder"),
    ):
        header.write_text(text.replace(*change), encoding="utf-8")
        with pytest.raises(MskdexError, match=told):
            load(header, ROW)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(path, kind: bytes, body: bytes):
    content = saved(LINEAR, path).read_bytes()
    path.write_bytes(content[:33] + chunk(kind, body) + content[33:])
    return path


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        (b"gAMA", struct.pack(">I", 45455), r"made for display \(gamma 0\.4546\)"),
        (b"sRGB", b"\0", r"made for display \(sRGB\)"),
        (b"pHYs", struct.pack(">IIB", 10000, 5000, 1), "pixels are oblong .height 2 times their width"),
    ],
)
def test_what_a_pngs_header_says_of_its_pixels_is_told(tmp_path, kind, body, told):
    found = load(png_with(tmp_path / "r.png", kind, body), ROW)
    assert any(re.search(told, w) for w in found.warnings)
    np.testing.assert_allclose(found.image, VALUES, atol=1e-3)


def test_a_linear_gamma_and_square_pixels_are_in_order(tmp_path):
    for kind, body in ((b"gAMA", struct.pack(">I", 100000)), (b"pHYs", struct.pack(">IIB", 3780, 3780, 1))):
        assert load(png_with(tmp_path / "r.png", kind, body), ROW).warnings == []


def test_a_resolution_that_is_no_number_is_none(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[282], tags[283], tags[296] = TiffImagePlugin.IFDRational(0, 0), TiffImagePlugin.IFDRational(254, 10), 2
    found = load(saved(LINEAR, tmp_path / "r.tif", tiffinfo=tags), ROW)
    assert (found.facts["oblong"], found.warnings) == (None, [])


def test_the_display_gamma_of_a_processed_picture_is_without_effect(tmp_path):
    found = load(png_with(tmp_path / "r.png", b"gAMA", struct.pack(">I", 45455)), ROW | {"intensity": "processed"})
    assert not any("made for display" in w for w in found.warnings)


def test_bytes_in_the_wrong_order_are_refused(tmp_path):
    path = saved(LINEAR.byteswap(), tmp_path / "r.png")
    with pytest.raises(MskdexError, match=r"r\.png: .* stored in the wrong byte order"):
        load(path, ROW)
    dataset = make.radiograph()
    dataset.PixelData = LINEAR.astype(">u2").tobytes()
    with pytest.raises(MskdexError, match=r"r\.dcm: .* stored in the wrong byte order"):
        load(make.save(dataset, tmp_path / "r.dcm"), {})


def tiff(path, values, *, magic: int = 42, **tags):
    """A TIFF of one strip, as few programs write it: tags by number."""
    samples = values.shape[2] if values.ndim == 3 else 1
    wide = 8 if magic == 43 else 4
    start = 16 if magic == 43 else 8
    data = values.tobytes()
    bits = 8 * values.dtype.itemsize
    entries = {256: values.shape[1], 257: values.shape[0], 258: bits, 259: 1, 262: 1, 273: start, 277: samples}
    entries |= {278: values.shape[0], 279: len(data), 339: 1} | {int(k[1:]): v for k, v in tags.items()}
    entries = {k: v for k, v in entries.items() if v is not None}
    at = start + len(data)
    directory = struct.pack("<Q" if magic == 43 else "<H", len(entries))
    for number, value in sorted(entries.items()):
        directory += struct.pack("<HH", number, 4) + (1).to_bytes(wide, "little") + value.to_bytes(wide, "little")
    head = b"II" + struct.pack("<H", magic) + (struct.pack("<HHQ", 8, 0, at) if magic == 43 else struct.pack("<I", at))
    path.write_bytes(head + data + directory + bytes(wide))
    return path


def test_every_flipped_bit_of_a_deflated_tiff_is_found(tmp_path):
    path = saved(LINEAR, tmp_path / "r.tif", compression="tiff_adobe_deflate")
    np.testing.assert_allclose(load(path, ROW).image, VALUES, atol=1e-3)
    with Image.open(path) as image:
        begin, size = image.tag_v2[273][0], image.tag_v2[279][0]
    good = path.read_bytes()
    for at in np.random.default_rng(0).integers(begin + 2, begin + size, 8):
        path.write_bytes(good)
        with pytest.raises(MskdexError, match="the checksum of its deflated pixels is wrong"):
            load(damaged(path, at), ROW)


def test_images_of_imagej_behind_the_first_page_are_found(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for count, refused in ((3, True), (1, False)):
        tags[270] = f"ImageJ=1.53t\nimages={count}\nslices={count}\n"
        path = saved(LINEAR, tmp_path / "r.tif", tiffinfo=tags)
        if refused:
            with pytest.raises(MskdexError, match="holds 3 images"):
                load(path, ROW)
        else:
            np.testing.assert_allclose(load(path, ROW).image, VALUES, atol=1e-3)


def test_a_big_tiff_and_unsigned_values_of_32_bits_are_read(tmp_path):
    np.testing.assert_allclose(load(tiff(tmp_path / "b.tif", LINEAR, magic=43), ROW).image, VALUES, atol=1e-3)
    found = load(tiff(tmp_path / "u.tif", LINEAR.astype(np.uint32) << 16), ROW)
    np.testing.assert_allclose(found.image, VALUES, atol=1e-3)
    assert found.warnings == []


def test_grey_with_a_second_value_per_pixel_is_refused(tmp_path):
    both = np.stack([LINEAR, np.full_like(LINEAR, 65535)], axis=-1)
    with pytest.raises(MskdexError, match=r"a\.tif .*values per pixel"):
        load(tiff(tmp_path / "a.tif", both, _338=2), ROW)


def test_grey_saved_as_colours_of_16_bits_is_not_read_as_8_bits(tmp_path):
    colours = np.stack([LINEAR] * 3, axis=-1)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    header = struct.pack(">IIBBBBB", LINEAR.shape[1], LINEAR.shape[0], 16, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    (tmp_path / "r.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    with pytest.raises(MskdexError, match="stores its pixels as colours of 16 bits; export it in grey"):
        load(tmp_path / "r.png", ROW | {"intensity": "processed"})


@pytest.mark.parametrize(
    ("spacing", "direction", "told"),
    [
        ((0.5, 0.5), (1, 0, 0, 1), r"its header says pixels of 0\.5 x 0\.5 mm, 0\.9 x 0\.9 mm were taken"),
        ((0.9, 1.8), (1, 0, 0, 1), r"its header says pixels of 1\.8 x 0\.9 mm"),
        ((0.9, 0.9), (-1, 0, 0, 1), "its header turns or mirrors its axes"),
    ],
)
def test_a_volume_file_whose_grid_contradicts_the_sheet_is_said(tmp_path, spacing, direction, told):
    image = sitk.GetImageFromArray(LINEAR)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    sitk.WriteImage(image, str(tmp_path / "r.mha"))
    assert any(re.search(told, w) for w in load(tmp_path / "r.mha", ROW).warnings)
    image.SetSpacing((1.0, 1.0))
    image.SetDirection((1, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "r.mha"))
    assert load(tmp_path / "r.mha", ROW).warnings == []


def test_dead_lines_are_left_out_of_the_field_and_said(tmp_path):
    dead = LINEAR.copy()
    dead[30], dead[:, 40:42] = 0, 0
    found = load(saved(dead, tmp_path / "r.png"), ROW)
    assert any("rows 31 and columns 41, 42 hold one value throughout" in w for w in found.warnings)
    assert not found.field[30].any()
    assert not found.field[:, 40:42].any()
    whole = load(saved(LINEAR, tmp_path / "r.png"), ROW)
    np.testing.assert_allclose(found.image[found.field], whole.image[found.field], atol=1e-6)


@pytest.mark.parametrize("tags", [{"_256": 76}, {"_257": 60, "_278": 60}, {"_256": 84, "_257": 60, "_278": 60}])
def test_an_uncompressed_tiff_of_another_width_or_height_is_refused(tmp_path, tags):
    with pytest.raises(MskdexError, match=r"r\.tif: its header claims .* and its strips hold 10240; export it again"):
        load(tiff(tmp_path / "r.tif", LINEAR, **tags), ROW)


def test_a_tiff_without_the_sizes_of_its_strips_is_damaged(tmp_path):
    with pytest.raises(MskdexError, match=r"r\.tif has no StripByteCounts, which every TIFF has"):
        load(tiff(tmp_path / "r.tif", LINEAR, _256=76, _278=None, _279=None), ROW)


def test_a_jpeg_that_decoders_read_otherwise_is_damaged(tmp_path):
    path = saved(SHOWN, tmp_path / "r.jpg")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\xff\xc0", b"\xff\xc2", 1))  # said to be progressive, which it is not
    with pytest.raises(MskdexError, match=r"r\.jpg"):
        load(path)
    for how in ({"progressive": True}, {"quality": 20}, {"optimize": True}):
        assert correlation(load(saved(SHOWN, path, **how))) > 0.98


def test_a_jpeg_in_cmyk_is_no_grey_image(tmp_path):
    with pytest.raises(MskdexError, match=r"r\.jpg is no grey image \(mode CMYK\)"):
        load(saved(Image.fromarray(SHOWN).convert("CMYK"), tmp_path / "r.jpg"))
