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
    resources:
        **by_attempt(mem_mb=2500, runtime=30),
    params:
        **stage("simulate", stages.simulate_stage(CONFIG)),
    shell:
        "mskdex --log {log:q} simulate --patient results/patients/{wildcards.patient:q} "
        "--settings {params.arguments:q} --out {output:q}"
