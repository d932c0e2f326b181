# Forward mode: dual tensors through ops, Functions with a jvp, errors, and both modes together.
import torch
import torch.autograd.forward_ad as fwAD
from torch.autograd import Function
from torch.func import jvp, linearize

torch.manual_seed(0)
x, v = torch.randn(3, dtype=torch.double), torch.randn(3, dtype=torch.double)
for name, f in {
    "sin": torch.sin,
    "mul": lambda a: a * a * 3,
    "sum": lambda a: a.sum(),
    "products": lambda a: a.outer(a) @ a,
    "softmax": lambda a: a.softmax(0),
    "cat": lambda a: torch.cat([a, a * 2]),
    "sign": torch.sign,
    "constant": lambda a: torch.ones(2),
    "index": lambda a: a[1:],
    "where": lambda a: torch.where(a > 0, a, -a),
    "linear": lambda a: torch.nn.functional.linear(a, torch.ones(2, 3, dtype=torch.double)),
    "layer norm": lambda a: torch.nn.functional.layer_norm(a, (3,)),
    "argmax": lambda a: a.argmax(),
}.items():
    with fwAD.dual_level():
        print(name, fwAD.unpack_dual(f(fwAD.make_dual(x, v))).tangent)


class Mix(Function):
    @staticmethod
    def forward(ctx, x, y, s):
        ctx.save_for_forward(x, y)
        ctx.s = s
        return x * y * s, x + y

    @staticmethod
    def jvp(ctx, x_t, y_t, s_t):
        x, y = ctx.saved_tensors
        print(x_t is None, y_t, s_t)
        return (x_t * y + x * y_t) * ctx.s, x_t + y_t


class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.result = x.exp()
        return ctx.result

    @staticmethod
    def jvp(ctx, x_t):
        x_t = x_t * ctx.result
        del ctx.result
        return x_t


class Double(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


with fwAD.dual_level():
    d = fwAD.make_dual(x, v)
    assert fwAD.unpack_dual(d).tangent is v
    a, b = Mix.apply(d, torch.ones(3, dtype=torch.double), 2)
    print(fwAD.unpack_dual(a * 2).tangent, fwAD.unpack_dual(b).tangent, fwAD.unpack_dual(Exp.apply(d)).tangent)
    try:
        Double.apply(d)
    except NotImplementedError as error:
        print(error)
    print(Double.apply(x), fwAD.unpack_dual(x))
assert fwAD.unpack_dual(a).tangent is None
print(Double.apply(x))

for level, wrong in [
    (False, lambda: fwAD.make_dual(x, v)),
    (False, lambda: fwAD.exit_dual_level()),
    (True, lambda: fwAD.enter_dual_level()),
    (True, lambda: fwAD.make_dual(x, v[:2])),
    (True, lambda: fwAD.make_dual(torch.ones(2, dtype=torch.long), v)),
    (True, lambda: fwAD.make_dual(x, torch.ones(3, dtype=torch.long))),
]:
    if level:
        fwAD.enter_dual_level()
    try:
        wrong()
    except (RuntimeError, ValueError) as error:
        print(type(error).__name__, str(error)[:60])
    if level:
        fwAD.exit_dual_level()

w = torch.randn(3, dtype=torch.double, requires_grad=True)
with fwAD.dual_level():
    d = fwAD.make_dual(w, v)
    (g,) = torch.autograd.grad((d**3).sum(), d, create_graph=True)
    print("forward over reverse", fwAD.unpack_dual(g).tangent.allclose(6 * w * v))
    (g,) = torch.autograd.grad(fwAD.unpack_dual((d**2).sum()).tangent, w)
    print("reverse over forward", g.allclose(2 * v))

model = torch.nn.Linear(3, 3).double()
tangents = {name: torch.rand_like(p) for name, p in model.named_parameters()}
with fwAD.dual_level():
    for name, p in dict(model.named_parameters()).items():
        delattr(model, name)
        setattr(model, name, fwAD.make_dual(p, tangents[name]))
    print(fwAD.unpack_dual(model(x)).tangent.detach())
print(
    linearize(torch.sin, torch.tensor(1.0))[1](torch.tensor(2.0)),
    jvp(torch.sin, (torch.tensor(1.0),), (torch.tensor(2.0),)),
)
