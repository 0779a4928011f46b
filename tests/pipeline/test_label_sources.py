"""The whole workflow on cohorts labelled by TotalSegmentator, by MuscleMap and by both."""

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from working_copy import SMALL, copy_project

from mskdex.io.artifacts import read_json

MUSCLES = ("gluteus_maximus", "gluteus_medius", "gluteus_minimus", "iliacus", "obturator_externus", "pectineus")
BONES = ("pelvis", "sacrum", "femur")
SIDES = {"sacrum": ("",), "lumbar_spine": ("",), "bladder": ("",)}
# Class ids of TotalSegmentator 2's task `total` and of MuscleMap; left, right.
IDS = {
    "totalsegmentator": {
        "gluteus_maximus": (80, 81),
        "gluteus_medius": (82, 83),
        "gluteus_minimus": (84, 85),
        "pelvis": (77, 78),
        "femur": (75, 76),
        "sacrum": (25,),
        # also in its files: iliopsoas, autochthon, vertebra L5, urinary bladder
        "iliacus": (88, 89),
        "psoas_major": (88, 89),
        "erector_spinae": (86, 87),
        "lumbar_spine": (27,),
        "bladder": (21,),
    },
    "musclemap": {
        "gluteus_maximus": (6121, 6122),
        "gluteus_medius": (6111, 6112),
        "gluteus_minimus": (6101, 6102),
        "iliacus": (6141, 6142),
        "obturator_externus": (6211, 6212),
        "pectineus": (6191, 6192),
        "pelvis": (6151, 6152),
        "femur": (6171, 6172),
        "sacrum": (6160,),
    },
}
LACKED_BY_TOTALSEGMENTATOR = ("iliacus", "obturator_externus", "pectineus")
SOURCES = {"P1": "totalsegmentator", "P2": "totalsegmentator", "P3": "totalsegmentator"}
SOURCES |= {"P4": "musclemap", "P5": "musclemap", "P6": "musclemap"}
ABSENT = {("P2", "gluteus_minimus_left"), ("P5", "pectineus_right")}
"""Structures that a patient's own file lacks, though the source has them."""

CONFIG = {
    "cohort": {"sheet": "hospital/cohort.csv"},
    "folds": {"count": 3, "train": [0]},
    "registration": {"attempts": 1, "restarts": 2, "finalists": 1, "generations": 20, "fine_pixels_mm": [6.0]},
    "evaluation": {"bootstrap_samples": 100},
    "experiments": {"mskdex": {"network": {"backbone": "hrnet_tiny", "ndf": 4}, "optimisation": {"epochs": 1}}},
} | {section: SMALL[section] for section in ("ct", "radiograph", "image")}


def sided(name):
    """Names of the channels of an object."""
    return [f"{name}_{side}".rstrip("_") for side in SIDES.get(name, ("left", "right"))]


def write_labels(virtual, patient, path):
    """Writes the virtual patient's structures under the ids that its source gives them."""
    image = nib.load(virtual / "labels.nii.gz")
    array = np.asarray(image.dataobj)
    own = np.zeros(array.shape, np.uint16)
    names = json.loads((virtual / "labels.json").read_text(encoding="utf-8"))
    for name, ids in IDS[SOURCES[patient]].items():
        for channel, label in zip(sided(name), ids, strict=True):
            if (patient, channel) not in ABSENT:
                own[array == names[channel]] = label
    nib.save(nib.Nifti1Image(own, image.affine), path)


