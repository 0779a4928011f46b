"""A dry run of a cohort of 539 and of 5,000 patients: wall and CPU seconds, and memory.

python benchmarks/workflow/scale.py [PATIENTS ...]
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADER = "patient_id\tct\tlabels\tlabel_source\tradiograph\tsex\tage\theight_cm\tweight_kg\n"


def write_cohort(folder: Path, patients: int) -> None:
    """A sheet with files of one byte behind it, and the paper's protocol over the default config."""
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


def measure(patients: int) -> str:
    """One dry run: a line of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cohort(folder, patients)
        files = [str(ROOT / "config.yaml"), str(ROOT / "config" / "paper.yaml"), str(folder / "here.yaml")]
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", name]
        command += ["--dry-run", "--quiet", "all", "--cores", "1", "--configfile", *files]
        started = time.monotonic()
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
        output = run.communicate()[0]
        wall = time.monotonic() - started
    if run.returncode:
        raise SystemExit(output)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return f"{patients:9d} {wall:8.1f} {used.ru_utime + used.ru_stime:8.1f} {used.ru_maxrss / 1024:8.0f}"


def main() -> None:
    """Prints the table; every size is measured in a process of its own, so that the maxima do not mix."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patients", nargs="*", type=int, default=[539, 5000])
    sizes = parser.parse_args().patients
    if len(sizes) == 1:
        print(measure(sizes[0]))
        return
    print(" patients   wall_s    cpu_s   rss_mb", flush=True)
    for size in sizes:
        subprocess.run([sys.executable, __file__, str(size)], check=True, env=dict(os.environ))


if __name__ == "__main__":
    main()
