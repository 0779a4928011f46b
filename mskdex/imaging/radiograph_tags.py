"""Tags as text, numbers and codes, whatever was written into them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from mskdex.io.dicom import spelt
from mskdex.io.numerals import plain_float


@dataclass(frozen=True)
class TagNumbers:
    """A tag's numbers.

    Attributes:
        values: the numbers; None where the tag is absent, blank, or broken.
        broken: what it holds instead of numbers, None if it is absent, blank or right.
    """

    values: np.ndarray | None = None
    broken: str | None = None

    @property
    def first(self) -> float | None:
        """The first number."""
        return None if self.values is None else float(self.values[0])


def _value(header: Dataset, keyword: str) -> Any:
    """A tag's value, or its raw text where its value representation cannot hold it."""
    try:
        return spelt(keyword, header.get(keyword))
    except Exception:
        raw = header.get_item(keyword)
        content = getattr(raw, "value", None)
        return content.decode("latin-1", "replace") if isinstance(content, bytes) else content


def texts_of(header: Dataset, keyword: str) -> list[str]:
    """A tag's values as text without blanks around; blank ones are left out."""
    value = _value(header, keyword)
    values = (
        list(value) if isinstance(value, MultiValue | list | tuple) else str("" if value is None else value).split("\\")
    )
    return [text for v in values if v is not None and (text := str(v).strip(" \0"))]


def text_of(header: Dataset, keyword: str) -> str:
    """A tag's first value as text, "" where there is none."""
    return next(iter(texts_of(header, keyword)), "")


def tag_numbers(header: Dataset, keyword: str, count: int, *, one_for_all: bool = False) -> TagNumbers:
    """A tag's values as `count` finite numbers; `one_for_all` lets a single one stand for them."""
    texts = texts_of(header, keyword)
    if not texts:
        return TagNumbers()
    try:
        values = np.array([plain_float(t) for t in texts])
    except ValueError:
        return TagNumbers(broken="\\".join(texts))
    if one_for_all and values.size == 1:
        values = np.repeat(values, count)
    if values.size != count or not np.isfinite(values).all():
        return TagNumbers(broken="\\".join(texts))
    return TagNumbers(values)


def code_items(header: Dataset, keyword: str) -> Iterator[tuple[str, str, Dataset]]:
    """Value, meaning and item of every code of a sequence."""
    sequence = _value(header, keyword)
    if isinstance(sequence, str | float | int) or sequence is None:
        return
    for item in sequence:
        if isinstance(item, Dataset):
            yield text_of(item, "CodeValue"), text_of(item, "CodeMeaning"), item
