"""What a patient's stages take and what of it is start-up: the default virtual cohort, and the paper's resolution.

python benchmarks/workflow/start_up.py [virtual paper scheduling]

CPU seconds and peak memory of each stage as the workflow runs it, and CPU seconds of a process that imports what the
stage imports and does nothing; then what Snakemake spends on a trivial job.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from mskdex.config import Config
from mskdex.pipeline import settings as stages
from mskdex.pipeline.workflow import included, left_out_objects, read_cohort, sheet_rows

SPACING_MM = (1.0, 1.0, 1.0)
PAPER = {"image": {"rows": 512, "columns": 512, "pixel_mm": 0.84}}
NOISE_HU = 12.0
TRIVIAL_JOBS = 200
FILES = {"ct": "ct.nii.gz", "labels": "labels.nii.gz", "radiograph": "radiograph.dcm"}
MODULES = {"import": "importing", "render": "project", "render_aligned": "project"}
# What Snakemake sets for a job of one thread; importing numpy alone starts a thread per core otherwise.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# A small process starts what is measured: a peak of memory begins with that of the process that started it.
MEASURED = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(bool(status))
"""
TRIVIAL = """
rule all:
    input: expand("{{i}}.txt", i=range({jobs}))
rule trivial:
    output: "{{i}}.txt"
    log: "{{i}}.log"
    benchmark: "{{i}}.tsv"
    shell: "touch {{output}}"
"""


def spent(command: list, folder: Path | None = None) -> tuple[float, float]:
    """CPU seconds and peak memory, in MB, of a command and what it starts."""
    run = [sys.executable, "-c", MEASURED, *map(str, command)]
    done = subprocess.run(run, cwd=folder, env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    cpu, peak = done.stdout.split()
    return float(cpu), float(peak)


def enlarge(source: Path, target: Path) -> None:
    """The CT and its labels at the paper's spacing, with noise, which compresses as badly as a scan's."""
    for name, how, outside in (("ct", sitk.sitkLinear, -1000), ("labels", sitk.sitkNearestNeighbor, 0)):
        image = sitk.ReadImage(str(source / f"{name}.nii.gz"))
        size = [round(n * s / t) for n, s, t in zip(image.GetSize(), image.GetSpacing(), SPACING_MM, strict=True)]
        fine = sitk.Resample(
            image, size, sitk.Transform(), how, image.GetOrigin(), SPACING_MM, image.GetDirection(), outside
        )
        if name == "ct":
            array = sitk.GetArrayFromImage(fine)
            generator = np.random.default_rng(0)
            for plane in array:
                plane += generator.normal(0, NOISE_HU, plane.shape).astype(array.dtype)
            noisy = sitk.GetImageFromArray(array)
            noisy.CopyInformation(fine)
            fine = noisy
        sitk.WriteImage(fine, str(target / f"{name}.nii.gz"), True, 1)


def commands(config: Config, inputs: Path, patient: Path) -> dict[str, list]:
    """The stages' commands, as the rules have them; the patient's folder is made."""
    patient.mkdir(parents=True)
    sheet = included(read_cohort(config))
    row = sheet_rows(sheet)[patient.name] | {name: str(inputs / file) for name, file in FILES.items()}

    def command(stage, settings, out, *more):
        given = ["--patient", patient] if stage != "import" else ["--row", json.dumps(row, default=str)]
        given_settings = settings.model_dump_json(exclude_defaults=True)
        return ["mskdex", stage, *given, *more, "--settings", given_settings, "--out", out]

    anatomy, render = stages.anatomy_stage(config), stages.render_stage(config)
    left_out = left_out_objects(config, sheet)
    stack = stages.stack_stage(config, [c for c in config.channels if c.object not in left_out])
    return {
        "import": command("import", stages.import_stage(config, row["label_source"]), patient),
        "quantities": command("quantities", anatomy, patient / "quantities.parquet"),
        "render": command("render", render, patient / "drr.safetensors"),
        "register": command("register", stages.register_stage(config), patient / "pose.json"),
        "calibrate": command("calibrate", stages.calibrate_stage(config), patient / "calibration.json"),
        "render_aligned": command("render", render, patient / "aligned.safetensors", "--poses", patient / "pose.json"),
        "stack": command("stack", stack, patient / "stack.safetensors"),
        "qc": command("qc", anatomy, patient / "qc.png"),
        "simulate": command("simulate", stages.simulate_stage(config), patient / "simulated.safetensors"),
    }


def start_up(stage: str) -> float:
    """CPU seconds of a process that imports what a stage imports, the lesser of two."""
    module = MODULES.get(stage, stage)
    code = f"import mskdex.pipeline.cli, mskdex.pipeline.settings, mskdex.pipeline.stages.{module}"
    command = ["env", "PYDANTIC_DISABLE_PLUGINS=__all__", sys.executable, "-c", code]
    return min(spent(command)[0] for _ in range(2))


def scheduling(folder: Path) -> float:
    """CPU seconds that Snakemake spends on a trivial job."""
    used = []
    for jobs in (1, 1 + TRIVIAL_JOBS):
        run = folder / str(jobs)
        run.mkdir()
        (run / "Snakefile").write_text(TRIVIAL.format(jobs=jobs), encoding="utf-8")
        used.append(spent(["snakemake", "--cores", "1", "--scheduler", "greedy"], run)[0])
    return (used[1] - used[0]) / TRIVIAL_JOBS


def report(config: Config, inputs: Path, patient: Path) -> None:
    """Runs the stages of one patient and prints their rows."""
    voxels = np.prod(sitk.ReadImage(str(inputs / "ct.nii.gz")).GetSize())
    print(f"\n{voxels / 1e6:.1f} million voxels\n{'stage':15} {'cpu s':>7} {'start':>6} {'MB':>6}")
    total = starts = 0.0
    for stage, command in commands(config, inputs, patient).items():
        start = start_up(stage)
        cpu, peak = spent(command)
        total, starts = total + cpu, starts + start
        print(f"{stage:15} {cpu:7.2f} {start:6.2f} {peak:6.0f}", flush=True)
    print(f"{'together':15} {total:7.2f} {starts:6.2f}   start-up is {starts / total:.1%}")


def main() -> None:
    """Prints the tables and the scheduling of a job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["virtual", "paper", "scheduling"])
    parts = parser.parse_args().parts
    ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        virtual, paper = folder / "virtual", folder / "paper"
        paper.mkdir()
        settings = stages.synthesize_stage(Config()).model_dump_json()
        spent(["mskdex", "synthesize", "V0001", "--settings", settings, "--out", virtual])
        enlarge(virtual, paper)
        for file in ("radiograph.dcm", "labels.json"):
            (paper / file).symlink_to(virtual / file)
        for command in commands(Config(), virtual, folder / "first" / "V0001").values():
            spent(command)  # what is imported is compiled by now
        for inputs, config in ((virtual, Config()), (paper, Config.model_validate(PAPER))):
            if inputs.name in parts:
                report(config, inputs, folder / f"of {inputs.name}" / "V0001")
        if "scheduling" in parts:
            print(f"\nscheduling: {scheduling(folder):.3f} CPU s a job")


if __name__ == "__main__":
    main()