@pytest.fixture(scope="module")
def hospital(finished, tmp_path_factory):
    """A project whose patients are virtual ones, with the label files of two programs."""
    project = copy_project(tmp_path_factory.mktemp("sources"))
    made = sorted(p for p in (finished.folder / "results/virtual").iterdir() if (p / "radiograph.dcm").is_file())
    sheet = pd.read_csv(finished.folder / "results/virtual/cohort.tsv", sep="\t", dtype=str, keep_default_na=False)
    distances = sheet.set_index("patient_id")["sdd_mm"]
    for patient, virtual in zip(SOURCES, made, strict=False):
        folder = project.folder / "hospital" / patient
        folder.mkdir(parents=True)
        for name in ("ct.nii.gz", "radiograph.dcm"):
            shutil.copyfile(virtual / name, folder / name)
        write_labels(virtual, patient, folder / "seg.nii.gz")
        (folder / "sdd_mm").write_text(distances[virtual.name], encoding="utf-8")
    (project.folder / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    return project


def run(project, patients):
    """Runs the workflow on some of the patients."""
    rows = [
        {
            "patient_id": p,
            "ct": f"{p}/ct.nii.gz",
            "labels": f"{p}/seg.nii.gz",
            "label_source": SOURCES[p],
            "radiograph": f"{p}/radiograph.dcm",
            "sdd_mm": (project.folder / "hospital" / p / "sdd_mm").read_text(encoding="utf-8"),
        }
        for p in patients
    ]
    pd.DataFrame(rows).to_csv(project.folder / "hospital" / "cohort.csv", index=False)
    return project.snakemake().stdout


def independent_sums(folder, source, name):
    """Of each side of an object, the sums over the user's own files, by the source's ids."""
    ct, labels = nib.load(folder / "ct.nii.gz"), np.asarray(nib.load(folder / "seg.nii.gz").dataobj)
    voxel_cm3 = abs(np.linalg.det(ct.affine[:3, :3])) / 1000
    for channel, label in zip(sided(name), IDS[source][name], strict=True):
        hu = np.clip(np.asarray(ct.dataobj)[labels == label].astype(float), -1024, 3071)
        # Schneider, Bortfeld, Schlegel 2000
        rho = np.where(hu < -98, 0.00121 + 0.001029700665188 * (hu + 1000), 1.018 + 0.893e-3 * hu)
        rho = np.where(hu >= 14, np.where(hu < 23, 1.03, 1.003 + 1.169e-3 * hu), rho)
        rho = np.maximum(np.where(hu >= 100, 1.017 + 0.592e-3 * hu, rho), 0)
        lean = np.clip((hu + 30) / 60, 0, 1) * rho
        sums = {
            "volume_cm3": len(hu),
            "weighted_volume_cm3": np.maximum(1 + hu / 1000, 0).sum(),
            "lean_mass_g": lean.sum(),
        }
        yield channel, {quantity: value * voxel_cm3 for quantity, value in sums.items()}


def independent_truth(project, patients, objects):
    """Row per patient, channel and quantity."""
    rows = [
        {"patient_id": p, "channel": channel, "quantity": quantity, "expected": value}
        for p in patients
        for name in objects
        for channel, sums in independent_sums(project.folder / "hospital" / p, SOURCES[p], name)
        for quantity, value in sums.items()
    ]
    return pd.DataFrame(rows)


def check(project, patients, objects):
    """Everything that the cohort publishes has these objects' names, each with the numbers of its own voxels."""
    results = project.folder / "results"
    channels = [channel for name in objects for channel in sided(name)]
    assert [c["name"] for c in read_json(results / "cohort/objects.json")] == channels
    expected = independent_truth(project, patients, objects)
    check_truth(results, patients, channels, expected)
    check_predictions(results, channels, expected)
    check_montage(results, objects, channels, expected)
    structures = pd.read_csv(results / "cohort/structures.csv")
    assert list(structures["object"].unique()) == channels
    absent = structures.loc[~structures["present"], ["patient_id", "object"]]
    assert set(absent.itertuples(index=False, name=None)) == absent_of(patients, channels)
    check_report_tables(results, objects, channels, expected)


def absent_of(patients, channels):
    """What these patients' own files lack of the cohort's channels."""
    return {(p, c) for p, c in ABSENT if p in patients and c in channels}


def check_truth(results, patients, channels, expected):
    table = pd.read_parquet(results / "cohort/quantities.parquet").rename(columns={"object": "channel"})
    assert set(table["patient_id"]) == set(patients)
    held = {(p, c): present for p, c, present in table[["patient_id", "channel", "present"]].itertuples(index=False)}
    absent = {key for key, present in held.items() if not present and key[1] in channels}
    assert absent == absent_of(patients, channels)
    long = table.melt(
        ["patient_id", "channel", "present"], ["volume_cm3", "weighted_volume_cm3", "lean_mass_g"], var_name="quantity"
    )
    both = expected.merge(long, on=["patient_id", "channel", "quantity"], how="left")
    here = both["present"].to_numpy(bool)
    np.testing.assert_allclose(both["value"][here], both["expected"][here], rtol=1e-6)
    assert both["value"][~here].isna().all()
    assert (both["expected"][~here] == 0).all()


def check_predictions(results, channels, expected):
    predictions = pd.read_parquet(results / "experiments/mskdex/fold0/predictions.parquet")
    assert list(predictions["channel"].unique()) == channels
    known = predictions.dropna(subset="truth").drop(columns="side")
    both = known.merge(expected, on=["patient_id", "channel", "quantity"])
    assert len(both) == len(known) > 0
    np.testing.assert_allclose(both["truth"], both["expected"], rtol=1e-6)


def check_report_tables(results, objects, channels, expected):
    """The report's means are those of the patients in whom the object is whole."""
    table = pd.read_csv(results / "report/tables/objects.csv")
    names = (
        table["Structure"].str.lower().str.replace(" ", "_") + "_" + table["Side"].where(table["Side"] != "midline", "")
    )
    assert list(names.str.rstrip("_")) == channels
    held = pd.read_parquet(results / "cohort/quantities.parquet").rename(columns={"object": "channel"})
    whole = held.loc[held["present"] & ~held["truncated"], ["patient_id", "channel"]]
    means = expected.merge(whole).groupby(["channel", "quantity"])["expected"].mean()
    for quantity, column in {"volume_cm3": "Volume (cm³)", "lean_mass_g": "Lean mass (g)"}.items():
        wanted = [means.get((channel, quantity), np.nan) for channel in channels]
        np.testing.assert_allclose(table[column], wanted, rtol=1e-6)
    for path in (results / "report/tables").glob("agreement_*.csv"):
        shown = {name.lower().replace(" ", "_") for name in pd.read_csv(path)["Structure"]}
        assert shown & {*MUSCLES, *BONES} == set(objects), path.name


def check_montage(results, objects, channels, expected):
    """The figure's columns and its table of sums: what is drawn from the CT is the object that the column names."""
    drawn = pd.read_csv(results / "report/figures/decompositions.csv").rename(columns={"patient": "patient_id"})
    assert list(drawn["object"].unique()) == channels
    visible = pd.read_parquet(results / "evaluation/points.parquet").drop_duplicates(["patient_id", "channel"])
    ct = drawn[drawn["source"] == "CT"].rename(columns={"object": "channel"})
    ct = ct.merge(visible[["patient_id", "channel", "visible"]], on=["patient_id", "channel"])
    both = ct.merge(expected, on=["patient_id", "channel", "quantity"])
    assert len(both) == len(ct) == 3 * len(channels) * drawn["patient_id"].nunique()
    inside = both[both["visible"] > 0.98]
    assert set(inside["channel"]) >= set(sided("sacrum")) | set(sided("pelvis"))
    np.testing.assert_allclose(inside["sum"], inside["expected"], rtol=0.04)
    picture = (results / "report/figures/decompositions.svg").read_text(encoding="utf-8")
    texts = [re.sub(r"<[^>]*>", "", t).strip() for t in re.findall(r"<text[^>]*>(.*?)</text>", picture, re.DOTALL)]
    words = {word for text in texts for word in text.lower().split()}
    for name in (*MUSCLES, *BONES):
        assert (name.split("_")[-1] in words) == (name in objects), name


def test_a_cohort_of_two_sources_has_the_objects_of_both(hospital):
    said = run(hospital, SOURCES)
    check(hospital, list(SOURCES), [n for n in (*MUSCLES, *BONES) if n not in LACKED_BY_TOTALSEGMENTATOR])
    assert "6 patients, 6 objects" in said
    log = (hospital.folder / "results/logs/cohort.log").read_text(encoding="utf-8")
    assert "the cohort lacks iliacus (not in totalsegmentator); obturator_externus" in log


def test_totalsegmentator_alone(hospital):
    patients = [p for p, source in SOURCES.items() if source == "totalsegmentator"]
    run(hospital, patients)
    check(hospital, patients, [n for n in (*MUSCLES, *BONES) if n not in LACKED_BY_TOTALSEGMENTATOR])


def test_musclemap_alone_has_all_nine_objects(hospital):
    patients = [p for p, source in SOURCES.items() if source == "musclemap"]
    run(hospital, patients)
    check(hospital, patients, [*MUSCLES, *BONES])
