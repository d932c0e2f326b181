# Sixty random graphs with tensor, node and leaf hooks and in-place operations: every event and gradient.
import random

import torch


def prog(seed):
    r = random.Random(seed)
    torch.manual_seed(seed)
    ev = []
    ts = [torch.randn(3, requires_grad=True) for _ in range(2)] + [
        torch.randn(3, 3, requires_grad=True)[0] if False else torch.randn(1, requires_grad=True)
    ]
    leaves = list(ts)

    def rd(g):
        return None if g is None else ([round(v, 3) + 0.0 for v in g.reshape(-1).tolist()], tuple(g.shape))

    ops = [
        lambda a, b: a + b,
        lambda a, b: a * b,
        lambda a, b: a - 2 * b,
        lambda a, b: torch.sin(a) + b,
        lambda a, b: a.exp() * 0.1 + b,
        lambda a, b: torch.maximum(a, b),
        lambda a, b: a.unsqueeze(0).expand(2, *a.shape).sum(0),
        lambda a, b: a.clone().mul_(b) if a.shape == torch.broadcast_shapes(a.shape, b.shape) else a * b,
        lambda a, b: torch.stack([a, a * 2]).mean(0),
        lambda a, b: a.tanh(),
        lambda a, b: torch.where(a > 0, a, b),
    ]
    for i in range(8):
        a, b = r.choice(ts), r.choice(ts)
        y = r.choice(ops)(a, b)
        k = r.random()
        if k < 0.25:
            y.register_hook(lambda g, i=i: ev.append((i, "t", rd(g))))
        elif k < 0.4:
            y.register_hook(lambda g, i=i: (ev.append((i, "t2")), g * 2)[1])
        elif k < 0.5 and y.grad_fn:
            y.grad_fn.register_hook(lambda gi, go, i=i: ev.append((i, "n", [rd(g) for g in gi], [rd(g) for g in go])))
        elif k < 0.6 and y.grad_fn:
            y.grad_fn.register_prehook(
                lambda go, i=i: (ev.append((i, "p")), tuple(g if g is None else g * 0.5 for g in go))[1]
            )
        elif k < 0.7:
            y.retain_grad()
            y.tag = i
        elif k < 0.8 and y.dim():
            v = y[:1]
            v.mul_(3) if not y.is_leaf and y.grad_fn.name() not in ("ExpBackward0", "TanhBackward0") else None
        ts.append(y)
    for j, l in enumerate(leaves):
        k = r.random()
        if k < 0.4:
            l.register_hook(lambda g, j=j: ev.append((j, "leaf", rd(g))))
        if k > 0.3:
            l.register_post_accumulate_grad_hook(lambda p, j=j: ev.append((j, "acc", rd(p.grad))))
    out = sum(t.sum() for t in ts[-3:])
    try:
        out.backward()
    except RuntimeError as e:
        ev.append(str(e)[:60])
    return ev, [rd(l.grad) for l in leaves], [(t.tag, rd(t.grad)) for t in ts if hasattr(t, "tag")], out.grad_fn.name()


for s in range(60):
    print(s, *prog(s))
