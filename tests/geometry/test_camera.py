"""The camera's frame, against projections worked out by hand."""

import numpy as np
import pytest

from mskdex.errors import MskdexError
from mskdex.geometry.camera import Camera, nominal_pose

CAMERA = Camera(1000.0, 0.5, (400, 300), (199.5, 149.5))


def test_a_point_on_the_principal_axis_meets_the_principal_point() -> None:
    assert CAMERA.project(np.array([0.0, 0.0, 800.0])).tolist() == [199.5, 149.5]


def test_projection_by_hand() -> None:
    # 10 mm along +x and 20 mm along +y at depth 800 lie at 12.5 and 25 mm on the detector: 25 and 50 pixels.
    assert CAMERA.project(np.array([10.0, 20.0, 800.0])) == pytest.approx([199.5 + 50.0, 149.5 + 25.0])


def test_parallel_beam_does_not_magnify() -> None:
    camera = Camera(1000.0, 0.5, (400, 300), (199.5, 149.5), "parallel")
    near, far = camera.project(np.array([[10.0, 20.0, 700.0], [10.0, 20.0, 900.0]]))
    assert near.tolist() == far.tolist() == [199.5 + 40.0, 149.5 + 20.0]


@pytest.mark.parametrize(
    ("view", "left_px", "front_depth"),
    [("AP", 149.5 + 100.0 * 1000 / 800 / 0.5, 750.0), ("PA", 149.5 - 100.0 * 1000 / 800 / 0.5, 850.0)],
)
def test_nominal_views(view: str, left_px: float, front_depth: float) -> None:
    isocentre = np.array([5.0, -7.0, 30.0])
    pose = nominal_pose(isocentre, 800.0, view)

    def at(x: float, y: float, z: float) -> np.ndarray:
        return (pose @ [*(isocentre + np.array([x, y, z])), 1.0])[:3]

    assert at(0, 0, 0) == pytest.approx([0.0, 0.0, 800.0])
    # The patient's left is at -x in RAS; seen from the front it lies towards higher columns.
    assert CAMERA.project(at(-100, 0, 0)) == pytest.approx([199.5, left_px])
    assert at(0, 50, 0)[2] == pytest.approx(front_depth)
    assert CAMERA.project(at(0, 0, 40))[0] == pytest.approx(199.5 - 40.0 * 1000 / 800 / 0.5)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)


def test_resizing_keeps_the_detector_in_place() -> None:
    camera = Camera(1000.0, 0.5, (400, 300), (150.0, 130.0))
    smaller = camera.resized((200, 150), 1.0)
    point = np.array([31.0, -12.0, 840.0])
    row, column = camera.project(point)
    # Pixel centres: the middle of two fine pixels is one coarse pixel.
    assert smaller.project(point) == pytest.approx([(row - 0.5) / 2, (column - 0.5) / 2])


@pytest.mark.parametrize("beam", ["cone", "parallel"])
def test_camera_survives_json(beam: str) -> None:
    camera = Camera(1020.0, 0.143, (3000, 2400), (1499.0, 1201.5), beam)  # type: ignore[arg-type]
    assert Camera.from_dict({**camera.as_dict(), "view": "AP"}) == camera


@pytest.mark.parametrize(
    "fault", [{"sdd_mm": 0.0}, {"pixel_mm": -1.0}, {"sdd_mm": float("nan")}, {"shape": [0, 3]}, {"beam": "fan"}]
)
def test_a_camera_that_cannot_be_is_refused(fault: dict) -> None:
    with pytest.raises(MskdexError, match="camera"):
        Camera.from_dict({**CAMERA.as_dict(), **fault})


def test_a_missing_key_is_named() -> None:
    content = CAMERA.as_dict()
    del content["sdd_mm"]
    with pytest.raises(MskdexError, match="sdd_mm"):
        Camera.from_dict(content)
