"""Checkpoints: the same gradients with less kept, in both ways. Expected values and words are PyTorch's."""

import gc
import weakref
from contextlib import contextmanager, suppress

import pytest

import hookgrad as torch
from hookgrad.utils import checkpoint as C
from hookgrad.utils._python_dispatch import TorchDispatchMode

BOTH = pytest.mark.parametrize("use_reentrant", [True, False])


def leaf():
    return torch.tensor([1.0, 2.0], requires_grad=True)


@BOTH
def test_gradients_are_those_without_checkpoint(use_reentrant):
    def f(x):
        return (x.sin().exp() * x).sum()

    x, y = leaf(), leaf()
    C.checkpoint(f, x, use_reentrant=use_reentrant).backward()
    f(y).backward()
    assert x.grad.equal(y.grad)


@BOTH
def test_random_numbers_are_drawn_again_and_the_stream_goes_on_undisturbed(use_reentrant):
    torch.manual_seed(0)
    x = torch.ones(100, requires_grad=True)
    y = C.checkpoint(lambda x: torch.nn.functional.dropout(x) * x, x, use_reentrant=use_reentrant)
    before = torch.get_rng_state()
    y.sum().backward()
    assert torch.get_rng_state().equal(before)
    assert x.grad.equal(2 * y.detach())


@BOTH
def test_several_outputs(use_reentrant):
    x = leaf()
    a, b = C.checkpoint(lambda x: (x * 2, x.exp()), x, use_reentrant=use_reentrant)
    (a + b).sum().backward()
    assert x.grad.tolist() == pytest.approx([4.7183, 9.3891], abs=1e-4)


@BOTH
def test_nothing_needs_a_gradient(use_reentrant):
    x = torch.ones(2)
    if use_reentrant:
        with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True. Gradients will be None"):
            y = C.checkpoint(lambda x: x * 2, x, use_reentrant=True)
    else:
        y = C.checkpoint(lambda x: x * 2, x, use_reentrant=False)
    assert not y.requires_grad and y.tolist() == [2, 2]


def test_use_reentrant_should_be_said():
    with pytest.warns(UserWarning, match="the use_reentrant parameter should be passed explicitly"):
        C.checkpoint(lambda x: x, leaf())
    with pytest.warns(UserWarning, match="checkpoint_sequential: the use_reentrant"):
        C.checkpoint_sequential([lambda x: x], 1, leaf())


def test_keyword_arguments_only_without_reentrance():
    y = C.checkpoint(lambda x, k: x * k, leaf(), k=3, use_reentrant=False)
    assert y.tolist() == [3, 6]
    with pytest.raises(ValueError, match="Unexpected keyword arguments: k"):
        C.checkpoint(lambda x, k: x * k, leaf(), k=3, use_reentrant=True)
    with pytest.raises(ValueError, match="`context_fn` or `debug` is only supported when use_reentrant=False"):
        C.checkpoint(lambda x: x, leaf(), use_reentrant=True, debug=True)
    with pytest.raises(ValueError, match="determinism_check should be one of"):
        C.checkpoint(lambda x: x, leaf(), use_reentrant=False, determinism_check="much")


def test_reentrant_checkpoints_refuse_grad():
    x = leaf()
    y = C.checkpoint(lambda x: x.exp(), x, use_reentrant=True)
    with pytest.raises(RuntimeError, match="incompatible with .grad"):
        torch.autograd.grad(y.sum(), x)
    y = C.checkpoint(lambda x: x.exp(), x, use_reentrant=False)
    (g,) = torch.autograd.grad(y.sum(), x)
    assert g.equal(y)


def test_reentrant_checkpoint_needs_an_output_with_gradient():
    y = C.checkpoint(lambda x: x.detach(), leaf(), use_reentrant=True)
    with pytest.raises(RuntimeError, match="none of output has requires_grad=True"):
        y.sum().backward()


