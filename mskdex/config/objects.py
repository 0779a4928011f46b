"""Which objects the radiograph is decomposed into."""

from pydantic import Field, model_validator

from mskdex.anatomy import STRUCTURES, Kind, Side
from mskdex.config.base import Settings


class Channel(Settings):
    """One object of one side: a channel of every DRR stack.

    Attributes:
        label: its id in `labels.nii.gz`, counted from 1 in the config's order.
        body: the rigid body with its side, e.g. femur_left; None for muscles.
    """

    name: str
    object: str
    side: Side
    kind: Kind
    label: int
    body: str | None
    bone_loss: bool


class ObjectSettings(Settings):
    """A structure to decompose into."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="name of the structure, without side")
    kind: Kind = Field(description="muscle or bone")
    paired: bool = Field(True, description="whether there is a left and a right one")
    body: str | None = Field(
        None, description="rigid body that a bone moves with; one per side when the body is paired"
    )
    bone_loss: bool = Field(False, description="whether its registered DRRs enter the bone loss")

    @model_validator(mode="after")
    def _bones_have_bodies(self) -> "ObjectSettings":
        if self.kind == "muscle" and (self.body or self.bone_loss):
            msg = f"object {self.name}: only a bone can have a body or enter the bone loss"
            raise ValueError(msg)
        if self.bone_loss and not self.body:
            msg = f"object {self.name}: bone_loss needs a body, the rigid body to register"
            raise ValueError(msg)
        return self


def default_objects() -> tuple[ObjectSettings, ...]:
    """The nine objects of the paper."""
    return tuple(
        ObjectSettings(name=s.name, kind=s.kind, paired=s.paired, body=s.body, bone_loss=s.bone_loss)
        for s in STRUCTURES
    )


def channels(objects: tuple[ObjectSettings, ...], paired_bodies: frozenset[str]) -> tuple[Channel, ...]:
    """Every object of every side, in the config's order, left before right.

    Args:
        objects: the config's objects.
        paired_bodies: bodies that exist once per side.
    """
    found: list[Channel] = []
    for item in objects:
        sides: tuple[Side, ...] = ("left", "right") if item.paired else ("midline",)
        for side in sides:
            name = item.name if side == "midline" else f"{item.name}_{side}"
            body = f"{item.body}_{side}" if item.body in paired_bodies else item.body
            found.append(
                Channel(
                    name=name,
                    object=item.name,
                    side=side,
                    kind=item.kind,
                    label=len(found) + 1,
                    body=body,
                    bone_loss=item.bone_loss,
                )
            )
    return tuple(found)
