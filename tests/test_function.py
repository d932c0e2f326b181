"""autograd.Function with every option. Expected values and words are PyTorch's."""

import gc
import weakref

import pytest

import hookgrad as torch
from hookgrad.autograd import Function
from hookgrad.autograd.function import FunctionCtx, once_differentiable


def leaf(*values):
    return torch.tensor(values or (2.0,), requires_grad=True)


def made(forward, backward=None, **members):
    """A Function from two functions; its apply."""
    members["forward"] = staticmethod(forward)
    if backward:
        members["backward"] = staticmethod(backward)
    return type("Made", (Function,), members)


class Product(Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        ctx.note = 3
        return x * y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * y, grad * x


def test_the_node_is_the_context():
    x, y = leaf(), torch.tensor([3.0])
    out = Product.apply(x, y)
    node = out.grad_fn
    assert repr(out) == "tensor([6.], grad_fn=<ProductBackward>)"
    assert node.name() == "ProductBackward" and type(node).__name__ == "ProductBackward"
    assert node.note == 3 and node.needs_input_grad == (True, False)
    assert node.saved_tensors[0] is x and node.saved_tensors[1] is y
    assert node.next_functions[0][0].variable is x and node.next_functions[1] == (None, 0)
    assert isinstance(node, Product._backward_cls)
    with pytest.raises(AttributeError, match="object has no attribute 'nothing'"):
        node.nothing  # noqa: B018


def test_backward_frees_what_was_saved():
    out = Product.apply(leaf(), leaf())
    out.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        out.backward()
    with pytest.raises(RuntimeError, match="second time"):
        out.grad_fn.saved_tensors  # noqa: B018


def test_nothing_is_recorded_without_need():
    assert Product.apply(torch.ones(1), torch.ones(1)).grad_fn is None
    with torch.no_grad():
        assert Product.apply(leaf(), leaf()).grad_fn is None


@pytest.mark.parametrize(
    "grads, words",
    [
        (lambda g: g, r"returned an incorrect number of gradients \(expected 2, got 1\)"),
        (lambda g: (g, None, g), r"returned an incorrect number of gradients \(expected 2, got 3\)"),
        (
            lambda g: (g, g),
            "returned a gradient different than None at position 2, but the corresponding forward input was",
        ),
        (lambda g: (3, None), "expected Variable or None"),
        (lambda g: (torch.ones(3), None), r"returned an invalid gradient at index 0 - got \[3\] but expected shape"),
    ],
)
def test_wrong_gradients(grads, words):
    f = made(lambda ctx, x, n: x * n, lambda ctx, g: grads(g))
    with pytest.raises((RuntimeError, TypeError), match=words):
        f.apply(leaf(1.0, 2.0), 2).sum().backward()


def test_trailing_nones_do_not_count():
    x = leaf()
    made(lambda ctx, x: x * 2, lambda ctx, g: (g, None, None)).apply(x).backward()
    assert x.grad.item() == 1


def test_none_is_no_gradient():
    x = leaf()
    made(lambda ctx, x: x * 2, lambda ctx, g: None).apply(x).backward()
    assert x.grad is None


def test_values_that_are_no_tensors():
    f = made(lambda ctx, x: (x * 2, "text", 5), lambda ctx, *g: g[0])
    out = f.apply(leaf())
    assert out[1:] == ("text", 5)
    out[0].backward()
    made(lambda ctx, x, *rest: x * rest[0], lambda ctx, g: (g, None, None)).apply(leaf(), 3, None).backward()


@pytest.mark.parametrize("materialize", [True, False])
def test_gradients_of_outputs_nobody_used(materialize):
    seen = []

    def forward(ctx, x):
        ctx.set_materialize_grads(materialize)
        return x * 2, x * 3

    out = made(forward, lambda ctx, *g: (seen.append(g), g[1])[1]).apply(leaf())
    out[1].backward()
    unused = seen[0][0]
    assert (unused.tolist() == [0]) if materialize else unused is None


def test_outputs_without_derivative():
    def forward(ctx, x):
        fixed = x * 2
        ctx.mark_non_differentiable(fixed)
        return fixed, x * 3, (x * 2).long()

    out = made(forward, lambda ctx, *g: g[1]).apply(leaf())
    assert [t.requires_grad for t in out] == [False, True, False]


def test_in_place():
    def forward(ctx, x):
        x += 1
        ctx.mark_dirty(x)
        return x

    f = made(forward, lambda ctx, g: g * 10)
    x = leaf()
    y = x * 1
    z = f.apply(y)
    assert z is y and y.grad_fn.name() == "MadeBackward" and y._version == 2
    z.backward()
    assert x.grad.item() == 10
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad has been used in an in-place operation"):
        f.apply(leaf())


def test_an_input_returned_as_it_came():
    same = made(lambda ctx, x: x, lambda ctx, g: g * 5)
    x = leaf()
    y = same.apply(x)
    assert y is not x and y._is_view()
    with pytest.raises(RuntimeError, match="This view was created inside a custom Function"):
        y.add_(1)
    y.backward()
    assert x.grad.item() == 5


def test_setup_context():
    class Scale(Function):
        @staticmethod
        def forward(x, by=2):
            return x * by

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(inputs[0])
            ctx.by = inputs[1]

        @staticmethod
        def backward(ctx, grad):
            return grad * ctx.by, None

    x = leaf()
    Scale.apply(x, by=4).backward()
    Scale.apply(x).backward()
    assert x.grad.item() == 6


@pytest.mark.parametrize("keep", ["save_for_backward", "save_for_forward"])
@pytest.mark.parametrize("wanted, recorded", [(True, True), (False, True), (False, False)])
def test_setup_context_cannot_keep_an_input_that_is_an_output(wanted, recorded, keep):
    Kept = made(lambda x: x, setup_context=staticmethod(lambda ctx, inputs, output: getattr(ctx, keep)(output)))
    with torch.set_grad_enabled(recorded), pytest.raises(RuntimeError, match="returned as-is as output is being saved"):
        Kept.apply(torch.ones(2, requires_grad=wanted))


def test_higher_derivatives():
    x = leaf()
    (g,) = torch.autograd.grad(Product.apply(x, x * x), x, create_graph=True)
    assert g.item() == 12
    (h,) = torch.autograd.grad(g, x)
    assert h.item() == 12


def test_once_differentiable():
    class Once(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, grad):
            assert not torch.is_grad_enabled()
            return 2 * ctx.saved_tensors[0] * grad

    x = leaf()
    (g,) = torch.autograd.grad(Once.apply(x) * x, x, create_graph=True)
    assert g.item() == 12
    with pytest.raises(RuntimeError, match="marked with @once_differentiable"):
        g.backward()


def test_saving_what_cannot_be_saved():
    def forward(ctx, x):
        ctx.save_for_backward(3)
        return x * 2

    with pytest.raises(TypeError, match="save_for_backward can only save variables, but argument 0 is of type int"):
        made(forward).apply(leaf())


def test_what_is_not_written_says_so():
    with pytest.raises(NotImplementedError, match="You must implement the forward function"):
        type("Empty", (Function,), {}).apply(leaf())
    with pytest.raises(NotImplementedError, match="You must implement either the backward or vjp method"):
        made(lambda ctx, x: x * 2).apply(leaf()).backward()
    with (
        pytest.raises(RuntimeError, match="Legacy autograd function with non-static forward"),
        pytest.warns(DeprecationWarning),
    ):
        Product()(leaf(), leaf())


def test_errors_leave_the_graph_usable():
    fail = [True]

    def backward(ctx, g):
        if fail[0]:
            raise KeyboardInterrupt
        return g

    x = leaf()
    y = made(lambda ctx, x: x * 2, backward).apply(x)
    with pytest.raises(KeyboardInterrupt):
        y.backward(retain_graph=True)
    fail[0] = False
    y.backward()
    assert x.grad.item() == 1


def test_a_graph_nobody_holds_goes_at_once():
    gc.disable()
    try:
        x = leaf()
        y = Product.apply(x, x)
        node, context = weakref.ref(y.grad_fn), weakref.ref(y.grad_fn.saved_tensors[0])
        del y
        assert node() is None and context() is x
    finally:
        gc.enable()


def test_an_output_that_is_saved_makes_no_cycle():
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    f = made(forward, lambda ctx, g: g * ctx.saved_tensors[0])
    gc.disable()
    try:
        x = leaf()
        y = f.apply(x)
        ref = weakref.ref(y)
        y.backward()
        assert x.grad.item() == pytest.approx(7.389, abs=1e-3)
        y = f.apply(x)
        ref = weakref.ref(y)
        del y
        assert ref() is None
    finally:
        gc.enable()


def test_a_call_that_is_not_recorded_has_a_context_all_the_same():
    seen = []

    def forward(ctx, x):
        ctx.metadata["key"] = "value"
        for register in (ctx.register_hook, ctx.register_prehook):
            register(lambda *args: seen.append(args)).remove()
        ctx.save_for_backward(x)
        seen.append((ctx.metadata, ctx.next_functions, ctx.saved_tensors, ctx.name(), isinstance(ctx, FunctionCtx)))
        return x * 2

    with torch.no_grad():
        made(forward).apply(leaf())
    assert seen == [({"key": "value"}, (), (), "MadeBackward", True)]


def test_the_class_of_a_node_is_its_functions_own():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.note = "kept"
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    x = torch.ones(2, requires_grad=True)
    node = Double.apply(x).grad_fn
    assert type(node) is Double._backward_cls and node._forward_cls is Double and type(node)._forward_cls is Double
    function = torch.autograd.function
    for cls in (Double._backward_cls, function.BackwardCFunction, function.FunctionCtx, torch._C._FunctionBase):
        assert isinstance(node, cls) and issubclass(type(node), cls)
    assert not isinstance((x * 2).grad_fn, (function.FunctionCtx, torch._C._FunctionBase))
    assert node.note == "kept" and {"note", "needs_input_grad", "save_for_backward"} <= set(dir(node))
    bare = Double._backward_cls()
    assert type(bare) is type(node) and bare.next_functions == () and bare.name() == "DoubleBackward"
    with torch.no_grad():
        seen = []
        Double.forward = staticmethod(lambda ctx, x: seen.append(ctx) or x * 2)
        Double.apply(x)
    assert isinstance(seen[0], Double._backward_cls) and isinstance(seen[0], function.FunctionCtx)


def test_a_renamed_class_names_the_nodes_made_from_then_on():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    x = torch.ones(2, requires_grad=True)
    before = Double.apply(x)
    Double._backward_cls.__name__ = "Renamed"
    after = Double.apply(x)
    assert after.grad_fn.name() == "Renamed" and "Renamed" in repr(after)
    (before + after).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_a_function_and_its_class_of_nodes_are_collected():
    import gc
    import weakref

    def make():
        class Double(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, grad):
                return grad * 2

        Double.kept = Double.apply(torch.ones(2, requires_grad=True))
        return weakref.ref(Double), weakref.ref(Double.kept)

    refs = make()
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_a_context_made_by_hand_takes_attributes():
    context, x = FunctionCtx(), torch.ones(2)
    context.note = 3
    context.save_for_backward(x)
    context.mark_dirty(x)
    context.mark_non_differentiable(x)
    context.set_materialize_grads(False)
    assert vars(context) == {
        "note": 3, "to_save": (x,), "dirty_tensors": (x,), "non_differentiable": (x,), "materialize_grads": False,
    }  # fmt: skip
    assert isinstance(context, FunctionCtx) and type(context).__name__ == "FunctionCtx"

    class Mine(FunctionCtx):
        pass

    mine = Mine()
    mine.note = 4
    assert type(mine) is Mine and mine.note == 4


def test_what_is_marked_dirty_and_neither_input_nor_output_gives_no_warning(recwarn):
    class Marks(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x * 2)
            return x * 2

    with pytest.raises(RuntimeError, match="Some elements marked as dirty"):
        Marks.apply(torch.ones(1, requires_grad=True) * 1)
    assert not recwarn.list


def test_what_is_saved_for_forward_is_let_go_with_the_call():
    class Kept(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_forward(x, torch.ones(1))
            ctx.seen = ctx.saved_for_forward[1]
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

        @staticmethod
        def jvp(ctx, tangent):
            assert len(ctx.saved_tensors) == 2
            return tangent * 2

    y = Kept.apply(leaf())
    assert y.grad_fn.saved_for_forward is None
    with torch.autograd.forward_ad.dual_level():
        dual = Kept.apply(torch.autograd.forward_ad.make_dual(torch.ones(1, requires_grad=True), torch.ones(1)))
        assert dual.grad_fn.saved_for_forward is None
        assert torch.autograd.forward_ad.unpack_dual(dual).tangent.item() == 2
