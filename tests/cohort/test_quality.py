import hospital as make
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mskdex.cohort.quality import flags, robust_z, structure_table
from mskdex.config import Config
from mskdex.errors import MskdexError
from mskdex.imaging.contact_sheet import contact_sheet
from mskdex.io.artifacts import write_json, write_parquet
from mskdex.io.volume import Volume, write_volume
from mskdex.pipeline.settings import quality_stage
from mskdex.pipeline.stages.quality import quality

CHANNELS = tuple(c for c in Config.model_validate({}).channels if c.object in {"pelvis", "sacrum"})


def imports(count: int = 20, seed: int = 0) -> dict:
    generator = np.random.default_rng(seed)
    found = {}
    for i in range(count):
        size = generator.normal(1, 0.08)
        found[f"P{i:02d}"] = {
            "warnings": [],
            "structures": {
                c.name: {
                    "volume_cm3": 350 * size * generator.normal(1, 0.02),
                    "mean_hu": generator.normal(230, 15),
                    "pieces": 1,
                    "largest_piece": 1.0,
                    "truncated": False,
                }
                for c in CHANNELS
            },
        }
    return found


def test_robust_z_is_that_of_a_normal_sample_and_ignores_outliers():
    values = np.random.default_rng(1).normal(5, 2, 4000)
    values[:3] = 1e6
    z = robust_z(values)
    assert np.std(z[3:]) == pytest.approx(1, abs=0.05)
    assert (z[:3] > 1000).all()


def test_robust_z_of_few_alike_or_unknown_values():
    assert np.isnan(robust_z(np.arange(7.0))).all()
    assert (robust_z(np.full(10, 3.0)) == 0).all()
    mostly = np.array([1.0] * 9 + [2.0, np.nan])
    assert robust_z(mostly)[9] > 5
    assert np.isnan(robust_z(mostly)[10])


def test_a_normal_cohort_raises_hardly_a_flag():
    found = flags(structure_table(imports(60), CHANNELS), 3.5)
    assert found["flags"].sum() <= 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"volume_cm3": 120.0}, "volume of pelvis_left (z -"),
        ({"mean_hu": 40.0}, "mean HU of pelvis_left (z -"),
        ({"volume_cm3": 500.0}, "left-right ratio of pelvis_left (z +"),
        ({"pieces": 3, "largest_piece": 0.6}, "pelvis_left in 3 pieces"),
    ],
)
def test_what_stands_out_is_flagged_and_comes_first(change, reason):
    cohort = imports()
    cohort["P13"]["structures"]["pelvis_left"] |= change
    found = flags(structure_table(cohort, CHANNELS), 3.5)
    assert found.loc[0, "patient_id"] == "P13"
    assert reason in found.loc[0, "reasons"]
    assert found["flags"].is_monotonic_decreasing


def test_absent_structures_are_flagged_and_cut_ones_have_no_volume_score():
    cohort = imports()
    del cohort["P03"]["structures"]["sacrum"]
    cohort["P05"]["structures"]["pelvis_right"] |= {"truncated": True, "volume_cm3": 10.0}
    table = structure_table(cohort, CHANNELS)
    cut = table[(table["patient_id"] == "P05") & (table["object"] == "pelvis_right")]
    assert cut["z_volume"].isna().all()
    found = flags(table, 3.5).set_index("patient_id")
    assert found.loc["P03", "reasons"] == "sacrum is absent"
    assert found.loc["P05", "flags"] == 0


def test_patients_whose_import_warned_come_first_and_nothing_is_told_twice():
    cohort = imports()
    for name in ("pelvis_left", "pelvis_right"):
        cohort["P13"]["structures"][name] |= {"volume_cm3": 1200.0}
    cohort["P07"]["structures"]["sacrum"] |= {"pieces": 3, "largest_piece": 0.6}
    told = ["sacrum is in 3 pieces, the largest with 60 % of it; look at it", "the radiograph shows no air"]
    found = flags(structure_table(cohort, CHANNELS), 3.5, {"P07": told})
    assert list(found["patient_id"][:2]) == ["P07", "P13"]
    assert found.loc[0, "flags"] == 2
    assert found.loc[0, "reasons"] == "; ".join(f"import: {w}" for w in told)


