"""Which code a stage runs: a hash of its modules and their data, so that Snakemake reruns what an edit touches."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mskdex.pipeline.code_facts import data_files, file_state, module_facts, module_path

_NOT_HASHED = frozenset(
    f"mskdex.{name}"
    for name in (
        "errors",
        "io.artifacts",
        "io.damage",
        "io.seal",
        "pipeline.code_facts",
        "pipeline.lock",
        "pipeline.provenance",
        "pipeline.sources",
        "pipeline.stage_options",
        "pipeline.stage_settings",
    )
)
"""Modules that change no result."""

_COMMANDS = "mskdex.pipeline.cli"
_BY_NAME = (_COMMANDS, "mskdex.config", "mskdex.pipeline.settings")
"""Modules of which a stage counts what it uses by name: its commands, and the functions of the config.

The config's values reach a stage through its settings.
"""

Part = tuple[str, str]
"""A module and the name of something in it."""


class CodeHashes:
    """What is known of each module, kept in a file: every job on a cluster reads the Snakefile anew.

    A module or a file of data counts as unchanged while its size and its times are.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        here = Path(__file__)
        self._made_by = [sys.version, *file_state(here), *file_state(here.with_name("code_facts.py"))]
        self._known: dict[str, Any] = {}
        self._saved = True
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["made_by"] == self._made_by:
                self._known = content["known"]

    def module(self, name: str) -> dict[str, Any]:
        """What `mskdex.pipeline.code_facts.module_facts` finds in a module of the package."""
        path = module_path(name)
        return self._fact(
            name, file_state(path) if path else [], lambda: module_facts(path, by_name=name.startswith(_BY_NAME))
        )

    def data_hash(self, path: Path) -> str:
        """Hash of a file of data."""
        return self._fact(str(path), file_state(path), lambda: hashlib.sha256(path.read_bytes()).hexdigest())

    def save(self) -> None:
        """Writes what is new; a folder that cannot be written to costs the next process time, nothing else."""
        if not self._saved:
            text = json.dumps({"made_by": self._made_by, "known": self._known})
            with contextlib.suppress(OSError):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                temporary = self._file.with_suffix(f".{os.getpid()}")
                temporary.write_text(text, encoding="utf-8")
                temporary.replace(self._file)
            self._saved = True

    def _fact(self, key: str, state: list[int], find: Any) -> Any:
        entry = self._known.get(key)
        if entry is None or entry["state"] != state:
            entry = self._known[key] = {"state": state, "found": find()}
            self._saved = False
        return entry["found"]


def stage_hash(stage: str, hashes: CodeHashes | None = None) -> str:
    """Hash of the code and data that a stage runs on.

    These are `mskdex/pipeline/stages/{stage}.py`, the stage's commands in `mskdex/pipeline/cli`, every module of the
    package that these import, directly or not, the data files that such a module names, and the functions of the config
    that they use. Comments, docstrings and layout do not count: the syntax trees are hashed.

    Args:
        stage: its module's name.
        hashes: what is known from earlier processes.

    Raises:
        ValueError: there is no such stage.
    """
    root = f"mskdex.pipeline.stages.{stage}"
    if not module_path(root):
        msg = f"there is no stage {stage}: {root} does not exist"
        raise ValueError(msg)
    known = hashes or CodeHashes(Path(os.devnull))
    modules, parts = _closure(root, known)
    digest = hashlib.sha256()
    for module in sorted(modules):
        facts = known.module(module)
        digest.update(module.encode() + facts["hash"].encode())
        for path in data_files(module, facts["words"]):
            digest.update(path.name.encode() + known.data_hash(path).encode())
    for module, name in sorted(parts):
        digest.update(f"{module}.{name}".encode() + known.module(module)["parts"][name]["hash"].encode())
    if hashes:
        hashes.save()
    return digest.hexdigest()[:16]


def _closure(root: str, hashes: CodeHashes) -> tuple[set[str], set[Part]]:
    """The modules that count whole, and the parts of others."""
    modules: set[str] = set()
    parts: set[Part] = set()
    todo: list[str | Part] = [root, *_commands(root, hashes)]
    while todo:
        item = todo.pop()
        if isinstance(item, tuple):
            part = hashes.module(item[0])["parts"].get(item[1])
            if part is None or item in parts:
                continue
            parts.add(item)
            todo += [(item[0], name) for name in part["names"]]
        elif item in modules or item in _NOT_HASHED or item.startswith(_BY_NAME):
            continue
        else:
            modules.add(item)
            part = hashes.module(item)
        todo += part["imports"]
        todo += [(module, name) for module, name in part["imported_names"] if module.startswith(_BY_NAME)]
    return modules, parts


def _commands(stage: str, hashes: CodeHashes) -> Iterator[Part]:
    """The commands that run a stage."""
    for path in sorted(Path(__file__).with_name("cli").glob("*.py")):
        module = f"{_COMMANDS}.{path.stem}"
        for name, command in hashes.module(module)["parts"].items():
            if stage in command["imports"]:
                yield module, name
