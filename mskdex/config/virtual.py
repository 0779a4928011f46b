"""Virtual patients: the default cohort."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mskdex.config.base import NO_RESULT, Settings, require_ordered


class PostureSettings(Settings):
    """How the patient stands for the radiograph, against how they lie in the CT."""

    pelvic_tilt_sd_deg: float = Field(4.0, ge=0, le=10, description="pelvis about the left-right axis, SD")
    pelvic_turn_sd_deg: float = Field(1.5, ge=0, le=6, description="pelvis about the other two axes, SD")
    hip_rotation_sd_deg: float = Field(8.0, ge=0, le=15, description="internal-external rotation of each hip, SD")
    hip_flexion_sd_deg: float = Field(4.0, ge=0, le=10, description="flexion of each hip, SD")
    hip_abduction_sd_deg: float = Field(2.5, ge=0, le=6, description="abduction of each hip, SD")
    shift_sd_mm: float = Field(10.0, ge=0, le=30, description="patient against the middle of the detector, SD")


class ExposureSettings(Settings):
    """The radiograph's physics and file."""

    detector_mm: float = Field(430.0, ge=200, le=600, description="edge of the square detector")
    sdd_min_mm: float = Field(1000.0, ge=800, le=2000, description="shortest distance from source to detector")
    sdd_max_mm: float = Field(1200.0, ge=800, le=2000, description="longest distance from source to detector")
    patient_to_detector_mm: float = Field(
        150.0, ge=100, le=400, description="mean distance from the middle of the pelvis to the detector"
    )
    tube_voltage_min_kv: float = Field(70.0, ge=60, le=90, description="lowest tube voltage")
    tube_voltage_max_kv: float = Field(80.0, ge=60, le=90, description="highest tube voltage")
    filtration_al_mm: float = Field(3.0, ge=1, le=10, description="total filtration, aluminium")
    photons_per_mm2: float = Field(
        2.0e5, gt=100, description="photons per mm² at the detector without a patient; sets the noise"
    )
    grid_selectivity: float = Field(
        6.0, ge=1, le=20, description="primary transmission of the antiscatter grid over its scatter transmission"
    )
    blur_mm: float = Field(0.25, ge=0, le=2, description="detector blur, Gaussian SD")
    focal_spot_mm: float = Field(1.0, ge=0, le=2, description="size of the focal spot")
    collimated_fraction: float = Field(0.3, ge=0, le=1, description="share of radiographs with a collimated border")
    marked_fraction: float = Field(0.5, ge=0, le=1, description="share of radiographs with a lead side marker")

    @model_validator(mode="after")
    def _ordered(self) -> "ExposureSettings":
        require_ordered(self, ("sdd_min_mm", "sdd_max_mm"), ("tube_voltage_min_kv", "tube_voltage_max_kv"))
        return self


DepartmentName = Literal["arvik", "belmora", "corvia", "dunmere", "estrand"]


class VirtualSettings(Settings):
    """The virtual cohort that is synthesised when no cohort sheet is given."""

    patients: int = Field(36, ge=2, le=100_000, description="number of virtual patients")
    seed: int = Field(
        2023, ge=0, description="seed; each patient's randomness follows from it and the patient's number"
    )
    voxel_mm: float = Field(2.0, gt=0.5, le=6.0, description="voxel size of the virtual CTs")
    radiograph_pixel_mm: float = Field(
        0.4, gt=0.1, le=4.0, description="detector pixel size of the virtual radiographs"
    )
    atlas: str | tuple[str, ...] | None = Field(
        None,
        description="folder with labels.nii.gz and labels.json; null is the built-in anatomy; of a list of folders "
        "people lie between and beyond the bodies",
        json_schema_extra=NO_RESULT,
    )
    slice_voxels: int = Field(1, ge=1, le=5, description="thickness of thick slices of the virtual CTs, in voxels")
    thick_fraction: float = Field(1.0, ge=0, le=1, description="share of CTs whose slices are slice_voxels thick")
    ct_noise_hu: float = Field(12.0, ge=0, le=100, description="noise of the virtual CTs, SD, of the median patient")
    ct_noise_spread: float = Field(0.3, ge=0, le=1, description="SD of the log of the noise between patients")
    ct_sharp_fraction: float = Field(
        0.2,
        ge=0,
        le=1,
        description="share of CTs of a sharp kernel: edges overshoot, noise is finer and doubled",
    )
    ct_hardening_hu: float = Field(
        6.0, ge=0, le=50, description="darkening by beam hardening along the line through most bone"
    )
    ct_cut_fraction: float = Field(
        0.0, ge=0, le=1, description="share of CTs that end too early, 40 to 120 mm below the femoral heads"
    )
    ct_blur_mm: float = Field(0.8, ge=0, le=3, description="blur of the virtual CTs, Gaussian SD")
    contrast_fraction: float = Field(0.1, ge=0, le=1, description="share of CTs with contrast agent in the vessels")
    label_error_boundary_mm: float = Field(
        0.0, ge=0, le=5, description="by which the boundaries of labels wander, SD; 0 is exact labels"
    )
    label_error_leak_fraction: float = Field(
        0.0, ge=0, le=1, description="share of muscles whose label leaks into a neighbour"
    )
    label_error_lost_fraction: float = Field(
        0.0, ge=0, le=1, description="share of muscles whose label lacks a piece at one end"
    )
    implant_fraction: float = Field(
        0.0, ge=0, le=1, description="share of patients with a metal hip; the sheet excludes them"
    )
    exclude: dict[str, Annotated[str, Field(min_length=1)]] = Field(
        {}, description="a human's verdict: patients whom the sheet excludes, and why, by patient_id"
    )
    departments: dict[DepartmentName, Annotated[float, Field(ge=0)]] = Field(
        {"arvik": 1.0, "belmora": 1.0, "corvia": 1.0, "dunmere": 1.0},
        description="shares of the departments that radiographs come from: arvik (linear), belmora (log, computed "
        "radiography), corvia, dunmere and estrand (processed for display)",
    )
    posture: PostureSettings = PostureSettings()
    exposure: ExposureSettings = ExposureSettings()

    @property
    def atlases(self) -> tuple[str, ...]:
        """Folders of `atlas`; none for the built-in anatomy."""
        if self.atlas is None:
            return ()
        return (self.atlas,) if isinstance(self.atlas, str) else self.atlas

    @model_validator(mode="after")
    def _some_department(self) -> "VirtualSettings":
        if not sum(self.departments.values()) > 0:
            msg = "departments: no department has a share above 0; give one, e.g. {arvik: 1}"
            raise ValueError(msg)
        return self
