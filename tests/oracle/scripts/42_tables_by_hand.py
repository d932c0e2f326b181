"""Hooks moved, taken out, put back and replaced by hand, as libraries do it: who is called then, in which order, with what."""

from collections import OrderedDict

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

called = []


def hook(name):
    def note(*args):
        called.append(f"{name}{len(args)}")

    note.__name__ = name
    return note


def hooked():
    m, ids = nn.ReLU(), {}
    for name in "abcd":
        ids[name] = m.register_forward_hook(hook(name), with_kwargs=name in "bc", always_call=name == "d").id
    for name in "pqr":
        ids[name] = m.register_forward_pre_hook(hook(name), with_kwargs=name == "q").id
    for name in "xyz":
        ids[name] = m.register_full_backward_hook(hook(name)).id
    for name in "uv":
        ids[name] = m.register_full_backward_pre_hook(hook(name)).id
    return m, ids


def assign(m, name, value):
    setattr(m, name, value)


def through_dict(m, name, value):
    m.__dict__[name] = value


def emptied(m, name):
    kept = dict(getattr(m, name))
    getattr(m, name).clear()
    m(torch.ones(1))
    getattr(m, name).update(kept)


def exchanged(m, name):
    kept = getattr(m, name)
    setattr(m, name, OrderedDict())
    m(torch.ones(1))
    setattr(m, name, kept)


def replaced(m, name, copy):
    kept = copy(getattr(m, name))
    getattr(m, name).clear()
    setattr(m, name, kept)


def popped(m, name):
    table = getattr(m, name)
    for key in list(table):
        table[key] = table.pop(key)


def turned(table):
    return OrderedDict(reversed(list(table.items())))


CASES = [
    lambda m, ids: None,
    lambda m, ids: m._forward_hooks.move_to_end(ids["a"]),
    lambda m, ids: m._forward_hooks.move_to_end(ids["d"], last=False),
    lambda m, ids: m._backward_hooks.move_to_end(ids["x"]),
    lambda m, ids: m._backward_hooks.move_to_end(ids["z"], False),
    lambda m, ids: m._backward_pre_hooks.move_to_end(ids["u"]),
    lambda m, ids: m._forward_pre_hooks.move_to_end(ids["p"]),
    lambda m, ids: m._forward_hooks.move_to_end(10**9),
    lambda m, ids: m._forward_hooks.__delitem__(ids["b"]),
    lambda m, ids: m._forward_hooks_with_kwargs.__delitem__(ids["b"]),
    lambda m, ids: m._forward_hooks_with_kwargs.update({ids["a"]: True}),
    lambda m, ids: m._forward_hooks_with_kwargs.update({ids["a"]: False}),
    lambda m, ids: m._forward_hooks_with_kwargs.clear(),
    lambda m, ids: m._forward_hooks.popitem()[1].__name__,
    lambda m, ids: m._forward_hooks.popitem(last=False)[1].__name__,
    lambda m, ids: m._forward_hooks.pop(ids["c"]).__name__,
    lambda m, ids: m._forward_hooks.update({ids["b"]: hook("B")}),
    lambda m, ids: m._forward_hooks.update({"name": hook("named")}),
    lambda m, ids: (
        (m._forward_hooks_with_kwargs.update(late=True), m._forward_hooks.update(late=hook("late"))) and None
    ),
    lambda m, ids: m._forward_hooks.setdefault(10**6, hook("new")).__name__,
    lambda m, ids: assign(m, "_forward_hooks", OrderedDict({ids["c"]: hook("C"), 10**6: hook("new")})),
    lambda m, ids: assign(m, "_forward_hooks", {}),
    lambda m, ids: through_dict(m, "_forward_hooks", {10**6: hook("new"), ids["b"]: hook("B")}),
    lambda m, ids: assign(m, "_forward_hooks", turned(m._forward_hooks)),
    lambda m, ids: assign(m, "_forward_pre_hooks", turned(m._forward_pre_hooks)),
    lambda m, ids: assign(m, "_backward_hooks", OrderedDict()),
    lambda m, ids: assign(m, "_forward_hooks_with_kwargs", OrderedDict({ids["a"]: True})),
    *[
        lambda m, ids, do=do, name=name: do(m, name)
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
        for do in (
            emptied,
            exchanged,
            popped,
            lambda m, name: replaced(m, name, dict),
            lambda m, name: replaced(m, name, OrderedDict),
            lambda m, name: replaced(m, name, lambda table: table.copy()),
        )
    ],
]

for number, case in enumerate(CASES):
    m, ids = hooked()
    called.clear()
    try:
        said = case(m, ids)
    except KeyError as error:
        said = repr(error)
    before = " ".join(called)
    called.clear()
    (m(torch.ones(1, requires_grad=True) * 1)).sum().backward()
    print(number, said, "|", before, "|", " ".join(called))

# What hooks are flagged as stands in the order in which they were registered.
m = nn.ReLU()
for i in range(4):
    m.register_forward_hook(hook("f"), prepend=i % 2 == 1, with_kwargs=True, always_call=i > 1)
    m.register_forward_pre_hook(hook("p"), prepend=i % 2 == 1, with_kwargs=i != 1)
first = min(m._forward_hooks)
for name in ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"):
    print(name, [key - first for key in getattr(m, name)])
for name in ("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"):
    print(name, [key - first for key in getattr(m, name)])

# What loses the id of a hook, besides its table.
handles = [
    m.register_forward_hook(print),
    m.register_forward_pre_hook(print),
    m.register_full_backward_hook(print),
]
print([len(handle.extra_dict_ref) for handle in handles])
for handle in handles:
    handle.remove()
table = OrderedDict()
for extra in (None, OrderedDict(), [OrderedDict() for _ in range(3)], [], (OrderedDict(),), 3, "name"):
    print(len(RemovableHandle(table, extra_dict=extra).extra_dict_ref))

# Whether a hook is a legacy one is asked of the module, not of the hook.
m = nn.Linear(2, 2)
m.register_backward_hook(lambda m, gi, go: print("first", [None if g is None else tuple(g.shape) for g in gi]))
m._backward_hooks[99] = lambda m, gi, go: print("by hand", [None if g is None else tuple(g.shape) for g in gi])
m(torch.ones(1, 2)).sum().backward()
m._backward_hooks = OrderedDict(reversed(m._backward_hooks.items()))
m(torch.ones(1, 2)).sum().backward()
