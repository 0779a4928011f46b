"""Likeness of predicted and aligned DRRs: PSNR, SSIM and gradient correlation."""

import numpy as np
from jaxtyping import Real
from scipy import ndimage
from skimage.metrics import structural_similarity

Image = Real[np.ndarray, "h w"]

IMAGE_MEASURES = ("psnr_db", "ssim", "gc")


def psnr_db(predicted: Image, truth: Image, data_range: float) -> float:
    """Peak signal-to-noise ratio, 20·log10(range / RMSE), in dB; infinite for equal images.

    Args:
        predicted, truth: images in one unit.
        data_range: the data set's fixed intensity range, never that of one image.
    """
    error = float(np.sqrt(np.mean((predicted.astype(np.float64) - truth.astype(np.float64)) ** 2)))
    return float("inf") if error == 0 else 20.0 * float(np.log10(data_range / error))


def ssim(predicted: Image, truth: Image, data_range: float) -> float:
    """Structural similarity, mean over the image.

    scikit-image's `structural_similarity` with the settings of Wang et al. 2004: Gaussian window of
    1.5 pixels, K1 = 0.01, K2 = 0.03, population covariance.
    """
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            truth.astype(np.float64),
            predicted.astype(np.float64),
            data_range=data_range,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def gradient_correlation(first: Image, second: Image) -> float:
    """Mean of the normalised cross-correlations of the signed Sobel x and y responses, −1 … 1.

    Returns:
        NaN when an image has no gradient in either direction.
    """
    scores = [_correlation(ndimage.sobel(first, axis), ndimage.sobel(second, axis)) for axis in (0, 1)]
    return float(np.mean(scores))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    first = first.astype(np.float64) - first.mean(dtype=np.float64)
    second = second.astype(np.float64) - second.mean(dtype=np.float64)
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / norm if norm > 0 else float("nan")


def measures(predicted: Image, truth: Image, data_range: float) -> dict[str, float]:
    """All of `IMAGE_MEASURES` of one predicted DRR."""
    return {
        "psnr_db": psnr_db(predicted, truth, data_range),
        "ssim": ssim(predicted, truth, data_range),
        "gc": gradient_correlation(predicted.astype(np.float64), truth.astype(np.float64)),
    }
