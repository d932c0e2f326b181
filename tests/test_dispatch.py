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
