"""Thumbnail ridge and stacking: against other libraries, and what they must not see."""

import numpy as np
import pandas as pd
import pytest

from mskdex.evaluation.baselines import Design, mirrored_columns
from mskdex.evaluation.ridge import Rows, choose_penalty, fit_ridge
from mskdex.evaluation.stacking import PRIOR_PATIENTS, fuse, stack
from mskdex.evaluation.thumbnails import Thumbnails, thumbnail


def sample(n: int = 30, pixels: int = 50, seed: int = 0) -> tuple[Rows, np.ndarray]:
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(n, pixels))
    design = np.column_stack([np.ones(n), generator.normal(size=n)])
    truth = images[:, :3].sum(axis=1) + 2 * design[:, 1] + 5 + 0.3 * generator.normal(size=n)
    return Rows(images, design), truth[:, None]


def test_without_further_regressors_it_is_sklearns_ridge() -> None:
    from sklearn.linear_model import Ridge

    rows, truth = sample()
    alone = Rows(rows.pixels, rows.design[:, :1])
    scale = (rows.pixels - rows.pixels.mean(axis=0)).var(axis=0).sum()
    for penalty, found in zip((0.01, 1.0), fit_ridge(alone, truth, alone, (0.01, 1.0)), strict=True):
        expected = Ridge(alpha=penalty * scale).fit(rows.pixels, truth).predict(rows.pixels)
        assert found == pytest.approx(np.reshape(expected, (-1, 1)), rel=1e-6)


def test_the_design_is_not_penalised() -> None:
    """The same solution from the normal equations, with a penalty on the pixels alone."""
    rows, truth = sample()
    hat = rows.design @ np.linalg.pinv(rows.design)
    scale = ((rows.pixels - hat @ rows.pixels) ** 2).sum(axis=1).mean()
    everything = np.column_stack([rows.design, rows.pixels])
    pull = np.diag([0.0, 0.0, *np.full(50, 0.1 * scale)])
    expected = everything @ np.linalg.solve(everything.T @ everything + pull, everything.T @ truth)
    assert fit_ridge(rows, truth, rows, (0.1,))[0] == pytest.approx(expected, rel=1e-6)


def test_a_patient_without_truth_is_as_if_absent() -> None:
    rows, truth = sample()
    holes = np.column_stack([truth[:, 0], truth[:, 0]])
    holes[4, 1] = np.nan
    found = fit_ridge(rows, holes, rows, (0.1,))[0]
    others = np.delete(np.arange(30), 4)
    assert found[:, 1] == pytest.approx(fit_ridge(rows[others], truth[others], rows, (0.1,))[0][:, 0])
    assert found[:, 0] == pytest.approx(fit_ridge(rows, truth, rows, (0.1,))[0][:, 0])
    assert np.isnan(fit_ridge(rows[:2], truth[:2], rows, (0.1,))).all(), "no more patients than regressors"


def test_inner_cross_validation_prefers_what_predicts() -> None:
    rows, truth = sample(120, 20)
    parts, tested = np.arange(120) % 4, np.ones(120, bool)
    assert choose_penalty(rows, truth, parts, tested) < 0.2
    noise = np.random.default_rng(3).normal(size=truth.shape)
    assert choose_penalty(rows, noise, parts, tested) >= 10.0


def test_a_thumbnail_is_the_mean_by_area() -> None:
    image = np.random.default_rng(0).uniform(size=(12, 9))
    assert thumbnail(image, 3) == pytest.approx(image.reshape(3, 4, 3, 3).mean(axis=(1, 3)))
    assert thumbnail(image, 5).mean() == pytest.approx(image.mean())
    assert thumbnail(np.full((7, 5), 2.5), 16) == pytest.approx(np.full((16, 16), 2.5))


def test_images_of_each_scale_are_centred_apart() -> None:
    images = np.random.default_rng(0).uniform(size=(5, 4, 4))
    images[3:] += 100.0
    some = Thumbnails(tuple("abcde"), images, np.array(["absolute"] * 3 + ["relative", "unknown"], dtype=object))
    train = ["a", "b", "c", "d"]
    centred = some.pixels_of(["a", "b", "c"], train) + some.pixels_of(["a", "b", "c"], train, mirrored=True)
    assert centred.sum(axis=0) == pytest.approx(np.zeros(16), abs=1e-12)
    assert np.abs(some.pixels_of(["d"], train)).max() < 1.0
    assert not some.pixels_of(["e"], train).any(), "of a scale that nobody was trained on"


def test_mirroring_exchanges_left_and_right_and_keeps_the_middle() -> None:
    columns = pd.MultiIndex.from_tuples([(c, "v") for c in ("femur_left", "femur_right", "sacrum", "psoas_left")])
    assert [c for c, _ in mirrored_columns(columns)] == ["femur_right", "femur_left", "sacrum", "psoas_left"]


