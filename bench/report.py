"""What a race is told as: lines while it runs, a summary, and the tables of docs/performance.md."""

import datetime
import math
import os
import platform
import sys
from pathlib import Path

#: Group: the geometric mean of the ratios that it may have on one thread, and whether no case may be above 1.
TARGETS = {
    "dispatch": (0.08, False), "tiny": (0.05, False), "train": (0.50, True), "infer": (0.75, True),
    "kernels": (0.50, True), "start": (0.03, False),
}  # fmt: skip


def time_words(seconds: float) -> str:
    if math.isnan(seconds):
        return "-"
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def size_words(size: float) -> str:
    for unit, of in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= of:
            return f"{size / of:.3g} {unit}"
    return f"{size:.0f} B"


def mean(ratios: list) -> float:
    """The geometric mean."""
    return math.exp(sum(math.log(max(r, 1e-6)) for r in ratios) / len(ratios)) if ratios else math.nan


def quotient(pair: dict) -> float:
    return pair["hookgrad"] / pair["torch"] if pair["torch"] > 0 else math.nan


def words(value: float, title: str) -> str:
    return time_words(value) if "time" in title else size_words(value)


# ---- While it runs --------------------------------------------------------------------------------------------------

ROW = "{:<64} {:>9} {:>9} {:>6}  {}"


def heading(group: str, threads: int) -> None:
    print()
    print(ROW.format(f"{group}, {threads} thread{'s' * (threads > 1)}", "hookgrad", "PyTorch", "ratio", ""), flush=True)


def line(result) -> None:
    ours, theirs = (time_words(result.seconds[library]) for library in ("hookgrad", "torch"))
    ratio = "-" if math.isnan(result.ratio) else f"{result.ratio:.3f}"
    note = [result.wrong] if result.wrong else []
    if result.group == "train" and not math.isnan(result.ratio):
        note.append(f"memory {size_words(result.peak['hookgrad'])}, PyTorch {size_words(result.peak['torch'])}")
    print(ROW.format(result.title, ours, theirs, ratio, "; ".join(note)), flush=True)


def growth(growth: dict) -> None:
    if growth:
        print("\ngrowth: largest size; each library's time at it over that at the smallest, a thing; bytes a thing")
    for cells in growth_cells(growth):
        print("{:<44} {:>11}  {:>10} x{:<6} {:>10} x{:<6} {:>9} {:>9}".format(*cells), flush=True)


def growth_cells(growth: dict) -> list:
    """For each case: title, n, then of each library time a thing and growth, then bytes a thing of each."""
    cells = []
    for title, found in growth.items():
        row: list = [title, f"{max(n for n, *_ in found['hookgrad']):,}"]
        sizes = []
        for library in ("hookgrad", "torch"):
            first, last = found[library][0], found[library][-1]
            row += [time_words(last[1]), f"{last[1] / first[1]:.2f}"]
            sizes.append(f"{last[2]:.0f}" if last[2] else "")
        cells.append((*row, *sizes))
    return cells


def start(begun: dict) -> None:
    if begun:
        print("\n" + ROW.format("start", "hookgrad", "PyTorch", "ratio", ""))
    for title, pair in begun.items():
        ours, theirs = words(pair["hookgrad"], title), words(pair["torch"], title)
        print(ROW.format(title, ours, theirs, f"{quotient(pair):.3f}", ""), flush=True)


# ---- What it comes to -----------------------------------------------------------------------------------------------


def verdicts(results: list, begun: dict) -> list:
    """Rows of group, threads, number of cases, geometric mean, what it may be, the cases above one (worst first)."""
    rows = []
    for group, (target, strict) in TARGETS.items():
        if group == "start" and begun:
            rows.append((group, 1, len(begun), mean([quotient(pair) for pair in begun.values()]), target, []))
        for threads in (1, 2):
            of = [r for r in results if r.group == group and r.threads == threads and not math.isnan(r.ratio)]
            if of:
                slow = sorted((r for r in of if r.ratio > 1.0), key=lambda r: -r.ratio) if strict or threads > 1 else []
                rows.append(
                    (group, threads, len(of), mean([r.ratio for r in of]), target if threads == 1 else None, slow)
                )
    return rows


def summary(results: list, begun: dict) -> None:
    print()
    for group, threads, n, value, target, slow in verdicts(results, begun):
        of = "" if target is None else f", wanted {target:.2f}: {'reached' if value <= target else 'MISSED'}"
        print(f"{group}, {threads} thread{'s' * (threads > 1)}: geometric mean {value:.3f} of {n}{of}")
        for r in slow:
            print(f"    above one: {r.ratio:.2f} {r.title}")
    for r in results:
        if r.group == "train" and r.threads == 1 and r.peak["hookgrad"] > r.peak["torch"] + (1 << 20):
            print(
                f"more memory than PyTorch: {r.title}: {size_words(r.peak['hookgrad'])}, {size_words(r.peak['torch'])}"
            )
    for r in results:
        if r.wrong:
            print(f"WRONG: {r.group}, {r.threads} threads, {r.title}: {r.wrong}")


# ---- docs/performance.md --------------------------------------------------------------------------------------------

BEGIN, END = "<!-- written by bench/race.py --markdown -->", "<!-- end of what is written -->"


def machine() -> str:
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as f:
            model = next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{model}, {os.cpu_count()} cores; Python {version}; {datetime.date.today().isoformat()}"


def table(head: tuple, rows: list) -> list:
    return [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1), *(f"| {' | '.join(r)} |" for r in rows), ""]


def tables(results: list, growth: dict, begun: dict) -> list:
    lines = [f"Measured on: {machine()}.", ""]
    rows = [
        (group, str(threads), str(n), f"{value:.3f}", "" if target is None else f"{target:.2f}", str(len(slow)))
        for group, threads, n, value, target, slow in verdicts(results, begun)
    ]
    lines += table(("group", "threads", "cases", "geometric mean", "wanted", "cases above 1"), rows)
    for group in TARGETS:
        by_title: dict = {}
        for r in results:
            if r.group == group:
                by_title.setdefault(r.title, {})[r.threads] = r
        if not by_title:
            continue
        head = ["case", "hookgrad", "PyTorch", "ratio", "ratio, 2 threads"] + ["peak memory, MiB"] * (group == "train")
        rows = []
        for title, of in by_title.items():
            one = of.get(1) or of[2]
            ratios = [f"{of[n].ratio:.3f}" if n in of else "" for n in (1, 2)]
            row = [title, *(time_words(one.seconds[library]) for library in ("hookgrad", "torch")), *ratios]
            if group == "train":
                row.append(" / ".join(f"{one.peak[library] / 2**20:.1f}" for library in ("hookgrad", "torch")))
            rows.append(tuple(row))
        lines += [f"### {group}", "", *table(tuple(head), rows)]
    if begun:
        rows = [(t, words(p["hookgrad"], t), words(p["torch"], t), f"{quotient(p):.3f}") for t, p in begun.items()]
        lines += ["### start", "", *table(("", "hookgrad", "PyTorch", "ratio"), rows)]
    if growth:
        head = ("case", "largest n", "hookgrad", "grew by", "PyTorch", "grew by", "bytes", "PyTorch's bytes")
        lines += ["### growth", "", *table(head, growth_cells(growth))]
    return lines


def write(path: Path, results: list, growth: dict, begun: dict) -> None:
    """Replaces what stands between the two marks in the file."""
    text = path.read_text()
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    path.write_text("\n".join([before + BEGIN, "", *tables(results, growth, begun), after]))
