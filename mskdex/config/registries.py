"""Losses and backbones by their names in the config.

The config checks a name without importing torch: it reads the names from the source of the functions and classes that
bear the decorator. A module of `mskdex.models` is where they are written.
"""

import ast
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

T = TypeVar("T", bound=Callable[..., Any])

_SOURCES = Path(__file__).parents[1] / "models"


class Registry:
    """Functions or classes by name; called with a name, it is the decorator that adds one."""

    def __init__(self, decorator: str) -> None:
        """An empty registry.

        Args:
            decorator: what it is called in the source, where names are looked for.
        """
        self.decorator = decorator
        self._found: dict[str, Callable[..., Any]] = {}

    def __call__(self, name: str) -> Callable[[T], T]:
        """The decorator that registers a function or class.

        Args:
            name: its name in the config.

        Raises:
            ValueError: the name is taken.
        """

        def register(item: T) -> T:
            if name in self._found:
                msg = f"there are two {self.decorator} {name!r}; give one of them another name"
                raise ValueError(msg)
            self._found[name] = item
            return item

        return register

    def __getitem__(self, name: str) -> Callable[..., Any]:
        """What is registered.

        Raises:
            LookupError: nothing of this name, or its module has not been imported.
        """
        if name not in self._found:
            msg = f"no {self.decorator} {name!r} has been imported; {', '.join(sorted(self._found))} have"
            raise LookupError(msg)
        return self._found[name]

    def names(self) -> tuple[str, ...]:
        """All names, in the source and registered by others, in alphabetical order."""
        return tuple(sorted({*_in_source(self.decorator), *self._found}))


@dataclass(frozen=True)
class Choice:
    """A key of the config that takes a registered name.

    Attributes:
        registry: of what.
        elsewhere: names that it does not take, each with the key that stands for it.
    """

    registry: Registry
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """What the key takes."""
        return [name for name in self.registry.names() if name not in self.elsewhere]

    def check(self, name: str) -> str:
        """The name itself.

        Raises:
            ValueError: it is not registered, or another key stands for it.
        """
        if name in self.elsewhere:
            msg = f"{name} has a key of its own, {self.elsewhere[name]}; give it there"
            raise ValueError(msg)
        if name not in self.names():
            known = f"choose one of {', '.join(self.names())}" if self.names() else "none is registered"
            msg = f"there is no {self.registry.decorator} {name!r}; {known}"
            raise ValueError(msg)
        return name

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | ({"enum": self.names()} if self.names() else {})


@functools.cache
def _in_source(decorator: str) -> tuple[str, ...]:
    texts = (path.read_text(encoding="utf-8") for path in sorted(_SOURCES.glob("*.py")))
    return tuple(name for text in texts if f"@{decorator}(" in text for name in _decorated(text, decorator))


def _decorated(text: str, decorator: str) -> Iterator[str]:
    for node in ast.parse(text).body:
        for call in getattr(node, "decorator_list", ()):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == decorator:
                yield ast.literal_eval(call.args[0])


backbone = Registry("backbone")
"""Networks from images to feature maps: called with `inputs`, `norm` and `stem_stride`, each gives a `Backbone`."""

loss = Registry("loss")
"""Terms of the objective: each takes a `mskdex.models.loss_terms.Comparison` to a tensor of one number."""
