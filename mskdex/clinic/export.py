"""A trained network as ONNX or TorchScript, for programs without MSKdeX."""

import importlib.util
import json
import logging
import warnings
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from mskdex.clinic.model_card import model_card
from mskdex.errors import MskdexError
from mskdex.io.artifacts import atomic_path
from mskdex.models.model import Model, read_model

Format = Literal["onnx", "torchscript"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".pt"}
INPUTS = ("radiograph", "water", "relative")
OUTPUT = "drr"
FACTS, CARD = "mskdex", "model_card"
"""Names of what stands in the file's metadata: JSON for programs, Markdown for people."""

_OPSET = 20


class ExportedModel(nn.Module):
    """A model with its scales inside: radiographs on its grid to DRRs in cm³ and g per pixel."""

    def __init__(self, model: Model):
        super().__init__()
        self.generator = model.generator
        self.radiograph_scale = float(model.card.normalisation.radiograph)
        scale = torch.as_tensor(model.card.normalisation.drr, dtype=torch.float32)
        self.scale: Tensor
        self.register_buffer("scale", scale[None, ..., None, None])

    def forward(self, radiograph: Tensor, water: Tensor, relative: Tensor) -> Tensor:
        """DRRs, float32 (B, 3, N, H, W): weighted volume and volume in cm³, lean mass in g per pixel.

        Args:
            radiograph: float32 (B, 1, H, W), log attenuation.
            water: float32 (B, 1, H, W), `water_volume` of it, cm³ per pixel; a plain head does not look at it.
            relative: bool (B,), whether the radiograph's scale is relative; likewise.
        """
        drr: Tensor = self.generator(radiograph / self.radiograph_scale, water, relative)
        return drr.unflatten(1, self.scale.shape[1:3]) * self.scale


def export_model(path: Path, to: Format, out: Path) -> None:
    """Writes the network of a model file in another format, with its card in the file's metadata.

    Height and width are those of the model's grid; the number of radiographs is free.

    Args:
        path: model.safetensors.
        to: the format.
        out: file to write.

    Raises:
        MskdexError: not a model, packages that the format needs are missing, or a file that cannot be written.
    """
    if to == "onnx":
        _require_onnx()
    model = read_model(path, torch.device("cpu"))
    network = ExportedModel(model).eval()
    metadata = {FACTS: json.dumps(interface(model)), CARD: model_card(path)}
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with atomic_path(out) as temporary, warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporters' own code, and of sizes that the grid fixes
            (_write_onnx if to == "onnx" else _write_torchscript)(network, _example(model), metadata, temporary)
    except OSError as error:
        msg = f"{out} cannot be written ({error.strerror or error}); give another file with --out"
        raise MskdexError(msg) from error
    finally:
        quiet.setLevel(level)


def interface(model: Model) -> dict[str, object]:
    """What a program needs to call the network, beside what is in the file's own signature."""
    return {
        "card": model.card.as_dict()
        | {
            "patients": len(model.card.patients),
            "started_from": len(model.card.started_from),
            "recalibrated_on": len(model.card.recalibrated_on),
            "members": [{"fold": m.fold, "patients": len(m.patients)} for m in model.card.members],
        },
        "inputs": {
            "radiograph": "float32 (batch, 1, rows, columns), log attenuation on the grid",
            "water": "float32 (batch, 1, rows, columns), cm3 of water that attenuates as the pixel does",
            "relative": "bool (batch), whether the radiograph's scale is relative",
        },
        "output": {OUTPUT: "float32 (batch, quantity, object, rows, columns)"},
        "quantities": {"weighted_volume": "cm3", "volume": "cm3", "lean_mass": "g"},
        "objects": list(model.card.objects),
    }


def _example(model: Model) -> tuple[Tensor, Tensor, Tensor]:
    """Two radiographs: a batch of one would be taken for a constant."""
    ones = torch.ones(2, 1, *model.card.grid.shape)
    return ones, ones.clone(), torch.tensor([False, True])


def _write_torchscript(network: nn.Module, example: tuple[Tensor, ...], metadata: dict[str, str], path: Path) -> None:
    traced = torch.jit.trace(network, example, check_trace=False)
    torch.jit.save(traced, str(path), _extra_files={name: text.encode() for name, text in metadata.items()})


def _write_onnx(network: nn.Module, example: tuple[Tensor, ...], metadata: dict[str, str], path: Path) -> None:
    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(
        network,
        example,
        dynamo=True,
        verbose=False,
        opset_version=_OPSET,
        input_names=INPUTS,
        output_names=(OUTPUT,),
        dynamic_shapes=tuple({0: batch} for _ in INPUTS),
    )
    assert program is not None
    program.model.metadata_props.update(metadata)
    program.save(path)


def _require_onnx() -> None:
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        msg = f"export to ONNX needs {' and '.join(missing)}; pip install 'mskdex[export]', or export to torchscript"
        raise MskdexError(msg)
