"""Random wrong values: of text, of numbers, of bytes."""

import re

import numpy as np

_FACTORS = (-1.0, 0.0, 1e-3, 0.1, 0.5, 0.99, 0.9999, 1.0001, 1.01, 1.5, 2.0, 10.0, 1e3, 1e30)
_WORDS = (
    "",
    " ",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "abc",
    "0x10",
    "1,5",
    "1e400",
    "1e-400",
    "99999999999999999999",
    "-1",
    "0",
    "1",
    "2",
    "3",
    "16",
    "65535",
    "65536",
    "4294967296",
    "true",
    "None",
    "???",
    "µ",
    "日本",
    "\u202e7",
    "é" * 70,
    "x" * 5000,
    "%n%s",
    "../../etc/hosts",
    "=1+1",
    "0.5",
    "1e3",
    "-1024",
    "1\\2\\3",
    "12abc",
)
_NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")


def pick(rng: np.random.Generator, items):
    """One of some items."""
    return items[int(rng.integers(len(items)))]


def mutated_text(rng: np.random.Generator, text: str, others: tuple[str, ...] = ()) -> str:
    """A text that differs: a number scaled or replaced, words dropped, doubled, swapped, or something else altogether.

    Args:
        rng: the case's.
        text: the valid one.
        others: values that the field may legally have.
    """
    found = text
    for _ in range(20):
        found = _once(rng, text, others)
        if found != text:
            return found
    return text + "1"


def _once(rng: np.random.Generator, text: str, others: tuple[str, ...]) -> str:
    how = rng.random()
    numbers = list(_NUMBER.finditer(text))
    if how < 0.45 and numbers:
        at = pick(rng, numbers)
        return text[: at.start()] + _other_number(rng, at.group()) + text[at.end() :]
    if how < 0.6 and others:
        return pick(rng, others)
    if how < 0.75:
        return pick(rng, _WORDS)
    parts = re.split(r"([\\ ,])", text)
    words = list(range(0, len(parts), 2))
    if how < 0.85 and len(words) > 1:
        one, other = rng.choice(words, 2, replace=False)
        parts[one], parts[other] = parts[other], parts[one]
        return "".join(parts)
    if how < 0.92:
        at = int(rng.integers(len(text) + 1))
        return text[:at] + pick(rng, ("0", "9", "-", ".", " ", "\0", "e", "ß")) + text[at:]
    if len(words) > 1:
        at = pick(rng, words)
        return "".join(parts[:at] + parts[at + 2 :]) if rng.random() < 0.5 else "".join(parts[:at] + parts[at:] * 2)
    return text[: int(rng.integers(len(text) + 1))]


def _other_number(rng: np.random.Generator, text: str) -> str:
    if rng.random() < 0.3:
        return pick(rng, _WORDS[2:])
    value = float(text) * pick(rng, _FACTORS) if rng.random() < 0.7 else float(text) + pick(rng, (-1, 1, 0.5, 1e6))
    return f"{value:.8g}" if "." in text or rng.random() < 0.3 or abs(value) > 1e15 else str(round(value))


def mutated_number(rng: np.random.Generator, value, dtype: np.dtype):
    """Another value of a numpy type: scaled, extreme, no number, or random bits."""
    dtype = np.dtype(dtype)
    how = rng.random()
    if how < 0.25:
        return np.frombuffer(rng.bytes(dtype.itemsize), dtype)[0]
    with np.errstate(all="ignore"):
        if dtype.kind == "f":
            scaled = float(value) * pick(rng, _FACTORS)
            return dtype.type(
                scaled if how < 0.7 else pick(rng, (np.nan, np.inf, -np.inf, 0.0, 1.0, -1.0, 1e30, 1e-30))
            )
        ends = np.iinfo(dtype)
        wide = (
            int(value) + pick(rng, (-1, 1, int(value), 256)) if how < 0.6 else pick(rng, (0, 1, 2, ends.min, ends.max))
        )
        return dtype.type(min(max(wide, ends.min), ends.max))


def flipped(rng: np.random.Generator, content: bytes, low: int, high: int) -> tuple[bytes, list[int]]:
    """The bytes with one to three bits flipped between two places, and where."""
    out = bytearray(content)
    places = sorted({int(rng.integers(low, high)) for _ in range(pick(rng, (1, 1, 1, 2, 3)))})
    for at in places:
        out[at] ^= 1 << int(rng.integers(8))
    return bytes(out), places


def packed(rng: np.random.Generator, code: str, raw: bytes) -> bytes:
    """Another binary value of a DICOM element: of the same type, or of a wrong length."""
    size = np.dtype(code).itemsize
    if rng.random() < 0.15 or len(raw) < size:
        return rng.bytes(int(pick(rng, (0, 1, 2, 3, 4, 6, 8))))
    value = mutated_number(rng, np.frombuffer(raw[:size], "<" + code)[0], np.dtype("<" + code))
    return np.array(value, "<" + code).tobytes() + raw[size:]
