"""The node against a real Orthanc: many studies, the node killed at random moments; none may be lost or come twice.

    python benchmarks/node.py FOLDER [STUDIES] [KILLS]

FOLDER is made and holds everything; Debian's orthanc and orthanc-dicomweb have to be installed. The node is
that of `tests/node/node_process.py`, where one small object stands for a prediction, and ends by SIGKILL; a sender
sends each study until it is acknowledged and never again.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / part) for part in ("", "node")]
import peers  # noqa: E402
from orthanc import TITLE, Orthanc  # noqa: E402

OBJECTS = 1
"""Result objects of an image."""

LISTENS = " listens at "


def start(folder: Path, settings: dict, log: Path) -> subprocess.Popen:
    program = Path(peers.__file__).with_name("node_process.py")
    before = log.read_text(encoding="utf-8").count(LISTENS) if log.is_file() else 0
    with open(log, "ab") as handle:
        command = [sys.executable, str(program), str(folder), json.dumps(settings)]
        node = subprocess.Popen(command, stdout=handle, stderr=handle)
    peers.eventually(lambda: log.read_text(encoding="utf-8").count(LISTENS) > before, 300)
    return node


def send(port: int, image) -> int:
    """Sends an image until it is acknowledged; returns the tries."""
    for tries in range(1, 10_000):
        association = peers.associate(port, [(image.SOPClassUID, image.file_meta.TransferSyntaxUID)])
        try:
            if association.is_established and association.send_c_store(image).get("Status") == 0:
                return tries
        except RuntimeError:
            pass
        finally:
            association.abort()
        time.sleep(0.2)
    raise RuntimeError(image.SOPInstanceUID)


def main(folder: Path, studies: int, kills: int) -> None:
    started, chance, port = time.monotonic(), random.Random(0), peers.free_port()
    orthanc = Orthanc(folder / "orthanc", port)
    to = {"ae_title": TITLE, "host": peers.HERE, "port": orthanc.port}
    settings = {"port": port, "quiet_s": 1, "results_to": to}
    images = [peers.radiograph() for _ in range(studies)]
    log, tries = folder / "node.log", Counter()
    node = start(folder, settings, log)
    sender = threading.Thread(target=lambda: tries.update({i.SOPInstanceUID: send(port, i) for i in images}))
    sender.start()
    for _ in range(kills):
        time.sleep(chance.uniform(2, 10))
        node.kill()
        node.wait()
        node = start(folder, settings, log)
    sender.join()
    while len(orthanc.instances()) < OBJECTS * studies and node.poll() is None:
        time.sleep(1)
    time.sleep(5)
    peak = peak_megabytes(node.pid)
    node.send_signal(signal.SIGTERM)
    node.wait(60)
    report(orthanc, images, log, tries, peak, time.monotonic() - started, kills)
    orthanc.close()


def peak_megabytes(process: int) -> float:
    """The most memory that a process has had."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(text.split("VmHWM:")[1].split()[0]) / 1024


def report(orthanc, images, log: Path, tries: Counter, peak: float, seconds: float, kills: int) -> None:
    counts = {i.StudyInstanceUID: len(orthanc.instances(StudyInstanceUID=i.StudyInstanceUID)) for i in images}
    lines = Counter(
        line.split()[1].rstrip(":")
        for line in log.read_text(encoding="utf-8").splitlines()
        if line.startswith("study ") and ": done" in line
    )
    found = {
        "studies": len(images),
        "kills": kills,
        "sent again": sum(t > 1 for t in tries.values()),
        "with all results": sum(c == OBJECTS for c in counts.values()),
        "lost": sum(c < OBJECTS for c in counts.values()),
        "twice": sum(c > OBJECTS for c in counts.values()),
        "log lines": sum(lines.values()),
        "studies with a log line": len(lines),
        "seconds": round(seconds),
        "node's peak memory in MB": round(peak),
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]), int((sys.argv[2:] or ["200"])[0]), int((sys.argv[3:] or ["10"])[0]))
