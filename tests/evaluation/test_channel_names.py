"""Channels are told apart by name: their order in a file changes nothing, and other names are an error."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import Fabrication, fabricate

from mskdex.config import Config
from mskdex.config.evaluation import EvaluationSettings
from mskdex.errors import MskdexError
from mskdex.evaluation.decompositions import RenderedDrrs, read_decomposition
from mskdex.io.arrays import Crops, read_arrays, write_arrays
from mskdex.io.artifacts import read_json, write_json, write_parquet
from mskdex.io.stack import read_stack, write_stack
from mskdex.pipeline.stages.collect import collect
from mskdex.pipeline.stages.evaluate import evaluate
from mskdex.report.montage import save_montage
from mskdex.report.results import read_results

CONFIG = Config(evaluation=EvaluationSettings(bootstrap_samples=100))
PATIENT = "P000"  # of the tested fold


def evaluated(root: Path) -> Path:
    """Runs the evaluation on fabricated results."""
    collect(root / "patients", root / "cohort" / "patients.parquet", root / "cohort")
    evaluate(
        root / "experiments",
        ("mskdex",),
        (0,),
        root / "cohort",
        root / "patients",
        CONFIG.evaluation,
        root / "evaluation",
    )
    return root


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return fabricate(tmp_path, Fabrication(patients=8, experiments={"mskdex": 0.05}))


def reverse_files(root: Path, patient: str) -> None:
    """Writes a patient's stack and decomposition with their objects in reverse order."""
    path = root / "patients" / patient / "stack.safetensors"
    old = read_stack(path)
    write_stack(
        path,
        replace(
            old,
            channels=old.channels[::-1],
            drr=Crops.of(old.drr.dense()[:, ::-1]),
            truth=old.truth[:, ::-1],
            known=old.known[::-1],
            visible=old.visible[::-1],
            aligned=Crops.of(old.aligned.dense()[:, ::-1]),
            aligned_objects=old.aligned_objects[::-1],
        ),
    )
    path = root / "experiments" / "mskdex" / "fold0" / "decompositions" / f"{patient}.safetensors"
    if path.exists():
        arrays, meta = read_arrays(path)
        write_arrays(path, {"drr": arrays["drr"][:, ::-1]}, meta | {"objects": meta["objects"][::-1]})


def published(root: Path, folder: Path) -> dict[str, pd.DataFrame]:
    """The montage's table of sums and the tables of the evaluation, sorted."""
    save_montage(read_results(root, CONFIG), "montage", folder)
    tables = {n: pd.read_parquet(root / "evaluation" / f"{n}.parquet") for n in ("agreement", "images")}
    tables["montage"] = pd.read_csv(folder / "montage.csv")
    names = ("object", "structure")
    return {n: t.sort_values([c for c in t if t[c].dtype == object or c in names]) for n, t in tables.items()}


def test_the_order_of_the_objects_in_a_file_changes_nothing(results: Path) -> None:
    before = published(evaluated(results), results / "before")
    for number in range(8):
        reverse_files(results, f"P{number:03d}")
    after = published(evaluated(results), results / "after")
    sums = before["montage"]
    stack = RenderedDrrs.read(results / "patients", PATIENT, [c.name for c in CONFIG.channels])
    row = sums[(sums["patient"] == PATIENT) & (sums["source"] == "CT") & (sums["quantity"] == "volume_cm3")]
    row = row.set_index("object")["sum"]
    np.testing.assert_allclose(row["iliacus_left"], stack.drr["iliacus_left"][1].sum(), rtol=1e-5)
    for name, table in before.items():
        keys = [
            c
            for c in (
                "method",
                "patient",
                "patient_id",
                "source",
                "channel",
                "object",
                "structure",
                "side",
                "quantity",
                "statistic",
            )
            if c in table
        ]
        one, other = (t.sort_values(keys, ignore_index=True) for t in (table, after[name]))
        pd.testing.assert_frame_equal(one, other[one.columns], rtol=1e-3)


def test_objects_of_another_cohort_are_an_error(results: Path) -> None:
    path = results / "cohort" / "objects.json"
    objects = read_json(path)
    write_json(path, [c for c in objects if c["object"] != "iliacus"])
    with pytest.raises(MskdexError, match=r"fold 0.*predictions\.parquet holds.*iliacus_left, iliacus_right too"):
        evaluated(results)
    predictions = results / "experiments" / "mskdex" / "fold0" / "predictions.parquet"
    table = pd.read_parquet(predictions)
    write_parquet(predictions, table[table["object"] != "iliacus"])
    with pytest.raises(
        MskdexError, match=r"P000.*stack\.safetensors holds.*objects\.json\).*iliacus_left, iliacus_right too"
    ):
        evaluated(results)
    write_json(path, [*objects, objects[0] | {"name": "psoas_left"}])
    with pytest.raises(MskdexError, match=r"quantities\.parquet has no row of psoas_left"):
        evaluated(results)


def test_a_decomposition_of_other_objects_is_an_error_though_its_shape_fits(results: Path) -> None:
    path = results / "experiments" / "mskdex" / "fold0" / "decompositions" / f"{PATIENT}.safetensors"
    stack = read_stack(results / "patients" / PATIENT / "stack.safetensors")
    arrays, meta = read_arrays(path)
    write_arrays(path, arrays, meta | {"objects": ["psoas_left", *meta["objects"][1:]]})
    with pytest.raises(MskdexError, match="lacks gluteus_maximus_left and it has psoas_left too"):
        read_decomposition(path, stack)
    write_arrays(path, arrays, {"patient": PATIENT})
    with pytest.raises(MskdexError, match="lacks gluteus_maximus_left, "):
        read_decomposition(path, stack)
