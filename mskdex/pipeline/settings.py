"""What each stage is told: the sections of the config that it uses, and nothing else.

Snakemake keeps these as a rule's params, so a change of the config reruns exactly the stages that see it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from mskdex.anatomy import LabelSource
from mskdex.config import Config
from mskdex.config.base import NO_RESULT, Settings
from mskdex.config.cohort import CohortSettings
from mskdex.config.evaluation import EvaluationSettings
from mskdex.config.imaging import CtSettings, ImageSettings, RadiographSettings, RenderingSettings
from mskdex.config.learning import ExperimentSettings
from mskdex.config.objects import Channel, ObjectSettings, channels, default_objects
from mskdex.config.registration import (
    BodySettings,
    CalibrationSettings,
    RegistrationSettings,
    default_bodies,
    paired,
)
from mskdex.config.simulation import SimulationSettings
from mskdex.config.virtual import VirtualSettings
from mskdex.errors import MskdexError
from mskdex.imaging.label_json import read_names
from mskdex.imaging.label_names import ids_of_channels

DEMOGRAPHICS = ("sex", "age", "height_cm", "weight_kg", "affected_side", "exclude", "exclude_reason")
"""Columns of the sheet that only the evaluation sees."""

PERSONS = ("same_patient_as", "person", "use")
"""Columns that only the folds and the search for patients twice in the cohort see."""


class Anatomy(Settings):
    """Objects, and which of the bodies exist once per side: what the channels follow from."""

    objects: tuple[ObjectSettings, ...] = default_objects()
    paired_bodies: tuple[str, ...] = paired(default_bodies())

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every object of every side, in the config's order."""
        return channels(self.objects, frozenset(self.paired_bodies))


class CohortStage(Anatomy):
    """Settings of the cohort's summary.

    Attributes:
        left_out: objects that not every label source in use has, each with those that lack it; None where that is
            still to be found out.
    """

    label_sources: dict[str, LabelSource]
    cohort: CohortSettings = CohortSettings()
    left_out: dict[str, tuple[str, ...]] | None = None


class QualityStage(Anatomy):
    """Settings of the check of segmentations."""

    cohort_objects: tuple[str, ...]
    flag_robust_z: float
    flag_flip_dice: float = CohortSettings().flag_flip_dice

    @property
    def cohort_channels(self) -> tuple[Channel, ...]:
        """The channels of the objects that the whole cohort has."""
        return tuple(c for c in self.channels if c.object in self.cohort_objects)


class SegmentStage(Settings):
    """Settings of the segmentation of CTs without labels."""

    ct: CtSettings = CtSettings()
    segmenter: str
    command: tuple[str, ...] = ()
    names: dict[str, tuple[int, ...]] = Field({})
    channel_ids: dict[str, tuple[int, ...]] = Field({})
    flips: bool = False
    device: str = Field(json_schema_extra=NO_RESULT)


class FoldsStage(Settings):
    """Settings of the assignment of patients to folds; which of them are trained does not change it."""

    cohort: CohortSettings = CohortSettings()
    count: int
    seed: int


class ImportStage(Anatomy):
    """Settings of a patient's import; of the label sources, only the patient's own."""

    label_sources: dict[str, LabelSource]
    ct: CtSettings = CtSettings()
    radiograph: RadiographSettings = RadiographSettings()


class RenderStage(Anatomy):
    """Settings of rendering, at the nominal and at the registered pose."""

    image: ImageSettings = ImageSettings()
    rendering: RenderingSettings = RenderingSettings()


class RegisterStage(Anatomy):
    """Settings of the registration."""

    registration: RegistrationSettings = RegistrationSettings()
    rendering: RenderingSettings = RenderingSettings()


class CalibrateStage(Anatomy):
    """Settings of the comparison of grey values with the CT."""

    calibration: CalibrationSettings = CalibrationSettings()


class SimulateStage(Anatomy):
    """Settings of the pairs that are made from a patient's own CT."""

    simulation: SimulationSettings = SimulationSettings()
    bodies: tuple[BodySettings, ...] = default_bodies()
    image: ImageSettings = ImageSettings()
    rendering: RenderingSettings = RenderingSettings()


class StackStage(Anatomy):
    """Settings of a patient's training sample."""

    cohort_objects: tuple[str, ...]
    image: ImageSettings = ImageSettings()
    min_visible_fraction: float = 0.0
    correct: bool = False
    kept_because: str | None = None

    @property
    def cohort_channels(self) -> tuple[Channel, ...]:
        """The channels of the objects that the whole cohort has."""
        return tuple(c for c in self.channels if c.object in self.cohort_objects)


class CollectStage(Settings):
    """Settings of the tables of the whole cohort: pairs that are kept though the registration refuses them, and why."""

    kept_pairs: dict[str, str] = Field(default_factory=dict)


class TrainStage(Settings):
    """Settings of one fold of an experiment, its overrides applied."""

    name: str
    fold: int
    experiment: ExperimentSettings


class EvaluateStage(Settings):
    """Settings of the evaluation."""

    experiments: tuple[str, ...]
    folds: tuple[int, ...]
    virtual: bool = False
    evaluation: EvaluationSettings = EvaluationSettings()


def anatomy_stage(config: Config) -> Anatomy:
    """Settings of the stages that need the channels alone."""
    return Anatomy(**_anatomy(config))


