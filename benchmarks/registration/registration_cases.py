"""Cases with known poses: virtual patients, the real CT, and radiographs that must be refused."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from mskdex.config import Config
from mskdex.config.objects import Channel
from mskdex.config.virtual import VirtualSettings
from mskdex.drr.density import Density, render_density
from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.geometry.rigid import moved
from mskdex.imaging.radiograph import read_radiograph
from mskdex.io.volume import Volume, read_volume, volume_from_sitk
from mskdex.pipeline.settings import ImportStage
from mskdex.quantities import HU_MAX, HU_MIN
from mskdex.registration.bodies import RigidBody, find_bodies
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.registering import PatientViews

REAL = {"femur_left": (75,), "femur_right": (76,), "pelvis": (77, 78, 25)}
"""Bodies of the real CT, by TotalSegmentator's labels."""


LINEAR = ("arvik",)
"""The virtual department whose grey values need no unravelling."""

DEFAULT_SEED = VirtualSettings().seed


@dataclass(frozen=True)
class Case:
    """A patient to register.

    Attributes:
        name: of patient and kind. patient: what is registered. ct: the CT.
        truth: camera_from_ct of every body.
        labels, camera: of virtual patients, the CT's labels and the camera that took the radiograph.
    """

    name: str
    patient: PatientViews
    truth: dict[str, np.ndarray]
    ct: Volume
    labels: Volume | None = None
    camera: Camera | None = None

    @property
    def true_camera(self) -> Camera:
        """The camera that took the radiograph, where nothing else is known the one that it is registered in."""
        return self.camera or self.patient.view.camera


def virtual(
    number: int, root: Path, voxel_mm: float, departments: tuple[str, ...] = LINEAR, seed: int = DEFAULT_SEED
) -> Case:
    """Virtual patient `number` (from 1), synthesised and imported into `root` unless it is there.

    Args:
        number: of the patient, who is X-rayed in one of the departments, each with the same probability.
        root: folder that keeps the patients.
        voxel_mm: of the CT.
        departments: names as in `virtual.departments`.
        seed: of the cohort.
    """
    settings = VirtualSettings(patients=300, seed=seed, voxel_mm=voxel_mm, departments=dict.fromkeys(departments, 1.0))
    config = Config()
    names = (*(departments if departments != LINEAR else ()), *([f"seed{seed}"] if seed != DEFAULT_SEED else ()))
    root = root / "-".join([f"{voxel_mm:g}mm", *names])
    name = f"V{number:04d}"
    folder = root / "imported" / name
    if not (folder / "import.json").exists():
        _make(name, number, root, folder, settings, config)
    return imported(folder, root)


def imported(folder: Path, truth: Path) -> Case:
    """An imported patient, virtual or of the second world, beside the folder that has the patient's truth.json."""
    ct, labels = read_volume(folder / "ct.nii.gz"), read_volume(folder / "labels.nii.gz")
    radiograph = read_radiograph(folder)
    bodies = find_bodies(ct.array, labels.array, ct.world_from_voxel, Config().channels)
    view = FixedImage(radiograph.image, radiograph.field, radiograph.camera)
    told = json.loads((truth / folder.name / "truth.json").read_text(encoding="utf-8"))
    poses = told.get("bodies") or told["camera_from_ct"]
    sdd_mm = told["camera"]["sdd_mm"] if "camera" in told else told["sdd_mm"]
    camera = true_camera(radiograph.camera, sdd_mm)
    return Case(
        folder.name,
        PatientViews(bodies, view, radiograph.camera_from_ct),
        {body: np.array(poses[body]) for body in bodies},
        ct,
        labels,
        camera,
    )


def true_camera(camera: Camera, sdd_mm: float) -> Camera:
    """The camera that took a virtual patient's radiograph, on its grid: the central ray meets the image's middle.

    That does not hold of the cropped radiographs of `corvia`.

    Args:
        camera: as imported.
        sdd_mm: its true source distance.
    """
    middle = ((camera.shape[0] - 1) / 2, (camera.shape[1] - 1) / 2)
    return replace(camera, sdd_mm=sdd_mm, principal_point_px=middle)


def error_on_image(targets_mm: np.ndarray, found: tuple[np.ndarray, Camera], true: tuple[np.ndarray, Camera]) -> float:
    """Mean distance in mm on the detector between projections of targets, each by its pose and its camera."""
    shown, real = (camera.project(targets_mm @ pose[:3, :3].T + pose[:3, 3]) for pose, camera in (found, true))
    return float(np.linalg.norm((shown - real) * true[1].pixel_mm, axis=1).mean())


