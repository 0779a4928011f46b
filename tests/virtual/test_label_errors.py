"""Errors of segmentations, and CTs as scanners of hospitals make them."""

import numpy as np
import pytest

from mskdex.config.virtual import VirtualSettings
from mskdex.deformation.coarse_grid import Grid
from mskdex.deformation.template import Tissue
from mskdex.virtual.label_errors import with_label_errors
from mskdex.virtual.patient import make_patient
from mskdex.virtual.population import person_of
from mskdex.virtual.scanner import draw_protocol, hardening, scan

COARSE = VirtualSettings(voxel_mm=6.0, radiograph_pixel_mm=3.2, patients=9)


def changed(template, **errors):
    settings = VirtualSettings(**{f"label_error_{name}": value for name, value in errors.items()})
    return with_label_errors(template.labels, template.voxel_mm, template, settings, np.random.default_rng(4))


def test_without_errors_labels_are_exact(template):
    labels, errors = changed(template)
    assert labels is template.labels
    assert errors == []


@pytest.mark.parametrize("size_mm", [2.5, 4.0])
def test_boundaries_wander_by_what_is_asked_for_and_keep_volumes(template, size_mm):
    labels, _ = changed(template, boundary_mm=size_mm)
    muscle = template.label("gluteus_maximus_left")
    before, after = template.labels == muscle, labels == muscle
    assert after.sum() == pytest.approx(before.sum(), rel=0.05)
    # A boundary displaced along its normal by SD s exchanges a layer of E|N(0, s)|, 0.8 s.
    surface = sum((before != np.roll(before, 1, axis)).sum() for axis in range(3)) / 1.5
    exchanged = (before != after).sum() / surface * 2.5
    assert exchanged == pytest.approx(0.8 * size_mm, rel=0.3)


def test_a_leak_takes_from_a_neighbouring_muscle(template):
    labels, errors = changed(template, leak_fraction=0.3)
    assert errors
    assert {e.kind for e in errors} == {"leak"}
    muscles = {n for n, t in zip(template.names, template.tissues, strict=True) if t == Tissue.MUSCLE}
    assert all(e.structure in muscles and e.other in muscles and e.volume_cm3 > 0 for e in errors)
    moved = (labels != template.labels).sum() * template.voxel_mm**3 / 1000.0
    assert moved == pytest.approx(sum(e.volume_cm3 for e in errors), rel=0.2)


def test_a_lost_piece_is_an_end_of_the_muscle(template):
    labels, errors = changed(template, lost_fraction=1.0)
    assert {e.kind for e in errors} == {"lost"}
    fat = template.label("fat")
    assert set(np.unique(labels[labels != template.labels])) == {fat}
    for error in errors:
        label = template.label(error.structure)
        before, after = (np.flatnonzero((m == label).any(axis=(1, 2))) for m in (template.labels, labels))
        assert len(after) < len(before)
        assert np.array_equal(after, before[: len(after)]) or np.array_equal(after, before[-len(after) :])


def test_a_patient_s_errors_are_told_in_the_truth_and_change_labels_alone():
    plain = make_patient(person_of(COARSE, "V0001"), COARSE)
    settings = COARSE.model_copy(update={"label_error_boundary_mm": 2.0, "label_error_lost_fraction": 0.2})
    wrong = make_patient(person_of(settings, "V0001"), settings)
    assert np.array_equal(plain.ct, wrong.ct)
    assert np.array_equal(plain.grey, wrong.grey)
    assert plain.truth["quantities"] == wrong.truth["quantities"]
    assert plain.truth["label_errors"] == []
    assert wrong.truth["label_errors"]
    assert not np.array_equal(plain.labels, wrong.labels)


def test_a_ct_that_ends_too_early_holds_the_heads_and_not_the_thighs():
    whole = make_patient(person_of(COARSE, "V0002"), COARSE)
    settings = COARSE.model_copy(update={"ct_cut_fraction": 1.0})
    cut = make_patient(person_of(settings, "V0002"), settings)
    below = [p.world_from_voxel[2, 3] for p in (whole, cut)]
    assert 50.0 < below[1] - below[0] < 160.0
    assert (cut.labels == cut.names.index("femur_left")).sum() < (whole.labels == whole.names.index("femur_left")).sum()
    assert (cut.labels == cut.names.index("pelvis_left")).sum() > 100


def test_noise_and_kernels_differ_between_patients():
    settings = VirtualSettings()
    drawn = [draw_protocol(settings, np.random.default_rng(n)) for n in range(500)]
    smooth = np.log([p.noise_hu for p in drawn if not p.sharp])
    assert np.median(smooth) == pytest.approx(np.log(12.0), abs=3 * 1.25 * 0.3 / 20)
    assert smooth.std() == pytest.approx(0.28, abs=0.04)
    share = np.mean([p.sharp for p in drawn])
    assert share == pytest.approx(0.2, abs=3 * np.sqrt(0.2 * 0.8 / 500))


def test_a_sharp_kernel_overshoots_at_edges():
    grid = Grid((3, 80, 80), np.array([-80.0, -60.0, 0.0]), 2.0)
    hu = np.full(grid.shape, -100.0, np.float32)
    hu[:, :, 40:] = 50.0
    ct = {}
    for fraction in (0.0, 1.0):
        settings = VirtualSettings(ct_sharp_fraction=fraction, ct_noise_hu=0.0, ct_hardening_hu=0.0)
        ct[fraction] = scan(hu, np.zeros(hu.shape, bool), grid, -60.0, settings, np.random.default_rng(0))[1, 40]
    assert ct[0.0].max() <= 50
    assert ct[1.0].max() > 60


def test_hardening_darkens_between_bones_and_nowhere_else():
    hu = np.zeros((2, 30, 60), np.float32)
    hu[:, 10:14, 10:15] = hu[:, 10:14, 45:50] = 900.0
    dark = hardening(hu, 8.0)
    assert dark[0, 11:13, 30].min() == pytest.approx(-8.0, abs=0.8)
    assert np.abs(dark[:, 22:]).max() < 0.5
    assert not dark[hu > 200].any()
    assert not hardening(np.zeros((2, 5, 5), np.float32), 8.0).any()
