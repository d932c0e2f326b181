# Corners of module hooks: orders, several inputs and outputs, modes, threads, re-entrance, weak references.
import gc
import threading
import warnings
import weakref

import torch
import torch.nn as nn
from torch.nn.modules import module as MM

torch.manual_seed(0)


def t(name):
    def deco(f):
        try:
            r = f()
            print(name, "ok" if r is None else r)
        except Exception as e:
            print(name, type(e).__name__, str(e).splitlines()[0][:200])
        return f

    return deco


@t("hook order across kinds")
def _():
    log = []
    m = nn.Linear(2, 2)
    m.register_forward_pre_hook(lambda m, a: log.append("fp"))
    m.register_forward_pre_hook(lambda m, a, k: log.append("fpk"), with_kwargs=True)
    m.register_forward_hook(lambda m, a, o: log.append("f"))
    m.register_forward_hook(lambda m, a, k, o: log.append("fk"), with_kwargs=True, prepend=True)
    m.register_full_backward_pre_hook(lambda m, g: log.append("bp"))
    m.register_full_backward_hook(lambda m, gi, go: log.append("b"))
    m.weight.register_hook(lambda g: log.append("w"))
    m.bias.register_hook(lambda g: log.append("bias"))
    m.weight.register_post_accumulate_grad_hook(lambda p: log.append("pw"))
    x = torch.ones(1, 2, requires_grad=True)
    x.register_hook(lambda g: log.append("x"))
    y = m(x)
    y.register_hook(lambda g: log.append("y"))
    y.grad_fn.register_hook(lambda gi, go: log.append("node " + y.grad_fn.name()))
    y.grad_fn.register_prehook(lambda go: log.append("prenode"))
    y.sum().backward()
    return log


@t("multi in out")
def _():
    class M(nn.Module):
        def forward(s, a, b, *, c=None):
            return a * b, b + 1, "str", None

    m = M()
    got = []
    m.register_full_backward_hook(
        lambda m, gi, go: got.append(
            ([None if g is None else g.tolist() for g in gi], [None if g is None else g.tolist() for g in go])
        )
    )
    a, b = torch.ones(2, requires_grad=True), torch.full((2,), 2.0)
    o = m(a, b, c=torch.ones(1, requires_grad=True))
    o[0].sum().backward()
    return got, [type(x).__name__ for x in o]


@t("nested tuple out")
def _():
    class M(nn.Module):
        def forward(s, x):
            return (x * 2, (x * 3, [x * 4]))

    m = M()
    got = []
    m.register_full_backward_hook(lambda m, gi, go: got.append((len(gi), len(go))))
    o = m(torch.ones(1, requires_grad=True))
    (o[0] + o[1][0] + o[1][1][0]).backward()
    return got


@t("list out")
def _():
    class M(nn.Module):
        def forward(s, x):
            return [x * 2, x * 3]

    m = M()
    got = []
    m.register_full_backward_hook(lambda m, gi, go: got.append(len(go)))
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        o = m(torch.ones(1, requires_grad=True))
        sum(o).backward()
    return got, [str(x.message)[:60] for x in w]


@t("module twice, shared")
def _():
    l = nn.Linear(1, 1)
    n = []
    l.register_full_backward_hook(lambda m, gi, go: n.append(go[0].item()))
    x = torch.ones(1, 1, requires_grad=True)
    (l(l(x)) * 3).sum().backward()
    return [round(v, 4) for v in n], l.weight.grad


@t("output returned by two modules / identity chain")
def _():
    i = nn.Sequential(nn.Identity(), nn.Identity())
    n = []
    [m.register_full_backward_hook(lambda m, gi, go, k=k: n.append(k)) for k, m in enumerate(i)]
    i.register_full_backward_hook(lambda *a: n.append("seq"))
    x = torch.ones(1, requires_grad=True)
    y = i(x)
    y.sum().backward()
    return n, y is x, y.grad_fn.name(), x.grad


@t("no grad call")
def _():
    l = nn.Linear(1, 1)
    n = []
    l.register_full_backward_hook(lambda *a: n.append(1))
    l.register_forward_hook(lambda m, i, o: n.append(o.requires_grad))
    with torch.no_grad():
        l(torch.ones(1, 1))
        return n


