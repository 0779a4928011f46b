rule quality:
    """Flag pairs that do not fit and segmentations that stand out, and draw a contact sheet of each patient."""
    input:
        imports=patient_results("import.json"),
        poses=patient_results("pose.json"),
        calibrations=patient_results("calibration.json"),
        cts=patient_results("ct.nii.gz"),
        labels=patient_results("labels.nii.gz"),
        patients="results/cohort/patients.parquet",
    output:
        structures="results/cohort/structures.csv",
        table="results/cohort/quality.csv",
        verdicts="results/cohort/quality.parquet",
        page="results/cohort/quality.html",
        sheets=directory("results/cohort/contact_sheets"),
    log:
        "results/logs/quality.log",
    benchmark:
        "results/benchmarks/quality.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=1500, runtime=60),
    params:
        **stage("quality", stages.quality_stage(CONFIG, CHANNELS)),
        out=subpath(output.table, parent=True),
    shell:
        "mskdex --log {log:q} quality --patients results/patients --table {input.patients:q} "
        "--segmentation results/segmentation --settings {params.arguments:q} --out {params.out:q}"


rule identity:
    """Refuse a patient who is in the cohort under two ids, before anything is trained."""
    input:
        imports=patient_results("import.json"),
        sheet=sheet_file,
    output:
        "results/cohort/identity.json",
    log:
        "results/logs/identity.log",
    benchmark:
        "results/benchmarks/identity.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=1000, runtime=30),
    params:
        **stage("identity", stages.identity_stage(CONFIG)),
        sheet=sheet_argument,
        patients=persons_digest(SHEET),
    shell:
        "mskdex --log {log:q} cohort identity --patients results/patients --settings {params.arguments:q} "
        "--out {output:q} -- {params.sheet:q}"
