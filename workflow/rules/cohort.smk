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
    resources:
        **by_attempt(mem_mb=1000, runtime=10),
    params:
        **stage("synthesize", CONFIG.virtual),
    shell:
        "mskdex --log {log:q} synthesize-sheet --settings {params.arguments:q} --out {output:q}"


rule synthesize:
    """Synthesise a virtual patient: CT, labels and radiograph as ordinary input files."""
    output:
        ct="results/virtual/{patient}/ct.nii.gz",
        labels="results/virtual/{patient}/labels.nii.gz",
        names="results/virtual/{patient}/labels.json",
        radiograph="results/virtual/{patient}/radiograph.dcm",
        truth="results/virtual/{patient}/truth.json",
        images="results/virtual/{patient}/truth_images.safetensors",
    log:
        "results/logs/synthesize/{patient}.log",
    benchmark:
        "results/benchmarks/synthesize/{patient}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=1500, runtime=10),
    params:
        **stage("synthesize", stages.synthesize_stage(CONFIG)),
        atlas=atlas_digest(CONFIG, DIGESTS),
    shell:
        "mskdex --log {log:q} synthesize {wildcards.patient:q} --settings {params.arguments:q} "
        "--out results/virtual/{wildcards.patient:q}"


rule cohort:
    """Write the patients with their demographics, and the excluded ones with the reasons."""
    input:
        sheet=sheet_file,
    output:
        patients="results/cohort/patients.parquet",
        excluded="results/cohort/excluded.parquet",
        objects="results/cohort/objects.json",
    log:
        "results/logs/cohort.log",
    benchmark:
        "results/benchmarks/cohort.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=1000, runtime=10),
    params:
        **stage("cohort", stages.cohort_stage(CONFIG, LEFT_OUT)),
        rows=rows_digest(EVERYONE),
        sheet=sheet_argument,
        out=subpath(output.patients, parent=True),
    shell:
        "mskdex --log {log:q} cohort build --settings {params.arguments:q} --out {params.out:q} -- {params.sheet:q}"


rule folds:
    """Assign patients to folds; depends on ids, sex, persons and exclusions of the sheet, on nothing else in it."""
    input:
        sheet=sheet_file,
    output:
        "results/cohort/folds.parquet",
    log:
        "results/logs/folds.log",
    benchmark:
        "results/benchmarks/folds.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=1000, runtime=10),
    params:
        **stage("folds", stages.folds_stage(CONFIG)),
        sheet=sheet_argument,
        patients=compared(FOLDS),
        persons=persons_digest(SHEET),
    shell:
        "mskdex --log {log:q} folds --settings {params.arguments:q} --out {output:q} -- {params.sheet:q}"
