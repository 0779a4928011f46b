import dataclasses
import json

import numpy as np
import pytest
import torch
from phantoms import CHANNELS, phantom

from mskdex.config.learning import AugmentationSettings, ExperimentSettings
from mskdex.errors import MskdexError
from mskdex.io.arrays import Crops
from mskdex.io.stack import Greys, read_stack, write_stack
from mskdex.models import losses
from mskdex.models.device_profiles import stack_by_profile
from mskdex.models.model import ModelCard
from mskdex.models.normalisation import fit_normalisation
from mskdex.models.water import water_per_neper, water_volume
from mskdex.pipeline.stages.train import describe, open_store
from mskdex.training.batches import Loader, dense
from mskdex.training.stack_store import StackStore

COUNT, SIDE = 5, 32
STILL = dict.fromkeys(set(AugmentationSettings.model_fields) - {"flip_probability"}, 0.0)


@pytest.fixture(scope="module")
def stacks():
    return [phantom(i, side=SIDE) for i in range(COUNT)]


@pytest.fixture
def store(tmp_path, stacks):
    for s in stacks:
        write_stack(tmp_path / f"{s.patient}.safetensors", s)
    return StackStore({s.patient: tmp_path / f"{s.patient}.safetensors" for s in stacks}, 1e9)


def _loader(store, augmentation=None, **options):
    options = {"batch_size": 2, "seed": 3, "device": torch.device("cpu")} | options
    return Loader(store, fit_normalisation(store), augmentation=augmentation, **options)


def test_a_stack_comes_back(tmp_path, stacks):
    write_stack(tmp_path / "s.safetensors", stacks[0])
    back = read_stack(tmp_path / "s.safetensors")
    assert back.objects == stacks[0].objects == tuple(c.name for c in CHANNELS)
    assert back.camera == stacks[0].camera
    assert back.relative is False
    for name in ("radiograph", "field", "truth", "known", "visible"):
        np.testing.assert_array_equal(getattr(back, name), getattr(stacks[0], name))
    np.testing.assert_array_equal(back.drr.dense(), stacks[0].drr.dense())
    np.testing.assert_allclose(back.drr.dense().sum((-2, -1)), stacks[0].truth, rtol=0.08)


def test_normalised_sums_give_back_cm3_and_g(store, stacks):
    loader = _loader(store)
    batch = loader.batch(0, 0)
    scale = torch.as_tensor(loader.normalisation.drr, dtype=torch.float32)
    for number, name in enumerate(batch.partners):
        expected = next(s for s in stacks if s.patient == name).drr.dense().sum((-2, -1))
        got = batch.drr[number].sum((-2, -1)).view(3, -1) * scale
        np.testing.assert_allclose(got.numpy(), expected, rtol=2e-3)
    assert 0.8 < batch.drr.max() < 1.6
    assert 0.7 < batch.radiograph.max() < 1.5


def test_the_mean_drr_has_the_mean_sums(store, stacks):
    n = fit_normalisation(store)
    got = n.mean_drr.sum((-2, -1), dtype=np.float64) * n.drr
    np.testing.assert_allclose(got, np.mean([s.truth * s.visible for s in stacks], axis=0), rtol=1e-4)


def test_an_object_that_no_ct_holds_whole_keeps_the_mean_sum_of_its_drrs(stacks):
    known = np.ones(len(stacks[0].objects), bool)
    known[2] = False
    cut = [dataclasses.replace(s, known=known, truth=np.where(known, s.truth, 0.0)) for s in stacks]
    n = fit_normalisation(cut)
    got = n.mean_drr.sum((-2, -1), dtype=np.float64) * n.drr
    expected = np.mean([s.truth * s.visible for s in cut], axis=0)
    expected[:, 2] = np.mean([s.drr.dense()[:, 2].sum((-2, -1)) for s in cut], axis=0)
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert (got[:, 2] > 0).all()


def test_mean_and_spread_of_the_water_are_those_of_the_radiographs(stacks):
    water = [water_volume(s.radiograph, s.camera, s.source_to_isocentre_mm) for s in stacks]
    found = fit_normalisation(stacks)
    np.testing.assert_allclose(found.mean_water, np.mean(water, axis=0), rtol=1e-5)
    assert found.water_sd == pytest.approx(np.sqrt(np.var(water, axis=0).mean()), rel=1e-4)
    alike = fit_normalisation([stacks[0], stacks[0]])
    assert alike.water_sd == pytest.approx(0.01 * alike.mean_water.mean(), rel=1e-4)


