"""Compiled kernels kept as machine code, so that a later process needs neither numba nor its start-up."""

import ctypes
import functools
import hashlib
import json
import os
import tempfile
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_OPTIONS: dict[str, Any] = {"fastmath": True, "nogil": True, "error_model": "numpy", "_nrt": False}
"""Without `_nrt` numba counts the references to every array that a kernel hands on, at each call."""

_INLINED: dict[str, Any] = {**_OPTIONS, "forceinline": True}
"""Of kernels that others call: every array would else be passed as a dozen words on the stack."""

_SCALARS: dict[str, Any] = {"int64": ctypes.c_int64, "float64": ctypes.c_double}


class Kernel:
    """A function that numba compiles once per machine, for the types it is called with.

    Numba alone takes 0.8 s of CPU time to load a function from its own cache (0.3 s to import, 0.5 s to fill its
    type registries), and does not notice when a function that the cached one calls has changed. Here the machine
    code is kept in a file named by a hash of the source, of all that it calls, and of the processor; a later
    process loads it by llvmlite alone. Kernels are serial and release the GIL; `parallel.spread` runs them on threads.
    Arrays must be C-contiguous, and are all passed in: a kernel cannot make one.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._lock = threading.Lock()
        self._loaded: dict[tuple, Callable[..., Any]] = {}
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any) -> Any:
        """Runs the kernel on arrays, integers and floats."""
        key = tuple(_kind(a) for a in args)
        native = self._loaded.get(key)
        if native is None:
            with self._lock:
                native = self._loaded.get(key) or _load(self, key)
                self._loaded[key] = native
        return native(*args)

    def source_hash(self) -> str:
        """Hash of the code and of every kernel and constant that it uses."""
        digest = hashlib.sha256()
        code = self.function.__code__
        digest.update(code.co_code + repr((code.co_consts, code.co_names, code.co_varnames)).encode())
        for name in code.co_names:
            value = self.function.__globals__.get(name)
            if isinstance(value, Kernel):
                digest.update(value.source_hash().encode())
            elif isinstance(value, int | float):
                digest.update(repr((name, value)).encode())
        return digest.hexdigest()


def _kind(value: Any) -> tuple[str, int]:
    if isinstance(value, np.ndarray):
        return value.dtype.name, value.ndim
    return ("float64" if isinstance(value, float | np.floating) else "int64"), -1


def _load(kernel: Kernel, key: tuple[tuple[str, int], ...]) -> Callable[..., Any]:
    path = cache_folder() / f"{kernel.function.__name__}-{_name(kernel, key)}.o"
    header, code = _stored(path)
    if header is None:
        header, code = _compile(kernel, key)
        _store(path, header, code)
    return _callable(header, code, key)


def _stored(path: Path) -> tuple[dict[str, Any] | None, bytes]:
    """What a file holds; None where there is none, or a damaged one."""
    try:
        first, _, code = path.read_bytes().partition(b"\n")
        header = json.loads(first)
    except (OSError, ValueError):
        return None, b""
    return (header if header.get("sha256") == hashlib.sha256(code).hexdigest() else None), code


def _name(kernel: Kernel, key: tuple) -> str:
    import llvmlite
    import llvmlite.binding as llvm

    processor = (llvm.get_default_triple(), llvm.get_host_cpu_name(), str(llvm.get_host_cpu_features().flatten()))
    facts = (kernel.source_hash(), key, _INLINED, "slp", processor, llvmlite.__version__, np.__version__)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]


def _store(path: Path, header: dict[str, Any], code: bytes) -> None:
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as handle:
            handle.write(json.dumps(header).encode() + b"\n" + code)
        os.replace(handle.name, path)
    except OSError:
        pass  # A full or read-only disk costs the next process its quick start, nothing else.


def _dispatcher(kernel: Kernel, options: dict[str, Any] = _OPTIONS) -> Any:
    """Numba's own version of a kernel, the kernels that it calls replaced by theirs."""
    import numba

    function = kernel.function
    used = {n: function.__globals__[n] for n in function.__code__.co_names if n in function.__globals__}
    known = {n: _dispatcher(v, _INLINED) if isinstance(v, Kernel) else v for n, v in used.items()}
    known["__name__"] = function.__module__
    copy = types.FunctionType(function.__code__, known, function.__name__, function.__defaults__)
    return numba.njit(**options)(copy)


def _compile(kernel: Kernel, key: tuple[tuple[str, int], ...]) -> tuple[dict[str, Any], bytes]:
    import numba
    from numba import types as kinds

    # Numba leaves it off; with it the four quantities of a sample are one operation.
    numba.config.SLP_VECTORIZE = 1  # type: ignore[attr-defined]
    signature = tuple(
        getattr(kinds, dtype) if ndim < 0 else kinds.Array(getattr(kinds, dtype), ndim, "C") for dtype, ndim in key
    )
    dispatcher = _dispatcher(kernel)
    dispatcher.compile(signature)
    result = dispatcher.overloads[signature]
    declared = [f.name for f in result.library._final_module.functions if f.is_declaration]
    header = {
        "function": result.fndesc.llvm_func_name,
        "returns": None if result.signature.return_type == kinds.none else str(result.signature.return_type),
        "externals": [name for name in declared if not name.startswith("llvm.")],
    }
    code = result.library._get_compiled_object()
    return {**header, "sha256": hashlib.sha256(code).hexdigest()}, code


@functools.cache
def cache_folder() -> Path:
    """Where compiled kernels are kept.

    In order: `MSKDEX_CACHE_DIR`, the package's own `__pycache__`, the user's cache folder, and where a container
    makes these read-only, a folder for this process alone.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    chosen = os.environ.get("MSKDEX_CACHE_DIR")
    for folder in [Path(chosen)] if chosen else [Path(__file__).parent / "__pycache__", home / "mskdex"]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="mskdex-kernels-"))


@functools.cache
def _machine() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(jit=True)


def _array_fields(ndim: int) -> list[Any]:
    """Numba's array: two owners (none here), size, item size, data, shape and strides."""
    owners: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
    return [*owners, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, *([ctypes.c_int64] * (2 * ndim))]


_ENGINES: list[Any] = []
"""Engines own the code they loaded; they live as long as the process."""


def _callable(header: dict[str, Any], code: bytes, key: tuple[tuple[str, int], ...]) -> Callable[..., Any]:
    import llvmlite.binding as llvm

    machine = _machine()
    # The object also holds numba's wrappers for Python, which are never called here; what only they need
    # must still be found by the loader.
    never = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value
    for name in header["externals"]:
        if llvm.address_of_symbol(name) is None:
            llvm.add_symbol(name, never)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _ENGINES.append(engine)
    arguments: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
    for dtype, ndim in key:
        arguments += [_SCALARS[dtype]] if ndim < 0 else _array_fields(ndim)
    native = ctypes.CFUNCTYPE(ctypes.c_int32, *arguments)(engine.get_function_address(header["function"]))
    returns = _SCALARS[header["returns"]] if header["returns"] else ctypes.c_int64

    def call(*args: Any) -> Any:
        out, error = returns(), ctypes.c_void_p()
        flat: list[Any] = [ctypes.addressof(out), ctypes.addressof(error)]
        for value in args:
            if isinstance(value, np.ndarray):
                if not value.flags.c_contiguous:
                    msg = "kernels take C-contiguous arrays"
                    raise ValueError(msg)
                flat += (None, None, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides)
            else:
                flat.append(value)
        if native(*flat):
            msg = "a compiled kernel failed; this is a fault of the program"
            raise RuntimeError(msg)
        return out.value if header["returns"] else None

    return call
