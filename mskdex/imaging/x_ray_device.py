"""Which device made a radiograph, by its file: what the tone curve of a processed image goes by."""

from pydicom.dataset import Dataset

from mskdex.imaging.radiograph_tags import text_of, texts_of
from mskdex.io.files import quote

_LONGEST = 60
_DESCRIPTION = "AcquisitionDeviceProcessingDescription"


def device_name(header: Dataset) -> str:
    """Manufacturer, model, software and processing code of a radiograph, "" where no tag names the device.

    The processing code is AcquisitionDeviceProcessingCode, else AcquisitionDeviceProcessingDescription (DICOM PS3.3, CR
    Image and DX Image modules): the name of the menu by which the console made grey values of exposure.
    """
    parts = [text_of(header, "Manufacturer"), text_of(header, "ManufacturerModelName")]
    if not any(parts):
        return ""
    processing = text_of(header, "AcquisitionDeviceProcessingCode")
    parts += ["+".join(texts_of(header, "SoftwareVersions")), processing or text_of(header, _DESCRIPTION)]
    return " / ".join(" ".join(quote(part, _LONGEST).split()) if part else "-" for part in parts)