def test_water_and_targets_change_by_the_same_factor(tmp_path, stacks):
    """Radiographs that show the objects' weighted volume and nothing else: whatever moves, both sums stay the same."""
    pure = []
    for s in stacks[:2]:
        drr = s.drr.dense().astype(np.float32)
        radiograph = drr[0].sum(0) / water_per_neper(s.camera, s.source_to_isocentre_mm)
        truth = drr.sum((-2, -1), dtype=np.float64)
        pure.append(
            dataclasses.replace(s, radiograph=radiograph, truth=truth, visible=np.ones(len(CHANNELS)), scale="relative")
        )
        write_stack(tmp_path / f"{s.patient}.safetensors", pure[-1])
    store = StackStore({s.patient: tmp_path / f"{s.patient}.safetensors" for s in pure}, 1e9)
    moving = AugmentationSettings(
        rotation_deg=8.0,
        shear_deg=5.0,
        shift_fraction=0.02,
        zoom_fraction=0.15,
        contrast_fraction=0.3,
        brightness_fraction=0.3,
        tone_fraction=0.0,
    )
    factors = []
    for seed in range(6):
        batch = _loader(store, moving, seed=seed).batch(0, 0)
        water, target = batch.water.sum((1, 2, 3)), batch.target[:, 0].sum(1)
        np.testing.assert_allclose(water.numpy(), target.numpy(), rtol=0.01)
        factors += (target / torch.tensor([pure[int(p[1:])].truth[0].sum() for p in batch.patients])).tolist()
        assert batch.relative.all()
        assert batch.partner_relative.all()
    assert min(factors) < 0.9
    assert max(factors) > 1.1


@pytest.mark.parametrize("scale", ["absolute", "relative"])
def test_the_tone_of_relative_radiographs_alone_is_bent_with_their_water(tmp_path, stacks, scale):
    for s in stacks[:2]:
        write_stack(tmp_path / f"{s.patient}.safetensors", dataclasses.replace(s, scale=scale))
    store = StackStore({s.patient: tmp_path / f"{s.patient}.safetensors" for s in stacks[:2]}, 1e9)
    tone = AugmentationSettings(**STILL | {"flip_probability": 0.0, "tone_fraction": 0.4})
    loader = _loader(store, tone)
    batch = loader.batch(0, 0)
    for row, patient in enumerate(batch.patients):
        radiograph = batch.radiograph[row, 0].numpy() * loader.normalisation.radiograph
        own = store[patient]
        bent = float(np.abs(radiograph - own.radiograph).max())
        assert bent > 0.01 if scale == "relative" else bent < 1e-4
        np.testing.assert_allclose(
            batch.water[row, 0].numpy(),
            water_volume(radiograph, own.camera, own.source_to_isocentre_mm),
            rtol=1e-4,
            atol=1e-6,
        )


def test_a_partners_water_is_that_of_its_own_camera(tmp_path, stacks):
    far = dataclasses.replace(stacks[1], source_to_isocentre_mm=415.0)
    for s in (stacks[0], far):
        write_stack(tmp_path / f"{s.patient}.safetensors", s)
    loader = _loader(StackStore({p: tmp_path / f"{p}.safetensors" for p in ("P000", "P001")}, 1e9))
    batch = loader.batch(0, 0)
    row = batch.partners.index("P001")
    torch.testing.assert_close(batch.partner_water[row], batch.partner_water[1 - row] / 4)
    one = water_per_neper(stacks[0].camera, 830.0) * loader.normalisation.radiograph
    np.testing.assert_allclose(batch.partner_water[1 - row, 0].numpy(), one, rtol=1e-5)


def test_constants_come_from_the_given_patients_alone(stacks):
    alone = fit_normalisation(stacks[:2])
    brighter = dataclasses.replace(
        stacks[4], drr=Crops.of(stacks[4].drr.dense() * 9), radiograph=stacks[4].radiograph * 9
    )
    np.testing.assert_array_equal(fit_normalisation(stacks[:2]).drr, alone.drr)
    assert (fit_normalisation([*stacks[:2], brighter]).drr > alone.drr).all()


def test_an_object_that_nobody_has_is_named(stacks):
    empty = stacks[0].drr.dense()
    empty[:, 3] = 0.0
    with pytest.raises(MskdexError, match="gluteus_medius_right"):
        fit_normalisation([dataclasses.replace(stacks[0], drr=Crops.of(empty))])


