"""The stage `report`: what stands in the pages and beside them."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import Fabrication
from fabricated_report import EXPERIMENTS, SETTINGS, make_index, make_results
from PIL import Image

from mskdex.config import Config
from mskdex.config.cohort import CohortSettings
from mskdex.config.evaluation import ReportSettings
from mskdex.config.learning import ExperimentSettings, LossSettings
from mskdex.errors import MskdexError
from mskdex.io.artifacts import write_parquet
from mskdex.pipeline.stages.report import report
from mskdex.report.figures import ablation_chart
from mskdex.report.patient_pages import patients, write_patient
from mskdex.report.results import read_results


def _index(folder: Path) -> str:
    return (folder / "index.html").read_text(encoding="utf-8")


def _section(html: str, name: str) -> str:
    return html.split(f'id="{name}"', 1)[1].split("</section>", 1)[0]


def test_every_figure_stands_as_svg_png_and_csv(report_folder: Path) -> None:
    names = {p.stem for p in (report_folder / "figures").iterdir()}
    assert names >= {
        "correlation_lean_mass_g",
        "scatter_lean_mass_g",
        "scatter_volume_cm3",
        "bland_altman_lean_mass_g",
        "cohort_bmi_volume",
        "cohort_bmi_density",
        "registration_confidence",
        "training",
        "decompositions",
    }
    for name in names:
        for suffix in ("svg", "png", "csv"):
            assert (report_folder / "figures" / f"{name}.{suffix}").stat().st_size > 100, f"{name}.{suffix}"


def test_every_link_in_the_pages_leads_somewhere(report_folder: Path) -> None:
    for page in (report_folder / "index.html", report_folder / "patients" / "P000.html"):
        html = page.read_text(encoding="utf-8")
        links = set(re.findall(r'(?:href|src)="([^"#:]+)[#"]', html))
        assert links
        for link in links:
            assert (page.parent / link).exists(), f"{page.name}: {link}"
        for anchor in re.findall(r'href="#([^"]+)"', html):
            assert f'id="{anchor}"' in html
        ids = re.findall(r'\sid="([^"]+)"', html)
        assert len(ids) == len(set(ids))


def test_no_page_names_a_host(report_folder: Path) -> None:
    for page in report_folder.rglob("*.html"):
        assert not re.search(r"https?://|src=\"//", page.read_text(encoding="utf-8"))


def test_table_one_holds_the_cells_of_the_table_of_agreement(report_folder: Path) -> None:
    agreement = pd.read_parquet(report_folder.parent / "evaluation" / "agreement.parquet")
    table = pd.read_csv(report_folder / "tables" / "table1_pcc_lean_mass_g.csv", na_values=["undefined"])
    cells = agreement[(agreement["statistic"] == "pcc") & (agreement["quantity"] == "lean_mass_g")]
    for method in ("mskdex", "conventional"):
        ours = cells[cells["method"] == method]
        assert table[f"This cohort: {method}"].to_numpy() == pytest.approx(ours["value"].to_numpy(), nan_ok=True)
    html = _section(_index(report_folder), "correlation")
    sacrum = cells[(cells["method"] == "mskdex") & (cells["structure"] == "sacrum")].iloc[0]
    assert f"{sacrum['value']:.3f}" in html
    assert f"{sacrum['low']:.3f} to {sacrum['high']:.3f}".replace("-", "−") in html


def test_published_values_are_the_papers_and_marked_as_another_data_set(report_folder: Path) -> None:
    table = pd.read_csv(report_folder / "tables" / "table1_pcc_volume_cm3.csv").set_index("Structure")
    both = table[table["Side"] == "both"]
    assert both.loc["Gluteus medius", "Gu et al. 2023, another data set: proposed"] == 0.901
    assert both.loc["Iliacus", "Gu et al. 2023, another data set: conventional"] == 0.304
    assert "539 other patients" in _index(report_folder)


def test_undefined_agreement_is_called_undefined(report_folder: Path) -> None:
    html = _index(report_folder)
    assert "Femur: complete in no tested patient, so agreement is undefined, not zero." in html
    table = pd.read_csv(report_folder / "tables" / "table1_pcc_lean_mass_g.csv", keep_default_na=False)
    femur = table[table["Structure"] == "Femur"].iloc[0]
    assert femur["This cohort: mskdex interval"] == "complete in no patient"
    assert femur["This cohort: mskdex"] in ("", "undefined")


def test_exclusions_and_unused_registrations_are_listed(report_folder: Path) -> None:
    html = _index(report_folder)
    assert "hip prosthesis on the left" in _section(html, "exclusions")
    assert "truncated by the CT&#39;s field of view" in _section(html, "exclusions")
    assert "sacrum volume is small" in _section(html, "exclusions")
    registration = pd.read_parquet(report_folder.parent / "cohort" / "registration.parquet")
    unused = registration[~registration["accepted"]]
    assert len(unused)
    table = pd.read_csv(report_folder / "tables" / "registration_not_used.csv")
    assert list(table["Patient"]) == list(unused["patient_id"].astype(str))
    assert list(table["Why"]) == list(unused["reason"])
    for row in unused.itertuples():
        assert str(row.patient_id) in _section(html, "registration")
        page = (report_folder / "patients" / f"{row.patient_id}.html").read_text(encoding="utf-8")
        assert "confidence 0.20 is below 0.50" in page


def test_every_patient_has_a_page_and_the_untested_say_so(report_folder: Path) -> None:
    pages = sorted(p.stem for p in (report_folder / "patients").glob("*.html"))
    assert pages == [f"P{i:03d}" for i in range(20)]
    assert "no prediction" in (report_folder / "patients" / "P001.html").read_text(encoding="utf-8")
    tested = (report_folder / "patients" / "P000.html").read_text(encoding="utf-8")
    assert "no prediction" not in tested
    assert "data:image/webp" in tested


def test_the_checklists_leave_to_the_author_what_no_run_can_know(report_folder: Path) -> None:
    claim = pd.read_csv(report_folder / "tables" / "checklist_claim.csv")
    tripod = pd.read_csv(report_folder / "tables" / "checklist_tripod_ai.csv")
    assert len(claim) == 44
    assert claim.loc[claim["Section"] == "Introduction", "Answer"].eq("to be answered by the author").all()
    assert "Wilcoxon" in claim.loc[28, "Answer"]
    assert set(tripod["Item"].astype(str).str.extract(r"(\d+)")[0].astype(int)) == set(range(1, 28))
    assert tripod.loc[tripod["Item"] == "17", "Answer"].item() == "to be answered by the author"


def test_the_run_ends_with_the_correlations_and_the_path(report_folder: Path) -> None:
    text = (report_folder.parent / "printed.txt").read_text(encoding="utf-8")
    assert text.endswith(f"Report: {report_folder / 'index.html'}")
    assert "Pearson correlation of lean mass" in text


def test_without_patient_pages_nothing_links_to_them(report_folder: Path) -> None:
    config = Config(
        cohort=CohortSettings(sheet="ward7/mustermann/hips.tsv"),
        evaluation=SETTINGS,
        experiments=EXPERIMENTS,
        report=ReportSettings(patient_pages=False, notice="Not to be <shown>."),
    )
    html = make_index(report_folder.parent, config, "again")
    assert "hips.tsv" in html
    assert "mustermann" not in html
    assert "patients/P000.html" not in html
    assert "Not to be &lt;shown&gt;." in html


def test_the_same_results_give_the_same_index(report_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mskdex.report.facts.code_version", lambda: "1")
    pages = [
        make_index(report_folder.parent, Config(evaluation=SETTINGS, experiments=EXPERIMENTS), out)
        for out in ("first", "second")
    ]
    assert pages[0] == pages[1]


def test_missing_demographics_and_a_single_experiment(tmp_path: Path) -> None:
    what = Fabrication(patients=8, size=24, demographics=False, experiments={"mskdex": 0.1})
    config = Config(evaluation=SETTINGS, experiments={"mskdex": ExperimentSettings()})
    make_results(tmp_path, what, config)
    html = make_index(tmp_path, config)
    assert "Height or weight is not known" in html
    assert "age, sex, height, weight" not in _section(html, "correlation")
    results = read_results(tmp_path, config)
    Image.new("RGB", (60, 20)).save(tmp_path / "patients" / "P000" / "qc.png")
    write_patient(results, next(patients(results)), tmp_path)
    page = (tmp_path / "P000.html").read_text(encoding="utf-8")
    assert '<p class="lead">Fold 0</p>' in page
    assert re.search(r'<img src="data:image/webp;base64,[^"]+" alt="Segmentation, bones over the radiograph', page)


def test_an_ablation_is_shown_beside_the_papers(tmp_path: Path) -> None:
    losses = {
        "mskdex": LossSettings(),
        "none": LossSettings(lambda_is=0.0, lambda_bone=0.0),
        "sums": LossSettings(lambda_bone=0.0),
    }
    experiments = {n: ExperimentSettings(losses=v) for n, v in losses.items()}
    config = Config(
        evaluation=SETTINGS.model_copy(update={"tuning_folds": (1,), "baseline": "none"}), experiments=experiments
    )
    what = Fabrication(patients=16, size=24, trained=(0, 1), experiments={"mskdex": 0.05, "none": 0.5, "sums": 0.1})
    make_results(tmp_path, what, config)
    html = make_index(tmp_path, config)
    table = pd.read_csv(tmp_path / "report" / "tables" / "table2_ablation.csv").set_index("Experiment")
    assert table["Gu et al. 2023"].to_dict() == {"mskdex": 0.855, "none": 0.457, "sums": 0.826}
    assert table.loc["mskdex", "Mean PCC"] > table.loc["none", "Mean PCC"]
    assert "On the folds kept for choosing loss weights (1)" in _section(html, "ablation")
    tuning = pd.read_parquet(tmp_path / "evaluation" / "tuning.parquet")
    muscles = tuning[(tuning["statistic"] == "pcc") & (tuning["side"] == "mean") & (tuning["kind"] == "muscle")]
    ours = muscles[(muscles["method"] == "sums") & (muscles["quantity"] == "lean_mass_g")]["value"].mean()
    assert table.loc["sums", "Mean PCC"] == pytest.approx(ours)
    chart = ablation_chart(read_results(tmp_path, config))
    assert chart is not None
    assert [list(s.x) for s in chart.series] == [["100"], ["0", "100", "1000"], ["0", "100"], ["0", "100", "1000"]]


def test_results_without_predicted_images_still_report(tmp_path: Path) -> None:
    what, config = Fabrication(patients=8, size=24), Config(evaluation=SETTINGS, experiments=EXPERIMENTS)
    make_results(tmp_path, what, config)
    for name in what.experiments:
        shutil.rmtree(tmp_path / "experiments" / name / "fold0" / "decompositions")
    assert "No experiment left decompositions." in make_index(tmp_path, config)


def test_a_missing_artifact_is_named(tmp_path: Path) -> None:
    with pytest.raises(MskdexError, match=r"\.parquet cannot be read"):
        report(tmp_path, Config(), tmp_path / "report")


def test_text_from_the_sheet_cannot_become_markup(tmp_path: Path) -> None:
    config = Config(evaluation=SETTINGS, experiments=EXPERIMENTS)
    make_results(tmp_path, Fabrication(patients=8, size=24), config)
    excluded = pd.DataFrame({"patient_id": ["X1", "X2"], "reason": ["<script>alert(1)</script>", "=HYPERLINK(1)"]})
    write_parquet(tmp_path / "cohort" / "excluded.parquet", excluded)
    people = pd.read_parquet(tmp_path / "cohort" / "patients.parquet")
    write_parquet(tmp_path / "cohort" / "patients.parquet", people.assign(sex="<b>F"))
    html = make_index(tmp_path, config)
    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "<b>F" not in html
    table = pd.read_csv(tmp_path / "report" / "tables" / "excluded.csv")
    assert list(table["Reason"]) == ["<script>alert(1)</script>", "'=HYPERLINK(1)"]


def test_a_scatter_csv_holds_the_counted_points(report_folder: Path) -> None:
    points = pd.read_parquet(report_folder.parent / "evaluation" / "points.parquet")
    table = pd.read_csv(report_folder / "figures" / "scatter_volume_cm3.csv")
    rows = points[(points["method"] == "mskdex") & (points["quantity"] == "volume_cm3") & points["left_out"].isna()]
    ours = table[(table["series"] == "mskdex") & (table["panel"] == "Iliacus")]
    assert np.sort(ours["x"]) == pytest.approx(np.sort(rows.loc[rows["structure"] == "iliacus", "truth"]))


def test_warnings_of_the_import_stand_on_the_first_page_and_on_the_patients_own(report_folder):
    page = (report_folder / "index.html").read_text(encoding="utf-8")
    assert "The import warned about 1 of 20 patients: P001." in page
    table = pd.read_csv(report_folder / "tables" / "warnings.csv")
    assert table.to_numpy().tolist() == [["P001", "the radiograph shows no unattenuated beam"]]
    told = '<p class="notice">Import: the radiograph shows no unattenuated beam</p>'
    assert told in (report_folder / "patients" / "P001.html").read_text(encoding="utf-8")
    assert "Import:" not in (report_folder / "patients" / "P002.html").read_text(encoding="utf-8")


def test_the_first_screen_answers_three_questions(report_folder: Path) -> None:
    html = _section(_index(report_folder), "summary")
    added = pd.read_parquet(report_folder.parent / "evaluation" / "added_value.parquet")
    some = added[(added["method"] == "mskdex") & (added["quantity"] == "lean_mass_g")]
    cells = some[some["structure"] == "mean_of_muscles"].set_index("measure")
    for question in ("Does the image add anything?", "Can I trust it?", "What was left out?"):
        assert question in html
    gain = cells.loc["r2_gain"]
    answer = "Yes" if gain["low"] > 0 else "It makes it worse" if gain["high"] < 0 else "Not shown"
    if np.isnan(gain["low"]):
        answer = "Cannot be said"
    assert f'<div class="value">{answer}</div>' in html
    assert f"ICC(2,1) {cells.loc['icc21', 'value']:.2f}" in html
    assert "1 patients excluded by the cohort sheet" in html


def test_the_first_table_holds_what_the_evaluation_found(report_folder: Path) -> None:
    added = pd.read_parquet(report_folder.parent / "evaluation" / "added_value.parquet")
    table = pd.read_csv(report_folder / "tables" / "added_value_volume_cm3.csv")
    rows = table[table["Structure"] == "Mean of the muscles"].set_index("Method")
    assert list(rows.index) == [
        "mskdex",
        "fused",
        "conventional",
        "age, sex, height, weight",
        "thumbnail ridge",
        "demographics + thumbnail",
        "mean of training",
    ]
    some = added[(added["structure"] == "mean_of_muscles") & (added["quantity"] == "volume_cm3")]
    for column, measure in (
        ("PCC", "pcc"),
        ("R² gained", "r2_gain"),
        ("Left−right r", "left_right"),
        ("Slope", "slope"),
    ):
        cells = some[some["measure"] == measure].set_index("method")["value"]
        assert rows.loc["mskdex", column] == pytest.approx(cells["mskdex"])
        assert rows.loc["fused", column] == pytest.approx(cells["fused"])
    html = _index(report_folder)
    assert html.index('id="table-added_value_lean_mass_g"') < html.index('id="table-table1_pcc_lean_mass_g"')


def test_the_papers_icc_stands_apart_from_forms_that_it_does_not_name(report_folder: Path) -> None:
    ours = pd.read_csv(report_folder / "tables" / "supplement1_icc21_volume_cm3.csv")
    assert not [c for c in ours if "Gu et al." in c]
    theirs = pd.read_csv(report_folder / "tables" / "published_icc_volume_cm3.csv").set_index("Structure")
    assert theirs.loc["Iliacus"].tolist() == [0.866, 0.213]
    assert "does not say which form" in _section(_index(report_folder), "reliability")


def _as_shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Groups of method and group in the order in which they begin, in each the mean of the muscles before the rest."""
    shown = []
    for method, group in dict.fromkeys(zip(rows["method"], rows["group"], strict=True)):
        own = rows[(rows["method"] == method) & (rows["group"] == group)]
        mean = own["structure"] == "mean_of_muscles"
        shown += [own[mean], own[~mean]]
    return pd.concat(shown)


