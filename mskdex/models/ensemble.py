"""The mean of the models of several folds: on patients of elsewhere it errs less than any one of them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from mskdex.errors import MskdexError
from mskdex.models.device_profiles import DeviceProfile
from mskdex.models.generator import MeanGenerator
from mskdex.models.model import ENSEMBLE, Member, Model, ModelCard
from mskdex.models.normalisation import Normalisation


def ensemble_of(models: Sequence[Model]) -> Model:
    """One model that predicts the mean of several folds' DRRs.

    It is the mean of images in cm³ and g per pixel, so the composition head's sum over the objects stays the
    radiograph. What is unlike the training is told by the first model's radiographs.

    Args:
        models: of at least two folds of one experiment.

    Raises:
        MskdexError: fewer than two, an ensemble among them, one fold twice, or models of different experiments,
            settings, objects or grids.
    """
    cards = [model.card for model in models]
    _require_alike(cards)
    card = _joint_card(cards)
    generator = MeanGenerator([model.generator for model in models], 3 * len(card.channels))
    common = card.normalisation
    with torch.no_grad():
        for place, own in enumerate(c.normalisation for c in cards):
            generator.radiograph_factors[place] = common.radiograph / own.radiograph
            generator.drr_factors[place] = torch.from_numpy((own.drr / common.drr).reshape(-1, 1, 1))
    return Model(card, generator.eval(), models[0].likeness)


def _require_alike(cards: Sequence[ModelCard]) -> None:
    if len(cards) < 2:
        msg = f"{len(cards)} trained folds were found, an ensemble needs 2; set folds.train: all and train them"
        raise MskdexError(msg)
    first = cards[0]
    for card in cards:
        if card.members or card.recalibrated_on:
            msg = f"{card.name}, {card.left_out}, is an ensemble or was recalibrated; give models as they were trained"
            raise MskdexError(msg)
    if len({card.fold for card in cards}) < len(cards):
        msg = (
            f"{first.name}: a fold is there twice (folds {', '.join(str(card.fold) for card in cards)}); give each once"
        )
        raise MskdexError(msg)
    alike: dict[str, list[object]] = {
        "experiments": [card.name for card in cards],
        "settings": [card.experiment for card in cards],
        "objects": [card.channels for card in cards],
        "image grids": [(card.grid.shape, round(card.grid.pixel_mm, 4)) for card in cards],
    }
    for what, values in alike.items():
        if other := [cards[i].fold for i, value in enumerate(values) if value != values[0]]:
            msg = f"{first.name}: fold {other[0]} has other {what} than fold {first.fold}; train both by one config"
            raise MskdexError(msg)


def _joint_card(cards: Sequence[ModelCard]) -> ModelCard:
    return replace(
        cards[0],
        fold=ENSEMBLE,
        normalisation=_common([card.normalisation for card in cards]),
        sdd_range_mm=_hull([card.sdd_range_mm for card in cards]),
        isocentre_range_mm=_hull([card.isocentre_range_mm for card in cards]),
        patients=tuple(sorted({p for card in cards for p in card.patients})),
        device_profiles=_profiles(cards),
        started_from=tuple(sorted({p for card in cards for p in card.started_from})),
        members=tuple(Member(card.fold, card.patients) for card in cards),
    )


def _common(found: Sequence[Normalisation]) -> Normalisation:
    return replace(
        found[0],
        radiograph=float(np.mean([n.radiograph for n in found])),
        drr=np.mean([n.drr for n in found], axis=0),
        radiograph_range=_hull([n.radiograph_range for n in found]),
        scales=tuple(sorted({scale for n in found for scale in n.scales})),
    )


def _hull(ranges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _profiles(cards: Sequence[ModelCard]) -> tuple[DeviceProfile, ...]:
    """Of each device and scale the profile of most patients."""
    best: dict[tuple[str, str], DeviceProfile] = {}
    for profile in (p for card in cards for p in card.device_profiles):
        key = profile.device, profile.scale
        if key not in best or profile.patients > best[key].patients:
            best[key] = profile
    return tuple(best.values())
