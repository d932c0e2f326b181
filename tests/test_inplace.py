"""In-place operations and autograd: what is noticed, what is refused, whose history changes."""

import gc
import weakref

import pytest

import hookgrad as torch


def leaf(*values):
    return torch.tensor(values, requires_grad=True)


def test_a_modified_saved_tensor_is_noticed():
    x = leaf(2.0)
    y = x * 1
    z = y * y
    y.add_(1)
    with pytest.raises(
        RuntimeError,
        match="modified by an inplace operation: .torch.FloatTensor .1.., which is output 0 of "
        "Add, is at version 1; expected version 0 instead",
    ):
        z.backward()


def test_a_modified_result_is_noticed():
    x = leaf(2.0)
    y = x.exp()
    y.mul_(2)
    with pytest.raises(RuntimeError, match="which is output 0 of Exp, is at version 1; expected version 0"):
        y.backward()


def test_of_a_modified_result_without_history_its_node_is_not_named():
    values, indices = torch.max(torch.rand(2, 2, requires_grad=True), 0)
    indices.add_(1)
    with pytest.raises(RuntimeError, match=r"torch.LongTensor .2.. is at version 1; expected version 0"):
        values.sum().backward()


def test_in_place_on_a_leaf_is_refused():
    x = leaf(2.0)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad is being used in an in-place"):
        x[0].add_(1)
    with torch.no_grad():
        x.add_(1)
    assert x.item() == 3.0 and x._version == 1


def test_in_place_that_needs_the_old_value():
    x, w = leaf(2.0), leaf(5.0)
    y = x * 1
    y.mul_(w)
    y.backward()
    assert x.grad.item() == 5.0 and w.grad.item() == 2.0


def test_in_place_on_a_view_changes_the_history_of_its_base():
    x, w = leaf(1.0, 2.0, 3.0), leaf(10.0)
    base = x * 1
    view = base[1:2]
    view.mul_(w)
    assert type(base.grad_fn).__name__ == "CopySlices" and base.tolist() == [1.0, 20.0, 3.0]
    (base * base).sum().backward()
    assert x.grad.tolist() == [2.0, 400.0, 6.0] and w.grad.tolist() == [80.0]


def test_an_argument_that_an_in_place_operation_overwrote_is_noticed():
    x = leaf(2.0, 3.0)
    for change in (lambda y: y.mul_(y), lambda y: y.mul_(y.view(2))):
        y = x * 1
        change(y)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_an_in_place_operation_with_itself_makes_no_cycle():
    gc.disable()
    try:
        y = leaf(2.0) * 1
        y.mul_(y)
        gone = weakref.ref(y)
        del y
        assert gone() is None
    finally:
        gc.enable()


def test_second_derivative_through_an_in_place_operation_on_a_view():
    x = leaf(0.5, 1.0)
    y = x * 1
    y[1:].exp_()
    (g,) = torch.autograd.grad((y * y).sum(), x, create_graph=True)
    assert g.tolist() == pytest.approx([1.0, 2 * 7.38905609893065], rel=1e-5)
    (h,) = torch.autograd.grad(g.sum(), x)
    assert h.tolist() == pytest.approx([2.0, 4 * 7.38905609893065], rel=1e-5)


def test_in_place_on_the_base_reaches_its_views():
    x = leaf(1.0, 2.0)
    base = x * 1
    view = base[0]
    base.mul_(3)
    assert type(view.grad_fn).__name__ == "AsStridedBackward0"
    view.backward()
    assert x.grad.tolist() == [3.0, 0.0]


def test_writing_into_a_plain_tensor_makes_it_part_of_the_graph():
    x = leaf(1.0, 2.0)
    buffer = torch.zeros(4)
    buffer[1:3] = x * 2
    assert buffer.requires_grad
    (buffer * torch.tensor([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert x.grad.tolist() == [20.0, 200.0]


def test_views_of_several_outputs_cannot_be_modified():
    a, b = (leaf(1.0, 2.0) * 1).unbind()
    with pytest.raises(
        RuntimeError,
        match="Output 0 of Unbind is a view and is being modified inplace. This view is the output of a function that "
        "returns multiple views",
    ):
        a.mul_(2)


def test_versions_are_shared_by_views_and_detached_tensors():
    x = torch.zeros(3)
    view, detached, data = x[1:], x.detach(), x.data
    view.add_(1)
    assert (x._version, view._version, detached._version, data._version) == (1, 1, 1, 0)
    assert data.tolist() == [0.0, 1.0, 1.0]


def test_an_argument_detached_in_place_after_it_was_saved_is_an_error():
    x = leaf(1.0) * 1
    y = x.sin()
    x.detach_()
    with pytest.raises(RuntimeError, match="saved tensor that has been detached in-place"):
        y.backward(torch.ones(1))


def test_a_result_detached_in_place_after_it_was_saved_is_none():
    x = leaf(0.0) * 1
    y = x.exp()
    total = y * 1
    y.detach_()
    total.sum().backward()


@pytest.mark.parametrize(("dtype", "kind"), [(torch.bool, "CPUBoolType"), (torch.int64, "torch.LongTensor")])
def test_what_was_modified_is_called_as_pytorch_calls_it(dtype, kind):
    x, index = torch.ones(2, requires_grad=True), torch.ones(2).to(dtype)
    y = x[index]
    index.zero_()
    with pytest.raises(RuntimeError, match=rf"inplace operation: \[{kind} \[2\]\] is at version 1"):
        y.sum().backward()


def test_logical_ops_write_to_a_leaf():
    x = torch.tensor([0.0, 2.0], requires_grad=True)
    assert x.logical_not_() is x and x.tolist() == [1, 0] and x.requires_grad
    y = x * 2
    y.logical_or_(torch.ones(2))
    assert y.tolist() == [1, 1] and y.grad_fn.name() == "MulBackward0"
    with pytest.raises(RuntimeError, match="a leaf Variable"):
        x.eq_(1)


def test_memory_that_is_shared_is_refused_before_shapes():
    x = torch.ones(3, 4)
    for written, other in ((x, x[1:]), (x[:1], x), (x, x.t())):
        with pytest.raises(
            RuntimeError, match="some elements of the input tensor and the written-to tensor refer to a"
        ):
            written.mul_(other)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        torch.ones(3).expand(2, 3).add_(torch.ones(4))


def test_a_detached_argument_that_was_written_to_is_detached_first():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y.sin()
    with torch.no_grad():
        y.zero_()
    y.detach_()
    with pytest.raises(RuntimeError, match="Trying to use a saved tensor that has been detached in-place"):
        z.sum().backward()


def test_a_value_of_another_shape_is_assigned_through_a_view():
    x, v = torch.zeros(2, 3), leaf(1.0, 2.0, 3.0)
    x[0:2] = v * 1
    copied = x.grad_fn.next_functions[-1][0]
    assert copied.name() == "ExpandBackward0" and copied.next_functions[0][0].name() == "ViewBackward0"
    x.sum().backward()
    assert v.grad.tolist() == [2, 2, 2]
    x = torch.zeros(2)
    x[1] = v[:1]
    assert x.grad_fn.next_functions[-1][0].name() == "ViewBackward0"
