from pathlib import Path
from typing import Any

import pytest
import yaml

from mskdex.config import load_config
from mskdex.config.learning import CONVENTIONAL_LOSSES, ExperimentSettings, LossSettings

ROOT = Path(__file__).parents[2]


def _over(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """What Snakemake makes of a second --configfile."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _over(base[key], value) if both else value
    return merged


def _load(*names: str):
    content = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    for name in names:
        content = _over(content, yaml.safe_load((ROOT / name).read_text(encoding="utf-8")))
    return load_config(content)


def test_the_papers_config_is_the_papers_settings():
    config = _load("config/paper.yaml")
    expected = {"mskdex": ExperimentSettings(), "conventional": ExperimentSettings(losses=CONVENTIONAL_LOSSES)}
    for name, settings in expected.items():
        assert config.experiments[name] == settings
        assert settings.network.head == "plain"
    assert (config.image.rows, config.image.columns) == (512, 512)
    assert config.trained_folds == (0, 1, 2, 3)


def test_the_composition_differs_from_the_papers_method_by_the_head_alone():
    experiments = _load("config/paper.yaml").experiments
    network = experiments["mskdex"].network.model_copy(update={"head": "composition"})
    assert experiments["composition"] == experiments["mskdex"].model_copy(update={"network": network})
    assert set(experiments) == {"mskdex", "conventional", "composition", "mskdex_simulated"}


def test_the_pairs_are_added_to_the_composition_and_nothing_else():
    experiments = _load("config/paper.yaml").experiments
    optimisation = experiments["composition"].optimisation.model_copy(update={"pairs_alone_epochs": 200})
    changes = {"pairs": "mixed", "optimisation": optimisation}
    assert experiments["mskdex_simulated"] == experiments["composition"].model_copy(update=changes)


@pytest.mark.parametrize("name", ["is0", "is0_bone", "is100", "is100_bone", "is1000", "is1000_bone"])
def test_the_ablation_is_the_papers_table(name):
    config = _load("config/paper.yaml", "config/paper-ablation.yaml")
    losses = {"lambda_is": float(name.removeprefix("is").removesuffix("_bone")), "lambda_bone": name.endswith("_bone")}
    paper = ExperimentSettings()
    expected = paper.model_copy(
        update={
            "losses": paper.losses.model_copy(update=losses),
            "optimisation": paper.optimisation.model_copy(update={"epochs": 400}),
        }
    )
    assert config.experiments[name] == expected
    assert config.trained_folds == (0,)


def test_the_intensity_sum_weighs_as_the_bones_l1_does_in_every_config():
    for names in (["config/paper.yaml"], ["benchmarks/learning/evidence.yaml"], []):
        for name, experiment in _load(*names).experiments.items():
            losses = experiment.losses
            assert losses.lambda_l1 == 100.0
            assert losses.lambda_is == (0.0 if name == "conventional" else 100.0)


def test_the_evidence_has_the_papers_method_and_differs_from_it_as_it_says():
    found = _load("benchmarks/learning/evidence.yaml").experiments
    assert found["mskdex"].losses == LossSettings()
    assert found["conventional"].losses == CONVENTIONAL_LOSSES
    assert found["conventional"].network == found["mskdex"].network
    assert found["mskdex"].network.head == "plain"
    for key in ("network", "losses"):  # real radiographs alone, else as with the pairs
        assert getattr(found["composition"], key) == getattr(found["mskdex_simulated"], key)
    assert found["composition"].optimisation.learning_rate == found["mskdex_simulated"].optimisation.learning_rate
    assert found["mskdex_simulated"] == found["simulated"].model_copy(
        update={"pairs": "mixed", "optimisation": found["mskdex_simulated"].optimisation}
    )
    default = _load().experiments["mskdex_simulated"].network
    assert found["mskdex_simulated"].network == default.model_copy(update={"stem_stride": 2})  # 64² for 128²
    assert found["mskdex_simulated"].losses == _load().experiments["mskdex_simulated"].losses
    longer, usual = found["mskdex_simulated_longer"], found["mskdex_simulated"]
    epochs = 3 * usual.optimisation.epochs
    optimisation = usual.optimisation.model_copy(update={"epochs": epochs, "restart_epochs": epochs})
    assert longer == usual.model_copy(update={"optimisation": optimisation})
    with_pairs = {"simulated", "mskdex_simulated", "mskdex_simulated_longer"}
    assert {name for name, e in found.items() if e.pairs != "none"} == with_pairs


def test_the_ablations_cells_leave_their_losses_out():
    cells = _load("benchmarks/learning/ablation.yaml").experiments
    whole = cells["is100_bone"]
    assert whole == cells["conventional"].model_copy(update={"losses": LossSettings()})
    for name, losses in {
        "is0": {"lambda_is": 0.0, "lambda_bone": 0.0},
        "is0_bone": {"lambda_is": 0.0},
        "is100": {"lambda_bone": 0.0},
        "is1000": {"lambda_is": 1000.0, "lambda_bone": 0.0},
        "is1000_bone": {"lambda_is": 1000.0},
    }.items():
        assert cells[name] == whole.model_copy(update={"losses": whole.losses.model_copy(update=losses)}), name