def test_intensity_sum_weighs_the_same_relative_error_alike_at_every_resolution():
    """The same patient at 64² and at 512², a tenth too heavy: the pixels of the fine one hold a 64th each."""
    coarse = phantom(0, objects=CHANNELS[:3])
    found = []
    for times in (1, 8):
        drr = np.kron(coarse.drr.dense(), np.ones((times, times), np.float32)) / times**2
        camera = coarse.camera.resized((64 * times, 64 * times), coarse.camera.pixel_mm / times)
        one = np.ones((times, times), np.float32)
        fine = dataclasses.replace(
            coarse,
            camera=camera,
            drr=Crops.of(drr),
            radiograph=np.kron(coarse.radiograph, one),
            field=np.kron(coarse.field, one) > 0,
        )
        scale = torch.as_tensor(fit_normalisation([fine]).drr, dtype=torch.float32)
        truth = torch.as_tensor(drr.sum((-2, -1)))[None] / scale
        known = torch.ones(1, 3, dtype=torch.bool)
        found.append(losses.intensity_sum(1.1 * truth, truth, known, pixels=(64 * times) ** 2).item())
    assert found[0] == pytest.approx(found[1], rel=1e-3)
    assert 1e-3 < found[0] < 1e-1


def test_every_patient_is_seen_in_an_epoch_and_never_beside_itself(store):
    loader = _loader(store)
    assert len(loader) == 3
    for epoch in range(4):
        batches = list(loader.epoch(epoch))
        seen = [p for b in batches for p in b.patients]
        assert set(seen) == set(store.patients)
        assert len(seen) == 6
        assert all(a != b for batch in batches for a, b in zip(batch.patients, batch.partners, strict=True))


def test_a_batch_depends_on_seed_epoch_and_place_alone(store):
    augmentation = AugmentationSettings()
    a, b = _loader(store, augmentation), _loader(store, augmentation)
    list(a.epoch(0))
    for name in ("radiograph", "water", "drr", "partner_water", "aligned", "target"):
        assert torch.equal(getattr(a.batch(2, 1), name), getattr(b.batch(2, 1), name))
    resumed = list(b.epoch(2, start=1))
    assert resumed[0].patients == a.batch(2, 1).patients
    assert len(resumed) == 2
    other = _loader(store, augmentation, seed=4)
    assert not torch.equal(a.batch(2, 1).drr, other.batch(2, 1).drr)


def test_processes_share_an_epoch_without_overlap(store):
    whole = _loader(store, batch_size=2)
    parts = [_loader(store, batch_size=1, rank=(r, 2)) for r in range(2)]
    assert len(parts[0]) == len(whole)
    for place in range(len(whole)):
        assert whole.batch(1, place).patients == tuple(p.batch(1, place).patients[0] for p in parts)


