"""Ops of one's own: torch.library; tests/oracle/scripts/69_custom_ops.py compares them with PyTorch."""

import pytest

import hookgrad as torch
from hookgrad.library import CustomOpDef, Library, custom_op, impl


def test_an_op_is_found_by_its_name_and_differentiates():
    @custom_op("tests::cube", mutates_args=())
    def cube(x: torch.Tensor) -> torch.Tensor:
        return x**3

    def keep(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])

    cube.register_autograd(lambda ctx, grad: 3 * ctx.saved_tensors[0] ** 2 * grad, setup_context=keep)
    x = torch.tensor([2.0], requires_grad=True, dtype=torch.float64)
    y = torch.ops.tests.cube(x)
    assert y.grad_fn.name() == "GeneratedBackwardFor_tests_cube_defaultBackward"
    assert torch.autograd.gradcheck(cube, x) and isinstance(cube, CustomOpDef) and cube.__name__ == "cube"
    y.backward()
    assert x.grad.item() == 12.0


def test_lists_of_tensors_go_in_and_come_out_with_their_gradients():
    @custom_op("tests::swapped", mutates_args=())
    def swapped(scale: float, xs: list[torch.Tensor]) -> list[torch.Tensor]:
        return [scale * x for x in reversed(xs)]

    def keep(ctx, inputs, output):
        ctx.scale, xs = inputs
        assert type(xs) is list and type(output) is list

    swapped.register_autograd(lambda ctx, grads: (None, [ctx.scale * g for g in reversed(grads)]), setup_context=keep)
    a, b = (torch.ones(2, requires_grad=True) for _ in range(2))
    first, second = outputs = swapped(3.0, [a, b])
    assert type(outputs) is list and first.grad_fn is second.grad_fn is not None
    first.backward(torch.tensor([1.0, 2.0]))
    assert a.grad.tolist() == [0.0, 0.0] and b.grad.tolist() == [3.0, 6.0]


def test_without_a_derivative_backward_says_so():
    op = custom_op("tests::opaque", lambda x: x.clone(), mutates_args=(), schema="(Tensor x) -> Tensor")
    with pytest.raises(RuntimeError, match="no autograd formula was registered"):
        op(torch.ones(1, requires_grad=True)).backward()


def test_what_is_mutated_has_a_new_version():
    op = custom_op("tests::fill", lambda x: None, mutates_args={"x"}, schema="(Tensor(a!) x) -> ()")
    x = torch.zeros(1)
    op(x)
    assert x._version == 1


def test_ops_defined_by_a_schema_get_their_kernels_later():
    library = Library("tests", "DEF")
    library.define("later(Tensor x) -> Tensor")
    with pytest.raises(NotImplementedError, match="no kernel"):
        torch.ops.tests.later(torch.ones(1))
    impl("tests::later", "cpu", lambda x: x + 1)
    assert torch.ops.tests.later.default(torch.ones(1)).item() == 2.0
    library.impl("later", lambda x: x * 2, "Autograd")
    assert torch.ops.tests.later(torch.ones(1, requires_grad=True)).grad_fn.name() == "MulBackward0"


def test_a_name_needs_a_namespace_and_an_op_its_arguments():
    with pytest.raises(ValueError, match="<namespace>::<name>"):
        custom_op("plain", lambda x: x, mutates_args=(), schema="(Tensor x) -> Tensor")
    op = custom_op("tests::one", lambda x: x.clone(), mutates_args=(), schema="(Tensor x) -> Tensor")
    with pytest.raises(RuntimeError, match="tests::one"):
        op()


def test_arguments_are_of_the_types_that_were_announced():
    with pytest.raises(ValueError, match="Parameter x must have a type annotation"):
        torch.library.custom_op("types::untyped", lambda x: x, mutates_args=())

    @torch.library.custom_op("types::typed", mutates_args=())
    def typed(x: torch.Tensor, k: float = 2.0) -> torch.Tensor:
        return x * k

    torch.library.register_vmap("types::typed", lambda info, dims, x, k: (x * k, 0))
    assert typed(torch.ones(1)).tolist() == [2]
    with pytest.raises(
        RuntimeError, match="Expected a value of type 'Tensor' for argument 'x' but instead found type 'int'"
    ):
        typed(3)


def test_an_op_on_meta_is_asked_for_shapes_and_vmap_for_all_samples():
    asked = []

    @torch.library.custom_op("tests::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(x.detach().numpy() * 2)

    twice.register_fake(lambda x: x.new_empty(3))
    twice.register_autograd(lambda ctx, grad: grad * 2)
    x = torch.ones(2, 1)
    assert twice(x.to("meta")).shape == (3,)
    assert torch.vmap(twice)(x).tolist() == [[2], [2]]
    twice.register_vmap(lambda info, dims, x: asked.append((info.batch_size, dims)) or (twice(x), 0))
    assert torch.vmap(twice)(x).tolist() == [[2], [2]] and asked == [(2, (0,))]
    assert twice._opoverload._opname == "twice"
