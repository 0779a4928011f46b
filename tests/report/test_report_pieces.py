"""Numbers, published values, image sheets and charts."""

import base64
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mskdex.report.charts import Chart, Series
from mskdex.report.number_format import decimals, duration, p_value, quantity, significant
from mskdex.report.published import published, published_ablation
from mskdex.report.sprites import close_sheet, radiograph_uri, sheet, sheets_of_three, shrink
from mskdex.report.static import save

MUSCLES = ("gluteus_maximus", "gluteus_medius", "gluteus_minimus", "iliacus", "obturator_externus", "pectineus")


def test_the_published_values_give_the_abstracts_mean() -> None:
    cells = [published("pcc", q, m) for q in ("lean_mass_g", "volume_cm3") for m in MUSCLES]
    proposed = [c[0] for c in cells if c]
    assert len(proposed) == 12
    assert np.mean(proposed) == pytest.approx(0.863, abs=5e-4)


def test_the_published_lean_mass_cells_give_the_ablations_full_method_within_its_split() -> None:
    cells = [published("pcc", "lean_mass_g", m) for m in MUSCLES]
    assert np.mean([c[0] for c in cells if c]) == pytest.approx(published_ablation()[100.0, True], abs=0.02)


def test_an_object_the_paper_does_not_have_has_no_published_value() -> None:
    assert published("pcc", "lean_mass_g", "iliopsoas") is None
    assert published("pcc", "lean_mass_g", "femur") is None
    assert published("psnr_db", "volume_cm3", "femur") == (39.5, 32.4)


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [(0.8314, 3, "0.831"), (-0.2, 2, "−0.20"), (-0.0004, 3, "0.000"), (math.nan, 3, "–"), (math.inf, 1, "∞")],
)
def test_decimals(value: float, places: int, text: str) -> None:
    assert decimals(value, places) == text


def test_quantities_have_three_digits() -> None:
    assert [quantity(v) for v in (1234.5, 123.4, 12.34, 1.234, 0.01234, 0.0)] == [
        "1234",
        "123",
        "12.3",
        "1.23",
        "0.012",
        "0.0",
    ]


def test_other_numbers() -> None:
    assert p_value(0.0004) == "< 0.001"
    assert p_value(0.0321) == "0.032"
    assert [duration(s) for s in (12, 600, 7200)] == ["12 s", "10 min", "2.0 h"]
    assert significant(123456.7) == 123500.0
    assert significant(float("nan")) is None


def _pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))))


def test_a_sheets_tiles_are_the_images_on_the_fixed_range() -> None:
    images = np.random.default_rng(0).uniform(-1, 12, (5, 8, 6)).astype(np.float32)
    ranges = [10.0, 10.0, 5.0, 20.0, 10.0]
    found = sheet(images, ranges, 64)
    canvas = _pixels(found.uri)[..., 0]  # WebP is stored in colour
    assert (found.rows, found.columns, found.across) == (8, 6, 3)
    for i, image in enumerate(images):
        top, left = i // 3 * 8, i % 3 * 6
        tile = canvas[top : top + 8, left : left + 6]
        assert tile == pytest.approx(np.clip(image / ranges[i], 0, 1) * 255, abs=1.51)


def test_a_sheet_that_need_not_be_exact_is_small_and_close() -> None:
    generator = np.random.default_rng(2)
    rows, columns = np.mgrid[:64, :64] / 64
    bodies = [np.exp(-(((columns - x) ** 2 + (rows - 0.5) ** 2) / 0.02)) for x in np.linspace(0.2, 0.8, 9)]
    images = np.stack(bodies) + generator.normal(0, 0.006, (9, 64, 64))
    exact, close = (make(images, [1.0] * 9, 64) for make in (sheet, close_sheet))
    assert len(close.uri) < len(exact.uri) / 3
    assert (close.rows, close.columns, close.across) == (exact.rows, exact.columns, exact.across)
    off = (
        _pixels(close.uri)[..., 0].astype(float)
        - np.concatenate([np.concatenate(list(np.clip(images[i : i + 3], 0, 1)), axis=1) for i in (0, 3, 6)]) * 255
    )
    assert np.sqrt(np.mean(off**2)) < 2.5, "1 % of the range"
    assert abs(off.mean()) < 0.5


def test_three_sheets_in_one_picture_are_those_of_their_own() -> None:
    images = np.random.default_rng(4).uniform(0, 12, (3, 5, 8, 6)).astype(np.float32)
    ranges = [[10.0, 10.0, 5.0, 20.0, 10.0], [9.0] * 5, [12.0] * 5]
    found = sheets_of_three(images, ranges, 64)
    assert len({s.uri for s in found}) == 1
    picture = _pixels(found[0].uri)
    for own, limits, one in zip(images, ranges, found, strict=True):
        alone = sheet(own, limits, 64)
        assert (one.rows, one.columns, one.across) == (alone.rows, alone.columns, alone.across)
        assert np.array_equal(picture[..., one.colour], _pixels(alone.uri)[..., 0])


def test_shrinking_keeps_the_mean_and_the_size_bound() -> None:
    image = np.random.default_rng(1).uniform(size=(2, 96, 64))
    small = shrink(image, 40)
    assert small.shape == (2, 32, 21)
    assert small[:, :, :20].mean() == pytest.approx(image[:, :, :60].mean())
    assert shrink(image, 96) is image


def test_a_radiograph_of_one_value_can_be_shown() -> None:
    assert _pixels(radiograph_uri(np.full((16, 16), 2.0), np.zeros((16, 16), bool))).shape[:2] == (16, 16)


def test_a_charts_payload_and_table_hold_its_points() -> None:
    series = [Series("a", ["left", "right"], [0.123456, float("nan")], low=[0.1, 0.2], high=[0.3, 0.4])]
    chart = Chart("c", "t", "", "x", "y", series)
    assert chart.payload()["series"][0]["y"] == [0.1235, None]
    table = chart.table()
    assert table["x"].tolist() == ["left", "right"]
    assert table["high"].tolist() == [0.3, 0.4]


def test_a_charts_categories_keep_their_order_whichever_series_comes_first(tmp_path: Path) -> None:
    """Weights of a loss in the order of their size, though the first series lacks the smallest."""
    series = [Series("own", ["100"], [0.8]), Series("paper", ["0", "100", "1000"], [0.4, 0.8, 0.7])]
    chart = Chart("c", "t", "", "x", "y", series, categories=("0", "100", "1000"))
    assert chart.payload()["categories"] == ["0", "100", "1000"]
    save([chart], "c", tmp_path)
    labels = re.findall(r">(0|100|1000)</text>", (tmp_path / "c.svg").read_text(encoding="utf-8"))
    assert labels == ["0", "100", "1000"]
