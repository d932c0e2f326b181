"""grad_fn: what a node of the graph says about itself."""

import gc
import pickle
import re
import weakref

import pytest

import hookgrad as torch
from hookgrad import nn


def leaf(*values):
    return torch.tensor([float(v) for v in values], requires_grad=True)


def test_names_and_types():
    x = leaf(1, 2)
    fn = (x * 2).grad_fn
    assert type(fn).__name__ == type(fn).__qualname__ == "MulBackward0"
    assert type(fn).__module__ == "builtins" and repr(type(fn)) == "<class 'MulBackward0'>"
    assert re.fullmatch(r"<MulBackward0 object at 0x[0-9a-f]+>", repr(fn))
    assert fn.name() == "MulBackward0"
    assert type((x * 3).grad_fn) is type(fn) and type((x + 3).grad_fn) is not type(fn)
    accumulator = fn.next_functions[0][0]
    assert type(accumulator).__name__ == "AccumulateGrad"
    assert accumulator.name() == "torch::autograd::AccumulateGrad"
    assert x.grad_fn is None


def test_a_tensor_has_one_node():
    y = leaf(1) * 2
    assert y.grad_fn is y.grad_fn and y.grad_fn == y.grad_fn and hash(y.grad_fn) == hash(y.grad_fn)


def test_next_functions_lead_to_the_leaves():
    a, b = leaf(1), leaf(2)
    c = a * b
    d = c + a
    (first, nr), (second, _) = d.grad_fn.next_functions
    assert first is c.grad_fn and nr == 0
    assert second.variable is a
    assert [fn.variable for fn, _ in c.grad_fn.next_functions] == [a, b]
    assert (a * 2).grad_fn.next_functions[1] == (None, 0)
    assert second.next_functions == ()
    assert c.grad_fn.next_functions[0][0] is second


def test_sequence_numbers_grow():
    x = leaf(1)
    y = x * 2
    z = y * 2
    assert z.grad_fn._sequence_nr() > y.grad_fn._sequence_nr()
    assert y.grad_fn.next_functions[0][0]._sequence_nr() == 2**64 - 1


def test_metadata_is_kept():
    y = leaf(1) * 2
    assert y.grad_fn.metadata == {}
    y.grad_fn.metadata["note"] = [1]
    assert y.grad_fn.metadata == {"note": [1]}


def test_saved_tensors():
    x, y = leaf(1, 2), leaf(3, 4)
    fn = (x * y).grad_fn
    assert fn._saved_self is x and fn._saved_other is y
    half = (x * 2).grad_fn
    assert half._saved_self is None and half._saved_other.item() == 2 and half._saved_other.dtype is torch.int64
    assert [fn._saved_other.dtype for fn in ((x * 0.1).grad_fn, (x / 0.1).grad_fn)] == [torch.float64] * 2
    result = x.exp()
    assert torch.equal(result.grad_fn._saved_result, result)
    assert result.grad_fn._saved_result.grad_fn is result.grad_fn
    assert {"_saved_self", "_saved_other"} <= set(dir(fn))


def test_saved_numbers():
    x = torch.ones(2, 3, requires_grad=True)
    assert x.sum(0).grad_fn._saved_dim == (0,)
    assert x.sum((0, -1)).grad_fn._saved_dim == (0, 2**64 - 1)
    assert x.sum(0).grad_fn._saved_keepdim is False
    assert x.softmax(-1).grad_fn._saved_dim == 2**64 - 1
    assert torch.add(x, x, alpha=-3).grad_fn._saved_alpha == -3
    assert (x**2).grad_fn._saved_exponent == 2
    assert x.transpose(0, 1).grad_fn._saved_dim0 == 0


def test_saved_tensors_are_gone_after_backward():
    x = leaf(1, 2)
    y = x * x
    y.sum().backward()
    with pytest.raises(RuntimeError, match="directly access saved tensors after they have already been freed"):
        _ = y.grad_fn._saved_self


def test_saved_tensor_changed_in_place():
    x = leaf(1, 2)
    y = x * 1
    z = y * y
    y.mul_(2)
    with pytest.raises(RuntimeError, match="has been modified by an inplace operation"):
        _ = z.grad_fn._saved_self


def test_hooks_on_one_saved_tensor():
    x = leaf(1, 2)
    y = x * x
    packed = []
    y.grad_fn._raw_saved_self.register_hooks(
        lambda t: packed.append(t.tolist()) or 5, lambda five: torch.full((2,), five * 1.0)
    )
    assert packed == [[1.0, 2.0]]
    assert y.grad_fn._saved_self.tolist() == [5.0, 5.0]
    y.sum().backward()
    assert x.grad.tolist() == [6.0, 7.0]
    with pytest.raises(TypeError):
        (x * x).grad_fn._raw_saved_self.register_hooks(3, 4)


