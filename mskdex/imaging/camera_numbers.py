"""A camera's numbers looked up in sheet, tags and config, and whether a radiograph of a hip can have them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.imaging.radiograph_camera import CameraTags

_AGREE = 0.01
"""Tag and sheet may differ by this share before a warning says so."""
_SDD_MM = (500.0, 4500.0)
_PIXEL_MM = (0.03, 10.0)
_LEAST_SIDE_MM, _MOST_SIDE_MM, _ONE_EXPOSURE_MM = 30.0, 1500.0, 600.0
"""Sides of an image; detectors and plates for one exposure are at most 43 cm wide."""
_LEAST_GAP_MM, _MOST_GAP = 50.0, 0.5
"""From the patient's middle to the detector: half of a thin patient at least, half of sdd_mm at most."""
_UNITS = (("cm", 10.0), ("m", 1000.0), ("inches", 25.4))


class NumberLookup:
    """Looks a number up in the sheet, else the tags, else the config, keeping account of where it was found."""

    def __init__(self, tags: CameraTags, row: Mapping[str, Any], settings: RadiographSettings):
        self.tags, self.row, self.settings = tags, row, settings
        self.sources: dict[str, str] = {}
        self.warnings: list[str] = []

    def find(self, name: str) -> Any:
        """The value, or None where it is nowhere.

        Raises:
            MskdexError: the tag holds no number, and the sheet gives none either.
        """
        sheet, tag = self.row.get(name), self.tags.values.get(name)
        if has_value(sheet):
            self.sources[name] = "sheet"
            if tag is not None and not _agree(tag, sheet):
                where = self.tags.where[name]
                self.sources[name] = f"sheet, overruling {where} {_text(tag)}"
                self.warnings.append(f"{name}: the {where} says {_text(tag)}, the sheet {sheet}; the sheet is used")
            return sheet
        if tag is not None:
            self.sources[name] = self.tags.where[name]
            return tag
        if name in self.tags.broken:
            msg = f"{self.tags.broken[name]}; correct it or give the sheet's column {name}"
            raise MskdexError(msg)
        value = getattr(self.settings, name)
        if value is not None:
            self.sources[name] = f"config radiograph.{name}"
        return value

    def __call__(self, name: str, what: str) -> Any:
        """The value, or an error that says `what` is nowhere."""
        value = self.find(name)
        if value is None:
            msg = f"{what} is nowhere; give it in the sheet's column {name} or as radiograph.{name} in config.yaml"
            if name == "pixel_mm" and self.tags.calibration:
                msg += f" (PixelSpacing is calibrated by {self.tags.calibration} at the patient)"
            raise MskdexError(msg)
        return value

    def plain(self, name: str) -> tuple[float, str]:
        """A number that no tag gives: the sheet's, else the config's."""
        if has_value(self.row.get(name)):
            return float(self.row[name]), f"sheet {name}"
        return float(getattr(self.settings, name)), f"config radiograph.{name}"


def require_possible(pick: NumberLookup, sdd: float, pixel: tuple[float, float], shape: tuple[int, int]) -> None:
    """Refuses a source distance, a pixel size or an image size that no radiograph of a hip has.

    Raises:
        MskdexError: names the value, its source, what is allowed and, where one fits, the unit it may be in.
    """
    if not _SDD_MM[0] <= sdd <= _SDD_MM[1]:
        _refuse("sdd_mm", f"{sdd:g}", pick, f"{_SDD_MM[0]:g} to {_SDD_MM[1]:g} mm", _unit(sdd, *_SDD_MM))
    side = [n * p for n, p in zip(shape, pixel, strict=True)]
    detail = f"{pixel[0]:g} x {pixel[1]:g}, which makes the image {side[0]:.1f} x {side[1]:.1f} mm"
    if not (_PIXEL_MM[0] <= min(pixel) and max(pixel) <= _PIXEL_MM[1]):
        _refuse("pixel_mm", detail, pick, f"{_PIXEL_MM[0]:g} to {_PIXEL_MM[1]:g} mm", _unit(min(pixel), 0.05, 5.0))
    if min(side) < _LEAST_SIDE_MM or max(side) > _MOST_SIDE_MM:
        allowed = f"images of {_LEAST_SIDE_MM:g} to {_MOST_SIDE_MM:g} mm"
        _refuse("pixel_mm", detail, pick, allowed, _unit(min(side), 100.0, _ONE_EXPOSURE_MM))
    if max(side) > _ONE_EXPOSURE_MM and not has_value(pick.row.get("view")):
        msg = (
            f"its image is {side[0]:.0f} x {side[1]:.0f} mm, longer than any detector for one exposure: stitched, or "
            "of a slot scanner; leave the patient out or, if it is one exposure, write AP or PA into the sheet's "
            "column view"
        )
        raise MskdexError(msg)
    if max(pixel) > 1.001 * min(pixel):
        pick.warnings.append(f"pixels are oblong, {pixel[0]:g} x {pixel[1]:g} mm ({pick.sources['pixel_mm']})")


