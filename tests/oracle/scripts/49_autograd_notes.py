# The autograd notes and the examples of the hook methods; then one error after another, type and words.
import torch
import torch.nn as nn
import torch.nn.functional as F

v = torch.tensor([0.0, 0.0, 0.0], requires_grad=True)
h = v.register_hook(lambda grad: grad * 2)
v.backward(torch.tensor([1.0, 2.0, 3.0]))
print(v.grad)
h.remove()
a = torch.tensor([0.0, 0.0, 0.0], requires_grad=True)
b = a.clone()
assert isinstance(b.grad_fn, torch.autograd.graph.Node)
print(b.grad_fn.name())
a = torch.tensor([0.0], requires_grad=True)
b = a.clone()
h = b.grad_fn.register_hook(lambda gI, gO: (gO[0] * 2,))
b.sum().backward(retain_graph=True)
print(a.grad)
h.remove()
a.grad = None
b.sum().backward(retain_graph=True)
print(a.grad)
a.grad = None
h = b.grad_fn.register_prehook(lambda gI: (gI[0] * 2,))
b.sum().backward(retain_graph=True)
print(a.grad)
h.remove()
a = torch.tensor([1.0], requires_grad=True)
b = a * 2
print(b.grad_fn.metadata)
b.grad_fn.metadata["x"] = 1
print(
    b.grad_fn.metadata,
    (a * 2).grad_fn.metadata,
    b.grad_fn.next_functions[0][1],
    b.grad_fn._sequence_nr() >= 0,
    b.grad_fn._input_metadata if 0 else "",
)
x = torch.tensor([5.0], requires_grad=True)
y = x.pow(2)
print(x.equal(y.grad_fn._saved_self), x is y.grad_fn._saved_self)
x = torch.randn(5, requires_grad=True)
y = x.exp()
print(y.equal(y.grad_fn._saved_result), y is y.grad_fn._saved_result)
x = torch.zeros(1, requires_grad=True)
with torch.no_grad():
    y = x * 2
print(y.requires_grad)


@torch.no_grad()
def doubler(x):
    return x * 2


print(doubler(x).requires_grad)


@torch.no_grad
def tripler(x):
    return x * 3


print(tripler(x).requires_grad)


@torch.enable_grad()
def quad(x):
    return x * 4


with torch.no_grad():
    print(quad(x).requires_grad)
with torch.set_grad_enabled(False):
    print((x * 2).requires_grad)
torch.set_grad_enabled(False)
print((x * 2).requires_grad)
torch.set_grad_enabled(True)


@torch.inference_mode()
def fn(x):
    return x * x


o = fn(x)
print(o.requires_grad, o.is_inference(), torch.is_inference_mode_enabled())
try:
    o * x
except RuntimeError as e:
    print(e)
try:
    o.requires_grad_()
except RuntimeError as e:
    print(e)


class G:
    @torch.no_grad()
    def __iter__(self):
        yield torch.is_grad_enabled()
        yield torch.is_grad_enabled()


print(list(G()), torch.is_grad_enabled())
t1 = torch.tensor([1.0, 2.0], requires_grad=True)
t2 = torch.tensor([3.0], requires_grad=True)
fwd = []


def hk(grads):
    fwd.append([None if g is None else g.tolist() for g in grads])


a, b, c, d = (torch.rand(2, 3, requires_grad=True) for _ in range(4))
h = torch.autograd.graph.register_multi_grad_hook((a, b, c, d), hk)
(a * b + c * d).sum().backward() if 0 else None
c1 = a * b
d1 = a * b
(c1 + d1).sum().backward(retain_graph=True) if 0 else None
c1.sum().backward(retain_graph=True)
print([x is None for x in fwd[0]])
h.remove()


def my_hook(grad):
    print("leaf", grad.shape)


lm = nn.Linear(1, 1)
lm.weight.register_post_accumulate_grad_hook(lambda p: (print("acc", p.grad), setattr(p, "grad", None))[0])
lm(torch.ones(1, 1)).sum().backward()
print(lm.weight.grad)
with torch.autograd.set_detect_anomaly(True):
    try:
        q = torch.tensor([-1.0], requires_grad=True)
        (q.sqrt() * 0).sum().backward()
    except RuntimeError as e:
        print(e)
with torch.autograd.detect_anomaly(check_nan=False):
    q.grad = None
    (q.sqrt()).sum().backward()
    print(q.grad)
# inputs needed in backward modified
a = torch.ones(2, requires_grad=True)
b = a.exp()
b.add_(1)
try:
    b.sum().backward()
except RuntimeError as e:
    print(e)
b = a * 2
c = b.sin()
b.mul_(2)
try:
    c.sum().backward()
except RuntimeError as e:
    print(e)
for f in (
    lambda: a.add_(1),
    lambda: a[0].mul_(2),
    lambda: a.view(2).zero_(),
    lambda: torch.ones(1).backward(),
    lambda: (a * 2).backward(),
    lambda: (a * 2).backward(torch.ones(3)),
    lambda: torch.autograd.grad((a * 2).sum(), torch.ones(1, requires_grad=True)),
    lambda: torch.autograd.grad(a.sum(), torch.ones(1)),
    lambda: a.requires_grad_(False) and (a * 2).requires_grad_(False),
    lambda: torch.ones(2, dtype=torch.long, requires_grad=True),
    lambda: torch.tensor([1, 2]).requires_grad_(),
    lambda: a.numpy(),
    lambda: setattr(a, "grad", 3),
    lambda: setattr(a, "grad", torch.ones(5)),
    lambda: setattr(a, "grad", torch.ones(2, dtype=torch.double)),
    lambda: setattr(a * 2, "requires_grad", False),
    lambda: next(iter((a * 2).unbind())).add_(1),
    lambda: bool(a),
    lambda: a.item(),
    lambda: int(torch.ones(3)),
    lambda: len(torch.tensor(1)),
    lambda: list(torch.tensor(1)),
    lambda: torch.ones(2) @ torch.ones(3),
    lambda: torch.ones(2) + torch.ones(3),
    lambda: hash(a) is None,
    lambda: a.foo,
    lambda: torch.zeros(2).fill_(torch.ones(2)),
    lambda: torch.ones(2, 3).view(5),
    lambda: torch.ones(2, 3).t().view(6),
    lambda: torch.cat([torch.ones(1, 2), torch.ones(1, 3)]),
    lambda: torch.ones(3)[5],
    lambda: torch.ones(3)[[1, 7]],
    lambda: torch.ones(3).index_select(0, torch.tensor([9])),
    lambda: torch.ones(3, 3).gather(5, torch.zeros(1, 1).long()),
    lambda: F.nll_loss(torch.ones(2, 3), torch.tensor([0, 5])),
    lambda: F.cross_entropy(torch.ones(2, 3), torch.tensor([0])),
    lambda: torch.stack([]),
    lambda: torch.randn(2, 3).squeeze(5),
    lambda: torch.eye(3).expand(2, 3),
    lambda: torch.arange(5).mean(),
    lambda: torch.tensor([[1, 2], [3]]),
    lambda: nn.Linear(2, 3)(torch.ones(2, 2).long()),
    lambda: nn.Conv2d(3, 4, 3)(torch.ones(1, 2, 5, 5)),
    lambda: nn.BatchNorm1d(3)(torch.ones(1, 3)),
    lambda: nn.Embedding(3, 2)(torch.tensor([5])),
    lambda: nn.Embedding(3, 2)(torch.ones(2)),
):
    a.requires_grad_(True)
    try:
        print(f())
    except Exception as e:
        print(type(e).__name__, str(e).splitlines()[0])
