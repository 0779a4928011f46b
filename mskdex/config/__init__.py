"""The config: frozen models, unknown keys forbidden, units in the names."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from mskdex.anatomy import LABEL_SOURCES, LabelSource
from mskdex.config.base import Settings
from mskdex.config.cohort import CohortSettings
from mskdex.config.evaluation import EvaluationSettings, ReportSettings
from mskdex.config.imaging import CtSettings, ImageSettings, RadiographSettings, RenderingSettings
from mskdex.config.learning import ExperimentSettings, FoldSettings, default_experiments
from mskdex.config.objects import Channel, ObjectSettings, channels, default_objects
from mskdex.config.registration import CalibrationSettings, RegistrationSettings, paired
from mskdex.config.simulation import SimulationSettings
from mskdex.config.virtual import VirtualSettings
from mskdex.errors import MskdexError

__all__ = ["Config", "load_config"]


class Config(Settings):
    """The whole config."""

    cohort: CohortSettings = CohortSettings()
    virtual: VirtualSettings = VirtualSettings()
    objects: tuple[ObjectSettings, ...] = Field(
        default_objects(), min_length=1, description="what the radiograph is decomposed into"
    )
    label_sources: dict[str, LabelSource] = Field(
        LABEL_SOURCES, description="label ids of each source: [left, right] of a paired object, [id] of another"
    )
    ct: CtSettings = CtSettings()
    radiograph: RadiographSettings = RadiographSettings()
    image: ImageSettings = ImageSettings()
    rendering: RenderingSettings = RenderingSettings()
    registration: RegistrationSettings = RegistrationSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    simulation: SimulationSettings = SimulationSettings()
    folds: FoldSettings = FoldSettings()
    experiments: dict[str, ExperimentSettings] = Field(
        default_experiments(),
        min_length=1,
        description="named experiments; these suit two CPU cores, config/paper.yaml has the paper's settings",
    )
    evaluation: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()

    @field_validator("label_sources", mode="before")
    @classmethod
    def _add_to_the_known_sources(cls, value: Any) -> Any:
        return {**LABEL_SOURCES, **value} if isinstance(value, dict) else value

    @field_validator("experiments")
    @classmethod
    def _names_of_folders(cls, value: dict[str, ExperimentSettings]) -> dict[str, ExperimentSettings]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
                msg = (
                    f"{name!r} cannot name an experiment, whose folder it names; allowed are letters, digits, '_' and "
                    "'-', at most 64, the first a letter or digit"
                )
                raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        names = [item.name for item in self.objects]
        if twice := {n for n in names if names.count(n) > 1}:
            msg = f"objects: {', '.join(sorted(twice))} named twice; each object has one entry"
            raise ValueError(msg)
        bodies = {body.name for body in self.registration.bodies}
        for item in self.objects:
            if item.body and item.body not in bodies:
                known = ", ".join(sorted(bodies))
                msg = f"object {item.name}: body {item.body} is not among registration.bodies ({known})"
                raise ValueError(msg)
        for fold in self.trained_folds:
            if not 0 <= fold < self.folds.count:
                msg = f"folds.train: there is no fold {fold}; folds are numbered 0 to {self.folds.count - 1}"
                raise ValueError(msg)
        for name, experiment in self.experiments.items():
            for fold in experiment.folds:
                if not 0 <= fold < self.folds.count:
                    msg = f"experiments.{name}.folds.{fold}: folds are numbered 0 to {self.folds.count - 1}"
                    raise ValueError(msg)
                experiment.of_fold(fold)
        return self

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every object of every side, in order."""
        return channels(self.objects, frozenset(paired(self.registration.bodies)))

    @property
    def trained_folds(self) -> tuple[int, ...]:
        """The folds to train and evaluate."""
        return tuple(range(self.folds.count)) if self.folds.train == "all" else self.folds.train


def load_config(content: dict) -> Config:
    """Validates a config as read from YAML.

    Raises:
        MskdexError: lists every key that is unknown or out of range, with its path in the file.
    """
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise MskdexError("config.yaml: " + "; ".join(_sentence(e) for e in error.errors())) from None


def _sentence(error: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key {where}; remove it or correct its spelling"
    value = "" if isinstance(error.get("input"), dict) else f" (it is {error.get('input')!r})"
    return f"{where}: {error['msg'].removeprefix('Value error, ')}{value}"
