rule render:
    """Render the object-wise DRRs at the nominal pose."""
    input:
        ct="results/patients/{patient}/ct.nii.gz",
        labels="results/patients/{patient}/labels.nii.gz",
        camera="results/patients/{patient}/camera.json",
    output:
        "results/patients/{patient}/drr.safetensors",
    log:
        "results/logs/render/{patient}.log",
    benchmark:
        "results/benchmarks/render/{patient}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=1500, runtime=10),
    params:
        **stage("project", stages.render_stage(CONFIG)),
    shell:
        "mskdex --log {log:q} render --patient results/patients/{wildcards.patient:q} "
        "--settings {params.arguments:q} --out {output:q}"


rule render_aligned:
    """Render the registered bones at their registered poses."""
    input:
        ct="results/patients/{patient}/ct.nii.gz",
        labels="results/patients/{patient}/labels.nii.gz",
        camera="results/patients/{patient}/camera.json",
        field="results/patients/{patient}/field.nii.gz",
        poses="results/patients/{patient}/pose.json",
    output:
        "results/patients/{patient}/aligned.safetensors",
    log:
        "results/logs/render_aligned/{patient}.log",
    benchmark:
        "results/benchmarks/render_aligned/{patient}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=1500, runtime=10),
    params:
        **stage("project", stages.render_stage(CONFIG)),
    shell:
        "mskdex --log {log:q} render --patient results/patients/{wildcards.patient:q} --poses {input.poses:q} "
        "--settings {params.arguments:q} --out {output:q}"


rule stack:
    """Put a patient's training sample together: radiograph, DRRs, aligned bones, truth."""
    input:
        drr="results/patients/{patient}/drr.safetensors",
        aligned="results/patients/{patient}/aligned.safetensors",
        radiograph="results/patients/{patient}/radiograph.nii.gz",
        field="results/patients/{patient}/field.nii.gz",
        camera="results/patients/{patient}/camera.json",
        poses="results/patients/{patient}/pose.json",
        calibration="results/patients/{patient}/calibration.json",
        quantities="results/patients/{patient}/quantities.parquet",
    output:
        "results/patients/{patient}/stack.safetensors",
    log:
        "results/logs/stack/{patient}.log",
    benchmark:
        "results/benchmarks/stack/{patient}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=1000, runtime=10),
    params:
        **stage("stack", stack_settings),
    shell:
        "mskdex --log {log:q} stack --patient results/patients/{wildcards.patient:q} "
        "--settings {params.arguments:q} --out {output:q}"
