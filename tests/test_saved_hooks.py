"""Saved-tensor hooks, hooks of several tensors, edges and anomaly detection, beside what the event log compares."""

import gc
import threading
import warnings
import weakref

import pytest

import hookgrad as torch
from hookgrad.autograd import Function, graph


def leaf():
    return torch.tensor([1.0, 2.0], requires_grad=True)


def test_what_was_packed_lives_as_long_as_the_graph():
    class Packed:
        def __init__(self, t):
            self.t = t.detach()

    packed = []

    def pack(t):
        p = Packed(t)
        packed.append(weakref.ref(p))
        return p

    gc.disable()
    try:
        with graph.saved_tensors_hooks(pack, lambda p: p.t):
            y = leaf().exp().sin()
        assert all(ref() is not None for ref in packed)
        y.sum().backward()
        assert all(ref() is None for ref in packed)
        with graph.saved_tensors_hooks(pack, lambda p: p.t):
            y = leaf().exp()
        del y
        assert packed[-1]() is None
    finally:
        gc.enable()


def test_hooks_and_their_closures_go():
    class Owner:
        pass

    owner = Owner()
    ref = weakref.ref(owner)
    with graph.saved_tensors_hooks(lambda t, owner=owner: t, lambda t: t):
        y = leaf().exp()
    del owner
    assert ref() is not None
    del y
    gc.collect()
    assert ref() is None


def test_packing_the_output_itself_is_a_cycle_that_the_collector_finds():
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        y = leaf().exp()
    ref = weakref.ref(y.grad_fn)
    del y
    gc.collect()
    assert ref() is None


def test_hooks_hold_for_their_thread_only():
    seen = []
    with graph.saved_tensors_hooks(lambda t: (seen.append(1), t)[1], lambda t: t):
        thread = threading.Thread(target=lambda: leaf().exp())
        thread.start()
        thread.join()
    assert seen == []


def test_save_on_cpu_and_wrong_hooks():
    with graph.save_on_cpu(pin_memory=False):
        leaf().exp().sum().backward()
    with pytest.raises(TypeError):
        graph.saved_tensors_hooks(3, 4).__enter__()


def test_a_second_backward_needs_what_the_first_gave_away():
    with graph.saved_tensors_hooks(lambda t: t.detach(), lambda t: t):
        y = leaf().exp().sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_saved_values_and_raw_saved_values():
    x = leaf()
    y = x.pow(3)
    assert y.grad_fn._saved_self is x and y.grad_fn._saved_exponent == 3
    assert y.grad_fn._raw_saved_self.__class__.__name__ == "SavedTensor"
    assert x.exp().grad_fn._saved_result.grad_fn is not None
    with pytest.raises(AttributeError):
        y.grad_fn._saved_nothing  # noqa: B018


def test_mutation_contexts_do_not_nest_and_end():
    with graph.allow_mutation_on_saved_tensors() as context:
        with pytest.raises(RuntimeError, match="allow_mutation_on_saved_tensors contexts cannot be nested"):
            with graph.allow_mutation_on_saved_tensors():
                pass
        a = torch.ones(2, requires_grad=True)
        b = a.clone()
        out = (b**2).sum()
        b.sin_()
        assert len(context.cloned) == 1
    with pytest.raises(
        AssertionError, match="Trying to backward outside of the 'allow_mutation_on_saved_tensors' context"
    ):
        out.backward()


def test_multi_grad_hooks_leave_nothing_behind():
    a, b = leaf(), leaf()
    calls = []
    handle = graph.register_multi_grad_hook((a, b), calls.append)
    for _ in range(3):
        (a * b).sum().backward()
    assert len(calls) == 3 and [g.tolist() for g in calls[0]] == [[1, 2], [1, 2]]
    with handle:
        pass
    (a * b).sum().backward()
    assert len(calls) == 3 and not a._backward_hooks and not b._backward_hooks


def test_edges_keep_the_graph():
    x = leaf()
    edge = graph.get_gradient_edge((x * 2).exp())
    assert edge.node.name() == "ExpBackward0" and edge.output_nr == 0
    (g,) = torch.autograd.grad(edge, x, torch.ones(2))
    assert g.tolist() == pytest.approx([14.778, 109.196], abs=1e-2)
    with pytest.raises(RuntimeError, match="gradient edge for a Tensor that does not require gradients"):
        graph.get_gradient_edge(torch.ones(1))


def test_increment_version():
    x = leaf()
    y = x * x
    graph.increment_version([x])
    assert x._version == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    with pytest.raises(RuntimeError, match="increment_version expect a Iterable"):
        graph.increment_version(3)