@t("retain graph twice")
def _():
    l = nn.Linear(1, 1)
    n = []
    l.register_full_backward_hook(lambda *a: n.append(1))
    x = torch.ones(1, 1, requires_grad=True)
    y = l(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    return n


@t("grad() only wrt input")
def _():
    l = nn.Linear(1, 1)
    n = []
    l.register_full_backward_hook(lambda m, gi, go: n.append("b"))
    l.weight.register_hook(lambda g: n.append("w"))
    x = torch.ones(1, 1, requires_grad=True)
    x.register_hook(lambda g: n.append("x"))
    torch.autograd.grad(l(x).sum(), x)
    n.append("|")
    torch.autograd.grad(l(x).sum(), l.weight)
    return n


@t("double backward through bw hooks")
def _():
    l = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    n = []
    l[1].register_full_backward_hook(
        lambda m, gi, go: n.append((gi[0].requires_grad, go[0].requires_grad)) or (gi[0] * 2,)
    )
    x = torch.ones(1, 2, requires_grad=True)
    (g,) = torch.autograd.grad(l(x).sum(), x, create_graph=True)
    g.sum().backward()
    return n, x.grad


@t("backward hook raising leaves usable")
def _():
    l = nn.Linear(1, 1)
    h = l.register_full_backward_hook(lambda m, gi, go: 1 / 0)
    x = torch.ones(1, 1, requires_grad=True)
    y = l(x).sum()
    try:
        y.backward()
    except ZeroDivisionError as e:
        print(type(e).__name__, e)
    h.remove()
    l(x).sum().backward()
    return x.grad is not None


@t("kwonly input with full bw hook")
def _():
    class M(nn.Module):
        def forward(s, *, x):
            return x * 2

    m = M()
    n = []
    m.register_full_backward_hook(lambda m, gi, go: n.append((gi, len(go))))
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        m(x=torch.ones(1, requires_grad=True)).sum().backward()
    return n, len(w)


@t("legacy hook")
def _():
    l = nn.Linear(2, 1)
    n = []
    l.register_backward_hook(
        lambda m, gi, go: n.append(([None if g is None else tuple(g.shape) for g in gi], [tuple(g.shape) for g in go]))
    )
    l(torch.ones(3, 2, requires_grad=True)).sum().backward()
    return n


@t("legacy modifies")
def _():
    l = nn.ReLU()
    l.register_backward_hook(lambda m, gi, go: (gi[0] * 5,))
    x = torch.ones(2, requires_grad=True)
    l(x).sum().backward()
    return x.grad


@t("prehook changes args")
def _():
    class M(nn.Module):
        def forward(s, a, b=1, *c, d=0):
            return a, b, c, d

    m = M()
    r = []
    for h, kw in (
        (lambda m, a: (a[0] + 1,), False),
        (lambda m, a: a[0] * 10, False),
        (lambda m, a: [7], False),
        (lambda m, a, k: ((5, 6, 7), {"d": 9}), True),
    ):
        hh = m.register_forward_pre_hook(h, with_kwargs=kw)
        r.append(m(1, d=3))
        hh.remove()
    return r


@t("bwd pre hook modifies")
def _():
    l = nn.Linear(1, 1, bias=False)
    l.register_full_backward_pre_hook(lambda m, go: (go[0] * 3,))
    l.register_full_backward_pre_hook(lambda m, go: (go[0] + 1,), prepend=True)
    n = []
    l.register_full_backward_hook(lambda m, gi, go: n.append(go[0].item()))
    l(torch.ones(1, 1, requires_grad=True)).sum().backward()
    return n, l.weight.grad


@t("global kinds")
def _():
    n = []
    hs = [
        MM.register_module_forward_hook(lambda m, a, k, o: n.append((type(m).__name__, sorted(k))), with_kwargs=True),
        MM.register_module_forward_hook(lambda m, a, o: n.append(("always", o is None)), always_call=True),
    ]

    class F1(nn.Module):
        def forward(s, x, flag=None):
            raise ValueError("no")

    try:
        F1()(1, flag=2)
    except ValueError as e:
        n.append(str(e))
    nn.Identity()(3)
    [h.remove() for h in hs]
    return n


@t("global bw mixing")
def _():
    h = MM.register_module_backward_hook(lambda *a: None)
    try:
        MM.register_module_full_backward_hook(lambda *a: None)
    finally:
        h.remove()


@t("after global legacy removed")
def _():
    h = MM.register_module_full_backward_hook(lambda m, gi, go: print("g", type(m).__name__))
    nn.Linear(1, 1)(torch.ones(1, 1, requires_grad=True)).sum().backward()
    h.remove()


@t("threads")
def _():
    l = nn.Linear(1, 1)
    n = []
    l.register_forward_hook(lambda m, i, o: n.append(threading.current_thread().name))
    l.weight.register_hook(lambda g: n.append(threading.current_thread().name))
    th = threading.Thread(target=lambda: l(torch.ones(1, 1)).sum().backward(), name="worker")
    th.start()
    th.join()
    return n


@t("reentrant in hook")
def _():
    a = torch.ones(1, requires_grad=True)
    b = a * 2
    inner = []

    def h(g):
        x = torch.ones(1, requires_grad=True)
        (x * 5).backward() if torch.is_grad_enabled() else torch.enable_grad().__enter__() and None
        inner.append(torch.is_grad_enabled())

    b.register_hook(lambda g: inner.append(torch.is_grad_enabled()))
    b.backward()

    def h2(g):
        with torch.enable_grad():
            x = torch.ones(1, requires_grad=True)
            (x * 5).sum().backward()
            inner.append(x.grad.item())

    c = a * 2
    c.register_hook(h2)
    c.backward()
    return inner


@t("weakrefs")
def _():
    l = nn.Linear(1, 1)
    r = weakref.ref(l)
    h = l.register_forward_hook(lambda m, i, o, own=l: own)
    del l
    gc.collect()
    h.remove()
    return r() is None
