"""The tables of figures that the package carries, as columns of numbers."""

import csv
from functools import cache
from importlib.resources import files

import numpy as np


@cache
def read_table(package: str, name: str) -> dict[str, np.ndarray]:
    """Columns of a CSV in the `data` folder of a package, by name: float64, or text where it is not a number.

    Args:
        package: dotted name, e.g. "mskdex.virtual".
        name: of the file.

    Read with the standard library: pandas would cost a virtual patient a fifth of its time.
    """
    with (files(package) / "data" / name).open(encoding="utf-8") as handle:
        header, *rows = csv.reader(handle)
    columns = {}
    for column, values in zip(header, zip(*rows, strict=True), strict=True):
        try:
            columns[column] = np.array(values, dtype=np.float64)
        except ValueError:
            columns[column] = np.array(values)
    return columns
