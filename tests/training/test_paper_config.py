from pathlib import Path
from typing import Any

import pytest
import yaml

from mskdex.config import load_config
from mskdex.config.learning import CONVENTIONAL_LOSSES, ExperimentSettings

ROOT = Path(__file__).parents[2]


def _over(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """What Snakemake makes of a second --configfile."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _over(base[key], value) if both else value
    return merged


def _load(name: str):
    base = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    return load_config(_over(base, yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))))


def test_the_papers_config_is_the_papers_settings():
    config = _load("config/paper.yaml")
    tensorboard = {"mskdex": ExperimentSettings(), "conventional": ExperimentSettings(losses=CONVENTIONAL_LOSSES)}
    for name, expected in tensorboard.items():
        assert config.experiments[name] == expected
    assert (config.image.rows, config.image.columns) == (512, 512)
    assert config.trained_folds == (0, 1, 2, 3)


@pytest.mark.parametrize("name", ["is0", "is0_bone", "is100", "is100_bone", "is1000", "is1000_bone"])
def test_the_ablation_is_the_papers_table(name):
    experiment = _load("config/paper.yaml").experiments[name]
    assert experiment.losses.lambda_is == float(name.removeprefix("is").removesuffix("_bone"))
    assert (experiment.losses.lambda_bone > 0) == name.endswith("_bone")
    assert experiment.optimisation.epochs == 400
    assert experiment.network == ExperimentSettings().network


@pytest.mark.parametrize("name", ["evidence", "ablation"])
def test_the_benchmarks_configs_change_losses_alone(name):
    config = _load(f"benchmarks/learning/{name}.yaml")
    mskdex = config.experiments["mskdex"]
    for name, experiment in config.experiments.items():
        assert experiment.network == mskdex.network, name
        assert experiment.optimisation == mskdex.optimisation, name


def test_the_ablations_cells_leave_their_losses_out():
    cells = _load("benchmarks/learning/ablation.yaml").experiments
    default = cells["mskdex"].losses
    assert cells["is0"].losses == default.model_copy(update={"lambda_is": 0.0, "lambda_bone": 0.0})
    assert cells["is0_bone"].losses == default.model_copy(update={"lambda_is": 0.0})
    assert cells["is"].losses == default.model_copy(update={"lambda_bone": 0.0})
    assert cells["is_tenfold_bone"].losses == default.model_copy(update={"lambda_is": 10 * default.lambda_is})
