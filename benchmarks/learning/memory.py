"""Peak memory of a process that trains or predicts, on the CPU, by network, image size and batch; made-up images.

mskdex/pipeline/resources.py has the figures that the workflow asks for. Each row is a process of its own: two steps of
a training, or the prediction of one image.

python benchmarks/learning/memory.py [unet_small:2:64:4 …]    (backbone:stem_stride:side:batch, or predict as the last)
"""

import argparse
import resource
import subprocess
import sys

import numpy as np

CASES = (
    "unet_small:2:64:4",
    "unet_small:2:256:4",
    "hrnet_tiny:4:64:2",
    "hrnet_tiny:4:256:2",
    "hrnet_w18:4:64:2",
    "hrnet_w18:4:192:2",
    "hrnet_w32:4:64:2",
    "hrnet_w32:4:192:2",
    "hrnet_w48:4:64:2",
    "hrnet_w48:4:192:2",
    "unet_small:2:256:predict",
    "hrnet_w32:4:512:predict",
)
OBJECTS = 17


def peak_mb(case: str) -> float:
    """The largest resident set of this process after two steps of the paper's objective, or a prediction, in MB."""
    import torch
    from step import made_up_batch

    from mskdex.config.learning import ExperimentSettings
    from mskdex.config.objects import channels, default_objects
    from mskdex.models.generator import make_decomposer
    from mskdex.models.normalisation import Normalisation
    from mskdex.training.distributed import ProcessGroup
    from mskdex.training.trainer import Trainer

    backbone, stride, side, batch = case.split(":")
    network = {"backbone": backbone, "stem_stride": int(stride), "ndf": 64}
    settings = ExperimentSettings.model_validate({"network": network, "optimisation": {"history_images": 0}})
    objects = (channels(default_objects(), frozenset({"femur"})) * 2)[:OBJECTS]
    level = np.full((3, OBJECTS, int(side), int(side)), 0.1, np.float32)
    water = np.full(level.shape[-2:], 3.0, np.float32)
    normalisation = Normalisation(1.0, np.ones((3, OBJECTS)), level, water, 1.0, None, (0.0, 1.0))
    device = torch.device("cpu")
    images, bones = 1 if batch == "predict" else int(batch), sum(c.bone_loss for c in objects)
    made = made_up_batch(images, OBJECTS, bones, int(side), device)
    if batch == "predict":
        generator = make_decomposer(objects, made.radiograph.shape[-2:], settings.network, seed=0)
        with torch.no_grad():
            generator(made.radiograph, made.water, made.relative)
    else:
        trainer = Trainer(settings, normalisation, objects, device, ProcessGroup())
        for _ in range(2):
            trainer.train_batch(made, 1000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES)
    cases = parser.parse_args().cases
    if len(cases) == 1:
        print(f"{cases[0]:>20} {peak_mb(cases[0]):8.0f}")
        return
    print("backbone:stride:side:batch   peak_mb", flush=True)
    for case in cases:
        subprocess.run([sys.executable, __file__, case], check=True)


if __name__ == "__main__":
    main()
