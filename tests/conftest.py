"""Fixtures shared by all tests."""

import os
from pathlib import Path

import hypothesis
import pytest

REPOSITORY = Path(__file__).parents[1]

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items):
    """The pipeline's tests take longest, so they begin."""
    items.sort(key=lambda item: item.path.parent.name != "pipeline")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Under pytest-xdist the tests of a folder run in one process, as they share fixtures."""
    from xdist.scheduler import LoadScopeScheduling

    class LoadFolders(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return nodeid.split("::")[0].rpartition("/")[0]

    config.option.loadscopereorder = False
    return LoadFolders(config, log)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real CT and the anatomical atlas; the test is skipped where it is absent."""
    folder = Path(os.environ.get("MSKDEX_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"test data not found in {folder}; set MSKDEX_TEST_DATA")
    return folder
