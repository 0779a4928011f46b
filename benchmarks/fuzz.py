"""Random mutations of valid patients: each must come in right or be refused in a clear sentence, nothing in silence.

Run: python benchmarks/fuzz.py [--count 10000] [--minutes 10] [--seed 1] [--workers 2] [--out fuzz.jsonl] [--kind TEXT]

Each case changes one thing of a small valid patient (`tests/hospital.py`), imports it, and compares the result with the
valid patient's and, where the numbers should change, with what another reader says (`fuzzing/second_reader.py`). One
line of JSON a case goes to --out; a run that is started again goes on where it was. A case is given by its seed and
number alone: `--only 17` runs number 17 and prints it.

Outcomes: same; right (numbers changed, as the file says); said (a warning); clear error; open (nobody could tell).
These are faults: SILENT (numbers changed, or a field that is used was passed over, without a word), TRACEBACK, UNCLEAR
(an error that names no patient or no file, or is no plain sentence), MEMORY, TIME, CRASH.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

for variable in (
    "OMP_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "OPENBLAS_NUM_THREADS",
):
    os.environ.setdefault(variable, "1")

FAULTS = ("SILENT", "TRACEBACK", "UNCLEAR", "MEMORY", "TIME", "CRASH")
OUTCOMES = ("same", "right", "said", "clear error", "open", *FAULTS)
_HUNG_S = 90
_SPAWN = multiprocessing.get_context("spawn")


def work(cases: list[int], seed: int, out: Path, folder: Path, current) -> None:
    """A worker's cases, one after the other; `current` tells the parent which one is running."""
    from fuzzing import worker

    worker.limit()
    for case in cases:
        current.value = case
        record = worker.run(case, seed, folder)
        with open(out, "a", encoding="utf-8") as handle:
            handle.write(json.dumps({"seed": seed} | record) + "\n")


def run_all(cases: list[int], options: argparse.Namespace, scratch: Path) -> None:
    """Spreads cases over workers; one that dies or hangs is recorded and its worker started anew."""
    until = time.time() + 60 * options.minutes
    teams = [_Team(cases[w :: options.workers], options, scratch / str(w)) for w in range(options.workers)]
    left = teams
    while time.time() < until and left:
        left = [team for team in left if team.go_on()]
        time.sleep(0.5)
    for team in teams:
        team.stop()


class _Team:
    """A worker process and the cases that are left to it."""

    def __init__(self, cases: list[int], options: argparse.Namespace, folder: Path) -> None:
        self.cases, self.options, self.folder = cases, options, folder
        self.current = _SPAWN.Value("q", -1)
        self.process, self.seen, self.since = None, -1, time.time()

    def go_on(self) -> bool:
        """Whether anything is left; starts the process where none runs."""
        if self.process is None:
            self._start()
        elif not self.process.is_alive():
            if self.process.exitcode == 0:
                return False
            self._record(f"the process ended with {self.process.exitcode}", "CRASH")
        elif self.current.value != self.seen:
            self.seen, self.since = self.current.value, time.time()
        elif self.seen >= 0 and time.time() - self.since > _HUNG_S:
            self.stop()
            self._record(f"no end after {_HUNG_S} s", "TIME")
        return True

    def stop(self) -> None:
        if self.process is not None and self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _start(self) -> None:
        arguments = (self.cases, self.options.seed, self.options.out, self.folder, self.current)
        self.process = _SPAWN.Process(target=work, args=arguments)
        self.process.start()

    def _record(self, detail: str, found: str) -> None:
        case = self.current.value
        if case >= 0:
            record = {"case": case, "kind": "?", "what": "", "claim": "", "outcome": found, "detail": detail}
            with open(self.options.out, "a", encoding="utf-8") as handle:
                handle.write(json.dumps({"seed": self.options.seed} | record) + "\n")
            self.cases = self.cases[self.cases.index(case) + 1 :] if case in self.cases else self.cases
        self.process, self.seen, self.since = None, -1, time.time()


def table(records: list[dict]) -> str:
    """Outcomes by kind, as a Markdown table, the faults after it."""
    kinds = sorted({r["kind"] for r in records})
    counts = Counter((r["kind"], r["outcome"]) for r in records)
    shown = [o for o in OUTCOMES if any(r["outcome"] == o for r in records) or o in ("SILENT", "TRACEBACK")]
    lines = [f"| kind | cases | {' | '.join(shown)} |", "|---" * (len(shown) + 2) + "|"]
    for kind in [*kinds, "all"]:
        row = [sum(n for (k, o), n in counts.items() if kind in (k, "all") and o == s) for s in shown]
        lines.append(f"| {kind} | {sum(row)} | {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def done(options: argparse.Namespace) -> dict[int, dict]:
    """Records of this seed that an earlier run wrote, by case."""
    if not options.out.exists():
        return {}
    lines = options.out.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return {r["case"]: r for r in records if r["seed"] == options.seed}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("fuzz.jsonl"))
    parser.add_argument("--kind", default="", help="only kinds whose name holds this")
    parser.add_argument("--only", type=int, help="run one case and print its record")
    options = parser.parse_args()
    from fuzzing import kinds

    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        if options.only is not None:
            from fuzzing import worker

            worker.limit()
            print(json.dumps(worker.run(options.only, options.seed, Path(scratch, "one")), indent=1))
            return 0
        wanted = [i for i in range(options.count) if options.kind.lower() in kinds.of(i).name.lower()]
        before = done(options)
        run_all([i for i in wanted if i not in before], options, Path(scratch))
    records = [r for i, r in done(options).items() if i in set(wanted)]
    print(f"{len(records)} of {len(wanted)} cases, seed {options.seed}\n\n{table(records)}\n")
    faults = [r for r in records if r["outcome"] in FAULTS]
    for r in faults[:40]:
        print(f"{r['outcome']} {r['case']} ({r['kind']}, {r['claim']}): {r['what']}: {r['detail']}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
