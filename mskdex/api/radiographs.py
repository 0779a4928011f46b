"""A radiograph, and the poses of a CT's bones in it."""

from mskdex.api.arguments import AnyConfig, AnyPath, as_config, as_path
from mskdex.api.pose import Pose
from mskdex.api.volumes import Segmentation, require_one_grid
from mskdex.imaging.ct import Ct
from mskdex.imaging.nominal_view import nominal_camera
from mskdex.imaging.radiograph_import import ImportedRadiograph, import_radiograph
from mskdex.registration.bodies import find_bodies
from mskdex.registration.fixed_image import FixedImage
from mskdex.registration.registering import PatientViews, Registration, register_bodies


def read_radiograph(
    path: AnyPath,
    *,
    sdd_mm: float | None = None,
    source_to_isocentre_mm: float | None = None,
    pixel_mm: float | None = None,
    view: str | None = None,
    air_grey: float | None = None,
    device: str | None = None,
    config: AnyConfig = None,
) -> ImportedRadiograph:
    """Reads a radiograph: log attenuation, exposed field, camera.

    What is given here overrules the file's tags, as the columns of a cohort sheet do.

    Args:
        path: DICOM, PNG, JPEG or TIFF.
        sdd_mm: distance from source to detector.
        source_to_isocentre_mm: distance from source to the middle of the patient.
        pixel_mm: pixel size on the detector.
        view: "AP" or "PA".
        air_grey: grey value of the unattenuated beam.
        device: name of the device and its processing where the file has none, as a PNG.
        config: whose radiograph section is used.

    Returns:
        `image` float32 (rows, columns), log attenuation in nepers where `scale` is "absolute", rows downwards and
        columns along the camera's +x; `field` bool, exposed and unmarked; `camera`; `geometry`; `warnings`.

    Raises:
        MskdexError: names the file, what is wrong and what to do.
    """
    given = {
        "sdd_mm": sdd_mm,
        "source_to_isocentre_mm": source_to_isocentre_mm,
        "pixel_mm": pixel_mm,
        "view": view,
        "air_grey": air_grey,
        "device": device,
    }
    row = {name: value for name, value in given.items() if value is not None}
    return import_radiograph(as_path(path, "the radiograph"), row, as_config(config).radiograph)


def register(
    ct: Ct, labels: Segmentation, radiograph: ImportedRadiograph, *, start: Pose | None = None, config: AnyConfig = None
) -> dict[str, Registration]:
    """Registers every rigid body of a CT to a radiograph of the same person.

    Args:
        ct: of `read_ct`.
        labels: of `read_labels`.
        radiograph: of `read_radiograph`.
        start: where the search begins; None is the radiograph's view through the middle of the bones.
        config: whose registration section is used.

    Returns:
        By body (pelvis, femur_left, ...) that the labels hold: `pose` (camera_from_ct, 4×4, RAS mm to the camera's
        frame; None where it was not accepted), `accepted`, `reason`, `confidence`, `sd_mm` and `sd_deg`.

    Raises:
        MskdexError: labels of another CT.
    """
    require_one_grid(ct, labels)
    settings = as_config(config)
    volume = ct.volume
    cut = {c.label for c in labels.channels if c.name in labels.truncated}
    bodies = find_bodies(volume.array, labels.volume.array, volume.world_from_voxel, labels.channels, cut)
    if start is None:
        start = Pose(nominal_camera(labels.volume, labels.channels, radiograph.geometry)[0])
    view = FixedImage(radiograph.image, radiograph.field, radiograph.camera)
    return register_bodies(
        PatientViews(bodies, view, start.camera_from_ct), settings.registration, settings.rendering.step_mm
    )
