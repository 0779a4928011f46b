"""What was run: versions, code, seeds, hardware and hours; and the summary's figures."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd

import mskdex
from mskdex.evaluation.summaries import muscle_mean
from mskdex.report.html_tables import Cell, Table, number, plain, words
from mskdex.report.number_format import decimals, duration
from mskdex.report.results import Results, title


def code_version() -> str:
    """The package's version, with the commit where it runs from a repository."""
    root = Path(mskdex.__file__).parents[1]
    if not (root / ".git").exists():
        return str(mskdex.__version__)
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
        found = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return str(mskdex.__version__)
    return f"{mskdex.__version__}, commit {found.replace('-dirty', ', with local changes')}"


def hardware() -> str:
    """Processor, cores and memory of this machine."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else 0
    return f"{model}, {os.cpu_count()} logical cores, {memory:.0f} GiB of memory, {platform.system()}"


def run_table(results: Results) -> Table:
    """The run manifest."""
    c = results.config
    trained = [t.get("manifest", {}) for t in results.trainings.values()]
    hours = sum(float(m.get("training_seconds", m.get("seconds", 0))) for m in trained)
    devices = ", ".join(sorted({str(m.get("device", "unknown")) for m in trained})) or "–"
    first = trained[0] if trained else {}
    rows = {
        "mskdex": code_version(),
        "Python, NumPy, PyTorch": f"{platform.python_version()}, {first.get('numpy', '–')}, {first.get('torch', '–')}",
        "Cohort sheet": Path(c.cohort.sheet).name
        if c.cohort.sheet
        else "none: virtual patients, synthesised by the workflow",
        "Seeds": f"folds {c.folds.seed}, bootstrap {c.evaluation.seed}, "
        + ", ".join(f"{n} {e.optimisation.seed}" for n, e in c.experiments.items()),
        "Folds tested": f"{', '.join(map(str, results.evaluation.get('folds', [])))} of {c.folds.count}",
        "Hardware (report)": hardware(),
        "Training": f"{len(trained)} trainings, {duration(hours)} in all, on {devices}",
    }
    return plain("run", "What was run.", ["", ""], [[words(k), words(v)] for k, v in rows.items()])


def training_table(results: Results) -> Table:
    """One row per training."""
    rows = []
    for (experiment, fold), content in results.trainings.items():
        m = content.get("manifest", {})
        epochs = len(results.histories.get((experiment, fold), []))
        seconds = float(m.get("training_seconds", m.get("seconds", float("nan"))))
        count = len(content.get("patients", []))
        rows.append(
            [
                words(experiment),
                Cell(str(fold), fold),
                Cell(str(count), count),
                Cell(str(epochs), epochs),
                Cell(duration(seconds), seconds),
                words(m.get("device")),
                words(m.get("seed")),
            ]
        )
    labels = ["Experiment", "Fold", "Patients trained on", "Epochs", "Time", "Device", "Seed"]
    return plain("trainings", "Trainings, from their manifests.", labels, rows)


def cohort_table(results: Results) -> Table:
    """Demographics of all, of the tested, and by sex."""
    p = results.patients
    groups = {"All": p, "Tested": p.loc[p.index.isin(results.tested)]}
    groups |= {{"F": "Women", "M": "Men"}.get(str(s), str(s)): p[p["sex"] == s] for s in p["sex"].dropna().unique()}
    columns = {"age": "Age (years)", "height_cm": "Height (cm)", "weight_kg": "Weight (kg)", "bmi": "BMI (kg/m²)"}
    rows = []
    for name, some in groups.items():
        cells = [_spread(some[c]) for c in columns]
        rows.append([words(name), Cell(str(len(some)), len(some)), *cells])
    return plain("cohort", "Mean ± standard deviation; below, the range.", ["", "n", *columns.values()], rows)


def _spread(values: pd.Series) -> Cell:
    known = values.dropna()
    if known.empty:
        return Cell("unknown", float("nan"))
    spread = f" ± {decimals(float(known.std()), 1)}" if len(known) > 1 else ""
    unknown = f"; unknown in {len(values) - len(known)}" if len(known) < len(values) else ""
    below = f"{decimals(float(known.min()), 1)} to {decimals(float(known.max()), 1)}{unknown}"
    return Cell(f"{decimals(float(known.mean()), 1)}{spread}", float(known.mean()), below)


def density_table(results: Results) -> Table:
    """Volume, lean mass and HU of each object over the cohort, of patients in whom it is complete."""
    q = results.quantities
    q = q[q["present"].astype(bool) & ~q["truncated"].astype(bool)]
    rows = []
    for channel in results.objects:
        some = q[q["object"] == channel["name"]]
        cut = results.quantities[results.quantities["object"] == channel["name"]]["truncated"].astype(bool).sum()
        cells = [
            number(v, 1, below=f"± {decimals(float(some[c].std()), 1)}" if len(some) > 1 else "")
            for c in ("volume_cm3", "lean_mass_g", "mean_hu")
            for v in [some[c].mean() if len(some) else float("nan")]
        ]
        rows.append(
            [
                words(title(channel["object"])),
                words(channel["side"]),
                Cell(str(len(some)), len(some)),
                Cell(str(int(cut)), int(cut)),
                *cells,
            ]
        )
    labels = ["Structure", "Side", "Complete", "Truncated", "Volume (cm³)", "Lean mass (g)", "Mean HU"]
    return plain("objects", "The CTs' objects: mean ± standard deviation where complete.", labels, rows)


def registration_table(results: Results) -> Table:
    """How each body's registrations went."""
    rows = []
    for body, some in results.registration.groupby("body", sort=False):
        used = some[some["accepted"]]
        share = len(used) / len(some)
        medians = [
            number(pd.to_numeric(used[c], errors="coerce").median(), 2) for c in ("confidence", "similarity", "seconds")
        ]
        rows.append(
            [
                words(title(str(body))),
                Cell(str(len(some)), len(some)),
                Cell(f"{len(used)} ({share:.0%})", share),
                *medians,
            ]
        )
    labels = ["Body", "Patients", "Used", "Median confidence", "Median similarity", "Median seconds"]
    return plain("registration", "Registration of each rigid body; medians of those used.", labels, rows)


