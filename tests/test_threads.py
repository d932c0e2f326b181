"""The number of threads: as it is set, as the environment sets it, and its limits."""

import os
import subprocess
import sys

import pytest

import hookgrad as torch


@pytest.fixture(autouse=True)
def as_it_was():
    n = torch.get_num_threads()
    yield
    torch.set_num_threads(n)


def threads_under(**environment) -> int:
    clean = {k: v for k, v in os.environ.items() if k not in ("HOOKGRAD_NUM_THREADS", "OMP_NUM_THREADS")}
    code = "import hookgrad as torch; print(torch.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**clean, **environment})
    return int(done.stdout)


def processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def test_what_is_set_is_answered():
    for n in (1, 3, 2):
        torch.set_num_threads(n)
        assert torch.get_num_threads() == n


def test_the_default_is_the_number_of_processors():
    assert threads_under() == processors()


def test_the_environment_sets_the_number():
    assert threads_under(HOOKGRAD_NUM_THREADS="7") == 7
    assert threads_under(OMP_NUM_THREADS="1") == 1
    assert threads_under(OMP_NUM_THREADS="1,4") == 1
    assert threads_under(OMP_NUM_THREADS="1", HOOKGRAD_NUM_THREADS="2") == 2
    assert threads_under(OMP_NUM_THREADS="1000") == processors()
    assert threads_under(HOOKGRAD_NUM_THREADS="none") == processors()


@pytest.mark.parametrize("n", [0, -1, -(10**30)])
def test_the_number_is_positive(n):
    with pytest.raises(RuntimeError, match="set_num_threads expects a positive integer"):
        torch.set_num_threads(n)


@pytest.mark.parametrize("n", [1.0, "2", None, True])
def test_the_number_is_an_int(n):
    with pytest.raises(RuntimeError, match=f"set_num_threads expects an int, but got {type(n).__name__}"):
        torch.set_num_threads(n)