def test_node_of_a_custom_function():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            ctx.kept = 3
            ctx.save_for_backward(a)
            return a * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    x = leaf(1)
    fn = Double.apply(x).grad_fn
    assert fn.name() == type(fn).__name__ == "DoubleBackward"
    assert repr(fn).startswith("<torch.autograd.function.DoubleBackward object at 0x")
    assert fn.kept == 3 and fn.saved_tensors[0] is x


def test_attributes_a_node_does_not_have():
    fn = (leaf(1) * 2).grad_fn
    for wrong in (lambda: fn.nothing, lambda: setattr(fn, "nothing", 1)):
        with pytest.raises(AttributeError, match="'MulBackward0' object has no attribute 'nothing'"):
            wrong()
    with pytest.raises(AttributeError, match="'MulBackward0' object has no attribute 'variable'"):
        _ = fn.variable


def test_nodes_are_made_by_operations_only():
    fn = (leaf(1) * 2).grad_fn
    with pytest.raises(TypeError, match="cannot create 'MulBackward0' instances"):
        type(fn)()
    with pytest.raises(TypeError, match="type 'MulBackward0' is not an acceptable base type"):
        type("Mine", (type(fn),), {})
    with pytest.raises(TypeError, match="cannot pickle 'MulBackward0' object"):
        pickle.dumps(fn)


def test_a_node_lives_as_long_as_somebody_wants_it():
    gc.collect()
    gc.disable()
    try:
        x = leaf(1)
        y = x * 2
        seen = weakref.ref(y.grad_fn)
        fn = y.grad_fn
        del y
        assert seen() is fn and fn.next_functions[0][0].variable is x
        del fn
        assert seen() is None
    finally:
        gc.enable()


def test_a_node_in_its_own_metadata_is_collected():
    fn = (leaf(1) * 2).grad_fn
    seen = weakref.ref(fn)
    fn.metadata["self"] = fn
    del fn
    gc.collect()
    assert seen() is None


def test_nodes_are_seen_as_nodes():
    from hookgrad.autograd.graph import Node

    y = leaf(1) * 2
    assert isinstance(y.grad_fn, Node) and isinstance(y.grad_fn.next_functions[0][0], Node)
    assert not isinstance(y, Node)


def test_node_stands_above_all_nodes_but_not_among_their_bases():
    Node, classes = torch.autograd.graph.Node, torch._C._functions

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            assert isinstance(ctx, Node)
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    x = torch.ones(2, requires_grad=True)
    y, z = x.exp(), Double.apply(x)
    for node in (y.grad_fn, y.grad_fn.next_functions[0][0], z.grad_fn):
        assert isinstance(node, Node) and issubclass(type(node), Node) and Node not in type(node).mro()
    assert type(y.grad_fn) is classes.ExpBackward0
    assert isinstance(y.grad_fn.next_functions[0][0], classes.AccumulateGrad)
    assert issubclass(torch.autograd.function.BackwardCFunction, Node) and issubclass(Double._backward_cls, Node)
    assert not isinstance(Node, Node) and not isinstance(1, Node) and not hasattr(classes, "NoSuchNode")
    with pytest.raises(TypeError, match="abstract class Node"):
        Node()


def test_what_runs_can_be_logged(caplog):
    from hookgrad.autograd.graph import _register_logging_hooks_on_whole_graph

    x = torch.ones(2, requires_grad=True)
    y = (x * 2).sum()
    unregister = _register_logging_hooks_on_whole_graph([y])
    with caplog.at_level("DEBUG", logger="torch.autograd.graph"):
        y.backward(retain_graph=True)
    assert [record.message.split(" with ")[1] for record in caplog.records] == [
        "grad_outputs: [f32[]]",
        "grad_outputs: [f32[2]]",
        "grad_outputs: [f32[2]]",
    ]
    assert "SumBackward0" in caplog.records[0].message
    unregister()
    caplog.clear()
    y.backward()
    assert not caplog.records


