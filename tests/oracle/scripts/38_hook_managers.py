# Hook managers, call stacks, registration hooks; mixins, metaclasses, dataclasses and other ways to be a module.
import dataclasses
import gc
import weakref

import torch
import torch.nn as nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

torch.manual_seed(0)


class HookManager:
    def __init__(self):
        self._h = {}

    def add(self, module, fn, kind="forward", **kw):
        h = getattr(
            module,
            {
                "forward": "register_forward_hook",
                "pre": "register_forward_pre_hook",
                "backward": "register_full_backward_hook",
            }[kind],
        )(fn, **kw)
        self._h[h.id] = h
        return h.id

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for h in self._h.values():
            h.remove()
        self._h.clear()
        return False

    def __len__(self):
        return len(self._h)


net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
with HookManager() as hm:
    ids = [hm.add(m, lambda m, i, o: print(type(m).__name__, tuple(o.shape))) for m in net]
    print(ids == sorted(ids), len(set(ids)), len(hm))
    net(torch.ones(1, 2))
print([len(m._forward_hooks) for m in net])
# call stack tracker
depth = [0]
names = {}


def enter(m, i):
    print("  " * depth[0] + "> " + m._get_name())
    depth[0] += 1


def leave(m, i, o):
    depth[0] -= 1
    print("  " * depth[0] + "< " + m._get_name(), tuple(o.shape))


a, b = register_module_forward_pre_hook(enter), register_module_forward_hook(leave)
nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), nn.Identity())(torch.ones(1, 2))
a.remove()
b.remove()
# registration hooks
log = []
hs = [
    register_module_parameter_registration_hook(
        lambda m, n, p: log.append(("param", type(m).__name__, n, None if p is None else tuple(p.shape)))
    ),
    register_module_buffer_registration_hook(lambda m, n, b: log.append(("buffer", n))),
    register_module_module_registration_hook(lambda m, n, s: log.append(("module", n, type(s).__name__))),
]


class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(1, 1)
        self.register_buffer("b", torch.ones(1))
        self.w = nn.Parameter(torch.ones(2))
        self.register_parameter("none", None)
        self.add_module("x", nn.BatchNorm1d(2, affine=False))


M()
print(*log, sep="\n")
[h.remove() for h in hs]
h = register_module_parameter_registration_hook(
    lambda m, n, p: nn.Parameter(p.data * 0 + 7) if p is not None and n == "weight" else None
)
print(nn.Linear(1, 2))
print(nn.Linear(2, 1).weight)
h.remove()


# metaclass, mixin, dataclass, __getattr__
class AutoHook(type(nn.Module)):
    def __call__(cls, *a, **k):
        o = super().__call__(*a, **k)
        o.register_forward_hook(o.after) if hasattr(o, "after") else None
        return o


class Auto(nn.Linear, metaclass=AutoHook):
    def after(self, m, i, o):
        print("after", m is self)
        return o * 0


print(Auto(2, 2)(torch.ones(1, 2)))


class LogMixin:
    def __init__(self, *a, tag="t", **k):
        super().__init__(*a, **k)
        self.tag = tag

    def forward(self, x):
        print("mixin", self.tag)
        return super().forward(x)


class LL(LogMixin, nn.Linear):
    pass


print(LL(2, 1, bias=False, tag="z"), LL(2, 1)(torch.ones(1, 2)).shape, [c.__name__ for c in LL.__mro__[:4]])


@dataclasses.dataclass(eq=False)
class DC(nn.Module):
    n: int
    p: float = 0.5

    def __post_init__(self):
        super().__init__()
        self.l = nn.Linear(self.n, self.n)

    def forward(self, x):
        return self.l(x) * self.p


try:
    d = DC(2)
    print(repr(d))
    print(d(torch.ones(1, 2)).shape, nn.Module.__repr__(d))
except Exception as e:
    print(type(e).__name__, e)


class Proxy(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def __getattr__(self, n):
        try:
            return super().__getattr__(n)
        except AttributeError:
            return getattr(self.inner, n)


p = Proxy(nn.Linear(2, 3))
print(p.in_features, p.weight.shape)
try:
    print(p.nope)
except AttributeError as e:
    print(e)


class Set(nn.Module):
    def __setattr__(self, n, v):
        print("set", n, type(v).__name__) if not n.startswith("_") else None
        super().__setattr__(n, v)

    def __delattr__(self, n):
        print("del", n)
        super().__delattr__(n)


s = Set()
s.a = nn.Linear(1, 1)
s.b = 3
del s.a
del s.b
print(s)


class Call(nn.Module):
    def __call__(self, *a, **k):
        print("call")
        r = super().__call__(*a, **k)
        print("done")
        return r

    def forward(self, x):
        return x


c = Call()
c.register_forward_hook(lambda m, i, o: print("hook"))
nn.Sequential(c)(torch.ones(1))


class Early(nn.Module):
    def __init__(self):
        self.x = nn.Linear(1, 1)


try:
    Early()
except AttributeError as e:
    print(e)


class Early2(nn.Module):
    def __init__(self):
        self.x = 3
        super().__init__()
        self.y = 4


try:
    print(Early2().x)
except AttributeError as e:
    print(e)


class P2(nn.Module):
    @property
    def bad(self):
        return self.nothing


try:
    print(P2().bad)
except AttributeError as e:
    print(e)
try:
    nn.Module()(1)
except NotImplementedError as e:
    print(e)
ref = weakref.ref(net[0])
hw = weakref.WeakMethod(Auto(1, 1).after)
gc.collect()
print(hw() is None)


async def ah(m, i, o):
    return 3


import asyncio

l = nn.Linear(1, 1)
l.register_forward_hook(ah)
r = l(torch.ones(1, 1))
print(asyncio.iscoroutine(r))
print(asyncio.run(r))
gen = nn.Identity()
gen.register_forward_hook(lambda m, i, o: (yield o))
print(type(gen(1)).__name__)