def isocentre(pick: NumberLookup, sdd: float) -> float:
    """Distance from the source to the middle of the patient, in mm.

    By the sheet; else by the magnification, which is that of the object (DICOM PS3.3, DX Positioning module: ratio of
    the distances from source to receptor and to object); else DistanceSourceToPatient, of which `half_thickness_mm`
    is taken off where it is to the table or support; else the config.

    Raises:
        MskdexError: a distance or magnification that leaves no room for a patient.
    """
    name = "source_to_isocentre_mm"
    if has_value(pick.row.get(name)):
        value = float(pick.find(name))
        _warn_of_overruled(pick, sdd, value)
    elif has_value(pick.row.get("isocentre_to_detector_mm")):
        value, pick.sources[name] = sdd - float(pick.row["isocentre_to_detector_mm"]), "sheet isocentre_to_detector_mm"
    else:
        value = _isocentre_by_tags(pick, sdd)
    gap = sdd - value
    if not _LEAST_GAP_MM <= gap <= _MOST_GAP * sdd:
        msg = (
            f"its geometry is impossible: sdd_mm {sdd:g} ({pick.sources['sdd_mm']}), source_to_isocentre_mm {value:g} "
            f"({pick.sources[name]}): the middle of the patient would be {gap:.0f} mm before the detector, allowed are "
            f"{_LEAST_GAP_MM:g} mm, half of a thin patient, to {_MOST_GAP * sdd:.0f} mm; correct the source or give "
            "the sheet's column source_to_isocentre_mm"
        )
        raise MskdexError(msg)
    return value


def _warn_of_overruled(pick: NumberLookup, sdd: float, value: float) -> None:
    name, tags = "source_to_isocentre_mm", pick.tags
    where = [tags.where[k] for k in ("magnification", "table_mm") if k in tags.values]
    if not where:
        return
    silent = NumberLookup(tags, {k: v for k, v in pick.row.items() if k != name}, pick.settings)
    silent.sources["sdd_mm"] = pick.sources["sdd_mm"]
    try:
        by_tags = f"{_isocentre_by_tags(silent, sdd):.0f} mm"
        differ = abs(_isocentre_by_tags(silent, sdd) - value) > 0.05 * sdd
    except MskdexError:
        by_tags, differ = "no possible distance", True
    if differ:
        pick.sources[name] = f"sheet, overruling {' and '.join(where)}"
        pick.warnings.append(f"{name}: by {' and '.join(where)} {by_tags}, the sheet {value:g}; the sheet is used")


def _isocentre_by_tags(pick: NumberLookup, sdd: float) -> float:
    name, tags = "source_to_isocentre_mm", pick.tags
    for key in ("magnification", "table_mm"):
        if key in tags.broken:
            msg = f"{tags.broken[key]}; correct it or give the sheet's column {name}"
            raise MskdexError(msg)
    by_distance = _by_distance(pick, sdd)
    factor = tags.values.get("magnification")
    if factor is not None and factor != 1.0:  # A factor of exactly 1 is a console's default for "not known".
        if not 1.0 < factor < 2.0:
            hint = "; it looks like per cent" if 100 < factor < 200 else ""
            msg = (
                f"its geometry is impossible: {tags.where['magnification']} is {factor:g}{hint}, allowed is a ratio "
                f"from 1 to 2; correct it or give the sheet's column {name}"
            )
            raise MskdexError(msg)
        value = sdd / factor
        pick.sources[name] = f"{tags.where['magnification']} and sdd_mm"
        if by_distance is not None:
            _compare(pick, sdd, value, *by_distance)
        return value
    if by_distance is not None:
        value, pick.sources[name] = by_distance
        return value
    value = pick.find(name)
    if value is None:
        gap, source = pick.plain("isocentre_to_detector_mm")
        value, pick.sources[name] = sdd - gap, f"assumed: sdd_mm less {source}"
    return float(value)


