"""Arrays of the host on the device, in one transfer that the host does not wait for."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_ALIGNED = 16
"""Bytes to whose multiple each array starts, so that its elements may be read in place."""


@dataclass(frozen=True)
class PackedArrays:
    """Named arrays one after another in one buffer, pinned where a GPU is to have them.

    Attributes:
        buffer: (bytes,) uint8.
        places: first byte, dtype and shape of each array.
    """

    buffer: Tensor
    places: dict[str, tuple[int, torch.dtype, tuple[int, ...]]]

    def on(self, device: torch.device) -> dict[str, Tensor]:
        """The arrays on the device as views of one buffer; on a CPU it is the parcel's own."""
        moved = self.buffer.to(device, non_blocking=True)
        found = {}
        for name, (first, dtype, shape) in self.places.items():
            size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
            found[name] = moved[first : first + size].view(dtype).view(shape)
        return found


def pack(arrays: Mapping[str, np.ndarray], device: torch.device) -> PackedArrays:
    """Copies arrays into a new parcel for a device.

    PyTorch keeps a pinned buffer until the transfers from it have ended, and gives it out again then.
    """
    places: dict[str, tuple[int, torch.dtype, tuple[int, ...]]] = {}
    size = 0
    for name, array in arrays.items():
        places[name] = (size, torch.from_numpy(np.empty(0, array.dtype)).dtype, array.shape)
        size += -(-array.nbytes // _ALIGNED) * _ALIGNED
    buffer = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    content = buffer.numpy()
    for name, array in arrays.items():
        first = places[name][0]
        content[first : first + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return PackedArrays(buffer, places)
