"""Races hookgrad against PyTorch: the same code, in alternating fresh processes, on one thread and on two.

    python bench/race.py                       everything
    python bench/race.py train "kernels:conv"  a group; of another what has this word (a word alone: of all groups)
    python bench/race.py --quick --threads 1   one round, shorter
    python bench/race.py --markdown            puts the tables into docs/performance.md as well

A ratio is hookgrad's time over PyTorch's: below one hookgrad is faster. On one thread processor time counts, on two the time on
the wall; the best of many short runs in several processes. Machines are noisy and differ: trust ratios of one run, not absolute
times.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import report
import start
from cases import CASES
from cases.growth import GROWTH

HERE = Path(__file__).resolve().parent
LIBRARIES = ("hookgrad", "torch")


class Result(NamedTuple):
    group: str
    title: str
    threads: int
    seconds: dict[str, float]
    peak: dict[str, int]
    wrong: str  #: what failed or differed; empty where all is well

    @property
    def ratio(self) -> float:
        return self.seconds["hookgrad"] / self.seconds["torch"]


class Worker:
    """A process of worker.py: answers requests, one at a time."""

    def __init__(self, library: str):
        command = [sys.executable, str(HERE / "worker.py"), library]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request) -> dict:
        assert self.process.stdin and self.process.stdout
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": "the library cannot be imported"}


def differs(ours: list, theirs: list) -> str:
    """The words for where two digests differ by more than floats may."""
    if len(ours) != len(theirs):
        return f"{len(ours)} values, PyTorch {len(theirs)}"
    numbers = [abs(x) for x in theirs if isinstance(x, (int, float)) and math.isfinite(x)]
    scale = max(numbers, default=1.0)
    for a, b in zip(ours, theirs):
        if a == b or (a != a and b != b):
            continue
        if isinstance(a, str) or isinstance(b, str) or a is None or b is None:
            return f"{a}, PyTorch {b}"
        if not math.isclose(a, b, rel_tol=2e-3, abs_tol=1e-4 * min(scale, 1.0)):
            return f"{a:.6g}, PyTorch {b:.6g}"
    return ""


def race(workers: dict, group: str, title: str, threads: int, rounds: int, seconds: float) -> Result:
    best, peak = dict.fromkeys(LIBRARIES, math.inf), dict.fromkeys(LIBRARIES, sys.maxsize)
    values, wrong = {}, ""
    for _ in range(rounds):
        for library in LIBRARIES:
            answer = workers[library].ask(group=group, case=title, threads=threads, seconds=seconds)
            if "error" in answer:
                wrong = f"{library}: {answer['error']}"
                return Result(group, title, threads, dict.fromkeys(LIBRARIES, math.nan), peak, wrong)
            best[library] = min(best[library], answer["seconds"])
            peak[library] = min(peak[library], answer["peak"])
            values[library] = answer["value"]
    if difference := differs(values["hookgrad"], values["torch"]):
        wrong = f"differs: {difference}"
    return Result(group, title, threads, best, peak, wrong)


def grow(workers: dict, title: str, quick: bool) -> dict:
    """Library: [(n, seconds a thing, bytes a thing)]; no number where the case failed."""
    growth = GROWTH[title]
    found: dict = {library: [] for library in LIBRARIES}
    for n in growth.sizes[:-1] if quick else growth.sizes:
        for library in LIBRARIES:
            if library == "torch" and n > growth.most:
                continue
            answer = workers[library].ask(case=title, n=n, repeat=1 if n > 10**6 else 3, threads=1)
            size = answer.get("bytes", 0) if growth.memory else 0
            found[library].append((n, answer.get("seconds", math.nan), size))
    return found


def wanted(patterns: list, group: str, title: str) -> bool:
    """A pattern is a group, a word that is looked for in titles, or GROUP:WORD for the titles of one group."""
    for pattern in patterns:
        of, colon, word = pattern.rpartition(":")
        if pattern == group or (pattern not in (*CASES, "growth", "start") and of in ("", group) and word in title):
            return True
    return not patterns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", help="only these: GROUP, WORD of the title, or GROUP:WORD")
    parser.add_argument("--threads", type=int, choices=(1, 2), action="append", help="1 or 2; both where not given")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each library for each case")
    parser.add_argument("--quick", action="store_true", help="one round, shorter runs, no largest sizes")
    parser.add_argument("--markdown", action="store_true", help="write the tables into docs/performance.md")
    args = parser.parse_args()
    rounds, seconds = (1, 0.05) if args.quick else (args.rounds, 0.4)

    # The package of this checkout is raced, whichever Python runs it; PyTorch's settings are left at their defaults.
    os.environ["PYTHONPATH"] = str(HERE.parent)
    workers = {library: Worker(library) for library in LIBRARIES}
    results = []
    for group, cases in CASES.items():
        titles = [title for title in cases if wanted(args.patterns, group, title)]
        for threads in args.threads or (1, 2):
            if titles:
                report.heading(group, threads)
            for title in titles:
                results.append(race(workers, group, title, threads, rounds, seconds))
                report.line(results[-1])
    growth = {t: grow(workers, t, args.quick) for t in GROWTH if wanted(args.patterns, "growth", t)}
    begun = start.measure(2 if args.quick else 7) if wanted(args.patterns, "start", "") else {}
    report.growth(growth)
    report.start(begun)
    report.summary(results, begun)
    if args.markdown:
        report.write(HERE.parent / "docs" / "performance.md", results, growth, begun)


if __name__ == "__main__":
    main()
