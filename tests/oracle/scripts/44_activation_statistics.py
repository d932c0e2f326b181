# Activation statistics, dead units, NaN detectors, timers, gradient flow, shape checks.
import time
from collections import Counter, OrderedDict, defaultdict

import torch
import torch.nn as nn

torch.manual_seed(0)


class Stats:
    def __init__(s, m, name):
        s.name, s.n, s.mean, s.m2, s.hist = name, 0, 0.0, 0.0, torch.zeros(5)
        s.h = m.register_forward_hook(s)

    def __call__(s, m, i, o):
        x = o.detach()
        s.n += x.numel()
        d = x.mean().item() - s.mean
        s.mean += d
        s.m2 += x.var(unbiased=False).item()
        s.hist += torch.histc(x, bins=5, min=-2, max=2)


net = nn.Sequential(
    OrderedDict(fc1=nn.Linear(4, 8), act1=nn.ReLU(), fc2=nn.Linear(8, 8), act2=nn.Tanh(), out=nn.Linear(8, 3))
)
st = [Stats(m, n) for n, m in net.named_children()]
with torch.inference_mode():
    for _ in range(3):
        net(torch.randn(16, 4))
for s in st:
    print(f"{s.name:>5} n={s.n:4d} mean={s.mean:+.4f} var={s.m2:.4f} hist={s.hist.tolist()}")
for s in st:
    s.h.remove()
dead = defaultdict(lambda: None)


def count_dead(name):
    def hook(m, i, o):
        z = (o <= 0).all(dim=0)
        dead[name] = z if dead[name] is None else dead[name] & z

    return hook


with torch.no_grad():
    net.fc1.bias[:3] = -100
h = net.act1.register_forward_hook(count_dead("act1"))
for _ in range(2):
    net(torch.randn(5, 4))
print(
    dead["act1"],
    int(dead["act1"].sum()),
    dead["act1"].nonzero().flatten().tolist(),
    f"{dead['act1'].float().mean():.2%}",
)
h.remove()


class NanError(RuntimeError):
    pass


def nan_hook(name):
    def hook(m, inp, out):
        for i, o in enumerate(out if isinstance(out, tuple) else [out]):
            bad = torch.isnan(o) | torch.isinf(o)
            if bad.any():
                raise NanError(f"Found NaN/Inf in output {i} of {name} at indices: {bad.nonzero().tolist()}")

    return hook


hs = [m.register_forward_hook(nan_hook(n)) for n, m in net.named_modules() if n]
x = torch.randn(2, 4)
x[1, 2] = float("inf")
try:
    net(x)
except NanError as e:
    print(type(e).__name__, e)
for h in hs:
    h.remove()
# timer
times = defaultdict(list)
t0 = {}
for n, m in net.named_children():
    m.register_forward_pre_hook(lambda m, i, n=n: t0.__setitem__(n, time.perf_counter()))
    m.register_forward_hook(lambda m, i, o, n=n: times[n].append(time.perf_counter() - t0.pop(n)))
    m.register_full_backward_pre_hook(lambda m, g, n=n: t0.__setitem__("b" + n, time.perf_counter()))
    m.register_full_backward_hook(lambda m, gi, go, n=n: times["b" + n].append(time.perf_counter() - t0.pop("b" + n)))
for _ in range(2):
    net(torch.randn(3, 4)).sum().backward()
print({k: len(v) for k, v in times.items()}, all(t >= 0 for v in times.values() for t in v), t0)
# gradient flow
net = nn.Sequential(*[nn.Sequential(nn.Linear(6, 6), nn.Sigmoid()) for _ in range(5)], nn.Linear(6, 1))
nn.init.normal_(net[0][0].weight, std=0.3)
grads = {}
for n, m in net.named_modules():
    if isinstance(m, nn.Linear):
        m.register_full_backward_hook(
            lambda m, gi, go, n=n: grads.__setitem__(
                n, (None if gi[0] is None else gi[0].abs().mean().item(), go[0].abs().mean().item())
            )
        )
net(torch.randn(8, 6)).pow(2).mean().backward()
for n, (a, b) in grads.items():
    print(n, None if a is None else f"{a:.3e}", f"{b:.3e}")
for n, p in net.named_parameters():
    if "bias" not in n:
        print(
            f"{n:12s} avg {p.grad.abs().mean():.3e} max {p.grad.abs().max():.3e} ratio {(p.grad.std() / p.data.std()).log10().item():.3f}"
        )
c = Counter(type(m).__name__ for m in net.modules())
print(c.most_common())


# shape checker
def check(expected):
    def pre(m, args):
        if args[0].shape[-1] != expected:
            raise ValueError(f"{m}: expected last dim {expected}, got {tuple(args[0].shape)}")

    return pre


net[0][0].register_forward_pre_hook(check(6))
try:
    net(torch.ones(2, 5))
except ValueError as e:
    print(e)
try:
    nn.Linear(6, 2)(torch.ones(2, 5))
except RuntimeError as e:
    print(e)
# quantile/topk/kthvalue/median/hist
a = torch.randn(100)
print(
    a.kthvalue(10),
    a.median(),
    a.quantile(torch.tensor([0.1, 0.9])),
    a.topk(3).indices,
    a.argsort()[:3],
    torch.bucketize(torch.tensor([0.5]), torch.tensor([0.0, 1.0])),
    a.mode() if 0 else "",
    a.std(),
    a.var_mean() if hasattr(a, "var_mean") else torch.var_mean(a),
)
