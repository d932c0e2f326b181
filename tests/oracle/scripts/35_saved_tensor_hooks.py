# Saved tensors packed to disk, to NumPy, to half; counted; errors; nesting; one saved tensor's own hooks.
import os
import tempfile
import uuid

import torch
import torch.nn as nn
from torch.autograd.graph import disable_saved_tensors_hooks, save_on_cpu, saved_tensors_hooks

torch.manual_seed(0)


class SelfDeletingTempFile:
    def __init__(self):
        self.name = os.path.join(tempfile.gettempdir(), str(uuid.uuid4()))

    def __del__(self):
        os.remove(self.name)


SAVE_THRESHOLD = 4


def pack(x):
    if x.numel() < SAVE_THRESHOLD:
        return x
    f = SelfDeletingTempFile()
    torch.save(x, f.name)
    return f


def unpack(p):
    return p if isinstance(p, torch.Tensor) else torch.load(p.name, weights_only=False)


class DiskModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x):
        with saved_tensors_hooks(pack, unpack):
            return self.b(torch.relu(self.a(x)))


m = DiskModel()
x = torch.randn(3, 4)
m(x).pow(2).sum().backward()
g1 = [p.grad.clone() for p in m.parameters()]
m.zero_grad()
m.b(torch.relu(m.a(x))).pow(2).sum().backward()
print(all(torch.equal(a, p.grad) for a, p in zip(g1, m.parameters())))
log = []


def p(t):
    log.append(("pack", tuple(t.shape), t.is_leaf, t.requires_grad, t.grad_fn.name() if t.grad_fn else None))
    return t.detach().numpy().copy()


def u(a):
    log.append(("unpack", a.shape))
    return torch.from_numpy(a)


a, b = torch.ones(5, requires_grad=True), torch.ones(5, requires_grad=True) * 2
with saved_tensors_hooks(p, u):
    y = a * b
    z = y.exp()
    w = z.sum() * 3
for l in log:
    print(l)
log.clear()
w.backward()
print(log, a.grad)
y = torch.rand(3, requires_grad=True)
with saved_tensors_hooks(lambda x: x * 4, lambda x: x / 4):
    s = y.pow(2)
print(s.grad_fn._saved_self.equal(y), torch.allclose(s.grad_fn._saved_self, y))
s.sum().backward()
print(torch.allclose(y.grad, 2 * y))
with save_on_cpu(pin_memory=False):
    q = (y * y).sum()
q.backward()
print(y.grad)
with disable_saved_tensors_hooks("not allowed here"):
    try:
        with saved_tensors_hooks(p, u):
            pass
    except RuntimeError as e:
        print(e)
    try:
        with save_on_cpu():
            pass
    except RuntimeError as e:
        print(e)
s = y.pow(2)
raw = s.grad_fn._raw_saved_self
raw.register_hooks(lambda t: t.tolist(), lambda l: torch.tensor(l))
print(type(raw).__name__, s.grad_fn._saved_self)
try:
    raw.register_hooks(lambda x: x, lambda x: x)
except RuntimeError as e:
    print(e)
try:
    with saved_tensors_hooks(lambda x: x, lambda x: 3):
        s = y.exp().sum()
    s.backward()
except Exception as e:
    print(type(e).__name__, e)
try:
    with saved_tensors_hooks(lambda x: 1 / 0, lambda x: 3):
        s = y.exp().sum()
except Exception as e:
    print(type(e).__name__, e)
try:
    with saved_tensors_hooks(lambda: 0, lambda x: 3):
        s = y.exp().sum()
except Exception as e:
    print(type(e).__name__, e)
# nested: innermost
order = []
with saved_tensors_hooks(lambda x: (order.append("outer"), x)[1], lambda x: x):
    with saved_tensors_hooks(lambda x: (order.append("inner"), x)[1], lambda x: x):
        y.exp()
    y.exp()
print(order)


# memory counter
class Counter(saved_tensors_hooks):
    def __init__(self):
        self.n = self.bytes = 0
        super().__init__(self.pack_, self.unpack_)

    def pack_(self, t):
        self.n += 1
        self.bytes += t.numel() * t.element_size()
        return t

    def unpack_(self, t):
        self.n -= 1
        return t


c = Counter()
net = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 1))
with c:
    l = net(torch.randn(8, 4)).mean()
print(c.n, c.bytes)
l.backward()
print(c.n)
with Counter() as cc:
    pass
# cast-to-half compress
comp = saved_tensors_hooks(
    lambda t: (t.dtype, t.half()) if t.is_floating_point() else (t.dtype, t), lambda d: d[1].to(d[0])
)
net.zero_grad()
with comp:
    l = net(torch.ones(2, 4)).mean()
l.backward()
print(net[0].weight.grad[0])


class Fn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        print("bw", x, y)
        return g * y


with saved_tensors_hooks(lambda t: t + 1, lambda t: t - 1):
    f = Fn.apply(y)
f.sum().backward()


def hook_inplace(x):
    x *= 2
    return x


a = torch.ones(2, requires_grad=True)
try:
    with saved_tensors_hooks(hook_inplace, lambda x: x):
        (a * 3).pow(2)
except RuntimeError as e:
    print(type(e).__name__, str(e)[:90])
from torch.autograd.graph import allow_mutation_on_saved_tensors

with allow_mutation_on_saved_tensors() as ctx:
    a = torch.ones(2, 3, requires_grad=True)
    b = a.clone()
    o = (b**2).sum()
    b.sin_()
    o.sum().backward()
    print(a.grad)
    ctx.clear()
