"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real CT and the anatomical atlas; the test is skipped where it is absent."""
    folder = Path(os.environ.get("MSKDEX_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"test data not found in {folder}; set MSKDEX_TEST_DATA")
    return folder