def _float(value: Any) -> float:
    return float("nan") if value is None else float(value)


def rejected_table(results: Results) -> Table:
    """Every registration that was not used, with its reason."""
    rows = [
        [
            words(r.patient_id),
            words(title(str(r.body))),
            number(_float(r.confidence), 2),
            words(r.reason),
        ]
        for r in results.registration[~results.registration["accepted"]].itertuples()
    ]
    return plain(
        "registration_not_used",
        "Registrations not used in the bone loss.",
        ["Patient", "Body", "Confidence", "Why"],
        rows,
    )


def calibration_table(results: Results) -> Table | None:
    """How each radiograph's grey values fit its CT; None where they were not compared."""
    if results.calibration is None or results.calibration.empty:
        return None
    rows = [
        [
            words(r.patient_id),
            words(r.scale),
            number(_float(r.slope), 2),
            number(_float(r.at_reference), 2),
            number(_float(r.bend), 2),
            number(_float(r.residual), 3),
            number(_float(r.pixels), 0),
            words(r.flags or "none"),
        ]
        for r in results.calibration.itertuples()
    ]
    labels = ["Patient", "Scale", "Slope", "At 3 nepers", "Bend", "Residual", "Pixels", "Flags"]
    caption = (
        "Grey values of each radiograph beside the attenuation of its CT at the registered pose: a robust line's slope "
        "and value where the CT's attenuation is 3 nepers, steepness in thick over thin parts, scatter in nepers."
    )
    return plain("grey_values", caption, labels, rows)


