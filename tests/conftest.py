"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items):
    """Under pytest-xdist a folder's tests share a worker, as they share fixtures; the pipeline, the longest, begins."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.path.parent.name))
    items.sort(key=lambda item: item.path.parent.name != "pipeline")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real CT and the anatomical atlas; the test is skipped where it is absent."""
    folder = Path(os.environ.get("MSKDEX_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"test data not found in {folder}; set MSKDEX_TEST_DATA")
    return folder
