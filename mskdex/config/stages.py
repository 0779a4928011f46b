"""What each stage is told: the sections of the config that it uses, and nothing else.

Snakemake keeps these as a rule's params, so a change of the config reruns exactly the stages that see it.
"""

from mskdex.config import Config
from mskdex.config.base import Settings
from mskdex.config.cohort import CohortSettings
from mskdex.config.evaluation import EvaluationSettings
from mskdex.config.imaging import CtSettings, ImageSettings, LabelSource, RadiographSettings, RenderingSettings
from mskdex.config.learning import ExperimentSettings, FoldSettings
from mskdex.config.objects import Channel
from mskdex.config.registration import RegistrationSettings
from mskdex.errors import MskdexError

DEMOGRAPHICS = ("sex", "age", "height_cm", "weight_kg", "exclude", "exclude_reason")
"""Columns of the sheet that only the evaluation sees."""


class CohortStage(Settings):
    """Settings of the cohort's summary."""

    channels: tuple[Channel, ...]
    label_sources: dict[str, LabelSource]
    cohort: CohortSettings


class ImportStage(Settings):
    """Settings of a patient's import."""

    channels: tuple[Channel, ...]
    label_sources: dict[str, LabelSource]
    ct: CtSettings
    radiograph: RadiographSettings


class QuantitiesStage(Settings):
    """Settings of the ground truth."""

    channels: tuple[Channel, ...]


class RenderStage(Settings):
    """Settings of rendering, at the nominal and at the registered pose."""

    channels: tuple[Channel, ...]
    image: ImageSettings
    rendering: RenderingSettings


class RegisterStage(Settings):
    """Settings of the registration."""

    channels: tuple[Channel, ...]
    registration: RegistrationSettings
    rendering: RenderingSettings


class StackStage(Settings):
    """Settings of a patient's training sample; the channels are those that the whole cohort has."""

    channels: tuple[Channel, ...]
    image: ImageSettings


class FoldsStage(Settings):
    """Settings of the assignment of patients to folds."""

    cohort: CohortSettings
    folds: FoldSettings


class TrainStage(Settings):
    """Settings of one fold's training."""

    name: str
    fold: int
    experiment: ExperimentSettings


class EvaluateStage(Settings):
    """Settings of the evaluation."""

    experiments: tuple[str, ...]
    folds: tuple[int, ...]
    evaluation: EvaluationSettings


def cohort_stage(config: Config) -> CohortStage:
    """Settings of the cohort's summary."""
    return CohortStage(channels=config.channels, label_sources=config.label_sources, cohort=config.cohort)


def import_stage(config: Config, label_source: str) -> ImportStage:
    """Settings of the import of a patient whose labels come from `label_source`."""
    sources = {k: v for k, v in config.label_sources.items() if k == label_source}
    return ImportStage(channels=config.channels, label_sources=sources, ct=config.ct, radiograph=config.radiograph)


def quantities_stage(config: Config) -> QuantitiesStage:
    """Settings of the ground truth."""
    return QuantitiesStage(channels=config.channels)


def render_stage(config: Config) -> RenderStage:
    """Settings of rendering."""
    return RenderStage(channels=config.channels, image=config.image, rendering=config.rendering)


def register_stage(config: Config) -> RegisterStage:
    """Settings of the registration."""
    return RegisterStage(channels=config.channels, registration=config.registration, rendering=config.rendering)


def stack_stage(config: Config, channels: tuple[Channel, ...]) -> StackStage:
    """Settings of a patient's training sample."""
    return StackStage(channels=channels, image=config.image)


def folds_stage(config: Config) -> FoldsStage:
    """Settings of the folds; which of them are trained does not change the assignment."""
    return FoldsStage(cohort=config.cohort, folds=config.folds.model_copy(update={"train": "all"}))


def train_stage(config: Config, name: str, fold: int) -> TrainStage:
    """Settings of one fold of an experiment, its overrides applied."""
    if name not in config.experiments:
        msg = f"no experiment {name}; config.yaml has {', '.join(config.experiments)}"
        raise MskdexError(msg)
    return TrainStage(name=name, fold=fold, experiment=config.experiments[name].of_fold(fold))


def evaluate_stage(config: Config) -> EvaluateStage:
    """Settings of the evaluation."""
    return EvaluateStage(
        experiments=tuple(config.experiments), folds=config.trained_folds, evaluation=config.evaluation
    )