def _make(name: str, number: int, root: Path, out: Path, settings: VirtualSettings, config: Config) -> None:
    from mskdex.pipeline.stages.importing import import_patient
    from mskdex.pipeline.stages.synthesize import synthesize
    from mskdex.virtual.population import cohort_sheet

    row = cohort_sheet(settings).iloc[number - 1].to_dict()
    synthesize(name, settings, root / name)
    row |= {key: str(root / row[key]) for key in ("ct", "labels", "radiograph")}
    stage = ImportStage(label_sources=config.label_sources, ct=config.ct, radiograph=config.radiograph)
    import_patient(row, stage, out)


def real_cases(folder: Path, count: int, seed: int = 0) -> Iterator[tuple[Case, np.ndarray]]:
    """The real CT, simulated: Beer-Lambert through all of it, Poisson noise, log; each with random units for its start.

    256² pixels, SDD 1000 mm, 800 mm from the source to the pelvis, whose pose varies by up to 10° and 30 mm. The field
    ends where the CT does.
    """
    ct, labels = (
        volume_from_sitk(sitk.ReadImage(str(folder / n))) for n in ("ct.nii.gz", "totalsegmentator_total.nii.gz")
    )
    hu = np.clip(ct.array, HU_MIN, HU_MAX)
    own = np.zeros(labels.array.shape, np.uint8)
    channels = []
    for index, (body, ids) in enumerate(REAL.items(), start=1):
        own[np.isin(labels.array, ids)] = index
        channels.append(
            Channel(name=body, object=body, side="midline", kind="bone", label=index, body=body, bone_loss=True)
        )
    bodies = find_bodies(hu, own, ct.world_from_voxel, channels)
    camera = Camera(1000.0, 430 / 256, (256, 256), (127.5, 127.5))
    centre = bodies["pelvis"].centre_mm
    nominal = nominal_pose(centre, 800.0)
    density = Density.of(_attenuation(hu), ct.world_from_voxel)
    draw = np.random.default_rng(seed)
    for number in range(count):
        pose = moved(nominal, centre, draw.uniform(-1, 1, 6) * [10, 5, 5, 20, 20, 30])
        path = render_density(density, camera, pose)
        photons = draw.poisson(2e4 * (camera.pixel_mm / 0.84) ** 2 * np.exp(-0.02 * path))
        image = -np.log(np.maximum(photons, 1) / (2e4 * (camera.pixel_mm / 0.84) ** 2)).astype(np.float32)
        view = FixedImage(image, _above_the_cut(ct.array.shape, ct.world_from_voxel, pose, camera), camera)
        case = Case(f"real {number}", PatientViews(bodies, view, nominal), dict.fromkeys(bodies, pose), ct)
        yield case, draw.uniform(-1, 1, 6)


def _attenuation(hu: np.ndarray) -> np.ndarray:
    """Relative to water's; bone attenuates more than its HU say."""
    return np.where(hu > 0, 1.0 + 1.3e-3 * hu, np.maximum(1.0 + 1e-3 * hu, 0.0)).astype(np.float32)


def _above_the_cut(shape: tuple[int, ...], affine: np.ndarray, pose: np.ndarray, camera: Camera) -> np.ndarray:
    low = np.array([[i, j, 1, 1] for i in (0, shape[2] - 1) for j in (0, shape[1] - 1)]) @ affine.T
    rows = camera.project(low[:, :3] @ pose[:3, :3].T + pose[:3, 3])[:, 0]
    field = np.ones(camera.shape, dtype=bool)
    field[max(int(rows.min()) - 2, 0) :] = False
    return field


