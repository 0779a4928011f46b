"""Predicted DRRs beside the true ones in the radiograph's posture."""

import numpy as np
import pandas as pd
import pytest
from fabricated import Fabrication, fabricate

from mskdex.evaluation.decompositions import RenderedDrrs, read_decomposition
from mskdex.evaluation.maps import PosedDrrs, map_likeness, measures, on_grid, truth_path
from mskdex.geometry.camera import Camera
from mskdex.io.arrays import write_arrays
from mskdex.io.artifacts import read_json


def camera(size: int, pixel_mm: float) -> Camera:
    return Camera(1000.0, pixel_mm, (size, size), ((size - 1) / 2, (size - 1) / 2))


@pytest.mark.parametrize("pixel_mm", [2.0, 4.0, 6.0, 3.0])
def test_another_grid_keeps_sum_and_place(pixel_mm: float) -> None:
    own = camera(48, 3.0)
    grid = camera(round(48 * 3.0 / pixel_mm), pixel_mm)
    rows, columns = np.mgrid[:48, :48]
    image = np.exp(-((rows - 15.0) ** 2 + (columns - 30.0) ** 2) / 20.0)
    found = on_grid(image[None], own, grid)[0]
    assert found.sum() == pytest.approx(image.sum())
    place = [(np.indices(found.shape)[i] * found).sum() / found.sum() - grid.principal_point_px[i] for i in (0, 1)]
    assert place == pytest.approx([(15.0 - 23.5) * 3.0 / pixel_mm, (30.0 - 23.5) * 3.0 / pixel_mm], abs=0.02)


def test_the_measures_by_hand() -> None:
    truth, predicted = np.zeros((16, 16)), np.zeros((16, 16))
    truth[4:8, 4:8], predicted[4:8, 6:10] = 2.0, 3.0
    found = measures(predicted, truth, 4.0)
    assert found["dice"] == 0.5
    assert found["relative_l1"] == pytest.approx((8 * 2.0 + 8 * 1.0 + 8 * 3.0) / 32.0)
    mse = (8 * 4.0 + 8 * 1.0 + 8 * 9.0) / 256.0
    assert found["psnr_db"] == pytest.approx(10 * np.log10(16.0 / mse))
    assert measures(truth, truth, 4.0) == {"psnr_db": np.inf, "ssim": pytest.approx(1.0), "relative_l1": 0.0, "dice": 1}
    nothing = measures(np.zeros((16, 16)), np.zeros((16, 16)), 4.0)
    assert np.isnan([nothing["relative_l1"], nothing["dice"]]).all()


def test_every_structure_with_a_posed_truth_has_a_row(tmp_path) -> None:
    """The true images are the predicted ones on a grid of twice as many pixels."""
    root = fabricate(tmp_path, Fabrication(patients=8, experiments={"mskdex": 0.1}, size=16))
    objects = [c["name"] for c in read_json(root / "cohort" / "objects.json")]
    folder = root / "experiments" / "mskdex" / "fold0" / "decompositions"
    rendered = RenderedDrrs.read(root / "patients", "P000", objects)
    drr = read_decomposition(folder / "P000.safetensors", rendered.stack)
    own = rendered.stack.camera
    fine = own.resized((32, 32), own.pixel_mm / 2)
    images = np.stack([on_grid(drr[name], own, fine) for name in objects[:5]], axis=1).astype(np.float32)
    meta = {"objects": objects[:5], "drr_camera": fine.as_dict()}
    write_arrays(root / "virtual" / "P000" / "truth_images.safetensors", {"drr": images}, meta)
    tested = pd.DataFrame({"method": "mskdex", "fold": 0, "patient_id": ["P000", "P004"]})
    ranges = {
        c.object: dict.fromkeys(("lean_mass_g", "volume_cm3", "weighted_volume_cm3"), 5.0)
        for c in rendered.stack.channels
    }
    found = map_likeness({("mskdex", 0): folder}, root / "patients", root / "virtual", tested, ranges, objects)
    assert len(found) == 5 * 3
    assert set(found["patient_id"]) == {"P000"}, "of P004 no true image is known"
    assert found["relative_l1"].max() < 1e-3
    assert found["ssim"].min() > 0.999
    assert PosedDrrs.read(root / "virtual" / "P000" / "truth_images.safetensors").camera == fine
    assert truth_path(None, "P000") is None
    assert map_likeness({}, root / "patients", None, tested, ranges, objects).empty
