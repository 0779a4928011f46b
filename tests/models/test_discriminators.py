import torch

from mskdex.models.discriminators import SMALLEST_IMAGE, make_discriminator, patchgan


def test_a_patch_is_70_by_70_pixels():
    # Without the norm layers, which look at the whole image, a score depends on its patch alone.
    network = torch.nn.Sequential(*(m for m in patchgan(1, 4) if not isinstance(m, torch.nn.GroupNorm)))
    image = torch.rand(1, 1, 256, 256, requires_grad=True)
    scores = network(image)
    scores[0, 0, 15, 15].backward()
    rows = image.grad[0, 0].abs().sum(1).nonzero()
    columns = image.grad[0, 0].abs().sum(0).nonzero()
    assert rows.max() - rows.min() + 1 == 70
    assert columns.max() - columns.min() + 1 == 70


def test_the_widths_are_those_of_the_paper():
    widths = [m.out_channels for m in patchgan(54, 64) if isinstance(m, torch.nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 1]


def test_every_scale_scores_patches_of_a_smaller_image():
    scores = make_discriminator(3, 8, 2, seed=0)(torch.rand(2, 3, 128, 96))
    assert [tuple(s.shape) for s in scores] == [(2, 1, 14, 10), (2, 1, 6, 4)]


def test_the_smallest_image_still_has_a_patch():
    scores = make_discriminator(1, 4, 1, seed=0)(torch.rand(1, 1, SMALLEST_IMAGE, SMALLEST_IMAGE))
    assert scores[0].numel() > 0