def test_recomputation_stops_early():
    seen = []

    def f(x):
        y = x.exp()
        seen.append("needed")
        z = y + 1
        seen.append("not needed")
        return z

    C.checkpoint(f, leaf(), use_reentrant=False).sum().backward()
    assert seen == ["needed", "not needed"]
    with C.set_checkpoint_early_stop(False):
        y = C.checkpoint(f, leaf(), use_reentrant=False)
    y.sum().backward()
    assert seen == ["needed", "not needed"] * 3


def test_what_is_saved_is_not_kept():
    seen = []

    def f(x):
        y = x.exp()
        seen.append(weakref.ref(y))
        return y.sin()

    gc.disable()
    try:
        out = C.checkpoint(f, leaf(), use_reentrant=False)
        assert seen[0]() is None
        out.sum().backward()
        del out
        assert [ref() for ref in seen] == [None, None]
    finally:
        gc.enable()


def test_the_second_run_must_save_as_many_tensors():
    runs = []

    def fewer(x):
        runs.append(1)
        return x.exp().sin() if len(runs) == 1 else x.exp()

    y = C.checkpoint(fewer, leaf(), use_reentrant=False)
    with pytest.raises(C.CheckpointError, match="A different number of tensors was saved") as error:
        y.sum().backward()
    assert "during forward: 2\nNumber of tensors saved during recomputation: 1" in str(error.value)
    runs.clear()

    def more(x):
        runs.append(1)
        return x.exp() if len(runs) == 1 else x.exp().sin()

    y = C.checkpoint(more, leaf(), use_reentrant=False, early_stop=False)
    with pytest.raises(C.CheckpointError, match="trying to save more tensors during recomputation"):
        y.sum().backward()


def test_the_second_run_must_save_the_same_shapes():
    runs = []

    def f(x):
        runs.append(1)
        return x[: 3 - len(runs)].exp()

    y = C.checkpoint(f, leaf(), use_reentrant=False)
    with pytest.raises(C.CheckpointError, match="have different metadata") as error:
        y.sum().backward()
    assert "saved metadata: {'shape': torch.Size([2]), 'dtype': torch.float32" in str(error.value)


def test_debug_tells_the_ops_of_both_runs_and_where_they_were_called():
    runs = []

    def f(x):
        runs.append(1)
        return x.exp().sin() if len(runs) == 1 else x.exp().view(2)

    y = C.checkpoint(f, leaf(), use_reentrant=False, debug=True)
    with pytest.raises(C.CheckpointError, match="Detected non-determinism") as error:
        y.sum().backward()
    words = str(error.value)
    first = "$1: f32[2] = torch._ops.aten.exp.default($0)\n$2: f32[2] = torch._ops.aten.sin.default($1)"
    assert f"during the original forward:\n\n{first}\n\n" in words
    again = [
        line.split(" = torch._ops.aten.")[1]
        for line in words.split("recomputation:\n\n")[1].split("\n\n")[0].split("\n")
    ]
    assert [op.split("(")[0] for op in again if "detach" not in op] == ["exp.default", "view.default"]
    assert f"(2 of 2 in original)\n\n{__file__}:{f.__code__.co_firstlineno + 2}:f\n" in words
    assert "A different number of tensors" in str(error.value.__cause__)


def test_twice_over_a_retained_graph():
    runs = []

    def f(x):
        runs.append(1)
        return x.exp().sin()

    x = leaf()
    y = C.checkpoint(f, x, use_reentrant=False)
    y.sum().backward(retain_graph=True)
    once = x.grad.clone()
    y.sum().backward()
    assert len(runs) == 3 and x.grad.equal(2 * once)


def test_double_backward():
    x = leaf()
    y = C.checkpoint(lambda x: x**3, x, use_reentrant=False)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    g.sum().backward()
    assert x.grad.tolist() == [6, 12]


def test_backward_within_the_function():
    def f(x):
        y = x.sin()
        (g,) = torch.autograd.grad(y.cos().sum(), x)
        return x.cos() * g

    x, y = leaf(), leaf()
    C.checkpoint(f, x, use_reentrant=False).sum().backward()
    f(y).sum().backward()
    assert torch.allclose(x.grad, y.grad)


