"""The tables of docs/import.md name tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_row_of_the_tables_names_tests_that_exist():
    text = (ROOT / "docs" / "import.md").read_text(encoding="utf-8").split("## Field by field")[1]
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| attr", "| entry"))]
    rows = [line for line in rows if not line.startswith("| field |")]
    source = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)", source))
    assert len(rows) > 60
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row.split(" | ")[-1])
        assert named, row
        assert set(named) <= there, set(named) - there
