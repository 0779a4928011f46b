"""The small patient on disk, and the config that allows its small structures."""

import sys
from pathlib import Path

import hospital as make
import pytest

from mskdex.config import Config

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))


@pytest.fixture
def row(tmp_path):
    return make.patient(tmp_path / "P01")


@pytest.fixture
def config():
    return Config.model_validate({"label_sources": {"phantom": make.IDS}, "ct": make.SMALL_STRUCTURES})
