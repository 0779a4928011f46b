"""Other renderers, each behind one function that gives its tasks; absent ones are left out.

Every function renders one channel of the same volume with the same camera. Where a peer offers it, "backward" is
forward plus the gradient of a loss by the pose, the step that a registration repeats.
"""

import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mskdex.geometry.camera import Camera

Tasks = dict[str, Callable[[], np.ndarray]]


def nanodrr(density: np.ndarray, affine: np.ndarray, camera: Camera, pose: np.ndarray, samples: int) -> Tasks:
    """nanodrr (MIT), eager torch, `samples` along the part of each ray inside the volume."""
    import torch
    from nanodrr.data import Subject
    from nanodrr.drr import DRR
    from torchio import ScalarImage

    tensor = torch.from_numpy(np.ascontiguousarray(density.transpose(2, 1, 0)))[None]
    subject = Subject.from_images(ScalarImage(tensor=tensor, affine=affine), convert_to_mu=False)
    rows, columns = camera.shape
    drr = DRR.from_carm_intrinsics(camera.sdd_mm, camera.pixel_mm, camera.pixel_mm, 0.0, 0.0, rows, columns)
    inverse = torch.from_numpy(np.linalg.inv(pose)).float()[None]

    def forward() -> np.ndarray:
        with torch.no_grad():
            return drr(subject, inverse, n_samples=samples)[0, 0].numpy()

    def backward() -> np.ndarray:
        variable = inverse.clone().requires_grad_()
        (drr(subject, variable, n_samples=samples) ** 2).mean().backward()
        return variable.grad.numpy()

    return {"forward": forward, "backward": backward}


def diffdrr(
    density: np.ndarray, affine: np.ndarray, camera: Camera, depth_mm: float, renderer: str, samples: int
) -> Tasks:
    """DiffDRR 0.6 at the nominal AP view `depth_mm` from the volume's middle."""
    import torch
    from diffdrr.data import canonicalize
    from diffdrr.drr import DRR
    from torchio import ScalarImage, Subject

    image = ScalarImage(tensor=torch.from_numpy(np.ascontiguousarray(density.transpose(2, 1, 0)))[None], affine=affine)
    reorient = torch.tensor([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.float32)
    subject = canonicalize(Subject(volume=image, density=image, mask=None, reorient=reorient, fiducials=None))
    drr = DRR(subject, camera.sdd_mm, camera.shape[0], camera.pixel_mm, renderer=renderer)
    options = {"n_points": samples} if renderer == "trilinear" else {}
    turn, shift = torch.zeros(1, 3), torch.tensor([[0.0, depth_mm, 0.0]])

    def forward() -> np.ndarray:
        with torch.no_grad():
            return drr(turn, shift, parameterization="euler_angles", convention="ZXY", **options)[0, 0].numpy()

    def backward() -> np.ndarray:
        a, b = turn.clone().requires_grad_(), shift.clone().requires_grad_()
        (drr(a, b, parameterization="euler_angles", convention="ZXY", **options) ** 2).mean().backward()
        return a.grad.numpy()

    return {"forward": forward, "backward": backward}


def rtk_joseph(density: np.ndarray, spacing_mm: float, camera: Camera, depth_mm: float) -> Tasks:
    """itk-rtk's Joseph forward projection at the nominal AP view; RTK turns about y, so the volume is laid out so."""
    import itk
    from itk import RTK

    image_type = itk.Image[itk.F, 3]
    volume = itk.image_from_array(np.ascontiguousarray(density.transpose(1, 0, 2)[:, ::-1]))
    volume.SetSpacing([spacing_mm] * 3)
    volume.SetOrigin([-(n - 1) / 2 * spacing_mm for n in density.transpose(1, 0, 2).shape[::-1]])
    geometry = RTK.ThreeDCircularProjectionGeometry.New()
    geometry.AddProjection(depth_mm, camera.sdd_mm, 0.0)

    def forward() -> np.ndarray:
        empty = itk.image_from_array(np.zeros((1, *camera.shape), np.float32))
        empty.SetSpacing([camera.pixel_mm, camera.pixel_mm, 1.0])
        empty.SetOrigin([-(n - 1) / 2 * camera.pixel_mm for n in camera.shape[::-1]] + [0.0])
        joseph = RTK.JosephForwardProjectionImageFilter[image_type, image_type].New()
        joseph.SetInput(0, empty)
        joseph.SetInput(1, volume)
        joseph.SetGeometry(geometry)
        joseph.Update()
        return itk.array_from_image(joseph.GetOutput())[0]

    return {"forward": forward}


def plastimatch(ct: np.ndarray, affine: np.ndarray, camera: Camera, depth_mm: float) -> Tasks:
    """plastimatch drr, exact (Siddon), of the CT in HU; its time holds reading the CT, which the caller subtracts."""
    import SimpleITK as sitk

    folder = Path(tempfile.mkdtemp())
    image = sitk.GetImageFromArray(ct)
    image.SetSpacing(np.linalg.norm(affine[:3, :3], axis=0).tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    sitk.WriteImage(image, str(folder / "ct.mha"))

    def run(rows: int, columns: int) -> np.ndarray:
        size = f"{rows * camera.pixel_mm} {columns * camera.pixel_mm}"
        subprocess.run(
            [
                "plastimatch",
                "drr",
                "-t",
                "raw",
                "-i",
                "exact",
                "--sad",
                str(depth_mm),
                "--sid",
                str(camera.sdd_mm),
                "-r",
                f"{rows} {columns}",
                "-z",
                size,
                "--nrm",
                "0 1 0",
                "--vup",
                "0 0 1",
                "-o",
                "0 0 0",
                "--output",
                str(folder / "drr"),
                str(folder / "ct.mha"),
            ],
            check=True,
            capture_output=True,
        )
        return np.zeros(camera.shape)

    return {"forward": lambda: run(*camera.shape), "start": lambda: run(2, 2)}


def installed(name: str) -> bool:
    """Whether a peer can be used here."""
    if name == "plastimatch":
        return shutil.which("plastimatch") is not None
    if name == "rtk":
        try:
            from itk import RTK
        except ImportError:
            return False
        return RTK is not None
    return importlib.util.find_spec(name) is not None
