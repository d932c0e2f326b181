"""Anything at all is given to everything that has to do with hooks: exceptions, never a crash, and all stays usable.

HOOKGRAD_FUZZ says how many calls are made.
"""

import copy
import gc
import os
import pickle
import random
import weakref
from collections import OrderedDict

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.autograd import Function, graph
from hookgrad.nn.modules import module as modules
from hookgrad.utils import hooks

CALLS = int(os.environ.get("HOOKGRAD_FUZZ", "4000"))

# What would stop or leave the process, wait for input, or change what other tests rely on.
LEFT_OUT = {
    "breakpoint",
    "exit",
    "share_memory",
    "share_memory_",
    "__reduce_ex__",
    "__init_subclass__",
    "__subclasshook__",
}


class Broken:
    """Fails at whatever it is asked."""

    def __getattr__(self, name):
        raise ZeroDivisionError(name)

    def __len__(self):
        raise ZeroDivisionError

    def __iter__(self):
        raise ZeroDivisionError

    def __eq__(self, other):
        raise ZeroDivisionError

    def __hash__(self):
        raise ZeroDivisionError

    def __bool__(self):
        raise ZeroDivisionError

    def __call__(self, *args, **kwargs):
        raise ZeroDivisionError


class Twice(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


class Fuzz:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.renew()

    def renew(self):
        """Objects with hooks on them, which the calls then work on and pass to each other."""
        x = torch.ones(2, 2, requires_grad=True)
        y = x.exp() * 2
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(inplace=True))
        handles = [
            x.register_hook(self.hook), y.register_hook(self.hook), y.grad_fn.register_hook(self.hook),
            y.grad_fn.register_prehook(self.hook), x.register_post_accumulate_grad_hook(self.hook),
            model.register_forward_pre_hook(self.hook), model[0].register_forward_hook(self.hook, always_call=True),
            model.register_full_backward_hook(self.hook), model[2].register_full_backward_pre_hook(self.hook),
            model.register_state_dict_pre_hook(self.hook), model.register_load_state_dict_post_hook(self.hook),
        ]  # fmt: skip
        tables = [getattr(model, name) for name in vars(model) if name.startswith("_")]
        self.objects = [
            x, y, y.grad_fn, y.grad_fn.next_functions[0][0], Twice.apply(y).grad_fn, model, model[0], model[1].weight,
            model.__dict__, *handles, *tables, x._backward_hooks, graph.get_gradient_edge(y),
            y.grad_fn._raw_saved_other if hasattr(y.grad_fn, "_raw_saved_other") else y.grad_fn,
            hooks.BackwardHook(model, [self.hook], [self.hook]), model._forward_hooks.items(), iter(model._forward_hooks),
            torch.optim.SGD([x], lr=0.1),
        ]  # fmt: skip
        self.model, self.x = model, x

    def hook(self, *args, **kwargs):
        """May do to the objects what anybody may, and return anything."""
        choice = self.rng.random()
        if choice < 0.2:
            self.one_call()
        return self.value() if choice < 0.3 else None

    def value(self):
        rng = self.rng
        return rng.choice([
            lambda: None, lambda: rng.choice([0, 1, -1, 2**31, 2**64, 2**70, True, 1.5, float("nan")]),
            lambda: rng.choice(["", "weight", "_forward_hooks", "x.y", "\0", "é"]), lambda: b"bytes",
            lambda: (), list, dict, lambda: OrderedDict(), lambda: (None,), lambda: [None, 1],
            lambda: {1: len}, lambda: {"weight": None}, lambda: Broken(), lambda: self.hook, lambda: len, lambda: int,
            lambda: torch.ones(2, 2), lambda: torch.ones(2, 2, requires_grad=True), lambda: torch.tensor(1),
            lambda: (torch.ones(2, 2),), lambda: nn.Identity(), lambda: nn.Parameter(torch.ones(1)), lambda: object(),
            *[lambda: rng.choice(self.objects)] * 8,
        ])()  # fmt: skip

    def one_call(self):
        rng = self.rng
        owner = rng.choice([*self.objects, *GLOBAL])
        try:
            names = dir(owner)
        except Exception:
            names = []
        names = [n for n in names if n not in LEFT_OUT and not n.startswith("__")] + DUNDERS
        if rng.random() < 0.5:
            names = [n for n in names if "hook" in n or n in DUNDERS] or names
        name = rng.choice(names)
        arguments = [self.value() for _ in range(rng.randrange(4))]
        action = rng.random()
        if isinstance(owner, type(graph)) or isinstance(owner, type):
            action = 0.0
        try:
            if action < 0.7:
                done = getattr(owner, name)
                if callable(done):
                    keywords = {rng.choice(KEYWORDS): self.value()} if rng.random() < 0.2 else {}
                    done = done(*arguments, **keywords)
                if rng.random() < 0.2:
                    self.objects[rng.randrange(len(self.objects))] = done
            elif action < 0.9:
                setattr(owner, name, self.value())
            else:
                delattr(owner, name)
        except Exception:
            pass

    def use(self):
        for run in (
            lambda: self.model(self.x).sum().backward(), lambda: self.model.state_dict(),
            lambda: self.model.load_state_dict(self.model.state_dict()), lambda: repr(self.model),
            lambda: copy.deepcopy(self.model), lambda: pickle.dumps(self.model), lambda: (self.x.exp() * 2).sum().backward(),
        ):  # fmt: skip
            try:
                run()
            except Exception:
                pass


DUNDERS = [
    "__call__", "__getitem__", "__setitem__", "__delitem__", "__contains__", "__len__", "__iter__", "__or__", "__ior__",
    "__eq__", "__enter__", "__exit__", "__getstate__", "__setstate__", "__reduce__", "__dict__", "__repr__", "__reversed__",
    "__class__", "__deepcopy__",
]  # fmt: skip
KEYWORDS = ["hook", "prepend", "with_kwargs", "always_call", "mode", "fn", "extra_dict", "strict", "inputs", "foo"]


def clear_global_hooks():
    for name, table in vars(modules).items():
        if name.startswith("_global_") and hasattr(table, "clear"):
            table.clear()


GLOBAL = (graph, modules, hooks, nn.Module, torch.Tensor, hooks.RemovableHandle)


def put_back(saved):
    """What calls have changed for everybody is as it was."""
    for owner, attributes in saved:
        for name in set(vars(owner)) - set(attributes):
            delattr(owner, name)
        for name, value in attributes.items():
            if vars(owner).get(name) is not value:
                setattr(owner, name, value)
    clear_global_hooks()
    torch.set_grad_enabled(True)
    while torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
        torch._C._autograd._pop_saved_tensors_default_hooks()
    torch._C._autograd._saved_tensors_hooks_enable()
    torch._C._watch_writes(None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
def test_anything_given_to_anything(seed):
    saved = [(owner, dict(vars(owner))) for owner in GLOBAL]
    fuzz = Fuzz(seed)
    try:
        for i in range(CALLS // 4):
            fuzz.one_call()
            if i % 20 == 0:
                fuzz.use()
            if i % 100 == 0:
                clear_global_hooks()
                fuzz.renew()
        seen = weakref.ref(fuzz.model)
    finally:
        del fuzz
        put_back(saved)
    gc.collect()
    assert seen() is None
    model = nn.Sequential(nn.Linear(2, 2))
    model(torch.ones(1, 2)).sum().backward()
    assert model[0].weight.grad is not None
