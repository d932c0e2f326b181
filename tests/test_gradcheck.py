"""gradcheck finds wrong gradients. Expected words are PyTorch's."""

import random

import pytest

import hookgrad as torch
from hookgrad.autograd import Function, gradcheck, gradgradcheck
from hookgrad.autograd.gradcheck import GradcheckError

FAST = pytest.mark.parametrize("fast", [False, True])


def X(*shape):
    n = torch.Size(shape).numel()
    return torch.arange(1, n + 1, dtype=torch.float64).reshape(shape).div(3).requires_grad_()


def square(backward, materialize=True):
    """A square whose derivative is backward(ctx.saved x, grad)."""

    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(materialize)
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            return backward(ctx.saved_tensors[0], grad)

    return Square.apply


@FAST
def test_right_gradients_pass(fast):
    assert gradcheck(torch.sin, X(2, 3), fast_mode=fast)
    assert gradcheck(torch.mm, (X(2, 3), X(3, 2)), fast_mode=fast)
    assert gradcheck(lambda x: (x * 2, x.exp()), X(2), fast_mode=fast)
    assert gradcheck(lambda x, n: x**n, (X(2), 3), fast_mode=fast)
    assert gradcheck(lambda x: [x * x, (x * 0).long()], [X(2)], fast_mode=fast)
    assert gradgradcheck(torch.sin, X(2), fast_mode=fast)
    assert gradgradcheck(torch.mm, (X(2, 3), X(3, 2)), fast_mode=fast)
    assert gradgradcheck(torch.exp, X(2), X(2), fast_mode=fast, gen_non_contig_grad_outputs=True)


@FAST
def test_a_wrong_gradient_is_shown(fast):
    wrong = square(lambda x, g: 3 * x * g)
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0,\nnumerical:"):
        gradcheck(wrong, X(2), fast_mode=fast)
    assert not gradcheck(wrong, X(2), fast_mode=fast, raise_exception=False)
    assert gradcheck(wrong, X(2), fast_mode=fast, atol=10, check_undefined_grad=True)


@FAST
def test_a_wrong_second_gradient_is_found(fast):
    class Sine(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0].detach().cos()

    assert gradcheck(Sine.apply, X(2), fast_mode=fast)
    with pytest.raises(GradcheckError):
        gradgradcheck(Sine.apply, X(2), fast_mode=fast)


@FAST
def test_gradients_that_differ_from_run_to_run(fast):
    random.seed(0)
    shaky = square(lambda x, g: 2 * x * g + 1e-8 * random.random())
    with pytest.raises(GradcheckError, match="Backward is not reentrant"):
        gradcheck(shaky, X(2), fast_mode=fast)
    assert not gradcheck(shaky, X(2), fast_mode=fast, nondet_tol=1e-5, raise_exception=False)  # zero in, not zero out


@FAST
def test_gradients_must_be_multiplied_by_what_arrives(fast):
    with pytest.raises(GradcheckError):
        gradcheck(square(lambda x, g: 2 * x), X(1), fast_mode=fast, atol=100, rtol=100)


def test_undefined_gradients():
    with pytest.warns(UserWarning, match="New undefined gradient support checking feature"):
        with pytest.raises(GradcheckError):
            gradcheck(square(lambda x, g: 2 * x * (1 if g is None else g), materialize=False), X(1))

    def careless(x, g):
        if g is None:
            raise RuntimeError("no gradient")
        return 2 * x * g

    with (
        pytest.warns(UserWarning),
        pytest.raises(GradcheckError, match="Expected backward function to handle undefined"),
    ):
        gradcheck(square(careless, materialize=False), X(1))
    assert gradcheck(square(careless, materialize=False), X(1), check_undefined_grad=False)


def test_inputs():
    with pytest.raises(ValueError, match="gradcheck expects at least one input tensor to require gradient"):
        gradcheck(torch.sin, X(2).detach())
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double precision"):
        gradcheck(lambda x: x * 2, torch.ones(1, requires_grad=True), eps=1e-2, atol=1e-2)
    with pytest.raises(RuntimeError, match="The 0th input has a dimension with stride 0"):
        gradcheck(torch.sin, X(1).detach().expand(3).requires_grad_())


def test_functions_without_a_gradient_must_be_constant():
    assert gradcheck(lambda x: torch.ones(2, dtype=torch.float64), X(2))
    assert gradcheck(lambda x: (x * 1e9).long(), X(2))  # whole numbers do not count
    with pytest.raises(GradcheckError, match="Numerical gradient for function expected to be zero"):
        gradcheck(lambda x: x.detach(), X(2))


def test_options_that_exclude_each_other():
    with pytest.raises(AssertionError, match="Expected at least one of check_forward_ad or check_backward_ad"):
        gradcheck(torch.sin, X(2), check_backward_ad=False)
    with pytest.raises(AssertionError, match="Setting check_batched_forward_grad=True requires check_forward_ad"):
        gradcheck(torch.sin, X(2), check_batched_forward_grad=True)


