"""Nothing that an import leaves behind tells who the patient is, or which hospital it was."""

import logging
from pathlib import Path

import hospital as make
import pytest
from hospital import SECRETS, leaks

from mskdex.errors import MskdexError
from mskdex.io.artifacts import write_parquet
from mskdex.io.volume import volume_from_sitk, volume_to_sitk
from mskdex.pipeline.stages.cohort_init import draft_sheet
from mskdex.pipeline.stages.importing import import_patient
from mskdex.pipeline.stages.quality import quality
from mskdex.pipeline.stages.quantities import quantities


@pytest.fixture
def row(tmp_path):
    import SimpleITK as sitk

    ct, labels = (volume_from_sitk(sitk.DICOMOrient(volume_to_sitk(v), "LPS")) for v in make.phantom())
    slices = make.slice_datasets(ct)
    series = make.save_all(slices, tmp_path / "in" / "ct")
    (tmp_path / "in" / "seg").mkdir()
    return {
        "patient_id": "P01",
        "ct": str(series),
        "label_source": "named",
        "labels": str(make.dicom_seg(tmp_path / "in" / "seg" / "seg.dcm", labels, slices)),
        "radiograph": str(make.save(make.radiograph(), tmp_path / "in" / "r.dcm")),
    }


@pytest.mark.usefixtures("row")
def test_the_inputs_carry_the_secrets(tmp_path):
    assert {s for _, s in leaks(tmp_path / "in")} >= set(SECRETS)


def test_no_byte_of_a_run_tells_who_the_patient_is(row, tmp_path, caplog):
    import pandas as pd

    from mskdex.pipeline.settings import QualityStage

    out = tmp_path / "results" / "patients" / "P01"
    settings = make.settings()
    with caplog.at_level(logging.DEBUG):
        import_patient(row, settings, out)
        quantities(out / "ct.nii.gz", out / "labels.nii.gz", settings.channels, out / "quantities.parquet")
        write_parquet(tmp_path / "patients.parquet", pd.DataFrame({"patient_id": ["P01"]}))
        gate = QualityStage(cohort_objects=("pelvis", "femur", "sacrum"), flag_robust_z=3.5)
        quality(out.parent, tmp_path / "patients.parquet", gate, tmp_path / "results" / "cohort")
    (tmp_path / "results" / "log.txt").write_text(caplog.text, encoding="utf-8")
    assert len(list((tmp_path / "results").rglob("*.*"))) >= 11
    assert leaks(tmp_path / "results") == []


@pytest.mark.usefixtures("row")
def test_draft_sheet_takes_no_names_from_tags(tmp_path):
    draft_sheet(tmp_path / "in", tmp_path / "in" / "cohort.tsv")
    assert not any(s in (tmp_path / "in" / "cohort.tsv").read_bytes() for s in SECRETS)


@pytest.mark.parametrize("damage", [{"Modality": "CT"}, {"ImagerPixelSpacing": None}, {"ViewPosition": "LATERAL"}])
def test_errors_name_the_pseudonym_alone(row, tmp_path, damage):
    make.save(make.radiograph(**damage), Path(row["radiograph"]))
    with pytest.raises(MskdexError) as error:
        import_patient(row, make.settings(), tmp_path / "results")
    assert not any(s.decode() in str(error.value) for s in SECRETS)
