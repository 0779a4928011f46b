"""The config: defaults, overrides, and errors that say what to do."""

from pathlib import Path

import pytest
import yaml

from mskdex.config import Config, load_config
from mskdex.config.base import of_results
from mskdex.config.documentation import DOCUMENTS, default_yaml
from mskdex.errors import MskdexError
from mskdex.pipeline.settings import (
    anatomy_stage,
    cohort_stage,
    evaluate_stage,
    folds_stage,
    import_stage,
    quality_stage,
    register_stage,
    render_stage,
    segment_stage,
    stack_stage,
    synthesize_stage,
    train_stage,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("what", "path"), [("yaml", "config.yaml"), ("schema", "docs/config.schema.json"), ("table", "docs/config.md")]
)
def test_generated_files_have_not_drifted(what, path):
    assert (ROOT / path).read_text(encoding="utf-8") == DOCUMENTS[what](), f"run: mskdex config {what} > {path}"


def test_default_yaml_is_the_default_config():
    assert load_config(yaml.safe_load(default_yaml())) == Config()


def test_every_key_has_a_description():
    assert "meaning |" in DOCUMENTS["table"]()
    undocumented = [line for line in default_yaml().splitlines() if line.endswith("null") or "None" in line]
    assert undocumented == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"imgae": {}}, "unknown key imgae"),
        ({"image": {"rows": 96, "colums": 96}}, "unknown key image.colums"),
        ({"image": {"rows": 3}}, "image.rows"),
        ({"folds": {"train": [4]}}, "folds are numbered 0 to 3"),
        ({"experiments": {"mskdex": {"folds": {2: {"losses": {"lambda_iss": 1}}}}}}, "lambda_iss"),
        ({"experiments": {"mskdex": {"folds": {9: {}}}}}, "folds are numbered 0 to 3"),
        ({"objects": [{"name": "femur", "kind": "bone", "body": "leg"}]}, "body leg is not among"),
        ({"objects": [{"name": "a", "kind": "muscle"}, {"name": "a", "kind": "muscle"}]}, "named twice"),
        ({"objects": [{"name": "a", "kind": "muscle", "body": "pelvis"}]}, "only a bone can have a body"),
    ],
)
def test_errors_name_the_key(content, sentence):
    with pytest.raises(MskdexError, match=sentence):
        load_config(content)


def test_channels_are_numbered_in_order_left_before_right():
    channels = Config().channels
    assert [c.label for c in channels] == list(range(1, len(channels) + 1))
    names = [c.name for c in channels]
    assert names[:2] == ["gluteus_maximus_left", "gluteus_maximus_right"]
    assert "sacrum" in names
    bodies = {c.name: c.body for c in channels}
    assert bodies["femur_left"] == "femur_left"
    assert bodies["sacrum"] == bodies["pelvis_right"] == "pelvis"


def test_own_label_source_stands_beside_the_known_ones():
    config = load_config({"label_sources": {"mine": {"femur": [7, 8]}}})
    assert config.label_sources["mine"]["femur"] == (7, 8)
    assert "totalsegmentator" in config.label_sources
    assert set(import_stage(config, "mine").label_sources) == {"mine"}


def test_an_override_reaches_its_fold_alone():
    content = {"experiments": {"mskdex": {"folds": {"2": {"losses": {"lambda_is": 7}}}}}}
    changed, default = load_config(content), load_config({"experiments": {"mskdex": {}}})
    assert train_stage(changed, "mskdex", 2).experiment.losses.lambda_is == 7
    assert train_stage(changed, "mskdex", 1) == train_stage(default, "mskdex", 1)


def test_a_stage_sees_only_its_sections():
    other = load_config({"virtual": {"seed": 5}, "report": {"title": "x"}, "folds": {"seed": 3}})
    assert register_stage(other) == register_stage(Config())


