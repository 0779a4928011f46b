"""Which device to compute on."""

import torch
from torch import nn

from mskdex.errors import MskdexError


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device of a setting `auto`, `cpu`, `cuda` or `cuda:i`.

    Args:
        name: the setting; auto takes a GPU where there is one.
        local_rank: number of this process on its machine when several share a training.

    Raises:
        MskdexError: a GPU is asked for and there is none.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        msg = f"device {name}: torch sees no GPU; set the device to auto or cpu, or install a CUDA build of torch"
        raise MskdexError(msg)
    device = torch.device(name if ":" in name else f"cuda:{local_rank}")
    if (device.index or 0) >= torch.cuda.device_count():
        msg = f"device {name}: this machine has GPUs 0 to {torch.cuda.device_count() - 1}"
        raise MskdexError(msg)
    return device


def memory_layout(device: torch.device) -> torch.memory_format:
    """The layout of images and weights: channels last feeds a GPU's tensor cores, and slows group norm on a CPU."""
    return torch.contiguous_format if device.type == "cpu" else torch.channels_last


def place(module: nn.Module, device: torch.device) -> None:
    """Moves a network to a device, its images and weights of convolutions in that device's layout.

    Its parameters are new ones then. `nn.Module.to` refuses a layout of images where a buffer has five axes.
    """

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        layout = memory_layout(device) if tensor.dim() == 4 else torch.preserve_format
        return tensor.detach().to(device, memory_format=layout)

    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(moved(parameter), parameter.requires_grad))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, moved(buffer))
