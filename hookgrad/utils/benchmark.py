"""How long a statement takes.

Source: https://docs.pytorch.org/docs/stable/benchmark_utils.html
"""

import statistics
import timeit

__all__ = ["Measurement", "Timer"]


class Measurement:
    """Times of a statement in seconds, each of one run among `number_per_run`."""

    def __init__(self, number_per_run, raw_times, stmt="", label=None):
        self.number_per_run, self.raw_times = number_per_run, raw_times
        self.title = label or stmt
        self.times = [t / number_per_run for t in raw_times]

    @property
    def mean(self):
        """The mean of the times."""
        return statistics.mean(self.times)

    @property
    def median(self):
        """The median of the times."""
        return statistics.median(self.times)

    @property
    def iqr(self):
        """How far apart the quarters are that lie in the middle."""
        if len(self.times) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.times, n=4)
        return high - low

    def __repr__(self):
        unit, scale = next(
            ((u, s) for u, s in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3)) if self.median < 1000 * s), ("s", 1.0)
        )
        runs = f"{len(self.times)} measurement{'s' * (len(self.times) > 1)}, {self.number_per_run} runs"
        return (
            f"<hookgrad.utils.benchmark.Measurement object>\n{self.title}\n  {self.median / scale:.2f} {unit}\n  {runs}"
        )


class Timer:
    """Runs `stmt` again and again, after `setup`, with the names in `globals`.

    >>> Timer("x * 2", globals={"x": 3}).timeit(10).number_per_run
    10
    """

    def __init__(
        self,
        stmt="pass",
        setup="pass",
        global_setup="",
        timer=timeit.default_timer,
        globals=None,
        label=None,
        **options,
    ):
        self.stmt, self.label = stmt, label
        self._timer = timeit.Timer(stmt, setup, timer, globals=dict(globals or {}))

    def timeit(self, number=1_000_000):
        """One measurement of so many runs."""
        return Measurement(number, [self._timer.timeit(number)], self.stmt, self.label)

    def blocked_autorange(self, callback=None, min_run_time=0.2):
        """As many measurements as fit into `min_run_time` seconds, each long enough to be told."""
        number = 1
        while self._timer.timeit(number) < min_run_time / 1000 and number < 1_000_000:
            number *= 10
        times = [self._timer.timeit(number)]
        while sum(times) < min_run_time:
            times.append(self._timer.timeit(number))
        return Measurement(number, times, self.stmt, self.label)
