"""Tensor classes with a `__torch_dispatch__`: who is asked of what, and what becomes of it in the graph."""

import copy

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.overrides import enable_reentrant_dispatch
from hookgrad.testing._internal.logging_tensor import LoggingTensor, LoggingTensorReentrant, capture_logs, log_input
from hookgrad.testing._internal.two_tensor import TwoTensor
from hookgrad.utils._mode_utils import no_dispatch
from hookgrad.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass, transform_subclass


class Seen(torch.Tensor):
    """A tensor with values of its own, that notes the ops it takes part in."""

    ops = []

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        cls.ops.append((str(func), types))
        return super().__torch_dispatch__(func, types, args, kwargs)


@pytest.fixture(autouse=True)
def nothing_seen():
    Seen.ops.clear()


def wrapped(*values, **kwargs):
    return LoggingTensor(torch.tensor(values), **kwargs)


def test_forward_and_backward_are_logged():
    with capture_logs() as lines:
        x = wrapped(3.0, requires_grad=True)
        log_input("x", x)
        (gradient,) = torch.autograd.grad(x * x, x, wrapped(1.0))
    assert lines == [
        "$0: f32[1] = input('x')",
        "$1: f32[1] = torch._ops.aten.mul.Tensor($0, $0)",
        "$3: f32[1] = torch._ops.aten.mul.Tensor($2, $0)",
        "$4: f32[1] = torch._ops.aten.mul.Tensor($2, $0)",
        "$5: f32[1] = torch._ops.aten.add.Tensor($4, $3)",
    ]
    assert type(gradient) is LoggingTensor and gradient.elem.tolist() == [6.0]


def test_results_have_the_class_and_the_ops_history():
    x = wrapped(1.0, 2.0, requires_grad=True)
    y = x.exp() * 2
    assert type(y) is LoggingTensor and y.grad_fn.name() == "MulBackward0" and y.requires_grad
    y.sum().backward()
    assert type(x.grad) is LoggingTensor and torch.equal(x.grad.elem, x.elem.exp() * 2)
    (x * 3).sum().backward()
    assert torch.equal(x.grad.elem, x.elem.exp() * 2 + 3)


def test_hooks_see_the_class():
    x, seen = wrapped(1.0, requires_grad=True), []
    y = x.sigmoid()
    x.register_hook(lambda grad: seen.append(("tensor", type(grad))))
    y.register_hook(lambda grad: grad * 2)
    y.grad_fn.register_hook(lambda grad_in, grad_out: seen.append(("node", type(grad_in[0]), type(grad_out[0]))))
    x.register_post_accumulate_grad_hook(lambda t: seen.append(("post", type(t.grad))))
    y.sum().backward()
    assert seen == [("node", LoggingTensor, LoggingTensor), ("tensor", LoggingTensor), ("post", LoggingTensor)]
    assert torch.allclose(x.grad.elem, 2 * y.elem * (1 - y.elem))


def test_module_hooks_see_the_class():
    model, seen = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), []
    for module in model:
        module.register_forward_hook(lambda m, args, out: seen.append((type(args[0]), type(out))))
        module.register_full_backward_hook(
            lambda m, grad_in, grad_out: seen.append((type(grad_in[0]), type(grad_out[0])))
        )
    x = LoggingTensor(torch.ones(1, 2), requires_grad=True)
    model(x).sum().backward()
    assert seen == [(LoggingTensor, LoggingTensor)] * 4
    assert type(model[0].weight.grad) is LoggingTensor and type(x.grad) is LoggingTensor


def test_saved_tensor_hooks_pack_the_class():
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(type(t)) or t, lambda t: t):
        x = wrapped(2.0, requires_grad=True)
        y = (x.exp() * x).sum()
    y.backward()
    assert packed == [LoggingTensor] * 3 and torch.allclose(x.grad.elem, x.elem.exp() * (x.elem + 1))


def test_in_place_and_views_keep_the_rules_of_the_graph():
    x = wrapped(1.0, 1.0, 1.0, requires_grad=True)
    y = x * 1
    view = y[1:]
    view.mul_(2)
    assert y._version == view._version == 1 and view._base is y and view.grad_fn.name() != "SliceBackward0"
    y.sum().backward()
    assert x.grad.elem.tolist() == [1.0, 2.0, 2.0]
    y = x.exp()
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
    detached = wrapped(1.0)
    detached.detach().add_(1)
    assert detached._version == 1 and detached.elem.tolist() == [2.0]
    detached.data.add_(1)
    assert detached._version == 1


def test_two_in_one():
    x = TwoTensor(torch.ones(2, 2), torch.zeros(2, 2)).requires_grad_()
    (x.view(4) * 3).relu().sum().backward()
    assert x.grad.a.tolist() == [[3.0, 3.0]] * 2 and x.grad.b.tolist() == [[0.0, 0.0]] * 2
    w = torch.ones(2, 2, requires_grad=True)
    (x.detach() @ w).sum().backward()
    assert type(w.grad) is TwoTensor and w.grad.a.tolist() == [[2.0, 2.0]] * 2
    y = TwoTensor(torch.ones(2, 3), torch.zeros(2, 3))
    assert y.mul_(2) is y and y.a.tolist() == [[2.0] * 3] * 2 and len(y.split(1)) == 2
    assert y.t_() is y and y.shape == (3, 2) and y.a.shape == (3, 2)
    assert is_traceable_wrapper_subclass(y) and not is_traceable_wrapper_subclass(torch.ones(1))
    z = transform_subclass(y, lambda name, t: t + 1 if name == "a" else t)
    assert z.a[0, 0] == 3 and z.b[0, 0] == 0 and z.shape == y.shape


