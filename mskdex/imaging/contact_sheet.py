"""A contact sheet: slices of a CT with its labels outlined, and the volumes beside them."""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from mskdex.config.objects import Channel
from mskdex.io.volume import Volume

_WINDOW_HU = (-160.0, 300.0)
_TILE = 256
_LINE = 13
_TABS = (10, 190, 250, 300)
_AXIAL_AT = (0.2, 0.5, 0.8)
"""Heights of the axial slices, as shares of the labelled extent."""


def contact_sheet(ct: Volume, labels: Volume, channels: Sequence[Channel], lines: Sequence[str]) -> Image.Image:
    """Draws three axial, a coronal and a sagittal slice through the labels, and lines of text.

    Patient's right is on the left of axial and coronal slices, as radiologists look at them; the sagittal slice
    looks from the right, front on the left.

    Args:
        ct: HU int16, RAS.
        labels: uint8 Channel.label, RAS.
        channels: the config's, for colours and names.
        lines: text beside the slices, up to four fields with tabs between.
    """
    used = [np.flatnonzero(labels.array.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    used = [u if u.size else np.arange(n) for u, n in zip(used, labels.array.shape, strict=True)]
    colours = _colours(channels)
    sx, sy, sz = ct.spacing_mm
    tiles = [
        _tile(ct.array[k, ::-1], labels.array[k, ::-1], (sy, sx), colours, f"axial {k}")
        for k in (int(u) for u in np.quantile(used[0], _AXIAL_AT[::-1]))
    ]
    j, i = int(np.median(used[1])), int(np.quantile(used[2], 0.25))
    tiles.append(_tile(ct.array[::-1, j], labels.array[::-1, j], (sz, sx), colours, f"coronal {j}"))
    tiles.append(_tile(ct.array[::-1, ::-1, i], labels.array[::-1, ::-1, i], (sz, sy), colours, f"sagittal {i}"))
    height = max(2 * _TILE, _LINE * (len(lines) + 1))
    sheet = Image.new("RGB", (3 * _TILE + 420, height), "black")
    for n, tile in enumerate(tiles):
        sheet.paste(tile, ((n % 3) * _TILE, (n // 3) * _TILE))
    draw = ImageDraw.Draw(sheet)
    present = set(np.unique(labels.array).tolist())
    for n, line in enumerate(lines):
        for tab, field in zip(_TABS, line.split("\t"), strict=False):
            draw.text((3 * _TILE + tab, 6 + n * _LINE), field, "white")
    for n, channel in enumerate(channels):
        at = (2 * _TILE + 10 + 150 * (n // 18), _TILE + 6 + (n % 18) * _LINE)
        colour = tuple(colours[channel.label].tolist()) if channel.label in present else (90, 90, 90)
        draw.text(at, channel.name, colour)
    return sheet


def _tile(
    hu: np.ndarray, ids: np.ndarray, spacing_mm: tuple[float, float], colours: np.ndarray, title: str
) -> Image.Image:
    """One slice with outlines. The rows are given top first, RAS columns increasing to the right of the patient."""
    if title.startswith(("axial", "coronal")):
        hu, ids = hu[:, ::-1], ids[:, ::-1]
    grey = np.clip((hu - _WINDOW_HU[0]) / (_WINDOW_HU[1] - _WINDOW_HU[0]), 0, 1)
    size = np.array(hu.shape) * spacing_mm
    rows, columns = (max(1, round(v)) for v in size * _TILE / size.max())
    picture = Image.fromarray((grey * 255).astype(np.uint8)).resize((columns, rows), Image.Resampling.BILINEAR)
    shown = np.array(Image.fromarray(ids).resize((columns, rows), Image.Resampling.NEAREST))
    rgb = np.repeat(np.array(picture)[..., None], 3, axis=2)
    edge = np.zeros(shown.shape, bool)
    edge[1:] |= shown[1:] != shown[:-1]
    edge[:, 1:] |= shown[:, 1:] != shown[:, :-1]
    edge &= shown > 0
    rgb[edge] = colours[shown[edge]]
    tile = Image.new("RGB", (_TILE, _TILE), "black")
    tile.paste(Image.fromarray(rgb), ((_TILE - columns) // 2, (_TILE - rows) // 2))
    ImageDraw.Draw(tile).text((4, 4), title, "yellow")
    return tile


def _colours(channels: Sequence[Channel]) -> np.ndarray:
    """One colour a label; left and right of an object share the hue."""
    names = list(dict.fromkeys(c.object for c in channels))
    colours = np.zeros((256, 3), np.uint8)
    for channel in channels:
        hue = (names.index(channel.object) * 0.381966) % 1.0
        value = 0.75 if channel.side == "right" else 1.0
        colours[channel.label] = [round(255 * v) for v in colorsys.hsv_to_rgb(hue, 0.75, value)]
    return colours
