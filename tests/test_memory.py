"""Thousands of runs of each example in one process leave its memory where it was."""

import os
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("[0-9]*.py"))
ITERATIONS = int(os.environ.get("HOOKGRAD_ITERATIONS", "600"))

on_linux = pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="asks Linux how much memory the process holds"
)

# Runs the example again and again with its output swallowed, and prints how many KiB the process grew by between the
# first third of the runs and the last. The collector runs as often as Python likes: cycles must go by its rules.
LOOP = """
import contextlib, gc, io, sys
from hookgrad import _standin
_standin.install()

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4

path, n = sys.argv[1], int(sys.argv[2])
code = compile(open(path).read(), path, "exec")

def run(times):
    for _ in range(times):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, {"__name__": "__main__"})

run(n // 3)
before = resident()
run(n - n // 3)
print(resident() - before)
"""


@on_linux
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_memory_is_flat(example, run_python):
    done = run_python("-c", LOOP, example, ITERATIONS)
    assert done.returncode == 0, done.stderr
    # Room for the allocator's habits (arenas, caches); over 10,000 runs it still shows a leak of 100 bytes a run.
    assert int(done.stdout) < 512


# A freed block of 24 MiB makes malloc keep what is smaller, and whatever lies above holds it there.
GIVEN_BACK = """
import hookgrad as torch

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4

x = torch.zeros(6 << 20)
del x
torch.empty_cache()
before = resident()
many = [torch.zeros(2 << 20) for _ in range(8)]
above = torch.zeros(1 << 18)
assert resident() - before > 60 << 10
del many
torch.empty_cache()
print(resident() - before)
"""


@on_linux
def test_large_blocks_go_back_to_the_system(run_python):
    done = run_python("-c", GIVEN_BACK)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 4 << 10