def test_a_flip_swaps_the_sides_of_everything(store):
    straight, flipped = (_loader(store, AugmentationSettings(flip_probability=p, **STILL)) for p in (0.0, 1.0))
    a, b = straight.batch(0, 0), flipped.batch(0, 0)
    swap = straight.swap
    assert a.patients == b.patients
    assert torch.equal(b.radiograph, a.radiograph.flip(-1))
    assert torch.equal(b.water, a.water.flip(-1))
    scale = torch.as_tensor(straight.normalisation.drr, dtype=torch.float32)[:, :, None, None]
    physical = [batch.drr.unflatten(1, (3, -1)) * scale for batch in (a, b)]
    torch.testing.assert_close(physical[1], physical[0].flip(-1)[:, :, swap], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(b.target, a.target[:, :, swap])
    bones = straight.bones
    physical = [batch.aligned * scale[:, bones] for batch in (a, b)]
    order = [bones.index(swap[i]) for i in bones]
    torch.testing.assert_close(physical[1], physical[0].flip(-1)[:, :, order], rtol=1e-4, atol=1e-6)


def test_targets_follow_what_leaves_the_frame(store):
    loader = _loader(store, AugmentationSettings(**(STILL | {"flip_probability": 0.0, "shift_fraction": 0.5})))
    plain = _loader(store)
    everything = []
    for place in range(len(loader)):
        moved, still = loader.batch(0, place), plain.batch(0, place)
        ratios = (moved.target / still.target)[:, 1]
        everything.append(ratios)
        # The aligned bones were moved along, so they must have kept about the same fraction as their targets.
        for number, bone in enumerate(loader.bones):
            kept = moved.aligned[:, 1, number].sum((-2, -1)) / still.aligned[:, 1, number].sum((-2, -1))
            torch.testing.assert_close(kept, ratios[:, bone], atol=0.15, rtol=0)
    ratios = torch.cat(everything)
    assert ratios.max() < 1.01
    assert ratios.min() < 0.5


def test_unknown_and_unregistered_objects_are_marked(tmp_path, stacks):
    first = dataclasses.replace(
        stacks[0],
        known=np.array([c.name != "femur_left" for c in CHANNELS]),
        aligned=Crops.of(stacks[0].aligned.dense()[:, :3]),
        aligned_objects=stacks[0].aligned_objects[:3],
    )
    for s in (first, stacks[1]):
        write_stack(tmp_path / f"{s.patient}.safetensors", s)
    loader = _loader(StackStore({p: tmp_path / f"{p}.safetensors" for p in ("P000", "P001")}, 1e9))
    batch = loader.batch(0, 0)
    row = batch.patients.index("P000")
    names = [c.name for c in CHANNELS]
    assert [names[i] for i in (~batch.known[row]).nonzero()[:, 0]] == ["femur_left"]
    assert [names[loader.bones[i]] for i in batch.available[row].nonzero()[:, 0]] == ["pelvis_left", "pelvis_right"]
    assert batch.available[1 - row].all()


def test_the_cache_changes_nothing(store):
    uncached = StackStore(store.paths, 0.0)
    assert torch.equal(_loader(store).batch(0, 1).drr, _loader(uncached).batch(0, 1).drr)


def test_dense_is_the_crops_own_picture(stacks):
    images = dense(stacks[0].drr, np.full(3 * len(CHANNELS), 2.0), torch.from_numpy(stacks[0].drr.values))
    np.testing.assert_allclose(images.numpy(), 2 * stacks[0].drr.dense().reshape(images.shape), rtol=1e-5)


def test_stacks_that_do_not_fit_together_or_hold_nan_are_named(tmp_path, stacks):
    small = phantom(9, side=16)
    bad = dataclasses.replace(stacks[1], patient="PNAN", radiograph=np.full((SIDE, SIDE), np.nan, np.float32))
    for s in (stacks[0], small, bad):
        write_stack(tmp_path / f"{s.patient}.safetensors", s)
    with pytest.raises(MskdexError, match=r"P009.*\(16, 16\)"):
        list(StackStore({p: tmp_path / f"{p}.safetensors" for p in ("P000", "P009")}, 1e9))
    with pytest.raises(MskdexError, match=r"PNAN.*not finite"):
        list(StackStore({p: tmp_path / f"{p}.safetensors" for p in ("P000", "PNAN")}, 1e9))
    with pytest.raises(MskdexError, match="1 training patients"):
        _loader(StackStore({"P000": tmp_path / "P000.safetensors"}, 1e9))


@pytest.mark.parametrize("cache_bytes", [1e9, 0.0])
def test_stacks_of_other_objects_or_another_order_are_refused(tmp_path, stacks, cache_bytes):
    write_stack(tmp_path / "a.safetensors", dataclasses.replace(stacks[0], patient="a"))
    turned = dataclasses.replace(stacks[1], patient="b", channels=stacks[1].channels[::-1])
    write_stack(tmp_path / "b.safetensors", turned)
    store = StackStore({"a": tmp_path / "a.safetensors", "b": tmp_path / "b.safetensors"}, cache_bytes)
    with pytest.raises(MskdexError, match=r"b\.safetensors has femur_right, .*patient a has gluteus_maximus_left, "):
        list(store)


def test_a_stores_radiographs_are_read_by_the_profiles_of_its_own_patients(tmp_path, stacks):
    """A fixed tone curve, half of the attenuation: what the store gives is absolute again, without the test patient."""
    for number, s in enumerate(stacks):
        own = 0.5 * s.radiograph
        line = (1.0 + 0.2 * number, 3.0 - 0.5 * number)
        knots = np.linspace(0.5, 4.0, 12)
        greys = Greys("Corvia / DR-S", line, tuple(knots), tuple(line[0] * 0.5 * knots + line[1]))
        relative = dataclasses.replace(s, radiograph=line[0] * own + line[1], scale="relative", greys=greys)
        write_stack(tmp_path / s.patient / "stack.safetensors", relative)
    training = [s.patient for s in stacks[1:]]
    store = open_store(tmp_path, training, ExperimentSettings())
    assert {p.device: p.patients for p in store.profiles} == {"Corvia / DR-S": 4, "all devices": 4}
    for s in stacks[1:]:
        assert store[s.patient].scale == "absolute"
        np.testing.assert_allclose(store[s.patient].radiograph, np.maximum(s.radiograph, 0.0), atol=0.01)
    card = describe(store, ExperimentSettings(), "x", 0)
    assert card.normalisation.scales == ("absolute",)
    assert ModelCard.from_dict(json.loads(json.dumps(card.as_dict()))).device_profiles[0].patients == 4
    tested = stack_by_profile(read_stack(tmp_path / "P000" / "stack.safetensors"), card.device_profiles)
    np.testing.assert_allclose(tested.radiograph, np.maximum(stacks[0].radiograph, 0.0), atol=0.01)
