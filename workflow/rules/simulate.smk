rule simulate:
    """Make pairs of radiograph and DRRs from a registered patient's own CT."""
    input:
        ct="results/patients/{patient}/ct.nii.gz",
        labels="results/patients/{patient}/labels.nii.gz",
        imported="results/patients/{patient}/import.json",
        radiograph="results/patients/{patient}/radiograph.nii.gz",
        field="results/patients/{patient}/field.nii.gz",
        camera="results/patients/{patient}/camera.json",
        poses="results/patients/{patient}/pose.json",
    output:
        "results/patients/{patient}/simulated.safetensors",
    log:
        "results/logs/simulate/{patient}.log",
    benchmark:
        "results/benchmarks/simulate/{patient}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    threads: 1
    resources:
        mem_mb=by_attempt(2500),
        runtime=by_attempt(30),
    params:
        settings=compared(stages.simulate_stage(CONFIG)),
        arguments=arguments(stages.simulate_stage(CONFIG)),
        patient=subpath(input.ct, parent=True),
        code=stage_hash("simulate"),
    shell:
        "mskdex --log {log:q} simulate --patient {params.patient:q} --settings {params.arguments:q} --out {output:q}"
