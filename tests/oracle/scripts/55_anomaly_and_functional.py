# Anomaly detection, autograd.functional, gradcheck's failures, backward and grad with many roots and inputs.
import io
import warnings

import torch
from torch import autograd

torch.manual_seed(0)


class MyFunc(autograd.Function):
    @staticmethod
    def forward(ctx, inp):
        return inp.clone()

    @staticmethod
    def backward(ctx, gO):
        raise RuntimeError("Some error in backward")
        return gO.clone()


def run_fn(a):
    out = MyFunc.apply(a)
    return out.sum()


inp = torch.rand(3, 3, requires_grad=True)
out = run_fn(inp)
try:
    out.backward()
except RuntimeError as e:
    print(e)
err = io.StringIO()
with warnings.catch_warnings(record=True) as w:
    warnings.simplefilter("always")
    with autograd.detect_anomaly():
        out = run_fn(inp)
        try:
            out.backward()
        except RuntimeError as e:
            print(e)
    print([("run_fn" in str(i.message), str(i.message).splitlines()[0]) for i in w])
with warnings.catch_warnings(record=True) as w:
    warnings.simplefilter("always")
    with autograd.set_detect_anomaly(True):
        a = torch.zeros(2, requires_grad=True)
        b = (a / a).sum()
        try:
            b.backward()
        except RuntimeError as e:
            print(e)
    print(len(w), "a / a" in str(w[-1].message) if w else None)
print(torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled())
# functional API
from torch.autograd.functional import hessian, hvp, jacobian, jvp, vhp, vjp


def f(x):
    return x.exp().sum(dim=1)


x = torch.rand(2, 2)
print(jacobian(f, x))
print(jacobian(f, x, create_graph=True).requires_grad)
print(jacobian(lambda a, b: 2 * a + 3 * b, (torch.rand(2), torch.rand(2))))
print(hessian(lambda x: x.pow(3).sum(), x))
print(hessian(lambda a, b: (2 * a.pow(2) + 3 * b.pow(2)).sum(), (torch.rand(1), torch.rand(1))))
print(vjp(f, x, torch.ones(2)))
print(jvp(f, x, torch.ones(2, 2)))
print(vhp(lambda x: x.pow(3).sum(), x, torch.ones(2, 2)))
print(hvp(lambda x: x.pow(3).sum(), x, torch.ones(2, 2), create_graph=True)[1].requires_grad)
for bad in (
    lambda: jacobian(lambda x: 3, x),
    lambda: hessian(f, x),
    lambda: vjp(f, x),
    lambda: jvp(f, x, torch.ones(3)),
    lambda: jacobian(f, 3),
    lambda: jacobian(lambda x: torch.ones(2), x, strict=True),
    lambda: jacobian(lambda x: x.detach(), x, strict=True),
):
    try:
        print(bad())
    except Exception as e:
        print(type(e).__name__, str(e)[:120])
print(jacobian(lambda x: torch.ones(2), x))


# gradcheck errors
class WrongG(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 3


xd = torch.rand(2, dtype=torch.double, requires_grad=True)
try:
    autograd.gradcheck(WrongG.apply, (xd,))
except RuntimeError as e:
    print(str(e).splitlines()[0])
print(
    autograd.gradcheck(WrongG.apply, (xd,), raise_exception=False),
    autograd.gradcheck(lambda x: x.sin(), (xd,), fast_mode=True),
    autograd.gradgradcheck(lambda x: x**3, (xd,)),
    torch.autograd.gradcheck(lambda x, y: (x * y, x + y), (xd, xd.clone().detach().requires_grad_())),
)
for bad in (
    lambda: autograd.gradcheck(lambda x: x, (torch.rand(2),)),
    lambda: autograd.gradcheck(lambda x: x.detach(), (xd,)),
    lambda: autograd.gradcheck(lambda x: x.long(), (xd,)),
):
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        try:
            print(bad())
        except Exception as e:
            print(type(e).__name__, str(e).splitlines()[0][:120])
        print([str(i.message)[:80] for i in w])
# profiler-ish/inert

# backward with multiple roots, inputs list, grad accumulate
a = torch.ones(2, requires_grad=True)
b = a * 2
c = a * 3
autograd.backward([b, c], [torch.ones(2), torch.ones(2)])
print(a.grad)
autograd.backward((a * 2).sum(), inputs=a)
print(a.grad)
print(
    autograd.grad([(a * 2).sum(), (a**2).sum()], [a]),
    autograd.grad((a * 2), a, torch.ones(2)),
    autograd.grad((a * 2).sum(), [a, torch.ones(1, requires_grad=True)], allow_unused=True),
    autograd.grad((a * 2).sum(), [a, torch.ones(1, requires_grad=True)], materialize_grads=True),
)
try:
    autograd.grad((a * 2).sum(), [a, torch.ones(1, requires_grad=True)])
except RuntimeError as e:
    print(e)
try:
    autograd.grad((a * 2), a)
except RuntimeError as e:
    print(e)
try:
    autograd.grad((a * 2), a, grad_outputs=torch.ones(3))
except RuntimeError as e:
    print(e)
r = autograd.grad((a * 2), a, grad_outputs=torch.eye(2), is_grads_batched=True) if 0 else None
g = autograd.grad((a**3).sum(), a, create_graph=True)[0]
g2 = autograd.grad(g.sum(), a, create_graph=True)[0]
print(g, g2, autograd.grad(g2.sum(), a))
