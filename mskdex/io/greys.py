"""A radiograph's grey values beside its CT, from calibration.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mskdex.io.artifacts import read_json
from mskdex.io.stack import Greys


def read_greys(calibration: Path) -> Greys:
    """Device and curve of a patient's calibration.json; a curve that is flagged is no example of its device.

    Args:
        calibration: the file; where there is none nothing is known.

    Raises:
        MskdexError: the file is damaged.
    """
    return greys_of(read_json(calibration)) if calibration.is_file() else Greys()


def greys_of(content: Mapping[str, Any]) -> Greys:
    """The same of the file's content."""
    line, fit = content["standardisation"], None if content["flags"] else content["fit"]
    thin = (content.get("thin") if fit else None) or {"sound": [], "grey": []}
    return Greys(
        device=content["device"],
        standardisation=None if line is None else (float(line[0]), float(line[1])),
        attenuation=(*thin["sound"], *content["sound"]) if fit else (),
        grey=(*thin["grey"], *fit["grey"]) if fit else (),
    )
