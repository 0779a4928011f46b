"""The external cohort, the maps and the page for paper."""

import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import Fabrication
from fabricated_report import EXPERIMENTS, SETTINGS, make_index, make_results

from mskdex.config import Config
from mskdex.evaluation.decompositions import RenderedDrrs
from mskdex.evaluation.maps import PosedDrrs
from mskdex.io.arrays import write_arrays
from mskdex.io.artifacts import read_json, read_parquet, write_json, write_parquet
from mskdex.report.html_tables import Table, plain, words
from mskdex.report.montage import drawn
from mskdex.report.printing import MOST_ROWS, print_pdf, shortened

CONFIG = Config(evaluation=SETTINGS, experiments=EXPERIMENTS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with an external cohort, and one tested patient whose true images are known."""
    root = tmp_path_factory.mktemp("sections")
    what = Fabrication(patients=16, external=6, size=16, experiments={"mskdex": 0.05}, seed=1)
    make_results(root, what, CONFIG)
    names = [c["name"] for c in read_json(root / "cohort" / "objects.json")]
    tested = read_parquet(root / "evaluation" / "points.parquet")["patient_id"].iloc[0]
    rendered = RenderedDrrs.read(root / "patients", tested, names)
    images = np.stack([rendered.drr[name] for name in names], axis=1).astype(np.float32)
    meta = {"objects": names, "drr_camera": rendered.stack.camera.as_dict()}
    write_arrays(root / "virtual" / tested / "truth_images.safetensors", {"drr": images}, meta)
    rows = [
        {
            "method": "mskdex",
            "fold": 0,
            "patient_id": tested,
            "structure": c.object,
            "side": c.side,
            "channel": c.name,
            "kind": c.kind,
            "quantity": "volume_cm3",
            "psnr_db": 20.0,
            "ssim": 0.9,
            "relative_l1": 0.25,
            "dice": 0.75,
            "data_range": 1.0,
        }
        for c in rendered.stack.channels
    ]
    write_parquet(root / "evaluation" / "maps.parquet", pd.DataFrame(rows))
    manifest = root / "experiments" / "mskdex" / "fold0" / "train.json"
    known = {"device": "Arvik / Lumen 40", "scale": "relative", "patients": 7, "own_greys": True, "error_nepers": 0.125}
    write_json(manifest, read_json(manifest) | {"device_profiles": [known | {"grey": [0, 1], "attenuation": [0, 4]}]})
    return root


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return make_index(root, CONFIG)


def test_the_external_cohort_stands_beside_the_held_out_patients(root: Path, page: str) -> None:
    assert '<section class="card" id="external">' in page
    assert "In 6 external patients: ICC" in page
    table = pd.read_csv(root / "report" / "tables" / "external_lean_mass_g.csv").set_index(["Method", "Structure"])
    added, held_out = (
        read_parquet(root / "evaluation" / name).query("quantity == 'lean_mass_g' and structure == 'sacrum'")
        for name in ("external_added_value.parquet", "added_value.parquet")
    )
    values, known = (t[t["method"] == "mskdex"].set_index("measure")["value"].round(6) for t in (added, held_out))
    row = table.loc[("mskdex", "Sacrum")]
    assert row["PCC"] == pytest.approx(values["pcc"], abs=1e-6)
    assert row["Slope"] == pytest.approx(values["slope"], abs=1e-6)
    assert f"held out {known['slope']:.2f}" in row["Slope interval"]


def test_maps_and_the_pose_of_the_truth_are_told(root: Path, page: str) -> None:
    assert '<section class="card" id="maps">' in page
    assert "the truth in the radiograph’s own posture" in page
    row = pd.read_csv(root / "report" / "tables" / "maps_volume_cm3.csv").set_index("Structure").loc["Iliacus"]
    assert (row["Dice: mskdex"], row["Relative L1: mskdex"]) == (0.75, 0.25)


def test_a_picture_of_few_pixels_is_enlarged_and_the_truth_keeps_its_detail(root: Path) -> None:
    names = [c["name"] for c in read_json(root / "cohort" / "objects.json")]
    rendered = RenderedDrrs.read(root / "patients", "P000", names)
    own = rendered.stack.camera
    values = np.random.default_rng(2).random((3, 32, 32))
    true = PosedDrrs({names[0]: values}, own.resized((32, 32), own.pixel_mm / 2))
    for name, fine in ((names[0], None), (names[1], true)):
        image = drawn(rendered.drr, name, rendered, fine)
        means = image.reshape(3, 16, 8, 16, 8).mean(axis=(2, 4))
        np.testing.assert_allclose(means, rendered.drr[name], rtol=1e-6)
    image = drawn(rendered.drr, names[0], rendered, true)
    assert image.shape == (3, 128, 128)
    np.testing.assert_allclose(image, 4.0 * values.repeat(4, axis=1).repeat(4, axis=2), rtol=1e-9)


def test_what_a_model_knows_of_devices_is_told(root: Path, page: str) -> None:
    assert "<summary>Devices</summary>" in page
    row = pd.read_csv(root / "report" / "tables" / "devices.csv").iloc[0]
    assert row[["Device", "Patients", "Curve over"]].tolist() == ["Arvik / Lumen 40", 7, "own grey values"]
    assert row["Error"] == 0.125


def test_sections_without_their_data_are_not_there(root: Path) -> None:
    empty = {n: read_parquet(root / "evaluation" / f"{n}.parquet") for n in ("external_added_value", "maps")}
    try:
        for name, table in empty.items():
            write_parquet(root / "evaluation" / f"{name}.parquet", table.iloc[:0])
        page = make_index(root, CONFIG, out="bare")
    finally:
        for name, table in empty.items():
            write_parquet(root / "evaluation" / f"{name}.parquet", table)
    assert 'id="external"' not in page
    assert 'id="maps"' not in page
    assert "external patients" not in page


def test_the_page_for_paper_needs_no_script_and_holds_the_answers(root: Path, page: str) -> None:
    paper = (root / "report" / "print.html").read_text(encoding="utf-8")
    assert "<script" not in paper
    assert "http" not in paper.replace("http-equiv", "")
    for heading in ("Does the image add anything?", "Can I trust it?", "What was left out?", "External cohort"):
        assert heading in paper
    assert "Weighted volume" not in paper
    assert len(paper) < 400_000 < len(page)


def test_a_long_table_is_shortened_to_the_mean_of_the_muscles() -> None:
    names = ["Mean of the muscles", "Iliacus", "Sacrum"]
    long = plain("t", "", ["Group", "Structure"], [[words(str(i)), words(n)] for i in range(30) for n in names])
    short = shortened(long)
    assert [g[0][1].text for g in short.groups] == ["Mean of the muscles"] * 30
    assert short.notes == ["30 of 90 rows; tables/t.csv has all."]
    patients = plain("p", "", ["Patient"], [[words(str(i))] for i in range(539)])
    assert len(shortened(patients).groups) == MOST_ROWS
    few = Table("f", "", patients.columns, patients.groups[:5])
    assert shortened(few) is few


def test_a_pdf_is_printed_where_there_is_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, out = tmp_path / "print.html", tmp_path / "report.pdf"
    page.write_text("<p>x</p>", encoding="utf-8")
    out.write_bytes(b"old")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert not print_pdf(page, out)
    assert not out.exists(), "an older report's PDF is not left beside a new page"
    browser = tmp_path / "bin" / "chromium"
    browser.parent.mkdir()
    browser.write_text(
        '#!/bin/sh\nfor a in "$@"; do case $a in --print-to-pdf=*) echo "%PDF $a" > "${a#*=}";; esac; done\n',
        encoding="utf-8",
    )
    browser.chmod(browser.stat().st_mode | stat.S_IEXEC)
    assert print_pdf(page, out)
    assert out.read_text(encoding="utf-8").startswith("%PDF")
    browser.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    assert not print_pdf(page, out)
    assert not out.exists()


def test_excluded_patients_are_told_apart_from_refused_pairs(root: Path) -> None:
    folder = root / "cohort"
    pairs = read_parquet(folder / "pairs.parquet")
    try:
        told = pairs.assign(refused=pairs["refused"].where(pairs["patient_id"] != "P003", "pelvis is not registered"))
        write_parquet(folder / "pairs.parquet", told)
        page = make_index(root, CONFIG, out="refused")
    finally:
        write_parquet(folder / "pairs.parquet", pairs)
    assert "1 patients excluded by the cohort sheet; 1 whose radiograph and CT do not belong together" in page
