"""2D-3D registration of each rigid body."""

from pydantic import Field

from mskdex.config.base import Settings


class BodySettings(Settings):
    """A rigid body: the bones whose `body` names it move together."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="name, without side")
    paired: bool = Field(False, description="whether there is one per side")
    parent: str | None = Field(None, description="body that is registered first and gives the start")


class RegistrationSettings(Settings):
    """How bones are registered to the radiograph."""

    bodies: tuple[BodySettings, ...] = Field(
        (BodySettings(name="pelvis"), BodySettings(name="femur", paired=True, parent="pelvis")),
        description="rigid bodies, parents before children",
    )
    seed: int = Field(0, ge=0, description="seed of the search")
    min_confidence: float = Field(
        0.5, ge=0, le=1, description="a pose below this confidence is not used in the bone loss"
    )
