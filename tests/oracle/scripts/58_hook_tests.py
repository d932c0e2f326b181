# What tests of module hooks check, one function a promise, with the exceptions and warnings they expect.
import pickle
import re
import warnings
from collections import OrderedDict
from contextlib import contextmanager

import torch
import torch.nn as nn

torch.manual_seed(0)


@contextmanager
def raises(exc, match=None):
    try:
        yield
    except exc as e:
        print("   raised", type(e).__name__, str(e).splitlines()[0][:170])
        if match and not re.search(match, str(e)):
            print("   NO MATCH", match, "in", e)
    else:
        print("   DID NOT RAISE")


@contextmanager
def warns(cat, match=None):
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        yield
    print("   warned", [(x.category.__name__, str(x.message).splitlines()[0][:140]) for x in w])


def test_hook_inplace():
    for inplace in (False,):
        m = nn.Sigmoid()
        x = torch.ones(5, 5, requires_grad=True)
        cnt = {"f": 0, "b": 0}

        def fw(inc, mod, inp, out):
            cnt["f"] += inc

        def bw(inc, mod, gi, go):
            cnt["b"] += inc

        h1 = m.register_forward_hook(lambda *a: fw(1, *a))
        m(x)
        m(x)
        print(cnt)
        h2 = m.register_full_backward_hook(lambda *a: bw(1, *a))
        o = m(x)
        o.backward(torch.ones(5, 5) * 2, retain_graph=True)
        o.backward(torch.ones(5, 5) * 2, retain_graph=True)
        print(cnt)
        h3 = m.register_forward_hook(lambda *a: fw(2, *a))
        o = m(x)
        h4 = m.register_full_backward_hook(lambda *a: bw(2, *a))
        m(x).backward(torch.ones(5, 5))
        print(cnt)
        h4.remove()
        m(x).backward(torch.ones(5, 5) * 2)
        h3.remove()
        m(x)
        h1.remove()
        h2.remove()
        m(x)
        print(cnt)


def test_hook_invalid_outputs():
    m = nn.Sigmoid()
    x = torch.randn(5, 5, requires_grad=True)
    with m.register_full_backward_hook(lambda *a: (None, None)), raises(RuntimeError, "got 2, but expected 1"):
        m(x).sum().backward()
    with m.register_full_backward_hook(lambda *a: 3), raises(Exception):
        m(x).sum().backward()
    with m.register_full_backward_pre_hook(lambda *a: ()), raises(RuntimeError):
        m(x).sum().backward()
    with m.register_full_backward_hook(lambda m, gi, go: (torch.ones(2),)):
        with raises(RuntimeError):
            m(x).sum().backward()
    with m.register_full_backward_hook(lambda m, gi, go: (None,)):
        x.grad = None
        m(x).sum().backward()
        print(x.grad)
    with m.register_full_backward_pre_hook(lambda m, go: (None,)):
        x.grad = None
        m(x).sum().backward()
        print(x.grad)
    with m.register_full_backward_hook(lambda m, gi, go: [g * 2 for g in gi]), raises(Exception):
        x.grad = None
        m(x).sum().backward()
        print(x.grad[0, :2])


def test_hook_requires_grad():
    class M(nn.Module):
        def forward(s, *a):
            return a

    m = M()
    got = []
    m.register_full_backward_hook(
        lambda m, gi, go: got.append(
            ([None if g is None else float(g.sum()) for g in gi], [None if g is None else float(g.sum()) for g in go])
        )
    )

    def run(*rg):
        got.clear()
        ins = [torch.rand(2, requires_grad=r) if r is not None else None for r in rg]
        o = m(*ins)
        t = [q for q in o if q is not None and q.requires_grad]
        if t:
            sum(q.sum() for q in t).backward()
        print(rg, got)

    for rg in ((True,), (True, False), (False, True), (None, True), (True, None, True), (False, False)):
        run(*rg)


