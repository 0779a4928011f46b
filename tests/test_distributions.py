"""A build gives a source distribution from which the workflow runs, and a wheel with the package and its data."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import mskdex

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def tracked() -> set[str]:
    """Files of the repository, as git names them."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}


def built(kind: str, source: Path, out: Path) -> Path:
    command = [sys.executable, "-c", BUILD, kind, str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("distributions")
    for name in tracked():
        copy = folder / "checkout" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy, follow_symlinks=False)
    with tarfile.open(built("build_sdist", folder / "checkout", folder)) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"mskdex-{mskdex.__version__}"


def test_the_source_distribution_is_the_checkout(sdist):
    expected = {name for name in tracked() if not name.startswith(".") and not (ROOT / name).is_symlink()}
    packed = {str(path.relative_to(sdist)) for path in sdist.rglob("*") if path.is_file()}
    assert expected <= packed
    assert (sdist / "profiles/default/config.yaml").read_bytes() == (ROOT / "profiles/default/config.yaml").read_bytes()


def test_the_wheel_has_the_package_with_its_data_and_nothing_else(sdist, tmp_path):
    wheel = zipfile.ZipFile(built("build_wheel", sdist, tmp_path))
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == {name for name in tracked() if name.startswith("mskdex/")}
    (entries,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert b"mskdex = mskdex.pipeline.cli:main" in wheel.read(entries)


def test_the_version_is_that_of_citation_and_changelog():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    released = re.findall(r"^## (\S+) \(\d{4}-\d{2}-\d{2}\)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert released == ["0.2.0", "0.1.0"]
    assert mskdex.__version__ == citation["version"] == released[0]
