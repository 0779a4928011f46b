"""Named tensors and facts in one safetensors file, with a seal."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mskdex.errors import MskdexError
from mskdex.io.artifacts import atomic_path
from mskdex.io.damage import check_seal, damaged
from mskdex.io.seal import KEY, file_digest_holds, require_digest, sign, unsigned

_KEY = "mskdex"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Writes named tensors and JSON-able facts as safetensors with a seal, whole or not at all."""
    contiguous = {name: t.detach().to("cpu").contiguous().clone() for name, t in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(contiguous, temporary, metadata={_KEY: json.dumps({**facts, KEY: unsigned(path)})})
        sign(temporary)


def read_tensors(path: Path, *, made_here: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what `write_tensors` wrote.

    Args:
        path: the file.
        made_here: whether it is one that the workflow makes again; such a one is moved away when it is damaged, and
            has to be the one of its place.

    Raises:
        MskdexError: the file is absent, damaged, of an older version, or not of this project.
    """
    try:
        holds = file_digest_holds(path)
        tensors, facts = _read(path) if holds is not False else ({}, {})
        seal = facts.pop(KEY, None)
        require_digest(holds, seal)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        if made_here:
            raise damaged(path, error) from error
        msg = f"{path} cannot be read as a model or checkpoint of MSKdeX ({error}); give one that `mskdex train` wrote"
        raise MskdexError(msg) from error
    if made_here:
        check_seal(path, seal)
    elif seal is None:
        msg = f"{path} carries no digest, it was written by an older version of MSKdeX; train the model again"
        raise MskdexError(msg)
    return tensors, facts


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt", device="cpu") as handle:
        facts = json.loads((handle.metadata() or {})[_KEY])
        return {name: handle.get_tensor(name) for name in handle.keys()}, facts  # noqa: SIM118
