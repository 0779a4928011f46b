rule report:
    """Write the HTML report, and print the table of Pearson correlations."""
    input:
        evaluation="results/evaluation/agreement.parquet",
        coverage="results/evaluation/coverage.parquet",
        subgroups="results/evaluation/subgroups.parquet",
        decisions="results/evaluation/decisions.parquet",
        added_value="results/evaluation/added_value.parquet",
        images="results/evaluation/images.parquet",
        maps="results/evaluation/maps.parquet",
        tests="results/evaluation/tests.parquet",
        points="results/evaluation/points.parquet",
        tuning="results/evaluation/tuning.parquet",
        external_points="results/evaluation/external_points.parquet",
        external_added_value="results/evaluation/external_added_value.parquet",
        external_coverage="results/evaluation/external_coverage.parquet",
        ranges="results/evaluation/ranges.json",
        facts="results/evaluation/evaluate.json",
        patients="results/cohort/patients.parquet",
        excluded="results/cohort/excluded.parquet",
        objects="results/cohort/objects.json",
        folds="results/cohort/folds.parquet",
        quantities="results/cohort/quantities.parquet",
        registration="results/cohort/registration.parquet",
        pairs="results/cohort/pairs.parquet",
        calibration="results/cohort/calibration.parquet",
        quality="results/cohort/quality.parquet",
        imports=patient_results("import.json"),
        stacks=patient_results("stack.safetensors"),
        qc=patient_results("qc.png"),
        predictions=fold_results("predictions.parquet"),
        decompositions=fold_results("decompositions"),
        histories=fold_results("history.parquet"),
        manifests=fold_results("train.json"),
    output:
        report(
            "results/report/index.html",
            caption="../report/index.rst",
            category="Report",
        ),
        "results/report/print.html",
        "results/report/summary.txt",
        figures=report(
            directory("results/report/figures"),
            patterns=["{name}.svg"],
            caption="../report/figures.rst",
            category="Figures",
            labels={"figure": "{name}"},
        ),
        tables=report(
            directory("results/report/tables"),
            patterns=["{name}.csv"],
            caption="../report/tables.rst",
            category="Tables",
            labels={"table": "{name}"},
        ),
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=2000, runtime=60),
    params:
        **stage("report", CONFIG),
        virtual=CONFIG.cohort.sheet is None,
        out=subpath(output[0], parent=True),
    shell:
        "mskdex --log {log:q} report results --settings {params.arguments:q} --out {params.out:q}"


onstart:
    stop_reevaluation(workflow)
    if belongs():
        mark_origin()
    print_plan()


onsuccess:
    mark_origin()
    print_summary()