def wrong_inputs(case: Case, other: Case) -> dict[str, Case]:
    """The same patient with a radiograph that does not fit, or a CT that holds too little; every pose is wrong."""
    view = case.patient.view
    rows, columns = view.image.shape
    upside = FixedImage(np.ascontiguousarray(view.image[::-1]), view.field, view.camera)
    cone = np.zeros_like(view.field)
    cone[rows * 3 // 8 : rows * 5 // 8, columns * 3 // 8 : columns * 5 // 8] = True
    beside = np.roll(view.image, columns // 2, axis=1), np.zeros_like(view.field)
    beside[1][:, columns // 2 :] = True
    views = {
        "another patient's": other.patient.view,
        "flipped left-right": view.mirrored(),
        "upside down": upside,
        "over-collimated": FixedImage(np.where(cone, view.image, 0.0), cone, view.camera),
        "half out of view": FixedImage(np.where(beside[1], beside[0], 0.0), beside[1], view.camera),
        "implants": with_implants(case),
    }
    return {
        name: replace(case, name=f"{case.name} {name}", patient=replace(case.patient, view=v))
        for name, v in views.items()
    }


def another_parts(case: Case, distance_mm: float = 250.0) -> dict[str, Case]:
    """The same patient's thighs and abdomen: the camera shifted, the CT's last slices continued that far."""
    parts = {"thighs": -distance_mm, "abdomen": distance_mm}
    return {
        name: replace(case, name=f"{case.name} {name}", patient=replace(case.patient, view=_shifted(case, up_mm)))
        for name, up_mm in parts.items()
    }


def _shifted(case: Case, up_mm: float) -> FixedImage:
    below, above = (round(max(mm, 0.0) / case.ct.spacing_mm[2]) for mm in (-up_mm, up_mm))
    hu = np.pad(case.ct.array, ((below, above), (0, 0), (0, 0)), mode="edge")
    moved_camera, affine = np.eye(4), case.ct.world_from_voxel.copy()
    moved_camera[2, 3] = -up_mm
    affine[2, 3] -= below * case.ct.spacing_mm[2]
    view = case.patient.view.at(1.6)
    density = Density.of(_attenuation(hu), affine)
    image = 0.02 * render_density(density, view.camera, case.patient.nominal @ moved_camera)
    return FixedImage(image.astype(np.float32), np.ones(image.shape, dtype=bool), view.camera)


def one_side(case: Case, asked: str, shown: str) -> PatientViews:
    """A CT of one bone alone, and a radiograph that shows one bone alone, from the place where that lies."""
    view, pose, bone, other = case.patient.view, case.truth[shown], *(case.patient.bodies[n] for n in (asked, shown))
    pixels = view.camera.project(other.surface_mm @ pose[:3, :3].T + pose[:3, 3])
    (top, left), (bottom, right) = np.maximum(pixels.min(axis=0) - 40, 0), pixels.max(axis=0) + 40
    field = np.zeros_like(view.field)
    field[int(top) : int(bottom), int(left) : int(right)] = True
    field &= view.field
    start = pose.copy()
    start[:3, 3] += pose[:3, :3] @ (other.centre_mm - bone.centre_mm)
    alone = FixedImage(np.where(field, view.image, 0.0), field, view.camera)
    return PatientViews({"femur": replace(bone, name="femur")}, alone, start)


def with_implants(case: Case, attenuation: float = 3.0) -> FixedImage:
    """Hip prostheses of metal where the femoral heads, necks and shafts are."""
    view = case.patient.view
    image = view.image.copy()
    rows, columns = np.indices(image.shape)
    for name, body in case.patient.bodies.items():
        if name.startswith("femur"):
            pose = case.truth[name]
            pixels = view.camera.project(body.surface_mm @ pose[:3, :3].T + pose[:3, 3])
            top, middle = pixels[:, 0].min(), np.median(pixels[:, 1])
            head = pixels[pixels[:, 0] < top + 30 / view.camera.pixel_mm].mean(axis=0)
            stem = (
                (np.abs(columns - middle) < 10 / view.camera.pixel_mm)
                & (rows > head[0])
                & (rows < pixels[:, 0].max() - 20)
            )
            ball = np.hypot(rows - head[0], columns - head[1]) < 25 / view.camera.pixel_mm
            image[stem | ball] += attenuation
    return replace(view, image=image)


def half_femurs(case: Case) -> Case:
    """The CT cut through the femoral necks and trochanters, 35 mm below the top of the heads."""
    bodies = {}
    for name, body in case.patient.bodies.items():
        bodies[name] = _cut(body) if name.startswith("femur") else body
    return replace(case, name=f"{case.name} half femurs", patient=replace(case.patient, bodies=bodies))


def _cut(body: RigidBody) -> RigidBody:
    top = body.surface_mm[:, 2].max()
    kept = body.surface_mm[body.surface_mm[:, 2] > top - 35.0]
    z = body.world_from_voxel[2, 2] * np.arange(body.excess.shape[0]) + body.world_from_voxel[2, 3]
    excess = np.where((z > top - 35.0)[:, None, None], body.excess, 0.0).astype(np.float32)
    edge = kept[kept[:, 2] < kept[:, 2].min() + 4.0]
    return replace(body, excess=excess, surface_mm=kept, cut_mm=edge, extent_mm=float(np.ptp(kept, axis=0).max()))
