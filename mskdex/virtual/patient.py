"""One virtual patient from start to end: shape, CT, posture, radiograph, truth."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.virtual import VirtualSettings
from mskdex.deformation.coarse_grid import Grid
from mskdex.deformation.posture import draw_poses, rotation_about, take_posture
from mskdex.deformation.shape import CELL_MM, Shape, grow
from mskdex.deformation.template import Template, Tissue
from mskdex.exposure.exposing import Beam, expose, primary
from mskdex.geometry.camera import nominal_pose
from mskdex.quantities import COLUMNS, HU_MAX, HU_MIN, QUANTITIES, density_table
from mskdex.virtual.body import BodyModel, bone_box, label_box, lying_body, posed_body, posed_box
from mskdex.virtual.built_in_anatomy import built_in
from mskdex.virtual.conserve import conserve_muscles
from mskdex.virtual.console import curve_nepers, grey_values
from mskdex.virtual.correspondence import Correspondence, draw_weights
from mskdex.virtual.departments import Department
from mskdex.virtual.examination import examination_of, obstructed
from mskdex.virtual.implant import with_implant
from mskdex.virtual.label_errors import with_label_errors
from mskdex.virtual.population import Person
from mskdex.virtual.radiograph_file import ExposureRecord
from mskdex.virtual.scanner import as_stored, scan, thick_slices
from mskdex.virtual.sexes import draw_femininity, sexed_shift
from mskdex.virtual.tissue import Composition, composition
from mskdex.virtual.true_images import TrueImages, true_images

_ABOVE_MM, _BELOW_MM = 172.0, 190.0
_CUT_MM = (40.0, 120.0)
"""Below the femoral heads, where a CT ends too early."""
_LOWEST_MM, _HIGHEST_MM = -250.0, 220.0
"""Height of the person's box: what the detector can see."""


@dataclass(frozen=True)
class VirtualPatient:
    """What is made of a person.

    Attributes:
        ct: int16 HU (z, y, x). labels: uint8, ids of the template. world_from_voxel: 4×4 of both.
        names: name of each label.
        exposure: the radiograph, 1 in the open beam, float32 (H, W).
        grey: the same as its department stores it, uint16 (H, W).
        taken: its geometry. department: where it was taken.
        truth, true_images: what the pipeline never reads.
        posed_labels: uint8 (z, y, x), ids of the template, of the body as it stands for the radiograph.
        posed_from_voxel: 4×4 of these, to the frame of truth's `camera_from_posed`.
    """

    ct: np.ndarray
    labels: np.ndarray
    world_from_voxel: np.ndarray
    names: tuple[str, ...]
    exposure: np.ndarray
    grey: np.ndarray
    taken: ExposureRecord
    department: Department
    truth: dict[str, Any]
    true_images: TrueImages
    posed_labels: np.ndarray
    posed_from_voxel: np.ndarray


@dataclass(frozen=True)
class VirtualRadiograph:
    """One examination of a body.

    Attributes:
        exposure, grey, taken, department, true_images: as of `Patient`, `grey` of what the image shows.
        facts: what is true of posture, camera and exposure.
    """

    exposure: np.ndarray
    grey: np.ndarray
    taken: ExposureRecord
    department: Department
    facts: dict[str, Any]
    true_images: TrueImages
    body: BodyModel


def make_patient(person: Person, settings: VirtualSettings) -> VirtualPatient:
    """Makes a patient's CT, radiograph and truth."""
    template, others = _template(settings)
    if person.implant:
        template = with_implant(template, person.affected)
    shape = grow_person(person, template, others)
    tissues = composition(person, template, _contrast(person, settings))
    body, ct, person_from_ct = _scanned(person, shape, tissues, settings)
    seen = _radiographed(person, shape, tissues, settings, body, person_from_ct)
    facts = {**seen.facts, "severity": person.severity, "quantities": _quantities(template, body)}
    segmenting = person.random("labels")
    voxels = settings.slice_voxels if segmenting.random() < settings.thick_fraction else 1
    labels, errors = with_label_errors(body.labels, body.grid.cell_mm, template, settings, segmenting)
    sliced = thick_slices(ct, labels, body.grid.world_from_voxel, voxels)
    truth = {"patient_id": person.patient_id, **facts, "label_errors": [asdict(e) for e in errors]}
    return VirtualPatient(
        *sliced,
        template.names,
        seen.exposure,
        seen.grey,
        seen.taken,
        seen.department,
        truth,
        seen.true_images,
        seen.body.labels,
        seen.body.grid.world_from_voxel,
    )


def retaken(person: Person, settings: Sequence[tuple[Person, VirtualSettings]]) -> Iterator[VirtualRadiograph]:
    """Radiographs of one body in several examinations.

    Args:
        person: whose body it is, as made by the settings of the first examination.
        settings: for every examination the person, whose streams posture, exposure, department and noise are those of
            the examination, and its settings.
    """
    made = settings[0][1]
    template, others = _template(made)
    shape = grow_person(person, template, others)
    tissues = composition(person, template, contrast=False)
    body, _, person_from_ct = _scanned(person, shape, tissues, made)
    for examined, of in settings:
        yield _radiographed(examined, shape, tissues, of, body, person_from_ct)


