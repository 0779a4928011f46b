import functools
import gc
import inspect
import json
import re
import sys
from pathlib import Path

import pandas
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from mskdex.cohort.folds import NO_FOLD
from mskdex.pipeline import provenance
from mskdex.config import load_config
from mskdex.pipeline import settings as stages
from mskdex.config.base import of_results
from mskdex.errors import MskdexError
from mskdex.pipeline.recovery import claim_folder
from mskdex.pipeline.origin import belongs, check_origin, mark_origin
from mskdex.pipeline.snakemake_gaps import forget_benchmark, stop_reevaluation
from mskdex.pipeline.sources import RECORD, Digests, edition
from mskdex.pipeline.workflow import (
    atlas_digest,
    check_kept_pairs,
    folds_of_patients,
    import_row,
    included,
    left_out_objects,
    virtual_label_names,
    own_columns,
    persons_digest,
    put_commands_on_path,
    read_cohort,
    comparators_digest,
    rows_digest,
    sheet_path,
    sheet_rows,
    model_digest,
    require_starting_models,
    starts_digest,
)

if {"{", "}"} & set(str(workflow.basedir)):
    raise WorkflowError(
        f"{workflow.basedir} has braces in its name, which Snakemake would fill in; rename the folder"
    )

# A plan makes a million objects that stay: looking through them for garbage each 700 took a tenth of its time.
gc.set_threshold(50_000, 10, 10)
# Arrow's memory for the sheet's few words would be 18 MB.
pandas.set_option("mode.string_storage", "python")

put_commands_on_path()

stage_hash = functools.partial(
    provenance.stage_hash,
    hashes=provenance.CodeHashes(Path(".snakemake/mskdex-modules.json")),
)
DIGESTS = Digests(Path(".snakemake/mskdex-digests.jsonl"))

if workflow.is_main_process and not workflow.output_settings.dryrun:
    try:
        if found := claim_folder():
            logger.info(found)
    except MskdexError as error:
        raise WorkflowError(str(error)) from None

try:
    if workflow.is_main_process:
        check_origin(sys.argv)
    CONFIG = load_config(config)
    EVERYONE = read_cohort(CONFIG)
    SHEET = included(EVERYONE)
    check_kept_pairs(CONFIG, EVERYONE)
    require_starting_models(CONFIG)
    LEFT_OUT = left_out_objects(CONFIG, SHEET)
    FOLDS, too_few = folds_of_patients(SHEET, CONFIG.folds)
except MskdexError as error:
    raise WorkflowError(str(error)) from None

if too_few and workflow.is_main_process:
    logger.warning(too_few)

config.update(CONFIG.model_dump(mode="json"))
CHANNELS = [c for c in CONFIG.channels if c.object not in LEFT_OUT]
PATIENTS = list(SHEET["patient_id"])
ROWS = sheet_rows(SHEET)
OWN = {patient: own_columns(row) for patient, row in ROWS.items()}
SEGMENTER_ENVIRONMENT = {"musclemap": "musclemap", "command": "mskdex"}.get(
    CONFIG.cohort.segmenter, "totalsegmentator"
)


wildcard_constraints:
    patient="[^/]+",
    experiment="|".join(map(re.escape, CONFIG.experiments)),
    fold=r"\d+",


def signed(function):
    """A function with its signature kept beside it, which Snakemake otherwise finds out anew several times a job."""
    function.__signature__ = inspect.signature(function)
    return function


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
    """The stacks of the patients that a fold trains on, and the pairs from their CTs where they are learned from."""
    names = ["stack.safetensors"]
    if train_settings(wildcards).experiment.pairs != "none":
        names.append("simulated.safetensors")
    patients = training_patients(wildcards)
    return [f"results/patients/{p}/{name}" for p in patients for name in names]


def training_patients(wildcards):
    """The patients that a fold trains on."""
    apart = (int(wildcards.fold), NO_FOLD)
    return [p for p, fold in FOLDS.items() if fold not in apart]


def test_stacks(wildcards):
    """The stacks of the patients that a fold is tested on."""
    patients = [p for p, fold in FOLDS.items() if fold == int(wildcards.fold)]
    return [f"results/patients/{patient}/stack.safetensors" for patient in patients]


def external_stacks():
    """The stacks of the patients whom no fold trains on."""
    patients = [p for p, fold in FOLDS.items() if fold == NO_FOLD]
    return [f"results/patients/{patient}/stack.safetensors" for patient in patients]


def external_results():
    """The predictions of these patients by every fold that is trained; nothing where there are none."""
    return fold_results("external.parquet") if NO_FOLD in FOLDS.values() else []


