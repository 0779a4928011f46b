"""The training sample of one patient: radiograph, DRRs, aligned bones and the CT's sums, in one file."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mskdex.config.objects import Channel
from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera
from mskdex.io.arrays import Crops, read_crops, write_arrays
from mskdex.quantities import QUANTITIES


@dataclass(frozen=True)
class Greys:
    """Where a radiograph's grey values come from, and how they follow the attenuation of the patient's CT.

    Attributes:
        device: manufacturer, model, software and processing; "" where neither file nor sheet names it.
        standardisation: of a relative image, gain and offset that took the file's own grey values to it; else None.
        attenuation: what a sound absolute radiograph shows at the knots of the comparison with the CT, in nepers,
            rising; empty where nothing sound could be compared.
        grey: the image's values at the knots.
    """

    device: str = ""
    standardisation: tuple[float, float] | None = None
    attenuation: tuple[float, ...] = ()
    grey: tuple[float, ...] = ()


@dataclass(frozen=True)
class Stack:
    """One patient's training sample; N objects, M aligned bones, quantities in the order of `QUANTITIES`.

    Attributes:
        patient: patient id.
        channels: the N objects.
        camera: camera of the image grid (H, W).
        radiograph: (H, W) float32, log attenuation; outside the field that of the nearest exposed pixel.
        field: (H, W) bool, exposed and unmarked pixels.
        drr: (3, N, H, W), rendered at the nominal pose; cm³, cm³ and g per pixel.
        aligned: (3, M, H, W), bones at their registered pose; same units.
        aligned_objects: names of those bones.
        aligned_weights: what each of them counts in the bone loss; None is 1 for each. Not stored.
        truth: (3, N), sums over the CT's voxels; cm³, cm³, g; 0 where not known.
        known: (N,) bool, the CT holds the object and holds it whole.
        visible: (N,), fraction of the object's mass within the image and the exposed field, 0 to 1.
        source_to_isocentre_mm: distance from the source to the middle of the patient.
        scale: of the radiograph: absolute (nepers) or relative (standardised by soft tissue and bone).
        min_visible_fraction: an object of which less is visible counts in neither training nor evaluation.
        correction: gain and shift that training applies to the radiograph, from its own CT; None leaves it as it is.
        refused: why radiograph and CT are taken not to belong together, and the patient counts nowhere; else None.
        greys: where the radiograph's grey values come from.
    """

    patient: str
    channels: tuple[Channel, ...]
    camera: Camera
    radiograph: np.ndarray
    field: np.ndarray
    drr: Crops
    aligned: Crops
    aligned_objects: tuple[str, ...]
    truth: np.ndarray
    known: np.ndarray
    visible: np.ndarray
    source_to_isocentre_mm: float
    scale: str = "absolute"
    min_visible_fraction: float = 0.0
    correction: tuple[float, float] | None = None
    refused: str | None = None
    aligned_weights: tuple[float, ...] | None = None
    greys: Greys = Greys()

    @property
    def counted(self) -> np.ndarray:
        """Objects that training asks for, bool (N,): whole in the CT, and visible enough in the radiograph."""
        counted: np.ndarray = self.known & (self.visible >= self.min_visible_fraction)
        return counted

    def corrected(self) -> "Stack":
        """The same sample with its radiograph corrected, as training takes it."""
        if self.correction is None:
            return self
        gain, shift = self.correction
        return replace(self, radiograph=(gain * self.radiograph + shift).astype(np.float32), correction=None)

    @property
    def relative(self) -> bool:
        """Whether the radiograph's attenuation is known up to a factor only."""
        return self.scale == "relative"

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the N objects."""
        return tuple(channel.name for channel in self.channels)


def require_same(present: Sequence[str], wanted: Sequence[str], of: str, others: str) -> None:
    """Two lists of channels have the same names, in any order.

    Args:
        present: names of the channels.
        wanted: names that they should have.
        of: whose the former are.
        others: whose the latter are.

    Raises:
        MskdexError: tells what is missing and what is too much.
    """
    missing, more = ([n for n in a if n not in b] for a, b in ((wanted, present), (present, wanted)))
    if missing or more or len(set(present)) < len(present):
        notes = [f"it lacks {', '.join(missing)}"] * bool(missing) + [f"it has {', '.join(more)} too"] * bool(more)
        why = " and ".join(notes) or "it names an object twice"
        msg = f"{of} holds other objects than {others}: {why}; delete it and run the same command again"
        raise MskdexError(msg)


def write_stack(path: Path, stack: Stack, manifest: dict[str, Any] | None = None) -> None:
    """Writes a stack; DRRs are kept in half precision, sums and the radiograph in full."""
    arrays: dict[str, np.ndarray] = {
        "radiograph": stack.radiograph.astype(np.float32),
        "field": np.packbits(stack.field.astype(bool)),
        "drr": stack.drr.dense(),
        "aligned": stack.aligned.dense(),
        "truth": stack.truth.astype(np.float64),
        "known": stack.known.astype(np.uint8),
        "visible": stack.visible.astype(np.float64),
    }
    meta = {
        "patient": stack.patient,
        "channels": [channel.model_dump() for channel in stack.channels],
        "camera": stack.camera.as_dict(),
        "aligned_objects": list(stack.aligned_objects),
        "source_to_isocentre_mm": stack.source_to_isocentre_mm,
        "scale": stack.scale,
        "min_visible_fraction": stack.min_visible_fraction,
        "correction": stack.correction,
        "refused": stack.refused,
        "greys": asdict(stack.greys),
        "quantities": list(QUANTITIES),
        "manifest": manifest or {},
    }
    write_arrays(path, arrays, meta, crop=("drr", "aligned"))


def read_stack(path: Path, patient: str | None = None) -> Stack:
    """Reads what `write_stack` wrote.

    Args:
        path: the file.
        patient: whose stack it has to be, where that is known.

    Raises:
        MskdexError: the file is absent, damaged, or another patient's.
    """
    arrays, meta = read_crops(path)
    if patient not in (None, meta["patient"]):
        msg = f"patient {patient}: {path} holds the stack of patient {meta['patient']}; delete it and run again"
        raise MskdexError(msg)
    camera = Camera.from_dict(meta["camera"])
    drr, aligned = arrays["drr"], arrays["aligned"]
    assert isinstance(drr, Crops)
    assert isinstance(aligned, Crops)
    rows, columns = camera.shape
    field = np.unpackbits(np.asarray(arrays["field"]), count=rows * columns).reshape(rows, columns)
    return Stack(
        patient=meta["patient"],
        channels=tuple(Channel.model_validate(c) for c in meta["channels"]),
        camera=camera,
        radiograph=np.asarray(arrays["radiograph"]),
        field=field.astype(bool),
        drr=drr,
        aligned=aligned,
        aligned_objects=tuple(meta["aligned_objects"]),
        truth=np.asarray(arrays["truth"]),
        known=np.asarray(arrays["known"]).astype(bool),
        visible=np.asarray(arrays["visible"]),
        source_to_isocentre_mm=meta["source_to_isocentre_mm"],
        scale=meta.get("scale", "absolute"),
        min_visible_fraction=meta.get("min_visible_fraction", 0.0),
        correction=None if meta.get("correction") is None else (meta["correction"][0], meta["correction"][1]),
        refused=meta.get("refused"),
        greys=_greys(meta.get("greys", {})),
    )


def _greys(content: dict[str, Any]) -> Greys:
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
    return Greys(**values)
