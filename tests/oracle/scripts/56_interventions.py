# Interventions by hooks: a tracing proxy, causal tracing, steering, directional ablation; what lives how long.
import collections
import contextlib
import gc
import weakref

import torch
import torch.nn as nn

torch.manual_seed(0)


class Tracer:
    """nnsight-like: with trace(model) as t: t['a.b'].output -> saved / patched"""

    class Proxy:
        def __init__(s, name):
            s.name, s.saved, s.repl, s.fns = name, None, None, []

        def save(s):
            return s

        def set(s, v):
            s.repl = v
            return s

        def apply(s, f):
            s.fns.append(f)
            return s

        def __repr__(s):
            return f"<{s.name}: {None if s.saved is None else tuple(s.saved.shape)}>"

    def __init__(s, model):
        s.model, s.proxies = model, {}

    def __getitem__(s, n):
        return s.proxies.setdefault(n, Tracer.Proxy(n))

    def _hook(s, p):
        def h(m, a, o):
            for f in p.fns:
                o = f(o)
            if p.repl is not None:
                o = p.repl.expand_as(o) if torch.is_tensor(p.repl) else torch.full_like(o, p.repl)
            p.saved = o
            return o

        return h

    @contextlib.contextmanager
    def trace(s, x):
        yield s
        mods = dict(s.model.named_modules())
        hs = [mods[n].register_forward_hook(s._hook(p)) for n, p in s.proxies.items()]
        try:
            s.output = s.model(x)
        finally:
            [h.remove() for h in hs]


net = nn.Sequential(
    collections.OrderedDict(emb=nn.Linear(3, 4), mid=nn.Sequential(nn.Tanh(), nn.Linear(4, 4)), head=nn.Linear(4, 2))
)
with Tracer(net).trace(torch.ones(2, 3)) as t:
    a = t["mid"].save()
    t["emb"].apply(lambda o: o * 2)
    t["mid.0"].set(0.5)
print(a, t.output, t.proxies)
base = net(torch.ones(2, 3))
print(torch.allclose(base, t.output), [len(m._forward_hooks) for m in net.modules()])


# causal tracing with noise
def noised(std, seed):
    g = torch.Generator().manual_seed(seed)
    return lambda m, a, o: o + std * torch.randn(o.shape, generator=g)


x = torch.randn(4, 3)
clean = net(x)
for restore in (None, "mid", "mid.1"):
    hs = [net.emb.register_forward_hook(noised(1.0, 0))]
    store = {}
    if restore:
        hh = net.get_submodule(restore).register_forward_hook(lambda m, a, o: store.__setitem__("c", o.detach()))
        [h.remove() for h in hs]
        net(x)
        hh.remove()
        hs = [
            net.emb.register_forward_hook(noised(1.0, 0)),
            net.get_submodule(restore).register_forward_hook(lambda m, a, o: store["c"]),
        ]
    print(restore, f"{(net(x) - clean).norm().item():.5f}")
    [h.remove() for h in hs]
# steering vector via difference in means, added at a scale
A, B = [], []
h = net.mid.register_forward_hook(lambda m, a, o: store.__setitem__("m", o.detach().mean(0)))
net(x)
v1 = store["m"]
net(-x)
v2 = store["m"]
h.remove()
vec = v1 - v2
for s in (-1, 0, 1):
    with net.mid.register_forward_hook(lambda m, a, o: o + s * vec):
        print(s, net(x)[0])
# directional ablation with pre hook
u = vec / vec.norm()
with net.head.register_forward_pre_hook(lambda m, a: (a[0] - (a[0] @ u)[:, None] * u,)):
    print(net(x)[0], (net.head.weight @ u))


# path patching, hooking per-sample
def swap(m, a, o):
    o = o.clone()
    o[[0, 1]] = o[[1, 0]]
    return o


with net.emb.register_forward_hook(swap):
    print(torch.equal(net(x)[:2], clean[:2].flip(0)))


# lifetimes
class Big(nn.Module):
    def __init__(s):
        super().__init__()
        s.l = nn.Linear(2, 2)
        s.h = s.l.register_forward_hook(s.cb)

    def cb(s, m, a, o):
        s.last = o

    def forward(s, x):
        return s.l(x)


b = Big()
b(torch.ones(1, 2))
r = weakref.ref(b)
del b
gc.collect()
print(r() is None)
t = torch.ones(2, requires_grad=True)
y = t * 2
r = weakref.ref(y)
y.register_hook(lambda g: None)
del y
print(r() is None)
w = weakref.WeakKeyDictionary()
l = nn.Linear(1, 1)
w[l] = 1
w[l.weight] = 2
print(len(w))
del l
gc.collect()
print(len(w))
hm = weakref.ref(net.emb)
hk = net.emb.register_forward_hook(lambda *a: None)
hid = hk.id
print(hid in net.emb._forward_hooks, hk.hooks_dict_ref() is net.emb._forward_hooks)
del net
gc.collect()
print(hm() is None, hk.hooks_dict_ref())
hk.remove()
