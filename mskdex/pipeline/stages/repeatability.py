"""Command `repeatability`: repeated predictions of the same patients."""

from pathlib import Path

from mskdex.evaluation.repeatability import repeatability_table
from mskdex.io.csv_files import write_csv


def repeatability(table: Path, out: Path | None) -> str:
    """Measures the repeatability of a table of predictions.

    Args:
        table: as `repeatability_table` takes it.
        out: CSV to write, or None.

    Returns:
        The table as text.

    Raises:
        MskdexError: the table cannot be used.
    """
    found = repeatability_table(Path(table))
    if out is not None:
        write_csv(Path(out), found)
    shown = found.drop(columns=["structure", "side"])
    for column in shown.select_dtypes("float"):
        places = 3 if column == "icc" else 2
        shown[column] = [f"{v:.{places}f}" if v == v else "–" for v in shown[column]]
    return str(shown.fillna("").to_string(index=False))
