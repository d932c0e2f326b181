"""How long a statement takes.

Source: https://docs.pytorch.org/docs/stable/benchmark_utils.html
"""

import math
import statistics
import timeit
from dataclasses import dataclass
from typing import Any

import hookgrad

__all__ = ["Compare", "Measurement", "TaskSpec", "Timer", "select_unit", "timer"]

timer = timeit.default_timer
_UNITS = {"ns": ("nanoseconds", 1e-9), "us": ("microseconds", 1e-6), "ms": ("milliseconds", 1e-3), "s": ("seconds", 1)}


def select_unit(t):
    """The unit that fits so many seconds, and its length.

    >>> select_unit(0.002)
    ('ms', 0.001)
    """
    unit = {-3: "ns", -2: "us", -1: "ms"}.get(math.floor(math.log10(t) / 3), "s")
    return unit, _UNITS[unit][1]


@dataclass(frozen=True)
class TaskSpec:
    """What was measured, and what it is called."""

    stmt: str
    setup: str
    global_setup: str = ""
    label: Any = None
    sub_label: Any = None
    description: Any = None
    env: Any = None
    num_threads: int = 1

    @property
    def title(self):
        """Its label, or the statement."""
        return (self.label or self.stmt) + (f": {self.sub_label}" if self.sub_label else "")


class Measurement:
    """Times of a statement in seconds, each of one run among `number_per_run`; it has the attributes of its TaskSpec."""

    def __init__(self, number_per_run, raw_times, task_spec, metadata=None):
        self.number_per_run, self.raw_times = number_per_run, raw_times
        self.task_spec, self.metadata = task_spec, metadata
        self.times = [t / number_per_run for t in raw_times]

    def __getattr__(self, name):
        if name.startswith("__") or name == "task_spec":
            raise AttributeError(name)
        return getattr(self.task_spec, name)

    @property
    def as_row_name(self):
        """What names its row in a table."""
        return self.sub_label or self.stmt or "[Unknown]"

    @property
    def mean(self):
        """The mean of the times."""
        return statistics.mean(self.times)

    @property
    def median(self):
        """The median of the times."""
        return statistics.median(self.times)

    def _quarters(self):
        if len(self.times) < 2:
            return self.times[0], self.times[0]
        low, _, high = statistics.quantiles(self.times, n=4, method="inclusive")
        return low, high

    @property
    def iqr(self):
        """How far apart the quarters are that lie in the middle."""
        low, high = self._quarters()
        return high - low

    @property
    def has_warnings(self):
        """Are the times so far apart that they say little?"""
        return not self.meets_confidence(0.25)

    def meets_confidence(self, threshold=0.1):
        """Are half of the times within that part of the median?"""
        return self.iqr / self.median < threshold

    @staticmethod
    def merge(measurements):
        """One measurement for each thing that was measured, of all its times."""
        by_task = {}
        for measurement in measurements:
            by_task.setdefault(measurement.task_spec, []).append(measurement)
        return [Measurement(1, [t for m in found for t in m.times], task) for task, found in by_task.items()]

    def __repr__(self):
        unit, scale = select_unit(self.median)
        head = ["<torch.utils.benchmark.utils.common.Measurement object>", self.title]
        if self.description and self.label:
            head.append(self.description)
        if self.setup not in ("", "pass"):
            head.append(f"setup: {self.setup}" if "\n" not in self.setup else f"setup:\n{self.setup}")
        threads = f"{self.num_threads} thread{'s' * (self.num_threads > 1)}"
        if len(self.times) == 1:
            rest = [f"{self.median / scale:.2f} {unit}", f"1 measurement, {self.number_per_run} runs , {threads}"]
        else:
            low, high = self._quarters()
            rest = [
                f"Median: {self.median / scale:.2f} {unit}",
                f"IQR:    {(high - low) / scale:.2f} {unit} ({low / scale:.2f} to {high / scale:.2f})",
                f"{len(self.times)} measurements, {self.number_per_run} runs per measurement, {threads}",
            ]
        return "\n".join(head + [f"  {line}" for line in rest])


