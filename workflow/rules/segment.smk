rule segment:
    """Segment a CT whose labels the sheet leaves blank, with TotalSegmentator."""
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
        "../../envs/totalsegmentator.yaml"
    threads: 4
    resources:
        mem_mb=growing(16000),
        runtime=growing(60),
        gpu=int(CONFIG.cohort.segment_device != "cpu"),
    params:
        row=import_row,
        settings=whole(stages.segment_stage(CONFIG)),
        arguments=brief(stages.segment_stage(CONFIG)),
        code=stage_hash("segment"),
    shell:
        "mskdex --log {log} segment --row {params.row:q} --settings {params.arguments:q} --out {output.labels}"
