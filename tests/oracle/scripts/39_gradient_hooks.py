# Tensor hooks that mask, centre, clip and log gradients; wrong return values; hooks that go; accumulation; clipping.
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
emb = nn.Embedding(6, 3)
mask = torch.zeros(6, 1)
mask[2] = 1
h = emb.weight.register_hook(lambda g: g * mask)
emb(torch.tensor([1, 2, 3])).sum().backward()
print(emb.weight.grad)
fc = nn.Linear(4, 3)


def centralize(g):
    return g - g.mean(dim=tuple(range(1, g.dim())), keepdim=True) if g.dim() > 1 else g


fc.weight.register_hook(centralize)
fc.weight.register_hook(lambda g: g.clamp_(-0.1, 0.1))
fc.bias.register_hook(lambda g: print("bias", g))
x = torch.randn(5, 4)
F.mse_loss(fc(x), torch.zeros(5, 3)).backward()
print(fc.weight.grad, fc.weight._backward_hooks is not None, list(fc.weight._backward_hooks))
# norm logger with f-string
for n, p in fc.named_parameters():
    p.register_hook(
        lambda g, n=n: print(f"{n:8s} |g|={g.norm():.4f} mean={g.mean().item():+.2e} shape={list(g.shape)}")
    )
fc.zero_grad()
F.mse_loss(fc(x), torch.ones(5, 3)).backward()
# non-leaf hook + retain_grad ordering
a = torch.tensor([1.0, 2.0], requires_grad=True)
b = a * 3
b.retain_grad()
b.register_hook(lambda g: g * 10)
c = b**2
c.register_hook(lambda g: print("c", g))
c.sum().backward()
print(a.grad, b.grad, b.retains_grad, a.retains_grad)
try:
    torch.ones(1).register_hook(print)
except RuntimeError as e:
    print(e)
try:
    (a * 2).register_post_accumulate_grad_hook(print)
except RuntimeError as e:
    print(e)
try:
    torch.ones(1).register_post_accumulate_grad_hook(print)
except RuntimeError as e:
    print(e)
# hook returning wrong
for bad in (lambda g: g[:1], lambda g: g.double(), lambda g: 3, lambda g: None):
    t = torch.ones(2, requires_grad=True)
    t.register_hook(bad)
    try:
        (t * 2).sum().backward()
        print(t.grad)
    except Exception as e:
        print(type(e).__name__, e)
# in place inside hook
t = torch.ones(2, requires_grad=True)
t.register_hook(lambda g: g.mul_(5))
(t * 2).sum().backward()
print(t.grad)
t = torch.ones(2, requires_grad=True)
u = t.clone()
u.register_hook(lambda g: g.zero_())
(u + t).sum().backward()
print(t.grad)
# remove in own
t = torch.ones(1, requires_grad=True)
calls = []


def once(g):
    calls.append(1)
    h.remove()


h = t.register_hook(once)
t.sum().backward()
t.sum().backward()
print(calls)
# hooks and zero_grad / detach_ / requires_grad_
t = torch.ones(1, requires_grad=True)
t.register_hook(lambda g: g * 2)
d = t.detach()
print(d._backward_hooks)
t.requires_grad_(False)
t.requires_grad_(True)
t.sum().backward()
print(t.grad)
v = t * 1
v.register_hook(print)
v.detach_()
print(v._backward_hooks, v.requires_grad)


# scaling loss
class Scaler:
    def __init__(s, v):
        s.v = v

    def hook(s, p):
        return p.register_hook(lambda g: g / s.v)


lin = nn.Linear(2, 2)
s = Scaler(128.0)
hs = [s.hook(p) for p in lin.parameters()]
(lin(torch.ones(1, 2)).sum() * s.v).backward()
print(lin.bias.grad, lin.weight.grad)
# gradient noise scale
m = nn.Linear(3, 1)
X, Y = torch.randn(32, 3), torch.randn(32, 1)
gs = []
for i in range(32):
    m.zero_grad()
    F.mse_loss(m(X[i : i + 1]), Y[i : i + 1]).backward()
    gs.append(torch.cat([p.grad.flatten() for p in m.parameters()]))
G = torch.stack(gs)
print(f"{(G.var(0).sum() / G.mean(0).pow(2).sum()).item():.4f}")
# accumulation over micro batches
m.zero_grad(set_to_none=False)
for i in range(4):
    (F.mse_loss(m(X[i * 8 : (i + 1) * 8]), Y[i * 8 : (i + 1) * 8]) / 4).backward()
g1 = m.weight.grad.clone()
m.zero_grad()
F.mse_loss(m(X), Y).backward()
print(torch.allclose(g1, m.weight.grad, atol=1e-6))
print(
    nn.utils.clip_grad_norm_(m.parameters(), 0.5, norm_type=math.inf),
    nn.utils.clip_grad_value_(m.parameters(), 0.01),
    m.weight.grad,
)
m.weight.grad[0, 0] = float("nan")
try:
    nn.utils.clip_grad_norm_(m.parameters(), 1.0, error_if_nonfinite=True)
except RuntimeError as e:
    print(str(e)[:60])
