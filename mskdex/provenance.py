"""Which code a stage runs: a hash of its modules, so that Snakemake reruns what an edit touches."""

import ast
import contextlib
import functools
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent
_NOT_HASHED = ("mskdex.config", "mskdex.errors", "mskdex.artifacts")
"""Values of the config reach a stage through its settings, and the other two change no result."""


class Memory:
    """What is known of each module, kept in a file: every job on a cluster reads the Snakefile anew.

    A module counts as unchanged while its size and its time of writing are.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._made_by = [sys.version, *_state(Path(__file__))]
        self._modules: dict[str, Any] = {}
        self._saved = True
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["made_by"] == self._made_by:
                self._modules = content["modules"]

    def imports(self, module: str) -> list[str]:
        """The package's modules that a module imports."""
        return self._facts(module)["imports"]

    def tree_hash(self, module: str) -> bytes:
        """Hash of a module's syntax tree."""
        return bytes.fromhex(self._facts(module)["hash"])

    def save(self) -> None:
        """Writes what is new; a folder that cannot be written to costs the next process time, nothing else."""
        if not self._saved:
            text = json.dumps({"made_by": self._made_by, "modules": self._modules})
            with contextlib.suppress(OSError):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                temporary = self._file.with_suffix(f".{os.getpid()}")
                temporary.write_text(text, encoding="utf-8")
                temporary.replace(self._file)
            self._saved = True

    def _facts(self, module: str) -> dict[str, Any]:
        path = _path(module)
        state = _state(path) if path else []
        if self._modules.get(module, {}).get("state") != state:
            tree = ast.parse(path.read_text(encoding="utf-8")) if path else ast.Module([], [])
            self._modules[module] = {"state": state, "imports": sorted(_imports(tree)), "hash": _tree_hash(tree)}
            self._saved = False
        return self._modules[module]


def stage_hash(stage: str, memory: Memory | None = None) -> str:
    """Hash of `mskdex/stages/{stage}.py` and of every module of the package that it imports, directly or not.

    Comments, docstrings and layout do not count: the syntax trees are hashed.

    Args:
        stage: its module's name.
        memory: what is known from earlier processes.

    Raises:
        ValueError: there is no such stage.
    """
    root = f"mskdex.stages.{stage}"
    if not _path(root):
        msg = f"there is no stage {stage}: {root} does not exist"
        raise ValueError(msg)
    known = memory or Memory(Path(os.devnull))
    digest = hashlib.sha256()
    for module in sorted(_closure(root, known)):
        digest.update(module.encode() + known.tree_hash(module))
    if memory:
        memory.save()
    return digest.hexdigest()[:16]


def _closure(module: str, memory: Memory) -> set[str]:
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in found and not name.startswith(_NOT_HASHED):
            found.add(name)
            todo.extend(memory.imports(name))
    return found


def _state(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_mtime_ns, stat.st_size]


@functools.cache
def _path(module: str) -> Path | None:
    base = _ROOT.joinpath(*module.split(".")[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {n for n in names if n.startswith("mskdex.") and _path(n)}


def _tree_hash(tree: ast.Module) -> str:
    """Hash of a tree, whose docstrings are taken out."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            body.pop(0)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
