"""What each rule of a finished run took, from its `benchmark:` files: wall and CPU seconds, mean, and memory, maximum.

python benchmarks/workflow/stages.py [RESULTS]
"""

import argparse
from pathlib import Path

import pandas as pd

COLUMNS = {"s": "mean", "cpu_time": "mean", "max_rss": "max"}


def table(results: Path) -> pd.DataFrame:
    """A row per rule: its jobs, wall s, CPU s, MB."""
    folder = results / "benchmarks"
    jobs = [
        pd.read_csv(file, sep="\t", usecols=list(COLUMNS)).assign(rule=file.relative_to(folder).parts[0].split(".")[0])
        for file in folder.rglob("*.tsv")
    ]
    by_rule = pd.concat(jobs).groupby("rule")
    return pd.concat([by_rule.size().rename("jobs"), by_rule.agg(COLUMNS).round(1)], axis=1)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=Path("results"))
    print(table(parser.parse_args().results).to_string())


if __name__ == "__main__":
    main()