def standing(person: Person, settings: VirtualSettings, cell_mm: float = CELL_MM) -> VirtualRadiograph:
    """A patient's radiograph and standing body without a CT, in a third of the time where the cells are coarse.

    Nothing makes up for what the posture costs muscles in volume, so they differ by some percent from the CT's.

    Args:
        person: who it is.
        settings: the virtual cohort; nothing of its CTs counts but their contrast agent.
        cell_mm: size of the cells on which the body grows and takes its posture.
    """
    template, others = _template(settings)
    shape = grow_person(person, template, others, cell_mm)
    return _radiographed(person, shape, composition(person, template, _contrast(person, settings)), settings)


def _contrast(person: Person, settings: VirtualSettings) -> bool:
    return bool(person.random("ct").random() < settings.contrast_fraction)


def _template(settings: VirtualSettings) -> tuple[Template, Correspondence | None]:
    """What bodies are made from, and, of several templates, where its places lie in the others."""
    if not settings.atlases:
        return built_in(settings.voxel_mm), None
    from mskdex.virtual.atlas import common_structures, read_atlas

    folders = [Path(a) for a in settings.atlases]
    templates = [read_atlas(f) for f in folders]
    alone = len(folders) == 1
    return templates[0], None if alone else Correspondence.of(templates, common_structures(folders))


def grow_person(
    person: Person, template: Template, others: Correspondence | None = None, cell_mm: float = CELL_MM
) -> Shape:
    """The person's shape.

    Args:
        person: whose.
        template: the body to start from.
        others: its correspondence with other templates; a person lies between and beyond them.
        cell_mm: size of the cells of the growth.
    """
    scale = person.skeleton_scale
    reach = np.array([250.0, 190.0, 0.0]) * (0.75 + 0.25 * person.soft_share)
    low, high = np.array([0.0, 0.0, _LOWEST_MM]) - reach, np.array([0.0, 15.0, _HIGHEST_MM]) + reach
    volumes = template.volumes_cm3
    wanted = {}
    for label, (name, tissue) in enumerate(zip(template.names, template.tissues, strict=True)):
        if tissue == Tissue.MUSCLE:
            bare, _, side = name.rpartition("_")
            wanted[label] = volumes[label] * person.muscle_factor(bare, side)
    other_tissues = [i for i, t in enumerate(template.tissues) if t not in (Tissue.AIR, Tissue.MUSCLE, Tissue.FAT)]
    rest = volumes[other_tissues].sum() * scale.prod() + sum(wanted.values())
    fat = volumes[template.label("fat")]
    total = volumes[1:].sum() * person.soft_share
    wanted[template.label("fat")] = float(np.clip(total - rest, 0.45 * fat * scale.prod(), 2.2 * fat * scale.prod()))
    femininity = draw_femininity(person.sex, person.random("shape"))
    bending = np.random.default_rng((person.seed, person.number, 101))

    def bend(points_mm: np.ndarray) -> np.ndarray:
        shift = sexed_shift(points_mm, scale, femininity)
        if others is None:
            return shift
        weights = draw_weights(len(others.landmarks_mm), np.random.default_rng((person.seed, person.number, 102)))
        return shift + others.shift(points_mm + shift, scale, weights)

    return grow(template, scale, wanted, (low, high), bending, bend=bend, cell_mm=cell_mm)


def _scanned(
    person: Person, shape: Shape, tissues: Composition, settings: VirtualSettings
) -> tuple[BodyModel, np.ndarray, np.ndarray]:
    draw = person.random("ct")
    draw.random()
    turn = rotation_about(np.zeros(3), np.clip(draw.normal(size=3), -2, 2) * (1.5, 1.0, 1.0))
    table = np.r_[draw.normal() * 8.0, draw.normal() * 8.0, draw.uniform(-900.0, -300.0)]
    cut, at = person.random("scan").random(size=2)
    below = _CUT_MM[0] + at * (_CUT_MM[1] - _CUT_MM[0]) if cut < settings.ct_cut_fraction else _BELOW_MM
    low, high = _ct_box(person, shape, below)
    grid = Grid.around(low, high, settings.voxel_mm)
    body = lying_body(shape, tissues, grid, turn)
    bodily = np.flatnonzero((body.labels > 0).any(axis=(0, 2)))
    skin = float(grid.origin_mm[1] + bodily[0] * grid.cell_mm)
    metal = (shape.template.tissues == Tissue.METAL)[body.labels]
    ct = scan(body.hu, metal, grid, skin, settings, person.random("noise"))
    person_from_ct = turn.copy()
    person_from_ct[:3, 3] -= turn[:3, :3] @ table
    moved = Grid(grid.shape, grid.origin_mm + table, grid.cell_mm)
    return replace(body, grid=moved), ct, person_from_ct


