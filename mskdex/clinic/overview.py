"""The picture of a decomposition as a Secondary Capture image."""

from highdicom.sc import SCImage
from pydicom.dataset import Dataset

from mskdex.api.prediction import Prediction
from mskdex.clinic.lean_mass_picture import picture
from mskdex.clinic.object_context import ObjectContext


def overview(source: Dataset, prediction: Prediction, context: ObjectContext) -> SCImage:
    """The picture that `mskdex predict` writes, as a colour image that any viewer shows.

    Args:
        source: of `read_source`.
        prediction: of that radiograph.
        context: who made it, and when.
    """
    found = SCImage.from_ref_dataset(
        source,
        pixel_array=picture(prediction),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=tuple(source.PatientOrientation),
        **context.instance("overview", 9103),
    )
    found.copy_patient_and_study_information(source)
    found.ImageType = ["DERIVED", "SECONDARY"]
    found.BurnedInAnnotation, found.BodyPartExamined = "NO", "PELVIS"
    found.SourceImageSequence = [reference(source)]
    return found


def reference(source: Dataset) -> Dataset:
    """An item that refers to the radiograph."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    return item
