"""Losses as pure functions of tensors. All are minimised.

Equations: MSKdeX (Gu et al., MICCAI 2023); where its print is ambiguous, docs/learning.md says which reading this is.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional

Images = Float[Tensor, "b c h w"]
Sums = Float[Tensor, "b q n"]
Mask = Float[Tensor, "b 1 h w"]


def sobel(images: Images) -> tuple[Tensor, Tensor]:
    """Sobel responses along x (columns) and y (rows), valid region only: each (B, C, H-2, W-2).

    Written as separable differences: a grouped convolution does the same several times slower on a CPU.
    """
    across = images[..., 2:] - images[..., :-2]
    gx = across[..., :-2, :] + 2.0 * across[..., 1:-1, :] + across[..., 2:, :]
    down = images[..., 2:, :] - images[..., :-2, :]
    gy = down[..., :-2] + 2.0 * down[..., 1:-1] + down[..., 2:]
    return gx, gy


def gradient_correlation(
    a: Images, b: Images, *, absolute: bool = False, mask: Mask | None = None
) -> Float[Tensor, "b c"]:
    """GC(a, b): normalised cross-correlation of Sobel responses, x and y averaged; -1 to 1 per image and channel.

    A channel without any gradient in either image has no correlation and gets 0.

    Args:
        a, b: images to compare.
        absolute: correlate absolute responses (the authors' lab) instead of signed ones (the textbook).
        mask: pixels to count, 1 or 0; a response counts where its whole 3×3 window does.

    Source: Penney et al. 1998.
    """
    keep = None
    if mask is not None:
        keep = -functional.max_pool2d(-mask, 3, stride=1)
    correlations = [_ncc(ga, gb, absolute, keep) for ga, gb in zip(sobel(a), sobel(b), strict=True)]
    return (correlations[0] + correlations[1]) / 2.0


def _ncc(a: Tensor, b: Tensor, absolute: bool, keep: Tensor | None) -> Tensor:
    if absolute:
        a, b = a.abs(), b.abs()
    a, b = a.float().flatten(2), b.float().flatten(2)
    if keep is None:
        a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    else:
        w = keep.flatten(2)
        count = w.sum(-1, keepdim=True).clamp_min(1.0)
        a = (a - (a * w).sum(-1, keepdim=True) / count) * w
        b = (b - (b * w).sum(-1, keepdim=True) / count) * w
    cross = (a * b).sum(-1)
    # The floor keeps flat images (no gradient, hence no correlation) at 0 with a finite derivative.
    return cross * torch.rsqrt((a * a).sum(-1) * (b * b).sum(-1) + EPSILON)


EPSILON = 1e-8


def gc_alpha(
    radiograph: Float[Tensor, "b 1 h w"], weighted: Float[Tensor, "b n h w"], **options: Any
) -> Float[Tensor, ""]:
    """L_GC^alpha = 1 - GC(X, Σ_i WVDRR_i): the virtual X-ray against the X-ray (MSKdeX eq. 1).

    Args:
        radiograph: X, (B, 1, H, W), any linear scale of log attenuation.
        weighted: WVDRRs of all objects in one common unit (cm³ per pixel), (B, N, H, W).
        options: those of `gradient_correlation`.
    """
    return 1.0 - gradient_correlation(radiograph, weighted.sum(1, keepdim=True), **options).mean()


def gc_beta(weighted: Images, volume: Images, mass: Images, **options: Any) -> Float[Tensor, ""]:
    """L_GC^beta: VDRR and MDRR of each object shall have the structure of its WVDRR (MSKdeX eq. 2).

    No gradient reaches the WVDRR: it is learned from the X-ray, and the other two follow it.
    """
    fixed = weighted.detach()
    with_volume = 1.0 - gradient_correlation(fixed, volume, **options)
    with_mass = 1.0 - gradient_correlation(fixed, mass, **options)
    return with_volume.mean() + with_mass.mean()


def intensity_sum(predicted: Sums, truth: Sums, known: Bool[Tensor, "b n"], pixels: int) -> Float[Tensor, ""]:
    """L_IS, the object-wise intensity sum: 1/(N·H·W) Σ_i |S(pred_i) - S(true_i)|, summed over DRR types (MSKdeX eq. 3).

    Args:
        predicted: sums of the predicted normalised DRRs, (B, 3, N). A coarse pixel holds more cm³ than a fine one, and
            so does its channel's scale: the same relative error has the same loss at every resolution.
        truth: the CT's sums times the fraction that is in the image, over the channels' scales; where not known, any
            finite value.
        known: objects that the CT holds whole; the others do not count, in N neither.
        pixels: H·W.
    """
    error = (predicted - truth).abs().sum(1) * known
    return (error.sum(1) / known.sum(1).clamp_min(1)).mean() / pixels


def bone(
    predicted: Images,
    aligned: Images,
    available: Shaped[Tensor, "b c"],
    lambda_l1: float,
    *,
    mask: Mask | None = None,
    absolute: bool = False,
) -> Float[Tensor, ""]:
    """L_B: mean over the registered bones of λ_l1·mean|pred - aligned| + 1 - GC(pred, aligned) (MSKdeX eq. 4).

    Args:
        predicted: normalised DRRs of one type of the bones in K, (B, |K|, H, W).
        aligned: those rendered at the registered pose, normalised alike.
        available: weight of each bone, 0 where its registration was not accepted; none at all gives 0.
        lambda_l1: weight of L1.
        mask: pixels to count, 1 or 0; all by default.
        absolute: as of `gradient_correlation`.
    """
    l1 = _mean((predicted - aligned).abs(), mask)
    correlation = gradient_correlation(predicted, aligned, absolute=absolute, mask=mask)
    each = (lambda_l1 * l1 + 1.0 - correlation) * available
    return each.sum() / (available > 0).sum().clamp_min(1)


def adversarial(
    scores: list[Tensor], real: bool, kind: str = "lsgan", *, mask: Mask | None = None
) -> Float[Tensor, ""]:
    """GAN loss that pulls the scores towards real or fake; the mean over patches and scales.

    Args:
        scores: logits of every scale.
        real: which side to pull to.
        kind: "lsgan", (score - target)² (Mao et al. 2017), or "bce", the logarithmic form as the paper prints it.
        mask: pixels of the image to count, 1 or 0; a patch weighs as much of it as is counted.
    """
    target = 1.0 if real else 0.0
    losses = []
    for score in (s.float() for s in scores):
        each = (score - target) ** 2 if kind == "lsgan" else functional.softplus(-score if real else score)
        weight = None if mask is None else functional.adaptive_avg_pool2d(mask, (score.shape[-2], score.shape[-1]))
        losses.append(_mean(each, weight).mean())
    return torch.stack(losses).mean()


def cycle(original: Images, returned: Images, *, mask: Mask | None = None) -> Float[Tensor, ""]:
    """L_cyc: mean absolute difference after the way there and back (Zhu et al. 2017), of the pixels that count."""
    return _mean((original - returned).abs(), mask).mean()


def _mean(values: Float[Tensor, "*batch h w"], weight: Float[Tensor, "b 1 h w"] | None) -> Float[Tensor, "*batch"]:
    """Weighted mean over the pixels; 0 where none counts."""
    if weight is None:
        return values.mean(dim=(-2, -1))
    return (values * weight).sum(dim=(-2, -1)) / weight.sum(dim=(-2, -1)).clamp_min(1e-6)
