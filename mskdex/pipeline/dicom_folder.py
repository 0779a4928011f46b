"""The folder that `mskdex predict --dicom-out` writes to: the only place that a patient's identity goes to."""

import logging
from dataclasses import dataclass
from pathlib import Path

from mskdex.api.prediction import Prediction
from mskdex.clinic.object_context import Algorithm
from mskdex.errors import MskdexError
from mskdex.imaging.radiograph_import import ImportedRadiograph
from mskdex.models.model import ModelCard

log = logging.getLogger("mskdex")

_MARKS = ("cohort/patients.parquet", "experiments/*/fold*/model.safetensors", "predictions.json")
"""What tells a folder of results by its content."""


@dataclass(frozen=True)
class DicomFolder:
    """A folder for DICOM objects.

    Attributes:
        path: the folder.
        algorithm: the model that predicts.
    """

    path: Path
    algorithm: Algorithm

    @classmethod
    def at(cls, path: Path, out: Path, model: Path, card: ModelCard) -> "DicomFolder":
        """Makes the folder.

        Args:
            path: the folder.
            out: where the results without identity go.
            model: file of the model that predicts.
            card: what it says about itself.

        Raises:
            MskdexError: it lies within results, or cannot be written to.
        """
        _require_apart(path, out)
        try:
            path.mkdir(parents=True, exist_ok=True)
            probe = path / ".mskdex-writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            msg = f"--dicom-out {path} cannot be written to ({error.strerror}); give another folder"
            raise MskdexError(msg) from error
        return cls(path, Algorithm.of(model, card))

    def write(self, radiograph: Path, name: str, imported: ImportedRadiograph, prediction: Prediction) -> str:
        """Writes the objects of one radiograph; returns "written", or why there are none."""
        from mskdex.clinic.dicom_objects import dicom_objects, write_objects
        from mskdex.clinic.source import read_source

        try:
            source = read_source(radiograph)
            write_objects(dicom_objects(source, imported, prediction, self.algorithm), self.path, name)
        except MskdexError as error:
            return str(error)
        except Exception as error:  # whatever is odd about one file's tags costs the others nothing
            log.debug("while DICOM objects of %s were made", radiograph, exc_info=True)
            return f"{radiograph}: no DICOM objects could be made of it ({type(error).__name__}); look at its tags"
        return "written"


def _require_apart(path: Path, out: Path) -> None:
    """Results are passed on and published, so no name of a patient may lie among them."""
    place = path.resolve()
    for folder in (place, *place.parents):
        if folder == out.resolve() or folder.name == "results" or any(next(folder.glob(m), None) for m in _MARKS):
            msg = (
                f"--dicom-out {path} lies within the results in {folder}; DICOM objects carry the patient's name, and "
                "results are to stay free of it; give a folder elsewhere"
            )
            raise MskdexError(msg)
