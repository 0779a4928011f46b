"""Import of CT, labels and radiographs, and the grid that images are learned on."""

from typing import Literal

from pydantic import Field

from mskdex.config.base import Settings


class CtSettings(Settings):
    """How CTs and label maps are imported."""

    spacing_mm: float | None = Field(
        None, gt=0, description="isotropic spacing to resample CTs to; null keeps the native grid"
    )


class RadiographSettings(Settings):
    """How radiographs are imported; a camera value here is used where neither tag nor sheet has it."""

    intensity: Literal["auto", "linear", "log"] = Field(
        "auto",
        description="grey values proportional to exposure (linear) or to its log; auto goes by tags and refuses when they are silent",
    )
    sdd_mm: float | None = Field(None, gt=0, description="distance from source to detector")
    source_to_isocentre_mm: float | None = Field(
        None, gt=0, description="distance from source to the middle of the patient"
    )
    pixel_mm: float | None = Field(None, gt=0, description="detector pixel size")
    view: Literal["AP", "PA"] = Field("AP", description="direction of the beam")
    working_pixel_mm: float | None = Field(
        0.8, gt=0, description="radiographs are averaged down to this pixel size; null keeps the native one"
    )


class ImageSettings(Settings):
    """The detector grid on which DRRs are rendered and networks learn."""

    rows: int = Field(96, ge=16, le=2048, description="rows of pixels")
    columns: int = Field(96, ge=16, le=2048, description="columns of pixels")
    pixel_mm: float = Field(4.48, gt=0, description="pixel size on the detector")


class RenderingSettings(Settings):
    """The object-wise renderer."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:i")
    step_mm: float = Field(1.0, gt=0, le=5, description="step of the march along each ray")
