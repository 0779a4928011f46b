"""`snakemake -n` for a cohort of 539 and of 5,000 patients: jobs, wall and CPU seconds, and memory.

python benchmarks/workflow/scale.py [default:539 paper:539 paper:5000]
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROTOCOLS = {"default": [], "paper": [ROOT / "config" / "paper.yaml"]}
HEADER = "patient_id\tct\tlabels\tlabel_source\tradiograph\tsex\tage\theight_cm\tweight_kg\n"


def write_cohort(folder: Path, patients: int) -> None:
    """A sheet with files of one byte behind it."""
    rows = []
    for number in range(patients):
        name = f"P{number:05d}"
        (folder / name).mkdir()
        files = [f"{name}/{file}" for file in ("ct.nii.gz", "labels.nii.gz", "ap.dcm")]
        for file in files:
            (folder / file).write_bytes(b"x")
        rows.append("\t".join([name, files[0], files[1], "totalsegmentator", files[2], "F", "64", "156", "57"]) + "\n")
    (folder / "cohort.tsv").write_text(HEADER + "".join(rows), encoding="utf-8")
    (folder / "here.yaml").write_text(f"cohort: {{sheet: {folder / 'cohort.tsv'}}}\n", encoding="utf-8")


def measure(protocol: str, patients: int) -> str:
    """One dry run: a line of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cohort(folder, patients)
        files = [ROOT / "config.yaml", *PROTOCOLS[protocol], folder / "here.yaml"]
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", name]
        command += ["--dry-run", "--cores", "1", "--configfile", *map(str, files)]
        started = time.monotonic()
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        wall = time.monotonic() - started
    if run.returncode:
        raise SystemExit(run.stdout)
    jobs = int(next(line.split()[1] for line in run.stdout.splitlines() if line.startswith("total ")))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    return f"{protocol:>8} {patients:9d} {jobs:6d} {cpu:8.1f} {wall:8.1f} {peak:8.0f}"


def main() -> None:
    """Prints the table; every row is measured in a process of its own, so that the maxima do not mix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", default=["default:539", "paper:539", "paper:5000"])
    runs = parser.parse_args().runs
    if len(runs) == 1:
        protocol, _, patients = runs[0].partition(":")
        print(measure(protocol, int(patients)))
        return
    print("protocol  patients   jobs    cpu_s   wall_s   rss_mb", flush=True)
    for run in runs:
        subprocess.run([sys.executable, __file__, run], check=True)


if __name__ == "__main__":
    main()
