"""`mskdex predict --dicomweb` against a real Orthanc, and who may be asked with which credentials."""

import pandas as pd
import peers
import pytest
import tiny
from orthanc import PASSWORD, USER, Orthanc

from mskdex.config.imaging import RadiographSettings
from mskdex.errors import MskdexError
from mskdex.node.dicomweb import open_dicomweb
from mskdex.pipeline.stages.predict_study import predict_study

SETTINGS = RadiographSettings(mask_markers=False)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    found = Orthanc(tmp_path_factory.mktemp("orthanc"), peers.free_port())
    yield found
    found.close()


@pytest.fixture
def _credentials(monkeypatch):
    monkeypatch.setenv("MSKDEX_DICOMWEB_USER", USER)
    monkeypatch.setenv("MSKDEX_DICOMWEB_PASSWORD", PASSWORD)


def upload(orthanc, tmp_path, image):
    path = tmp_path / f"{image.SOPInstanceUID}.dcm"
    image.save_as(path, enforce_file_format=True)
    orthanc.upload(path)


@pytest.mark.usefixtures("_credentials")
def test_a_study_is_fetched_predicted_and_its_results_are_stored(orthanc, tmp_path):
    image, model = peers.radiograph(), tiny.write(tmp_path / "model.safetensors")
    upload(orthanc, tmp_path, image)
    predict_study(model, orthanc.dicomweb, image.StudyInstanceUID, SETTINGS, tmp_path / "out", stow=True, device="cpu")
    (row,) = pd.read_csv(tmp_path / "out" / "radiographs.csv").to_dict("records")
    assert (row["status"], row["radiograph"]) == ("predicted", image.SOPInstanceUID)
    stored = orthanc.instances(StudyInstanceUID=image.StudyInstanceUID)
    assert len({s["SOPInstanceUID"] for s in stored}) == 1 + 4
    assert [p.name for p in (tmp_path / "out").rglob("*.dcm")] == []


@pytest.mark.usefixtures("_credentials")
def test_a_study_without_radiographs_is_told(orthanc, tmp_path):
    model = tiny.write(tmp_path / "model.safetensors")
    with pytest.raises(MskdexError, match=r"study 1\.2\.3 has no radiograph \(CR, DX\)"):
        predict_study(model, orthanc.dicomweb, "1.2.3", SETTINGS, tmp_path / "out", device="cpu")


def test_without_credentials_the_server_refuses(orthanc, tmp_path, monkeypatch):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(MskdexError, match=r"study 1\.2\.3 cannot be fetched \(HTTP 401"):
        predict_study(tmp_path / "m", orthanc.dicomweb, "1.2.3", SETTINGS, tmp_path / "out", device="cpu")


def test_netrc_is_taken(orthanc, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text(f'machine 127.0.0.1 login {USER} password "{PASSWORD}"\n', encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert open_dicomweb(orthanc.dicomweb).search_for_studies() is not None


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://pacs/dicom-web", "is no DICOMweb address"),
        ("pacs", "is no DICOMweb address"),
        ("https://user:secret@pacs/dicom-web", "holds a user or password"),
    ],
)
def test_addresses_that_cannot_be_used(url, message):
    with pytest.raises(MskdexError, match=message) as found:
        open_dicomweb(url)
    assert "secret" not in str(found.value)


def test_a_user_without_a_password_is_refused(monkeypatch):
    monkeypatch.setenv("MSKDEX_DICOMWEB_USER", "somebody")
    monkeypatch.delenv("MSKDEX_DICOMWEB_PASSWORD", raising=False)
    with pytest.raises(MskdexError, match="set both"):
        open_dicomweb("https://pacs/dicom-web")
