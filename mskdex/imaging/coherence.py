"""Whether neighbours in an image belong together: rows of a wrong length put far-away values side by side."""

from pathlib import Path

import numpy as np

from mskdex.errors import MskdexError

_MOST_SHARE = 0.4
"""Difference of neighbours over that of any two values: below 0.3 in images, noise apart."""

_TIMES = 2.5
"""Along a scrambled axis neighbours differ by this many times as much as along the best one; noise is alike in all."""

_SWAPPED_SHARE, _SWAPPED_TIMES = 0.1, 3.0
"""Bytes are in the wrong order where neighbours differ by more than this share, and less by these times if turned."""

_PLANES = 5
_CANDIDATES = 25
_SIDE = 256


def require_coherent(image: np.ndarray, path: Path, what: str) -> None:
    """Refuses an image whose neighbours along an axis have nothing to do with each other.

    Args:
        image: (z, y, x) or (rows, columns).
        path: for the message.
        what: what may be wrong, as "sizes of its header".

    Raises:
        MskdexError: names the axis.
    """
    volume = image if image.ndim == 3 else image[None]
    pairs = _fullest(volume)
    if not pairs:
        return
    planes = np.stack([volume[k : k + 2] for k in pairs]).astype(np.float32)  # (n, 1 or 2, rows, columns)
    differ = [_usual(np.diff(planes[:, 0], axis=axis)) for axis in (1, 2)]
    if planes.shape[1] == 2:
        differ.insert(0, _usual(planes[:, 1] - planes[:, 0]))
    values = planes[:, 0].ravel()[:: max(1, planes[:, 0].size // _SIDE**2)]
    spread = float(np.abs(values - np.random.default_rng(0).permutation(values)).mean())
    names = ("slices", "rows", "columns")[-len(differ) :]
    for name, own in zip(names, differ, strict=True):
        if own > _MOST_SHARE * spread and own > _TIMES * min(differ):
            msg = (
                f"{path}: its {name} have nothing to do with the ones beside them, so the {what} are wrong (swapped?); "
                "export it again"
            )
            raise MskdexError(msg)


def require_byte_order(image: np.ndarray, path: Path) -> None:
    """Refuses an image of 16 bits that is far smoother with the bytes of each value the other way round.

    Args:
        image: (rows, columns); of other than 16 bits nothing is asked.
        path: for the message.

    Raises:
        MskdexError: the bytes are in the wrong order.
    """
    if image.dtype.kind not in "iu" or image.dtype.itemsize != 2:
        return
    step = 1 + max(image.shape) // (4 * _SIDE)
    part = np.ascontiguousarray(image[::step])
    own, turned = _roughness(part), _roughness(part.byteswap())
    if own > _SWAPPED_SHARE and own > _SWAPPED_TIMES * turned:
        msg = (
            f"{path}: its grey values jump from pixel to pixel, and are smooth with the bytes of each value the other "
            "way round: they are stored in the wrong byte order; export it again"
        )
        raise MskdexError(msg)


def _roughness(image: np.ndarray) -> float:
    """Mean difference of neighbours in a row over that of any two values."""
    values = image.astype(np.float32)
    spread = float(np.abs(values.ravel() - np.random.default_rng(0).permutation(values.ravel())).mean())
    return float(np.abs(np.diff(values, axis=1)).mean()) / spread if spread else 0.0


def _fullest(volume: np.ndarray) -> list[int]:
    """Places of the planes that show most, so that thin things in air, as a table, are not all that is looked at."""
    places = np.unique(np.linspace(0, max(len(volume) - 2, 0), _CANDIDATES).astype(int))
    shown = [float(volume[k][::4, ::4].std()) for k in places]
    return [int(places[n]) for n in np.argsort(shown)[::-1][:_PLANES] if shown[n] > 0]


def _usual(differences: np.ndarray) -> float:
    """Mean difference of the median plane: one odd plane is no disorder."""
    return float(np.median(np.abs(differences).mean(axis=(1, 2))))
