"""A page per patient."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import mskdex
from mskdex.evaluation.decompositions import RenderedDrrs
from mskdex.evaluation.points import QUANTITY_COLUMNS
from mskdex.evaluation.text import QUANTITY_NAMES, QUANTITY_UNITS
from mskdex.io.artifacts import atomic_path
from mskdex.report.drr_viewer import predicted, viewer_payload
from mskdex.report.html_tables import Cell, Column, Table, number, plain, words
from mskdex.report.number_format import decimals, significant
from mskdex.report.results import Results, quantity_title, title
from mskdex.report.sprites import picture_uri, radiograph_uri
from mskdex.report.templating import asset, pack, render

_NAN = float("nan")


@dataclass(frozen=True)
class PatientPage:
    """A patient's rows of the results.

    Attributes:
        id: patient_id.
        person: demographics and fold.
        truth: row of the CT's quantities by channel.
        visible: share of each channel's mass inside the exposed field; 1 where nobody looked.
        predicted: by channel, quantity, method.
        left_out: why a channel counts in no statistic.
        warnings: of the import.
        registrations: rows of the registrations.
    """

    id: str
    person: dict[str, Any]
    truth: dict[str, dict[str, Any]]
    visible: dict[str, float]
    predicted: dict[tuple[str, str, str], float]
    left_out: dict[str, str]
    warnings: list[str]
    registrations: list[dict[str, Any]]

    @property
    def methods(self) -> set[str]:
        """Methods that predicted anything of this patient."""
        return {method for _, _, method in self.predicted}

    def why_not(self, channel: str) -> str:
        """Why a channel has no truth or does not count; empty where it counts."""
        held = self.truth.get(channel)
        if held is None or not held["present"]:
            return "absent from the CT's labels"
        return "truncated by the CT's field of view" if held["truncated"] else self.left_out.get(channel, "")

    def true(self, channel: str, quantity: str) -> float:
        """The CT's value of what is visible, as predictions are; NaN where it does not hold the object whole."""
        held = self.truth.get(channel)
        whole = held is not None and held["present"] and not held["truncated"]
        return self.visible.get(channel, 1.0) * float(held[quantity]) if whole and held is not None else _NAN


def patients(results: Results) -> Iterator[PatientPage]:
    """Every patient of the cohort, with the rows that are theirs."""
    points = {str(k): v for k, v in results.points.groupby("patient_id")}
    truth = {str(k): v for k, v in results.quantities.groupby("patient_id")}
    registration = {str(k): v for k, v in results.registration.groupby("patient_id")}
    none = pd.DataFrame()
    for person in results.patients.reset_index().to_dict("records"):
        name = str(person["patient_id"])
        own = points.get(name, none).to_dict("records")
        yield PatientPage(
            name,
            {str(k): v for k, v in person.items()},
            {str(r["object"]): dict(r) for r in truth.get(name, none).to_dict("records")},  # type: ignore[arg-type]
            {r["channel"]: min(max(float(r["visible"]), 0.0), 1.0) for r in own if pd.notna(r["visible"])},
            {(r["channel"], r["quantity"], r["method"]): float(r["predicted"]) for r in own},
            {r["channel"]: r["left_out"] for r in own if isinstance(r["left_out"], str)},
            results.warnings.get(name, []),
            [{str(k): v for k, v in r.items()} for r in registration.get(name, none).to_dict("records")],
        )


def write_patient(results: Results, patient: PatientPage, folder: Path) -> None:
    """Writes {patient}.html: radiograph, registration, DRRs of CT and predictions, and the numbers."""
    rendered = RenderedDrrs.read(results.root / "patients", patient.id, results.channel_names)
    numbers = viewer_numbers(results, patient)
    payload = viewer_payload(results, rendered, predicted(results, rendered), numbers, exact=False)
    page = render(
        "patient.html.j2",
        patient=patient.id,
        lead=_lead(patient.person),
        tested=bool(patient.predicted),
        warnings=patient.warnings,
        channels=[{"name": c.name, "label": channel_label(c.object, c.side)} for c in rendered.stack.channels],
        quantities=[(q, quantity_title(q)) for q in QUANTITY_COLUMNS],
        number_tables=[_numbers(results, patient, q) for q in QUANTITY_COLUMNS],
        radiograph=_radiograph(results.root / "patients" / patient.id, rendered),
        qc=picture_uri(results.root / "patients" / patient.id / "qc.png"),
        registration_table=_registrations(patient),
        payload=pack(payload),
        version=mskdex.__version__,
    )
    with atomic_path(folder / f"{patient.id}.html") as path:
        path.write_text(page, encoding="utf-8")


def write_shared(folder: Path) -> None:
    """Writes what every patient's page reads from beside it: the style sheet and the scripts."""
    for name in ("style.css", "common.js", "patient.js"):
        with atomic_path(folder / name) as path:
            path.write_text(asset(name), encoding="utf-8")


