"""What is raced. Each case is a function of the library that prepares and returns the call to be timed.

Run as `python cases.py LIBRARY CASE` it prints the seconds one call takes, as JSON.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

CASES: dict = {}


class Case(NamedTuple):
    group: str
    prepare: Callable


def case(group: str, name: str):
    def add(prepare):
        CASES[name] = Case(group, prepare)
        return prepare

    return add


# ---- Dispatch: what a call costs before any arithmetic --------------------------------------------------------------


@case("dispatch", "add of 4x4, no graph")
def _(torch):
    a, b = torch.ones(4, 4), torch.ones(4, 4)
    return lambda: a + b


@case("dispatch", "add of 4x4, with graph")
def _(torch):
    a, b = torch.ones(4, 4, requires_grad=True), torch.ones(4, 4)
    return lambda: a + b


@case("dispatch", "relu of 8, no graph")
def _(torch):
    a = torch.ones(8)
    return lambda: a.relu()


@case("dispatch", "sum of 8, with graph")
def _(torch):
    a = torch.ones(8, requires_grad=True)
    return lambda: a.sum()


@case("dispatch", "view")
def _(torch):
    a = torch.ones(4, 4)
    return lambda: a.view(16)


@case("dispatch", "x[1]")
def _(torch):
    a = torch.ones(4, 4)
    return lambda: a[1]


@case("dispatch", "module.weight")
def _(torch):
    layer = torch.nn.Linear(2, 2)
    return lambda: layer.weight


# ---- Hooks ----------------------------------------------------------------------------------------------------------


def python_module(torch):
    class Same(torch.nn.Module):
        def forward(self, x):
            return x

    return Same(), torch.ones(1)


@case("hooks", "module call, no hook")
def _(torch):
    module, x = python_module(torch)
    return lambda: module(x)


@case("hooks", "module call, forward hook")
def _(torch):
    module, x = python_module(torch)
    module.register_forward_hook(lambda m, a, o: None)
    return lambda: module(x)


@case("hooks", "module call, pre-hook and forward hook")
def _(torch):
    module, x = python_module(torch)
    module.register_forward_pre_hook(lambda m, a: None)
    module.register_forward_hook(lambda m, a, o: None)
    return lambda: module(x)


@case("hooks", "module call, ten forward hooks")
def _(torch):
    module, x = python_module(torch)
    for _ in range(10):
        module.register_forward_hook(lambda m, a, o: None)
    return lambda: module(x)


@case("hooks", "backward with a tensor hook")
def _(torch):
    x = torch.ones(1, requires_grad=True)
    x.register_hook(lambda g: None)
    return lambda: (x * 2.0).backward()


@case("hooks", "forward and backward, full backward hook")
def _(torch):
    layer = torch.nn.Linear(4, 4)
    layer.register_full_backward_hook(lambda m, gi, go: None)
    x = torch.ones(2, 4, requires_grad=True)
    return lambda: layer(x).sum().backward()


# ---- Small backward --------------------------------------------------------------------------------------------------


@case("tiny", "scalar multiply and backward")
def _(torch):
    x = torch.ones(1, requires_grad=True)
    return lambda: (x * 2.0).backward()


@case("tiny", "chain of 1,000 adds, forward and backward")
def _(torch):
    x = torch.ones(1, requires_grad=True)

    def run():
        y = x
        for _ in range(1000):
            y = y + x
        y.backward()

    return run


@case("tiny", "linear 4-4, forward and backward")
def _(torch):
    layer, x = torch.nn.Linear(4, 4), torch.ones(2, 4)
    return lambda: layer(x).sum().backward()


# ---- Training ---------------------------------------------------------------------------------------------------------


def training(torch, net, x, y, optimizer):
    loss_fn = torch.nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        loss_fn(net(x), y).backward()
        optimizer.step()

    return step


def mlp(torch, *sizes):
    nn = torch.nn
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@case("train", "MLP 64-128-10, batch 32, SGD step")
def _(torch):
    net = mlp(torch, 64, 128, 10)
    x, y = torch.randn(32, 64), torch.randint(0, 10, (32,))
    return training(torch, net, x, y, torch.optim.SGD(net.parameters(), lr=0.01))


@case("train", "MLP 784-512-512-10, batch 128, Adam step")
def _(torch):
    net = mlp(torch, 784, 512, 512, 10)
    x, y = torch.randn(128, 784), torch.randint(0, 10, (128,))
    return training(torch, net, x, y, torch.optim.Adam(net.parameters(), lr=0.001))


@case("train", "LeNet 28x28, batch 32, SGD step")
def _(torch):
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    x, y = torch.randn(32, 1, 28, 28), torch.randint(0, 10, (32,))
    return training(torch, net, x, y, torch.optim.SGD(net.parameters(), lr=0.01))


@case("train", "SGD step over 20 small parameters")
def _(torch):
    parameters = [torch.ones(8, requires_grad=True) for _ in range(20)]
    for p in parameters:
        p.grad = torch.ones(8)
    return torch.optim.SGD(parameters, lr=0.01).step


@case("train", "Adam step over 20 small parameters")
def _(torch):
    parameters = [torch.ones(8, requires_grad=True) for _ in range(20)]
    for p in parameters:
        p.grad = torch.ones(8)
    return torch.optim.Adam(parameters, lr=0.01).step


# ---- Kernels -----------------------------------------------------------------------------------------------------------


def elementwise(name):
    def prepare(torch):
        x = torch.rand(65536) + 0.5
        return getattr(x, name)

    return prepare


for op in ("exp", "log", "tanh", "sigmoid", "erf", "sqrt", "relu", "sum"):
    case("kernels", f"{op} of 65,536")(elementwise(op))


@case("kernels", "add of 1,000,000")
def _(torch):
    a, b = torch.ones(1_000_000), torch.ones(1_000_000)
    return lambda: a + b


@case("kernels", "softmax of 256x512")
def _(torch):
    x = torch.randn(256, 512)
    return lambda: x.softmax(1)


@case("kernels", "matmul 16x16")
def _(torch):
    a, b = torch.randn(16, 16), torch.randn(16, 16)
    return lambda: a @ b


@case("kernels", "matmul 256x256")
def _(torch):
    a, b = torch.randn(256, 256), torch.randn(256, 256)
    return lambda: a @ b


@case("kernels", "conv2d 8x3x32x32 to 16, 3x3, no graph")
def _(torch):
    x, w = torch.randn(8, 3, 32, 32), torch.randn(16, 3, 3, 3)
    return lambda: torch.nn.functional.conv2d(x, w, padding=1)


# ---- Start -------------------------------------------------------------------------------------------------------------


@case("start", "start Python and import")
def _(torch):
    name = torch.__name__
    return lambda: subprocess.run([sys.executable, "-c", f"import {name}"], check=True)


# ---- Timing ------------------------------------------------------------------------------------------------------------


def clock(call) -> Callable:
    """Processor time; for a case that starts processes, the time on the wall."""
    return time.perf_counter if "subprocess" in call.__code__.co_names else time.process_time


def measure(call, seconds: float = 0.3) -> float:
    """Seconds of one call: the best of several runs, each long enough for the clock."""
    now = clock(call) if hasattr(call, "__code__") else time.process_time
    call()
    n = 1
    while True:
        start = now()
        for _ in range(n):
            call()
        took = now() - start
        if took > seconds / 8:
            break
        n = max(n * 2, int(n * seconds / 6 / max(took, 1e-9)))
    best = took / n
    for _ in range(4):
        start = now()
        for _ in range(n):
            call()
        best = min(best, (now() - start) / n)
    return best


def main() -> None:
    library, name = sys.argv[1:]
    torch = __import__(library)
    __import__(f"{library}.nn"), __import__(f"{library}.optim")
    torch.manual_seed(0)
    print(json.dumps(measure(CASES[name].prepare(torch))))


if __name__ == "__main__":
    main()
