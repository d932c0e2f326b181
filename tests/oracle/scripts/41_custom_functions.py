# autograd.Function: setup_context, double backward, in place, not differentiable, what backward may not return.
import torch
import torch.nn as nn
from torch.autograd import Function, gradcheck, gradgradcheck
from torch.autograd.function import once_differentiable

torch.manual_seed(0)


class LinearFunction(Function):
    @staticmethod
    def forward(input, weight, bias):
        output = input.mm(weight.t())
        if bias is not None:
            output += bias.unsqueeze(0).expand_as(output)
        return output

    @staticmethod
    def setup_context(ctx, inputs, output):
        input, weight, bias = inputs
        ctx.save_for_backward(input, weight, bias)

    @staticmethod
    def backward(ctx, grad_output):
        input, weight, bias = ctx.saved_tensors
        gi = gw = gb = None
        if ctx.needs_input_grad[0]:
            gi = grad_output.mm(weight)
        if ctx.needs_input_grad[1]:
            gw = grad_output.t().mm(input)
        if bias is not None and ctx.needs_input_grad[2]:
            gb = grad_output.sum(0)
        return gi, gw, gb


linear = LinearFunction.apply
inp = (
    torch.randn(4, 5, dtype=torch.double, requires_grad=True),
    torch.randn(3, 5, dtype=torch.double, requires_grad=True),
    torch.randn(3, dtype=torch.double, requires_grad=True),
)
print(gradcheck(linear, inp, eps=1e-6, atol=1e-4), gradgradcheck(linear, inp))


class Lin(nn.Module):
    def __init__(s, i, o, bias=True):
        super().__init__()
        s.input_features, s.output_features = i, o
        s.weight = nn.Parameter(torch.empty(o, i))
        s.bias = nn.Parameter(torch.empty(o)) if bias else s.register_parameter("bias", None)
        nn.init.uniform_(s.weight, -0.1, 0.1)
        s.bias is not None and nn.init.uniform_(s.bias, -0.1, 0.1)

    def forward(s, x):
        return LinearFunction.apply(x, s.weight, s.bias)

    def extra_repr(s):
        return f"input_features={s.input_features}, output_features={s.output_features}, bias={s.bias is not None}"


l = Lin(3, 2)
print(l, Lin(1, 1, False))
o = l(torch.ones(1, 3))
o.sum().backward()
print(o.grad_fn.name(), l.bias.grad, l.weight.grad)


class MyCube(Function):
    @staticmethod
    def forward(x):
        return x**3, 3 * x**2

    @staticmethod
    def setup_context(ctx, inputs, output):
        (x,) = inputs
        result, dx = output
        ctx.save_for_backward(x, dx)

    @staticmethod
    def backward(ctx, g, gdx):
        x, dx = ctx.saved_tensors
        return g * dx + gdx * 6 * x


def my_cube(x):
    r, dx = MyCube.apply(x)
    return r