def test_hook_no_requires_grad_warn():
    m = nn.Linear(2, 2)
    m.register_full_backward_hook(lambda m, gi, go: print("   ", gi))
    with warns(UserWarning):
        m(torch.rand(1, 2)).sum().backward()

    class NoInput(nn.Module):
        def __init__(s):
            super().__init__()
            s.p = nn.Parameter(torch.ones(1))

        def forward(s, x=None):
            return s.p * 2

    o = NoInput()
    o.register_full_backward_hook(lambda m, gi, go: print("   ", gi, go))
    with warns(UserWarning):
        o().backward()
        o(None).backward()
        o(x=torch.ones(1)).backward()


def test_hook_last_arg_requires_grad():
    m = nn.L1Loss()
    a, b = torch.rand(2), torch.rand(2, requires_grad=True)
    m.register_full_backward_hook(lambda m, gi, go: print("   ", [g is None for g in gi]))
    m(a, b).backward()


def test_hook_extra_input_non_tensor():
    class M(nn.Module):
        def forward(s, non, t):
            return t.clone() if non else t

    m = M()
    m.register_full_backward_hook(lambda m, gi, go: print("   ", gi))
    m(3, torch.rand(1, requires_grad=True)).backward()


def test_hook_backward_writeable():
    m = nn.Sigmoid()
    x = torch.zeros(2, requires_grad=True)

    def bw(m, gi, go):
        return tuple(g * 2 for g in gi)

    m.register_full_backward_hook(bw)
    m(x).backward(torch.ones(2))
    print(x.grad)


def test_hook_forward_preforward_writable():
    m = nn.Sigmoid()
    x = torch.zeros(2, requires_grad=True)
    m.register_forward_pre_hook(lambda m, i: nn.functional.relu(i[0]))
    m.register_forward_hook(lambda m, i, o: -o)
    y = m(x)
    y.backward(torch.ones(2))
    print(y, x.grad)


def test_hook_buffer_registration():
    from torch.nn.modules.module import register_module_buffer_registration_hook as r

    n = [0]

    def h(mod, name, buf):
        n[0] += 1
        buf.registered = True

    hd = r(h)

    class B(nn.Module):
        def __init__(s):
            super().__init__()
            s.register_buffer("b", torch.ones(1))
            s.buf = nn.Buffer(torch.ones(1))

    b = B()
    hd.remove()
    print(b.b.registered, n, [n_ for n_, _ in b.named_buffers()])


def test_register_state_dict_hooks():
    m = nn.Linear(1, 1)
    m._register_state_dict_hook(lambda mod, sd, prefix, meta: sd.__setitem__("extra", 1))
    print(list(m.state_dict()))
    m._register_state_dict_hook(lambda mod, sd, p, me: {"replaced": 2})
    print(m.state_dict())
    m = nn.Linear(1, 1)
    m.register_state_dict_post_hook(lambda mod, sd, p, me: {"x": 1})
    with raises(RuntimeError):
        m.state_dict()
    m = nn.Linear(1, 1)
    m.register_load_state_dict_post_hook(lambda mod, inc: 3)
    with raises(AssertionError):
        m.load_state_dict(m.state_dict())
    m = nn.Linear(1, 1)
    m.register_load_state_dict_post_hook(
        lambda mod, inc: (inc.missing_keys.clear(), inc.unexpected_keys.clear(), None)[-1]
    )
    print(m.load_state_dict({"zzz": 1}))
    m = nn.Sequential(nn.Linear(1, 1))
    m[0]._register_load_state_dict_pre_hook(lambda sd, prefix, *a: print("   pre", prefix, len(a)), with_module=False)
    m[0]._register_load_state_dict_pre_hook(
        lambda mod, sd, prefix, *a: print("   pre", type(mod).__name__), with_module=True
    )
    m.load_state_dict(m.state_dict())


