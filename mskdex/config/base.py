"""The base of every config model, and the mark of keys that change no result."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

NO_RESULT: JsonDict = {"changes_results": False}
"""`json_schema_extra` of a key that changes no result: limits, places of files, devices, what is shown meanwhile.

A path stands for the file's content, which is compared by itself (`mskdex.pipeline.sources`).
"""


class Settings(BaseModel):
    """A frozen section of the config that refuses unknown keys and values of the wrong type.

    A model is built when it is first used: a stage uses few of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def require_ordered(settings: Settings, *pairs: tuple[str, str]) -> None:
    """Checks that in each pair of fields, (least, most), the first does not exceed the second.

    Raises:
        ValueError: one does.
    """
    for least, most in pairs:
        low, high = getattr(settings, least), getattr(settings, most)
        if low > high:
            msg = f"{least} ({low:g}) must not exceed {most} ({high:g})"
            raise ValueError(msg)


def of_results(value: Any) -> Any:
    """A value of the config as plain JSON-able data, without the keys that change no result, at any depth."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {name: of_results(getattr(value, name)) for name in fields if changes_results(type(value), name)}
    if isinstance(value, tuple | list):
        return [of_results(item) for item in value]
    if isinstance(value, dict):
        return {str(key): of_results(item) for key, item in value.items()}
    return value


def changes_results(model: type[BaseModel], name: str) -> bool:
    """Whether a field of a config model changes results."""
    extra = model.model_fields[name].json_schema_extra
    return not (isinstance(extra, dict) and extra.get("changes_results") is False)
