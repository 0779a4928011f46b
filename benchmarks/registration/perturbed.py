"""Right pairs whose input is off: the camera, the tone curve, the labels, the CT. Each pose may be right or wrong.

`run.py perturbed` registers them, and `calibrate.py` fits the confidence to what becomes of them. `run.py hard` has
harder ones, of whose poses more is doubtful.
"""

from dataclasses import replace

import numpy as np
from registration_cases import Case
from scipy import ndimage

from mskdex.config import Config
from mskdex.io.volume import Volume
from mskdex.registration.bodies import find_bodies
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.joint_camera import changed
from mskdex.registration.registering import PatientViews

OFF_MM = np.array([50.0, 10.0, 10.0])
"""Largest error of source distance, principal row and principal column."""

_NEPERS = (0.05, 0.3)
"""Least and most noise (SD) of a pixel of a hard radiograph."""

_SLICE_MM, _NOISE_HU, _WANDER_MM, _WAVE_MM = 5.0, 30.0, 0.8, 6.0


def perturbed(case: Case, draw: np.random.Generator) -> Case:
    """The case with a camera, a tone curve, labels and a CT that are each off, or each with some chance as they are.

    Args:
        case: a virtual patient.
        draw: of what is off and how far.
    """
    kinds = {name: str(draw.choice(options)) for name, options in _KINDS.items()}
    off = draw.uniform(-1, 1, 3) * OFF_MM if kinds["camera"] == "off" else np.zeros(3)
    view = case.patient.view
    labels, hu, affine = _ct(case, kinds["labels"], kinds["ct"], draw)
    bodies = find_bodies(hu, labels, affine, Config().channels)
    seen = FixedImage(_toned(view, kinds["tone"]), view.field, changed(view.camera, off))
    name = " ".join([case.name, *(f"{k}:{v}" for k, v in kinds.items())])
    return replace(case, name=name, patient=PatientViews(bodies, seen, case.patient.nominal))


def hard(case: Case, draw: np.random.Generator) -> Case:
    """The case with a field that shows a part of the pelvis, thick slices, labels that are off by mm, a bent tone
    curve, and noise in both images.

    The camera is as imported.

    Args:
        case: a virtual patient, or one of the second world.
        draw: of what is off and how far.
    """
    assert case.labels is not None
    slices_mm, off_mm = draw.choice([4.0, 6.0, 8.0]), draw.uniform(-3.0, 3.0)
    noise = np.exp(draw.uniform(*np.log(_NEPERS)))
    shown, share = str(draw.choice(["lower", "left", "right", "whole"])), draw.uniform(0.7, 0.95)
    tone = str(draw.choice(["sigmoid", "enhanced", "both"]))
    labels = _thicker(case.labels.array, case.ct, off_mm)
    noisy = np.clip(case.ct.array + draw.normal(0.0, _NOISE_HU, case.ct.array.shape), -1024, 3071)
    labels, hu, affine = _sliced(labels, noisy, case.ct, slices_mm)
    field = _part(case, shown, share)
    image = _toned(case.patient.view, tone)
    image = np.where(field, image + draw.normal(0.0, noise, image.shape), 0.0).astype(np.float32)
    view = FixedImage(image, field, case.patient.view.camera)
    bodies = find_bodies(hu, labels, affine, Config().channels)
    name = f"{case.name} {shown}:{share:.2f} slices:{slices_mm:g} labels:{off_mm:+.1f} tone:{tone} noise:{noise:.2f}"
    return replace(case, name=name, patient=PatientViews(bodies, view, case.patient.nominal))


def _part(case: Case, shown: str, share: float) -> np.ndarray:
    """The field cut so that such a share of the pelvis' height or width is left, or whole, bool (H, W)."""
    view, pose = case.patient.view, case.truth["pelvis"]
    if shown == "whole":
        return view.field
    pixels = view.camera.project(case.patient.bodies["pelvis"].surface_mm @ pose[:3, :3].T + pose[:3, 3])
    axis = 0 if shown == "lower" else 1
    low, high = pixels[:, axis].min(), pixels[:, axis].max()
    places = np.indices(view.field.shape)[axis]
    if shown == "left":
        return np.asarray(view.field & (places < low + share * (high - low)))
    return np.asarray(view.field & (places > high - share * (high - low)))


