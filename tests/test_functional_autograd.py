"""Jacobians, Hessians and their products with vectors. Expected values and words are PyTorch's."""

import pytest

import hookgrad as torch
from hookgrad.autograd import functional as F

A, B = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
PRODUCTS = ("vjp", "jvp", "vhp", "hvp")


def cube(x):
    return (x**3).sum()


def test_jacobian():
    assert F.jacobian(lambda x: x**2, A).tolist() == [[2, 0], [0, 4]]
    assert F.jacobian(lambda x: x.sum(), A).tolist() == [1, 1]
    both = F.jacobian(lambda x, y: x * y, (A, B))
    assert [j.tolist() for j in both] == [[[3, 0], [0, 4]], [[1, 0], [0, 2]]]
    rows = F.jacobian(lambda x: (x * 2, x.sum()), A)
    assert [j.tolist() for j in rows] == [[[2, 0], [0, 2]], [1, 1]]
    assert F.jacobian(lambda x: x**2, A, vectorize=True).tolist() == [[2, 0], [0, 4]]


def test_hessian():
    assert F.hessian(cube, A).tolist() == [[6, 0], [0, 12]]
    blocks = F.hessian(lambda x, y: (x * y).sum(), (A, B))
    assert [[h.tolist() for h in row] for row in blocks] == [
        [[[0, 0], [0, 0]], [[1, 0], [0, 1]]],
        [[[1, 0], [0, 1]], [[0, 0], [0, 0]]],
    ]


def test_products():
    assert [t.tolist() for t in F.vjp(lambda x: x**2, A, B)] == [[1, 4], [6, 16]]
    assert [t.tolist() for t in F.jvp(lambda x: x**2, A, B)] == [[1, 4], [6, 16]]
    assert [t.tolist() for t in F.vhp(cube, A, B)] == [9, [18, 48]]
    assert [t.tolist() for t in F.hvp(cube, A, B)] == [9, [18, 48]]


def test_results_can_be_differentiated_when_asked():
    x = A.clone().requires_grad_()
    assert not F.jacobian(lambda x: x**2, x).requires_grad
    F.jacobian(lambda x: x**2, x, create_graph=True).sum().backward()
    assert x.grad.tolist() == [2, 2]
    x.grad = None
    F.hvp(cube, x, B, create_graph=True)[1].sum().backward()
    assert x.grad.tolist() == [18, 24]


def test_inputs_get_no_gradient_by_the_way():
    x = A.clone().requires_grad_()
    F.jacobian(cube, x)
    F.vjp(cube, x)
    assert x.grad is None


def test_the_vector_may_be_left_out_for_a_single_number():
    assert F.vjp(cube, A)[1].tolist() == [3, 12]
    assert F.jvp(lambda x: x * 3, torch.tensor([2.0]))[1].tolist() == [3]
    with pytest.raises(RuntimeError, match="v can only be None if the user-provided function returns a single Tensor"):
        F.vjp(lambda x: x**2, A)
    with pytest.raises(RuntimeError, match="v can only be None if the input to the user-provided function is a single"):
        F.jvp(cube, A)


@pytest.mark.parametrize("name", PRODUCTS)
def test_wrong_vectors(name):
    product = getattr(F, name)
    with pytest.raises(RuntimeError, match=r"v has invalid size: should be torch.Size\(\[.*\]\) but got torch.Size"):
        product(cube, A, torch.ones(3))
    with pytest.raises(TypeError, match="The v given to .* must be either a Tensor or a tuple of Tensors"):
        product(cube, A, 3)
    with pytest.raises(RuntimeError, match="The given v should contain a single Tensor."):
        product(cube, A, (A, B))


@pytest.mark.parametrize("name", (*PRODUCTS, "jacobian", "hessian"))
def test_wrong_inputs_and_outputs(name):
    function = getattr(F, name)
    with pytest.raises(TypeError, match=f"The inputs given to {name} must be .* has type <class 'list'>"):
        function(cube, [A])
    with pytest.raises(TypeError, match="The outputs of the user-provided function given to .* has type <class 'int'>"):
        function(lambda x: 3, A, *([] if name in ("vjp", "jacobian", "hessian") else [A]))


