"""The base of every config model."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen section of the config that refuses unknown keys and values of the wrong type.

    A model is built when it is first used: a stage uses few of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
