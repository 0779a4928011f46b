"""Pairs of radiograph and DRRs that are made from each patient's own CT."""

from pydantic import Field, model_validator

from mskdex.config.base import Settings, require_ordered
from mskdex.config.virtual import PostureSettings


class SimulationSettings(Settings):
    """Pairs of radiograph and DRRs from each patient's own CT: other postures, sizes of muscles, and exposures."""

    variants: int = Field(
        2, ge=1, le=1000, description="pairs per patient; the first has the registered posture and the CT's own muscles"
    )
    seed: int = Field(0, ge=0, description="seed; each patient's randomness follows from it and the patient's id")
    voxel_mm: float = Field(3.0, gt=0.5, le=6.0, description="voxels of the posed CTs that are rendered")
    posture: PostureSettings = PostureSettings()
    muscle_volume_fraction: float = Field(
        0.25, ge=0, le=0.4, description="largest change of a muscle's volume, 0.25 is from 0.75 to 1.25; 0 for none"
    )
    fat_volume_fraction: float = Field(0.25, ge=0, le=0.4, description="likewise of the fat that has no label")
    infiltration_fraction: float = Field(
        0.1, ge=0, le=0.5, description="largest share of a muscle that turns to fat, or of its fat that turns to muscle"
    )
    tube_voltage_min_kv: float = Field(70.0, ge=60, le=90, description="lowest tube voltage")
    tube_voltage_max_kv: float = Field(90.0, ge=60, le=90, description="highest tube voltage")
    filtration_al_mm: float = Field(3.0, ge=1, le=10, description="total filtration, aluminium")
    grid_selectivity_min: float = Field(
        4.0, ge=1, le=20, description="least selectivity of the antiscatter grid, primary over scatter transmission"
    )
    grid_selectivity_max: float = Field(10.0, ge=1, le=20, description="largest selectivity of the antiscatter grid")
    blur_min_mm: float = Field(0.15, ge=0, le=2, description="least blur of the detector, Gaussian SD")
    blur_max_mm: float = Field(0.6, ge=0, le=2, description="largest blur of the detector, Gaussian SD")
    photons_min_per_mm2: float = Field(
        1.0e5, gt=100, description="least photons per mm² at the detector without a patient; sets the noise"
    )
    photons_max_per_mm2: float = Field(4.0e5, gt=100, description="most photons per mm²")

    @model_validator(mode="after")
    def _ordered(self) -> "SimulationSettings":
        names = ("tube_voltage_{}_kv", "grid_selectivity_{}", "blur_{}_mm", "photons_{}_per_mm2")
        require_ordered(self, *((name.format("min"), name.format("max")) for name in names))
        return self