def _thicker(labels: np.ndarray, ct: Volume, mm: float) -> np.ndarray:
    """Labels of bones thicker or, below 0, thinner by so many mm, to the nearest voxel."""
    result, spacing = labels.copy(), np.array(ct.spacing_mm[::-1])
    margin = np.ceil(abs(mm) / spacing).astype(int) + 1
    boxes = ndimage.find_objects(labels)
    for label in {c.label for c in Config().channels if c.body} & set(np.unique(labels).tolist()):
        box = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(boxes[label - 1], margin, strict=True))
        mask, part = labels[box] == label, result[box]
        if mm > 0:
            near = ndimage.distance_transform_edt(~mask, sampling=spacing) <= mm
            part[near & ~mask & (part == labels[box])] = label
        else:
            part[mask & (ndimage.distance_transform_edt(mask, sampling=spacing) <= -mm)] = 0
    return result


def _sliced(
    labels: np.ndarray, hu: np.ndarray, ct: Volume, slices_mm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, HU and world_from_voxel of slices about so thick, each the mean of those of the CT."""
    count = max(1, round(slices_mm / ct.spacing_mm[2]))
    end = len(hu) // count * count
    thick = hu[:end].reshape(-1, count, *hu.shape[1:]).mean(axis=1)
    coarse = ct.world_from_voxel.copy()
    coarse[:3, 3] += coarse[:3, 2] * (count - 1) / 2
    coarse[:3, 2] *= count
    return labels[:end][count // 2 :: count], np.rint(thick).astype(np.int16), coarse


def _ct(
    case: Case, labels_kind: str, ct_kind: str, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, HU and world_from_voxel."""
    assert case.labels is not None
    hu, labels, affine = case.ct.array, case.labels.array, case.ct.world_from_voxel
    if ct_kind == "noisy":
        hu = np.clip(hu + draw.normal(0.0, _NOISE_HU, hu.shape), -1024, 3071)
    labels = _redrawn(labels, case.ct, labels_kind, draw)
    if ct_kind != "thick":
        return labels, hu.astype(np.int16), affine
    return _sliced(labels, hu, case.ct, max(_SLICE_MM, 2.0 * case.ct.spacing_mm[2]))


def _redrawn(labels: np.ndarray, ct: Volume, kind: str, draw: np.random.Generator) -> np.ndarray:
    """Labels of bones a voxel thinner or thicker, or all boundaries displaced by a smooth field."""
    if kind == "wandering":
        spacing = np.array(ct.spacing_mm[::-1])
        places = np.indices(labels.shape, dtype=np.float32)
        for axis in range(3):
            field = ndimage.gaussian_filter(draw.standard_normal(labels.shape), _WAVE_MM / spacing, truncate=2.5)
            places[axis] += field * (_WANDER_MM / spacing[axis] / field.std())
        return np.asarray(ndimage.map_coordinates(labels, places, order=0, mode="nearest"))
    result = labels.copy()
    for label in {c.label for c in Config().channels if c.body} if kind != "as they are" else ():
        mask = labels == label
        if kind == "eroded":
            result[mask & ~ndimage.binary_erosion(mask)] = 0
        else:
            result[ndimage.binary_dilation(mask) & ~mask & (result == labels)] = label
    return result


def _toned(view: FixedImage, kind: str) -> np.ndarray:
    """Grey values with detail enhanced, laid over a sigmoid curve, or both."""
    image = view.image
    if kind in ("enhanced", "both"):
        image = image + sum(
            gain * (image - ndimage.gaussian_filter(image, mm / view.camera.pixel_mm))
            for mm, gain in ((1.0, 0.8), (5.0, 0.5))
        )
    if kind in ("sigmoid", "both"):
        low, middle, high = np.quantile(image[view.field], [0.02, 0.5, 0.98])
        image = 4.0 / (1.0 + np.exp(-5.0 * (image - middle) / max(high - low, 1e-6)))
    return image.astype(np.float32)


_KINDS = {
    "camera": ("off", "off", "as imported"),
    "tone": ("as it is", "sigmoid", "enhanced", "both"),
    "labels": ("as they are", "as they are", "eroded", "dilated", "wandering"),
    "ct": ("as it is", "as it is", "thick", "noisy"),
}
