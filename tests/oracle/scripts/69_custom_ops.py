# Ops of a library: their derivatives, names and errors, and hooks on what they make.
import torch
from torch import Tensor
from torch.library import Library, custom_op, register_autograd


@custom_op("mylib::mul_add", mutates_args=())
def mul_add(a: Tensor, b: Tensor, c: float = 1.0) -> Tensor:
    return a * b + c


def bw(ctx, g):
    a, b = ctx.saved_tensors
    ga = gb = None
    if ctx.needs_input_grad[0]:
        ga = g * b
    if ctx.needs_input_grad[1]:
        gb = g * a
    return ga, gb, None


def setup(ctx, inputs, output):
    a, b, c = inputs
    ctx.save_for_backward(a if ctx.needs_input_grad[1] else None, b if ctx.needs_input_grad[0] else None)


register_autograd("mylib::mul_add", bw, setup_context=setup)
a = torch.randn(3, requires_grad=True)
b = torch.randn(3, requires_grad=True)
y = torch.ops.mylib.mul_add(a, b, 2.0)
print(y.grad_fn.name())
y.sum().backward()
print(torch.equal(a.grad, b.detach()), torch.equal(b.grad, a.detach()))
print(mul_add(a, b).requires_grad, mul_add(a.detach(), b.detach()).requires_grad, mul_add(a, b=b, c=3.0).shape)
print(
    torch.autograd.gradcheck(
        mul_add,
        (
            torch.randn(3, dtype=torch.double, requires_grad=True),
            torch.randn(3, dtype=torch.double, requires_grad=True),
        ),
    )
)


@custom_op("mylib::noauto", mutates_args=())
def noauto(x: Tensor) -> Tensor:
    return x.clone()


y = noauto(a)
print(y.requires_grad)
try:
    y.sum().backward()
except Exception as e:
    print(type(e).__name__, "no autograd formula" in str(e))


@custom_op("mylib::inplace_", mutates_args={"x"})
def inplace_(x: Tensor) -> None:
    x.add_(1)


t = torch.zeros(2)
inplace_(t)
print(t)


@custom_op("mylib::two", mutates_args=())
def two(x: Tensor) -> tuple[Tensor, Tensor]:
    return x * 2, x * 3


two.register_autograd(lambda ctx, g1, g2: g1 * 2 + g2 * 3)
p, q = two(a)
(p + q).sum().backward()
print(a.grad - b.detach())
try:
    torch.ops.mylib.nothing()
except AttributeError as e:
    print(str(e)[:60])
lib = Library("other", "DEF")
lib.define("triple(Tensor x) -> Tensor")
lib.impl("triple", lambda x: x * 3, "CompositeImplicitAutograd")
print(torch.ops.other.triple(torch.ones(1)), torch.ops.other.triple.default)
handles = []
out = mul_add(a, b)
out.register_hook(lambda g: handles.append(g.sum().item()))
out.grad_fn.register_hook(lambda gi, go: handles.append(len(gi)))
out.sum().backward()
print(handles)
try:
    mul_add()
except Exception as e:
    print(type(e).__name__)
