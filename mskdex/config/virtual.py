"""Virtual patients: the default cohort."""

from pydantic import Field

from mskdex.config.base import Settings


class VirtualSettings(Settings):
    """The virtual cohort that is synthesised when no cohort sheet is given."""

    patients: int = Field(40, ge=2, le=100_000, description="number of virtual patients")
    seed: int = Field(
        2023, ge=0, description="seed; each patient's randomness follows from it and the patient's number"
    )
    voxel_mm: float = Field(3.0, gt=0.5, le=6.0, description="voxel size of the virtual CTs")
    radiograph_pixel_mm: float = Field(
        0.8, gt=0.1, le=4.0, description="detector pixel size of the virtual radiographs"
    )
    atlas: str | None = Field(
        None, description="folder with labels.nii.gz and labels.json; null is the built-in anatomy"
    )
