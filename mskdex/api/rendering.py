"""Object-wise DRRs of a labelled CT."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mskdex.api.pose import Pose
from mskdex.api.volumes import Segmentation, require_one_grid
from mskdex.config.objects import Channel
from mskdex.drr import render as drr
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.imaging.ct import Ct
from mskdex.imaging.nominal_view import middle_of_bones
from mskdex.quantities import COLUMNS, QUANTITIES, density_table

_SIDE_PX = 256
DEFAULT_CAMERA = Camera(1000.0, 1.68, (_SIDE_PX, _SIDE_PX), ((_SIDE_PX - 1) / 2, (_SIDE_PX - 1) / 2))
"""A detector of 430 mm by 430 mm, as for a hip, one metre from the source."""

ISOCENTRE_TO_DETECTOR_MM = 150.0
"""Distance from the middle of the patient to the detector where no pose is given; the import's own assumption."""


@dataclass(frozen=True, eq=False)
class ObjectDrrs:
    """One image per structure and quantity whose pixels sum to the quantity.

    Attributes:
        images: float32 (Q, N, rows, columns): cm³ per pixel of weighted_volume and volume, g per pixel of lean_mass.
        quantities: names of the Q quantities.
        channels: the N structures.
        camera: camera of the images.
        pose: where the CT stood.
        outside: (N,), share of each structure's volume that projects outside the detector.
    """

    images: np.ndarray
    quantities: tuple[str, ...]
    channels: tuple[Channel, ...]
    camera: Camera
    pose: Pose
    outside: np.ndarray

    def image(self, channel: str, quantity: str = "lean_mass") -> np.ndarray:
        """The image (rows, columns) of one structure, e.g. gluteus_maximus_left.

        Raises:
            MskdexError: there is no such channel or quantity.
        """
        names = [c.name for c in self.channels]
        for what, name, known in (("channel", channel, names), ("quantity", quantity, self.quantities)):
            if name not in known:
                msg = f"there is no {what} {name}; the DRRs have {', '.join(known)}"
                raise MskdexError(msg)
        return np.asarray(self.images[self.quantities.index(quantity), names.index(channel)])

    def sums(self) -> pd.DataFrame:
        """Sums over the pixels: one row per channel, columns volume_cm3, lean_mass_g, weighted_volume_cm3, outside."""
        total = self.images.sum(axis=(-2, -1), dtype=np.float64)
        names = pd.Index([c.name for c in self.channels], name="object")
        columns = {COLUMNS[q]: total[i] for i, q in enumerate(self.quantities)}
        return pd.DataFrame(columns | {"outside": self.outside}, index=names)


def render(
    ct: Ct,
    labels: Segmentation,
    camera: Camera | None = None,
    pose: Pose | np.ndarray | None = None,
    *,
    step_mm: float = 1.0,
    device: str = "auto",
) -> ObjectDrrs:
    """Renders every structure of a CT into images of its own.

    Args:
        ct: of `read_ct`.
        labels: of `read_labels`.
        camera: None is a detector of 430 mm by 430 mm, 256 pixels a side, 1000 mm from the source.
        pose: of the CT in the camera's frame, or its 4×4 matrix; None is an AP view through the middle of the bones,
            150 mm before the detector.
        step_mm: distance between samples along a ray.
        device: "auto" (what is estimated to be faster), "cpu", "cuda" or "cuda:i".

    Raises:
        MskdexError: labels of another CT, or a pose that cannot be rendered, e.g. a source within the patient.
    """
    require_one_grid(ct, labels)
    camera = camera or DEFAULT_CAMERA
    if pose is None:
        middle = middle_of_bones(labels.volume, labels.channels)
        pose = Pose.nominal(middle.tolist(), camera.sdd_mm - ISOCENTRE_TO_DETECTOR_MM)
    pose = pose if isinstance(pose, Pose) else Pose(pose)
    volume, ids = ct.volume, [c.label for c in labels.channels]
    affine, tables = volume.world_from_voxel, density_table()
    found = drr.render(
        volume.array,
        labels.volume.array,
        affine,
        ids,
        camera,
        pose.camera_from_ct,
        tables,
        step_mm=step_mm,
        device=device,
    )
    return ObjectDrrs(found.images, QUANTITIES, labels.channels, camera, pose, found.outside)