class Timer:
    """Runs `stmt` again and again on `num_threads` threads, after `setup`, with the names in `globals`.

    >>> Timer("x * 2", globals={"x": 3}).timeit(10).number_per_run
    10
    """

    def __init__(
        self,
        stmt="pass",
        setup="pass",
        global_setup="",
        timer=timer,
        globals=None,
        label=None,
        sub_label=None,
        description=None,
        env=None,
        num_threads=1,
        language="python",
    ):
        self._task_spec = TaskSpec(stmt, setup, global_setup, label, sub_label, description, env, num_threads)
        self._timer = timeit.Timer(stmt, setup, timer, globals={**(globals or {}), "torch": hookgrad})

    def _time(self, number):
        before = hookgrad.get_num_threads()
        hookgrad.set_num_threads(self._task_spec.num_threads)
        try:
            return max(self._timer.timeit(number), 1e-9)
        finally:
            hookgrad.set_num_threads(before)

    def timeit(self, number=1_000_000):
        """One measurement of so many runs."""
        self._time(max(number // 100, 2))
        return Measurement(number, [self._time(number)], self._task_spec)

    def _enough(self, min_run_time):
        """How many runs are long enough to be told."""
        number = 1
        while self._time(number) < min_run_time / 1000 and number < 1_000_000:
            number *= 10
        return number

    def blocked_autorange(self, callback=None, min_run_time=0.2):
        """As many measurements as fit into `min_run_time` seconds, each long enough to be told."""
        number, times = self._enough(min_run_time), []
        while not times or sum(times) < min_run_time:
            times.append(self._time(number))
            if callback is not None:
                callback(number, times[-1])
        return Measurement(number, times, self._task_spec)

    def adaptive_autorange(self, threshold=0.1, *, min_run_time=0.01, max_run_time=10.0, callback=None):
        """Measurements until half of them are within `threshold` of the median, for `max_run_time` seconds at most."""
        number, times = self._enough(min_run_time), []
        while True:
            times.append(self._time(number))
            if callback is not None:
                callback(number, times[-1])
            found, spent = Measurement(number, times, self._task_spec), sum(times)
            if spent >= max_run_time or (
                spent >= min_run_time and len(times) > 3 and found.meets_confidence(threshold)
            ):
                return found


class Compare:
    """Tables of measurements: one for each label, with a row for each sub_label and a column for each description."""

    def __init__(self, results):
        self._results, self._digits = [], None
        self.extend_results(results)

    def extend_results(self, results):
        """Take in more measurements; ValueError for anything else."""
        for result in results:
            if not isinstance(result, Measurement):
                raise ValueError(f"Expected an instance of `Measurement`, got {type(result)} instead.")
        self._results.extend(results)

    def trim_significant_figures(self):
        """Show whole units only."""
        self._digits = 0

    def colorize(self, rowwise=False):
        """Nothing: the tables have no colours."""

    highlight_warnings = colorize

    def print(self):
        """Write the tables to standard output."""
        print(str(self))

    def __str__(self):
        by_label = {}
        for result in Measurement.merge(self._results):
            by_label.setdefault(result.label, []).append(result)
        return "\n".join(self._table(label, results) for label, results in by_label.items())

    def _table(self, label, results):
        unit, scale = select_unit(min(result.median for result in results))
        digits = 1 if self._digits is None else self._digits
        columns = list(dict.fromkeys(result.description for result in results))
        cells = {(r.num_threads, r.as_row_name, r.description): f"{r.median / scale:.{digits}f}" for r in results}
        rows = list(dict.fromkeys((r.num_threads, r.as_row_name) for r in results))
        first = max(len(name) for _, name in rows) + 6
        widths = [
            max(len(column or ""), *(len(cells.get((*row, column), "")) for row in rows)) + 2 for column in columns
        ]

        def line(name, values):
            return "  |".join([name.rjust(first), *(value.center(w) for value, w in zip(values, widths))])

        head = line("", [column or "" for column in columns])
        title = f" {label} " if label else ""
        lines = [f"[{title.center(len(head) - 2, '-')}]", head]
        threads = None
        for row in rows:
            if row[0] != threads:
                threads = row[0]
                lines.append(f"{threads} threads: ".ljust(len(head), "-"))
            values = [cells.get((*row, column), "").rjust(w) for column, w in zip(columns, widths)]
            lines.append(line(row[1], values))
        return "\n".join([*lines, "", f"Times are in {_UNITS[unit][0]} ({unit}).", ""])
