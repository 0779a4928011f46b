"""Evaluation and the report."""

from collections.abc import Iterable

from pydantic import Field

from mskdex.config.base import NO_RESULT, Settings
from mskdex.errors import MskdexError


class EvaluationSettings(Settings):
    """Agreement statistics."""

    bootstrap_samples: int = Field(2000, ge=100, description="patient-bootstrap resamples of each confidence interval")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="confidence of the intervals")
    seed: int = Field(0, ge=0, description="seed of the bootstrap")
    proposed: str = Field("mskdex_simulated", description="experiment compared with the baseline in the tests")
    baseline: str = Field("conventional", description="experiment that it is compared with")
    min_visible_fraction: float = Field(
        0.8,
        ge=0,
        le=1,
        description="an object with a smaller fraction of its mass inside the exposed field counts in neither training "
        "nor evaluation",
    )
    thumbnail_pixels: int = Field(
        16, ge=2, le=64, description="rows and columns of the radiograph's thumbnail that the ridge regression sees"
    )
    low_muscle_z: float = Field(
        -1.0, lt=0, description="hip muscle is low below this z-score of the training patients of the same sex"
    )
    specificity: float = Field(
        0.9, gt=0, lt=1, description="specificity at which the sensitivity for low muscle is given"
    )
    tuning_folds: tuple[int, ...] = Field(
        (), description="folds that loss weights were chosen on; they enter no table of results, only the ablation"
    )
    comparators: dict[str, str] = Field(
        {},
        description="further methods: name and table (CSV, TSV, Parquet: patient, object, quantity, predicted, truth)",
        json_schema_extra=NO_RESULT,
    )

    def with_comparators(self, tables: Iterable[str]) -> "EvaluationSettings":
        """The same settings with further methods, each given as NAME=TABLE.

        Raises:
            MskdexError: one is not of that form.
        """
        comparators = dict(self.comparators)
        for text in tables:
            name, _, path = text.partition("=")
            if not name or not path:
                msg = f"--comparator {text}: write NAME=TABLE, e.g. another=predictions.csv"
                raise MskdexError(msg)
            comparators[name] = path
        return self.model_copy(update={"comparators": comparators})


class ReportSettings(Settings):
    """The HTML report."""

    title: str = Field("MSKdeX: muscle and bone from a plain X-ray", description="title of the report")
    notice: str | None = Field(None, description="a sentence to print on top of the report, e.g. where it may be shown")
    image_pixels: int = Field(
        128, ge=32, le=1024, description="DRRs are shown with at most this many pixels along the longer side"
    )
    patient_pages: bool = Field(True, description="whether each patient gets a page")
