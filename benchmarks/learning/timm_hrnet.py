"""This project's HRNet beside timm's, with copied weights: the outputs must agree.

timm is no dependency (it imports torchvision, whose usual wheel does not go with a CPU torch); run this in an
environment that has both: python benchmarks/learning/timm_hrnet.py
"""

import timm
import torch

from mskdex.models.hrnet import SHAPES, Hrnet
from mskdex.models.layers import norm_factory


def largest_difference(name: str) -> tuple[int, float]:
    """Number of parameters, and the largest difference of any feature map relative to its maximum."""
    theirs = timm.create_model(name, pretrained=False).eval()
    ours = Hrnet(3, SHAPES[name], norm_factory("batch")).eval()
    stem = [theirs.conv1, theirs.bn1, theirs.conv2, theirs.bn2, theirs.layer1]
    stages = ["transition1", "stage2", "transition2", "stage3", "transition3", "stage4"]
    given = [p for m in [*stem, *(getattr(theirs, s) for s in stages)] for p in m.parameters()]
    ordered = [ours.stem, ours.first, *(m for pair in zip(ours.transitions, ours.stages, strict=True) for m in pair)]
    taken = [p for m in ordered for p in m.parameters()]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for a, b in zip(given, taken, strict=True):
            if a.dim() == 1:
                a.uniform_(0.5, 1.0, generator=generator)
            b.copy_(a)
        image = torch.randn(1, 3, 128, 96, generator=generator)
        features = theirs.act2(theirs.bn2(theirs.conv2(theirs.act1(theirs.bn1(theirs.conv1(image))))))
        pairs = zip(theirs.stages(features), ours(image), strict=True)
        worst = max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
    return sum(p.numel() for p in taken), worst


if __name__ == "__main__":
    for variant in ("hrnet_w18", "hrnet_w32", "hrnet_w48"):
        print(variant, *largest_difference(variant))
