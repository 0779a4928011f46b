"""Import of CT, labels and radiographs, and the grid that images are learned on."""

from typing import Literal

from pydantic import Field

from mskdex.config.base import NO_RESULT, Settings


class CtSettings(Settings):
    """How CTs and label maps are imported."""

    spacing_mm: float | None = Field(
        None, gt=0, description="isotropic spacing to resample CTs to; null keeps the native grid"
    )
    resample_uneven_slices: bool = Field(
        False, description="resample a DICOM series with uneven slice distances to even ones, instead of refusing it"
    )
    resample_tilted: bool = Field(
        False,
        description="resample a CT of a tilted gantry, and labels on its grid, to axes at right angles, instead of "
        "refusing it",
    )
    resample_labels: bool = Field(
        False,
        description="resample labels that lie on another grid than the CT (nearest voxel), instead of refusing them",
    )
    min_bone_median_hu: float = Field(
        100.0, description="a bone label whose median HU is below this is refused: flipped, shifted or wrongly named"
    )
    max_muscle_median_hu: float = Field(
        200.0, description="a muscle label whose median HU is above this, or below its negative, is refused"
    )
    min_volume_ratio: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="a structure whose volume is less than this times its usual one is refused; 0 for none",
    )
    max_volume_ratio: float | None = Field(
        10.0,
        gt=1,
        description="a structure whose volume is more than this times its usual one is refused; null for none",
    )
    max_noise_hu: float | None = Field(
        None,
        ge=5,
        description="muscles of a CT whose noise is above this, SD in HU, are smoothed to it, each within its label; "
        "noise lowers lean mass, by 0.8 % at 15 HU and 5 % at 30 HU; null leaves every CT as it is",
    )
    max_megavoxels: float = Field(
        800.0,
        gt=0,
        description="a header that claims more million voxels than this is refused before memory is taken",
        json_schema_extra=NO_RESULT,
    )


class RadiographSettings(Settings):
    """How radiographs are imported; a camera value here is used where neither tag nor sheet has it."""

    intensity: Literal["auto", "linear", "log", "processed"] = Field(
        "auto",
        description="grey values proportional to exposure (linear), to its log, or processed for display; auto goes "
        "by tags",
    )
    grey_increases_with: Literal["auto", "exposure", "attenuation"] = Field(
        "auto",
        description="what a higher stored grey value means; auto: by the tag of its sign, then MONOCHROME1 or 2",
    )
    voi: Literal["auto", "apply", "ignore"] = Field(
        "auto",
        description="VOI LUT before the log; auto applies the LUT of an image FOR PRESENTATION, never a window",
    )
    air_grey: float | None = Field(
        None,
        description="grey value of the unattenuated beam; null takes the most exposed percent of the field for air",
    )
    log_decades: float | None = Field(
        None,
        gt=0,
        le=20,
        description="decades of exposure that the full grey range of a log image spans, where RescaleType does not "
        "say it; null: unknown, the image is taken as processed",
    )
    sdd_mm: float | None = Field(None, gt=0, description="distance from source to detector")
    source_to_isocentre_mm: float | None = Field(
        None, gt=0, description="distance from source to the middle of the patient"
    )
    half_thickness_mm: float = Field(
        100.0,
        ge=0,
        le=400,
        description="from the table's or support's side of the patient, which DistanceSourceToPatient is measured to, "
        "to the patient's middle",
    )
    isocentre_to_detector_mm: float = Field(
        150.0,
        ge=0,
        description="distance from the middle of the patient to the detector, where the distances above are nowhere",
    )
    pixel_mm: float | None = Field(None, gt=0, description="detector pixel size")
    view: Literal["AP", "PA"] = Field("AP", description="direction of the beam")
    orientation: str = Field(
        "LF",
        pattern=r"^([LR][FH]|[FH][LR])$",
        description="where rows, then columns, of the stored image point to in the patient: L or R, F(oot) or H(ead)",
    )
    mask_markers: bool = Field(True, description="mask lead letters and burnt-in annotations at the edge of the field")
    hide_text_in_pictures: bool = Field(
        False,
        description="paint over what is outside the exposed field, burnt-in text that was found included, so that no "
        "picture shows it",
    )
    working_pixel_mm: float | None = Field(
        0.8, gt=0, description="radiographs are averaged down to this pixel size; null keeps the native one"
    )
    max_megapixels: float = Field(
        100.0,
        gt=0,
        description="a header that claims more million pixels than this is refused before memory is taken",
        json_schema_extra=NO_RESULT,
    )


class ImageSettings(Settings):
    """The detector grid on which DRRs are rendered and networks learn."""

    rows: int = Field(128, ge=16, le=2048, description="rows of pixels")
    columns: int = Field(128, ge=16, le=2048, description="columns of pixels")
    pixel_mm: float = Field(3.36, gt=0, description="pixel size on the detector")


class RenderingSettings(Settings):
    """The object-wise renderer."""

    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto, cpu, cuda or cuda:i",
        json_schema_extra=NO_RESULT,
    )
    step_mm: float = Field(1.0, gt=0, le=5, description="step of the march along each ray")
