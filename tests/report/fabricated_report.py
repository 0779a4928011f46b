"""Results that are fabricated up to the evaluation, for the report's tests."""

from pathlib import Path

from fabricated import Fabrication, fabricate

from mskdex.config import Config
from mskdex.config.evaluation import EvaluationSettings
from mskdex.config.learning import CONVENTIONAL_LOSSES, ExperimentSettings
from mskdex.pipeline.stages.collect import collect
from mskdex.pipeline.stages.evaluate import evaluate
from mskdex.report.page import write_index
from mskdex.report.results import read_results

SETTINGS = EvaluationSettings(bootstrap_samples=100, proposed="mskdex")
EXPERIMENTS = {"mskdex": ExperimentSettings(), "conventional": ExperimentSettings(losses=CONVENTIONAL_LOSSES)}


def make_results(root: Path, what: Fabrication, config: Config) -> None:
    """Fabricates results up to the evaluation's."""
    fabricate(root, what)
    collect(root / "patients", root / "cohort" / "patients.parquet", root / "cohort")
    names = tuple(what.experiments)
    cohort, patients = root / "cohort", root / "patients"
    evaluate(root / "experiments", names, what.trained, cohort, patients, config.evaluation, root / "evaluation")


def make_index(root: Path, config: Config, out: str = "report") -> str:
    """Writes the index alone, without figures and patients' pages, and returns it."""
    write_index(read_results(root, config), root / out)
    return (root / out / "index.html").read_text(encoding="utf-8")