def _by_distance(pick: NumberLookup, sdd: float) -> tuple[float, str] | None:
    """The middle of the patient by DistanceSourceToPatient, and how it was found."""
    tags = pick.tags
    key = "table_mm" if "table_mm" in tags.values else "source_to_isocentre_mm"
    distance = tags.values.get(key)
    if distance is None:
        return None
    if not _MOST_GAP * sdd <= distance <= sdd:
        what = "the table or support" if key == "table_mm" else "the isocentre"
        msg = (
            f"its geometry is impossible: sdd_mm {sdd:g} ({pick.sources['sdd_mm']}), {what} {distance:g} mm from the "
            f"source ({tags.where[key]}), allowed are {_MOST_GAP * sdd:.0f} to {sdd:.0f} mm"
            f"{_unit(distance, _MOST_GAP * sdd, sdd)}; correct it or give the sheet's column source_to_isocentre_mm"
        )
        raise MskdexError(msg)
    if key != "table_mm":
        return distance, tags.where[key]
    half, source = pick.plain("half_thickness_mm")
    return distance - half, f"{tags.where[key]}, to the table, less {source}"


def _compare(pick: NumberLookup, sdd: float, by_factor: float, by_distance: float, how: str) -> None:
    """Says where magnification and distance disagree; some consoles write the distance to the middle itself."""
    stated = pick.tags.values.get("table_mm", by_distance)
    if min(abs(by_factor - by_distance), abs(by_factor - stated)) > 0.05 * sdd:
        pick.warnings.append(
            f"{pick.tags.where['magnification']} puts the middle of the patient {by_factor:.0f} mm from the source, "
            f"{how} {by_distance:.0f} mm; the former is used"
        )


def spacing_warnings(tags: CameraTags, pixel: tuple[float, float], magnification: float) -> list[str]:
    """Says where PixelSpacing contradicts the detector's pixel size and the magnification."""
    plain = tags.values.get("pixel_spacing_mm")
    if plain is None or tags.where.get("pixel_mm") != "tag ImagerPixelSpacing":
        return []
    ratio = float(np.mean(tags.values["pixel_mm"]) / np.mean(plain))
    same = abs(ratio - 1) <= _AGREE and tags.calibration != "GEOMETRY"
    if same or abs(ratio / magnification - 1) <= 0.1 or (tags.calibration == "FIDUCIAL" and 1 < ratio < 2):
        return []
    return [
        f"ImagerPixelSpacing is {ratio:.3g} times PixelSpacing, but the patient's middle is magnified "
        f"{magnification:.3g} times; the pixel size of {pixel[0]:g} mm or the distances are wrong"
    ]


def has_value(value: Any) -> bool:
    """Whether a cell of the sheet holds something."""
    return value is not None and value == value and value != ""


def _unit(value: float, low: float, high: float) -> str:
    """A hint at the unit in which a value would be possible, "" if there is none."""
    fits = [unit for unit, factor in _UNITS if low <= abs(value) * factor <= high]
    return f" (is it in {fits[0]}?)" if fits else ""


def _refuse(name: str, detail: str, pick: NumberLookup, allowed: str, hint: str) -> None:
    msg = (
        f"its geometry is impossible: {name} {detail} ({pick.sources[name]}), allowed are {allowed}{hint}; correct it "
        f"or give the sheet's column {name}"
    )
    raise MskdexError(msg)


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return str(one) == str(other)
    return bool(np.allclose(np.asarray(one, float), float(other), rtol=_AGREE))


def _text(value: Any) -> str:
    return ", ".join(f"{v:.4g}" for v in value) if isinstance(value, tuple) else str(value)
