"""Where the patients come from."""

from typing import Literal, Self

from pydantic import Field, model_validator

from mskdex.config.base import NO_RESULT, Settings


class CohortSettings(Settings):
    """The cohort sheet and the check of segmentations."""

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
    segmenter: Literal["totalsegmentator", "musclemap", "command"] | None = Field(
        None,
        description="what segments the CTs whose labels the sheet leaves blank: totalsegmentator, musclemap or "
        "command; null refuses them",
        json_schema_extra=NO_RESULT,
    )
    segmenter_device: str = Field(
        "gpu",
        pattern=r"^(cpu|mps|gpu(:\d+)?)$",
        description="device that the segmenter runs on: gpu, gpu:i, cpu or, with totalsegmentator, mps",
        json_schema_extra=NO_RESULT,
    )
    segmenter_command: tuple[str, ...] = Field(
        (),
        description="of segmenter command: the program and its arguments as a list, with {ct} (NIfTI to read) and "
        "{out} (label map to write, .nii.gz); no shell sees it",
        json_schema_extra=NO_RESULT,
    )
    segmenter_labels: str | None = Field(
        None,
        description="of segmenter command: JSON of the label map's names and ids",
        json_schema_extra=NO_RESULT,
    )
    segmenter_flips: bool = Field(
        False,
        description="segment each CT a second time mirrored, and tell how far both agree; doubles the time",
        json_schema_extra=NO_RESULT,
    )
    flag_flip_dice: float = Field(
        0.8,
        ge=0,
        le=1,
        description="a segmentation is flagged when its Dice coefficient with that of the mirrored CT is below this",
        json_schema_extra=NO_RESULT,  # of the cohort; the quality check has it as a key of its own
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
        json_schema_extra=NO_RESULT,  # of the cohort; the quality check has it as a key of its own
    )

    @model_validator(mode="after")
    def _command_is_whole(self) -> Self:
        if self.segmenter == "command":
            text = " ".join(self.segmenter_command[1:])
            if "{ct}" not in text or "{out}" not in text:
                msg = "segmenter_command needs a program and arguments with {ct} and {out}"
                raise ValueError(msg)
            if not self.segmenter_labels:
                msg = "segmenter command needs segmenter_labels, the JSON of its label map's names and ids"
                raise ValueError(msg)
        if self.segmenter_device == "mps" and self.segmenter == "musclemap":
            msg = "segmenter_device: musclemap runs on gpu, gpu:i or cpu"
            raise ValueError(msg)
        return self
