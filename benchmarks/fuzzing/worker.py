"""One process that imports mutated patients, with limits of memory and time for each."""

import logging
import resource
import shutil
import signal
import traceback
import warnings
from dataclasses import replace
from pathlib import Path

import hospital
import numpy as np

from fuzzing import kinds, outcomes
from mskdex.cohort.sheet import check_sheet, read_sheet
from mskdex.config import Config
from mskdex.errors import MskdexError
from mskdex.pipeline.stages.importing import import_patient

_MORE_BYTES = 5 << 29
"""2.5 GB of address space beyond what the process has when it begins."""

SECONDS = 20


class OutOfTimeError(BaseException):
    """A case took longer than `SECONDS`."""


def limit() -> None:
    """Sets the limits, after all libraries are loaded."""
    warnings.simplefilter("ignore")
    logging.getLogger("mskdex").addHandler(logging.NullHandler())
    for library in ("pydicom", "nibabel"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + _MORE_BYTES, now + _MORE_BYTES))
    signal.signal(signal.SIGALRM, _stop)


def run(index: int, seed: int, folder: Path) -> dict:
    """Makes, imports and checks one case.

    Returns:
        The record: case, kind, what, claim, outcome, detail.
    """
    kind = kinds.of(index)
    rng = np.random.default_rng([seed, index])
    case = _made(kind, rng, folder)
    expected = _valid(kind.name, tuple(case.settings.items()), folder.parent / f"valid_{folder.name}")
    signal.alarm(SECONDS)
    try:
        found, detail = _outcome(case, expected, folder / "out")
    except OutOfTimeError:
        found, detail = "TIME", f"more than {SECONDS} s"
    except MskdexError as error:
        found, detail = outcomes.error_outcome(error, case)
    except Exception as error:
        found = "MEMORY" if isinstance(error, MemoryError) else "TRACEBACK"
        detail = f"{type(error).__name__}: {error} at " + " ".join(
            f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[-4:]
        )
    finally:
        signal.alarm(0)
    detail = detail.replace(str(folder / "in"), "..")[:600]
    return {
        "case": index,
        "kind": kind.name,
        "what": case.what[:200],
        "claim": case.claim,
        "outcome": found,
        "detail": detail,
    }


def _made(kind: kinds.Kind, rng: np.random.Generator, folder: Path):
    """A case that its format's library writes; values that it refuses to write are drawn anew."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            return kind.mutate(rng, kind.base(), folder / "in")
        except Exception as error:  # pydicom raises many kinds when it is to write a value of another type
            last = error
    raise last


def _outcome(case, expected, out: Path) -> tuple[str, str]:
    settings = hospital.settings(**case.settings)
    row, told = case.row, []
    if "sheet" in row:
        row, told = _read_sheet(Path(row["sheet"]))
        if row is None:
            return "said", "; ".join(told)
    import_patient(row, settings, out)
    signal.alarm(0)
    channels = {c.name: c.label for c in settings.channels}
    return outcomes.outcome(outcomes.written(out, told), expected, replace(case, row=row), channels)


def _read_sheet(path: Path) -> tuple[dict | None, list[str]]:
    """The patient's row, None where it is excluded, and the sheet's warnings."""
    settings = Config.model_validate({"cohort": {"sheet": str(path)}}).cohort
    read_sheet(path, settings)
    sheet, problems = check_sheet(path, settings)
    row = sheet.to_dict("records")[0]
    told = [str(p) for p in problems]
    return (None, [*told, "excluded"]) if row["exclude"] else (row, told)


_known: dict[str, outcomes.Numbers] = {}


def _valid(kind: str, settings: tuple, folder: Path) -> outcomes.Numbers:
    key = kind + repr(settings)
    if key not in _known:
        _known[key] = valid_import(kind, folder, settings)[0]
    return _known[key]


def valid_import(kind: str, folder: Path, settings: tuple = ()) -> tuple[outcomes.Numbers, dict]:
    """What the valid patient of a kind gives, and his row; `settings` are pairs of a section and its changes."""
    shutil.rmtree(folder, ignore_errors=True)
    row = kinds.named(kind).base().write(folder / "in", {})
    import_patient(row, hospital.settings(**dict(settings)), folder / "out")
    return outcomes.written(folder / "out"), row


def _stop(*_: object) -> None:
    raise OutOfTimeError