def synthesize_stage(config: Config) -> VirtualSettings:
    """Settings of one virtual patient, whom the number of patients and verdicts on them do not change."""
    return config.virtual.model_copy(update={"patients": VirtualSettings().patients, "exclude": {}})


def cohort_stage(config: Config, left_out: Mapping[str, tuple[str, ...]] | None = None) -> CohortStage:
    """Settings of the cohort's summary, with the objects that are left out where they are known."""
    known = None if left_out is None else dict(left_out)
    return CohortStage(**_anatomy(config), label_sources=config.label_sources, cohort=config.cohort, left_out=known)


def quality_stage(config: Config, cohort_channels: Sequence[Channel]) -> QualityStage:
    """Settings of the check of segmentations."""
    objects = tuple(dict.fromkeys(c.object for c in cohort_channels))
    return QualityStage(
        **_anatomy(config),
        cohort_objects=objects,
        flag_robust_z=config.cohort.flag_robust_z,
        flag_flip_dice=config.cohort.flag_flip_dice,
    )


def segment_stage(config: Config) -> SegmentStage:
    """Settings of the segmentation of CTs without labels."""
    cohort = config.cohort
    chosen = cohort.segmenter or "totalsegmentator"
    names = segmenter_names(cohort)
    source = config.label_sources.get(chosen)
    return SegmentStage(
        ct=config.ct,
        segmenter=chosen,
        command=cohort.segmenter_command if chosen == "command" else (),
        names=names,
        channel_ids=ids_of_channels(config.channels, source, names) if cohort.segmenter_flips else {},
        flips=cohort.segmenter_flips,
        device=cohort.segmenter_device,
    )


def segmenter_names(cohort: CohortSettings) -> dict[str, tuple[int, ...]]:
    """Ids by name of the label maps that the user's own command makes; none for the other segmenters.

    Raises:
        MskdexError: the file of names cannot be read.
    """
    if cohort.segmenter != "command" or not cohort.segmenter_labels:
        return {}
    path = Path(cohort.segmenter_labels)
    if not path.is_file():
        msg = f"cohort.segmenter_labels: {path} does not exist; give the JSON of the label map's names and ids"
        raise MskdexError(msg)
    return read_names(path)


def identity_stage(config: Config) -> CohortSettings:
    """Settings of the search for patients who are in the cohort twice: how the sheet is read."""
    cohort = config.cohort
    of_segmenter = {name: getattr(cohort, name) for name in ("segmenter", "segmenter_command", "segmenter_labels")}
    return CohortSettings(data_root=cohort.data_root, **of_segmenter)


def folds_stage(config: Config) -> FoldsStage:
    """Settings of the folds."""
    return FoldsStage(cohort=config.cohort, count=config.folds.count, seed=config.folds.seed)


def import_stage(config: Config, label_source: str) -> ImportStage:
    """Settings of the import of a patient whose labels come from `label_source`."""
    sources = {k: v for k, v in config.label_sources.items() if k == label_source}
    return ImportStage(**_anatomy(config), label_sources=sources, ct=config.ct, radiograph=config.radiograph)


def render_stage(config: Config) -> RenderStage:
    """Settings of rendering."""
    return RenderStage(**_anatomy(config), image=config.image, rendering=config.rendering)


def register_stage(config: Config) -> RegisterStage:
    """Settings of the registration."""
    return RegisterStage(**_anatomy(config), registration=config.registration, rendering=config.rendering)


def calibrate_stage(config: Config) -> CalibrateStage:
    """Settings of the comparison of grey values with the CT; whether they are corrected is the stack's."""
    limits = config.calibration.model_copy(update={"correct": CalibrationSettings().correct})
    return CalibrateStage(**_anatomy(config), calibration=limits)


def simulate_stage(config: Config) -> SimulateStage:
    """Settings of the pairs that are made from a patient's own CT."""
    return SimulateStage(
        **_anatomy(config),
        simulation=config.simulation,
        bodies=config.registration.bodies,
        image=config.image,
        rendering=config.rendering,
    )


def stack_stage(config: Config, cohort_channels: Sequence[Channel], patient: str | None = None) -> StackStage:
    """Settings of a patient's training sample, of the channels that the whole cohort has."""
    return StackStage(
        **_anatomy(config),
        cohort_objects=tuple(dict.fromkeys(c.object for c in cohort_channels)),
        image=config.image,
        min_visible_fraction=config.evaluation.min_visible_fraction,
        correct=config.calibration.correct,
        kept_because=config.cohort.keep_pairs.get(patient or ""),
    )


def collect_stage(config: Config) -> CollectStage:
    """Settings of the tables of the whole cohort."""
    return CollectStage(kept_pairs=config.cohort.keep_pairs)


def train_stage(config: Config, name: str, fold: int) -> TrainStage:
    """Settings of one fold of an experiment."""
    if name not in config.experiments:
        msg = f"no experiment {name}; config.yaml has {', '.join(config.experiments)}"
        raise MskdexError(msg)
    return TrainStage(name=name, fold=fold, experiment=config.experiments[name].of_fold(fold))


def evaluate_stage(config: Config) -> EvaluateStage:
    """Settings of the evaluation."""
    return EvaluateStage(
        experiments=tuple(config.experiments),
        folds=config.trained_folds,
        virtual=config.cohort.sheet is None,
        evaluation=config.evaluation,
    )


def _anatomy(config: Config) -> dict[str, Any]:
    return {"objects": config.objects, "paired_bodies": paired(config.registration.bodies)}
