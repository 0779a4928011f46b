"""Evaluation and the report."""

from pydantic import Field

from mskdex.config.base import Settings


class EvaluationSettings(Settings):
    """Agreement statistics."""

    bootstrap_samples: int = Field(2000, ge=100, description="patient-bootstrap resamples of each confidence interval")
    seed: int = Field(0, ge=0, description="seed of the bootstrap")
    proposed: str = Field("mskdex", description="experiment compared with the baseline in the tests")
    baseline: str = Field("conventional", description="experiment that it is compared with")


class ReportSettings(Settings):
    """The HTML report."""

    title: str = Field("MSKdeX: muscle and bone from a plain X-ray", description="title of the report")
