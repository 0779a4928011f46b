"""Stage: DRRs of every object at the nominal camera, and of the registered bones at their poses."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.imaging import ImageSettings, RenderingSettings
from mskdex.config.objects import Channel
from mskdex.drr.render import Rendering, render
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.imaging.area_average import average_onto
from mskdex.imaging.visible import exposed_pixels, visible_fractions
from mskdex.io.arrays import write_arrays
from mskdex.io.artifacts import manifest, read_json
from mskdex.io.nifti import read_nifti
from mskdex.io.volume import Volume, read_labelled
from mskdex.quantities import QUANTITIES, density_table


def render_nominal(
    ct: Path,
    labels: Path,
    camera_json: Path,
    channels: Sequence[Channel],
    image: ImageSettings,
    rendering: RenderingSettings,
    out: Path,
    patients: int = 1,
) -> None:
    """Renders every object at the nominal pose of `camera_json` into `out` (drr.safetensors).

    The file holds "drr" (3, N, H, W) float32 in the order of `QUANTITIES`; its meta tells the objects, the
    camera, camera_from_ct, the fraction of each object outside the detector (null where the object is
    absent) and the manifest. `patients` is how many this process renders, see `render.render`.

    Raises:
        MskdexError: a file that cannot be read, or a pose that cannot be rendered.
    """
    started = time.time()
    patient = read_labelled(ct, labels)
    camera, nominal = _camera(camera_json, image)
    result = _render(patient, channels, camera, nominal, rendering, ct, patients)
    meta = {
        "objects": [c.name for c in channels],
        "camera": camera.as_dict(),
        "camera_from_ct": nominal.tolist(),
        "outside": [None if np.isnan(f) else round(float(f), 6) for f in result.outside],
        "manifest": manifest("render_nominal", started, step_mm=rendering.step_mm, device=result.device),
    }
    write_arrays(out, {"drr": result.images}, meta, exact=("drr",))


def render_aligned(
    ct: Path,
    labels: Path,
    camera_json: Path,
    pose_json: Path,
    channels: Sequence[Channel],
    image: ImageSettings,
    rendering: RenderingSettings,
    out: Path,
    field: Path | None = None,
    patients: int = 1,
) -> None:
    """Renders the bones of accepted bodies at their registered poses into `out` (aligned.safetensors).

    The file holds "aligned" (3, M, H, W) float32; its meta tells the M objects, and of every channel the
    fraction of its mass that is visible, inside the image and the exposed field, at the best known pose: its own
    body's, else that of the first accepted body, else the nominal one.

    Args:
        ct: ct.nii.gz. labels: labels.nii.gz. camera_json: camera.json. pose_json: pose.json. channels: all objects.
        image: the image grid. rendering: steps and device. out: the file to write.
        field: field.nii.gz, the radiograph's exposed pixels; None where the whole detector was exposed.
        patients: how many this process renders, see `render.render`.

    Raises:
        MskdexError: as `render_nominal`.
    """
    started = time.time()
    patient = read_labelled(ct, labels)
    camera, nominal = _camera(camera_json, image)
    exposed = _exposed(field, camera_json, camera)
    accepted = {
        name: np.array(body["camera_from_ct"], dtype=np.float64)
        for name, body in read_json(pose_json)["bodies"].items()
        if body["accepted"]
    }
    fallback = next(iter(accepted.values()), nominal)
    poses = [accepted.get(c.body or "", fallback) for c in channels]
    aligned = [i for i, c in enumerate(channels) if c.body in accepted]
    result = _render(patient, channels, camera, np.stack(poses), rendering, ct, patients)
    shares = visible_fractions(result.images[QUANTITIES.index("weighted_volume")], result.outside, exposed)
    visible = {c.name: None if np.isnan(f) else round(float(f), 6) for c, f in zip(channels, shares, strict=True)}
    meta = {
        "objects": [channels[i].name for i in aligned],
        "camera": camera.as_dict(),
        "camera_from_ct": {channels[i].name: poses[i].tolist() for i in aligned},
        "visible": visible,
        "manifest": manifest("render_aligned", started, step_mm=rendering.step_mm, device=result.device),
    }
    write_arrays(out, {"aligned": result.images[:, aligned]}, meta, exact=("aligned",))


def _exposed(field: Path | None, camera_json: Path, grid: Camera) -> np.ndarray:
    """The exposed pixels of the image grid, bool (H, W)."""
    if field is None:
        return np.ones(grid.shape, dtype=bool)
    camera = Camera.from_dict(read_json(camera_json))
    exposed = exposed_pixels(read_nifti(field)[0] > 0)
    if exposed.shape != tuple(camera.shape):
        msg = f"{field} and {camera_json} have different shapes; delete import.json and import the patient again"
        raise MskdexError(msg)
    return average_onto(exposed.astype(np.float32), exposed, camera, grid)[1]


def _camera(camera_json: Path, image: ImageSettings) -> tuple[Camera, np.ndarray]:
    content = read_json(camera_json)
    camera = Camera.from_dict(content).resized((image.rows, image.columns), image.pixel_mm)
    return camera, np.array(content["camera_from_ct"], dtype=np.float64)


def _render(
    patient: tuple[Volume, np.ndarray],
    channels: Sequence[Channel],
    camera: Camera,
    poses: np.ndarray,
    rendering: RenderingSettings,
    source: Path,
    patients: int,
) -> Rendering:
    volume, labels = patient
    ids = [c.label for c in channels]
    options: dict[str, Any] = {"step_mm": rendering.step_mm, "device": rendering.device, "renders": patients}
    try:
        return render(volume.array, labels, volume.world_from_voxel, ids, camera, poses, density_table(), **options)
    except MskdexError as error:
        msg = f"{source}: {error}"
        raise MskdexError(msg) from error
