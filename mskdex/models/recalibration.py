"""A trained model brought to another site's radiographs and patients, from pairs of that site, without training."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mskdex.config.objects import Channel
from mskdex.models.device_profiles import DeviceProfile
from mskdex.models.model import Model


def sum_factors(predicted: np.ndarray, truth: np.ndarray, channels: Sequence[Channel]) -> np.ndarray:
    """What predicted sums are multiplied by so that a site's mean is right; (3, N).

    One factor per structure and quantity, of both sides together: the sum of what the CTs hold over the sum of what was
    predicted of the same objects. The weighted volume keeps 1, as it is the radiograph's own attenuation that is
    shared out. A structure that no CT of the site holds keeps 1 too.

    Args:
        predicted: (P, 3, N), sums of P patients of the site.
        truth: (P, 3, N), of their CTs, as far as the radiograph shows the object; NaN where not known.
        channels: the N objects.
    """
    factors = np.ones(predicted.shape[1:])
    structures = np.array([channel.object for channel in channels])
    known = np.isfinite(truth)
    for structure in dict.fromkeys(structures):
        of = structures == structure
        for quantity in (1, 2):
            counted = known[:, quantity, of]
            total = predicted[:, quantity, of][counted].sum()
            if total > 0:
                factors[quantity, of] = truth[:, quantity, of][counted].sum() / total
    return factors


def site_profiles(of_training: Sequence[DeviceProfile], of_site: Sequence[DeviceProfile]) -> tuple[DeviceProfile, ...]:
    """Profiles of a site's devices, then of those that only the training had."""
    here = {(profile.device, profile.scale) for profile in of_site}
    return (*of_site, *(p for p in of_training if (p.device, p.scale) not in here))


def recalibrated(
    model: Model, factors: np.ndarray, profiles: Sequence[DeviceProfile], patients: Sequence[str]
) -> Model:
    """The same network, its sums multiplied by `factors` (3, N) and images read by a site's device profiles."""
    normalisation = replace(model.card.normalisation, drr=model.card.normalisation.drr * factors)
    card = replace(
        model.card,
        normalisation=normalisation,
        device_profiles=tuple(profiles),
        recalibrated_on=(*model.card.recalibrated_on, *patients),
    )
    return replace(model, card=card)
