"""The settings of a stage from the whole config, as the workflow takes them from it."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mskdex.config import Config
from mskdex.config.base import Settings
from mskdex.config.cohort import CohortSettings
from mskdex.config.imaging import RadiographSettings
from mskdex.config.objects import Channel
from mskdex.config.virtual import VirtualSettings
from mskdex.errors import MskdexError
from mskdex.pipeline import settings as stages
from mskdex.pipeline.workflow import included, left_out_objects, read_cohort, sheet_rows

Model = TypeVar("Model", bound=Settings)

_OF_CONFIG: dict[type[Settings], Callable[[Config], Settings]] = {
    Config: lambda config: config,
    VirtualSettings: lambda config: config.virtual,
    RadiographSettings: lambda config: config.radiograph,
    CohortSettings: stages.identity_stage,
    stages.Anatomy: stages.anatomy_stage,
    stages.CohortStage: stages.cohort_stage,
    stages.SegmentStage: stages.segment_stage,
    stages.FoldsStage: stages.folds_stage,
    stages.RenderStage: stages.render_stage,
    stages.RegisterStage: stages.register_stage,
    stages.CalibrateStage: stages.calibrate_stage,
    stages.SimulateStage: stages.simulate_stage,
    stages.CollectStage: stages.collect_stage,
    stages.EvaluateStage: stages.evaluate_stage,
    stages.QualityStage: lambda config: stages.quality_stage(config, _cohort_channels(config)),
}
"""Stages whose settings follow from the config alone."""

_OF_MORE: dict[type[Settings], tuple[tuple[str, ...], Callable[..., Settings]]] = {
    stages.ImportStage: (("label_source",), stages.import_stage),
    stages.TrainStage: (("experiment", "fold"), stages.train_stage),
    stages.StackStage: (
        ("patient",),
        lambda config, patient: stages.stack_stage(config, _cohort_channels(config), patient),
    ),
}
"""Stages whose settings depend on more: the names of it, in the order in which it is given."""


def settings_of(model: type[Model], config: Config, known: Mapping[str, Any]) -> Model:
    """The settings of a stage.

    Args:
        model: their class.
        config: the whole config.
        known: what they depend on besides; further entries are passed over.

    Raises:
        MskdexError: something that they depend on is not given.
    """
    if model in _OF_CONFIG:
        found = _OF_CONFIG[model](config)
    else:
        names, build = _OF_MORE[model]
        for name in names:
            if known.get(name) is None:
                msg = f"give --{name.replace('_', '-')}: the config alone does not say which is meant"
                raise MskdexError(msg)
        found = build(config, *(known[name] for name in names))
    return model.model_validate(found)


def row_of_sheet(config: Config, patient: str) -> dict[str, Any]:
    """A patient's row of the config's sheet, by column, without missing cells.

    Args:
        config: the whole config; its `cohort.sheet` is read.
        patient: patient_id.

    Raises:
        MskdexError: the sheet has no such patient, or problems.
    """
    rows = sheet_rows(read_cohort(config))
    if patient not in rows:
        msg = f"the cohort sheet has no patient {patient}; it has {', '.join(list(rows)[:10])}"
        raise MskdexError(msg + (", ..." if len(rows) > 10 else ""))
    return rows[patient]


def _cohort_channels(config: Config) -> list[Channel]:
    """The channels that every label source of the cohort has."""
    left_out = left_out_objects(config, included(read_cohort(config)))
    return [c for c in config.channels if c.object not in left_out]
