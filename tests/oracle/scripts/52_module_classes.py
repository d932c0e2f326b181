# Module classes as people write them: patched forward, properties, singletons, lazy parts, hooks made in forward.
import collections
import contextlib
import copy
import enum
import functools
import io
import logging
import types
import typing

import torch
import torch.nn as nn

torch.manual_seed(0)


# decorators over forward, monkeypatching
def traced(fn):
    @functools.wraps(fn)
    def w(self, *a, **k):
        print("->", type(self).__name__)
        r = fn(self, *a, **k)
        print("<-", tuple(r.shape))
        return r

    return w


l = nn.Linear(2, 3)
orig = l.forward
l.forward = types.MethodType(traced(type(l).forward), l)
l(torch.ones(1, 2))
del l.forward
print(l.forward == orig, l(torch.ones(1, 2)).shape)
old = nn.ReLU.forward
nn.ReLU.forward = traced(old)
nn.Sequential(nn.ReLU())(torch.ones(1))
nn.ReLU.forward = old
oc = nn.Module.__call__


def pc(self, *a, **k):
    print("call", type(self).__name__)
    return oc(self, *a, **k)


nn.Module.__call__ = pc
nn.Sequential(nn.Linear(1, 1), nn.Tanh())(torch.ones(1, 1))
nn.Module.__call__ = oc


class Reg(nn.Module):
    registry = {}

    def __init_subclass__(cls, name=None, **k):
        super().__init_subclass__(**k)
        Reg.registry[name or cls.__name__] = cls


class A(Reg, name="a"):
    def forward(s, x):
        return x + 1


class B(A):
    pass


print(Reg.registry, A()(torch.ones(1)), isinstance(B(), nn.Module), issubclass(B, nn.Module))


class Slots(nn.Module):
    __slots__ = ("k",)

    def __init__(s):
        super().__init__()
        s.k = 3
        s.l = nn.Linear(1, 1)


print(Slots().k, Slots())


class Gen(nn.Module, typing.Generic[typing.TypeVar("T")]):
    def __init__(s):
        super().__init__()
        s.x = 1


print(Gen().x, type(Gen[int]()).__name__)


class Lazy(nn.Module):
    def __init__(s):
        super().__init__()
        s.fc = None
        s.register_forward_pre_hook(s._build)

    def _build(s, m, args):
        if m.fc is None:
            m.fc = nn.Linear(args[0].shape[-1], 2)
            print("built", m.fc)

    def forward(s, x):
        return s.fc(x)


z = Lazy()
print(z(torch.ones(1, 3)).shape, z)


class Sing(nn.Module):
    _i = None

    def __new__(cls, *a, **k):
        cls._i = cls._i or super().__new__(cls)
        return cls._i


print(Sing() is Sing())


class PropMod(nn.Module):
    def __init__(s):
        super().__init__()
        s._w = nn.Parameter(torch.ones(2))

    @property
    def w(s):
        return s._w * 2

    @w.setter
    def w(s, v):
        s._w.data.copy_(v / 2)

    @functools.cached_property
    def big(s):
        print("computed")
        return s._w.sum()

    @classmethod
    def make(cls):
        return cls()

    def __len__(s):
        return 7

    def __getitem__(s, i):
        return s._w[i]

    def __contains__(s, x):
        return x == 1

    def __iter__(s):
        return iter([1, 2])

    def __enter__(s):
        print("enter")
        return s

    def __exit__(s, *a):
        print("exit")

    def __bool__(s):
        return True

    def __eq__(s, o):
        return isinstance(o, PropMod)

    __hash__ = nn.Module.__hash__


p = PropMod.make()
p.w = torch.tensor([4.0, 6.0])
print(p.w, p.big, p.big, len(p), p[0], 1 in p, list(p), p == PropMod(), {p: 1}[p])
with p:
    pass
print(list(vars(p))[-2:], list(p.state_dict()))


class E(enum.Enum):
    X = nn.ReLU


print(E.X, callable(nn.Linear(1, 1)))


# dynamic hooks in forward
class Dyn(nn.Module):
    def __init__(s):
        super().__init__()
        s.a, s.b = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(s, x):
        seen = []
        h = s.a.register_forward_hook(lambda m, i, o: seen.append("in"))
        y = s.a(x)
        h.remove()
        y.register_hook(lambda g: print("grad", tuple(g.shape)))
        return s.b(y), seen


o, s = Dyn()(torch.ones(1, 2))
o.sum().backward()
print(s)
# hooks stored in dict attr, deep copy, partial pickling
m = nn.Sequential(nn.Linear(1, 1))
st = {"n": 0}


class C:
    def __init__(s, d):
        s.d = d

    def __call__(s, m, i, o):
        s.d["n"] += 1


m[0].register_forward_hook(C(st))
c = copy.deepcopy(m)
c(torch.ones(1, 1))
m(torch.ones(1, 1))
print(st, list(c[0]._forward_hooks.values())[0].d)
buf = io.StringIO()
logging.basicConfig(stream=buf, format="%(message)s", level=logging.INFO, force=True)
m[0].register_forward_hook(lambda mod, i, o: logging.info("%s %s %s", mod, i[0].shape, o.dtype))
m(torch.ones(2, 1))
print(buf.getvalue().strip())
with contextlib.redirect_stdout(io.StringIO()) as f:
    m.register_forward_pre_hook(lambda *a: print("captured"))
    m(torch.ones(1, 1))
print(repr(f.getvalue()))
# modules as hooks, nested calls, recursion
outer = nn.Linear(1, 1)
outer.register_forward_hook(nn.Identity().forward if 0 else (lambda m, i, o: nn.functional.relu(o)))
inner = nn.Linear(1, 1)
outer.register_forward_hook(lambda m, i, o: inner(o))
print(outer(torch.ones(1, 1)).shape)
depth = [0]


def rec(m, i, o):
    depth[0] += 1
    if depth[0] < 3:
        return m(o)


outer.register_forward_hook(rec)
outer(torch.ones(1, 1))
print(depth)
# children via setattr, getattr paths
net = nn.Sequential(collections.OrderedDict(a=nn.Sequential(nn.Linear(1, 1), nn.ReLU()), b=nn.Linear(1, 1)))


def rgetattr(o, path):
    return functools.reduce(getattr, path.split("."), o)


def rsetattr(o, path, v):
    pre, _, post = path.rpartition(".")
    setattr(rgetattr(o, pre) if pre else o, post, v)


rsetattr(net, "a.1", nn.GELU())
rsetattr(net, "b", nn.Identity())
print(net, rgetattr(net, "a.0.weight").shape)
for n, mod in list(net.named_modules()):
    if isinstance(mod, nn.Linear):
        rsetattr(net, n, nn.Sequential(mod, nn.Dropout(0.1)))
print(net)
net.a._modules["0"] = nn.Linear(1, 5)
print(net.a[0])
