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
    threads: 1
    resources:
        mem_mb=by_attempt(1500),
        runtime=by_attempt(60),
    params:
        settings=compared(stages.quality_stage(CONFIG, CHANNELS)),
        arguments=arguments(stages.quality_stage(CONFIG, CHANNELS)),
        out=subpath(output.table, parent=True),
        code=stage_hash("quality"),
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
    threads: 1
    resources:
        mem_mb=by_attempt(1000),
        runtime=by_attempt(30),
    params:
        settings=compared(stages.identity_stage(CONFIG)),
        sheet=sheet_argument,
        arguments=arguments(stages.identity_stage(CONFIG)),
        patients=persons_digest(SHEET),
        code=stage_hash("identity"),
    shell:
        "mskdex --log {log:q} cohort identity --patients results/patients --settings {params.arguments:q} "
        "--out {output:q} -- {params.sheet:q}"
