"""Threads that share modules and graphs, graphs and modules of great depth, Ctrl-C at any moment: all stays usable.

HOOKGRAD_DEEP says how many nodes a deep graph has (`make memory`: a million).
"""

import gc
import math
import os
import signal
import threading
import time
import weakref

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.autograd import Function

DEEP = int(os.environ.get("HOOKGRAD_DEEP", "50000"))


def leaf(*values):
    return torch.tensor([float(v) for v in values], requires_grad=True)


def in_threads(work, n=4):
    """Run the work in n threads at once; what they raise is raised here."""
    errors = []

    def guarded():
        try:
            work()
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=guarded) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


# ---- Threads ------------------------------------------------------------------------------------------------------------


def test_threads_run_one_model_while_another_hooks_it():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 1))
    calls, done = [], threading.Event()
    model[1].register_forward_hook(lambda module, args, output: calls.append("forward"))
    model[1].register_full_backward_hook(lambda module, grad_input, grad_output: calls.append("backward"))

    def hook_and_unhook():
        while not done.is_set():
            handles = []
            for module in model.modules():
                handles.append(module.register_forward_pre_hook(lambda module, args: None, prepend=True))
                handles.append(module.register_forward_hook(lambda module, args, output: None))
                handles.append(module.register_full_backward_hook(lambda module, gi, go: None))
            for p in model.parameters():
                handles.append(p.register_hook(lambda grad: None))
                handles.append(p.register_post_accumulate_grad_hook(lambda p: None))
            for handle in handles:
                handle.remove()

    def work():
        for _ in range(50):
            x = torch.ones(2, 4, requires_grad=True)
            model(x).sum().backward()
            assert x.grad is not None

    changing = threading.Thread(target=hook_and_unhook)
    changing.start()
    try:
        in_threads(work)
    finally:
        done.set()
        changing.join()
    assert calls.count("forward") == calls.count("backward") == 200
    assert len(model[0]._forward_hooks) == 0 and not model[0].weight._backward_hooks


def test_threads_run_one_graph():
    x = torch.ones(100, requires_grad=True)
    seen = []
    y = (x * 2).exp()
    y.register_hook(seen.append)
    loss = y.sum()

    def work():
        for _ in range(50):
            loss.backward(retain_graph=True)

    in_threads(work)
    assert len(seen) == 200
    assert abs(x.grad[0].item() / (200 * 2 * math.exp(2)) - 1) < 1e-3


def test_each_thread_has_its_own_modes_and_saved_tensor_hooks():
    packed, ready, go_on = [], threading.Event(), threading.Event()

    def other():
        assert torch.is_grad_enabled()
        ready.set()
        go_on.wait()
        leaf(1).exp()

    thread = threading.Thread(target=other)
    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t), lambda p: p):
        thread.start()
        ready.wait()
        go_on.set()
        thread.join()
    assert not packed


def test_a_graph_dies_in_another_thread_than_made_it():
    def make():
        x = leaf(1)
        y = x * 2
        y.register_hook(lambda grad, y=y: None)
        made.append(y)

    made = []
    in_threads(make)
    seen = [weakref.ref(y) for y in made]
    for y in made:
        y.backward(retain_graph=True)
    in_threads(made.clear, 1)
    del y
    gc.collect()
    assert [ref() for ref in seen] == [None] * 4


# ---- Depth --------------------------------------------------------------------------------------------------------------


def test_a_deep_graph_with_hooks():
    y, calls = leaf(1), []
    x = y
    for i in range(DEEP):
        y = y + 1
        if i % 1000 == 0:
            y.register_hook(calls.append)
    y.backward()
    assert x.grad.item() == 1.0 and len(calls) == DEEP // 1000
    seen = weakref.ref(y)
    del y
    assert seen() is None


def test_a_deep_graph_dies_with_hooks_that_hold_it():
    y = leaf(1)
    for i in range(DEEP):
        y = y * 1.0
        if i % 1000 == 0:
            y.grad_fn.register_hook(lambda grad_input, grad_output, y=y: None)
    seen = weakref.ref(y)
    del y
    gc.collect()
    assert seen() is None


class Doubled(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0]


@pytest.mark.parametrize("run", [True, False])
def test_a_long_chain_of_functions(run):
    x = y = leaf(1)
    for _ in range(DEEP // 10):
        y = Doubled.apply(y)
    if run:
        y.backward()
        assert x.grad.item() == 1.0
    seen = weakref.ref(y)
    del y
    gc.collect()
    assert seen() is None


def test_modules_within_modules():
    depth, calls = 100, []
    model = nn.Identity()
    for _ in range(depth):
        model = nn.Sequential(model)
    for module in model.modules():
        module.register_forward_hook(lambda module, args, output: calls.append("forward"))
        module.register_full_backward_hook(lambda module, gi, go: calls.append("backward"))
    model(leaf(1)).backward()
    assert calls == ["forward"] * (depth + 1) + ["backward"] * (depth + 1)
    seen = weakref.ref(model)
    del model, module
    gc.collect()
    assert seen() is None


class Nested(Function):
    """A backward that runs a backward, as deep as n says."""

    @staticmethod
    def forward(ctx, x, n):
        ctx.n = n
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        if ctx.n:
            with torch.enable_grad():
                Nested.apply(leaf(1), ctx.n - 1).backward()
        return grad, None


def test_backward_within_backward():
    x = leaf(1)
    Nested.apply(x, 100).backward()
    assert x.grad.item() == 1.0
    calls = []

    def again(grad):
        calls.append(grad)
        if len(calls) < 100:
            with torch.enable_grad():
                z = leaf(1)
                z.register_hook(again)
                (z * 2).backward()

    x.register_hook(again)
    (x * 2).backward()
    assert len(calls) == 100 and x.grad.item() == 3.0


# ---- Ctrl-C -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ctrl_c():
    """Python's own answer to SIGINT, also where the process was started in the background, which ignores it."""
    was = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, was)


def interrupt(*args):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)


@pytest.mark.parametrize(
    "register",
    [
        lambda model, x: model.register_forward_pre_hook(interrupt),
        lambda model, x: model[0].register_forward_hook(interrupt, always_call=True),
        lambda model, x: model[1].register_full_backward_pre_hook(interrupt),
        lambda model, x: model.register_full_backward_hook(interrupt),
        lambda model, x: x.register_hook(interrupt),
        lambda model, x: model[0].weight.register_post_accumulate_grad_hook(interrupt),
        lambda model, x: torch.autograd.graph.register_multi_grad_hook([x, model[0].weight], interrupt),
    ],
)
def test_an_interrupt_in_a_hook(register, ctrl_c):
    model, x = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), torch.ones(1, 2, requires_grad=True)
    handle = register(model, x)
    with pytest.raises(KeyboardInterrupt):
        model(x).sum().backward()
    handle.remove()
    model.zero_grad()
    x.grad = None
    assert torch.is_grad_enabled() and torch._C._current_graph_task_id() == -1
    model(x).sum().backward()
    assert x.grad is not None and model[0].weight.grad is not None


def test_an_interrupt_anywhere_in_backward(ctrl_c):
    x = y = leaf(1)
    for _ in range(2000):
        y = y * 1
        y.register_hook(lambda grad: None)
    for _ in range(5):
        timer = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            for _ in range(10_000):  # until it comes
                y.backward(retain_graph=True)
        timer.join()
    x.grad = None
    y.backward()
    assert x.grad.item() == 1.0 and torch.is_grad_enabled()
