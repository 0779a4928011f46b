"""Virtual patients as training samples in which every object is aligned, without a CT's files: thousands in an hour.

A radiograph is drawn, exposed and processed as `mskdex synthesize` does it, written as DICOM and imported as a
hospital's; the DRRs are those of the body as it stands. Nothing is registered, and nothing is read off a device's
profile: processed radiographs stay on their relative scale.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskdex.config import Config
from mskdex.config.objects import Channel
from mskdex.config.virtual import VirtualSettings
from mskdex.deformation.template import label_counts
from mskdex.evaluation.maps import on_grid
from mskdex.imaging.area_average import average_onto
from mskdex.imaging.radiograph_import import ImportedRadiograph, import_radiograph
from mskdex.imaging.visible import exposed_pixels
from mskdex.io.arrays import Crops
from mskdex.io.stack import Stack, write_stack
from mskdex.pipeline.settings import anatomy_stage
from mskdex.quantities import COLUMNS, QUANTITIES
from mskdex.virtual.patient import VirtualPatient, VirtualRadiograph, make_patient, standing
from mskdex.virtual.population import person
from mskdex.virtual.radiograph_file import write_radiograph


@dataclass(frozen=True)
class Maker:
    """What samples are made by.

    Attributes:
        config: objects, image grid, how radiographs are imported, virtual cohort.
        channels: the objects of the images.
    """

    config: Config
    channels: tuple[Channel, ...]

    @classmethod
    def of(cls, config: Config, objects: Sequence[str] | None = None) -> "Maker":
        """The config's objects, or those named, in that order."""
        known = {c.name: c for c in anatomy_stage(config).channels}
        return cls(config, tuple(known[n] for n in objects) if objects else tuple(known.values()))

    def standing(self, settings: VirtualSettings, number: int, cell_mm: float) -> Stack:
        """A patient's sample whose truth is what the radiograph's field shows of the standing body.

        Args:
            settings: the virtual cohort. number: of the patient, from 1.
            cell_mm: size of the cells on which the body is grown and posed.
        """
        return self._stack(standing(person(settings, number), settings, cell_mm))

    def whole(self, settings: VirtualSettings, number: int) -> Stack:
        """A patient's sample whose truth is that of the CT without noise, as the pipeline makes patients."""
        made = make_patient(person(settings, number), settings)
        stack, quantities = self._stack(made), made.truth["quantities"]
        voxel = abs(np.linalg.det(made.posed_from_voxel[:3, :3])) / 1000.0
        standing_cm3 = dict(zip(made.names, label_counts(made.posed_labels) * voxel, strict=False))
        names = [c.name for c in self.channels]
        shown = stack.truth[QUANTITIES.index("volume")] / [standing_cm3[n] for n in names]
        truth = np.array([[quantities[n][COLUMNS[q]] for n in names] for q in QUANTITIES])
        return replace(stack, truth=truth, visible=np.clip(shown, 0.0, 1.0))

    def _stack(self, made: VirtualPatient | VirtualRadiograph) -> Stack:
        seen, image = self._imported(made), self.config.image
        grid = seen.camera.resized((image.rows, image.columns), image.pixel_mm)
        pixels, field = average_onto(seen.image, seen.field, seen.camera, grid)
        true = made.true_images
        order = [true.objects.index(c.name) for c in self.channels]
        drr = on_grid(true.drr[:, order], true.drr_camera, grid).astype(np.float32)
        crops = Crops.of(drr)
        return Stack(
            patient=made.taken.patient_id,
            channels=self.channels,
            camera=grid,
            radiograph=pixels,
            field=field,
            drr=crops,
            aligned=crops,
            aligned_objects=tuple(c.name for c in self.channels),
            truth=(drr * exposed_pixels(field)).sum(axis=(-2, -1), dtype=np.float64),
            known=np.ones(len(order), bool),
            visible=np.ones(len(order)),
            source_to_isocentre_mm=seen.geometry.source_to_isocentre_mm,
            scale=seen.scale,
        )

    def _imported(self, made: VirtualPatient | VirtualRadiograph) -> ImportedRadiograph:
        """The radiograph as the pipeline reads its file, with a sheet that says what this lacks or leaves in doubt."""
        row: dict[str, Any] = {"grey_increases_with": "exposure" if made.department.inverted else "attenuation"}
        if "DistanceSourceToDetector" in made.department.lacks:
            row["sdd_mm"] = made.taken.camera.sdd_mm
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "radiograph.dcm"
            write_radiograph(path, made.grey, made.taken, made.department)
            return import_radiograph(path, row, self.config.radiograph)


def people(settings: VirtualSettings, numbers: Sequence[int]) -> pd.DataFrame:
    """Sex, age, height and weight, indexed by patient_id."""
    rows = [person(settings, n) for n in numbers]
    known = [(p.patient_id, p.sex, p.age, p.height_cm, p.weight_kg) for p in rows]
    columns = ["patient_id", "sex", "age", "height_cm", "weight_kg"]
    return pd.DataFrame(known, columns=columns).set_index("patient_id")


def make_all(maker: Maker, settings: VirtualSettings, count: int, folder: Path, cell_mm: float | None) -> list[Path]:
    """The samples of patients 1 to `count`; those that are there are not made again.

    Args:
        maker: what they are made by.
        settings: the virtual cohort.
        count: number of patients.
        folder: where they are kept.
        cell_mm: of `Maker.standing`; None makes them by `Maker.whole`.
    """
    paths = [folder / f"V{number:04d}.safetensors" for number in range(1, count + 1)]
    began, made = time.process_time(), 0
    for number, path in enumerate(paths, start=1):
        if path.is_file():
            continue
        one = maker.whole(settings, number) if cell_mm is None else maker.standing(settings, number, cell_mm)
        write_stack(path, one, {"seed": settings.seed, "voxel_mm": settings.voxel_mm, "cell_mm": cell_mm})
        made += 1
        if made % 100 == 0 or number == count:
            spent = time.process_time() - began
            print(f"{folder.name}: {number} of {count} patients, {spent / made:.2f} CPU-s each", flush=True)
    return paths
