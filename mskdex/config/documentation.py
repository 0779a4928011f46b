"""The default config.yaml, its JSON schema and its documentation, generated from the models."""

import json
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mskdex.config import Config
from mskdex.config.learning import ExperimentSettings
from mskdex.config.node import NodeSettings, PeerSettings

_HEAD = """\
# The one file to edit. Every key stands here with its default; a key that is left out keeps it.
# Made by `mskdex config yaml`; docs/config.md explains every key.
"""


def default_yaml() -> str:
    """The default config with a comment for every key."""
    lines = [_HEAD]
    for name, field in Config.model_fields.items():
        lines.append(f"\n# {_comment(name, field)}\n" if _comment(name, field) else "\n")
        lines.extend(_entry(name, getattr(Config(), name), field, depth=0))
    return "".join(lines)


def json_schema() -> str:
    """JSON schema of the config, for editors."""
    return json.dumps(Config.model_json_schema(), indent=1) + "\n"


def markdown_table() -> str:
    """Every key, its default and its meaning, as Markdown tables, one per section."""
    parts = ["# The config\n\nMade by `mskdex config table`.\n"]
    for name, model in _sections():
        doc = (model.__doc__ or "").strip().splitlines()[0]
        parts.extend([f"\n## {name}\n\n{doc}\n\n", *_rows(model)])
    return "".join(parts)


def node_table() -> str:
    """Every key of node.yaml, and of each entry of its `peers`, as Markdown tables."""
    return "".join([*_rows(NodeSettings), "\nEach entry of `peers`:\n\n", *_rows(PeerSettings)])


DOCUMENTS: dict[str, Callable[[], str]] = {
    "yaml": default_yaml,
    "schema": json_schema,
    "table": markdown_table,
    "node": node_table,
}


def _rows(model: type[BaseModel]) -> Iterator[str]:
    """A section's keys as a table."""
    schema = model.model_json_schema()
    yield "| key | default | meaning |\n|---|---|---|\n"
    for key, field in model.model_fields.items():
        default = "" if field.is_required() else _flow(_plain(field.get_default(call_default_factory=True)))
        shown = f"`{default}`" if 0 < len(default) <= 80 else ("see config.yaml" if default else "required")
        meaning = (field.description or "a section of its own") + _choices(schema["properties"][key])
        yield f"| `{key}` | {shown} | {meaning} |\n"


def _choices(schema: dict[str, Any]) -> str:
    """The values that a key may have, where they are few."""
    names = schema.get("enum") or schema.get("propertyNames", {}).get("enum")
    return f" ({', '.join(f'`{name}`' for name in names)})" if names else ""


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Config.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield name, model
    yield "objects (each entry)", _item_model("objects")
    yield "experiments (each entry)", ExperimentSettings
    for name, field in ExperimentSettings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield f"experiments.*.{name}", field.annotation


def _item_model(name: str) -> type[BaseModel]:
    return type(getattr(Config(), name)[0])


def _comment(name: str, field: FieldInfo) -> str:
    value = getattr(Config(), name)
    doc = type(value).__doc__ if isinstance(value, BaseModel) else None
    return field.description or (doc or "").strip().splitlines()[0]


def _entry(name: str, value: Any, field: FieldInfo | None, depth: int) -> Iterator[str]:
    """One key of the YAML with its value, nested models as nested blocks with their comments."""
    indent = "  " * depth
    if isinstance(value, BaseModel):
        yield f"{indent}{name}:\n"
        for key, sub in type(value).model_fields.items():
            yield from _entry(key, getattr(value, key), sub, depth + 1)
    elif isinstance(value, dict) and value:
        yield f"{indent}{name}:\n"
        for key, item in value.items():
            yield from _entry(str(key), item, None, depth + 1)
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        yield f"{indent}{name}:" + (f" # {field.description}" if field and field.description and depth else "") + "\n"
        for item in value:
            yield f"{indent}  - {_flow(item.model_dump(mode='json', exclude_defaults=True))}\n"
    else:
        comment = f" # {field.description}" if field and field.description else ""
        yield f"{indent}{name}: {_flow(_plain(value))}{comment}\n"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return textwrap.dedent(text).removesuffix("...\n").strip()
