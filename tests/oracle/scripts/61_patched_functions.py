# Hooks on functions: F, Tensor, Module and optimizer methods patched for a while, counted, and put back.
import collections
import contextlib
import functools

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)


@contextlib.contextmanager
def patched(obj, name, wrap):
    old = getattr(obj, name)
    setattr(obj, name, wrap(old))
    try:
        yield
    finally:
        setattr(obj, name, old)


cnt = collections.Counter()


def counting(n):
    return lambda f: functools.wraps(f)(lambda *a, **k: (cnt.update([n]), f(*a, **k))[1])


class Net(nn.Module):
    def __init__(s):
        super().__init__()
        s.l = nn.Linear(3, 3)

    def forward(s, x):
        return F.relu(s.l(x)) + torch.sigmoid(x) @ s.l.weight


with (
    patched(F, "relu", counting("relu")),
    patched(torch, "sigmoid", counting("sigmoid")),
    patched(F, "linear", counting("linear")),
):
    Net()(torch.ones(1, 3))
print(cnt["relu"], cnt["sigmoid"])
with patched(torch.Tensor, "backward", counting("backward")):
    (torch.ones(1, requires_grad=True) * 2).backward()
with patched(torch.Tensor, "__add__", counting("add")):
    torch.ones(1) + 1
with patched(nn.Module, "__setattr__", lambda f: lambda s, n, v: (cnt.update(["set"]), f(s, n, v))[1]):
    Net()
with patched(nn.Module, "register_forward_hook", counting("reg")):
    nn.Linear(1, 1).register_forward_hook(print)
with patched(torch.optim.SGD, "step", counting("step")):
    o = torch.optim.SGD(Net().parameters(), 0.1)
    o.step()
print({k: v for k, v in sorted(cnt.items()) if k not in ("linear", "set")}, cnt["set"] > 0)
with patched(nn.Linear, "forward", lambda f: lambda s, x: f(s, x) * 0):
    print(nn.Sequential(nn.Linear(2, 2))(torch.ones(1, 2)))
print(nn.Linear(2, 2)(torch.ones(1, 2)).abs().sum() > 0)
with patched(nn.Linear, "reset_parameters", lambda f: lambda s: (nn.init.ones_(s.weight), nn.init.zeros_(s.bias))):
    print(nn.Linear(2, 2).weight)
with patched(nn.Module, "train", lambda f: lambda s, mode=True: (cnt.update(["train"]), f(s, mode))[1]):
    nn.Sequential(nn.Linear(1, 1), nn.ReLU()).eval()
print(cnt["train"])
nn.Linear.describe = lambda s: f"{s.in_features}->{s.out_features}"
print(nn.Linear(2, 3).describe())
del nn.Linear.describe
torch.Tensor.double_it = lambda s: s * 2
print(torch.ones(2).double_it())
del torch.Tensor.double_it
m = nn.Linear(2, 2)
m.forward = lambda x: x * 7
print(m(torch.ones(1)), "forward" in m.__dict__)
del m.forward
m.register_forward_hook(lambda mod, a, o: o + 1)
m.__class__ = type("MyLinear", (nn.Linear,), {"forward": lambda s, x: x})
print(m(torch.ones(1)), type(m).__name__, m)


class Ctr(nn.Module):
    total = 0

    def __call__(s, *a, **k):
        Ctr.total += 1
        return super().__call__(*a, **k)


class A(Ctr):
    def forward(s, x):
        return x


A()(1)
nn.Sequential(A(), A())(1)
print(Ctr.total)


class NoSuper(nn.Module):
    def __init__(s):
        pass


for f in (
    lambda: NoSuper()(1),
    lambda: repr(NoSuper()),
    lambda: NoSuper().register_forward_hook(print),
    lambda: NoSuper().parameters().__next__(),
    lambda: setattr(NoSuper(), "x", nn.Parameter(torch.ones(1))),
    lambda: setattr(NoSuper(), "x", 3),
    lambda: NoSuper().register_buffer("x", torch.ones(1)),
    lambda: NoSuper().state_dict(),
    lambda: NoSuper().eval(),
    lambda: NoSuper().add_module("x", nn.ReLU()),
):
    try:
        print(f())
    except Exception as e:
        print(type(e).__name__, str(e)[:100])
