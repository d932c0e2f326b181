"""Backward within backward and from several threads."""

import threading

import pytest

import hookgrad as torch


def leaf(*values):
    return torch.tensor(values, requires_grad=True)


def test_backward_from_within_a_hook():
    x, y = leaf(2.0), leaf(3.0)

    def inner(grad):
        with torch.enable_grad():
            (y * y).backward()
        return grad * 2

    z = x * 1
    z.register_hook(inner)
    z.backward()
    assert x.grad.item() == 2.0 and y.grad.item() == 6.0


def test_reentrant_backward_over_the_same_graph():
    x = leaf(2.0)
    y = x * x
    z = y * 3
    seen = []

    def again(grad):
        if not seen:
            seen.append(1)
            z.backward(retain_graph=True)

    y.register_hook(again)
    z.backward(retain_graph=True)
    assert x.grad.item() == 24.0


def test_backward_from_several_threads():
    x = leaf(*[1.0] * 8)
    outs = [(x * k).sum() for k in range(1, 9)]
    threads = [threading.Thread(target=o.backward) for o in outs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert x.grad.tolist() == [36.0] * 8


def test_an_exception_leaves_the_graph_usable():
    x = leaf(2.0)
    y = x * x

    def fail(grad):
        raise ValueError("from the hook")

    handle = y.register_hook(fail)
    with pytest.raises(ValueError, match="from the hook"):
        (y * 2).backward(retain_graph=True)
    handle.remove()
    (y * 2).backward()
    assert x.grad.item() == 8.0


def test_gradient_modes_belong_to_threads():
    seen = []
    with torch.no_grad():
        t = threading.Thread(target=lambda: seen.append(torch.is_grad_enabled()))
        t.start()
        t.join()
        assert not torch.is_grad_enabled()
    assert seen == [True]


def test_reentrant_backward_to_any_depth():
    class Deeper(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = x.detach() - 1
            return ctx.x.clone()

        @staticmethod
        def backward(ctx, grad):
            if ctx.x >= 0:
                with torch.enable_grad():
                    Deeper.apply(ctx.x.requires_grad_()).sum().backward()
            elif fail:
                raise KeyError("at the bottom")
            else:
                threads.add(threading.get_ident())
            return grad

    threads, fail = set(), False
    x = torch.tensor(3000.0, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        Deeper.apply(x).sum().backward()
    assert x.grad == 1 and len(threads) == 1
    fail = True
    with pytest.raises(KeyError, match="at the bottom"):
        Deeper.apply(x).sum().backward()
    fail = False
    Deeper.apply(x).sum().backward()
    assert x.grad == 2


def test_whether_there_are_several_threads_is_remembered():
    assert torch._C._is_multithreading_enabled()
    with torch.autograd.set_multithreading_enabled(False):
        assert not torch._C._is_multithreading_enabled()
    torch.autograd.set_multithreading_enabled(False)
    assert not torch._C._is_multithreading_enabled()
    torch.autograd.set_multithreading_enabled(True)
