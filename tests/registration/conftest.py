"""One virtual patient, imported, with the true poses that only tests and benchmarks read."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "registration"))


@pytest.fixture(scope="session")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of virtual patients that `registration_cases.virtual` fills as they are asked for."""
    return tmp_path_factory.mktemp("patients")


@pytest.fixture(scope="session")
def case(patients: Path):
    """The first virtual patient."""
    from registration_cases import virtual

    return virtual(1, patients, 3.0)