def posed_truth():
    """The true images of virtual patients who are tested; nothing of others."""
    if CONFIG.cohort.sheet:
        return []
    tested = [p for p, fold in FOLDS.items() if fold in CONFIG.trained_folds]
    return [f"results/virtual/{patient}/truth_images.safetensors" for patient in tested]


def own_input(path):
    """A user's file as input: its time counts for nothing, its content does, which the params have.

    Snakemake would fill in what stands in braces in its path, so such a file is no input; that it is there has been
    seen when the sheet was read.
    """
    return [] if "{" in path else ancient(path)


def sheet_file(wildcards):
    """The cohort sheet."""
    path = str(sheet_path(CONFIG))
    return own_input(path) if CONFIG.cohort.sheet else path


def sheet_argument(wildcards, output):
    """The cohort sheet, for the command."""
    return str(sheet_path(CONFIG))


def source_file(column):
    """Input function: the patient's file of a column of the sheet."""

    @signed
    def of_patient(wildcards):
        patient, path = wildcards.patient, ROWS[wildcards.patient][column]
        return own_input(path) if column in OWN[patient] else path

    return of_patient


@signed
def names_file(wildcards):
    """The names beside a label map that a rule makes."""
    return virtual_label_names(ROWS[wildcards.patient])


@signed
def patient_row(wildcards, output):
    """A patient's row of the sheet as JSON, for the command."""
    return json.dumps(ROWS[wildcards.patient], default=str, sort_keys=True)


@signed
def compared_row(wildcards):
    """What the import takes from a patient's row, as JSON; of the files the content counts."""
    return json.dumps(import_row(ROWS[wildcards.patient]), default=str, sort_keys=True)


def compared_series(wildcards):
    """The series that is segmented, where the sheet names one."""
    return ROWS[wildcards.patient].get("ct_series", "")


def source_edition(rule, folder, *columns):
    """Params function: what stands for the content of the patient's own files that a rule reads.

    Args:
        rule: its name; where it is cached for several projects, every file is hashed.
        folder: that of the rule's results of all patients.
        columns: of the files.
    """
    full = bool(workflow.enable_cache) and rule in workflow.workflow_settings.cache

    @signed
    def of_patient(wildcards):
        patient = wildcards.patient
        own = [column for column in OWN[patient] if column in columns]
        record = Path(folder, patient, RECORD)
        if not own:
            return "made here"
        return edition(ROWS[patient], own, record, DIGESTS, full=full)

    return of_patient


def start_model(wildcards):
    """What stands for the content of the model that a fold's training goes on from."""
    return model_digest(CONFIG, wildcards.experiment, int(wildcards.fold), DIGESTS)


@signed
def start_edition(wildcards):
    """What stands for the content of a patient's start poses."""
    return starts_digest(CONFIG, wildcards.patient, DIGESTS)


@signed
def own_files(wildcards, output):
    """The columns of the sheet whose files are the user's, as JSON, for the command."""
    return json.dumps(OWN[wildcards.patient])


@functools.cache
def import_settings_of(source):
    """Settings of the import of patients with a label source."""
    return stages.import_stage(CONFIG, source)


def import_settings(wildcards):
    """Settings of a patient's import."""
    return import_settings_of(ROWS[wildcards.patient]["label_source"])


def stack_settings(wildcards):
    """Settings of a patient's training sample."""
    return stages.stack_stage(CONFIG, CHANNELS, wildcards.patient)


def train_settings(wildcards):
    """Settings of one fold of an experiment."""
    return stages.train_stage(CONFIG, wildcards.experiment, int(wildcards.fold))


def compared(settings):
    """Params: settings as JSON without the keys that change no result; a change reruns the job.

    They stand in a dict, because in the braces of a text alone Snakemake would look for wildcards.

    Args:
        settings: those of a rule, or a function of the wildcards that gives them.
    """
    if not callable(settings):
        return {"compared": json.dumps(of_results(settings))}

    @signed
    def of_wildcards(wildcards):
        return compared(settings(wildcards))

    return of_wildcards


def arguments(settings):
    """Params function: settings as JSON for the command line, without the keys that have their defaults.

    It asks for the output, so that Snakemake takes it for a consequence and compares it with nothing.
    """
    text = None if callable(settings) else as_argument(settings)

    @signed
    def of_job(wildcards, output):
        return as_argument(settings(wildcards)) if text is None else text

    return of_job


def as_argument(settings):
    """Settings as JSON for the command line."""
    return settings.model_dump_json(exclude_defaults=True)


def stage(name, settings):
    """Params of whatever runs a stage: its settings, compared and as an argument, and the hash of its code.

    Args:
        name: of the module in `mskdex.pipeline.stages`.
        settings: those of the stage, or a function of the wildcards that gives them.
    """
    return {
        "settings": compared(settings),
        "arguments": arguments(settings),
        "code": stage_hash(name),
    }


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
