"""A small virtual cohort on which the real workflow is run, once for all tests."""

import shutil

import pytest
from working_copy import Project, copy_project, shrink


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A project whose workflow has run to its end."""
    project = shrink(copy_project(tmp_path_factory.mktemp("project"), package=True))
    project.output = project.snakemake().stdout
    return project


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the finished project, to be changed; times of the files are kept."""
    folder = tmp_path / "project"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Project(folder)
