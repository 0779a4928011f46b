import os

from snakemake.utils import min_version

# Text is UTF-8 in every job, whatever the node's locale.
os.environ.setdefault("PYTHONUTF8", "1")
min_version("9.10")


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/cohort.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/import.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/project.smk"
include: "workflow/rules/register.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


if workflow.enable_cache:
    for cached in workflow.workflow_settings.cache:
        forget_benchmark(workflow.get_rule(cached))


rule all:
    default_target: True
    input:
        "results/report/index.html",
