"""Synthesises virtual patients as ordinary input files."""

import time
from pathlib import Path

from mskdex.config.virtual import VirtualSettings
from mskdex.imaging.label_names import names_beside
from mskdex.io.arrays import write_arrays
from mskdex.io.artifacts import manifest, write_plain_json
from mskdex.io.volume import Volume, write_volume
from mskdex.virtual.patient import make_patient
from mskdex.virtual.population import cohort_sheet, person_of, write_sheet
from mskdex.virtual.radiograph_file import write_radiograph
from mskdex.virtual.true_images import TrueImages

__all__ = ["cohort_sheet", "posed_labels", "preview", "synthesize", "write_sheet"]


def synthesize(patient_id: str, settings: VirtualSettings, out: Path) -> None:
    """Makes one virtual patient.

    Args:
        patient_id: id of the cohort sheet, V0001 on.
        settings: the virtual cohort; its number of patients changes nothing here.
        out: folder for ct.nii.gz, labels.nii.gz, labels.json, radiograph.dcm, truth.json and
            truth_images.safetensors. Of the last two only the evaluation and the report see the images.

    Raises:
        MskdexError: the id is not one of a virtual cohort, or the atlas cannot be read.
    """
    started = time.time()
    person = person_of(settings, patient_id)
    patient = make_patient(person, settings)
    write_volume(out / "ct.nii.gz", Volume(patient.ct, patient.world_from_voxel))
    write_volume(out / "labels.nii.gz", Volume(patient.labels, patient.world_from_voxel))
    write_plain_json(out / "labels.json", {name: i for i, name in enumerate(patient.names) if i})
    write_radiograph(out / "radiograph.dcm", patient.grey, patient.taken, patient.department)
    _write_true_images(out / "truth_images.safetensors", patient.true_images)
    facts = manifest("synthesize", started, seed=settings.seed, patient=patient_id)
    write_plain_json(out / "truth.json", {**patient.truth, "manifest": facts})


def _write_true_images(path: Path, images: TrueImages) -> None:
    meta = {
        "objects": list(images.objects),
        "drr_camera": images.drr_camera.as_dict(),
        "attenuation_camera": images.attenuation_camera.as_dict(),
    }
    arrays = {"drr": images.drr, "attenuation": images.attenuation}
    write_arrays(path, arrays, meta, crop=tuple(arrays))


def posed_labels(patient_id: str, settings: VirtualSettings, out: Path) -> None:
    """Makes a virtual patient and writes the labels of the body as it stands for the radiograph.

    Args:
        patient_id: id of the cohort sheet.
        settings: the virtual cohort.
        out: NIfTI to write, in the frame of the truth's `camera_from_posed`; the names go beside it, as `.json`.

    Raises:
        MskdexError: as `synthesize`.
    """
    patient = make_patient(person_of(settings, patient_id), settings)
    write_volume(out, Volume(patient.posed_labels, patient.posed_from_voxel))
    write_plain_json(names_beside(out), {name: i for i, name in enumerate(patient.names) if i})


def preview(patient_id: str, settings: VirtualSettings, out: Path) -> None:
    """Draws one figure of a virtual patient: CT slices, label map, radiograph, object-wise DRRs.

    Args:
        patient_id: id of the cohort sheet.
        settings: the virtual cohort.
        out: PNG to write.
    """
    from mskdex.virtual.preview import draw_preview

    person = person_of(settings, patient_id)
    facts = f"{person.sex}, {person.age:.0f} years, {person.height_cm:.0f} cm, {person.weight_kg:.0f} kg"
    draw_preview(make_patient(person, settings), f"Virtual patient {patient_id}: {facts}", out)
