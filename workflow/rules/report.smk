rule report:
    """Write the HTML report, and print the table of Pearson correlations."""
    input:
        evaluation="results/evaluation/agreement.parquet",
        images="results/evaluation/images.parquet",
        tests="results/evaluation/tests.parquet",
        quantities="results/cohort/quantities.parquet",
        registration="results/cohort/registration.parquet",
        excluded="results/cohort/excluded.csv",
        histories=fold_results("history.parquet"),
        qc=patient_results("qc.png"),
    output:
        report(
            "results/report/index.html",
            caption="../report/index.rst",
            category="Report",
        ),
        "results/report/summary.txt",
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        "../../envs/mskdex.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=whole(CONFIG),
        arguments=brief(CONFIG),
        out=subpath(output[0], parent=True),
        code=stage_hash("report"),
    shell:
        "mskdex --log {log} report results --settings {params.arguments:q} --out {params.out}"


onstart:
    print_plan()


onsuccess:
    print_summary()
