"""The base of every config model."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen section of the config that refuses unknown keys and values of the wrong type."""

    model_config = ConfigDict(frozen=True, extra="forbid")
