"""torch.utils.benchmark: what is measured, how it is told, and tables of it. No test looks at how long anything takes."""

import pytest

from hookgrad.utils.benchmark import Compare, Measurement, TaskSpec, Timer, select_unit


def measured(label, sub_label, description, seconds, num_threads=1):
    task = TaskSpec("s", "p", label=label, sub_label=sub_label, description=description, num_threads=num_threads)
    return Measurement(1, [seconds] * 5, task)


def test_a_measurement_tells_what_was_measured():
    calls = []
    timer = Timer("calls.append(torch.ones(1))", globals={"calls": calls}, label="L", sub_label="S", description="D")
    m = timer.timeit(10)
    assert (m.number_per_run, len(m.times), m.title, m.as_row_name, m.num_threads) == (10, 1, "L: S", "S", 1)
    assert len(calls) == 12 and m.task_spec.stmt == m.stmt and m.mean == m.median > 0 and m.iqr == 0
    assert repr(m).splitlines()[1:3] == ["L: S", "D"] and repr(m).endswith("1 measurement, 10 runs , 1 thread")
    told = []
    ranged = timer.blocked_autorange(callback=lambda number, t: told.append(number), min_run_time=0.001)
    assert told == [ranged.number_per_run] * len(ranged.times)
    assert len(timer.adaptive_autorange(threshold=1e9, min_run_time=0.0001).times) >= 4


def test_times_of_several_runs():
    m = Measurement(2, [2e-6, 4e-6, 6e-6, 8e-6, 10e-6], TaskSpec("s", "pass"))
    assert m.times == pytest.approx([1e-6, 2e-6, 3e-6, 4e-6, 5e-6]) and m.median == m.mean == pytest.approx(3e-6)
    assert m.iqr == pytest.approx(2e-6) and m.has_warnings and not m.meets_confidence()
    assert str(m).splitlines()[1:] == [
        "s",
        "  Median: 3.00 us",
        "  IQR:    2.00 us (2.00 to 4.00)",
        "  5 measurements, 2 runs per measurement, 1 thread",
    ]
    assert [select_unit(t)[0] for t in (3e-9, 3e-6, 3e-3, 3.0)] == ["ns", "us", "ms", "s"]
    (merged,) = Measurement.merge([m, m])
    assert len(merged.times) == 10 and merged.task_spec == m.task_spec


def test_a_table_compares_measurements():
    table = Compare([measured("mm", "a", "x", 1e-6), measured("mm", "a", "y", 2e-6), measured("mm", "b", "x", 3e-3)])
    table.extend_results([measured("mm", "a", "x", 5e-6, num_threads=2), measured("other", "q", "x", 1.0)])
    lines = str(table).splitlines()
    assert [line.split() for line in lines[1:7] if "threads" not in line] == [
        ["|", "x", "|", "y"],
        ["a", "|", "1.0", "|", "2.0"],
        ["b", "|", "3000.0", "|"],
        ["a", "|", "5.0", "|"],
    ]
    assert (
        lines[0].strip("[]-") == " mm " and lines[2].startswith("1 threads: -") and lines[5].startswith("2 threads: -")
    )
    assert "Times are in microseconds (us)." in lines and "Times are in seconds (s)." in lines
    table.trim_significant_figures()
    assert "3000 " in str(table)
    with pytest.raises(ValueError, match="Expected an instance of `Measurement`"):
        Compare([3])


def test_tables_have_no_colours():
    table = Compare([measured("mm", "a", "x", 1.0)])
    plain = str(table)
    table.colorize(rowwise=True)
    table.highlight_warnings()
    assert str(table) == plain
