# Hooks and backward in many threads, exceptions of every kind out of hooks, deep chains, deep re-entrance.
import concurrent.futures as cf
import contextvars
import queue
import threading

import torch
import torch.nn as nn

torch.manual_seed(0)


def t(name):
    def deco(f):
        try:
            print(name, f())
        except BaseException as e:
            print(name, type(e).__name__, str(e)[:120])

    return deco


@t("many backwards on one graph, retain")
def _():
    a = torch.ones(50, requires_grad=True)
    y = (a * 2).sum()
    n = []
    a.register_hook(lambda g: n.append(1))
    ths = [threading.Thread(target=lambda: y.backward(retain_graph=True)) for _ in range(8)]
    [x.start() for x in ths]
    [x.join() for x in ths]
    return a.grad[0], len(n)


@t("pool map models")
def _():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    cnt = []
    net[1].register_forward_hook(lambda m, i, o: cnt.append(1))
    net[1].register_full_backward_hook(lambda m, gi, go: cnt.append(2))

    def work(i):
        return (
            torch.autograd.grad(net(torch.full((2, 3), float(i), requires_grad=True)).sum(), net[0].weight)[0]
            .sum()
            .item()
        )

    with cf.ThreadPoolExecutor(4) as ex:
        r = list(ex.map(work, range(8)))
    return [round(x, 4) for x in r], sorted(cnt) == [1] * 8 + [2] * 8


@t("grad mode is thread local")
def _():
    out = []
    with torch.no_grad():
        th = threading.Thread(target=lambda: out.append(torch.is_grad_enabled()))
        th.start()
        th.join()
        out.append(torch.is_grad_enabled())
    return out


@t("saved hooks thread local")
def _():
    out = []
    a = torch.ones(1, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: out.append("p") or x, lambda x: x):
        th = threading.Thread(target=lambda: a.exp())
        th.start()
        th.join()
        n = len(out)
        a.exp()
    return n, len(out)


@t("exception in thread backward")
def _():
    a = torch.ones(1, requires_grad=True)
    h = a.register_hook(lambda g: 1 / 0)
    errs = []

    def w():
        try:
            (a * 2).backward()
        except ZeroDivisionError as e:
            errs.append(str(e))

    th = threading.Thread(target=w)
    th.start()
    th.join()
    h.remove()
    (a * 2).backward()
    return errs, a.grad


@t("KeyboardInterrupt from hook")
def _():
    a = torch.ones(1, requires_grad=True)
    b = a * 2

    def ki(g):
        raise KeyboardInterrupt

    h = b.register_hook(ki)
    try:
        b.backward()
    except KeyboardInterrupt:
        pass
    h.remove()
    b.backward()
    return a.grad


@t("SystemExit, GeneratorExit, StopIteration")
def _():
    r = []
    for E in (SystemExit, StopIteration, GeneratorExit, MemoryError, RecursionError, AssertionError):
        m = nn.Linear(1, 1)

        def h(*a, E=E):
            raise E("x")

        m.register_forward_hook(h)
        try:
            m(torch.ones(1, 1))
        except BaseException as e:
            r.append(type(e).__name__)
        x = torch.ones(1, requires_grad=True)
        x.register_hook(h)
        try:
            x.sum().backward()
        except BaseException as e:
            r.append(type(e).__name__)
    return r


@t("hook from queue consumer")
def _():
    q = queue.Queue()
    a = torch.ones(2, requires_grad=True)
    a.register_hook(q.put)
    th = threading.Thread(target=lambda: (a * 3).sum().backward())
    th.start()
    th.join()
    return q.get(timeout=1)


@t("contextvars inside hooks")
def _():
    v = contextvars.ContextVar("v", default=0)
    v.set(5)
    out = []
    m = nn.Identity()
    m.register_forward_hook(lambda *a: out.append(v.get()))
    m(1)
    contextvars.copy_context().run(lambda: (v.set(6), m(1)))
    return out, v.get()


@t("deep chain")
def _():
    a = torch.ones(1, requires_grad=True)
    y = a
    for _ in range(20000):
        y = y + 0
    y.backward()
    return a.grad


@t("deep reentrant")
def _():
    class R(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, d):
            ctx.d = d
            ctx.save_for_backward(x)
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            if ctx.d > 0:
                with torch.enable_grad():
                    x = ctx.saved_tensors[0].detach().requires_grad_()
                    R.apply(x, ctx.d - 1).sum().backward()
                return x.grad * g, None
            return g, None

    a = torch.ones(2, requires_grad=True)
    R.apply(a, 150).sum().backward()
    return a.grad


@t("hook handles from other threads")
def _():
    m = nn.Linear(1, 1)
    hs = []
    th = threading.Thread(target=lambda: hs.append(m.register_forward_hook(lambda *a: None)))
    th.start()
    th.join()
    n = len(m._forward_hooks)
    hs[0].remove()
    return n, len(m._forward_hooks)


@t("backward in forward hook / forward in backward hook")
def _():
    m = nn.Linear(2, 2)
    log = []

    def fh(mod, i, o):
        with torch.enable_grad():
            w = torch.ones(1, requires_grad=True)
            (w * 3).backward()
            log.append(w.grad.item())

    m.register_forward_hook(fh)
    m.register_full_backward_hook(lambda mod, gi, go: log.append(tuple(mod.forward(go[0]).shape)))
    m(torch.ones(1, 2, requires_grad=True)).sum().backward()
    return log
