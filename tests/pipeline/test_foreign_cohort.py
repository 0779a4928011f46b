"""A cohort of another hospital: DICOM series, own label ids, other objects, PNG radiographs; sheet and config only."""

import json

import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK as sitk
import yaml
from hospital import leaks
from skimage.io import imsave
from working_copy import SMALL, copy_project

OBJECTS = [
    {"name": "gluteus_medius", "kind": "muscle"},
    {"name": "femur", "kind": "bone", "body": "thigh", "bone_loss": True},
    {"name": "sacrum", "kind": "bone", "paired": False, "body": "spine"},
]
OWN_IDS = {"gluteus_medius": [301, 302], "femur": [11, 12], "sacrum": [900]}
BODIES = [{"name": "spine"}, {"name": "thigh", "paired": True}]
PATIENTS = 4


def write_series(image, folder):
    """Writes a CT as one DICOM file a slice."""
    folder.mkdir(parents=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    series, study = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    direction = image.GetDirection()
    for k in range(image.GetDepth()):
        part = image[:, :, k]
        position = image.TransformIndexToPhysicalPoint((0, 0, k))
        tags = {
            "0008|0060": "CT",
            "0020|000e": series,
            "0020|000d": study,
            "0008|0018": pydicom.uid.generate_uid(),
            "0010|0010": "Mustermann^Erika",
            "0010|0020": "HOSP-4711",
            "0010|0030": "19500102",
            "0008|0050": "ACC-0815",
            "0008|0080": "Sample General Hospital",
            "0020|0032": "\\".join(f"{v:.6f}" for v in position),
            "0020|0037": "\\".join(f"{direction[i]:.6f}" for i in (0, 3, 6, 1, 4, 7)),
            "0020|0013": str(k + 1),
            "0018|0050": f"{image.GetSpacing()[2]:.4f}",
            "0028|1052": "0",
            "0028|1053": "1",
        }
        for key, value in tags.items():
            part.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{(k * 37) % 1000:03d}.dcm"))
        writer.Execute(part)


def write_labels(source, names, path):
    """Writes the labels under the hospital's own ids."""
    image = sitk.ReadImage(str(source))
    array = sitk.GetArrayFromImage(image)
    own = np.zeros(array.shape, np.uint16)
    for name, ids in OWN_IDS.items():
        for side, label in zip(("left", "right") if len(ids) == 2 else ("",), ids, strict=True):
            own[array == names[f"{name}_{side}".rstrip("_")]] = label
    out = sitk.GetImageFromArray(own)
    out.CopyInformation(image)
    sitk.WriteImage(out, str(path))


def write_radiograph(radiograph_nii, path):
    """Writes log attenuation as a 16-bit PNG whose grey values are exposures."""
    log_attenuation = sitk.GetArrayFromImage(sitk.ReadImage(str(radiograph_nii)))
    exposure = np.exp(-np.maximum(log_attenuation, 0)) * 65000
    imsave(path, exposure.astype(np.uint16), check_contrast=False)


@pytest.fixture
def hospital(finished, tmp_path):
    """The finished project's inputs, as another hospital would hold them."""
    project = copy_project(tmp_path)
    rows = []
    for patient in sorted(p.name for p in (finished.folder / "results/patients").iterdir())[:PATIENTS]:
        virtual = finished.folder / "results/virtual" / patient
        imported = finished.folder / "results/patients" / patient
        folder = tmp_path / "hospital" / f"case {patient}"
        write_series(sitk.ReadImage(str(virtual / "ct.nii.gz")), folder / "ct" / "deeper")
        names = json.loads((virtual / "labels.json").read_text(encoding="utf-8"))
        write_labels(virtual / "labels.nii.gz", names, folder / "seg.nrrd")
        write_radiograph(imported / "radiograph.nii.gz", folder / "ap.png")
        camera = json.loads((imported / "camera.json").read_text(encoding="utf-8"))
        rows.append(
            {
                "patient_id": f"00{patient[-1]}",
                "ct": f"case {patient}/ct",
                "labels": f"case {patient}/seg.nrrd",
                "label_source": "our_hospital",
                "radiograph": f"case {patient}/ap.png",
                "sdd_mm": camera["sdd_mm"],
                "source_to_isocentre_mm": camera["source_to_isocentre_mm"],
                "pixel_mm": camera["pixel_mm"],
            }
        )
    pd.DataFrame(rows).to_csv(tmp_path / "hospital" / "cohort.csv", index=False)
    config = {
        "cohort": {"sheet": "hospital/cohort.csv"},
        "objects": OBJECTS,
        "label_sources": {"our_hospital": OWN_IDS},
        "radiograph": {"intensity": "linear", "working_pixel_mm": 4.0},
        "ct": SMALL["ct"],
        "image": SMALL["image"],
        "folds": {"count": 2, "train": [0]},
        "registration": {"bodies": BODIES},
        "evaluation": {"bootstrap_samples": 100},
        "experiments": {"mskdex": {"network": {"backbone": "hrnet_tiny", "ndf": 8}, "optimisation": {"epochs": 1}}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return project


def test_another_hospitals_cohort_runs_to_the_report(hospital, finished):
    hospital.snakemake()
    results = hospital.folder / "results"
    assert (results / "report" / "index.html").is_file()
    ours = pd.read_parquet(results / "cohort" / "quantities.parquet")
    assert set(ours["patient_id"]) == {f"00{i}" for i in range(1, PATIENTS + 1)}
    assert set(ours["object"]) == {f"{n}_{s}" for n in ("gluteus_medius", "femur") for s in ("left", "right")} | {
        "sacrum"
    }
    theirs = pd.read_parquet(finished.folder / "results/cohort/quantities.parquet")
    theirs["patient_id"] = "00" + theirs["patient_id"].str[-1]
    both = ours.merge(theirs, on=["patient_id", "object"], suffixes=("", "_nifti"))
    assert len(both) == len(ours)
    np.testing.assert_allclose(both["lean_mass_g"], both["lean_mass_g_nifti"], rtol=1e-6)
    assert leaks(hospital.folder / "hospital")
    assert leaks(results) == []
