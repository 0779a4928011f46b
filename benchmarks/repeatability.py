"""How repeatable a trained model is: the same virtual bodies in other postures, exposures and departments.

    python benchmarks/repeatability.py MODEL.safetensors --patients 6 --out repeated.csv

Each body is made once. One factor varies at a time: posture, exposure (distance, voltage, field, noise),
department, and all three together. `repeated.csv` has every prediction; what `mskdex repeatability` makes of the
rows of one factor is printed.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pandas as pd

from mskdex.api.prediction import load_model, predict
from mskdex.config.virtual import VirtualSettings
from mskdex.errors import MskdexError
from mskdex.evaluation.repeatability import repeatability_table
from mskdex.io.csv_files import write_csv
from mskdex.models.model import Model
from mskdex.virtual.patient import VirtualRadiograph, retaken
from mskdex.virtual.population import Person, person
from mskdex.virtual.radiograph_file import write_radiograph

TIMES = 4
DEPARTMENTS = ("arvik", "corvia")
OF_EXPOSURE = ("exposure", "noise")


@dataclass(frozen=True)
class Again(Person):
    """A person whose examination is drawn anew.

    Attributes:
        times: by stream, which draw; 0 is the person's own.
    """

    times: Mapping[str, int] = field(default_factory=dict)

    def random(self, stream: str) -> np.random.Generator:
        """As the person's own stream, or another draw of it."""
        number = self.times.get(stream, 0)
        own = super().random(stream)
        return np.random.default_rng([int(own.integers(2**63)), number]) if number else own


@dataclass(frozen=True)
class Condition:
    """One examination: which factor it is of, and which draw of each.

    Attributes:
        factor: posture, exposure, department or all.
        name: of the condition, alike for all patients.
        posture, exposure: number of the draw, 0 being the person's own.
        department: name.
    """

    factor: str
    name: str
    posture: int
    exposure: int
    department: str


def conditions(times: int = TIMES, departments: tuple[str, ...] = DEPARTMENTS) -> list[Condition]:
    """Every examination of a body; the first one of each factor is the same."""
    first = departments[0]
    found = [Condition("posture", f"posture {i + 1}", i, 0, first) for i in range(times)]
    found += [Condition("exposure", f"exposure {i + 1}", 0, i, first) for i in range(times)]
    found += [Condition("department", name, 0, 0, name) for name in departments]
    return found + [Condition("all", f"all {i + 1}", i, i, departments[i % len(departments)]) for i in range(times)]


def radiographs(
    one: Person, settings: VirtualSettings, asked: list[Condition]
) -> Iterator[tuple[Condition, VirtualRadiograph]]:
    """A body's radiographs; an examination that several factors share is made once."""
    keys = [(c.posture, c.exposure, c.department) for c in asked]
    different = list(dict.fromkeys(keys))
    own = {f.name: getattr(one, f.name) for f in fields(one)}
    examinations = [
        (
            Again(**own, times={"posture": posture, **dict.fromkeys(OF_EXPOSURE, exposure)}),
            settings.model_copy(update={"departments": {department: 1.0}}),
        )
        for posture, exposure, department in different
    ]
    for key, image in zip(different, retaken(one, examinations), strict=True):
        yield from ((c, image) for c, own_key in zip(asked, keys, strict=True) if own_key == key)


def predictions(model: Model, one: Person, settings: VirtualSettings, asked: list[Condition]) -> Iterator[dict]:
    """A row per condition, structure and quantity, and whether anything about the radiograph was flagged."""
    with tempfile.TemporaryDirectory() as folder:
        for condition, image in radiographs(one, settings, asked):
            path = Path(folder) / f"{condition.name}.dcm"
            write_radiograph(path, image.grey, image.taken, image.department)
            found = predict(model, path)
            for row in found.table.to_dict("records"):
                yield {
                    "patient": one.patient_id,
                    "structure": row["object"],
                    "side": row["side"],
                    "quantity": row["quantity"],
                    "predicted": row["predicted"],
                    "factor": condition.factor,
                    "condition": condition.name,
                    "flags": "; ".join(found.flags),
                }


def people(model: Model, settings: VirtualSettings, first: int, count: int) -> list[Person]:
    """Patients whom the model has not seen.

    Raises:
        MskdexError: one of them was trained on.
    """
    found = [person(settings, number) for number in range(first, first + count)]
    if seen := sorted({p.patient_id for p in found} & set(model.card.patients)):
        msg = f"the model was trained on {', '.join(seen)}; give another --first"
        raise MskdexError(msg)
    return found


def summary(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Repeatability of each factor: the table of `mskdex repeatability` with column `factor`."""
    parts = []
    for factor, rows in table.groupby("factor", sort=False):
        path = folder / f"{factor}.csv"
        write_csv(path, rows)
        parts.append(repeatability_table(path).assign(factor=factor))
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    """Predicts, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--first", type=int, default=901, help="number of the first patient")
    parser.add_argument("--out", type=Path, default=Path("repeated.csv"))
    given = parser.parse_args()
    model, settings, rows = load_model(given.model), VirtualSettings(), []
    for one in people(model, settings, given.first, given.patients):
        rows += predictions(model, one, settings, conditions())
        print(one.patient_id, flush=True)
    table = pd.DataFrame(rows)
    write_csv(given.out, table)
    with tempfile.TemporaryDirectory() as folder:
        found = summary(table, Path(folder))
    shown = ["factor", "channel", "quantity", "mean", "rms_cv_percent", "smallest_detectable_change", "icc"]
    print(found[shown].round(2).to_string(index=False))
    muscles = {c.name for c in model.card.channels if c.kind == "muscle"}
    mean = found[found["channel"].isin(muscles)].groupby(["factor", "quantity"])[["rms_cv_percent", "icc"]].mean()
    print(f"mean of the muscles, {given.patients} patients\n{mean.round(2).to_string()}")
    flagged = table.drop_duplicates(["patient", "condition"])["flags"]
    print(f"{(flagged != '').sum()} of {len(flagged)} examinations are flagged")


if __name__ == "__main__":
    main()