def test_groups_and_intervals_have_tables(report_folder: Path) -> None:
    folder = report_folder.parent / "evaluation"
    coverage = pd.read_parquet(folder / "coverage.parquet").query("quantity == 'lean_mass_g'")
    table = pd.read_csv(report_folder / "tables" / "coverage_lean_mass_g.csv")
    assert len(table) == len(coverage)
    assert table["Too few for one"].tolist() == _as_shown(coverage)["without"].tolist()
    found = pd.read_parquet(folder / "subgroups.parquet").query(
        "quantity == 'lean_mass_g' and measure == 'bias_percent'"
    )
    table = pd.read_csv(report_folder / "tables" / "subgroups_lean_mass_g.csv", na_values=["–"])
    assert table["Bias %"].to_numpy() == pytest.approx(_as_shown(found)["value"].to_numpy(), nan_ok=True)
    assert "Too few patients for prediction intervals." in _section(_index(report_folder), "summary")


def test_the_table_of_low_muscle_holds_what_the_evaluation_found(report_folder: Path) -> None:
    found = pd.read_parquet(report_folder.parent / "evaluation" / "decisions.parquet")
    table = pd.read_csv(report_folder / "tables" / "decisions.csv", na_values=["–"])
    auc = found[found["measure"] == "auc"]
    assert table["AUC"].to_numpy() == pytest.approx(auc["value"].to_numpy(), nan_ok=True)
    assert table["Low"].tolist() == auc["low_muscle"].tolist()
    assert "AWGS and EWGSOP" in _section(_index(report_folder), "decisions")
