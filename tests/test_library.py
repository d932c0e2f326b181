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


def announced(
    x: torch.Tensor,
    n: int,
    xs: list[torch.Tensor],
    w: torch.Tensor | None,
    d: torch.dtype = torch.float32,
    *,
    f: float = 1.5,
) -> tuple[torch.Tensor, int]:
    return x, n


@pytest.mark.parametrize(
    "mutates, options, schema",
    [
        (
            (),
            {},
            "(Tensor x, SymInt n, Tensor[] xs, Tensor? w, ScalarType d=float32, *, float f=1.5) -> (Tensor, SymInt)",
        ),
        (
            "unknown",
            {"op_name": "op"},
            "op(Tensor(a0!) x, SymInt n, Tensor(a1!)[] xs, Tensor(a2!)? w, ScalarType d=float32, *, float f=1.5) -> (Tensor, SymInt)",
        ),
    ],
)
def test_schemas_are_read_from_annotations(mutates, options, schema):
    assert torch.library.infer_schema(announced, mutates_args=mutates, **options) == schema


def test_what_no_schema_can_say_is_refused():
    def infer(fn, mutates_args=()):
        return torch.library.infer_schema(fn, mutates_args=mutates_args)

    def stars(*x: torch.Tensor) -> torch.Tensor: ...

    def of_dict(x: dict) -> torch.Tensor: ...

    def to_nothing_said(x: torch.Tensor): ...

    for fn, words in (
        (stars, "varargs"),
        (of_dict, "unsupported type <class 'dict'>"),
        (to_nothing_said, "No return type"),
    ):
        with pytest.raises(ValueError, match=words):
            infer(fn)
    with pytest.raises(ValueError, match="only Tensors"):
        infer(announced, {"n"})
    with pytest.raises(ValueError, match="'z'.* were not found"):
        infer(announced, {"z"})


def test_an_op_says_what_it_takes():
    @custom_op("says::scaled", mutates_args=())
    def scaled(x: torch.Tensor, k: int = 3, s: float | None = None) -> torch.Tensor:
        return x * k

    packet = torch.ops.says.scaled
    assert scaled._schema == "(Tensor x, SymInt k=3, float? s=None) -> Tensor"
    assert str(packet.default._schema) == "says::scaled" + scaled._schema
    assert [(a.name, str(a.type), a.default_value) for a in packet.default._schema.arguments] == [
        ("x", "Tensor", None),
        ("k", "int", 3),
        ("s", "Optional[float]", None),
    ]
    with pytest.raises(AttributeError, match="The underlying op of 'says.scaled' has no overload name 'other'"):
        packet.other  # noqa: B018
    x = torch.ones(1)
    for args, kwargs, words in (
        ((), {}, "is missing value for argument 'x'. Declaration: says::scaled"),
        ((x, 2.5), {}, "Expected a value of type 'int' for argument 'k' but instead found type 'float'"),
        ((x, 2, 0.5, 1), {}, r"expected at most 3 argument\(s\) but received 4 argument"),
        ((x,), {"q": 1}, "Unknown keyword argument 'q' for operator 'says::scaled'"),
        ((x.to("meta"),), {}, "There was no fake impl registered for <CustomOpDef"),
    ):
        with pytest.raises(RuntimeError, match=words):
            scaled(*args, **kwargs)


def test_results_are_no_arguments_and_are_what_was_announced():
    same = custom_op("says::same", lambda x: x, mutates_args=(), schema="(Tensor x) -> Tensor")
    with pytest.raises(RuntimeError, match="must not also be an input"):
        same(torch.ones(1))
    three = custom_op("says::three", lambda x: 3, mutates_args=(), schema="(Tensor x) -> Tensor")
    with pytest.raises(RuntimeError, match="Unable to cast 3 to Tensor"):
        three(torch.ones(1))


