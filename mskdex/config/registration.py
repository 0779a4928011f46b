"""2D-3D registration of each rigid body."""

from pydantic import Field, model_validator

from mskdex.config.base import NO_RESULT, Settings


class BodySettings(Settings):
    """A rigid body: the bones whose `body` names it move together."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="name, without side")
    paired: bool = Field(False, description="whether there is one per side")
    parent: str | None = Field(None, description="body that is registered first and gives the start")
    min_extent_mm: float = Field(
        60.0, ge=0, description="longest extent in the CT below which the body is not registered (cut by the CT)"
    )


def default_bodies() -> tuple[BodySettings, ...]:
    """The pelvis with the sacrum, and each femur below it, which is up to 105 mm wide where its shaft is cut off."""
    return (
        BodySettings(name="pelvis"),
        BodySettings(name="femur", paired=True, parent="pelvis", min_extent_mm=110.0),
    )


def paired(bodies: tuple[BodySettings, ...]) -> tuple[str, ...]:
    """Names of the bodies that exist once per side."""
    return tuple(b.name for b in bodies if b.paired)


class CalibrationSettings(Settings):
    """What a sound radiograph's grey values are, beside the attenuation of the patient's own CT."""

    slope: tuple[float, float] = Field(
        (0.6, 1.2), description="attenuation of an absolute radiograph per neper of the CT: flagged outside this"
    )
    at_3_nepers: tuple[float, float] = Field(
        (2.8, 3.6), description="its attenuation in nepers where the CT's is 3: flagged outside this"
    )
    bend: tuple[float, float] = Field(
        (0.5, 3.2), description="steepness of its curve in thick parts over that in thin ones: flagged outside this"
    )
    max_residual: float = Field(
        0.15, gt=0, description="scatter around the curve, in nepers of the CT, above which any radiograph is flagged"
    )
    max_thin_off: float = Field(
        0.5,
        gt=0,
        description="most that an absolute radiograph's attenuation in air, or at the edge of the body, may differ "
        "from the CT's, in nepers",
    )
    expected_slope: float = Field(1.02, gt=0, description="slope that a correction leads to; of sound virtual patients")
    expected_offset: float = Field(0.21, description="offset in nepers that a correction leads to; the same")
    correct: bool = Field(
        False,
        description="train on flagged absolute radiographs with their fitted line taken to the expected one; those of "
        "test patients stay as they are, for their CT is what is asked for",
    )

    @model_validator(mode="after")
    def _ranges_rise(self) -> "CalibrationSettings":
        for name in ("slope", "at_3_nepers", "bend"):
            low, high = getattr(self, name)
            if not low < high:
                msg = f"{name}: {low:g} to {high:g} is no range; give the lower limit first"
                raise ValueError(msg)
        return self


class CameraPriorSettings(Settings):
    """How uncertain a radiograph's camera is, by where its numbers come from."""

    sdd_measured_sd_mm: float = Field(
        1.0, ge=0, description="standard deviation of a distance from source to detector from a tag or the sheet"
    )
    sdd_assumed_sd_mm: float = Field(50.0, ge=0, description="of one that the config assumes")
    principal_point_measured_sd_mm: float = Field(
        0.5, ge=0, description="standard deviation of a principal point from tags or the sheet, on the detector"
    )
    principal_point_assumed_sd_mm: float = Field(
        10.0, ge=0, description="of one that is taken to be the middle of the image"
    )
    depth_sd_mm: float = Field(
        30.0,
        gt=0,
        description="of the distance from source to the middle of the bones by tags or the sheet; one that follows "
        "from an assumed distance to the detector tells nothing",
    )


class RegistrationSettings(Settings):
    """How bones are registered to the radiograph."""

    bodies: tuple[BodySettings, ...] = Field(
        default_bodies(),
        description="rigid bodies, parents before children",
    )
    camera_prior: CameraPriorSettings = CameraPriorSettings()
    seed: int = Field(0, ge=0, description="seed of the search")
    starts: str | None = Field(
        None,
        description="folder with {patient_id}.json of start poses or landmarks; null starts at the nominal camera",
        json_schema_extra=NO_RESULT,
    )
    rotation_range_deg: float = Field(15.0, gt=0, le=60, description="how far the search turns a body without parent")
    shift_range_mm: float = Field(40.0, gt=0, description="how far the search shifts it across and down")
    depth_range_mm: float = Field(50.0, gt=0, description="how far the search shifts it along the beam")
    joint_rotation_range_deg: float = Field(
        12.0, gt=0, le=60, description="how far the search turns a body in the joint with its parent"
    )
    joint_sd_mm: float = Field(0.5, gt=0, description="standard deviation of the joint's centre against the parent")
    attempts: int = Field(3, ge=1, description="searches of a body, at most, until a pose can be trusted")
    restarts: int = Field(8, ge=1, description="independent CMA-ES runs of one search")
    finalists: int = Field(2, ge=1, description="runs that go on after the screening, the best")
    population: int = Field(24, ge=8, description="poses per CMA-ES generation")
    screening_generations: int = Field(8, ge=1, description="CMA-ES generations of every restart")
    generations: int = Field(30, ge=1, description="CMA-ES generations of the finalists, the screening counted in")
    coarse_pixel_mm: float = Field(8.0, gt=0, description="detector pixels of the search")
    coarse_patch_mm: float = Field(64.0, gt=0, description="patches of the search, on the detector")
    fine_pixels_mm: tuple[float, ...] = Field(
        (3.2, 1.6),
        min_length=1,
        description="detector pixels of the refinement, coarse to fine; 0.8 of the CT's voxel size at least",
    )
    radiograph_blur_mm: float = Field(
        1.0, ge=0, description="Gaussian SD, on the detector, that blurs the radiograph to the CT's resolution"
    )
    scatter_to_primary: float = Field(
        1.0, ge=0, description="scattered over primary radiation, which lowers the contrast of thick bone; 0 for none"
    )
    patch_mm: float = Field(
        20.0, gt=0, description="patches, on the detector, that each have a grey scale of their own"
    )
    neighbourhood_mm: float = Field(
        12.0, gt=0, description="margin around a bone's projection that is compared, on the detector"
    )
    min_in_field: float = Field(
        0.5, ge=0, le=1, description="share of a bone's projection that must lie in the exposed field"
    )
    max_sd_mm: float = Field(
        3.0, gt=0, description="predicted standard deviation of position above which a pose is refused"
    )
    max_sd_deg: float = Field(
        3.0, gt=0, description="predicted standard deviation of rotation above which a pose is refused"
    )
    min_confidence: float = Field(
        0.5, ge=0, le=1, description="a pose below this confidence is not used in the bone loss"
    )
