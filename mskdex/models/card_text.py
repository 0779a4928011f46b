"""A model's card in Markdown: what it was trained on, its settings and its limits."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mskdex.models.device_profiles import DeviceProfile, profile_text
from mskdex.models.flags import DISTANCE_TOLERANCE, EDGE_SHARE, INTENSITY_TOLERANCE
from mskdex.models.model import ModelCard

LICENCE = (
    "The software is under the Apache License 2.0. The weights are their trainers' own, who decide under what terms "
    "they and the data behind them may be used."
)


def card_text(card: ModelCard, manifest: Mapping[str, Any], more: Mapping[str, str] | None = None) -> str:
    """Markdown of a card; patients are counted, never named.

    Args:
        card: what the model's file says about itself.
        manifest: of its training.
        more: further sections, by title, which stand before the limits.
    """
    settings = yaml.safe_dump(card.experiment.model_dump(mode="json"), sort_keys=False)
    parts = [
        f"# {card.name}, {card.left_out}",
        "Takes hip radiographs apart into objects and gives their volume and lean mass (MSKdeX).",
        *_section("Trained on", _training(card)),
        *_section("Device profiles", _device_profiles(card.device_profiles)),
        *_section("Made with", _manifest(manifest)),
        *_section("Settings", f"```yaml\n{settings}```"),
    ]
    for title, text in (more or {}).items():
        parts += _section(title, text)
    return "\n\n".join([*parts, *_section("Limits", _limits(card)), *_section("Licence", LICENCE)]) + "\n"


def _section(title: str, text: str) -> list[str]:
    return [f"## {title}", text] if text else []


def _training(card: ModelCard) -> str:
    grid, seen = card.grid, card.normalisation
    low, high = seen.radiograph_range
    rows, columns = grid.shape
    return _bullets(
        {
            "Patients": len(card.patients),
            "Left out": card.left_out,
            **({"Started from": f"a model of {len(card.started_from)} patients"} if card.started_from else {}),
            **(
                {"Recalibrated on": f"{len(card.recalibrated_on)} patients of another site"}
                if card.recalibrated_on
                else {}
            ),
            "Objects": ", ".join(card.objects),
            "Grey scales": ", ".join(seen.scales),
            "Mean log attenuation": f"{low:.2f} to {high:.2f}",
            "Source to detector": "{:.0f} to {:.0f} mm".format(*card.sdd_range_mm),
            "Source to patient": "{:.0f} to {:.0f} mm".format(*card.isocentre_range_mm),
            "Grid": f"{rows} x {columns} pixels of {grid.pixel_mm:.4g} mm",
        }
    )


def _device_profiles(profiles: Sequence[DeviceProfile]) -> str:
    return _bullets({profile.device or "devices without a name": profile_text(profile) for profile in profiles})


def _manifest(manifest: Mapping[str, Any]) -> str:
    return _bullets(
        {name: manifest[name] for name in sorted(manifest) if isinstance(manifest[name], str | int | float)}
    )


def _bullets(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"* {name}: {value}" for name, value in facts.items())


def _limits(card: ModelCard) -> str:
    return "\n".join(
        [
            "* Research software, not a medical device.",
            f"* A radiograph is flagged, and gets no interval, where its distances lie more than "
            f"{100 * DISTANCE_TOLERANCE:.0f} % or its mean attenuation more than {100 * INTENSITY_TOLERANCE:.0f} % "
            f"outside of what training saw, where its grey scale is not {' or '.join(card.normalisation.scales)}, or "
            "where less than 80 % of the grid is exposed.",
            f"* An object is flagged where over {100 * EDGE_SHARE:.0f} % of its predicted volume lies at the edge.",
            "* Intervals hold for patients like the held-out ones only.",
        ]
    )
