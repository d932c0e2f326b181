# Checkpoints in both modes: hooks that fire again, keywords, random numbers, nesting, early stop, what does not match.
import torch
import torch.nn as nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

torch.manual_seed(0)

calls = []


class B(nn.Module):
    def __init__(s, d, name):
        super().__init__()
        s.f = nn.Sequential(nn.Linear(d, d), nn.Tanh(), nn.Dropout(0.0))
        s.name = name

    def forward(s, x, scale=1.0):
        calls.append((s.name, torch.is_grad_enabled()))
        return x + scale * s.f(x)


class Net(nn.Module):
    def __init__(s, re):
        super().__init__()
        torch.manual_seed(0)
        s.bs = nn.ModuleList([B(4, i) for i in range(3)])
        s.re = re

    def forward(s, x):
        for b in s.bs:
            x = b(x) if s.re is None else checkpoint(b, x, use_reentrant=s.re)
        return x


x = torch.randn(2, 4, requires_grad=True)
ref = None
for re in (None, True, False):
    calls.clear()
    n = Net(re)
    x.grad = None
    fired = []
    n.bs[1].register_forward_hook(lambda m, i, o: fired.append("fwd"))
    n.bs[1].register_full_backward_hook(lambda m, gi, go: fired.append("bwd"))
    n.bs[0].f[0].weight.register_hook(lambda g: fired.append("w"))
    out = n(x)
    out.sum().backward()
    g = [p.grad for p in n.parameters()] + [x.grad.clone()]
    if ref is None:
        ref = g
    print(re, calls, fired, all(torch.allclose(a, b) for a, b in zip(ref, g)), out.grad_fn.name())
seq = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(4)])
for segs in (1, 2, 3):
    for re in (True, False):
        seq.zero_grad()
        o = checkpoint_sequential(seq, segs, x, use_reentrant=re)
        o.mean().backward()
        print(segs, re, f"{seq[0][0].weight.grad.abs().sum():.6f}")


# kwargs, non tensors, nested
def f(a, b, flag, *, k=2):
    return a * b * k if flag else a


y = checkpoint(f, x, x, True, k=3, use_reentrant=False)
y.sum().backward()
print(torch.allclose(x.grad, x.grad))
try:
    checkpoint(f, x, x, True, k=3, use_reentrant=True)
except Exception as e:
    print(type(e).__name__, str(e)[:60])
import warnings

with warnings.catch_warnings(record=True) as w:
    warnings.simplefilter("always")
    checkpoint(lambda t: t, torch.ones(1), use_reentrant=True)
    print([str(i.message)[:70] for i in w])
try:
    checkpoint(lambda t: t * 2, x)
except Exception as e:
    print(type(e).__name__, e)
# rng preserved
torch.manual_seed(3)
d = lambda t: t * torch.rand_like(t)
o = checkpoint(d, x, use_reentrant=False, preserve_rng_state=True)
o.sum().backward()
print(torch.allclose(x.grad - 0, x.grad))
xs = torch.ones(3, requires_grad=True)
torch.manual_seed(1)
o = checkpoint(d, xs, use_reentrant=True)
o.sum().backward()
print(torch.equal(o, xs.grad))
# determinism errors
flip = [0]


def nd(t):
    flip[0] += 1
    return t.sin() if flip[0] == 1 else t.sin().cos()


try:
    checkpoint(nd, xs, use_reentrant=False).sum().backward()
except Exception as e:
    print(type(e).__name__, str(e).splitlines()[0][:100])
flip[0] = 0


def nd2(t):
    flip[0] += 1
    return t.exp() if flip[0] == 1 else torch.cat([t, t]).exp()[:3]


try:
    checkpoint(nd2, xs, use_reentrant=False).sum().backward()
except Exception as e:
    print(type(e).__name__, str(e).splitlines()[0][:100])
from torch.utils.checkpoint import set_checkpoint_early_stop

cnt = [0]


def es(t):
    y = t.exp()
    cnt[0] += 1
    y = y.sin()
    cnt[0] += 1
    z = y * 1
    cnt[0] += 10
    return z


with set_checkpoint_early_stop(False):
    checkpoint(es, xs, use_reentrant=False).sum().backward()
print(cnt)
cnt[0] = 0
checkpoint(es, xs, use_reentrant=False).sum().backward()
print(cnt)


# nested checkpoint
def inner(t):
    calls.append("inner")
    return t.sin()


def outer(t):
    calls.append("outer")
    return checkpoint(inner, t.cos(), use_reentrant=False).exp()


calls.clear()
checkpoint(outer, xs, use_reentrant=False).sum().backward()
print(calls)
try:
    o = checkpoint(lambda t: t.exp().sin(), xs, use_reentrant=True)
    torch.autograd.grad(o.sum(), xs)
except RuntimeError as e:
    print(str(e)[:100])
print(torch.autograd.grad(checkpoint(lambda t: t.exp().sin(), xs, use_reentrant=False).sum(), xs))
(g,) = torch.autograd.grad(checkpoint(lambda t: t.exp().sin(), xs, use_reentrant=False).sum(), xs, create_graph=True)
print(torch.autograd.grad(g.sum(), xs))


def dbg(t):
    return t.exp()


import contextlib


def cf():
    @contextlib.contextmanager
    def c(n):
        calls.append(n)
        yield

    return c("fwd"), c("rec")


calls.clear()
checkpoint(dbg, xs, use_reentrant=False, context_fn=cf).sum().backward()
print(calls)
