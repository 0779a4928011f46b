import math

import numpy as np
import pytest
import scipy.ndimage
import torch

from mskdex.models import losses


def _images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_sobel_is_scipys_inside():
    image = _images(1, 1, 9, 11)
    gx, gy = losses.sobel(image)
    for response, axis in ((gx, 1), (gy, 0)):
        expected = scipy.ndimage.sobel(image[0, 0].numpy().astype(np.float64), axis=axis)[1:-1, 1:-1]
        np.testing.assert_allclose(response[0, 0].numpy(), expected, atol=1e-6)


def test_gradient_correlation_is_the_mean_of_two_pearson_correlations():
    a, b = _images(2, 3, 12, 10), _images(2, 3, 12, 10, seed=1)
    got = losses.gradient_correlation(a, b)
    for i in range(2):
        for c in range(3):
            pairs = [
                (ga[i, c].flatten(), gb[i, c].flatten())
                for ga, gb in zip(losses.sobel(a), losses.sobel(b), strict=True)
            ]
            expected = np.mean([np.corrcoef(x, y)[0, 1] for x, y in pairs])
            assert got[i, c].item() == pytest.approx(expected, abs=1e-5)


def test_gradient_correlation_is_one_for_any_rising_line_and_minus_one_for_a_falling_one():
    a = _images(1, 2, 16, 16)
    assert torch.allclose(losses.gradient_correlation(a, 3 * a + 0.5), torch.ones(1, 2), atol=1e-5)
    assert torch.allclose(losses.gradient_correlation(a, 1 - 2 * a), -torch.ones(1, 2), atol=1e-5)


def test_absolute_gradients_do_not_see_the_sign():
    a = _images(1, 1, 16, 16)
    assert losses.gradient_correlation(a, -a, absolute=True).item() == pytest.approx(1.0, abs=1e-5)


def test_a_flat_image_has_no_correlation_and_a_finite_gradient():
    flat = torch.zeros(1, 1, 8, 8, requires_grad=True)
    value = losses.gradient_correlation(flat, _images(1, 1, 8, 8))
    value.sum().backward()
    assert value.item() == 0.0
    assert torch.isfinite(flat.grad).all()


def test_pixels_outside_the_mask_do_not_count():
    a, b = _images(1, 1, 20, 20), _images(1, 1, 20, 20, seed=1)
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., 4:16, 5:18] = 1
    expected = losses.gradient_correlation(a[..., 4:16, 5:18], b[..., 4:16, 5:18])
    assert losses.gradient_correlation(a, b, mask=mask).item() == pytest.approx(expected.item(), abs=1e-5)


def test_gc_alpha_compares_the_radiograph_with_the_sum_of_objects():
    weighted = _images(1, 3, 16, 16)
    assert losses.gc_alpha(2 * weighted.sum(1, keepdim=True), weighted).item() == pytest.approx(0.0, abs=1e-5)
    assert losses.gc_alpha(-weighted.sum(1, keepdim=True), weighted).item() == pytest.approx(2.0, abs=1e-5)


def test_gc_beta_sends_no_gradient_to_the_weighted_volume():
    weighted, volume, mass = (_images(1, 2, 16, 16, seed=i).requires_grad_() for i in range(3))
    losses.gc_beta(weighted, volume, mass).backward()
    assert weighted.grad is None
    assert volume.grad.abs().sum() > 0
    assert mass.grad.abs().sum() > 0


def test_gc_beta_is_the_sum_over_the_two_types_of_the_mean_over_objects():
    weighted = _images(1, 2, 16, 16)
    volume = torch.stack([weighted[:, 0], -weighted[:, 1]], 1)  # 1 - GC is 0 and 2: mean 1
    assert losses.gc_beta(weighted, volume, weighted).item() == pytest.approx(1.0, abs=1e-5)