def test_grad_dtype_belongs_to_leaves():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="can only be set on leaf tensors"):
        (x * 2).grad_dtype = torch.float64


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda x: nn.functional.mse_loss(x, torch.zeros(4)), "MseLossBackwardBackward0"),
        (lambda x: nn.functional.softplus(x).sum(), "SoftplusBackwardBackward0"),
        (lambda x: nn.functional.relu6(x).sum(), "HardtanhBackwardBackward0"),
        (lambda x: nn.functional.glu(x).sum(), "GluBackwardBackward0"),
        (lambda x: nn.functional.nll_loss(x, torch.tensor(1)), "NllLossBackwardBackward0"),
        (lambda x: nn.functional.avg_pool2d(x.view(1, 1, 2, 2), 2).sum(), "ViewBackward0"),
        (lambda x: (1 / x).sum(), "MulBackward0"),
        (lambda x: x.softmax(0)[0], "SoftmaxBackwardDataBackward0"),
    ],
)
def test_derivatives_that_are_one_node_when_they_are_differentiated(make, name):
    x = torch.tensor([0.5, 1.0, 2.0, 3.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(make(x), x, create_graph=True)
    assert gradient.requires_grad and gradient.grad_fn.name() == name
    gradient.sum().backward()
    assert x.grad.isfinite().all()


def test_the_derivative_of_a_convolution_is_one_node_by_whichever_argument():
    x, w, b = (torch.ones(s, dtype=torch.float64).requires_grad_() for s in ((1, 2, 4, 4), (3, 2, 3, 3), (3,)))
    for by in (x, w, b):
        (gradient,) = torch.autograd.grad(nn.functional.conv2d(x, w, b), by, torch.ones(1, 3, 2, 2), create_graph=True)
        assert gradient.grad_fn.name() == "ConvolutionBackwardBackward0"
        assert [n and n.variable for n, _ in gradient.grad_fn.next_functions] == [None, x, w]
    (frozen,) = torch.autograd.grad(nn.functional.conv2d(x, w.detach()).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(frozen.sum(), x, materialize_grads=True)  # frozen depends on x in the graph alone
    assert second.count_nonzero() == 0
    assert torch.autograd.gradgradcheck(nn.functional.conv2d, (x, w, b))


@pytest.mark.parametrize("op", ["max", "min", "median"])
def test_equal_extremes_share_a_gradient_that_fills_zeros(op):
    x = torch.tensor([[2.0, 2.0], [2.0, 2.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(getattr(x, op)() ** 2, x, create_graph=True)
    assert gradient.tolist() == [[1, 1], [1, 1]] and gradient.grad_fn.name() == "MaskedFillBackward1"
    edges = gradient.grad_fn.next_functions
    assert edges[0][0] is None and edges[1][0].name() == "DivBackward0"
    gradient.sum().backward()
    assert x.grad.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    infinite = torch.tensor([1.0, 1.0, 3.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(getattr(infinite, op)(), infinite, torch.tensor(torch.inf))
    assert not gradient.isnan().any()  # elsewhere it is zero, not zero times the gradient


@pytest.mark.parametrize("op", ["var", "std"])
def test_the_spread_of_all_is_about_the_mean_of_all(op):
    x = torch.tensor([[1.0, 2.0], [4.0, 8.0]], requires_grad=True)
    for args, name in (((), "MeanBackward0"), ((1,), "MeanBackward1")):
        (gradient,) = torch.autograd.grad(getattr(x, op)(*args).sum(), x, create_graph=True)
        away = gradient.grad_fn.next_functions[1 if op == "std" else -1][0]
        assert away.name() == "SubBackward0" and away.next_functions[1][0].name() == name


def test_derivatives_of_every_order_through_such_a_node():
    def f(x):
        return nn.functional.softplus(x) * nn.functional.mse_loss(x, x.detach() * 0)

    x = torch.tensor([0.5, -0.25], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(f, x) and torch.autograd.gradgradcheck(f, x)
    y = nn.functional.softplus(x).sum()
    for _ in range(3):
        (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    s = x.sigmoid()
    torch.testing.assert_close(y, s * (1 - s) * (1 - 2 * s))


def test_such_a_node_saves_through_hooks_and_frees_what_it_saved():
    packed = []

    def pack(t):
        packed.append(tuple(t.shape))
        return t

    x = torch.ones(3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = nn.functional.softplus(x).sum()
        n = len(packed)
        (gradient,) = torch.autograd.grad(y, x, create_graph=True)
    assert packed[n:] == [(3,), (3,)]
    gradient.sum().backward(retain_graph=True)
    y.backward(retain_graph=True)
    gradient.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        gradient.sum().backward()


def test_a_graph_of_second_order_goes_at_once():
    x = torch.ones(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(nn.functional.mse_loss(x, x.detach()), x, create_graph=True)
    first, seen = gradient.grad_fn, weakref.ref(gradient.grad_fn)
    del first, gradient
    assert seen() is None


@pytest.mark.parametrize("op", [torch.exp, torch.sigmoid, torch.relu, torch.tanh, lambda t: t.softmax(0)])
def test_a_saved_result_is_the_results_memory_with_its_history(op):
    x = torch.tensor([0.5, -0.25, 1.5], requires_grad=True)
    y = op(x)
    node = y.grad_fn
    with torch.no_grad():
        saved = node._saved_result
    assert saved is not y and saved.data_ptr() == y.data_ptr() and saved.grad_fn is node
    values = y.tolist()
    del saved, y
    shown = []
    node._raw_saved_result.register_hooks(lambda t: shown.append(t.tolist()), lambda packed: torch.tensor(values))
    node(torch.ones(3))
    assert shown == [values]


def test_a_saved_result_that_was_written_to_is_refused_and_a_freed_one_too():
    x = torch.tensor([0.5, -0.25], requires_grad=True)
    y = x.exp()
    y.detach().mul_(2)
    with pytest.raises(RuntimeError, match="is at version 1; expected version 0"):
        y.sum().backward()
    y = x.exp()
    node = y.grad_fn
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        assert node._saved_result is None
