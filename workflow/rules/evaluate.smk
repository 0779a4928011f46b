rule collect:
    """Collect the truth, the registrations and who does not count, of all patients, into tables."""
    input:
        quantities=patient_results("quantities.parquet"),
        poses=patient_results("pose.json"),
        calibrations=patient_results("calibration.json"),
        patients="results/cohort/patients.parquet",
        excluded="results/cohort/excluded.parquet",
    output:
        quantities="results/cohort/quantities.parquet",
        registration="results/cohort/registration.parquet",
        calibration="results/cohort/calibration.parquet",
        pairs="results/cohort/pairs.parquet",
        excluded_for_people="results/cohort/excluded.csv",
    log:
        "results/logs/collect.log",
    benchmark:
        "results/benchmarks/collect.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=1000, runtime=30),
    params:
        **stage("collect", stages.collect_stage(CONFIG)),
        out=subpath(output.quantities, parent=True),
    shell:
        "mskdex --log {log:q} collect --patients results/patients --table {input.patients:q} "
        "--settings {params.arguments:q} --out {params.out:q}"


rule evaluate:
    """Compare the predictions with the CT, and the experiments with each other and with simple baselines."""
    input:
        predictions=fold_results("predictions.parquet"),
        manifests=fold_results("train.json"),
        decompositions=fold_results("decompositions"),
        external=external_results(),
        truth=posed_truth(),
        stacks=patient_results("stack.safetensors"),
        imports=patient_results("import.json"),
        patients="results/cohort/patients.parquet",
        objects="results/cohort/objects.json",
        folds="results/cohort/folds.parquet",
        quantities="results/cohort/quantities.parquet",
        pairs="results/cohort/pairs.parquet",
        identity=ancient("results/cohort/identity.json"),
    output:
        added_value="results/evaluation/added_value.parquet",
        differences="results/evaluation/differences.parquet",
        agreement="results/evaluation/agreement.parquet",
        coverage="results/evaluation/coverage.parquet",
        subgroups="results/evaluation/subgroups.parquet",
        decisions="results/evaluation/decisions.parquet",
        images="results/evaluation/images.parquet",
        maps="results/evaluation/maps.parquet",
        tests="results/evaluation/tests.parquet",
        points="results/evaluation/points.parquet",
        tuning="results/evaluation/tuning.parquet",
        external_points="results/evaluation/external_points.parquet",
        external_added_value="results/evaluation/external_added_value.parquet",
        external_coverage="results/evaluation/external_coverage.parquet",
        errors="results/evaluation/errors.parquet",
        fusion="results/evaluation/fusion.json",
        ranges="results/evaluation/ranges.json",
        manifest="results/evaluation/evaluate.json",
    log:
        "results/logs/evaluate.log",
    benchmark:
        "results/benchmarks/evaluate.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=1500, runtime=60),
    params:
        **stage("evaluate", stages.evaluate_stage(CONFIG)),
        comparators=comparators_digest(CONFIG, DIGESTS),
        out=subpath(output.agreement, parent=True),
    shell:
        "mskdex --log {log:q} evaluate results --settings {params.arguments:q} --out {params.out:q}"