def test_contact_sheet_shows_the_patients_right_on_the_left():
    ct, labels = make.phantom()
    ids = np.zeros_like(labels.array)
    names = {c.name: c.label for c in CHANNELS}
    ids[labels.array == 2] = names["pelvis_right"]
    sheet = np.array(contact_sheet(ct, Volume(ids, ct.world_from_voxel), CHANNELS, ["P01", "a\tb\tc"]))
    assert sheet.shape == (512, 3 * 256 + 420, 3)
    axial = sheet[30:256, :256].astype(int)
    coloured = np.argwhere(axial.max(axis=2) - axial.min(axis=2) > 60)
    assert coloured.size
    assert coloured[:, 1].mean() < 128


def test_stage_writes_table_page_and_one_sheet_a_patient(tmp_path):
    settings = quality_stage(Config.model_validate({}), CHANNELS)
    ct, labels = make.phantom()
    cohort = imports(9)
    cohort["P04"]["structures"]["sacrum"]["mean_hu"] = 900.0
    cohort["P07"]["warnings"] = ["the radiograph shows <no> air; exclude the patient"]
    for patient, content in cohort.items():
        write_volume(tmp_path / patient / "ct.nii.gz", ct)
        write_volume(tmp_path / patient / "labels.nii.gz", labels)
        write_json(tmp_path / patient / "import.json", content)
    for n in range(4):
        nepers = [2.0 + n / 10, 3.0, 4.0, 5.0]
        fit = {"attenuation": nepers, "grey": [2.0 * v for v in nepers]}
        seen = {"scale": "relative", "device": "Maker <X>", "standardisation": [1.0, 0.0], "flags": []}
        write_json(tmp_path / f"P0{n}" / "calibration.json", seen | {"fit": fit, "sound": nepers, "thin": None})
    write_parquet(tmp_path / "patients.parquet", pd.DataFrame({"patient_id": list(cohort)}))
    quality(tmp_path, tmp_path / "patients.parquet", settings, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "quality.csv")
    assert list(table.columns) == ["patient_id", "flags", "reasons", "exclude", "exclude_reason"]
    assert list(table["patient_id"][:2]) == ["P07", "P04"]
    assert table.loc[0, "reasons"] == "import: the radiograph shows <no> air; exclude the patient"
    assert len(table) == 9
    assert {p.stem for p in (tmp_path / "out" / "contact_sheets").iterdir()} == set(cohort)
    with Image.open(tmp_path / "out" / "contact_sheets" / "P04.png") as image:
        assert image.size[0] == 3 * 256 + 420
    page = (tmp_path / "out" / "quality.html").read_text(encoding="utf-8")
    assert page.index("P07") < page.index("P04") < page.index("P00")
    assert "<li>the radiograph shows &lt;no&gt; air; exclude the patient</li>" in page
    assert "<li>Maker &lt;X&gt;: relative scale, 4 patients, curve over standardised grey values" in page
    assert len(pd.read_csv(tmp_path / "out" / "structures.csv")) == 9 * len(CHANNELS)
    (tmp_path / "P05" / "import.json").unlink()
    with pytest.raises(MskdexError, match=r"P05/import\.json cannot be read"):
        quality(tmp_path, tmp_path / "patients.parquet", settings, tmp_path / "out")


def test_a_segmentation_that_differs_in_the_mirrored_ct_is_flagged():
    name, other = CHANNELS[0].name, CHANNELS[1].name
    table = structure_table(imports(60), CHANNELS, {"P07": {name: 0.61, other: 0.95}})
    before = flags(structure_table(imports(60), CHANNELS), 3.5).set_index("patient_id")
    after = flags(table, 3.5, least_dice=0.8).set_index("patient_id")
    told = f"{name} is segmented otherwise in the mirrored CT (Dice 0.61)"
    assert after.loc["P07", "reasons"] == "; ".join(filter(None, [before.loc["P07", "reasons"], told]))
    assert after.drop("P07").equals(before.drop("P07").loc[after.drop("P07").index])
