"""Compiled kernels: numba's, kept on disk in a folder named by what they are made of."""

import builtins
import dis
import hashlib
import os
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

os.environ.setdefault("NUMBA_SLP_VECTORIZE", "1")  # the quantities of a sample become one operation: a fifth less time

import numba

from mskdex.compute.cache import cache_folder

Constant = int | float | np.generic | tuple


def kernel(function: Callable[..., Any]) -> Any:
    """Compiles a function once per machine for the types that it is called with.

    Numba keeps what it compiled, but does not notice when a function or a constant has changed that the kept one uses.
    So each kernel's folder is named by a hash of its code and of all that it uses. Kernels are serial and release the
    GIL; `parallel.spread` runs them on threads.

    Arithmetic is IEEE's, in the order that is written: the same sums whoever compiled them. Where they may be
    reordered, a process that compiles a kernel and one that loads it differ in the last digit, as the copies of the
    functions that it calls are optimised once in one and twice in the other.

    Args:
        function: what it uses of its module, kernels and constants, stands above it.

    Raises:
        TypeError: it uses something whose changes would not be noticed.
    """
    return _compiled(function, fastmath=False)


def image_kernel(function: Callable[..., Any]) -> Any:
    """As `kernel`, with sums in any order: a fifth faster, for images that registration compares and nobody keeps."""
    return _compiled(function, fastmath=True)


def _compiled(function: Callable[..., Any], *, fastmath: bool) -> Any:
    before = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    numba.config.CACHE_DIR = str(cache_folder() / f"{function.__name__}-{fastmath:d}-{code_hash(function)}")  # type: ignore[attr-defined]
    try:
        return numba.njit(cache=True, nogil=True, fastmath=fastmath, error_model="numpy")(function)
    finally:
        numba.config.CACHE_DIR = before  # type: ignore[attr-defined]


def code_hash(function: Callable[..., Any]) -> str:
    """Hash of a function's code and of every kernel and constant that it uses.

    Raises:
        TypeError: as of `kernel`.
    """
    digest = hashlib.sha256()
    for code in _codes(function.__code__):
        plain = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
        digest.update(code.co_code + repr((plain, code.co_names, code.co_varnames)).encode())
    for name, value in _used(function):
        if hasattr(value, "py_func"):
            digest.update(code_hash(value.py_func).encode())
        elif isinstance(value, Constant):
            digest.update(repr((name, value)).encode())
        elif not isinstance(value, types.ModuleType):
            msg = f"kernel {function.__name__} uses {name}, which is neither a kernel nor a number ({type(value)})"
            raise TypeError(msg)
    return digest.hexdigest()[:24]


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code and that of the functions and comprehensions inside it."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _codes(inner)


def _used(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """What a function uses of its module, by name."""
    known = function.__globals__
    steps = (step for code in _codes(function.__code__) for step in dis.get_instructions(code))
    for name in sorted({step.argval for step in steps if step.opname == "LOAD_GLOBAL"}):
        if name in known:
            yield name, known[name]
        elif not hasattr(builtins, name):
            msg = f"kernel {function.__name__} uses {name}, which has to stand above it"
            raise TypeError(msg)
