"""Where the patients come from."""

from pydantic import Field

from mskdex.config.base import NO_RESULT, Settings


class CohortSettings(Settings):
    """The cohort sheet and the gate that segmentations pass."""

    sheet: str | None = Field(
        None,
        description="cohort sheet, TSV or CSV; null synthesises the virtual cohort",
        json_schema_extra=NO_RESULT,
    )
    data_root: str | None = Field(
        None,
        description="folder that the sheet's paths are relative to and must stay in; null is the sheet's folder",
        json_schema_extra=NO_RESULT,
    )
    segment: bool = Field(
        False,
        description="run TotalSegmentator on the CTs whose labels the sheet leaves blank, instead of refusing them",
        json_schema_extra=NO_RESULT,
    )
    segment_device: str = Field(
        "gpu",
        pattern=r"^(cpu|mps|gpu(:\d+)?)$",
        description="device that TotalSegmentator runs on: gpu, gpu:i, cpu or mps",
        json_schema_extra=NO_RESULT,
    )
    keep_pairs: dict[str, str] = Field(
        {},
        description="patients, each with the reason, who count although the registration finds that radiograph and "
        "CT do not belong together",
        json_schema_extra=NO_RESULT,  # of the cohort; the patient's stack and the tables have it as keys of their own
    )
    flag_robust_z: float = Field(
        3.5,
        gt=0,
        description="a segmentation is flagged when a robust z-score against the cohort is beyond this",
        json_schema_extra=NO_RESULT,  # of the cohort; the gate has it as a key of its own
    )