@pytest.mark.parametrize("name", ("vhp", "hvp", "hessian"))
def test_second_derivatives_want_a_single_number(name):
    function, v = getattr(F, name), [] if name == "hessian" else [B]
    with pytest.raises(RuntimeError, match="should contain a single element"):
        function(lambda x: x**2, A, *v)
    with pytest.raises(RuntimeError, match=f"The function given to {name} should return a single Tensor"):
        function(lambda x: (x.sum(), x.sum()), A, *v)


def test_strict_mode():
    constant = pytest.raises(RuntimeError, match="Output 0 of the user-provided function does not require gradients")
    with constant:
        F.jacobian(lambda x: torch.ones(2), A, strict=True)
    with pytest.raises(RuntimeError, match="is independent of input 1. This is not allowed in strict mode."):
        F.jacobian(lambda x, y: x * 2, (A, B), strict=True)
    with pytest.raises(
        RuntimeError, match="is independent of input 0. This is not allowed in strict mode when create_graph"
    ):
        F.jacobian(lambda x: x * 2, A, strict=True, create_graph=True)
    with pytest.raises(
        RuntimeError, match="jacobian of the user-provided function with respect to input 0 is independent"
    ):
        F.hessian(lambda x: x.sum(), A, strict=True)
    assert F.jacobian(lambda x: torch.ones(2), A).tolist() == [[0, 0], [0, 0]]


def test_forward_mode_gives_the_same_numbers():
    forward = {"strategy": "forward-mode", "vectorize": True}
    assert F.jacobian(lambda x: x**2, A, **forward).tolist() == [[2, 0], [0, 4]]
    both = F.jacobian(lambda x, y: x * y, (A, B), **forward)
    assert [j.tolist() for j in both] == [[[3, 0], [0, 4]], [[1, 0], [0, 2]]]
    assert F.hessian(cube, A, outer_jacobian_strategy="forward-mode", vectorize=True).tolist() == [[6, 0], [0, 12]]
    with pytest.raises(NotImplementedError, match="only implemented for `vectorize=True`"):
        F.jacobian(cube, A, strategy="forward-mode")
    with pytest.raises(
        NotImplementedError, match='`create_graph=True` and `strategy="forward-mode"` are not supported'
    ):
        F.jacobian(cube, A, create_graph=True, **forward)
    with pytest.raises(RuntimeError, match='`strict=True` and `strategy="forward-mode"` are not supported together'):
        F.jacobian(cube, A, strict=True, **forward)


def test_options_that_exclude_each_other():
    with pytest.raises(RuntimeError, match="`strict=True` and `vectorized=True` are not supported together"):
        F.jacobian(cube, A, strict=True, vectorize=True)
    with pytest.raises(AssertionError, match='Expected strategy to be either "forward-mode" or "reverse-mode"'):
        F.jacobian(cube, A, strategy="sideways")


def test_a_constant_second_derivative_depends_on_the_inputs():
    result = F.hessian(lambda x: x.pow(2).sum(), A, create_graph=True, strict=True)
    assert result.requires_grad and result.tolist() == [[2, 0], [0, 2]]


def test_a_jacobian_by_forward_mode_does_not_depend_on_the_grad_mode():
    x = torch.tensor([1.0, 2.0])

    @torch.no_grad()
    def f(x):
        return x * x

    by_columns = dict(strategy="forward-mode", vectorize=True)
    assert torch.autograd.functional.jacobian(f, x, **by_columns).tolist() == [[2, 0], [0, 4]]
    assert torch.autograd.functional.jacobian(f, x).tolist() == [[0, 0], [0, 0]]
    single = torch.autograd.functional.jacobian(lambda x: (f(x), x), x, **by_columns)
    pairs = torch.autograd.functional.jacobian(lambda x, y: f(x) * y, (x, x), **by_columns)
    assert type(single) is tuple and type(pairs) is list
    assert [t.tolist() for t in pairs] == [[[2, 0], [0, 8]], [[1, 0], [0, 4]]]
