rule import_patient:
    """Read, check and convert a patient's CT, labels and radiograph."""
    input:
        ct=source_file("ct"),
        labels=source_file("labels"),
        radiograph=source_file("radiograph"),
        names=names_file,
    output:
        ct="results/patients/{patient}/ct.nii.gz",
        labels="results/patients/{patient}/labels.nii.gz",
        radiograph="results/patients/{patient}/radiograph.nii.gz",
        field="results/patients/{patient}/field.nii.gz",
        camera="results/patients/{patient}/camera.json",
        manifest="results/patients/{patient}/import.json",
    log:
        "results/logs/import/{patient}.log",
    benchmark:
        "results/benchmarks/import/{patient}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=2500, runtime=10),
    params:
        **stage("importing", import_settings),
        row=compared_row,
        sources=source_edition(
            "import_patient", "results/patients", "ct", "labels", "radiograph"
        ),
        patient=patient_row,
        own=own_files,
    shell:
        "mskdex --log {log:q} import --row {params.patient:q} --settings {params.arguments:q} "
        "--own {params.own:q} --edition {params.sources:q} --out results/patients/{wildcards.patient:q}"


rule quantities:
    """Sum volume, weighted volume and lean mass of every object over the CT's voxels."""
    input:
        ct="results/patients/{patient}/ct.nii.gz",
        labels="results/patients/{patient}/labels.nii.gz",
        imported="results/patients/{patient}/import.json",
    output:
        "results/patients/{patient}/quantities.parquet",
    log:
        "results/logs/quantities/{patient}.log",
    benchmark:
        "results/benchmarks/quantities/{patient}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=1000, runtime=10),
    params:
        **stage("quantities", stages.anatomy_stage(CONFIG)),
    shell:
        "mskdex --log {log:q} quantities --patient results/patients/{wildcards.patient:q} "
        "--settings {params.arguments:q} --out {output:q}"
