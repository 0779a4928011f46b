"""The user's files count by content: whatever a stage can read of them, however they are laid out."""

import os

import pytest

from mskdex.errors import MskdexError
from mskdex.pipeline.sources import FIRST, RECORD, Digests, edition, recorded, source_files

FILES = {
    "nifti": ("labels", "labels.nii.gz", ["labels.nii.gz", "labels.json"]),
    "slicer": ("labels", "all.seg.nrrd", ["all.seg.nrrd", "all.json"]),
    "masks": ("labels", "masks", ["masks/femur.nii.gz", "masks/deeper/names.json"]),
    "dicom": ("ct", "series", ["series/1/2/3.dcm", "series/4"]),
    "metaimage": ("ct", "ct.mhd", ["ct.mhd", "voxels.raw"]),
    "nrrd": ("labels", "seg.nhdr", ["seg.nhdr", "seg.dat", "seg.json"]),
    "radiograph": ("radiograph", "ap.png", ["ap.png"]),
}
HEADERS = {
    "ct.mhd": "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\n"
    "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementDataFile = voxels.raw\n",
    "seg.nhdr": "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 2 2\nencoding: raw\n"
    "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\ndata file: seg.dat\n",
}


@pytest.fixture(params=FILES)
def source(request, tmp_path):
    column, path, names = FILES[request.param]
    for name in (*names, "series/.hidden", "masks/._femur.nii.gz", "other.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(HEADERS.get(name, name), encoding="utf-8")
    return {"patient_id": "P1", column: tmp_path / path}, column, [tmp_path / name for name in names]


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


@pytest.fixture
def digests(tmp_path):
    return Digests(tmp_path / "digests.jsonl")


def plan(source, made, digests, *, full=False):
    row, column, _ = source
    return edition(row, [column], made / RECORD, digests, full=full)


def run(source, made, digests):
    """An import of the source as it was planned."""
    row, column, _ = source
    planned = plan(source, made, digests)
    with recorded(row, [column], planned, made):
        (made / "labels.nii.gz").write_bytes(b"made")
    return planned


def edit(path, content):
    """Other content of the same size, at the same time."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_every_file_that_is_read_counts_and_no_other(source):
    row, column, files = source
    assert sorted(source_files(row, [column]).values()) == sorted(map(str, files))


def test_an_edit_of_any_file_is_seen_and_seen_no_more_once_it_is_imported(source, made, digests):
    assert plan(source, made, digests) == FIRST
    assert run(source, made, digests) == FIRST
    for file in source[2]:
        before = plan(source, made, digests)
        edit(
            file, file.read_bytes()[::-1] if file.name not in HEADERS else file.read_bytes().replace(b"2 2 2", b"2 2 3")
        )
        changed = plan(source, made, digests)
        assert changed not in {before, FIRST}
        assert run(source, made, digests) == changed == plan(source, made, digests)


def test_an_edit_that_is_taken_back_reruns_nothing(source, made, digests):
    run(source, made, digests)
    file = source[2][-1]
    content = file.read_bytes()
    edit(file, b"something else")
    assert plan(source, made, digests) != FIRST
    edit(file, content)
    assert plan(source, made, digests) == FIRST


def test_other_times_rerun_nothing_and_a_file_is_hashed_once(source, made, digests, monkeypatch):
    run(source, made, digests)
    for file in source[2]:
        os.utime(file, (1e9, 1e9))
    assert plan(source, made, digests) == FIRST
    monkeypatch.setattr("mskdex.pipeline.sources.file_digest", lambda path: pytest.fail(f"{path} is read again"))
    assert plan(source, made, Digests(digests._file)) == FIRST


def test_the_first_plan_reads_no_file(source, made, digests, monkeypatch):
    monkeypatch.setattr("mskdex.pipeline.sources.file_digest", lambda path: pytest.fail(f"{path} is read"))
    assert plan(source, made, digests) == FIRST


def test_a_file_more_or_less_is_seen(source, made, digests):
    row, column, files = source
    run(source, made, digests)
    if row[column].is_dir():
        (row[column] / "another.dcm").write_bytes(b"slice")
        assert plan(source, made, digests) != FIRST
        (row[column] / "another.dcm").unlink()
    if len(files) > 1:
        files[-1].unlink()
        assert plan(source, made, digests) != FIRST


def test_without_its_record_a_result_is_compared_by_all_contents(source, made, digests):
    run(source, made, digests)
    (made / RECORD).unlink()
    lost = plan(source, made, digests)
    assert lost not in {FIRST, ""}
    assert lost == plan(source, made, digests, full=True)
    for damaged in ('{"edition": "first"', "[]", '{"edition": "first", "files": {"ct/ct.nii.gz": 5}}'):
        (made / RECORD).write_text(damaged, encoding="utf-8")
        assert plan(source, made, digests) == lost
    edit(source[2][0], b"something else")
    assert plan(source, made, digests) != lost


def test_a_failed_import_records_nothing(source, made):
    row, column, _ = source
    with pytest.raises(MskdexError, match="no CT"), recorded(row, [column], FIRST, made):
        raise MskdexError("no CT")
    assert not (made / RECORD).exists()


def test_a_record_can_be_moved_with_its_files(source, made, digests, tmp_path):
    run(source, made, digests)
    row, column, _ = source
    moved = tmp_path.rename(tmp_path.with_name("else where"))
    try:
        there = {**row, column: moved / row[column].relative_to(tmp_path)}
        assert edition(there, [column], moved / "results" / RECORD, digests, full=False) == FIRST
    finally:
        moved.rename(tmp_path)


def test_a_file_that_may_not_be_read_is_named(tmp_path, made, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "ct.nii.gz").touch()
    monkeypatch.setattr("hashlib.file_digest", refused)
    with (
        pytest.raises(MskdexError, match=r"patient P1: .*ct\.nii\.gz cannot be read \(Permission denied\)"),
        recorded({"patient_id": "P1", "ct": tmp_path / "ct.nii.gz"}, ["ct"], FIRST, made),
    ):
        pass