def test_brief_settings_read_back_as_the_whole_ones():
    content = {
        "objects": [{"name": "tibia", "kind": "bone", "body": "shin", "bone_loss": True}],
        "registration": {"bodies": [{"name": "shin", "paired": True}], "attempts": 2},
        "label_sources": {"mine": {"tibia": [3, 4]}},
        "experiments": {"a": {"losses": {"lambda_is": 0}, "optimisation": {"augmentation": {"shear_deg": 1}}}},
    }
    for config in (Config(), load_config(content)):
        found = [anatomy_stage(config), cohort_stage(config), import_stage(config, "mine"), render_stage(config)]
        found += [register_stage(config), stack_stage(config, config.channels), evaluate_stage(config), config]
        found += [train_stage(config, name, 0) for name in config.experiments]
        for settings in found:
            text = settings.model_dump_json(exclude_defaults=True)
            assert type(settings).model_validate_json(text) == settings


def test_unknown_experiment_is_an_error():
    with pytest.raises(MskdexError, match="no experiment nope"):
        train_stage(Config(), "nope", 0)


@pytest.mark.parametrize(
    "name", ["no bone", "is+bone", "`touch x`", "$(x)", "a/b", "..", "-a", "", "ü", "a\n", "a" * 65]
)
def test_an_experiment_is_named_as_its_folder_is(name):
    with pytest.raises(MskdexError, match=r"cannot name an experiment.*allowed are letters, digits, '_' and '-'"):
        load_config({"experiments": {name: {}}})
    assert list(load_config({"experiments": {"is100_no-Bone": {}}}).experiments) == ["is100_no-Bone"]


def compared(content):
    """What every stage is compared by, of a config."""
    config = load_config(content)
    found = config.channels
    return {
        "synthesize": of_results(synthesize_stage(config)),
        "cohort": of_results(cohort_stage(config)),
        "folds": of_results(folds_stage(config)),
        "segment": of_results(segment_stage(config)),
        "import": of_results(import_stage(config, "totalsegmentator")),
        "quality": of_results(quality_stage(config, found)),
        "anatomy": of_results(anatomy_stage(config)),
        "render": of_results(render_stage(config)),
        "register": of_results(register_stage(config)),
        "stack": of_results(stack_stage(config, found)),
        "train": of_results(train_stage(config, "mskdex", 2)),
        "evaluate": of_results(evaluate_stage(config)),
        "report": of_results(config),
    }


@pytest.mark.parametrize(
    ("path", "value", "stages"),
    [
        ("cohort.sheet", "another.tsv", {"evaluate"}),  # true images are looked for beside virtual patients alone
        ("cohort.data_root", "elsewhere", set()),
        ("cohort.segmenter", "musclemap", {"segment"}),
        ("cohort.segmenter_flips", True, {"segment"}),
        ("cohort.flag_flip_dice", 0.9, {"quality"}),
        ("cohort.segmenter_device", "cpu", set()),
        ("cohort.flag_robust_z", 2.0, {"quality"}),
        ("ct.max_megavoxels", 1.0, set()),
        ("radiograph.max_megapixels", 1.0, set()),
        ("rendering.device", "cpu", set()),
        ("registration.starts", "starts", set()),
        ("virtual.atlas", "atlas", set()),
        ("evaluation.comparators", {"a": "a.csv"}, set()),
        ("experiments.mskdex.optimisation.tensorboard", False, set()),
        ("experiments.mskdex.optimisation.cache_gb", 1.0, set()),
        ("experiments.mskdex.optimisation.checkpoint_minutes", 1.0, set()),
        ("experiments.mskdex.optimisation.seed", 1, {"train", "report"}),
        ("rendering.step_mm", 2.0, {"render", "register", "report"}),
        ("ct.min_bone_median_hu", 50.0, {"segment", "import", "report"}),
    ],
)
def test_a_key_reruns_the_stages_whose_results_it_changes(path, value, stages):
    content = {"experiments": {"mskdex": {}}}
    before = compared(content)
    *sections, key = path.split(".")
    section = content
    for name in sections:
        section = section.setdefault(name, {})
    section[key] = value
    after = compared(content)
    assert {stage for stage in after if after[stage] != before[stage]} == stages