def test_removable_handle_pickle():
    from torch.utils.hooks import RemovableHandle

    d = OrderedDict()
    h = RemovableHandle(d)
    d[h.id] = 3
    s = pickle.loads(pickle.dumps(h))
    print(s.id == h.id, type(s).__name__, s.hooks_dict_ref())
    h.remove()
    print(d)
    a = OrderedDict({5: 1})
    h2 = RemovableHandle(d, extra_dict=a)
    print(h2.id > h.id, len(h2.extra_dict_ref) if isinstance(h2.extra_dict_ref, tuple) else 0)


def test_backward_hook_class():
    from torch.utils.hooks import BackwardHook

    m = nn.Identity()
    calls = []
    bh = BackwardHook(
        m, [lambda mod, gi, go: calls.append((gi[0].item(), go[0].item()))], [lambda mod, go: (go[0] * 3,)]
    )
    x = torch.ones((), requires_grad=True)
    i = bh.setup_input_hook((x,))
    o = bh.setup_output_hook(i[0] * 2)
    o.backward()
    print(calls, x.grad, o.grad_fn.name())


def test_global_and_local_order():
    from torch.nn.modules.module import (
        register_module_full_backward_hook as g,
    )
    from torch.nn.modules.module import (
        register_module_full_backward_pre_hook as gp,
    )

    out = []
    m = nn.Linear(1, 1)
    m.register_full_backward_hook(lambda *a: out.append("local"))
    m.register_full_backward_hook(lambda *a: out.append("local first"), prepend=True)
    h = [g(lambda *a: out.append("global")), gp(lambda *a: out.append("gpre"))]
    m.register_full_backward_pre_hook(lambda *a: out.append("lpre"))
    m(torch.ones(1, 1, requires_grad=True)).sum().backward()
    [x.remove() for x in h]
    print(out)


def test_unserializable():
    from torch.utils.hooks import unserializable_hook, warn_if_has_hooks

    @unserializable_hook
    def f(g):
        return g

    print(f.__torch_unserializable__)
    t = torch.ones(1, requires_grad=True)
    t.register_hook(f)
    with warns(UserWarning):
        warn_if_has_hooks(t)
    t.register_hook(print)
    with warns(UserWarning):
        warn_if_has_hooks(t)


def test_hook_on_frozen_submodule():
    m = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    m[0].requires_grad_(False)
    n = []
    [l.register_full_backward_hook(lambda mod, gi, go, i=i: n.append((i, gi[0] is None))) for i, l in enumerate(m)]
    with warns(UserWarning):
        m(torch.ones(1, 2)).sum().backward()
    print(n)


def test_module_dict_mutation_in_hook():
    m = nn.Linear(1, 1)
    n = []

    def a(*_):
        n.append("a")
        m.register_forward_hook(b)

    def b(*_):
        n.append("b")

    h = m.register_forward_hook(a)
    m(torch.ones(1, 1))
    n.append("|")
    h.remove()
    m(torch.ones(1, 1))
    m._forward_hooks.clear()
    m(torch.ones(1, 1))
    print(n)


def test_forward_hooks_kwargs_return():
    class M(nn.Module):
        def forward(s, x, *, k):
            return x + k

    m = M()
    m.register_forward_hook(lambda mod, a, kw, o: (o, kw["k"]), with_kwargs=True)
    m.register_forward_hook(lambda mod, a, o: o[0] * 2)
    print(m(1, k=2))
    for bad in (lambda mod, a, kw: a, lambda mod, a, kw: (a,), lambda mod, a, kw: (a, kw, 1), lambda mod, a, kw: 5):
        m2 = M()
        m2.register_forward_pre_hook(bad, with_kwargs=True)
        with raises(Exception):
            m2(1, k=2)


for n, f in list(globals().items()):
    if n.startswith("test_"):
        print(n)
        try:
            f()
        except Exception as e:
            print("   ERROR", type(e).__name__, str(e)[:200])
