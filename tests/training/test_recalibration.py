"""A model brought to another site: its means are right there, and each patient is judged by the others."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from phantoms import CHANNELS, phantom

from mskdex.errors import MskdexError
from mskdex.io.artifacts import write_parquet
from mskdex.io.stack import Greys, Stack, write_stack
from mskdex.models.model import Model, read_model
from mskdex.models.recalibration import sum_factors
from mskdex.pipeline.stages.recalibrate import recalibrate

sys.path.insert(0, str(Path(__file__).parents[1] / "clinic"))

from small_model import SIDE, make_model

TONE = tuple(np.linspace(0.1, 0.9, 12))


def site(root: Path, count: int, first: int = 100, *, processed: bool = False) -> list[Stack]:
    """Results of a site, half of whose radiographs are, if asked for, processed ones of one device."""
    stacks = []
    for number in range(first, first + count):
        stack = phantom(number, SIDE)
        if processed and number % 2:
            greys = Greys("Corvia / DR-S / 2 / -", (2.0, 1.0), tuple(np.linspace(1.5, 5, 12)), TONE)
            stack = dataclasses.replace(stack, scale="relative", greys=greys)
        if number == first:  # one muscle of one patient is cut by the CT
            stack = dataclasses.replace(stack, known=np.arange(len(CHANNELS)) != 1)
        write_stack(root / "patients" / stack.patient / "stack.safetensors", stack)
        stacks.append(stack)
    write_parquet(root / "cohort" / "patients.parquet", pd.DataFrame({"patient_id": [s.patient for s in stacks]}))
    return stacks


def loaded(path: Path) -> Model:
    return read_model(path, torch.device("cpu"))


def test_a_factor_is_the_mean_over_both_sides_of_what_is_known():
    names = [channel.name for channel in CHANNELS]
    predicted, truth = np.ones((2, 3, len(names))), np.full((2, 3, len(names)), np.nan)
    left, right = names.index("iliacus_left"), names.index("iliacus_right")
    truth[:, :, left], truth[0, :, right] = 1.2, 1.5
    factors = sum_factors(predicted, truth, CHANNELS)
    np.testing.assert_allclose(factors[1:, [left, right]], (1.2 + 1.2 + 1.5) / 3)
    assert (factors[0] == 1).all()
    assert (np.delete(factors, [left, right], axis=1) == 1).all()


def test_the_means_come_out_and_each_patient_is_judged_by_the_others(tmp_path):
    old = loaded(make_model(tmp_path / "model.safetensors"))
    stacks = site(tmp_path / "site", 11)
    text = recalibrate(tmp_path / "model.safetensors", tmp_path / "site", tmp_path / "out")
    assert "11 patients, each by the others" in text
    new = loaded(tmp_path / "out" / "model.safetensors")
    assert new.card.recalibrated_on == tuple(s.patient for s in stacks)
    before, after = old.generator.state_dict(), new.generator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)

    place = [i for i, c in enumerate(CHANNELS) if c.object == "gluteus_medius"]
    shown = np.stack([s.truth[2, place] * s.visible[place] for s in stacks])
    counted = np.stack([s.known[place] for s in stacks])
    predicted = np.stack([sums(old, s)[2, place] for s in stacks])
    factor = shown[counted].sum() / predicted[counted].sum()
    np.testing.assert_allclose(np.stack([sums(new, s)[2, place] for s in stacks]), predicted * factor, rtol=1e-4)
    np.testing.assert_allclose(sums(new, stacks[0])[0], sums(old, stacks[0])[0], rtol=1e-5)

    rows = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    rows = rows[(rows["object"] == "gluteus_medius") & (rows["quantity"] == "lean_mass_g")]
    table = rows.set_index(["patient_id", "channel"])["predicted"]
    for n, stack in enumerate(stacks):
        others = np.arange(len(stacks)) != n
        own = shown[others][counted[others]].sum() / predicted[others][counted[others]].sum()
        wanted = dict(zip([CHANNELS[i].name for i in place], predicted[n] * own, strict=True))
        for channel, value in wanted.items():
            assert table[stack.patient, channel] == pytest.approx(value, rel=1e-4)


def test_the_site_s_devices_get_profiles(tmp_path):
    make_model(tmp_path / "model.safetensors")
    site(tmp_path / "site", 11, processed=True)
    recalibrate(tmp_path / "model.safetensors", tmp_path / "site", tmp_path / "out")
    profiles = {(p.device, p.scale): p for p in loaded(tmp_path / "out" / "model.safetensors").card.device_profiles}
    assert profiles["Corvia / DR-S / 2 / -", "relative"].patients == 5


def sums(model: Model, stack: Stack) -> np.ndarray:
    drr = model.decompose(stack.radiograph, stack.camera, stack.source_to_isocentre_mm, stack.relative)
    found: np.ndarray = drr.sum(axis=(-2, -1), dtype=np.float64)
    return found


def test_too_few_patients_and_patients_that_were_trained_on_are_refused(tmp_path):
    model = make_model(tmp_path / "model.safetensors")
    site(tmp_path / "few", 9)
    with pytest.raises(MskdexError, match=r"9 patients whose radiograph and CT belong together, of 9; .* needs 10"):
        recalibrate(model, tmp_path / "few", tmp_path / "out")
    site(tmp_path / "seen", 12, first=0)
    with pytest.raises(MskdexError, match=r"model\.safetensors has seen P000, P002; recalibrate it on other patients"):
        recalibrate(model, tmp_path / "seen", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    site(tmp_path / "site", 10)
    recalibrate(model, tmp_path / "site", tmp_path / "out")
    with pytest.raises(MskdexError, match=r"has seen P100"):
        recalibrate(tmp_path / "out" / "model.safetensors", tmp_path / "site", tmp_path / "again")
