"""What it costs to start: processes of their own, and files on disk. Import is told beyond what a bare Python takes."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

TRAINING = """
import {library} as torch
net = torch.nn.Sequential(torch.nn.Linear(784, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10))
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
x, y = torch.randn(128, 784), torch.randint(0, 10, (128,))
for _ in range(20):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
"""


#: A process says its own peak: what wait4() tells of it begins with the memory of the process that started it.
PEAK = """
try:
    with open("/proc/self/status") as f:
        print(next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM")))
except OSError:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def run(code: str) -> tuple[float, int]:
    """Processor seconds and peak memory, in bytes, of a process that runs `code`."""
    process = subprocess.Popen([sys.executable, "-c", code + PEAK], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    peak = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"failed: {code.strip().splitlines()[0]}")
    return used.ru_utime + used.ru_stime, int(peak)


def installed_size(library: str) -> int:
    spec = importlib.util.find_spec(library)
    assert spec and spec.origin
    return sum(f.stat().st_size for f in Path(spec.origin).parent.rglob("*") if f.is_file() and f.suffix != ".pyc")


def measure(rounds: int) -> dict[str, dict]:
    """Title: library: seconds or bytes. The libraries alternate; the least of several rounds counts."""
    libraries = ("hookgrad", "torch")
    codes = {
        ("bare", ""): "pass",
        **{("import", library): f"import {library}" for library in libraries},
        **{("train", library): TRAINING.format(library=library) for library in libraries},
    }
    best = {key: (float("inf"), sys.maxsize) for key in codes}
    for _ in range(rounds):
        for key, code in codes.items():
            best[key] = tuple(map(min, best[key], run(code)))
    bare_time, bare_memory = best["bare", ""]
    return {
        "import, time beyond Python's": {x: best["import", x][0] - bare_time for x in libraries},
        "import, memory beyond Python's": {x: best["import", x][1] - bare_memory for x in libraries},
        "installed size": {x: installed_size(x) for x in libraries},
        "peak memory of a training, the whole process": {x: best["train", x][1] for x in libraries},
    }
