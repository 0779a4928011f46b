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
    threads: 1
    resources:
        mem_mb=by_attempt(2500),
        runtime=by_attempt(10),
    params:
        row=compared_row,
        sources=source_edition(
            "import_patient", "results/patients", "ct", "labels", "radiograph"
        ),
        patient=patient_row,
        own=own_files,
        settings=compared(import_settings),
        arguments=arguments(import_settings),
        out=subpath(output.ct, parent=True),
        code=stage_hash("importing"),
    shell:
        "mskdex --log {log:q} import --row {params.patient:q} --settings {params.arguments:q} "
        "--own {params.own:q} --edition {params.sources:q} --out {params.out:q}"


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
    threads: 1
    resources:
        mem_mb=by_attempt(1000),
        runtime=by_attempt(10),
    params:
        settings=compared(stages.anatomy_stage(CONFIG)),
        arguments=arguments(stages.anatomy_stage(CONFIG)),
        patient=subpath(input.ct, parent=True),
        code=stage_hash("quantities"),
    shell:
        "mskdex --log {log:q} quantities --patient {params.patient:q} --settings {params.arguments:q} --out {output:q}"
