"""The report in a real browser, from disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from headless_browser import Browser, chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="Chromium is not installed"),
]

FIRST_COLUMN = (
    "[...document.querySelectorAll('#table-table1_pcc_lean_mass_g tbody')].map((b) => b.rows[0].cells[%d].%s)"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def index(browser: Browser, report_folder: Path) -> Iterator[Browser]:
    browser.errors.clear()
    browser.requests.clear()
    browser.open(report_folder / "index.html")
    browser.wait("document.documentElement.dataset.ready === 'true'")
    yield browser
    assert browser.errors == []
    outside = [u for u in browser.requests if not u.startswith(("file:", "data:", "blob:"))]
    assert outside == [], "the report needs no network"


def test_it_draws_its_charts(index: Browser) -> None:
    assert index.run("document.querySelectorAll('#plot-scatter .scatterlayer .trace').length") >= 2
    assert index.run("document.querySelectorAll('#plot-difference .point').length") > 0
    assert index.run("document.querySelectorAll('[data-chart] .main-svg').length") >= 6


def test_a_click_on_a_heading_sorts_the_table(index: Browser) -> None:
    heading = "document.querySelector('#table-table1_pcc_lean_mass_g th[data-column=\"3\"]')"
    index.run(f"{heading}.querySelector('button').click()")
    values = [float(v) for v in index.run(FIRST_COLUMN % (3, "dataset.sort")) if v != "nan"]
    assert index.run(f"{heading}.getAttribute('aria-sort')") == "descending"
    assert values == sorted(values, reverse=True)
    assert len(values) > 5
    index.run(f"{heading}.querySelector('button').click()")
    values = index.run(FIRST_COLUMN % (3, "dataset.sort"))
    assert [float(v) for v in values if v != "nan"] == sorted(float(v) for v in values if v != "nan")
    assert values[-1] == "nan", "what is undefined stays at the end"


def test_the_sides_unfold(index: Browser) -> None:
    row = "document.querySelector('#table-table1_pcc_lean_mass_g tr.more')"
    assert index.run(f"getComputedStyle({row}).display") == "none"
    index.run("document.querySelector('[data-unfold=table-table1_pcc_lean_mass_g]').click()")
    assert index.run(f"getComputedStyle({row}).display") == "table-row"


def test_switching_the_object_changes_plots_and_decompositions(index: Browser) -> None:
    index.wait("document.querySelector('.viewer').dataset.shown")
    before = index.run("document.querySelector('.viewer canvas').toDataURL()")
    index.run(
        "(() => { const s = document.querySelector('#object'); s.value = 'sacrum';"
        " s.dispatchEvent(new Event('change')); })()"
    )
    index.wait("document.querySelector('.viewer').dataset.shown === 'sacrum lean_mass_g'")
    assert index.run("document.querySelector('.viewer canvas').toDataURL()") != before
    assert index.run("document.querySelector('[data-object-name]').textContent") == "Sacrum"
    assert index.run("document.querySelector('#plot-scatter').data[0].text[0]").endswith("midline")


def test_an_undefined_object_says_so(index: Browser) -> None:
    index.run(
        "(() => { const s = document.querySelector('#object'); s.value = 'femur';"
        " s.dispatchEvent(new Event('change')); })()"
    )
    assert index.run("document.querySelector('#no-scatter').hidden") is False
    assert index.run("document.querySelector('#plot-scatter').hidden") is True


def test_switching_the_quantity_shows_its_tables(index: Browser) -> None:
    index.run("document.querySelector('[data-segments=quantity] button[value=volume_cm3]').click()")
    assert (
        index.run("document.querySelector('#table-table1_pcc_lean_mass_g').closest('[data-quantity]').hidden") is True
    )
    assert (
        index.run("document.querySelector('#table-table1_pcc_volume_cm3').closest('[data-quantity]').hidden") is False
    )
    assert "cm³" in index.run("document.querySelector('#plot-scatter .xtitle').textContent")


def test_dark_and_light(index: Browser) -> None:
    colours = [index.run("getComputedStyle(document.body).backgroundColor")]
    index.run("document.querySelector('#theme').click()")
    colours.append(index.run("getComputedStyle(document.body).backgroundColor"))
    assert len(set(colours)) == 2
    index.run("document.querySelector('#theme').click()")


def test_rows_are_filtered(index: Browser) -> None:
    shown = "[...document.querySelectorAll('#table-patients tbody')].filter((b) => !b.hidden).length"
    assert index.run("document.querySelectorAll('#table-patients tbody').length") == 20
    index.run(
        "(() => { const i = document.querySelector('[data-filter=table-patients]'); i.value = 'P003';"
        " i.dispatchEvent(new Event('input')); })()"
    )
    assert index.run(shown) == 1


def test_a_patients_page_opens_from_the_index_and_switches_the_object(index: Browser) -> None:
    target = index.run("document.querySelector('#table-patients a').href")
    assert target.endswith("/patients/P000.html")
    index.open(Path(target.removeprefix("file://")))
    index.wait("document.querySelector('#viewer').dataset.shown")
    assert index.run("document.querySelectorAll('#viewer canvas').length") == 5
    before = index.run("document.querySelector('#viewer canvas').toDataURL()")
    index.run(
        "(() => { const s = document.querySelector('#object'); s.value = 'pelvis_right';"
        " s.dispatchEvent(new Event('change')); })()"
    )
    index.wait("document.querySelector('#viewer').dataset.shown === 'pelvis_right lean_mass_g'")
    assert index.run("document.querySelector('#viewer canvas').toDataURL()") != before


def test_the_viewers_pixels_are_the_arrays(index: Browser, report_folder: Path) -> None:
    """The brightest pixel of the CT's tile is where the stack has it."""
    from mskdex.config import Config
    from mskdex.evaluation.decompositions import RenderedDrrs
    from mskdex.report.drr_viewer import reference

    objects = [c.name for c in Config().channels]
    truth = reference(RenderedDrrs.read(report_folder.parent / "patients", "P000", objects))
    index.open(report_folder / "patients" / "P000.html")
    index.wait("document.querySelector('#viewer').dataset.shown")
    for name in ("gluteus_maximus_left", "sacrum"):
        script = (
            "(async () => { const data = JSON.parse(await unpack('#payload'));"
            f" const i = data.channels.findIndex((c) => c.name === '{name}');"
            " return [...await tile(data.sheets.lean_mass_g.truth, i)]; })()"
        )
        image = truth[name][2].ravel()
        levels = index.run(script)
        assert len(levels) == len(image)
        top = max(levels)
        expected = image / image.max() * top
        assert max(abs(a - b) for a, b in zip(levels, expected, strict=True)) <= 3.01


def test_a_phone_scrolls_down_but_not_sideways(tmp_path: Path, report_folder: Path) -> None:
    phone = Browser(tmp_path, width=390, height=844)
    try:
        for page in ("index.html", "patients/P000.html"):
            phone.open(report_folder / page)
            phone.wait("document.querySelector('.viewer').dataset.shown")
            assert phone.run("document.documentElement.scrollWidth") <= 390, page
        assert phone.errors == []
    finally:
        phone.close()
