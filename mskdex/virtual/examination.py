"""How a radiograph is taken: the detector, the beam, what borders and marks the field."""

from dataclasses import dataclass, replace

import numpy as np

from mskdex.config.virtual import ExposureSettings, VirtualSettings
from mskdex.geometry.camera import Camera
from mskdex.virtual.departments import DEPARTMENTS, Department, draw_department
from mskdex.virtual.population import Person

BLADE_TRANSMISSION, LEAD_TRANSMISSION = 0.002, 0.02
_VOLTAGES_KV = (60.0, 90.0)
"""Of the tabulated spectra."""
_MARKER_HEIGHT_MM = 18.0
_MARKER_STROKE = 0.22


@dataclass(frozen=True)
class Examination:
    """One exposure.

    Attributes:
        camera: the detector.
        source_to_isocentre_mm: distance from the source to the middle of the patient.
        stated_source_to_patient_mm: what the console writes for it, an estimate.
        tube_voltage_kv: peak voltage.
        department: where it is taken.
        collimation: exposed rows and columns (first row, last row, first column, last column), None if all.
        marker: "L" or "R" of a lead letter on that side of the patient, None if none.
    """

    camera: Camera
    source_to_isocentre_mm: float
    stated_source_to_patient_mm: float
    tube_voltage_kv: float
    department: Department
    collimation: tuple[int, int, int, int] | None
    marker: str | None

    @property
    def crop(self) -> tuple[int, int, int, int] | None:
        """First row and column of the image, and rows and columns of the detector, where it shows a part."""
        if self.collimation is None or self.department.edges != "cropped":
            return None
        return (self.collimation[0], self.collimation[2], *self.camera.shape)

    @property
    def shown(self) -> tuple[slice, slice]:
        """Rows and columns of the detector that the image shows."""
        if self.crop is None or self.collimation is None:
            return slice(None), slice(None)
        first_row, last_row, first_column, last_column = self.collimation
        return slice(first_row, last_row + 1), slice(first_column, last_column + 1)

    @property
    def shown_camera(self) -> Camera:
        """The camera of the image."""
        if self.crop is None or self.collimation is None:
            return self.camera
        first_row, last_row, first_column, last_column = self.collimation
        row, column = self.camera.principal_point_px
        shape = (last_row - first_row + 1, last_column - first_column + 1)
        return replace(self.camera, shape=shape, principal_point_px=(row - first_row, column - first_column))

    @property
    def magnification(self) -> float:
        """Of the middle of the patient on the detector."""
        return self.camera.sdd_mm / self.source_to_isocentre_mm


def examination_of(person: Person, settings: VirtualSettings) -> Examination:
    """How a person's radiograph is taken, and where."""
    department = draw_department({str(n): s for n, s in settings.departments.items()}, person.random("department"))
    return draw_examination(settings.exposure, settings.radiograph_pixel_mm, person.random("exposure"), department)


def draw_examination(
    settings: ExposureSettings,
    pixel_mm: float,
    draw: np.random.Generator,
    department: Department = DEPARTMENTS["arvik"],
) -> Examination:
    """Draws how a patient's radiograph is taken; every draw is made whatever the settings, so one changes one thing."""
    sdd = float(round(draw.uniform(settings.sdd_min_mm, settings.sdd_max_mm), 1))
    near, guess = np.clip(draw.normal(size=2), -2.0, 2.0)
    voltage = draw.uniform(settings.tube_voltage_min_kv, settings.tube_voltage_max_kv) + department.kv_more
    voltage = float(round(np.clip(voltage, *_VOLTAGES_KV), 1))
    collimated, marked, side = draw.random(size=3)
    insets = draw.uniform(0.03, 0.09, size=4)
    depth = sdd - settings.patient_to_detector_mm - 10.0 * float(near)
    count = round(settings.detector_mm / pixel_mm)
    camera = Camera(sdd, pixel_mm, (count, count), ((count - 1) / 2, (count - 1) / 2))
    first = np.rint(insets * count).astype(int)
    borders = (int(first[0]), count - 1 - int(first[1]), int(first[2]), count - 1 - int(first[3]))
    return Examination(
        camera,
        depth,
        depth + 8.0 * float(guess),
        voltage,
        department,
        borders if collimated < settings.collimated_fraction else None,
        ("L" if side < 0.5 else "R") if marked < settings.marked_fraction else None,
    )


def obstructed(transmission: np.ndarray, examination: Examination) -> np.ndarray:
    """The primary beam behind the collimator's blades and the lead letter, (H, W)."""
    rows, columns = transmission.shape
    field = examination.collimation or (0, rows - 1, 0, columns - 1)
    result = transmission.copy()
    if examination.marker:
        _put_marker(result, examination.marker, field, examination.camera.pixel_mm)
    blades = np.full(transmission.shape, BLADE_TRANSMISSION)
    blades[field[0] : field[1] + 1, field[2] : field[3] + 1] = 1.0
    return result * blades


def _put_marker(result: np.ndarray, letter: str, field: tuple[int, int, int, int], pixel_mm: float) -> None:
    """A letter near the upper edge; columns run towards the patient's left."""
    size = max(6, round(_MARKER_HEIGHT_MM / pixel_mm))
    shape = _letter(letter, size)
    row = field[0] + size // 2
    column = field[3] - size - shape.shape[1] if letter == "L" else field[2] + size
    part = result[row : row + shape.shape[0], column : column + shape.shape[1]]
    part[shape] *= LEAD_TRANSMISSION


def _letter(letter: str, size: int) -> np.ndarray:
    height, width = np.mgrid[0 : 1 : size * 1j, 0 : 0.6 : max(4, round(0.6 * size)) * 1j]
    stem = width < _MARKER_STROKE * 0.6
    if letter == "L":
        return stem | (height > 1.0 - _MARKER_STROKE * 0.6)
    radius = np.hypot(height - 0.27, np.maximum(width - 0.25, 0.0))
    bowl = (np.abs(radius - 0.2) < 0.075) & (height < 0.56)
    leg = (height > 0.5) & (np.abs(width - 0.12 - 0.85 * (height - 0.5)) < 0.09)
    return stem | bowl | leg
