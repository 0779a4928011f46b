"""Time and memory of importing a 512 x 512 x 400 CT with labels, against SimpleITK reading and resampling the same.

Run: python benchmarks/import_speed.py [--slices 400] [--repeats 3] [--format nifti|dicom]

Each is a process of its own, so that its peak memory is its own. Prints CPU-seconds, ratio and peak memory.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

# The resident peak of this process alone: ru_maxrss would begin with that of the process that started it.
_PEAK = 'next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) / 1e6'

_PEER = """
import json, sys, time
import SimpleITK as sitk
ct, labels, spacing = sys.argv[1], sys.argv[2], float(sys.argv[3])
started = time.process_time()
def read(path):
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(path)
    return sitk.ReadImage(names) if names else sitk.ReadImage(path)
def resample(image, how):
    if not spacing:
        return sitk.Resample(image, image, sitk.Transform(), how)
    size = [round(n * s / spacing) for n, s in zip(image.GetSize(), image.GetSpacing())]
    return sitk.Resample(image, size, sitk.Transform(), how, image.GetOrigin(), [spacing] * 3, image.GetDirection())
resample(read(ct), sitk.sitkLinear)
resample(sitk.ReadImage(labels), sitk.sitkNearestNeighbor)
print(json.dumps([time.process_time() - started, PEAK]))
"""

_IMPORT = """
import json, sys, time
from pathlib import Path
from mskdex.config import Config
from mskdex.pipeline.settings import import_stage
from mskdex.pipeline.stages.importing import read_patient_volumes
from mskdex.io.volume import write_volume
ct, labels, spacing, out = sys.argv[1], sys.argv[2], float(sys.argv[3]), Path(sys.argv[4])
settings = import_stage(Config.model_validate({"ct": {"spacing_mm": spacing or None}}), "totalsegmentator")
started = time.process_time()
found = read_patient_volumes({"ct": ct, "labels": labels, "label_source": "totalsegmentator"}, settings)
read = time.process_time() - started
write_volume(out / "ct.nii.gz", found.ct)
write_volume(out / "labels.nii.gz", found.labels)
print(json.dumps([read, PEAK, time.process_time() - started]))
"""


def make_patient(folder: Path, slices: int, kind: str) -> tuple[Path, Path]:
    """A trunk with noise (which compresses as badly as a real scan) and boxes of TotalSegmentator's ids."""
    generator = np.random.default_rng(0)
    y, x = np.meshgrid(np.linspace(-1, 1, 512), np.linspace(-1, 1, 512), indexing="ij")
    body = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
    hu = np.where(body, 40, -1000) + generator.normal(0, 15, (slices, 512, 512)).astype(np.float32)
    ids = np.zeros(hu.shape, np.uint8)
    for i, value in enumerate((77, 25, 78, 75, 76)):
        block = (slice(slices // 5, slices // 2), slice(200, 280), slice(130 + 50 * i, 170 + 50 * i))
        ids[block] = value
        hu[block] += 400
    ids[slices // 5 : slices // 2, 300:380, 150:230], ids[slices // 5 : slices // 2, 300:380, 280:360] = 80, 81
    if kind == "dicom":
        ids = np.where(np.isin(ids, (75, 77, 80)), ids + 1, np.where(np.isin(ids, (76, 78, 81)), ids - 1, ids))
    images = [sitk.GetImageFromArray(a) for a in (np.rint(hu).astype(np.int16), ids.astype(np.uint8))]
    for image in images:
        image.SetSpacing((0.8, 0.8, 1.0))
        if kind == "nifti":
            image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    paths = folder / ("ct.nii.gz" if kind == "nifti" else "ct"), folder / "labels.nii.gz"
    sitk.WriteImage(images[1], str(paths[1]))
    if kind == "nifti":
        sitk.WriteImage(images[0], str(paths[0]))
    else:
        write_series(paths[0], images[0])
    return paths


def write_series(folder: Path, image: sitk.Image) -> None:
    """Writes a DICOM series through the test suite's maker of hospital files."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import hospital

    from mskdex.io.volume import volume_from_sitk

    hospital.save_all(hospital.slice_datasets(volume_from_sitk(image)), folder)


def run(code: str, *arguments: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", code.replace("PEAK", _PEAK), *arguments],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--format", choices=("nifti", "dicom"), default="nifti")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ct, labels = map(str, make_patient(folder, options.slices, options.format))
        for spacing in ("2", "0"):
            peer = [run(_PEER, ct, labels, spacing) for _ in range(options.repeats)]
            ours = [run(_IMPORT, ct, labels, spacing, str(folder / "out")) for _ in range(options.repeats)]
            medians = [
                statistics.median(v) for v in (next(zip(*peer, strict=True)), *list(zip(*ours, strict=True))[::2])
            ]
            print(
                f"{options.format}, {options.slices} slices, {'to 2 mm' if spacing == '2' else 'native grid'}: "
                f"SimpleITK {medians[0]:.1f} CPU-s, {max(p[1] for p in peer):.2f} GB; "
                f"import {medians[1]:.1f} CPU-s ({medians[1] / medians[0]:.2f} x), "
                f"with writing {medians[2]:.1f} CPU-s ({medians[2] / medians[0]:.2f} x), "
                f"{max(o[1] for o in ours):.2f} GB; spread of the import {min(o[0] for o in ours):.1f} to "
                f"{max(o[0] for o in ours):.1f}"
            )


if __name__ == "__main__":
    main()
