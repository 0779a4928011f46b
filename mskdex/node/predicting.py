"""From a received radiograph to the result objects that the node sends."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from mskdex.api.prediction import NO_CALIBRATION, load_model, predict_batch, read_calibration
from mskdex.clinic.dicom_objects import dicom_objects
from mskdex.clinic.object_context import Algorithm
from mskdex.clinic.source import read_source
from mskdex.compute.device import choose_device
from mskdex.config.node import NodeSettings
from mskdex.imaging.radiograph_import import import_radiograph
from mskdex.training.loop import set_up_torch


def predictor(settings: NodeSettings) -> tuple[Callable[[Path], Sequence[Dataset]], str]:
    """What predicts one image, and the model's digest.

    Raises:
        MskdexError: the model, its calibration or the device cannot be used.
    """
    device = choose_device(settings.device)
    set_up_torch(device)
    model = load_model(settings.model, str(device))
    algorithm = Algorithm.of(settings.model, model.card)
    known = read_calibration(settings.calibration, model) if settings.calibration else NO_CALIBRATION

    def predict(image: Path) -> Sequence[Dataset]:
        imported = import_radiograph(image, {}, settings.radiograph)
        prediction = predict_batch(model, [imported], known)[0]
        return dicom_objects(read_source(image), imported, prediction, algorithm)

    return predict, algorithm.sha256