x = torch.tensor([1.0, 2.0], dtype=torch.double, requires_grad=True)
print(gradcheck(my_cube, (x,)), gradgradcheck(my_cube, (x,)))
y = my_cube(x)
(g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
print(g, torch.autograd.grad(g.sum(), x))


class Square(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * x


class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        r = torch.exp(x)
        ctx.save_for_backward(r)
        return r

    @staticmethod
    def backward(ctx, g):
        (r,) = ctx.saved_tensors
        return g * r


class Sinh(Function):
    @staticmethod
    def forward(ctx, x):
        ep, en = torch.exp(x), torch.exp(-x)
        ctx.save_for_backward(ep, en)
        return (ep - en) / 2, ep, en

    @staticmethod
    def backward(ctx, g, _gp, _gn):
        ep, en = ctx.saved_tensors
        r = g * (ep + en) / 2 + _gp * ep - _gn * en
        return r


for f in (Square.apply, Exp.apply, lambda x: Sinh.apply(x)[0]):
    print(gradcheck(f, (x,)), gradgradcheck(f, (x,)))


class Bad(Function):
    @staticmethod
    def forward(ctx, a, b):
        return a * b

    @staticmethod
    def backward(ctx, g):
        return g


a = torch.ones(2, requires_grad=True)


def tr(f):
    try:
        print(f())
    except Exception as e:
        print(type(e).__name__, str(e).splitlines()[0][:160])


tr(lambda: Bad.apply(a, a).sum().backward())


class Shape(Bad):
    @staticmethod
    def backward(ctx, g):
        return g[:1], None


class Extra(Bad):
    @staticmethod
    def backward(ctx, g):
        return g, None, None


class ExtraBad(Bad):
    @staticmethod
    def backward(ctx, g):
        return g, None, g


class NonT(Bad):
    @staticmethod
    def backward(ctx, g):
        return g, 3


for c in (Shape, Extra, ExtraBad, NonT):
    a.grad = None
    tr(lambda: c.apply(a, a.detach() if c is not NonT else a).sum().backward())
    print(a.grad)


class Once(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].exp()


(gg,) = torch.autograd.grad(Once.apply(a).sum(), a, create_graph=True)
tr(lambda: gg.sum().backward())


class Inp(Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 2


b = a.clone()
c = Inp.apply(b)
print(c is b, b.grad_fn.name(), b._version)
c.sum().backward()
print(a.grad)
tr(lambda: Inp.apply(a))


class NoDiff(Function):
    @staticmethod
    def forward(ctx, x):
        s, i = x.sort()
        ctx.mark_non_differentiable(i)
        ctx.save_for_backward(i)
        return s, i

    @staticmethod
    def backward(ctx, g, gi):
        (i,) = ctx.saved_tensors
        print("gi", gi)
        r = torch.zeros_like(g)
        r.index_add_(0, i, g)
        return r


s, i = NoDiff.apply(torch.tensor([3.0, 1.0, 2.0], requires_grad=True))
print(i.requires_grad, s.requires_grad)
s.pow(2).sum().backward()


class NoMat(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 1, x * 2

    @staticmethod
    def backward(ctx, g1, g2):
        print(g1, g2)
        return g2 * 2 if g2 is not None else None


NoMat.apply(a)[1].sum().backward()
tr(lambda: Square()(a))
tr(lambda: Square.forward(a))
tr(lambda: Function.apply(a))


class NoFw(Function):
    pass


tr(lambda: NoFw.apply(a))


class NoBw(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1


tr(lambda: NoBw.apply(a).sum().backward())
y = Square.apply(a)
print(
    type(y.grad_fn).__name__,
    y.grad_fn.name(),
    y.grad_fn.saved_tensors,
    y.grad_fn.needs_input_grad,
    y.grad_fn.next_functions[0][0].name(),
    isinstance(y.grad_fn, Square._backward_cls),
)
y.sum().backward()
tr(lambda: y.sum().backward())
tr(lambda: y.grad_fn.saved_tensors)


class Ctx(Function):
    @staticmethod
    def forward(ctx, x, k, *, z=1):
        return x


tr(lambda: Ctx.apply(a, 1))


# reversible
class Rev(Function):
    @staticmethod
    def forward(ctx, x1, x2, f, g):
        ctx.f, ctx.g = f, g
        with torch.no_grad():
            y1 = x1 + f(x2)
            y2 = x2 + g(y1)
        ctx.save_for_backward(y1.detach(), y2.detach())
        return y1, y2

    @staticmethod
    def backward(ctx, d1, d2):
        y1, y2 = ctx.saved_tensors
        with torch.enable_grad():
            y1_ = y1.detach().requires_grad_()
            gy = ctx.g(y1_)
            torch.autograd.backward(gy, d2)
        with torch.no_grad():
            x2 = y2 - gy
            d1 = d1 + y1_.grad
        with torch.enable_grad():
            x2_ = x2.detach().requires_grad_()
            fx = ctx.f(x2_)
            torch.autograd.backward(fx, d1)
        return d1, d2 + x2_.grad, None, None


f, g = nn.Linear(3, 3), nn.Linear(3, 3)
x1, x2 = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
y1, y2 = Rev.apply(x1, x2, f, g)
(y1.sum() + y2.pow(2).sum()).backward()
r = [x1.grad.clone(), x2.grad.clone(), f.weight.grad.clone(), g.weight.grad.clone()]
x1.grad = x2.grad = None
f.zero_grad()
g.zero_grad()
z1 = x1 + f(x2)
z2 = x2 + g(z1)
(z1.sum() + z2.pow(2).sum()).backward()
print([torch.allclose(p, q, atol=1e-5) for p, q in zip(r, (x1.grad, x2.grad, f.weight.grad, g.weight.grad))])