def _ct_box(person: Person, shape: Shape, below_mm: float) -> tuple[np.ndarray, np.ndarray]:
    low, high = label_box(shape, shape.template.tissues != Tissue.AIR)
    low, high = low - (25.0, 70.0, 0.0), high + 25.0
    low[2], high[2] = -below_mm * person.skeleton_scale[2], _ABOVE_MM * person.skeleton_scale[2]
    return low, high


def _radiographed(
    person: Person,
    shape: Shape,
    tissues: Composition,
    settings: VirtualSettings,
    scanned: BodyModel | None = None,
    person_from_ct: np.ndarray | None = None,
) -> VirtualRadiograph:
    draw = person.random("posture")
    heads = {side: shape.from_template(head) for side, head in shape.template.heads_mm.items()}
    poses = draw_poses(settings.posture, heads, draw)
    posture = take_posture(shape, poses)
    how = examination_of(person, settings)
    shift = np.clip(draw.normal(size=3), -2, 2) * settings.posture.shift_sd_mm
    camera_from_posed = nominal_pose(_middle(shape) + shift, how.source_to_isocentre_mm)
    grid = Grid.around(*posed_box(posture), settings.voxel_mm)
    if scanned is not None:
        posture = conserve_muscles(tissues, posture, grid, scanned, whole_muscles(shape.template, scanned))
    body = posed_body(tissues, posture, grid)
    hu = as_stored(body.hu)
    beam = Beam.of(how.tube_voltage_kv, settings.exposure.filtration_al_mm)
    transmission = primary(hu, body.grid.world_from_voxel, how.camera, camera_from_posed, beam)
    noise = np.random.default_rng(person.random("noise").integers(2**63))
    beamline = settings.exposure.model_copy(
        update={"grid_selectivity": settings.exposure.grid_selectivity * how.department.selectivity}
    )
    exposure = expose(obstructed(transmission, how), how.camera, how.magnification, beamline, noise)
    grey, curve = grey_values(exposure, how.department, how.collimation, how.camera.pixel_mm)
    shown = how.shown
    camera = how.shown_camera
    taken = ExposureRecord(
        person.patient_id,
        person.sex,
        person.age,
        camera,
        how.stated_source_to_patient_mm,
        how.tube_voltage_kv,
        settings.exposure.filtration_al_mm,
        None if how.crop else how.collimation,
        how.crop,
    )
    lying_at = np.eye(4) if person_from_ct is None else person_from_ct
    facts = {
        "bodies": {b: (camera_from_posed @ pose @ lying_at).tolist() for b, pose in poses.items()},
        "camera": camera.as_dict(),
        "camera_from_posed": camera_from_posed.tolist(),
        "source_to_isocentre_mm": how.source_to_isocentre_mm,
        "tube_voltage_kv": how.tube_voltage_kv,
        "collimation": taken.collimation,
        "department": how.department.name,
        "tone_curve": {"nepers": curve_nepers(), "grey": curve},
        "marker": how.marker,
        "posed_volumes_cm3": _by_name(shape.template, body.volumes_cm3),
    }
    images = true_images(body, hu, shape.template, camera, camera_from_posed, transmission[shown])
    return VirtualRadiograph(exposure[shown], grey[shown], taken, how.department, facts, images, body)


def whole_muscles(template: Template, body: BodyModel) -> list[int]:
    """Labels of the muscles that the body's grid does not cut."""
    cut = set(np.unique(body.labels[[0, -1]]))
    muscles = np.flatnonzero((template.tissues == Tissue.MUSCLE) & (body.volumes_cm3 > 1.0))
    return [int(i) for i in muscles if i not in cut]


def _middle(shape: Shape) -> np.ndarray:
    """Middle of the box of the bones that the CT shows: what the beam is centred on."""
    low, high = bone_box(shape)
    low[2] = max(low[2], -_BELOW_MM * shape.scale[2])
    high[2] = min(high[2], _ABOVE_MM * shape.scale[2])
    return (low + high) / 2.0


def _by_name(template: Template, values: np.ndarray) -> dict[str, float]:
    return {n: round(float(v), 4) for n, v in zip(template.names[1:], values[1:], strict=True)}


def _quantities(template: Template, body: BodyModel) -> dict[str, dict[str, float]]:
    """Noise-free quantities per structure inside the CT."""
    inside = np.flatnonzero(np.isin(template.tissues, (Tissue.MUSCLE, Tissue.BONE))[body.labels.ravel()])
    hu = np.clip(np.rint(body.hu.ravel()[inside]), HU_MIN, HU_MAX).astype(np.int64) - HU_MIN
    voxel, flat = body.grid.cell_mm**3 / 1000.0, body.labels.ravel()[inside]
    sums = {
        q: np.bincount(flat, table[hu], len(template.names)) * voxel
        for q, table in zip(QUANTITIES, density_table(), strict=True)
    }
    return {
        name: {COLUMNS[q]: round(float(sums[q][label]), 4) for q in QUANTITIES}
        | {"continuous_volume_cm3": round(float(body.volumes_cm3[label]), 4)}
        for label, name in enumerate(template.names)
        if template.tissues[label] in (Tissue.MUSCLE, Tissue.BONE)
    }