def _radiograph(folder: Path, rendered: RenderedDrrs) -> str:
    """The imported radiograph, or where it is gone the training sample's coarser one."""
    if not (folder / "radiograph.nii.gz").is_file():
        return radiograph_uri(rendered.stack.radiograph, rendered.stack.field)
    from mskdex.imaging.radiograph import read_radiograph

    radiograph = read_radiograph(folder)
    return radiograph_uri(radiograph.image, radiograph.field)


def channel_label(name: str, side: str) -> str:
    """A channel's name for people."""
    return title(name) if side == "midline" else f"{title(name)}, {side}"


def _lead(person: dict[str, Any]) -> str:
    units = (
        ("age", "{:.0f} years"),
        ("height_cm", "{:.0f} cm"),
        ("weight_kg", "{:.0f} kg"),
        ("bmi", "BMI {:.1f}"),
        ("fold", "fold {:.0f}"),
    )
    facts = [{"F": "woman", "M": "man"}.get(str(person["sex"]), "")]
    facts += [form.format(person[key]) for key, form in units if pd.notna(person[key])]
    text = ", ".join(f for f in facts if f)
    return text[:1].upper() + text[1:] or "No demographics are known."


def viewer_numbers(results: Results, patient: PatientPage) -> dict[str, Any]:
    """What stands below the images: by channel and quantity, the truth and each method's prediction."""
    labels = {m.id: m.label for m in results.methods}
    return {
        c["name"]: {
            q: {
                "truth": significant(patient.true(c["name"], q)),
                "predicted": {
                    label: significant(patient.predicted.get((c["name"], q, m), _NAN)) for m, label in labels.items()
                },
            }
            for q in QUANTITY_COLUMNS
        }
        for c in results.objects
    }


def _numbers(results: Results, patient: PatientPage, quantity: str) -> Table:
    methods = [m for m in results.methods if m.id in patient.methods]
    rows = []
    for channel in results.objects:
        name = channel["name"]
        value = patient.true(name, quantity)
        row = [
            words(channel_label(channel["object"], channel["side"])),
            number(value, None, below=patient.why_not(name)),
        ]
        for m in methods:
            guess = patient.predicted.get((name, quantity, m.id), _NAN)
            error = f"{decimals(100 * (guess / value - 1), 1)} %" if value > 0 and guess == guess else ""
            row.append(number(guess, None, below=error))
        rows.append(row)
    columns = [Column("Object"), Column("CT"), *(Column(m.label, "Prediction") for m in methods)]
    caption = f"{QUANTITY_NAMES[quantity].capitalize()} in {QUANTITY_UNITS[quantity]}; below, the relative error."
    return plain(f"numbers_{quantity}", caption, columns, rows, quantity=quantity)


def _registrations(patient: PatientPage) -> Table:
    rows = [
        [
            words(title(str(r["body"]))),
            words("used" if r["accepted"] else "not used"),
            number(_float(r["confidence"]), 2),
            number(_float(r["similarity"]), 3),
            words(r["reason"]),
        ]
        for r in patient.registrations
    ]
    return plain(
        "registrations", "Registration of each rigid body.", ["Body", "", "Confidence", "Similarity", "Why not"], rows
    )


def _float(value: Any) -> float:
    return _NAN if value is None else float(value)


def patients_table(results: Results) -> Table:
    """All patients with their errors, linked to their pages."""
    p = results.points[results.points["left_out"].isna() & (results.points["truth"] > 0)]
    p = p.assign(error=100 * (p["predicted"] - p["truth"]).abs() / p["truth"])
    means = p.groupby(["patient_id", "quantity", "method"])["error"].mean().to_dict()
    methods = [m for m in results.methods if m.kind != "baseline"]
    registered = {str(k): (int(v.sum()), len(v)) for k, v in results.registration.groupby("patient_id")["accepted"]}
    rows = []
    for row in results.patients.reset_index().to_dict("records"):
        name = str(row["patient_id"])
        link = f"patients/{name}.html" if results.config.report.patient_pages else ""
        used, bodies = registered.get(name, (0, 0))
        cells = [
            Cell(name, name, link=link),
            words(row["sex"]),
            number(row["age"], 0),
            number(row["bmi"], 1),
            number(row["fold"], 0),
            Cell(f"{used} of {bodies}", used),
        ]
        for quantity in ("lean_mass_g", "volume_cm3"):
            cells += [number(float(means.get((name, quantity, m.id), _NAN)), 1) for m in methods]
        rows.append(cells)
    columns = [Column(c) for c in ("Patient", "Sex", "Age", "BMI", "Fold", "Bodies registered")]
    for quantity in ("lean_mass_g", "volume_cm3"):
        columns += [Column(m.label, f"Error of {QUANTITY_NAMES[quantity]}, %") for m in methods]
    return plain("patients", "A dash: not in a tested fold, or not known.", columns, rows)