def test_node_is_the_class_of_nodes():
    assert isinstance(leaf().exp().grad_fn, graph.Node) and issubclass(type(leaf().exp().grad_fn), graph.Node)


# ---- Anomaly detection ------------------------------------------------------------------------------------------------


class Fails(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        raise ValueError("backward")


class MakesNan(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * float("nan")


def anomaly(function, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises((ValueError, RuntimeError)) as error, torch.autograd.detect_anomaly(**options):
            function()
    return error.value, [str(w.message) for w in caught[1:]]


def test_an_error_comes_with_the_forward_traceback():
    def the_culprit():
        return Fails.apply(leaf()).sum()

    error, (words,) = anomaly(lambda: the_culprit().backward())
    assert isinstance(error, ValueError)
    assert words.startswith("Error detected in FailsBackward. Traceback of forward call that caused the error:\n")
    assert "return Fails.apply(leaf()).sum()" in words


def test_a_warning_that_is_an_error_is_printed_instead(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autograd.detect_anomaly(), pytest.raises(ValueError):
            warnings.simplefilter("error")
            Fails.apply(leaf()).sum().backward()
    assert "UserWarning: Error detected in FailsBackward" in capsys.readouterr().err


def test_nan_is_an_error():
    error, (words,) = anomaly(lambda: MakesNan.apply(leaf()).sum().backward())
    assert str(error) == "Function 'MakesNanBackward' returned nan values in its 0th output."
    assert "Error detected in MakesNanBackward" in words
    with pytest.warns(UserWarning), torch.autograd.detect_anomaly(check_nan=False):
        MakesNan.apply(leaf()).sum().backward()


def test_a_graph_made_before_has_no_traceback():
    y = Fails.apply(leaf()).sum()
    _, (words,) = anomaly(y.backward)
    assert words.startswith("Error detected in FailsBackward. No forward pass information available.")


def test_a_node_of_a_derivative_names_the_node_it_comes_from():
    class Nested(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return Fails.apply(grad * leaf())

    def twice():
        x = leaf()
        (g,) = torch.autograd.grad(Nested.apply(x).sum(), x, create_graph=True)
        g.sum().backward()

    _, words = anomaly(twice)
    assert [w.strip().split(".")[0] for w in words] == [
        "Error detected in FailsBackward",
        "Previous calculation was induced by NestedBackward",
    ]


def test_turning_it_on_and_off():
    assert not torch.is_anomaly_enabled() and torch.is_anomaly_check_nan_enabled()
    with torch.autograd.set_detect_anomaly(True):
        assert torch.is_anomaly_enabled()
        assert list(leaf().exp().grad_fn.metadata) == ["traceback_"]
    assert not torch.is_anomaly_enabled() and leaf().exp().grad_fn.metadata == {}
    torch.autograd.set_detect_anomaly(True, False)
    assert not torch.is_anomaly_check_nan_enabled()
    torch.autograd.set_detect_anomaly(False)


def test_saved_tensors_of_a_list_of_numbers_and_of_a_function():
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x[torch.tensor([0, 2])]
    (index,) = y.grad_fn._raw_saved_indices
    index.register_hooks(lambda t: t + 1, lambda t: t - 1)
    assert index.data.tolist() == [1, 3] and index.unpack().tolist() == [0, 2]
    assert y.grad_fn._saved_indices[0].tolist() == [0, 2]
    y.sum().backward()
    assert x.grad.tolist() == [1, 0, 1]
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.grad_fn._raw_saved_indices  # noqa: B018

    y = leaf() * 3
    y.grad_fn._raw_saved_other.register_hooks(lambda t: t * 2, lambda t: t)
    assert torch.autograd.grad(y.sum(), y.grad_fn.next_functions[0][0].variable)[0].tolist() == [6, 6]

    class Scale(Function):
        @staticmethod
        def forward(ctx, a):
            result = a.exp()
            ctx.save_for_backward(a, None, result)
            return result

        @staticmethod
        def backward(ctx, grad):
            return grad * ctx.saved_tensors[2]

    y = Scale.apply(leaf())
    raw = y.grad_fn._raw_saved_tensors
    seen = []
    raw[2].register_hooks(lambda t: seen.append(t.grad_fn) or t, lambda t: t)
    assert seen == [None] and callable(raw[2].unpack_hook) and raw[0].unpack_hook is None
    assert raw[2].unpack().grad_fn is y.grad_fn
    with pytest.raises(RuntimeError, match="with value None is forbidden"):
        raw[1].register_hooks(lambda t: t, lambda t: t)
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.grad_fn._raw_saved_tensors  # noqa: B018
    with pytest.raises(RuntimeError, match="from Python is forbidden"):
        type(raw[0])()


def test_switches_of_saved_tensor_hooks():
    switches = torch._C._autograd
    assert switches._saved_tensors_hooks_is_enabled()
    with graph.disable_saved_tensors_hooks("outer"):
        with graph.disable_saved_tensors_hooks("inner"):
            assert switches._saved_tensors_hooks_get_disabled_error_message() == "inner"
        assert switches._saved_tensors_hooks_get_disabled_error_message() == "outer"
        with pytest.raises(RuntimeError, match="outer"):
            switches._push_saved_tensors_default_hooks(print, print)
    assert switches._saved_tensors_hooks_is_enabled()
    with graph.saved_tensors_hooks(print, repr):
        assert switches._top_saved_tensors_default_hooks(False) == (print, repr)
        with pytest.raises(RuntimeError, match="in force"):
            switches._saved_tensors_hooks_disable("in force")


def test_an_optimizers_step_is_a_mutation():
    with graph.allow_mutation_on_saved_tensors() as context:
        for kind in (torch.optim.SGD, torch.optim.Adam):
            p = torch.nn.Parameter(torch.ones(3))
            y = (p * p).sum()
            p.grad = torch.ones(3)
            kind([p], lr=0.1).step()
            assert len(context.cloned) == 1
            p.grad = None
            y.backward()
            assert p.grad.tolist() == [2, 2, 2]
            del y


def test_mutation_may_be_allowed_to_a_function():
    @graph.allow_mutation_on_saved_tensors()
    def gradient():
        a = leaf()
        b = a.clone()
        out = (b * b).sum()
        b.zero_()
        out.backward()
        return a.grad.tolist()

    assert gradient() == gradient() == [2, 4]


def test_leaves_of_a_multi_grad_hook_under_grad():
    a, b = leaf(), leaf()
    graph.register_multi_grad_hook((a, b), print)
    with pytest.raises(RuntimeError, match="A leaf node was passed to _will_engine_execute_node"):
        torch.autograd.grad((a * b).sum(), (a, b))
    unreached, y, seen = leaf(), a * 2, []
    graph.register_multi_grad_hook((unreached, y), seen.append)
    torch.autograd.grad(y.sum(), (unreached, y), allow_unused=True)
    assert len(seen) == 1 and seen[0][0] is None
    with pytest.raises(TypeError, match="no len"):
        graph.register_multi_grad_hook((t for t in (a, b)), print)


def test_a_run_within_another_says_how_many_calls_a_multi_grad_hook_waits_for():
    a, seen, inner = leaf(), [], [True]
    y = a * 2
    z = (y * 3).sum()
    y.grad_fn.register_hook(lambda *grads: z.backward(inputs=[y], retain_graph=True) if inner and inner.pop() else None)
    graph.register_multi_grad_hook((a, y), lambda grads: seen.append([g is not None for g in grads]))
    z.backward(retain_graph=True)
    assert seen == [[False, True]]  # the run around it waits in vain, as in PyTorch
    z.backward()
    assert seen[1:] == [[True, True]]


def test_edges_stand_for_tensors_everywhere():
    a = leaf()
    edge = graph.get_gradient_edge(a)
    (a * 2).sum().backward(inputs=edge)
    assert a.grad.tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="all inputs have to be Tensors or GradientEdges"):
        (a * 2).sum().backward(inputs=[3])
    with pytest.raises(RuntimeError, match="materialize_grads cannot be used"):
        torch.autograd.grad((leaf() * 2).sum(), edge, materialize_grads=True)
    assert torch.autograd.grad((a * 2).sum(), edge, materialize_grads=True)[0].tolist() == [2, 2]
    root = ((a * 2).sum(),)
    assert graph._engine_run_backward(root, (None,), False, False, (a,), True, False)[0].tolist() == [2, 2]


def test_what_a_node_says_of_itself():
    x = leaf() * 2
    y = x * 2
    assert y.grad_fn._sequence_nr() == x.grad_fn._sequence_nr() + 1
    y.grad_fn._set_sequence_nr(5)
    assert y.grad_fn._sequence_nr() == 5
    (meta,) = y.grad_fn._input_metadata
    assert meta.shape == [2] and meta.dtype is torch.float32 and not meta.is_nested_tensor


def test_a_tensor_without_history_comes_back_as_the_object_that_unpack_returns():
    x, factor = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        out = x * factor
        kept = x.sin()
    assert out.grad_fn._saved_other is factor
    assert kept.grad_fn._saved_self is not x and kept.grad_fn._saved_self.requires_grad


def test_a_saved_tensor_wants_both_hooks():
    saved = torch.ones(1, requires_grad=True).sin().grad_fn._raw_saved_self
    with pytest.raises(TypeError, match="incompatible function arguments"):
        saved.register_hooks(lambda t: t)


def in_force():
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


@pytest.mark.parametrize("fails", [False, True])
def test_hooks_begun_in_backward_end_with_their_node(fails):
    seen = []
    x = torch.ones(3, requires_grad=True)
    y = x.sin()
    context = torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t)

    def begin(grad):
        context.__enter__()
        seen.append(in_force())
        if fails:
            raise ValueError("of the hook")

    y.register_hook(begin)
    x.register_hook(lambda grad: seen.append(in_force()))
    if fails:
        with pytest.raises(ValueError, match="of the hook"):
            y.sum().backward()
    else:
        y.sum().backward()
    assert seen == ([True] if fails else [True, False])
    assert not in_force()


def test_a_leaf_comes_back_as_numbers_that_have_gradients():
    with graph.saved_tensors_hooks(lambda t: 5, torch.as_tensor):
        y = leaf().square().sum()
    with pytest.raises(RuntimeError, match="^Only Tensors of floating point and complex dtype can require gradients$"):
        y.backward()


def test_hooks_begun_while_unpacking_leave_the_outer_ones():
    unpacked = []

    def unpack(t):
        context.__enter__()
        unpacked.append(t)
        return t

    context = torch.autograd.graph.saved_tensors_hooks(lambda t: t, unpack)
    with context:
        torch.ones(3, requires_grad=True).sin().sum().backward()
        assert in_force()
    assert len(unpacked) == 1 and not in_force()


def test_hooks_that_are_not_in_force_cannot_end():
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t)
    with pytest.raises(RuntimeError, match="no saved-tensor hooks in force"):
        hooks.__exit__()
    with hooks:
        pass
    with pytest.raises(RuntimeError, match="no saved-tensor hooks in force"):
        hooks.__exit__(None, None, None)


def test_a_backward_says_whether_it_keeps_the_graph():
    keeps = torch._C._autograd._get_current_graph_task_keep_graph
    seen = []
    x = torch.ones(2, requires_grad=True)
    y = x.exp()
    y.register_hook(lambda grad: seen.append(keeps()))
    y.sum().backward(retain_graph=True)
    torch.autograd.grad(y.sum(), x, create_graph=True)
    y.sum().backward()
    assert seen == [True, True, False]
    assert keeps()  # there is none


def test_logsigmoid_packs_its_buffer():
    x, packed = torch.tensor([-1.0, 2.0], requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t):
        y = torch.nn.functional.logsigmoid(x)
    assert len(packed) == 2 and packed[0] is x and not packed[1].requires_grad
    torch.testing.assert_close(packed[1], torch.tensor([-1.0, -2.0]).exp())
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.sigmoid(-x.detach()))


def test_arguments_are_packed_before_the_op_runs():
    seen = []

    def sees(tensor):
        seen.append(tensor.tolist())
        return tensor

    norm = torch.nn.BatchNorm1d(1)
    with graph.saved_tensors_hooks(sees, lambda tensor: tensor):
        norm(torch.tensor([[3.0], [5.0]]))
    assert seen[1:3] == [[0.0], [1.0]]  # running_mean and running_var
    seen.clear()
    with graph.saved_tensors_hooks(sees, lambda tensor: tensor), pytest.raises(RuntimeError):
        torch.ones(1, 2, requires_grad=True) @ torch.ones(3, 2)
    assert seen == [[[1.0, 1.0]] * 3]


@pytest.mark.parametrize(
    "op", [lambda x, y: x.mul_(y), lambda x, y: x.sin_(), lambda x, y: x.addcmul_(y, y), lambda x, y: x.view(2).div_(y)]
)
def test_an_op_whose_argument_cannot_be_packed_writes_nothing(op):
    def refuses(tensor):
        raise ValueError

    x = torch.full((2,), 3.0, requires_grad=True) * 1
    with graph.saved_tensors_hooks(refuses, lambda tensor: tensor), pytest.raises(ValueError):
        op(x, torch.ones(2, requires_grad=True))
    assert (x.tolist(), x._version, x.grad_fn.name()) == ([3.0, 3.0], 0, "MulBackward0")


def test_an_op_in_place_with_itself_under_hooks_saves_what_it_overwrites():
    x = torch.full((2,), 3.0, requires_grad=True)
    with graph.saved_tensors_hooks(lambda tensor: tensor.clone(), lambda tensor: tensor):
        y = x * 1
        y.mul_(y)
    y.sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]
