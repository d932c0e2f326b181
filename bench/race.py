"""Races hookgrad against PyTorch: the same code, in alternating fresh processes, on one thread.

    python bench/race.py                 the whole table
    python bench/race.py hook            cases whose name or group contains "hook"
    python bench/race.py --markdown      the table as docs/performance.md has it

A figure is processor time, the best of several runs of each process; a ratio is hookgrad's time over PyTorch's, so below
one hookgrad is faster. Machines are noisy and differ: trust the ratios of one run, not absolute times.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path

from cases import CASES

HERE = Path(__file__).resolve().parent
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HOOKGRAD_NUM_THREADS": "1"
}  # fmt: skip


def run(library: str, name: str) -> float:
    """Seconds a call of the case takes in a fresh process."""
    command = [sys.executable, str(HERE / "cases.py"), library, name]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ENVIRONMENT})
    if done.returncode != 0:
        raise SystemExit(f"{name} under {library}:\n{done.stderr}")
    return json.loads(done.stdout)


def race(name: str, rounds: int) -> tuple:
    best = {"hookgrad": math.inf, "torch": math.inf}
    for _ in range(rounds):
        for library in best:
            best[library] = min(best[library], run(library, name))
    return best["hookgrad"], best["torch"]


def show(seconds: float) -> str:
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.0f} ns"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="", help="only cases with this in their name or group")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each library for each case")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()

    ratios: dict = {}
    row = "| {:<44} | {:>9} | {:>9} | {:>6} |" if args.markdown else "{:<44} {:>9} {:>9} {:>6}"
    print(row.format("case", "hookgrad", "PyTorch", "ratio"))
    if args.markdown:
        print("|---|--:|--:|--:|")
    for name, case in CASES.items():
        if args.pattern not in name and args.pattern not in case.group:
            continue
        ours, theirs = race(name, args.rounds)
        ratios.setdefault(case.group, []).append(ours / theirs)
        print(row.format(name, show(ours), show(theirs), f"{ours / theirs:.2f}"), flush=True)
    print()
    for group, values in ratios.items():
        mean = math.exp(sum(map(math.log, values)) / len(values))
        print(f"{group}: geometric mean {mean:.2f} of {len(values)}", flush=True)


if __name__ == "__main__":
    main()
