"""Which code a stage runs: a hash of its modules, so that Snakemake reruns what an edit touches."""

import ast
import functools
import hashlib
from pathlib import Path

_ROOT = Path(__file__).parent
_NOT_HASHED = ("mskdex.config", "mskdex.errors", "mskdex.artifacts")
"""Values of the config reach a stage through its settings, and the other two change no result."""


def stage_hash(stage: str) -> str:
    """Hash of `mskdex/stages/{stage}.py` and of every module of the package that it imports, directly or not.

    Comments, docstrings and layout do not count: the syntax trees are hashed.

    Raises:
        ValueError: there is no such stage.
    """
    root = f"mskdex.stages.{stage}"
    if not _path(root):
        msg = f"there is no stage {stage}: {root} does not exist"
        raise ValueError(msg)
    modules = _closure(root)
    digest = hashlib.sha256()
    for module in sorted(modules):
        digest.update(module.encode() + _tree_hash(module))
    return digest.hexdigest()[:16]


def _closure(module: str) -> set[str]:
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in found and not name.startswith(_NOT_HASHED):
            found.add(name)
            todo.extend(_imports(name))
    return found


def _path(module: str) -> Path | None:
    base = _ROOT.joinpath(*module.split(".")[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def _tree(module: str) -> ast.Module:
    path = _path(module)
    return ast.parse(path.read_text(encoding="utf-8")) if path else ast.Module([], [])


@functools.cache
def _imports(module: str) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(n for n in names if n.startswith("mskdex.") and _path(n))


@functools.cache
def _tree_hash(module: str) -> bytes:
    tree = _tree(module)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            body.pop(0)
    return hashlib.sha256(ast.dump(tree).encode()).digest()


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
