rule synthesize_sheet:
    """Draw the virtual cohort and write its sheet."""
    output:
        "results/virtual/cohort.tsv",
    log:
        "results/logs/synthesize_sheet.log",
    benchmark:
        "results/benchmarks/synthesize_sheet.tsv"
    conda:
        "../../envs/mskdex.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=whole(CONFIG.virtual),
        arguments=brief(CONFIG.virtual),
        code=stage_hash("synthesize"),
    shell:
        "mskdex --log {log} synthesize-sheet --settings {params.arguments:q} --out {output}"


rule synthesize:
    """Synthesise a virtual patient: CT, labels and radiograph as ordinary input files."""
    output:
        ct="results/virtual/{patient}/ct.nii.gz",
        labels="results/virtual/{patient}/labels.nii.gz",
        names="results/virtual/{patient}/labels.json",
        radiograph="results/virtual/{patient}/radiograph.dcm",
        truth="results/virtual/{patient}/truth.json",
    log:
        "results/logs/synthesize/{patient}.log",
    benchmark:
        "results/benchmarks/synthesize/{patient}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    threads: 1
    resources:
        mem_mb=growing(1500),
        runtime=growing(10),
    params:
        settings=whole(stages.synthesize_stage(CONFIG)),
        arguments=brief(stages.synthesize_stage(CONFIG)),
        out=subpath(output.ct, parent=True),
        code=stage_hash("synthesize"),
    shell:
        "mskdex --log {log} synthesize {wildcards.patient} --settings {params.arguments:q} --out {params.out}"


rule cohort:
    """Write the patients with their demographics, and the excluded ones with the reasons."""
    input:
        sheet=sheet_path(CONFIG),
    output:
        patients="results/cohort/patients.parquet",
        excluded="results/cohort/excluded.csv",
        objects="results/cohort/objects.json",
    log:
        "results/logs/cohort.log",
    benchmark:
        "results/benchmarks/cohort.tsv"
    conda:
        "../../envs/mskdex.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=whole(stages.cohort_stage(CONFIG, LEFT_OUT)),
        arguments=brief(stages.cohort_stage(CONFIG, LEFT_OUT)),
        out=subpath(output.patients, parent=True),
        code=stage_hash("cohort"),
    shell:
        "mskdex --log {log} cohort build {input.sheet} --settings {params.arguments:q} --out {params.out}"


rule folds:
    """Assign patients to folds; depends on ids, sex, persons and exclusions of the sheet, on nothing else in it."""
    input:
        sheet=ancient(sheet_path(CONFIG)),
    output:
        "results/cohort/folds.parquet",
    log:
        "results/logs/folds.log",
    benchmark:
        "results/benchmarks/folds.tsv"
    conda:
        "../../envs/mskdex.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=whole(stages.folds_stage(CONFIG)),
        arguments=brief(stages.folds_stage(CONFIG)),
        patients=sheet_digest(SHEET, ["patient_id", "sex", "person"]),
        code=stage_hash("folds"),
    shell:
        "mskdex --log {log} folds {input.sheet} --settings {params.arguments:q} --out {output}"