def test_forward_products_and_batches_are_checked():
    both = {"check_forward_ad": True, "check_batched_grad": True}
    assert gradcheck(lambda x, y: (x * y, x.exp(), y * 2), (X(2), X(2)), **both)
    assert gradcheck(torch.sin, X(2), check_forward_ad=True, check_backward_ad=False)
    assert gradgradcheck(torch.sin, X(2), check_fwd_over_rev=True, check_batched_grad=True)
    with pytest.raises(
        GradcheckError, match="Jacobian computed with forward mode mismatch for output 0 with respect to"
    ):
        gradcheck(lambda x: x * 2 + x.detach(), X(2), check_forward_ad=True, check_backward_ad=False)
    with pytest.raises(NotImplementedError, match="You must implement the jvp function"):
        gradcheck(square(lambda x, g: 2 * x * g), X(2), check_forward_ad=True)


def product(jvp):
    """x * y, with the tangent jvp(x, y, x_tangent, y_tangent) in which None is a tangent of zeros."""

    class Product(Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.set_materialize_grads(False)
            ctx.xy = x, y
            return x * y

        @staticmethod
        def jvp(ctx, x_tangent, y_tangent):
            return jvp(*ctx.xy, x_tangent, y_tangent)

    return Product.apply


def test_tangents_that_are_missing_and_batches_of_them_are_checked():
    only = {"check_forward_ad": True, "check_backward_ad": False}
    both = (X(2), X(2) + 1)
    calls = []

    def right(x, y, x_tangent, y_tangent):
        calls.append((x_tangent is None, y_tangent is None))
        return (0 if x_tangent is None else x_tangent * y) + (0 if y_tangent is None else x * y_tangent)

    assert gradcheck(product(right), both, check_undefined_grad=False, **only)
    assert set(calls) == {(False, False)}
    calls.clear()
    assert gradcheck(product(right), both, **only)
    assert calls[-4:] == [(False, False), (True, False), (False, False), (False, True)]

    def without_views(x, y, x_tangent, y_tangent):
        assert not any(t is not None and t._is_view() for t in (x_tangent, y_tangent))
        return right(x, y, x_tangent, y_tangent)

    assert gradcheck(product(without_views), both, check_batched_forward_grad=True, **only)

    def without_x(x, y, x_tangent, y_tangent):
        return x * y_tangent * 2 if x_tangent is None else right(x, y, x_tangent, y_tangent)

    assert gradcheck(product(without_x), both, check_undefined_grad=False, **only)
    with pytest.raises(GradcheckError, match="Mismatch in tangent values for output with index"):
        gradcheck(product(without_x), both, **only)

    def draws(x, y, x_tangent, y_tangent):
        torch.rand(1)
        return right(x, y, x_tangent, y_tangent)

    batched = {"check_batched_forward_grad": True, **only}
    assert gradcheck(product(right), both, **batched)
    assert gradcheck(product(draws), both, **only)
    with pytest.raises(GradcheckError, match="While computing batched gradients, got: .*random operation"):
        gradcheck(product(draws), both, **batched)


def test_jacobians_as_they_were_had_once():
    from hookgrad.autograd import gradcheck as the_function
    from hookgrad.autograd.gradcheck import get_analytical_jacobian, get_numerical_jacobian

    assert the_function is gradcheck and torch.autograd.gradcheck is gradcheck  # though a module has that name
    x, y = X(2), X(2)
    with pytest.warns(FutureWarning, match="`get_numerical_jacobian` was part of"):
        get_numerical_jacobian(lambda both: both[0], (x, y))
    for matrix in get_numerical_jacobian(lambda both: both[0] * both[1], (x, y)):
        assert torch.allclose(matrix, torch.diag(x.detach()))
    (only,) = get_numerical_jacobian(lambda both: both[0] * 3 + both[1], (x, y), target=x)
    assert torch.allclose(only, 3 * torch.eye(2, dtype=torch.float64))
    matrices, *rest = get_analytical_jacobian((x, y), x * y)
    assert [m.tolist() for m in matrices] == [torch.diag(t.detach()).tolist() for t in (y, x)]
    assert rest == [True, True, True]
    with pytest.raises(ValueError, match="Expected grad_out to be 1.0"):
        get_numerical_jacobian(torch.sin, (x,), grad_out=2.0)


def test_fast_mode_compares_one_direction_of_forward_mode_and_shows_the_whole_jacobian():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

        @staticmethod
        def jvp(ctx, tangent):
            return tangent * 5

    with pytest.raises(GradcheckError) as caught:
        gradcheck(Wrong.apply, X(2), fast_mode=True, check_forward_ad=True)
    words = str(caught.value).split("\n")
    assert words[0] == "Jacobian computed with forward mode mismatch for output 0 with respect to input 0,"
    numerical, analytical = (
        eval(line.split("tensor(")[1].split(", dtype")[0]) for line in words[1:3]
    )  # of one direction: u
    assert len(numerical) == 2 and [a / n for a, n in zip(analytical, numerical)] == pytest.approx([2.5] * 2, rel=1e-3)
    assert (
        "in fast mode" in words[5] and "Numerical:" in words and words[-2].startswith("The max per-element difference")
    )
    assert gradcheck(torch.sin, X(2, 2), fast_mode=True, check_forward_ad=True)


def test_the_check_of_forward_mode_draws_nothing():
    torch.manual_seed(0)
    gradcheck(torch.sin, X(2), check_forward_ad=True)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))
