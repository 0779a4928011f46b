"""Results are those that .snakemake knows about, or they are refused."""

import pytest

from mskdex.errors import MskdexError
from mskdex.pipeline.origin import IN_NOTES, IN_RESULTS, belongs, check_origin, mark_origin


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make():
        (tmp_path / "results/patients/P1").mkdir(parents=True)
        (tmp_path / "results/patients/P1/ct.nii.gz").write_bytes(b"made")
        return tmp_path

    return make


def test_nothing_yet_belongs(results):
    assert belongs()
    mark_origin()
    results()
    assert belongs()


def test_results_without_notes_are_refused_and_made_anew_when_asked(results):
    results()
    with pytest.raises(MskdexError, match=r"without the \.snakemake folder .* --forceall"):
        check_origin(["snakemake", "-n"])
    check_origin(["snakemake", "--cores", "all", "--forceall"])
    mark_origin()
    check_origin(["snakemake", "-n"])


@pytest.mark.parametrize("gone", [IN_NOTES, IN_RESULTS])
def test_half_a_mark_is_none(results, gone):
    mark_origin()
    results()
    gone.unlink()
    assert not belongs()


def test_results_of_another_project_are_refused(results):
    mark_origin()
    results()
    IN_RESULTS.write_text("0" * 32, encoding="utf-8")
    assert not belongs()


def test_results_of_before_there_were_marks_belong_to_their_notes(results):
    folder = results()
    (folder / ".snakemake/metadata").mkdir(parents=True)
    assert not belongs()
    (folder / ".snakemake/metadata/cmVzdWx0cw==").write_text("{}", encoding="utf-8")
    assert belongs()
