"""Stage `simulate`: pairs of radiograph and DRRs from a patient's own CT, for training."""

import hashlib
import time
from pathlib import Path

import numpy as np

from mskdex.deformation.labelled_ct import labelled_ct
from mskdex.errors import MskdexError
from mskdex.imaging.area_average import average_onto
from mskdex.imaging.label_extent import recorded_cuts
from mskdex.imaging.radiograph import Radiograph, read_radiograph
from mskdex.imaging.structures import truncated_labels
from mskdex.io.arrays import Crops
from mskdex.io.artifacts import manifest, read_json
from mskdex.io.simulated import Simulated, write_simulated
from mskdex.io.volume import read_labelled
from mskdex.pipeline.settings import SimulateStage
from mskdex.simulation.exposures import detector
from mskdex.simulation.surroundings import without_surroundings
from mskdex.simulation.variants import SimulationSource, Variant, make_variant


def simulate(patient_dir: Path, settings: SimulateStage, out: Path) -> None:
    """Writes `out` (simulated.safetensors), see `mskdex.io.simulated.Simulated`.

    Args:
        patient_dir: folder of the imported and registered patient; its name is the patient's id.
        settings: what is drawn, objects, bodies and the image grid.
        out: the file.

    Raises:
        MskdexError: files that do not belong together, or a CT that cannot be posed or rendered.
    """
    started = time.time()
    patient_dir = Path(patient_dir)
    radiograph = read_radiograph(patient_dir)
    poses = read_json(patient_dir / "pose.json")["bodies"]
    source = _source(patient_dir, radiograph, poses, settings)
    seed = (settings.simulation.seed, *hashlib.sha256(patient_dir.name.encode()).digest()[:8])
    try:
        pairs = [make_variant(source, settings.simulation, n, seed) for n in range(settings.simulation.variants)]
    except MskdexError as error:
        msg = f"patient {patient_dir.name}: no radiograph can be simulated from {patient_dir / 'ct.nii.gz'}: {error}"
        raise MskdexError(msg) from error
    facts = manifest(
        "simulate", started, seed=settings.simulation.seed, settings=settings.simulation.model_dump(mode="json")
    )
    write_simulated(out, _together(patient_dir.name, source, radiograph, pairs), facts)


def _source(patient_dir: Path, radiograph: Radiograph, poses: dict, settings: SimulateStage) -> SimulationSource:
    ct_file = patient_dir / "ct.nii.gz"
    volume, labels = read_labelled(ct_file, patient_dir / "labels.nii.gz")
    cut = recorded_cuts(patient_dir / "import.json", settings.channels) | truncated_labels(volume.array, labels)
    image, screen_grid = settings.image, radiograph.camera
    grid = screen_grid.resized((image.rows, image.columns), image.pixel_mm)
    _, field = average_onto(radiograph.image, radiograph.field, screen_grid, detector(grid))
    body = without_surroundings(volume.array, labels, volume.spacing_mm)
    return SimulationSource(
        ct=labelled_ct(body, labels, volume.world_from_voxel, settings.channels),
        whole=frozenset(c.label for c in settings.channels) - cut,
        camera=grid,
        nominal=radiograph.camera_from_ct,
        registered={
            name: np.array(entry["camera_from_ct"], dtype=np.float64)
            for name, entry in poses.items()
            if entry["accepted"]
        },
        detector_field=field,
        bodies=settings.bodies,
        scale=radiograph.scale,
        step_mm=settings.rendering.step_mm,
    )


def _together(patient: str, source: SimulationSource, radiograph: Radiograph, pairs: list[Variant]) -> Simulated:
    _, field = average_onto(radiograph.image, radiograph.field, radiograph.camera, source.camera)
    return Simulated(
        patient=patient,
        objects=tuple(c.name for c in source.ct.channels),
        camera=source.camera,
        radiograph=np.stack([p.radiograph for p in pairs]),
        field=field,
        drr=tuple(Crops.of(p.drr) for p in pairs),
        weight=np.stack([p.weight for p in pairs]),
        sums=np.stack([p.drr.sum(axis=(-2, -1), dtype=np.float64) for p in pairs]),
        known=np.stack([p.known for p in pairs]),
        registered=set(source.ct.bodies) <= set(source.registered),
        scale=radiograph.scale,
        facts=[p.facts for p in pairs],
    )