def test_intensity_sum_by_hand():
    predicted = torch.tensor([[[100.0, 10.0], [50.0, 5.0], [20.0, 2.0]]])
    truth = torch.tensor([[[90.0, 11.0], [55.0, 5.0], [20.0, 4.0]]])
    known = torch.tensor([[True, True]])
    # Per object |10|+|5|+|0| = 15 and |1|+|0|+|2| = 3, over N = 2 objects and 6 pixels.
    assert losses.intensity_sum(predicted, truth, known, pixels=6).item() == pytest.approx(18 / 2 / 6)
    only_second = torch.tensor([[False, True]])
    assert losses.intensity_sum(predicted, truth, only_second, pixels=6).item() == pytest.approx(3 / 1 / 6)
    assert losses.intensity_sum(predicted, truth, known & False, pixels=6).item() == 0.0


def test_intensity_sum_pulls_every_pixel_alike():
    drr = torch.zeros(1, 1, 1, 4, 4, requires_grad=True)
    sums = drr.sum(dim=(-2, -1))
    losses.intensity_sum(sums, torch.full((1, 1, 1), 7.0), torch.tensor([[True]]), pixels=16).backward()
    assert torch.allclose(drr.grad, torch.full_like(drr, -1.0 / 16))


def test_bone_loss_by_hand():
    aligned = _images(1, 2, 16, 16)
    predicted = torch.stack([aligned[:, 0] + 0.1, 1 - aligned[:, 1]], 1)
    first = torch.tensor([[True, False]])
    assert losses.bone(predicted, aligned, first, 100.0).item() == pytest.approx(10.0, abs=1e-3)
    both = torch.tensor([[True, True]])
    second = 100.0 * (1 - 2 * aligned[:, 1]).abs().mean().item() + 2.0
    assert losses.bone(predicted, aligned, both, 100.0).item() == pytest.approx((10.0 + second) / 2, abs=1e-3)
    assert losses.bone(predicted, aligned, both & False, 100.0).item() == 0.0


def test_adversarial_losses_by_hand():
    scores = [torch.tensor([[0.5]]), torch.tensor([[2.0]])]
    assert losses.adversarial(scores, True).item() == pytest.approx((0.25 + 1.0) / 2)
    assert losses.adversarial(scores, False).item() == pytest.approx((0.25 + 4.0) / 2)
    log = [-math.log(1 / (1 + math.exp(-s))) for s in (0.5, 2.0)]
    assert losses.adversarial(scores, True, "bce").item() == pytest.approx(np.mean(log), rel=1e-5)
    log = [-math.log(1 - 1 / (1 + math.exp(-s))) for s in (0.5, 2.0)]
    assert losses.adversarial(scores, False, "bce").item() == pytest.approx(np.mean(log), rel=1e-5)


def test_cycle_is_the_mean_absolute_difference():
    assert losses.cycle(torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[2.0, 0.0]]]])).item() == 1.5


def test_bone_cycle_and_adversarial_losses_count_exposed_pixels_only():
    aligned, noise = _images(1, 2, 24, 24), _images(1, 2, 24, 24, seed=1)
    mask = torch.zeros(1, 1, 24, 24)
    mask[..., 4:20, 5:18] = 1
    predicted, available = aligned + 0.1 * noise, torch.ones(1, 2, dtype=torch.bool)
    inside = (..., slice(4, 20), slice(5, 18))
    assert losses.bone(predicted, aligned, available, 100.0, mask=mask).item() == pytest.approx(
        losses.bone(predicted[inside], aligned[inside], available, 100.0).item(), rel=1e-4
    )
    assert losses.cycle(predicted, aligned, mask=mask).item() == pytest.approx(
        losses.cycle(predicted[inside], aligned[inside]).item(), rel=1e-5
    )
    scores = torch.zeros(1, 1, 4, 4)
    scores[..., :2] = 3.0
    left = torch.zeros(1, 1, 24, 24)
    left[..., :12] = 1
    assert losses.adversarial([scores], True, mask=left).item() == pytest.approx(4.0)
    assert losses.adversarial([scores], True, mask=1 - left).item() == pytest.approx(1.0)
    assert losses.adversarial([scores], True, mask=0 * left).item() == 0.0
