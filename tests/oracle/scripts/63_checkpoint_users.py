# Checkpoint wrappers as libraries write them: state dicts, saved memory, hooks inside, double backward, errors.
import functools

import torch
import torch.nn as nn
import torch.utils.checkpoint as cp

torch.manual_seed(0)


class CheckpointWrapper(nn.Module):
    def __init__(s, m, **kw):
        super().__init__()
        s.inner, s.fn = m, functools.partial(cp.checkpoint, use_reentrant=False, **kw)

    def forward(s, *a, **k):
        return s.fn(s.inner, *a, **k)

    def __getattr__(s, n):
        try:
            return super().__getattr__(n)
        except AttributeError:
            return getattr(s.inner, n)

    def state_dict(s, *a, prefix="", **k):
        return s.inner.state_dict(*a, prefix=prefix, **k)


def apply_ckpt(model, check):
    for n, c in list(model.named_children()):
        apply_ckpt(c, check)
        if check(c):
            setattr(model, n, CheckpointWrapper(c))


class MLP(nn.Module):
    def __init__(s, d):
        super().__init__()
        s.up, s.act, s.down = nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d)

    def forward(s, x):
        return x + s.down(s.act(s.up(x)))


net = nn.Sequential(MLP(4), MLP(4), nn.LayerNorm(4))
x = torch.randn(3, 4, requires_grad=True)
counts = {"pack": 0, "bytes": 0}


def pk(t):
    counts["pack"] += 1
    counts["bytes"] += t.numel() * 4
    return t


def measure(f):
    counts.update(pack=0, bytes=0)
    with torch.autograd.graph.saved_tensors_hooks(pk, lambda t: t):
        y = f()
    return dict(counts), y


c0, y = measure(lambda: net(x).pow(2).sum())
y.backward()
g0 = [p.grad.clone() for p in net.parameters()] + [x.grad.clone()]
apply_ckpt(net, lambda m: isinstance(m, MLP))
print(net)
net.zero_grad()
x.grad = None
c1, y = measure(lambda: net(x).pow(2).sum())
y.backward()
g1 = [p.grad for p in net.parameters()] + [x.grad]
print(c0, c1, all(torch.allclose(a, b) for a, b in zip(g0, g1)), list(net.state_dict())[:3], net[0].up)
# checkpoint and hooks on the inner modules
fires = []
net[0].inner.act.register_forward_hook(lambda m, i, o: fires.append("f"))
net[0].inner.act.register_full_backward_hook(lambda m, gi, go: fires.append("b"))
net(x).sum().backward()
print(fires)
# recompute with BN: momentum applied twice
bn = nn.BatchNorm1d(4)
cp.checkpoint(bn, x, use_reentrant=False).sum().backward()
print(bn.num_batches_tracked)


# multiple outputs, None, tuples
def f(a, b):
    return a * b, None, (a + b,), 3


o = cp.checkpoint(f, x, x * 2, use_reentrant=False)
print(type(o), o[1], o[3], o[2][0].shape)
o[0].sum().backward()
try:
    o = cp.checkpoint(f, x, x * 2, use_reentrant=True)
    o[0].sum().backward()
    print(o[0].grad_fn.name())
except Exception as e:
    print(type(e).__name__, str(e)[:80])
# create graph through checkpoint
xs = torch.tensor([0.3], requires_grad=True)
y = cp.checkpoint(lambda t: t**3, xs, use_reentrant=False)
(g,) = torch.autograd.grad(y, xs, create_graph=True)
print(g, torch.autograd.grad(g, xs))
# retain_graph twice
y = cp.checkpoint(lambda t: t.exp().sin(), xs, use_reentrant=False)
y.backward(retain_graph=True)
y.backward()
print(xs.grad)
# unpack twice outside of backward
y = cp.checkpoint(lambda t: t.exp(), xs, use_reentrant=False)
print(y.grad_fn._saved_result)
try:
    print(y.grad_fn._saved_result)
except Exception as e:
    print(type(e).__name__, str(e)[:80])
with torch.no_grad():
    print(
        cp.checkpoint(lambda t: t * 2, xs, use_reentrant=False).requires_grad,
        cp.checkpoint(lambda t: t * 2, xs, use_reentrant=True).requires_grad,
    )
print(
    cp.checkpoint(lambda: xs * 2, use_reentrant=False),
    cp.checkpoint(lambda a, **k: a * k["s"], xs, s=3, use_reentrant=False),
)
try:
    cp.checkpoint(lambda a: a, xs, use_reentrant=True, context_fn=lambda: 1)
except Exception as e:
    print(type(e).__name__, e)
try:
    cp.checkpoint_sequential([nn.Linear(1, 1), nn.Tanh()], 5, xs, use_reentrant=False)
except Exception as e:
    print(type(e).__name__, e)
print(cp.checkpoint_sequential([lambda t: t + 1, lambda t: t * 2, lambda t: t - 3], 2, xs, use_reentrant=False))
