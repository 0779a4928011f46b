"""Synthesises virtual patients as ordinary input files."""

import time
from pathlib import Path

from mskdex.config.virtual import VirtualSettings
from mskdex.io.artifacts import manifest, write_plain_json
from mskdex.io.volume import Volume, write_volume
from mskdex.virtual.dicom import write_radiograph
from mskdex.virtual.patient import make_patient
from mskdex.virtual.population import cohort_sheet, person_of, write_sheet

__all__ = ["cohort_sheet", "preview", "synthesize", "write_sheet"]


def synthesize(patient_id: str, settings: VirtualSettings, out: Path) -> None:
    """Makes one virtual patient.

    Args:
        patient_id: id of the cohort sheet, V0001 on.
        settings: the virtual cohort; its number of patients changes nothing here.
        out: folder for ct.nii.gz, labels.nii.gz, labels.json, radiograph.dcm and truth.json. No stage of the
            pipeline reads the last.

    Raises:
        MskdexError: the id is not one of a virtual cohort, or the atlas cannot be read.
    """
    started = time.time()
    person = person_of(settings, patient_id)
    patient = make_patient(person, settings)
    write_volume(out / "ct.nii.gz", Volume(patient.ct, patient.world_from_voxel))
    write_volume(out / "labels.nii.gz", Volume(patient.labels, patient.world_from_voxel))
    write_plain_json(out / "labels.json", {name: i for i, name in enumerate(patient.names) if i})
    write_radiograph(out / "radiograph.dcm", patient.exposure, patient.taken, patient.stored)
    facts = manifest("synthesize", started, seed=settings.seed, patient=patient_id)
    write_plain_json(out / "truth.json", {**patient.truth, "manifest": facts})


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
