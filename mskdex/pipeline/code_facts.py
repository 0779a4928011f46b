"""What a module of the package is made of: its syntax tree, what it imports, and the data files that it names."""

import ast
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_DATA = (".csv", ".json", ".j2", ".css", ".js")
_FILE_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def module_path(module: str) -> Path | None:
    """File of a module of the package; None if there is none."""
    base = _ROOT.joinpath(*module.split(".")[1:])
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if _is_file(p)), None)


@functools.cache
def _is_file(path: Path) -> bool:
    return path.is_file()


def file_state(path: Path) -> list[int]:
    """Size and times of a file: while they stay, so does its content."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def module_facts(path: Path | None, *, by_name: bool) -> dict[str, Any]:
    """What counts of a module, as JSON.

    Args:
        path: the module's file.
        by_name: whether its parts are wanted too.

    Returns:
        hash: of its syntax tree; imports: the package's modules that it imports anywhere; imported_names:
        [module, name] of each `from module import name`; words: its constants that may name a file; parts: the
        same hash and imports of each function and class at its top, with `names`, what it uses of the module's
        own. Of a class only its methods and bases count.
    """
    tree = ast.parse(path.read_text(encoding="utf-8")) if path else ast.Module([], [])
    nodes = list(ast.walk(tree))
    _drop_docstrings(nodes)
    tops = {node.name: node for node in tree.body if isinstance(node, Definition)}
    top_names = {alias.asname or alias.name: source for alias, source in _froms(tree.body)}
    return {
        "hash": _hash([tree]),
        "imports": sorted(_imports(nodes)),
        "imported_names": _imported_names(nodes),
        "words": sorted(_words(nodes)),
        "parts": {name: _part(node, set(tops), top_names) for name, node in tops.items()} if by_name else {},
    }


def data_files(module: str, words: Iterable[str]) -> list[Path]:
    """Data files beside a module that it names by one of its constants, itself or the folder they lie in."""
    path = module_path(module)
    beside = _data_beside(path.parent) if path else {}
    return sorted({found for word in words for found in beside.get(word, ())})


@functools.cache
def _data_beside(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Data files of a folder, and of those below that are no packages, by their names and their folder's."""
    found: dict[str, tuple[Path, ...]] = {}
    for item in sorted(folder.iterdir()):
        if item.is_dir() and item.name != "__pycache__" and not (item / "__init__.py").is_file():
            below = tuple(p for p in sorted(item.rglob("*")) if p.suffix in _DATA)
            found[item.name] = below
            for path in below:
                found[path.name] = (*found.get(path.name, ()), path)
        elif item.suffix in _DATA:
            found[item.name] = (item,)
    return found


def _part(node: Definition, own: set[str], imported: dict[str, tuple[str, str]]) -> dict[str, Any]:
    counted: list[ast.AST] = [node]
    if isinstance(node, ast.ClassDef):
        methods = [n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        counted = [*node.bases, *methods]
    inside = [n for root in counted for n in ast.walk(root)]
    used = {n.id for n in inside if isinstance(n, ast.Name)} - {n.arg for n in inside if isinstance(n, ast.arg)}
    return {
        "hash": _hash(counted),
        "imports": sorted(_imports(inside)),
        "imported_names": _imported_names(inside) + [list(imported[n]) for n in sorted(used & set(imported))],
        "names": sorted(used & own - {node.name}),
    }


def _froms(nodes: Iterable[ast.AST]) -> Iterator[tuple[ast.alias, tuple[str, str]]]:
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mskdex"):
            yield from ((alias, (node.module, alias.name)) for alias in node.names)


def _imported_names(nodes: Iterable[ast.AST]) -> list[list[str]]:
    return sorted(list(source) for _, source in _froms(nodes))


def _imports(nodes: Iterable[ast.AST]) -> set[str]:
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for _, (module, name) in _froms(nodes):
        names.update((module, f"{module}.{name}"))
    return {n for n in names if n.startswith("mskdex.") and module_path(n)}


def _words(nodes: Iterable[ast.AST]) -> set[str]:
    constants = (n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return {c for c in constants if len(c) < 64 and _FILE_NAME.fullmatch(c)}


def _hash(nodes: Iterable[ast.AST]) -> str:
    return hashlib.sha256("\n".join(map(ast.dump, nodes)).encode()).hexdigest()


def _drop_docstrings(nodes: Iterable[ast.AST]) -> None:
    for node in nodes:
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            body.pop(0)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
