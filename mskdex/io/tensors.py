"""Named tensors and facts in one safetensors file, with a seal."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mskdex.errors import MskdexError
from mskdex.io.artifacts import atomic_path
from mskdex.io.damage import check_seal, damaged
from mskdex.io.seal import KEY, file_digest_holds, require_digest, sign, unsigned

_KEY = "mskdex"

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.bool: "BOOL",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Writes named tensors and JSON-able facts as safetensors with a seal, whole or not at all.

    One tensor after another, so that no second copy of all is made in memory.

    Source: https://github.com/huggingface/safetensors, "Format" (a header's length, the header as JSON, the tensors).
    """
    header: dict[str, Any] = {"__metadata__": {_KEY: json.dumps({**facts, KEY: unsigned(path)})}}
    end = 0
    # The wider types first, so that each tensor is aligned to its type.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    for name in order:
        tensor, start = tensors[name], end
        end += tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as handle:
            handle.write(len(text).to_bytes(8, "little") + text)
            for name in order:
                flat = tensors[name].detach().to("cpu").contiguous().reshape(-1)
                handle.write(flat.view(torch.uint8).numpy().data)
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
