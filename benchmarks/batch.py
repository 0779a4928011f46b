"""A batch of 100 radiographs, ten of them broken, through `mskdex predict`: every file has its row, none costs another.

    python benchmarks/batch.py FOLDER [--files 100] [--model MODEL.safetensors]

FOLDER is made. Without a model a small one is trained there, on the ellipsoids of `tests/training/phantoms.py`: the
batch is looked at, not the values. Six virtual bodies are radiographed in five departments, in DICOM with the names,
character sets and compressions of a hospital's archive; each of ten files is broken in a way of its own. The command
reads the folder and a sheet, and writes tables, pictures and DICOM objects; those of ten radiographs are validated with
dciodvfy (Debian dicom3tools). What is wrong is printed, and then the exit code is 1.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless, generate_uid
from repeatability import Again

from mskdex.config.learning import ExperimentSettings, LossSettings, NetworkSettings
from mskdex.config.virtual import VirtualSettings
from mskdex.io.csv_files import write_csv
from mskdex.pipeline.stages.predict import predict_fold
from mskdex.pipeline.stages.train import train
from mskdex.virtual.patient import retaken
from mskdex.virtual.population import person
from mskdex.virtual.radiograph_file import write_radiograph

sys.path.append(str(Path(__file__).parents[1] / "tests" / "training"))
from phantoms import write_cohort

DEPARTMENTS = ("arvik", "belmora", "corvia", "dunmere", "estrand")
WITHOUT_DISTANCE = ("dunmere",)
"""Departments whose files do not say the distance from source to detector: the sheet has to."""
BODIES, FIRST = 6, 901
SETTINGS = VirtualSettings(voxel_mm=4.0)
NAMES = (
    ("ISO_IR 6", "Sample^Anna"),
    ("ISO_IR 100", "Müßig^Jürgen^^Dr."),
    ("ISO_IR 192", "Łuczak^Zofia"),
    ("ISO 2022 IR 6\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    (None, "O'Neill^Mary Jane"),
)
"""Character set and name of a person."""


def small_model(folder: Path) -> Path:
    """A model of 12 ellipsoid patients, with the predictions of 6 others beside it."""
    patients, folds = write_cohort(folder, 18, folds=3, side=32)
    network = NetworkSettings(backbone="hrnet_tiny", stem_stride=2, ndf=4, discriminator_scales=1, head="composition")
    optimisation = {"epochs": 2, "restart_epochs": 2, "tensorboard": False}
    experiment = ExperimentSettings(
        losses=LossSettings(lambda_gan=0.0, lambda_cyc=0.0), network=network, optimisation=optimisation
    )
    out = folder / "experiments" / "small" / "fold0"
    train(patients, folds, 0, experiment, out)
    predict_fold(out / "model.safetensors", patients, folds, 0, out)
    return out / "model.safetensors"


def radiographs(count: int, folder: Path) -> Iterator[Path]:
    """Files of several bodies, each in several postures and departments, as an archive hands them out."""
    for body in range(BODIES):
        one = person(SETTINGS, FIRST + body)
        own = {f.name: getattr(one, f.name) for f in fields(one)}
        numbers = range(body, count, BODIES)
        again = [Again(**own, times=dict.fromkeys(("posture", "exposure", "noise"), n)) for n in numbers]
        names = [DEPARTMENTS[n % len(DEPARTMENTS)] for n in numbers]
        asked = [SETTINGS.model_copy(update={"departments": {name: 1.0}}) for name in names]
        for number, image in zip(numbers, retaken(one, list(zip(again, asked, strict=True))), strict=True):
            path = folder / f"study{number:03d}" / "IM0001.dcm"
            path.parent.mkdir(parents=True)
            write_radiograph(path, image.grey, image.taken, image.department)
            yield _archived(path, number)


def _archived(path: Path, number: int) -> Path:
    dataset = pydicom.dcmread(path)
    characters, name = NAMES[number % len(NAMES)]
    if characters:
        dataset.SpecificCharacterSet = characters.split("\\")
    dataset.PatientName, dataset.PatientID = name, f"HOSP-{number:04d}"
    # In most years there is no such day: archives hold birth dates like this.
    dataset.PatientBirthDate, dataset.AccessionNumber = f"19{30 + number % 50}0229", f"ACC{number:06d}"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, keyword, generate_uid(entropy_srcs=[keyword, str(number)]))
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.private_block(0x0019, "MAKER", create=True).add_new(1, "LO", "of the maker")
    if number % 4 == 3:
        dataset.compress(RLELossless)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _saved(change: Callable[[Dataset], object]) -> Callable[[bytes], bytes]:
    """What becomes of a file whose header is changed."""

    def broken(content: bytes) -> bytes:
        dataset = pydicom.dcmread(io.BytesIO(content))
        change(dataset)
        out = io.BytesIO()
        dataset.save_as(out, enforce_file_format=True)
        return out.getvalue()

    return broken


def _blank(dataset: Dataset) -> None:
    dataset.PixelData = np.full(dataset.pixel_array.shape, 500, np.uint16).tobytes()


def _damaged(dataset: Dataset) -> None:
    dataset.compress(RLELossless)
    content = bytearray(dataset.PixelData)
    content[len(content) // 3 : 2 * len(content) // 3] = bytes(len(content) // 3)
    dataset.PixelData = bytes(content)


def _zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("IM0001.dcm", content)
    return out.getvalue()


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "ends within the pixels": lambda content: content[: len(content) // 2],
    "ends within the header": lambda content: content[:300],
    "without pixels": _saved(lambda d: d.pop("PixelData")),
    "blank": _saved(_blank),
    "more rows than pixels": _saved(lambda d: setattr(d, "Rows", d.Rows + 40)),
    "damaged compression": _saved(_damaged),
    "of the chest": _saved(lambda d: setattr(d, "BodyPartExamined", "CHEST")),
    "of the side": _saved(lambda d: (setattr(d, "ViewPosition", "LL"), setattr(d, "PatientOrientation", ["A", "F"]))),
    "in an archive": _zipped,
}
"""How a file is broken: what is made of its content."""


def break_files(files: list[Path]) -> dict[Path, str]:
    """Breaks ten files, spread over the batch; only those of a maker whose pixels are not compressed."""
    places = [int(i) for i in np.linspace(0, len(files) - 1, len(BROKEN))]
    chosen = {files[i - i % 4]: kind for i, kind in zip(places, BROKEN, strict=True)}
    for path, kind in chosen.items():
        path.write_bytes(BROKEN[kind](path.read_bytes()))
    return chosen


def missing_and_wrong(out: Path, objects: Path, files: list[Path], broken: dict[Path, str]) -> Iterator[str]:
    """What the tables lack or have too much."""
    images = pd.read_csv(out / "radiographs.csv", keep_default_na=False)
    table = pd.read_csv(out / "predictions.csv")
    if sorted(images["file"]) != sorted(map(str, files)):
        yield "radiographs.csv has other rows than there are files"
    for row in images.to_dict("records"):
        kind = broken.get(Path(row["file"]))
        values = table.loc[table["radiograph"] == row["radiograph"], "predicted"]
        made = len(list(objects.glob(f"{row['radiograph']}.*.dcm")))
        if kind is None and not (row["status"] == "predicted" and values.notna().all() and made == 4):
            yield f"{row['file']}: {row['status']}, {made} DICOM objects; {row['reason']} {row['dicom']}"
        if kind is not None and not (row["status"] == "failed" and values.isna().all() and made == 0):
            yield f"{row['file']} is {kind}, and is {row['status']}: {row['flags']}; {row['warnings']}"
        if kind is not None and (row["file"] not in row["reason"] or "Traceback" in row["reason"]):
            yield f"{row['file']} is {kind}, and the reason is: {row['reason']}"


def invalid(objects: Path, names: list[str]) -> Iterator[str]:
    """What dciodvfy says against the objects of some radiographs."""
    known = ("<99MSKDEX>", "<QUANTITY>")  # a private scheme, and a term that the standard has and dciodvfy not
    for path in (p for name in names for p in sorted(objects.glob(f"{name}.*.dcm"))):
        run = subprocess.run(["dciodvfy", path], capture_output=True, encoding="utf-8", errors="replace", check=False)
        for said in (run.stdout + run.stderr).splitlines():
            if said.startswith(("Error", "Warning")) and not any(k in said for k in known):
                yield f"{path.name}: {said}"


def main() -> int:
    """Makes the files, predicts them, looks at every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    folder = given.folder.resolve()
    model = given.model or small_model(folder / "model")
    files = sorted(radiographs(given.files, folder / "in"))
    broken = break_files(files)
    sheet, out, objects = folder / "sheet.csv", folder / "out", folder / "dicom"
    rows = [
        {
            "patient_id": f"P{i:03d}",
            "radiograph": str(f),
            "sdd_mm": 1100 if DEPARTMENTS[i % 5] in WITHOUT_DISTANCE else "",
        }
        for i, f in enumerate(files)
    ]
    write_csv(sheet, pd.DataFrame(rows))
    started = time.monotonic()
    command = [sys.executable, "-m", "mskdex", "predict", str(model), str(folder / "in"), "--sheet", str(sheet)]
    done = subprocess.run([*command, "--out", str(out), "--dicom-out", str(objects)], check=False)
    seconds = time.monotonic() - started
    wrong = list(missing_and_wrong(out, objects, files, broken))
    images = pd.read_csv(out / "radiographs.csv", keep_default_na=False)
    sample = list(images.loc[images["status"] == "predicted", "radiograph"])[::9]
    checked = sample if shutil.which("dciodvfy") else []
    wrong += invalid(objects, checked)
    for row in images[images["status"] == "failed"].to_dict("records"):
        print(f"{broken.get(Path(row['file']), '')}: {row['reason']}")
    found = {
        "files": len(files),
        "exit code": done.returncode,
        "rows by status": images["status"].value_counts().to_dict(),
        "predicted with a flag": int(((images["status"] == "predicted") & (images["flags"] != "")).sum()),
        "DICOM objects": len(list(objects.glob("*.dcm"))),
        "radiographs validated": len(checked),
        "seconds": round(seconds),
        "wrong": wrong,
    }
    print(json.dumps(found, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
