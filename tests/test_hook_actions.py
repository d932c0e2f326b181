"""Every kind of hook does what it should not: nothing crashes, nothing stays alive."""

import gc
import threading
import weakref

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.autograd import graph

ROUNDS = 20


class Stopped(Exception):
    pass


# What a hook does: it gets its handle, a list that owns what it is registered on, and a way to register one more.


def removes_itself(handle, owner, add):
    handle.remove()


def adds_another(handle, owner, add):
    add(lambda *args: None)


def raises(handle, owner, add):
    raise Stopped


def calls_backward(handle, owner, add):
    with torch.enable_grad():
        z = torch.ones(2, requires_grad=True)
        (z * z).sum().backward()


def drops_its_owner(handle, owner, add):
    owner.clear()
    gc.collect(0)


def runs_a_thread(handle, owner, add):
    thread = threading.Thread(target=calls_backward, args=(handle, owner, add))
    thread.start()
    thread.join()


ACTIONS = [removes_itself, adds_another, raises, calls_backward, drops_its_owner, runs_a_thread]


# A way to set each kind of hook off: gives what to call, and a weak reference to what must be gone afterwards.


def on(owner, register, action):
    """Register a hook that acts on `owner`, which only its own list holds from now on."""
    box = [owner]
    state = {}

    def hook(*args):
        action(state["handle"], box, lambda f: register(box[0], f) if box else None)

    state["handle"] = register(owner, hook)
    return box


def a_result(action):
    y = torch.ones(2, requires_grad=True) * 2
    on(y, lambda t, f: t.register_hook(f), action)
    return y.sum().backward, weakref.ref(y)


def a_leaf(action):
    x = torch.ones(2, requires_grad=True)
    on(x, lambda t, f: t.register_hook(f), action)
    return (x * 2).sum().backward, weakref.ref(x)


def an_accumulated_leaf(action):
    x = torch.ones(2, requires_grad=True)
    on(x, lambda t, f: t.register_post_accumulate_grad_hook(f), action)
    return (x * 2).sum().backward, weakref.ref(x)


def a_node(action):
    y = torch.ones(2, requires_grad=True).exp()
    on(y.grad_fn, lambda n, f: n.register_hook(f), action)
    return y.sum().backward, weakref.ref(y.grad_fn)


def a_node_before(action):
    y = torch.ones(2, requires_grad=True).exp()
    on(y.grad_fn, lambda n, f: n.register_prehook(f), action)
    return y.sum().backward, weakref.ref(y.grad_fn)


def several_tensors(action):
    x = torch.ones(2, requires_grad=True)
    on(x, lambda t, f: graph.register_multi_grad_hook((t,), f), action)
    return (x * 2).sum().backward, weakref.ref(x)


def a_module(register):
    def make(action):
        m = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
        box = on(m, lambda m, f: getattr(m[0], register)(f), action)
        ref = weakref.ref(m)
        return lambda: box[0](torch.ones(1, 2, requires_grad=True)).sum().backward(), ref

    make.__name__ = register
    return make


KINDS = [
    a_result, a_leaf, an_accumulated_leaf, a_node, a_node_before, several_tensors,
    *map(a_module, ("register_forward_pre_hook", "register_forward_hook", "register_full_backward_pre_hook",
                    "register_full_backward_hook")),
]  # fmt: skip


@pytest.mark.parametrize("action", ACTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", KINDS, ids=lambda f: f.__name__)
def test_hooks_that_meddle(kind, action):
    refs = []
    for _ in range(ROUNDS):
        run, ref = kind(action)
        try:
            run()
        except Stopped:
            assert action is raises
        refs.append(ref)
        del run
    gc.collect()
    assert [ref() for ref in refs] == [None] * ROUNDS
