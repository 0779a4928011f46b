"""A cell of the cohort sheet as read."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SheetCell:
    """A cell as read: its value, and what is wrong with it, if anything."""

    value: Any
    problem: str | None = None
    warning: bool = False
