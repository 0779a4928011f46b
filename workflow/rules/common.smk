import functools
import json
import shutil
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from mskdex import provenance
from mskdex.config import load_config, stages
from mskdex.errors import MskdexError
from mskdex.folds import assign_folds
from mskdex.leftovers import clear_leftovers, record_owner
from mskdex.snakemake_gaps import forget_benchmark, stop_reevaluation
from mskdex.workflow import (
    left_out_objects,
    put_commands_on_path,
    read_cohort,
    sheet_digest,
    sheet_path,
    sheet_rows,
)

put_commands_on_path()

stage_hash = functools.partial(
    provenance.stage_hash,
    memory=provenance.Memory(Path(".snakemake/mskdex-modules.json")),
)

if workflow.is_main_process and not workflow.output_settings.dryrun:
    if found := clear_leftovers():
        logger.info(found)
    record_owner()

try:
    CONFIG = load_config(config)
    SHEET = read_cohort(CONFIG)
    LEFT_OUT = left_out_objects(CONFIG, SHEET)
    FOLDS = assign_folds(SHEET, CONFIG.folds).set_index("patient_id")["fold"]
except MskdexError as error:
    raise WorkflowError(str(error)) from None

config.update(CONFIG.model_dump(mode="json"))
CHANNELS = [c for c in CONFIG.channels if c.object not in LEFT_OUT]
PATIENTS = list(SHEET["patient_id"])
ROWS = sheet_rows(SHEET)


wildcard_constraints:
    patient="[^/]+",
    experiment="|".join(CONFIG.experiments),
    fold=r"\d+",


def patient_results(name):
    """The file `name` of every patient."""
    return [f"results/patients/{patient}/{name}" for patient in PATIENTS]


def fold_results(name):
    """The file `name` of every fold that is trained."""
    pattern = "results/experiments/{experiment}/fold{fold}/{name}"
    return expand(
        pattern, experiment=CONFIG.experiments, fold=CONFIG.trained_folds, name=name
    )


def training_stacks(wildcards):
    """The stacks of the patients that a fold trains on."""
    patients = FOLDS.index[FOLDS != int(wildcards.fold)]
    return [f"results/patients/{patient}/stack.safetensors" for patient in patients]


def test_stacks(wildcards):
    """The stacks of the patients that a fold is tested on."""
    patients = FOLDS.index[FOLDS == int(wildcards.fold)]
    return [f"results/patients/{patient}/stack.safetensors" for patient in patients]


def import_row(wildcards):
    """A patient's row of the sheet as JSON, without demographics: they are no business of the import."""
    row = ROWS[wildcards.patient]
    kept = {k: v for k, v in row.items() if k not in stages.DEMOGRAPHICS}
    return json.dumps(kept, default=str, sort_keys=True)


def import_settings(wildcards):
    """Settings of a patient's import."""
    return stages.import_stage(CONFIG, ROWS[wildcards.patient]["label_source"])


def train_settings(wildcards):
    """Settings of one fold of one experiment."""
    return stages.train_stage(CONFIG, wildcards.experiment, int(wildcards.fold))


def whole(settings):
    """Settings as JSON with every key, so that whatever changes in them is seen."""
    return of_wildcards(settings, lambda found: found.model_dump_json())


def brief(settings):
    """Settings as JSON for the command line, without the keys that have their defaults."""
    return of_wildcards(
        settings, lambda found: found.model_dump_json(exclude_defaults=True)
    )


def of_wildcards(settings, dump):
    """`dump` of settings, or an input function that dumps the settings of its wildcards."""

    def dumped(wildcards):
        return dump(settings(wildcards))

    return dumped if callable(settings) else dump(settings)


def growing(first):
    """A resource that each further attempt asks more of."""

    def asked(wildcards, attempt):
        return first * attempt

    return asked


def training_gpus(wildcards):
    """GPUs of one training: one, unless the config says cpu or there is none on this machine."""
    device = (
        CONFIG.experiments[wildcards.experiment]
        .of_fold(int(wildcards.fold))
        .optimisation.device
    )
    return int(
        device != "cpu" and (device != "auto" or shutil.which("nvidia-smi") is not None)
    )


def source_file(column):
    """Input function: the patient's file of a column of the sheet."""

    def of_patient(wildcards):
        return ROWS[wildcards.patient][column]

    return of_patient


def print_plan():
    """Says what the run is about: patients, objects, experiments and folds."""
    objects = len({channel.object for channel in CHANNELS})
    folds = ", ".join(map(str, CONFIG.trained_folds))
    print(
        f"{len(PATIENTS)} patients, {objects} objects; {', '.join(CONFIG.experiments)}: fold {folds} of {CONFIG.folds.count}"
    )


def print_summary():
    """Prints the table of correlations and the report's path, where the report has been made."""
    summary = Path("results/report/summary.txt")
    if summary.is_file():
        print(summary.read_text(encoding="utf-8"), flush=True)
