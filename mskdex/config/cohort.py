"""Where the patients come from."""

from pydantic import Field

from mskdex.config.base import Settings


class CohortSettings(Settings):
    """The cohort sheet."""

    sheet: str | None = Field(None, description="cohort sheet, TSV or CSV; null synthesises the virtual cohort")
    data_root: str | None = Field(
        None, description="folder that the sheet's paths are relative to and must stay in; null is the sheet's folder"
    )
