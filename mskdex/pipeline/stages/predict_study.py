"""Stage: predict the radiographs of a study that a DICOMweb server has, and store the results there if asked."""

import logging
import tempfile
from pathlib import Path

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.pipeline.stages.predict_radiographs import predict_radiographs

log = logging.getLogger("mskdex")

_MODALITIES = ("CR", "DX")


def predict_study(
    model: Path,
    url: str,
    study: str,
    settings: RadiographSettings,
    out: Path,
    *,
    stow: bool = False,
    calibration: Path | None = None,
    device: str = "auto",
    dicom_out: Path | None = None,
) -> None:
    """Fetches a study's radiographs, predicts them as files are, and stores the result objects if asked.

    What is fetched, and the result objects unless `dicom_out` is given, lie in a temporary folder of this user alone.

    Args:
        model: model.safetensors of an experiment's fold.
        url: of the DICOMweb service.
        study: Study Instance UID.
        settings: how radiographs are imported.
        out: folder for the tables and images, as of `predict_radiographs`.
        stow: store the results as DICOM objects in the study.
        calibration: as of `predict_radiographs`.
        device: as of `predict_radiographs`.
        dicom_out: as of `predict_radiographs`.

    Raises:
        MskdexError: the server cannot be reached or refuses, the study has no radiograph, or nothing was predicted.
    """
    try:
        from mskdex.node.dicomweb import fetch_radiographs, open_dicomweb, store_all
    except ModuleNotFoundError as error:
        msg = f"{error.name} is not installed; install what DICOMweb needs with `pip install 'mskdex[node]'`"
        raise MskdexError(msg) from error
    client = open_dicomweb(url)
    with tempfile.TemporaryDirectory() as place:
        images, objects = Path(place, "images"), dicom_out or (Path(place, "objects") if stow else None)
        images.mkdir()
        files = list(fetch_radiographs(client, study, _MODALITIES, images))
        before = set(objects.glob("*.dcm")) if objects else set()
        predict_radiographs(model, files, settings, out, calibration=calibration, device=device, dicom_out=objects)
        if stow and objects:
            made = sorted(set(objects.glob("*.dcm")) - before)
            store_all(client, made)
            log.info("study %s: %d results stored", study, len(made))
