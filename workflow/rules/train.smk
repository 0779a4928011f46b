rule train:
    """Train one fold of an experiment, from its last checkpoint where there is one."""
    input:
        stacks=training_stacks,
        folds="results/cohort/folds.parquet",
        identity=ancient("results/cohort/identity.json"),
    output:
        model="results/experiments/{experiment}/fold{fold}/model.safetensors",
        history="results/experiments/{experiment}/fold{fold}/history.parquet",
        manifest="results/experiments/{experiment}/fold{fold}/train.json",
    log:
        "results/logs/train/{experiment}-fold{fold}.log",
    benchmark:
        "results/benchmarks/train/{experiment}-fold{fold}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    threads: training_threads
    resources:
        **by_attempt(mem_mb=training_memory),
        gpu=training_gpus,
        runtime=1440,
    params:
        **stage("train", train_settings),
        start=start_model,
        out=subpath(output.model, parent=True),
    shell:
        "mskdex --log {log:q} train --patients results/patients --folds {input.folds:q} "
        "--settings {params.arguments:q} --out {params.out:q}"


rule predict:
    """Decompose the radiographs of a fold's test patients."""
    input:
        stacks=test_stacks,
        model="results/experiments/{experiment}/fold{fold}/model.safetensors",
        manifest="results/experiments/{experiment}/fold{fold}/train.json",
        folds="results/cohort/folds.parquet",
    output:
        predictions="results/experiments/{experiment}/fold{fold}/predictions.parquet",
        decompositions=directory(
            "results/experiments/{experiment}/fold{fold}/decompositions"
        ),
    log:
        "results/logs/predict/{experiment}-fold{fold}.log",
    benchmark:
        "results/benchmarks/predict/{experiment}-fold{fold}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=prediction_memory, runtime=60),
        gpu=training_gpus,
    params:
        out=subpath(output.predictions, parent=True),
        code=stage_hash("predict"),
    shell:
        "mskdex --log {log:q} predict-fold {input.model:q} --patients results/patients --folds {input.folds:q} "
        "--fold {wildcards.fold} --out {params.out:q}"


rule predict_external:
    """Predict the patients whom no fold trains on."""
    input:
        stacks=external_stacks(),
        model="results/experiments/{experiment}/fold{fold}/model.safetensors",
        manifest="results/experiments/{experiment}/fold{fold}/train.json",
        folds="results/cohort/folds.parquet",
    output:
        "results/experiments/{experiment}/fold{fold}/external.parquet",
    log:
        "results/logs/predict_external/{experiment}-fold{fold}.log",
    benchmark:
        "results/benchmarks/predict_external/{experiment}-fold{fold}.tsv"
    conda:
        "../../envs/mskdex.yaml"
    resources:
        **by_attempt(mem_mb=prediction_memory, runtime=60),
        gpu=training_gpus,
    params:
        code=stage_hash("predict"),
    shell:
        "mskdex --log {log:q} predict-external {input.model:q} --patients results/patients --folds {input.folds:q} "
        "--out {output:q}"
