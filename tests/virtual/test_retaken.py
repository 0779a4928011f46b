"""The same body in other postures, exposures and departments."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from mskdex.config.virtual import VirtualSettings
from mskdex.virtual.population import person

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import repeatability as bench

COARSE = VirtualSettings(voxel_mm=6.0, radiograph_pixel_mm=3.2)


@pytest.fixture(scope="module")
def taken() -> dict:
    one = person(COARSE, 905)
    asked = [c for c in bench.conditions(times=2) if c.factor != "all"]
    return {c.name: image for c, image in bench.radiographs(one, COARSE, asked)}


def test_every_factor_changes_what_it_names_alone(taken: dict) -> None:
    first, posed = taken["posture 1"], taken["posture 2"]
    exposed, elsewhere = taken["exposure 2"], taken["corvia"]
    assert posed.facts["bodies"] != first.facts["bodies"]
    assert posed.taken == first.taken
    assert exposed.facts["camera"] != first.facts["camera"]
    assert exposed.facts["tube_voltage_kv"] != first.facts["tube_voltage_kv"]
    assert (elsewhere.department.name, first.department.name) == ("corvia", "arvik")
    assert elsewhere.facts["bodies"] == first.facts["bodies"]
    assert taken["exposure 1"] is first
    assert taken["arvik"] is first, "an examination that factors share is made once"
    every = {c.name: (c.posture, c.exposure, c.department) for c in bench.conditions()}
    assert every["all 2"] == (1, 1, "corvia")
    assert len(set(every.values())) == 4 + 3 + 1 + 3


def test_the_muscles_are_the_same_in_every_examination(taken: dict) -> None:
    volumes = pd.DataFrame({n: i.facts["posed_volumes_cm3"] for n, i in taken.items()})
    some = volumes.loc[["gluteus_medius_left", "gluteus_maximus_right", "iliacus_left"]]
    assert (some.std(axis=1) / some.mean(axis=1)).max() < 0.01


def test_predictions_become_a_table_of_every_factor(tmp_path) -> None:
    """A model that is 1 % off in one posture and 2 % in one exposure."""
    off = {"posture 2": 1.01, "exposure 2": 0.98, "all 2": 1.0, "corvia": 1.0}
    rows = [
        {
            "patient": patient,
            "structure": "iliacus",
            "side": "left",
            "quantity": "lean_mass_g",
            "factor": c.factor,
            "predicted": size * off.get(c.name, 1.0),
            "condition": c.name,
            "flags": "",
        }
        for patient, size in (("V0905", 80.0), ("V0906", 100.0))
        for c in bench.conditions(times=2)
    ]
    found = bench.summary(pd.DataFrame(rows), tmp_path).set_index("factor")
    assert found.loc["posture", "rms_cv_percent"] == pytest.approx(100 * 0.01 / 2**0.5 / 1.005)
    assert found.loc["exposure", "rms_cv_percent"] == pytest.approx(100 * 0.02 / 2**0.5 / 0.99)
    assert found.loc["department", "rms_cv_percent"] == 0.0
    assert (found["icc_form"] == "ICC(2,1)").all()
    assert list(found["repeats"]) == [4, 4, 4, 4]
