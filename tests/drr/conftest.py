"""Fixtures of the renderer's tests."""

import numpy as np
import pytest
from rendering_phantoms import Phantom, labelled_balls

from mskdex.geometry.camera import Camera, nominal_pose
from mskdex.geometry.pose import moved


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    return labelled_balls()


@pytest.fixture(scope="session")
def oblique_pose(phantom: Phantom) -> np.ndarray:
    nominal = nominal_pose(phantom.centre_mm, 820.0)
    return moved(nominal, np.array([0.21, -0.34, 0.13, 4.0, -6.0, 11.0]), phantom.centre_mm)


@pytest.fixture(scope="session")
def camera() -> Camera:
    return Camera(1000.0, 2.0, (80, 72), (38.2, 36.9))
