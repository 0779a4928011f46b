rule register:
    """Register each rigid body of the CT to the radiograph."""
    input:
        ct="results/patients/{patient}/ct.nii.gz",
        labels="results/patients/{patient}/labels.nii.gz",
        radiograph="results/patients/{patient}/radiograph.nii.gz",
        field="results/patients/{patient}/field.nii.gz",
        camera="results/patients/{patient}/camera.json",
        imported="results/patients/{patient}/import.json",
    output:
        "results/patients/{patient}/pose.json",
    log:
        "results/logs/register/{patient}.log",
    benchmark:
        "results/benchmarks/register/{patient}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=2000, runtime=20),
    params:
        **stage("register", stages.register_stage(CONFIG)),
        starts=start_edition,
    shell:
        "mskdex --log {log:q} register --patient results/patients/{wildcards.patient:q} "
        "--settings {params.arguments:q} --out {output:q}"


rule calibrate:
    """Compare the radiograph's grey values with the attenuation of the CT at the registered pose."""
    input:
        ct="results/patients/{patient}/ct.nii.gz",
        labels="results/patients/{patient}/labels.nii.gz",
        radiograph="results/patients/{patient}/radiograph.nii.gz",
        field="results/patients/{patient}/field.nii.gz",
        camera="results/patients/{patient}/camera.json",
        imported="results/patients/{patient}/import.json",
        poses="results/patients/{patient}/pose.json",
    output:
        "results/patients/{patient}/calibration.json",
    log:
        "results/logs/calibrate/{patient}.log",
    benchmark:
        "results/benchmarks/calibrate/{patient}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=2000, runtime=10),
    params:
        **stage("calibrate", stages.calibrate_stage(CONFIG)),
    shell:
        "mskdex --log {log:q} calibrate --patient results/patients/{wildcards.patient:q} "
        "--settings {params.arguments:q} --out {output:q}"


rule qc:
    """Draw the segmentation, and the registered bones over the radiograph."""
    input:
        ct="results/patients/{patient}/ct.nii.gz",
        labels="results/patients/{patient}/labels.nii.gz",
        radiograph="results/patients/{patient}/radiograph.nii.gz",
        field="results/patients/{patient}/field.nii.gz",
        camera="results/patients/{patient}/camera.json",
        poses="results/patients/{patient}/pose.json",
    output:
        "results/patients/{patient}/qc.png",
    log:
        "results/logs/qc/{patient}.log",
    benchmark:
        "results/benchmarks/qc/{patient}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=2000, runtime=10),
    params:
        **stage("qc", stages.anatomy_stage(CONFIG)),
    shell:
        "mskdex --log {log:q} qc --patient results/patients/{wildcards.patient:q} "
        "--settings {params.arguments:q} --out {output:q}"
