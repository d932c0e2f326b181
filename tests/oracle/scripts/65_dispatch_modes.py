# Modes that see every op: what they are told, what they can change, selective checkpoints and operation counts.
import functools

import torch
import torch.nn as nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    checkpoint,
    create_selective_checkpoint_contexts,
)
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula
from torch.utils.module_tracker import ModuleTracker

torch.manual_seed(0)
aten = torch.ops.aten


class Log(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


x = torch.randn(2, 3, requires_grad=True)
lin = nn.Linear(3, 4)
for name, call in {
    "mlp": lambda: nn.Sequential(lin, nn.ReLU())(x),
    "arithmetic": lambda: (x + 1) * 2 - x / 3,
    "products": lambda: (x @ x.t(), torch.ones(2, 3, 4) @ torch.ones(4, 5)),
    "in place": lambda: x.detach().clone().add_(1).mul_(x),
    "views": lambda: x.view(-1)[0:3].reshape(3, 1).unsqueeze(0).permute(2, 0, 1),
    "indexing": lambda: (x[0, 1], x.chunk(3, 1), torch.cat([x, x]), torch.stack([x, x])),
    "reductions": lambda: (x.sum(), x.sum(0), x.mean(), x.max(), x.max(1), x.norm()),
    "comparisons": lambda: (x > 0, x == x, torch.where(x > 0, x, x)),
    "softmax": lambda: torch.log_softmax(torch.softmax(x, -1), -1),
    "conv": lambda: torch.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2)),
    "layer norm": lambda: nn.functional.layer_norm(x, (3,)),
    "creation": lambda: (torch.zeros(2), torch.ones(2), torch.zeros_like(x), torch.randn(2), torch.arange(3)),
    "powers": lambda: (x**2, x.exp().log(), x.sigmoid(), x.clamp(min=0)),
}.items():
    with Log() as log:
        call()
    print(name, log.seen)

with Log() as log:
    x.exp().sum().backward()
print("backward", [name for name in log.seen if "detach" not in name and "add_" not in name])


# ---- Changing results, and stacks of modes


class Zero(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        return torch.zeros_like(out) if func is aten.relu.default else out


with Zero():
    y = torch.relu(x)
print(y.detach(), y.grad_fn.name())


class Say(TorchDispatchMode):
    def __init__(self, who):
        super().__init__()
        self.who = who

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        print(self.who, func)
        return func(*args, **(kwargs or {}))


with Say("outer"), Say("inner"):
    torch.ones(2) + 1


class Refuse(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        raise ValueError(f"no {func}")


try:
    with Refuse():
        x * 2
except ValueError as error:
    print(error)
print((x.detach() * 0 + 1).sum())
print(aten.mm.default, aten.mm, aten.add.Tensor.name(), aten.mm.default.__name__, repr(aten.mm.default))
print(aten.add.Tensor(torch.ones(1), torch.ones(1)), aten.relu(torch.tensor([-1.0, 1.0])))


# ---- Selective checkpoints


class CountMM(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += func == aten.mm.default
        return func(*args, **(kwargs or {}))


def function(x, y):
    return torch.sigmoid(torch.matmul(torch.matmul(x, y), y)) * y


def policy(ctx, op, *args, **kwargs):
    assert isinstance(ctx, SelectiveCheckpointContext) and not ctx.is_recompute
    return CheckpointPolicy.MUST_SAVE if op in [aten.mm.default] else CheckpointPolicy.PREFER_RECOMPUTE


def region(policy):
    a, b = torch.ones(4, 4, requires_grad=True), torch.ones(4, 4, requires_grad=True)
    how = {"context_fn": functools.partial(create_selective_checkpoint_contexts, policy)} if policy else {}
    with CountMM() as first:
        out = checkpoint(function, a, b, use_reentrant=False, **how)
    with CountMM() as second:
        out.sum().backward(retain_graph=True)
    print(first.n, second.n, a.grad.sum(), b.grad.sum())
    return out


for each in (None, [aten.mm.default], policy, lambda ctx, op, *args, **kwargs: True):
    out = region(each)
try:
    out.sum().backward()
except RuntimeError as error:
    print(error)
for wrong in ([aten.mm], [torch.mm], 3):
    try:
        create_selective_checkpoint_contexts(wrong)
    except (ValueError, TypeError) as error:
        print(type(error).__name__, str(error)[:50])

# ---- Operation counts


def flops(call):
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


a, b = torch.randn(4, 4, requires_grad=True), torch.randn(4, 4, requires_grad=True)
net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
print(flops(lambda: a @ b), flops(lambda: (a @ b).sum().backward()), flops(lambda: torch.einsum("ij,jk->ik", a, b)))
print(flops(lambda: net(torch.randn(2, 3, 6, 6)).sum().backward()))
print(flops(lambda: net(torch.randn(2, 3, 6, 6, requires_grad=True)).sum().backward()))
print(flops(lambda: nn.Conv1d(4, 6, 3, groups=2)(torch.randn(1, 4, 10))))
print(flops(lambda: nn.ConvTranspose2d(4, 6, 3)(torch.randn(1, 4, 5, 5))))
counter = FlopCounterMode(display=False)
with counter:
    net(torch.randn(2, 3, 6, 6)).sum().backward()
for name, counts in sorted(counter.get_flop_counts().items()):
    print(name, sorted((str(op), n) for op, n in counts.items()))
own = FlopCounterMode(display=False, custom_mapping={aten.relu: lambda shape, out_shape=None: 1000})
with own:
    torch.relu(a)
print(own.get_total_flops())
try:
    register_flop_formula(aten.mm)(lambda *a, **k: 1)
except RuntimeError as error:
    print(error)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x):
        return self.b(self.a(x))


with ModuleTracker() as tracker:
    net = Net()
    net.b[1].register_forward_hook(lambda *args: print(sorted(tracker.parents), tracker.is_bw))
    out = net(torch.randn(2, 4, requires_grad=True))
    for layer in (net.b[0], net.a):
        layer.weight.register_hook(lambda grad: print(sorted(tracker.parents), tracker.is_bw))
    out.sum().backward()
    print(sorted(tracker.parents), tracker.is_bw)