def test_opcheck_finds_what_an_op_does_not_say():
    def check(name, fn, backward=None, **options):
        op = custom_op("checks::" + name, fn, mutates_args=(), schema="(Tensor x) -> Tensor")
        op.register_fake(torch.empty_like)
        if backward:
            op.register_autograd(backward)
        return torch.library.opcheck(op, (torch.ones(2, requires_grad=True),), **options)

    good = check("good", lambda x: x * 2, lambda ctx, grad: grad * 2)
    assert good == dict.fromkeys(
        ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"), "SUCCESS"
    )
    with pytest.raises(torch.library.OpCheckError, match="Argument x is not defined as mutable but was mutated"):
        check("writes", lambda x: x.add_(1).clone())
    found = check("shapes", lambda x: x.sum(), lambda ctx, grad: grad.expand(2), raise_exception=False)
    assert "fake impl" in str(found["test_faketensor"])
    with pytest.raises(torch.library.OpCheckError, match="no autograd formula"):
        check("plain", lambda x: x * 2)


def test_a_name_is_defined_once():
    library = Library("once", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    with pytest.raises(RuntimeError, match="multiple times"):
        library.define("twice(Tensor x) -> Tensor")
    with pytest.raises(ValueError, match="Unsupported kind"):
        Library("once", "OTHER")
    library.impl("twice", lambda x: x * 2, "CPU")
    assert torch.ops.once.twice(torch.ones(1, requires_grad=True)).grad_fn.name() == "MulBackward0"


def test_a_context_is_set_up_where_the_call_is_recorded():
    @custom_op("tests::set_up", mutates_args=())
    def same(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    calls = []
    same.register_autograd(lambda ctx, grad: grad, setup_context=lambda ctx, inputs, output: calls.append(inputs))
    x = torch.ones(1, requires_grad=True)
    same(x.detach())
    with torch.no_grad():
        same(x)
    assert calls == []
    same(x).sum().backward()
    assert len(calls) == 1


def test_what_needs_a_gradient_is_told_as_the_arguments_were_given():
    seen = []

    @torch.library.custom_op("mine::shifted", mutates_args=())
    def shifted(xs: list[torch.Tensor], y: torch.Tensor) -> list[torch.Tensor]:
        return [x + y for x in xs]

    def backward(ctx, grads):
        seen.append(ctx.needs_input_grad)
        return list(grads), sum(grads)

    shifted.register_autograd(backward, setup_context=lambda ctx, inputs, output: None)
    a, b, y = torch.ones(1, requires_grad=True), torch.ones(1), torch.ones(1, requires_grad=True)
    sum(shifted([a, b], y)).backward()
    assert seen == [([True, False], True)] and a.grad.item() == 1 and y.grad.item() == 2


def test_a_kernel_is_disabled_within_a_block():
    @custom_op("tests::disabled", mutates_args=())
    def op(x: torch.Tensor) -> torch.Tensor:
        return x + 1

    op.register_kernel("cpu", lambda x: x * 10)
    x = torch.ones(1)
    with op.set_kernel_enabled("cpu", False):
        assert op(x).item() == 2
        with op.set_kernel_enabled("cpu"):
            assert op(x).item() == 10
        with op.set_kernel_enabled("cuda", True):
            assert op(x).item() == 2
    assert op(x).item() == 10


def test_results_are_what_the_schema_says():
    def op(name, result, annotation):
        def f(x):
            return result

        f.__annotations__ = {"x": torch.Tensor, "return": annotation}
        return custom_op("tests::gives_" + name, f, mutates_args=())

    x, y, z = torch.ones(1), torch.ones(1), torch.ones(1)
    both = tuple[torch.Tensor, torch.Tensor]
    for name, result in (("one", y), ("few", (y,)), ("many", (y, z, torch.ones(1)))):
        with pytest.raises(TypeError, match="Object of type 'Tensor' is not an instance of 'sequence'"):
            op(name, result, both)(x)
    with pytest.raises(RuntimeError, match="Unable to cast 1 to Tensor"):
        op("numbers", (1, 2), both)(x)
    with pytest.raises(RuntimeError, match=r"Unable to cast \(tensor\(\[1.\]\),\) to Tensor"):
        op("tuple", (y,), torch.Tensor)(x)
    assert type(op("list", (y,), list[torch.Tensor])(x)) is list
