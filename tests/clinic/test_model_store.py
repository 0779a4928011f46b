import hashlib
import http.server
import shutil
import threading

import pandas as pd
import pytest
from typer.testing import CliRunner

from mskdex.clinic.model_store import add_model, find_model, list_models, models_folder
from mskdex.errors import MskdexError
from mskdex.pipeline.cli import app


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MSKDEX_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; /cut/ stops half way, /moved/ leads elsewhere, /file/ to a local file."""

    def do_GET(self):
        if self.path.startswith("/cut/"):
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"half")
        elif self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", "/model.safetensors")
            self.end_headers()
        elif self.path.startswith("/file/"):
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture
def server(model_file):
    def handler(*args):
        return _Handler(*args, directory=str(model_file.parent))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()
        thread.join()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_model_is_found_by_its_name_with_its_calibration(folder, model_file, tmp_path):
    source = tmp_path / "trained" / "model.safetensors"
    source.parent.mkdir()
    shutil.copy(model_file, source)
    pd.DataFrame({"patient_id": ["A"]}).to_parquet(source.with_name("predictions.parquet"))
    run = CliRunner().invoke(app, ["model", "add", "hip-ap-v1", str(source)])
    assert run.exit_code == 0, run.output
    shutil.rmtree(source.parent)
    assert find_model("hip-ap-v1") == folder / "hip-ap-v1" / "model.safetensors"
    assert (folder / "hip-ap-v1" / "predictions.parquet").is_file()
    listed = CliRunner().invoke(app, ["model", "list"])
    assert (listed.exit_code, listed.stdout.split()[:3]) == (0, ["hip-ap-v1", "sha256", digest(model_file)])
    assert str(source) in listed.stdout
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("name", ["model.safetensors", "predictions.parquet", "added.json"])
def test_a_model_that_has_changed_is_not_used(name, folder, model_file, tmp_path):
    shutil.copy(model_file, tmp_path / "model.safetensors")
    pd.DataFrame({"patient_id": ["A"]}).to_parquet(tmp_path / "predictions.parquet")
    add_model("m", str(tmp_path / "model.safetensors"))
    with open(folder / "m" / name, "r+b") as handle:
        handle.seek(5)
        handle.write(b"\x7f\x7f")
    with pytest.raises(MskdexError, match=r"(has changed since it was added|is damaged).*add the model m again"):
        find_model("m")
    run = CliRunner().invoke(app, ["model", "list"])
    assert run.exit_code == 1
    assert "add the model m again" in run.stdout


@pytest.mark.usefixtures("folder")
def test_a_name_is_not_taken_twice(model_file, tmp_path):
    add_model("m", str(model_file))
    assert add_model("m", str(model_file)).problem == "", "the same model again changes nothing"
    from small_model import NETWORK, make_model

    other = make_model(tmp_path / "other.safetensors", NETWORK.model_copy(update={"stem_stride": 4}))
    with pytest.raises(MskdexError, match="m is another model already"):
        add_model("m", str(other))
    assert find_model("m").read_bytes() == model_file.read_bytes()


@pytest.mark.parametrize("name", ["", "a/b", "..", "../m", ".hidden", "a b", "x" * 65, "ü"])
def test_a_name_that_is_none_is_refused(name, folder, model_file):
    with pytest.raises(MskdexError, match="cannot name a model"):
        add_model(name, str(model_file))
    assert not folder.exists()


@pytest.mark.usefixtures("folder")
def test_a_url_is_downloaded_and_its_checksum_compared(model_file, server):
    good = digest(model_file)
    assert add_model("web", f"{server}/model.safetensors", good.upper()).sha256 == good
    assert add_model("moved", f"{server}/moved/x").sha256 == good
    with pytest.raises(MskdexError, match=rf"has the checksum {good}, not 0000"):
        add_model("wrong", f"{server}/model.safetensors", "0000")
    assert [m.name for m in list_models()] == ["moved", "web"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/absent.safetensors", "cannot be downloaded"),
        ("/cut/x", "was cut short"),
        ("/file/x", "cannot be downloaded"),
        ("/", "cannot be read as a model"),
    ],
)
def test_a_url_that_gives_no_model_leaves_nothing(path, told, folder, server):
    with pytest.raises(MskdexError, match=told):
        add_model("web", server + path)
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("folder")
def test_a_download_has_an_end(server, monkeypatch):
    monkeypatch.setattr("mskdex.clinic.download.MOST_BYTES", 1000)
    with pytest.raises(MskdexError, match="is longer than 1000 bytes"):
        add_model("web", f"{server}/model.safetensors")
    assert list_models() == []


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("source", ["ftp://127.0.0.1/m", "file:///etc/passwd", "s3://bucket/m"])
def test_other_addresses_are_refused(source):
    with pytest.raises(MskdexError, match="only http and https"):
        add_model("web", source)


@pytest.mark.usefixtures("folder")
def test_nobody_answers():
    with pytest.raises(MskdexError, match="cannot be downloaded"):
        add_model("web", "http://127.0.0.1:9/model.safetensors")


def test_the_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("MSKDEX_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert models_folder() == tmp_path / "mskdex" / "models"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(models_folder()) == "/home/someone/.local/share/mskdex/models"


def test_without_a_home_a_path_still_works(monkeypatch, model_file):
    for name in ("MSKDEX_MODELS", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def nowhere(_):
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", nowhere)
    assert find_model(model_file) == model_file
    with pytest.raises(MskdexError, match=r"no home folder .* set MSKDEX_MODELS"):
        find_model("hip-ap-v1")


def test_a_folder_that_cannot_be_written_to_is_named(monkeypatch, tmp_path, model_file):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MSKDEX_MODELS", str(tmp_path / "file"))
    with pytest.raises(MskdexError, match=r"cannot be added to .*/file .*set MSKDEX_MODELS"):
        add_model("m", str(model_file))


@pytest.mark.usefixtures("folder")
def test_an_unknown_name_is_told_the_known_ones(model_file):
    add_model("hip", str(model_file))
    with pytest.raises(MskdexError, match=r"hipp is no file, and no model of .*, which has hip;"):
        find_model("hipp")


def test_predict_takes_a_name(folder, model_file, radiograph, tmp_path, monkeypatch):
    add_model("hip", str(model_file))
    seen = []
    monkeypatch.setattr(
        "mskdex.pipeline.stages.predict_radiographs.predict_radiographs", lambda *args, **_: seen.append(args[:2])
    )
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["--model", "hip", str(radiograph)],
        ["hip", str(radiograph)],
        [str(model_file), str(radiograph)],
    ):
        run = CliRunner().invoke(app, ["predict", *arguments, "--out", str(tmp_path / "out")])
        assert run.exit_code == 0, run.output
    named = (folder / "hip" / "model.safetensors", [radiograph])
    assert seen == [named, named, (model_file, [radiograph])]
    run = CliRunner().invoke(app, ["predict", "--out", str(tmp_path / "out")])
    assert isinstance(run.exception, MskdexError)
