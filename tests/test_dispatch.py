"""Modes that see each op: TorchDispatchMode, what is made of it, and the ops by their names."""

import copy
import pickle
import threading

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,
    _get_current_dispatch_mode,
    is_in_torch_dispatch_mode,
)
from hookgrad.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
from hookgrad.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten


class Log(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class Answer(TorchDispatchMode):
    """Answers every op with one value."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.answer(func, args)


def test_ops_in_forward_and_backward_are_seen():
    x = torch.ones(2, requires_grad=True)
    with Log() as log:
        (x * 3).sum().backward()
    assert log.seen[:3] == ["aten.mul.Tensor", "aten.sum.default", "aten.ones_like.default"]
    assert log.seen[-2:] == ["aten.mul.Tensor", "aten.detach.default"] and x.grad.tolist() == [3.0, 3.0]
    with Log() as log:
        torch.ones(2).add_(1)
    assert log.seen == ["aten.ones.default", "aten.add_.Tensor"]


def test_the_graph_is_the_same_under_a_mode():
    x = torch.ones(2, 2, requires_grad=True)
    with Log():
        y = (x @ x).relu()[0].clone().mul_(2)
    assert y.grad_fn.name() == "MulBackward0" and y.grad_fn.next_functions[0][0].name() == "CloneBackward0"
    y.sum().backward()
    assert x.grad.tolist() == [[6.0, 6.0], [2.0, 2.0]]


def test_views_stay_views():
    x = torch.zeros(4)
    with Log():
        x.view(2, 2)[0].add_(1)
    assert x.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_lists_are_seen():
    with Log() as log:
        parts = torch.ones(4).split(2)
    assert log.seen[-1] == "aten.split.Tensor" and [p.tolist() for p in parts] == [[1.0, 1.0]] * 2


def test_the_answer_stands_in_for_a_new_result():
    x = torch.ones(2, requires_grad=True)
    with Answer(lambda func, args: torch.tensor([5.0, 6.0])):
        y = x * 2
    assert y.tolist() == [5.0, 6.0] and y.grad_fn.name() == "MulBackward0"
    z = torch.ones(2)
    with Answer(lambda func, args: torch.tensor([5.0, 6.0])):
        z.add_(1)
    assert z.tolist() == [1.0, 1.0]  # in place it is not asked for


@pytest.mark.parametrize("answer", [3, None, (torch.ones(1), torch.ones(1))])
def test_an_answer_that_is_no_result_is_refused(answer):
    x = torch.ones(1)
    with pytest.raises(RuntimeError, match="Unable to cast"), Answer(lambda func, args: answer):
        x * 2
    assert (x * 2).item() == 2.0


def test_errors_pass_and_the_mode_is_on_afterwards():
    def fail(func, args):
        raise KeyError(str(func))

    x = torch.ones(1)
    with Answer(fail) as mode:
        for _ in range(2):
            with pytest.raises(KeyError, match="aten.sin.default"):
                x.sin()
        assert _get_current_dispatch_mode() is mode
    assert not is_in_torch_dispatch_mode()


def test_modes_can_be_taken_off_for_a_while_and_are_of_their_thread():
    with Log() as log:
        with _disable_current_modes() as modes:
            torch.ones(1)
        thread = threading.Thread(target=lambda: torch.ones(2).sin())
        thread.start()
        thread.join()
    assert modes == [log] and log.seen == []


def test_ops_have_names_and_can_be_called_copied_and_pickled():
    op = aten.add.Tensor
    assert op is aten.add.Tensor and copy.deepcopy(op) is op and pickle.loads(pickle.dumps(op)) is op
    assert pickle.loads(pickle.dumps(aten.add)) is aten.add
    assert (
        op(torch.ones(1), 2).item() == 3.0
        and op.overloadpacket is op._overloadpacket is aten.add
        and op.namespace == "aten"
    )
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        aten.nothing()
    with pytest.raises(AttributeError, match="no attribute 'op'"):
        torch.ops.mine.op()


def test_a_selective_checkpoint_keeps_what_the_policy_says():
    x = torch.full((2, 2), 0.5, requires_grad=True)

    def contexts():
        return create_selective_checkpoint_contexts(lambda context, op, *args, **kwargs: op is aten.mm.default)

    y = checkpoint(lambda x: (x @ x).exp() @ x, x, use_reentrant=False, context_fn=contexts)
    with Log() as log:
        y.sum().backward(retain_graph=True)
    assert log.seen.count("aten.exp.default") == 1
    with pytest.raises(RuntimeError, match="backward an extra time"):
        y.sum().backward()


def test_operations_are_counted_by_module():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    with FlopCounterMode(display=False) as counter:
        net(torch.ones(5, 3)).sum().backward()
    counts = {name: sum(n.values()) for name, n in counter.get_flop_counts().items()}
    forward = 2 * 5 * (3 * 4 + 4 * 2)
    assert counter.get_total_flops() == counts["Global"] == counts["Sequential"] == 2 * forward + 2 * 5 * 4 * 2
    assert counts["Sequential.0"] == 2 * 2 * 5 * 3 * 4


def test_functions_that_make_tensors_show_where():
    class Given(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            calls.append((str(func), args, kwargs))
            return func(*args, **kwargs)

    calls, x = [], torch.ones(2, 3)
    with Given():
        torch.empty(2), torch.zeros(2, dtype=torch.float64), torch.zeros_like(x), torch.arange(1, 3)
    there = {"device": torch.device("cpu"), "pin_memory": False}
    assert calls[0] == ("aten.empty.memory_format", ([2],), there)
    assert calls[1] == ("aten.zeros.default", ([2],), {"dtype": torch.float64, **there})
    assert calls[2][0] == "aten.zeros_like.default" and calls[2][2] == {"pin_memory": False}
    assert calls[3] == ("aten.arange.start", (1, 3), there)


def test_out_is_an_overload_of_its_own():
    class Given(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            calls.append((str(func), len(args), list(kwargs)))
            return func(*args, **kwargs)

    calls, x, out = [], -torch.ones(2, 3), torch.empty(2, 3)
    with Given():
        assert torch.abs(x, out=out) is out
        torch.add(x, x, out=out), torch.sum(x, 0, out=torch.ones(3))
    assert [name for name, *_ in calls if name != "aten.ones.default"] == [
        "aten.abs.out",
        "aten.add.out",
        "aten.sum.IntList_out",
    ]
    assert calls[0] == ("aten.abs.out", 1, ["out"]) and out.tolist() == [[-2.0] * 3] * 2


def test_an_overload_knows_its_schema():

    schemas = [
        (aten.add.Tensor, "aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor"),
        (aten.add_.Tensor, "aten::add_.Tensor(Tensor(a!) self, Tensor other, *, Scalar alpha=1) -> Tensor(a!)"),
        (aten.max.dim, "aten::max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"),
        (aten.view.default, "aten::view(Tensor(a) self, SymInt[] size) -> Tensor(a)"),
        (aten.split.Tensor, "aten::split.Tensor(Tensor(a -> *) self, SymInt split_size, int dim=0) -> Tensor(a)[]"),
        (aten.add.out, "aten::add.out(Tensor self, Tensor other, *, Scalar alpha=1, Tensor(a!) out) -> Tensor(a!)"),
    ]
    assert [str(op._schema) for op, _ in schemas] == [text for _, text in schemas]
    schema = aten.add.Tensor._schema
    assert (schema.name, schema.overload_name, schema.is_mutable) == ("aten::add", "Tensor", False)
    alpha = schema.arguments[2]
    assert (alpha.name, str(alpha.type), alpha.default_value, alpha.kwarg_only) == ("alpha", "number", 1, True)
    assert not schema.arguments[0].has_default_value() and schema.arguments[0].alias_info is None
    assert aten.add_.Tensor._schema.is_mutable and aten.add_.Tensor._schema.arguments[0].alias_info.is_write
    assert aten.view.default.is_view and not aten.add.Tensor.is_view


def seen(call):
    with Log() as mode:
        call()
    return mode.seen


def test_printing_is_not_seen():
    x = torch.ones(2, requires_grad=True)
    x.register_hook(lambda grad: repr(grad) and None)
    assert seen(lambda: repr(torch.zeros(2))) == ["aten.zeros.default"]
    assert seen(lambda: (x * 2).sum().backward())[-2:] == ["aten.mul.Tensor", "aten.detach.default"]


def test_what_is_made_of_numbers_and_what_is_detached_is_seen():
    assert (
        seen(lambda: torch.tensor([1.0]))
        == seen(lambda: torch.tensor(1.0, dtype=torch.float64))
        == ["aten.lift_fresh.default"]
    )
    x = torch.ones(2)
    assert seen(lambda: x.data) == ["aten.detach.default"]
    assert seen(lambda: x.long() << 1) == ["aten._to_copy.default", "aten.__lshift__.Scalar"]


def test_dropout_and_batches_are_seen_as_pytorchs_ops():
    x, layer = torch.ones(2, 3), torch.nn.BatchNorm1d(3)
    names = ["aten.empty_like.default", "aten.bernoulli_.float", "aten.div_.Scalar", "aten.mul.Tensor"]
    assert seen(lambda: torch.nn.functional.dropout(x)) == names
    assert seen(lambda: layer(x)) == ["aten.add_.Tensor", "aten.empty.memory_format", "aten.native_batch_norm.default"]
    torch.manual_seed(0)
    plain = torch.nn.functional.dropout(x)
    torch.manual_seed(0)
    with Log():
        assert torch.equal(torch.nn.functional.dropout(x), plain)


def test_modes_are_pushed_and_popped_by_hand():
    from hookgrad.utils import _python_dispatch as dispatch

    mode = Log()
    dispatch._push_mode(mode)
    torch.ones(1)
    assert dispatch._pop_mode() is mode and mode.seen == ["aten.ones.default"]


CONVOLUTIONS = [
    (lambda x, w, b: nn.functional.conv2d(x, w, b, stride=2, padding=1), (4, 3, 2, 2), 4),
    (lambda x, w, b: nn.functional.conv2d(x, w, b, dilation=2), (4, 3, 2, 2), 4),
    (lambda x, w, b: nn.functional.conv2d(x, w, b, groups=3), (6, 1, 2, 2), 6),
    (lambda x, w, b: nn.functional.conv_transpose2d(x, w, b, stride=2, output_padding=1), (3, 4, 2, 2), 4),
]


@pytest.mark.parametrize("conv, size, n", CONVOLUTIONS)
@pytest.mark.parametrize("wanted", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 1, 1)])
def test_the_derivatives_of_a_convolution_are_one_op(conv, size, n, wanted):
    torch.manual_seed(0)
    given = [torch.randn(s) for s in ((2, 3, 6, 6), size, (n,))]
    for t, on in zip(given, wanted):
        t.requires_grad_(bool(on))
    leaves = [t for t in given if t.requires_grad]
    loss = conv(*given).square().sum()
    plain = torch.autograd.grad(loss, leaves, retain_graph=True)
    for _ in range(2):
        with Log() as mode, Log() as outer:
            seen_so = torch.autograd.grad(loss, leaves, retain_graph=True)
        for log in (mode.seen, outer.seen):
            assert [name for name in log if "conv" in name] == ["aten.convolution_backward.default"]
        assert all(torch.equal(a, b) for a, b in zip(plain, seen_so))


def test_the_mask_says_which_derivatives_are_wanted():
    given = []

    class Given(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is aten.convolution_backward.default:
                given.append(args)
            return func(*args, **(kwargs or {}))

    layer = nn.Conv2d(3, 2, 2)
    with Given():
        layer(torch.ones(1, 3, 4, 4)).sum().backward()
    ((grad, x, weight, *rest),) = given
    assert (grad.shape, x.shape, weight.shape) == ((1, 2, 3, 3), (1, 3, 4, 4), (2, 3, 2, 2))
    assert rest == [[2], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [False, True, True]]
    assert str(aten.convolution_backward.default._schema).endswith("bool[3] output_mask) -> (Tensor, Tensor, Tensor)")


def test_linear_and_mean_are_pytorchs_ops_in_pytorchs_order():
    layer, x = nn.Linear(4, 2), torch.ones(2, 3, 4, requires_grad=True)
    names = ["aten.view.default", "aten.t.default", "aten.addmm.default", "aten.view.default"]
    assert seen(lambda: layer(x)) == names
    loss = x.mean()
    names = ["aten.ones_like.default", "aten.expand.default", "aten.div.Scalar"]
    assert seen(lambda: torch.autograd.grad(loss, x)) == names


class Calls(TorchDispatchMode):
    """What the ops are called with."""

    def __init__(self):
        super().__init__()
        self.args = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        shown = [tuple(a.shape) if isinstance(a, torch.Tensor) else a for a in args]
        self.args.setdefault(str(func).removesuffix(".default").removeprefix("aten."), shown)
        return func(*args, **(kwargs or {}))


def test_ops_of_layers_and_losses_get_pytorchs_arguments():
    x, all_three = torch.randn(2, 4, 6, 6), [True, True, True]
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(6), nn.MaxPool2d(2))
    plain = copy.deepcopy(model)
    with Calls() as calls:
        log = model(x).flatten(1).log_softmax(1)
        nn.functional.nll_loss(log, torch.tensor([1, 2])).backward()
        log.detach().requires_grad_().softmax(1).sum().backward()
    nn.functional.nll_loss(plain(x).flatten(1).log_softmax(1), torch.tensor([1, 2])).backward()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(model.parameters(), plain.parameters()))
    plane, pooled, flat, channels = (2, 4, 6, 6), (2, 4, 3, 3), (2, 36), (4,)
    wanted = {
        "_log_softmax": [flat, 1, False],
        "_softmax": [flat, 1, False],
        "_log_softmax_backward_data": [flat, flat, 1, torch.float32],
        "_softmax_backward_data": [flat, flat, 1, torch.float32],
        "nll_loss_forward": [flat, (2,), None, 1, -100],
        "nll_loss_backward": [(), flat, (2,), None, 1, -100, ()],
        "native_layer_norm": [plane, [6], (6,), (6,), 1e-5],
        "native_layer_norm_backward": [plane, plane, [6], (2, 4, 6, 1), (2, 4, 6, 1), (6,), (6,), all_three],
        "native_group_norm": [plane, channels, channels, 2, 4, 36, 2, 1e-5],
        "native_group_norm_backward": [plane, plane, (2, 2), (2, 2), channels, 2, 4, 36, 2, all_three],
        "native_batch_norm_backward": [plane, plane, *[channels] * 5, True, 1e-5, all_three],
        "max_pool2d_with_indices_backward": [pooled, plane, [2, 2], [2, 2], [0, 0], [1, 1], False, pooled],
    }
    assert {name: calls.args[name] for name in wanted} == wanted


def test_steps_of_optimizers_are_seen():
    def step(optimizer, **settings):
        p = nn.Parameter(torch.ones(2))
        p.grad = torch.ones(2)
        optimizer = optimizer([p], lr=0.1, **settings)
        optimizer.step()
        return [name.removeprefix("aten.") for name in seen(optimizer.step)]

    assert step(torch.optim.SGD) == ["add_.Tensor"]
    assert step(torch.optim.SGD, momentum=0.9) == ["mul_.Tensor", "add_.Tensor", "add_.Tensor"]
    adam = "add_.Tensor lerp_.Scalar mul_.Tensor addcmul_.default _local_scalar_dense.default sqrt.default div.Tensor"
    adam = [*adam.split(), "add_.Tensor", "addcdiv_.default"]
    assert step(torch.optim.Adam) == adam
    assert step(torch.optim.AdamW) == [adam[0], "mul_.Tensor", *adam[1:]]


def test_a_layer_zeroes_its_bias():
    names = seen(lambda: nn.LayerNorm(3))
    assert names == ["aten.empty.memory_format"] * 2 + [
        "aten.fill_.Scalar",
        "aten.zero_.default",
    ]
