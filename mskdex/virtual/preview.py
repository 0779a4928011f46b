"""One figure of a virtual patient: CT slices, labels, the radiograph, and what it is the sum of."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from mskdex.anatomy import STRUCTURES
from mskdex.drr.render import render
from mskdex.geometry.camera import Camera
from mskdex.io.artifacts import atomic_path
from mskdex.quantities import density_table
from mskdex.virtual.patient import VirtualPatient

_DRR_PIXELS = 128
_SOFT_WINDOW, _BONE_WINDOW = (-160.0, 240.0), (-200.0, 900.0)


def draw_preview(patient: VirtualPatient, title: str, out: Path) -> None:
    """Draws a patient: three CT slices, the label map, the radiograph, the object-wise DRRs at the true pose."""
    figure = plt.figure(figsize=(14.0, 9.6), layout="constrained", facecolor="black")
    grid = figure.add_gridspec(3, 5, height_ratios=(1.15, 1.0, 1.0))
    _slices([figure.add_subplot(grid[0, k]) for k in range(4)], patient)
    _radiograph(figure.add_subplot(grid[0, 4]), patient)
    axes = [figure.add_subplot(grid[1 + n // 5, n % 5]) for n in range(10)]
    for axis in axes[len(STRUCTURES) :]:
        axis.axis("off")
    images = _object_drrs(patient)
    for axis, structure, image in zip(axes, STRUCTURES, images, strict=False):
        _show(axis, image, structure.name.replace("_", " "), "magma", (0.0, float(image.max()) or 1.0))
    figure.suptitle(title, color="white", fontsize=12)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, dpi=110, facecolor="black")
    plt.close(figure)


def _show(
    axis: Axes, image: np.ndarray, title: str, colours: str | ListedColormap, limits: tuple[float, float]
) -> None:
    axis.imshow(image, cmap=colours, vmin=limits[0], vmax=limits[1], interpolation="nearest")
    axis.set_title(title, color="white", fontsize=9)
    axis.axis("off")


def _slices(axes: list[Axes], patient: VirtualPatient) -> None:
    """Radiological convention: the patient's right is on the left, anterior and head are up."""
    heads = _middle_slice(patient, "femur_left")
    coronal = int(np.median(np.nonzero(patient.labels == patient.names.index("femur_left"))[1]))
    axial = patient.ct[:, ::-1, ::-1]
    upper = min(len(axial) - 1, heads + round(70.0 / float(patient.world_from_voxel[2, 2])))
    _show(axes[0], axial[heads], "CT at the hips", "gray", _SOFT_WINDOW)
    _show(axes[1], axial[upper], "CT at the ilium", "gray", _SOFT_WINDOW)
    _show(axes[2], patient.ct[::-1, coronal, ::-1], "CT, coronal", "gray", _BONE_WINDOW)
    colours = np.random.default_rng(3).uniform(0.25, 1.0, (len(patient.names), 3))
    colours[0] = 0.0
    for name, colour in (("fat", (0.85, 0.8, 0.55)), ("skin", (0.6, 0.45, 0.35))):
        colours[patient.names.index(name)] = colour
    image = patient.labels[heads, ::-1, ::-1]
    _show(axes[3], image, "labels", ListedColormap(colours), (0, len(patient.names) - 1))


def _middle_slice(patient: VirtualPatient, name: str) -> int:
    """The slice of the femoral heads: 20 mm under the femur's top."""
    slices = np.flatnonzero((patient.labels == patient.names.index(name)).any(axis=(1, 2)))
    return int(slices[-1] - round(22.0 / float(patient.world_from_voxel[2, 2])))


def _radiograph(axis: Axes, patient: VirtualPatient) -> None:
    attenuation = -np.log(np.maximum(patient.exposure, 1e-5))
    limits = np.percentile(attenuation, (2.0, 99.7))
    kv, sdd = patient.taken.tube_voltage_kv, patient.taken.camera.sdd_mm
    _show(axis, attenuation, f"radiograph, {kv:.0f} kV, {sdd:.0f} mm", "gray", (float(limits[0]), float(limits[1])))


def _object_drrs(patient: VirtualPatient) -> np.ndarray:
    """Weighted volume of each structure, both sides, bones at their own pose and muscles at the pelvis's."""
    camera: Camera = patient.taken.camera
    pixel = camera.pixel_mm * camera.shape[0] / _DRR_PIXELS
    small = camera.resized((_DRR_PIXELS, _DRR_PIXELS), pixel)
    names = [n for s in STRUCTURES for n in ((f"{s.name}_left", f"{s.name}_right") if s.paired else (s.name,))]
    names = [n for n in names if n in patient.names]
    poses = np.stack([patient.truth["bodies"].get(n, patient.truth["bodies"]["pelvis"]) for n in names])
    ids = [patient.names.index(n) for n in names]
    images = render(
        patient.ct, patient.labels, patient.world_from_voxel, ids, small, poses, density_table(("weighted_volume",))
    ).images[0]
    owner = [n.removesuffix("_left").removesuffix("_right") for n in names]
    return np.stack([images[[o == s.name for o in owner]].sum(axis=0) for s in STRUCTURES])