@BOTH
def test_nested(use_reentrant):
    def f(inner, x):
        return inner(x.exp()).cos()

    def checkpointed(x):
        return C.checkpoint(torch.sin, x, use_reentrant=use_reentrant)

    x, y = leaf(), leaf()
    C.checkpoint(lambda x: f(checkpointed, x), x, use_reentrant=use_reentrant).sum().backward()
    f(torch.sin, y).sum().backward()
    assert torch.allclose(x.grad, y.grad)


def test_context_for_each_run():
    seen = []

    @contextmanager
    def context(name):
        seen.append("enter " + name)
        yield
        seen.append("leave " + name)

    y = C.checkpoint(torch.exp, leaf(), use_reentrant=False, context_fn=lambda: (context("first"), context("second")))
    y.sum().backward()
    assert seen[:3] == ["enter first", "leave first", "enter second"]
    with pytest.raises(RuntimeError, match="suppressed an exception raised during the checkpointed forward"):
        C.checkpoint(lambda x: {}[0], leaf(), use_reentrant=False, context_fn=lambda: (suppress(KeyError), None))


def test_an_error_leaves_no_hooks_in_force():
    with pytest.raises(KeyError):
        C.checkpoint(lambda x: {}[0], leaf(), use_reentrant=False)
    x = leaf()
    assert x.exp().grad_fn._saved_result is not None
    assert torch._C._autograd._top_saved_tensors_default_hooks(True) is None


def test_a_group_of_backwards_runs_once_more():
    runs = []

    def f(x):
        runs.append(1)
        y = x.exp()
        return y.sin(), y.cos()

    a, b = C.checkpoint(f, leaf(), use_reentrant=False)
    with pytest.raises(C.CheckpointError, match="already unpacked once"), C.GraphExecGroup():
        a.sum().backward(retain_graph=True)
        b.sum().backward()
    assert len(runs) == 2
    with pytest.raises(RuntimeError, match="GraphExecGroup contexts cannot be nested"):
        with C.GraphExecGroup(), C.GraphExecGroup():
            pass


@BOTH
def test_sequential(use_reentrant):
    torch.manual_seed(0)
    model = torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(5)])
    x, y = leaf(), leaf()
    C.checkpoint_sequential(model, 2, x, use_reentrant=use_reentrant).sum().backward()
    grads = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model(y).sum().backward()
    assert torch.allclose(x.grad, y.grad)
    assert all(torch.allclose(a, p.grad) for a, p in zip(grads, model.parameters()))
    with pytest.raises(ValueError, match="Unexpected keyword arguments: foo"):
        C.checkpoint_sequential(model, 2, x, use_reentrant=True, foo=1)


def test_helpers():
    with pytest.raises(RuntimeError, match="Only tuple of tensors is supported. Got Unsupported input type: list"):
        C.detach_variable([1])
    x = leaf()
    (y, n) = C.detach_variable((x, 3))
    assert n == 3 and y.requires_grad and y is not x
    assert C.get_device_states(x) == ([], []) and C.DefaultDeviceType.get_device_type() == "cpu"


def test_what_a_node_saves_is_packed_before_its_op_runs_so_early_stop_leaves_the_last_op_out():
    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            ran.append(func.__name__)
            return func(*args, **kwargs or {})

    def backward_through(early_stop):
        ran.clear()
        x = torch.ones(2, requires_grad=True)
        with C.set_checkpoint_early_stop(early_stop):
            y = C.checkpoint(lambda x: x.sin().cos(), x, use_reentrant=False)
        with Count():
            y.backward(torch.ones(2))
        return [name for name in ran if name.startswith(("sin", "cos"))]

    ran = []
    assert backward_through(early_stop=True) == ["sin.default", "sin.default", "cos.default"]
    assert backward_through(early_stop=False) == ["sin.default", "cos.default", "sin.default", "cos.default"]
