"""Predicted DRRs beside the true ones in the radiograph's posture, where they are known."""

import pandas as pd

from mskdex.evaluation.points import QUANTITY_COLUMNS
from mskdex.evaluation.text import QUANTITY_NAMES
from mskdex.report.agreement_tables import over_patients
from mskdex.report.html_tables import Cell, Column, Table, plain, words
from mskdex.report.results import Method, Results, title

_MEASURES = (("psnr_db", "PSNR (dB)", 1), ("ssim", "SSIM", 3), ("relative_l1", "Relative L1", 2), ("dice", "Dice", 2))


def map_tables(results: Results) -> list[Table]:
    """PSNR, SSIM, relative L1 and Dice of every structure's predicted DRR, a table per quantity."""
    tables = []
    methods = [m for m in results.methods if m.id in set(results.maps["method"])]
    for quantity in QUANTITY_COLUMNS:
        rows = results.maps[results.maps["quantity"] == quantity]
        names = [n for n in results.object_names if n in set(rows["structure"])]
        if not names:
            continue
        columns = [
            Column("Structure"),
            Column("n"),
            *(Column(m.label, label) for _, label, _ in _MEASURES for m in methods),
        ]
        muscles = rows[rows["kind"] == "muscle"]
        content = [_row(muscles, "Mean of the muscles", methods)] if len(muscles) else []
        content += [_row(rows[rows["structure"] == n], title(n), methods) for n in names]
        caption = (
            f"{QUANTITY_NAMES[quantity].capitalize()}: predicted DRRs beside the true ones in the radiograph’s "
            "posture; mean ± standard deviation over patients."
        )
        notes = [
            "PSNR and SSIM on the data set’s fixed intensity range; relative L1 is the sum of absolute differences "
            "over the true sum; Dice is of the pixels above 5 % of the range. Images are compared on the coarser grid."
        ]
        tables.append(plain(f"maps_{quantity}", caption, columns, content, quantity=quantity, notes=notes))
    return tables


def _row(rows: pd.DataFrame, name: str, methods: list[Method]) -> list[Cell]:
    return [words(name), *over_patients(rows, methods, _MEASURES)]
