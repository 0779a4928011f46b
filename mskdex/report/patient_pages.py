"""A page per patient."""

from pathlib import Path

import pandas as pd

import mskdex
from mskdex.artifacts import atomic_path
from mskdex.evaluation.decompositions import Rendered
from mskdex.evaluation.points import QUANTITY_COLUMNS
from mskdex.evaluation.text import QUANTITY_NAMES, QUANTITY_UNITS
from mskdex.report.data import Results, quantity_title, title
from mskdex.report.decompositions import predicted, viewer_payload
from mskdex.report.numbers import decimals
from mskdex.report.sprites import picture_uri, radiograph_uri
from mskdex.report.tables import Cell, Column, Table, number, plain, words
from mskdex.report.templating import asset, pack, render


def write_patient(results: Results, patient: str, folder: Path) -> None:
    """Writes {patient}.html: radiograph, registration, DRRs of CT and predictions, and the numbers."""
    rendered = Rendered.read(results.root / "patients", patient)
    images = predicted(results, rendered)
    page = render(
        "patient.html.j2",
        patient=patient,
        lead=_lead(results.patients.loc[patient]),
        tested=patient in set(results.points["patient_id"]),
        channels=[{"name": c.name, "label": _channel_label(c.object, c.side)} for c in rendered.stack.channels],
        quantities=[(q, quantity_title(q)) for q in QUANTITY_COLUMNS],
        sheets=True,
        number_tables=[_numbers(results, patient, q) for q in QUANTITY_COLUMNS],
        radiograph=radiograph_uri(rendered.stack.radiograph, rendered.stack.field),
        qc=picture_uri(results.root / "patients" / patient / "qc.png"),
        registration_table=_registrations(results, patient),
        payload=pack(viewer_payload(results, rendered, images)),
        patient_js=asset("patient.js"),
        version=mskdex.__version__,
    )
    with atomic_path(folder / f"{patient}.html") as path:
        path.write_text(page, encoding="utf-8")


def _channel_label(name: str, side: str) -> str:
    return title(name) if side == "midline" else f"{title(name)}, {side}"


def _lead(row: pd.Series) -> str:
    facts = [
        {"F": "woman", "M": "man"}.get(str(row["sex"]), ""),
        f"{row['age']:.0f} years" if pd.notna(row["age"]) else "",
        f"{row['height_cm']:.0f} cm" if pd.notna(row["height_cm"]) else "",
        f"{row['weight_kg']:.0f} kg" if pd.notna(row["weight_kg"]) else "",
        f"BMI {decimals(float(row['bmi']), 1)}" if pd.notna(row["bmi"]) else "",
        f"fold {row['fold']:.0f}" if pd.notna(row["fold"]) else "",
    ]
    return ", ".join(f for f in facts if f).capitalize() or "No demographics are known."


def _numbers(results: Results, patient: str, quantity: str) -> Table:
    points = results.points[(results.points["patient_id"] == patient) & (results.points["quantity"] == quantity)]
    truth = results.quantities[results.quantities["patient_id"] == patient].set_index("object")
    methods = [m for m in results.methods if m.id in set(points["method"])]
    rows = []
    for channel in results.objects:
        name = channel["name"]
        own = points[points["channel"] == name]
        held = truth.loc[name] if name in truth.index else None
        why = next((str(v) for v in own["left_out"].dropna()), "") or _why(held)
        known = held is not None and not _why(held)
        value = float(held[quantity]) if known and held is not None else float("nan")
        row = [words(_channel_label(channel["object"], channel["side"])), number(value, None, below=why)]
        for m in methods:
            found = own.loc[own["method"] == m.id, "predicted"]
            guess = float(found.iloc[0]) if len(found) else float("nan")
            error = f"{decimals(100 * (guess / value - 1), 1)} %" if known and value and guess == guess else ""
            row.append(number(guess, None, below=error))
        rows.append(row)
    columns = [Column("Object"), Column("CT"), *(Column(m.label, "Radiograph") for m in methods)]
    caption = f"{QUANTITY_NAMES[quantity].capitalize()} in {QUANTITY_UNITS[quantity]}; below, the relative error."
    return plain(f"numbers_{quantity}", caption, columns, rows, quantity=quantity)


def _why(held: pd.Series | None) -> str:
    if held is None or not bool(held["present"]):
        return "absent from the CT's labels"
    return "truncated by the CT's field of view" if bool(held["truncated"]) else ""


def _registrations(results: Results, patient: str) -> Table:
    rows = [
        [
            words(title(str(r.body))), words("used" if r.accepted else "not used"),
            number(float(r.confidence) if r.confidence is not None else float("nan"), 2),
            number(float(r.similarity) if r.similarity is not None else float("nan"), 3), words(r.reason),
        ]
        for r in results.registration[results.registration["patient_id"] == patient].itertuples()
    ]  # fmt: skip
    return plain(
        "registrations", "Registration of each rigid body.", ["Body", "", "Confidence", "Similarity", "Why not"], rows
    )


def patients_table(results: Results) -> Table:
    """All patients with their errors, linked to their pages."""
    p = results.points[results.points["left_out"].isna() & (results.points["truth"] > 0)]
    p = p.assign(error=100 * (p["predicted"] - p["truth"]).abs() / p["truth"])
    means = p.groupby(["patient_id", "quantity", "method"])["error"].mean()
    methods = [m for m in results.methods if m.kind != "baseline"]
    registered = results.registration.groupby("patient_id")["accepted"].agg(["sum", "size"])
    rows = []
    for patient, row in results.patients.iterrows():
        name = str(patient)
        link = f"patients/{name}.html" if results.config.report.patient_pages else ""
        used = registered.loc[name] if name in registered.index else {"sum": 0, "size": 0}
        cells = [Cell(name, name, link=link), words(row["sex"]), number(row["age"], 0), number(row["bmi"], 1),
                 number(row["fold"], 0), Cell(f"{used['sum']} of {used['size']}", int(used["sum"]))]  # fmt: skip
        for quantity in ("lean_mass_g", "volume_cm3"):
            cells += [number(float(means.get((name, quantity, m.id), float("nan"))), 1) for m in methods]
        rows.append(cells)
    columns = [Column(c) for c in ("Patient", "Sex", "Age", "BMI", "Fold", "Bodies registered")]
    for quantity in ("lean_mass_g", "volume_cm3"):
        columns += [Column(m.label, f"Error of {QUANTITY_NAMES[quantity]}, %") for m in methods]
    return plain("patients", "A dash: not in a tested fold, or not known.", columns, rows)