@pytest.mark.parametrize(
    "make", [lambda p: torch.optim.SGD(p, lr=0.5, momentum=0.9), lambda p: torch.optim.Adam(p, lr=0.5)]
)
def test_optimizers_change_what_the_tensors_are_made_of(make):
    parts = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    both = nn.Parameter(TwoTensor(*(p.clone() for p in parts)))
    plain = [nn.Parameter(p.clone()) for p in parts]
    assert isinstance(both, nn.Parameter) and type(both) is TwoTensor
    for parameters in [both], plain:
        optimizer = make(parameters)
        for _ in range(3):
            optimizer.zero_grad()
            sum(p.square().sum() for p in parameters).backward()
            optimizer.step()
    assert torch.allclose(both.a, plain[0], rtol=1e-4) and torch.allclose(both.b, plain[1], rtol=1e-4)


def test_tensors_with_values_of_their_own():
    x = Seen(torch.tensor([1.0, 2.0])).requires_grad_()
    Seen.ops.clear()
    y = x * 2
    assert Seen.ops == [("aten.mul.Tensor", (Seen,))] and type(y) is torch.Tensor and y.tolist() == [2.0, 4.0]
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_derived_classes_are_asked_first():
    class Derived(Seen):
        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            asked.append(types)
            return NotImplemented

    asked, x, y = [], Seen(torch.ones(1)), Derived(torch.ones(1))
    assert (x + y).item() == 2 and asked == [(Derived, Seen)]
    with pytest.raises(TypeError, match="Multiple dispatch failed for 'aten.add.Tensor'.*\n\n  - tensor subclass"):
        torch.add(y, 1)


def test_modes_are_asked_before_classes():
    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            asked.append(types)
            return func(*args, **(kwargs or {}))

    asked, x = [], Seen(torch.ones(1))
    with Mode():
        x + 1
    assert asked == [(Seen,)] and Seen.ops == [("aten.add.Tensor", (Seen,))]


def test_nobody_is_asked_without_dispatch():
    x = Seen(torch.ones(2))
    with no_dispatch():
        assert (x + 1).tolist() == [2.0, 2.0]
    assert not Seen.ops


def test_nothing_is_recorded_below_the_graph():
    class Below(torch.Tensor):
        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            inner = w * 2
            states.append((inner.requires_grad, torch.is_grad_enabled()))
            with enable_reentrant_dispatch():
                states.append(((w * 2).requires_grad, torch.is_grad_enabled()))
            return super().__torch_dispatch__(func, types, args, kwargs)

    states, w = [], torch.ones(1, requires_grad=True)
    Below(torch.ones(1)) + 1
    assert states == [(False, True), (True, True)]
    with torch.no_grad():
        Below(torch.ones(1)) + 1
    assert states[2:] == [(False, False)] * 2 and torch.is_grad_enabled()


def test_a_graph_of_the_inner_tensors():
    w = torch.ones(2, requires_grad=True)
    y = LoggingTensorReentrant(w) * 3
    assert y.elem.requires_grad and not y.requires_grad
    y.elem.sum().backward()
    assert w.grad.tolist() == [3.0, 3.0]


def test_an_exception_leaves_everything_as_it_was():
    class Failing(torch.Tensor):
        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            raise KeyError(str(func))

    x = Failing(torch.ones(1))
    with pytest.raises(KeyError, match="aten.neg.default"):
        x.neg()
    w = torch.ones(1, requires_grad=True)
    assert torch.is_grad_enabled() and (w * 2).requires_grad


def test_numbers_are_read_through_the_class():
    x = wrapped(1.5)
    assert x.item() == 1.5 and float(x) == 1.5 and bool(x) and torch.equal(x, x) and torch.allclose(x, x)
    for read in x.tolist, x.numpy, x.untyped_storage().data_ptr:
        with pytest.raises(RuntimeError):
            read()


def test_copies():
    x = wrapped(1.0, requires_grad=True)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert type(y) is LoggingTensor and y.requires_grad and y.grad.elem.tolist() == [2.0]
    y.elem.add_(1)
    assert x.elem.tolist() == [1.0]
    z = copy.deepcopy(nn.Parameter(TwoTensor(torch.ones(1), torch.ones(1))))
    assert isinstance(z, nn.Parameter) and type(z) is TwoTensor


def test_what_is_refused():
    class Plain(torch.Tensor):
        pass

    with pytest.raises(TypeError, match="Plain must define __torch_dispatch__"):
        torch.Tensor._make_wrapper_subclass(Plain, (2,))
    for retype in (
        lambda: torch.Tensor._make_subclass(Plain, wrapped(1.0)),
        lambda: wrapped(1.0).as_subclass(Plain),
        lambda: Plain(wrapped(1.0)),
    ):
        with pytest.raises(
            RuntimeError, match="subclass Plain but.*already associated to a python object of type Logging"
        ):
            retype()


def test_a_wrapper_says_what_it_was_told():
    x = torch.Tensor._make_wrapper_subclass(
        LoggingTensor, (2, 3), strides=(1, 2), storage_offset=4, dtype=torch.float64, requires_grad=True
    )
    assert x.shape == (2, 3) and x.stride() == (1, 2) and x.storage_offset() == 4 and x.dtype == torch.float64
    assert x.requires_grad and x.is_leaf and type(x) is LoggingTensor
    assert torch.Tensor._make_wrapper_subclass(LoggingTensor, (0, 2)).stride() == (2, 1)