def devices_table(results: Results) -> Table | None:
    """What each model knows of the devices of its training radiographs; None where no manifest tells."""
    rows = []
    for (experiment, fold), content in results.trainings.items():
        for profile in content.get("device_profiles", []):
            error = _float(profile["error_nepers"])
            curve = "none" if not profile["grey"] else "own grey values" if profile["own_greys"] else "standardised"
            rows.append(
                [
                    words(experiment),
                    Cell(str(fold), fold),
                    words(profile["device"] or "not named"),
                    words(profile["scale"]),
                    Cell(str(profile["patients"]), profile["patients"]),
                    words(curve),
                    number(error, 2),
                    number(_float(profile.get("standardised_nepers")), 2),
                ]
            )
    if not rows:
        return None
    caption = (
        "Devices of the training radiographs: the curve that takes a device’s grey values to log attenuation, over the "
        "file’s own grey values or the standardised ones, and its error in nepers on patients it was not made of, "
        "beside that of their standardised images; a curve that is not better by a tenth is not used."
    )
    labels = ["Experiment", "Fold", "Device", "Scale", "Patients", "Curve over", "Error", "Standardised"]
    return plain("devices", caption, labels, rows)


def excluded_table(results: Results) -> Table:
    """Patients whom the cohort sheet excludes, or whose radiograph and CT do not belong together."""
    rows = [[words(r.patient_id), words(r.by), words(r.reason)] for r in results.excluded.itertuples()]
    caption = "Excluded by the cohort sheet, or by the registration: radiograph and CT do not belong together."
    return plain("excluded", caption, ["Patient", "By", "Reason"], rows)


def flagged_table(results: Results) -> Table | None:
    """Patients that stand out in the cohort and stay in it; None where they were not looked at."""
    if results.flagged is None:
        return None
    some = results.flagged[pd.to_numeric(results.flagged["flags"], errors="coerce") > 0]
    rows = [[words(r.patient_id), Cell(str(r.flags), float(str(r.flags))), words(r.reasons)] for r in some.itertuples()]
    caption = (
        "Patients that stand out by their segmentation or by a warning of the import. They count: a human decides, in "
        "the cohort sheet."
    )
    return plain("flagged", caption, ["Patient", "Flags", "Why"], rows)


def warnings_table(results: Results) -> Table:
    """What the imports warned of."""
    rows = [[words(patient), words(detail)] for patient, all_told in results.warnings.items() for detail in all_told]
    return plain("warnings", "Warnings of the import. These patients count.", ["Patient", "Warning"], rows)


def left_out_table(results: Results) -> Table:
    """Objects that count in no statistic, by reason."""
    points = results.points[results.points["left_out"].notna() & (results.points["quantity"] == "volume_cm3")]
    pairs = points.drop_duplicates(["patient_id", "channel"])
    rows = []
    for (name, reason), some in pairs.groupby(["structure", "left_out"], sort=False):
        count = some["patient_id"].nunique()
        shown = ", ".join(sorted(some["patient_id"].unique())[:8]) + (" …" if count > 8 else "")
        rows.append([words(title(str(name))), words(reason), Cell(str(count), count), words(shown)])
    caption = "Objects of tested patients that count in no statistic."
    return plain("left_out", caption, ["Structure", "Why", "Patients", "Who"], rows)


def summary(results: Results) -> list[dict[str, str]]:
    """The figures on top of the report: label, value, note."""
    means = muscle_mean(results.agreement)
    labels = {m.id: m.label for m in results.methods}
    cards = []
    for quantity, name in (("lean_mass_g", "lean mass"), ("volume_cm3", "volume")):
        some = means[means["quantity"] == quantity]
        cells = {str(m): float(v) for m, v in zip(some["method"], some["value"], strict=True)}
        value = cells.get(results.proposed, float("nan"))
        others = [f"{labels[m]} {decimals(v, 3)}" for m, v in cells.items() if m != results.proposed]
        note = "; ".join(others) or "nothing to compare with"
        cards.append({"label": f"Mean PCC of the muscles, {name}", "value": decimals(value, 3), "note": note})
    accepted = results.registration["accepted"]
    folds = results.evaluation.get("folds", [])
    tested = f"of {len(results.patients)}, in {len(folds)} of {results.config.folds.count} folds"
    cards.append({"label": "Patients tested", "value": str(len(results.tested)), "note": tested})
    used = f"{accepted.mean():.0%}" if len(accepted) else "–"
    note = f"{int(accepted.sum())} of {len(accepted)} rigid bodies"
    return [*cards, {"label": "Registrations used", "value": used, "note": note}]
