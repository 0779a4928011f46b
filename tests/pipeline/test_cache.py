"""Two projects of one lab: what one has made of a patient, the other takes from the cache."""

from working_copy import SMALL, copy_project

CACHED = ("import_patient", "quantities", "render", "register", "render_aligned")
MADE = ("ct.nii.gz", "quantities.parquet", "drr.safetensors", "pose.json", "aligned.safetensors")


def project_of_the_lab(folder, finished):
    """An empty project on the finished one's virtual patients, with a config of its own for what comes later."""
    folder.mkdir()
    project = copy_project(folder)
    for section, values in SMALL.items():
        for key, value in values.items():
            project.configure(section, key, value=value)
    project.configure("cohort", "sheet", value=str(finished.folder / "results/virtual/cohort.tsv"))
    return project


def test_a_second_project_makes_nothing_again(finished, tmp_path):
    (tmp_path / "cache").mkdir()
    patient = "results/patients/V0003"
    command = [*(f"{patient}/{name}" for name in MADE), "--cache", *CACHED]
    projects = [project_of_the_lab(tmp_path / name, finished) for name in ("one", "two")]
    projects[1].configure("folds", "seed", value=7)
    one, two = (project.folder for project in projects)
    projects[0].snakemake(*command, SNAKEMAKE_OUTPUT_CACHE=str(tmp_path / "cache"))
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    projects[1].snakemake(*command, SNAKEMAKE_OUTPUT_CACHE=str(tmp_path / "cache"))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == made
    for name in MADE:
        assert (two / patient / name).is_symlink()
        assert (two / patient / name).resolve() == (one / patient / name).resolve()
    assert "Nothing to be done" in projects[1].snakemake(*command[: len(MADE)], "--dry-run").stdout
