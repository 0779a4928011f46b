"""A real Orthanc on this machine's loopback, with its DICOMweb plug-in, for the time of the tests."""

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import peers
import pytest

TITLE, USER, PASSWORD = "ORTHANC", "node", "of the tests"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


class Orthanc:
    """Runs until `close`; its address is `url`, that of DICOMweb `dicomweb`."""

    def __init__(self, folder: Path, node_port: int):
        if shutil.which("Orthanc") is None or not PLUGIN.exists():
            pytest.skip("Orthanc is not installed (Debian: apt-get install orthanc orthanc-dicomweb)")
        self.port, http = peers.free_port(), peers.free_port()
        self.url, self.dicomweb = f"http://127.0.0.1:{http}", f"http://127.0.0.1:{http}/dicom-web"
        node = {"AET": peers.NODE, "Host": peers.HERE, "Port": node_port, "AllowStorageCommitment": True}
        content = {
            "Name": "tests",
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "HttpPort": http,
            "DicomPort": self.port,
            "DicomAet": TITLE,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "DicomModalities": {"node": node},
            "DicomAlwaysAllowStore": True,
            "DicomCheckCalledAet": True,
            "SaveJobs": False,
            "DicomAssociationCloseDelay": 0,
            "DicomScuTimeout": 20,
        }
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "orthanc.json"
        config.write_text(json.dumps(content), encoding="utf-8")
        self._log = open(folder / "log", "wb")  # noqa: SIM115 (closed by `close`)
        self._process = subprocess.Popen(["Orthanc", str(config)], stdout=self._log, stderr=subprocess.STDOUT)
        try:
            peers.eventually(self._answers, 60)
        except AssertionError:
            self.close()
            pytest.fail(f"Orthanc did not start: {(folder / 'log').read_text(encoding='utf-8')[-2000:]}")

    def _answers(self) -> bool:
        try:
            return bool(self.get("/system"))
        except OSError:
            time.sleep(0.1)
            return False

    def get(self, path: str):
        return self._call(path, None)

    def post(self, path: str, content):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self._call(path, data)

    def _call(self, path, data):
        word = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(self.url + path, data, {"Authorization": f"Basic {word}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def upload(self, path: Path) -> str:
        """Stores a file; returns Orthanc's id of its study."""
        return self.post("/instances", path.read_bytes())["ParentStudy"]

    def instances(self, **query) -> list[dict]:
        """Tags of the instances that a query finds, e.g. Modality="OT"."""
        found = self.post("/tools/find", {"Level": "Instance", "Query": query, "Expand": True})
        return [item["MainDicomTags"] for item in found]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()