def test_a_missing_or_unseen_sex_is_the_training_mean() -> None:
    people = pd.DataFrame({"sex": ["F", "F", "F", "M"], "age": [50.0, 60.0, 70.0, 80.0]})
    asked = pd.DataFrame({"sex": ["F", "M", None, "O", np.nan], "age": [60.0, 60.0, np.nan, 60.0, 60.0]})
    matrix = Design.fit(people).matrix(asked)
    assert matrix[:, 2] == pytest.approx([0.0, 1.0, 0.25, 0.25, 0.25])
    assert matrix[2, 1] == 0.0


def stacked_sample(n: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=n)
    return truth, 0.5 * truth + generator.normal(size=n), truth + 0.5 * generator.normal(size=n)


def test_the_weights_of_a_patient_are_those_of_the_others() -> None:
    truth, first, second = stacked_sample()
    found = stack(truth, first, second, np.arange(12))
    others = np.arange(12) != 7
    rows = np.column_stack([np.ones(11), first[others], second[others]])
    pulled = np.vstack([rows, np.sqrt(PRIOR_PATIENTS) * np.eye(3)])
    target = np.concatenate([truth[others], np.sqrt(PRIOR_PATIENTS) * np.array([0.0, 0.5, 0.5])])
    weights, *_ = np.linalg.lstsq(pulled, target, rcond=None)
    assert found[7] == pytest.approx(np.array([1.0, first[7], second[7]]) @ weights)


@pytest.mark.parametrize("lie", [np.nan, 1e9, -3.0])
def test_a_patients_own_truth_never_enters_its_own_estimate(lie: float) -> None:
    truth, first, second = stacked_sample()
    persons = np.array([0, 1, 2, 3, 4, 5, 6, 7, 7, 9, 10, 11])  # rows 7 and 8 are one person's
    before = stack(truth, first, second, persons)
    after = stack(np.where(persons == 7, lie, truth), first, second, persons)
    same = after == before
    assert same[7]
    assert same[8]
    assert not same[persons != 7].any()


def test_a_fold_is_fused_from_itself_alone() -> None:
    """Neither a patient's truth nor that of its person's other row moves its estimate, nor does any other fold."""
    table, truth, folds, persons = fold_points()
    before = fuse(table, "image", truth, folds, persons).set_index("patient_id")["predicted"]
    for liar in ("A0", "B3"):
        told = table.assign(truth=table["truth"].where(table["patient_id"] != liar, 900.0))
        after = fuse(told, "image", truth, folds, persons).set_index("patient_id")["predicted"]
        changed = set(before.index[(before != after).to_numpy()])
        own = {n for n in before.index if folds[n] == folds[liar]} - {liar}
        assert changed == own - {n for n in own if persons[n] == persons[liar]}


def fold_points() -> tuple[pd.DataFrame, pd.DataFrame, pd.Series, pd.Series]:
    names = [f"{letter}{i}" for letter in "AB" for i in range(8)]
    generator = np.random.default_rng(1)
    truth = pd.Series(generator.normal(300, 40, 16), names)
    common = {
        "patient_id": names,
        "channel": "sacrum",
        "structure": "sacrum",
        "quantity": "volume_cm3",
        "fold": [0] * 8 + [1] * 8,
        "truth": truth.to_numpy(),
        "left_out": None,
    }
    parts = [
        pd.DataFrame(common | {"method": m, "predicted": truth.to_numpy() + generator.normal(0, s, 16)})
        for m, s in (("image", 20.0), ("demographics", 30.0))
    ]
    persons = pd.Series(names, names)
    persons["A1"] = "A0"
    wide = pd.DataFrame({("sacrum", "volume_cm3"): truth})
    wide.columns = pd.MultiIndex.from_tuples(wide.columns)
    return pd.concat(parts, ignore_index=True), wide, pd.Series(common["fold"], names), persons


def test_what_is_partly_seen_is_fused_as_the_whole_is() -> None:
    """All of a patient's numbers are of the visible share, so is the fused one; the weights do not depend on it."""
    table, truth, folds, persons = fold_points()
    whole = fuse(table, "image", truth, folds, persons).set_index("patient_id")["predicted"]
    share = pd.Series(np.linspace(0.8, 1.0, 16), folds.index)
    own = table["patient_id"].map(share)
    seen = table.assign(visible=own, truth=table["truth"] * own, predicted=table["predicted"] * own)
    found = fuse(seen, "image", truth, folds, persons).set_index("patient_id")["predicted"]
    assert found.to_numpy() == pytest.approx((whole * share).to_numpy())


def test_what_is_not_seen_at_all_enters_no_weights_and_is_nothing() -> None:
    table, truth, folds, persons = fold_points()
    hidden = table["patient_id"] == "A5"
    seen = table.assign(visible=np.where(hidden, 0.0, 1.0)).assign(truth=table["truth"].where(~hidden, 0.0))
    absent = table.assign(left_out=np.where(hidden, "truncated", None))
    found, expected = (
        fuse(t, "image", truth, folds, persons).set_index("patient_id")["predicted"] for t in (seen, absent)
    )
    assert found["A5"] == 0.0
    assert found.drop("A5").to_numpy() == pytest.approx(expected.drop("A5").to_numpy())
