rule segment:
    """Segment a CT whose labels the sheet leaves blank, with the program that cohort.segmenter names."""
    input:
        ct=source_file("ct"),
    output:
        labels="results/segmentation/{patient}/labels.nii.gz",
        manifest="results/segmentation/{patient}/labels.segment.json",
    log:
        "results/logs/segment/{patient}.log",
    benchmark:
        "results/benchmarks/segment/{patient}.tsv"
    conda:
        f"../../envs/{SEGMENTER_ENVIRONMENT}.yaml"
    threads: 4
    resources:
        **by_attempt(mem_mb=16000, runtime=60),
        gpu=int(CONFIG.cohort.segmenter_device != "cpu"),
    params:
        **stage("segment", stages.segment_stage(CONFIG)),
        series=compared_series,
        sources=source_edition("segment", "results/segmentation", "ct"),
        patient=patient_row,
    shell:
        "mskdex --log {log:q} segment --row {params.patient:q} --settings {params.arguments:q} "
        "--edition {params.sources:q} --out {output.labels:q}"
