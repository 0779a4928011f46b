"""A report made once for the tests of this folder."""

from pathlib import Path

import pytest
from fabricated import Fabrication
from fabricated_report import EXPERIMENTS, SETTINGS, make_results

from mskdex.config import Config
from mskdex.pipeline.stages.report import report


@pytest.fixture(scope="session")
def report_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    config = Config(evaluation=SETTINGS, experiments=EXPERIMENTS)
    make_results(root, Fabrication(patients=20), config)
    (root / "printed.txt").write_text(report(root, config, root / "report"), encoding="utf-8")
    return root / "report"
