"""Views and in-place operations: what counts as changed, what may not be changed, and the words for it."""

import pytest

import hookgrad as torch
from hookgrad.autograd.graph import get_gradient_edge


def leaf(*sizes):
    return torch.ones(*sizes, requires_grad=True)


def test_a_view_made_under_no_grad_counts_as_its_base_does():
    x = leaf(4)
    with torch.no_grad():
        view = x[:2]
    assert view.requires_grad and view.is_leaf and view.grad_fn is None
    y = view * 2
    assert y.requires_grad
    assert torch.autograd.grad(y.sum(), view, allow_unused=True) == (None,)
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        view.backward(torch.ones(2))
    y.sum().backward()
    assert x.grad is None and view.grad is None


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (torch.no_grad, "A view was created in no_grad mode and is being modified inplace with grad mode enabled"),
        (torch.inference_mode, "A view was created in inference mode and is being modified inplace in normal mode"),
    ],
)
def test_a_view_made_in_another_mode_is_not_changed_in_place(mode, words):
    y = leaf(4) * 1
    with mode():
        view, part = y[:2], y.split(2)[0]
    for v in (view, part):
        with pytest.raises(RuntimeError, match=words):
            v.mul_(2)


def test_a_view_of_a_view_made_under_no_grad_says_so():
    y = leaf(4) * 1
    with torch.no_grad():
        view = y[:2]
    with pytest.raises(RuntimeError, match="Output 0 of View is a view of a view which was created in no_grad mode"):
        view.view(2).mul_(2)


def test_one_of_several_views_is_lost_when_its_base_changes():
    y = leaf(4) * 1
    part = y.split(2)[0]
    y.mul_(2)
    with pytest.raises(
        RuntimeError, match="Split is a view and its base or another view of its base has been modified"
    ):
        part + 1


def test_a_view_of_a_base_that_comes_to_require_a_gradient_requires_one():
    x, y = leaf(4), torch.zeros(4)
    view = y[:2]
    y.add_(x)
    assert view.requires_grad
    view.sum().backward()
    assert x.grad.tolist() == [1, 1, 0, 0]


def test_data_keeps_the_version_and_goes_on_sharing_it():
    x = torch.zeros(1, 2)
    view = x[:]
    x.add_(1).add_(1)
    x.data = torch.ones(2, 3)
    assert x._version == 2
    x.add_(1)
    assert x._version == view._version == 3
    view.add_(1)
    assert x._version == view._version == 4
    assert x.tolist() == [[2, 2, 2]] * 2


def test_data_shows_the_memory_it_was_given():
    x, y = torch.zeros(2), torch.ones(2)
    x.data = y
    y[0] = 7
    assert x.tolist() == [7, 1] and x.data_ptr() == y.data_ptr()
    assert x._version == 0 and y._version == 1
    with pytest.raises(RuntimeError, match="Deleting tensor data is not allowed"):
        del x.data


def test_a_version_can_be_preserved():
    x = torch.zeros(2)
    with torch.autograd._unsafe_preserve_version_counter(x):
        x.add_(1)
    assert x._version == 0 and x.tolist() == [1, 1]


def test_tensors_of_inference_mode_have_no_version_and_no_base():
    with torch.inference_mode():
        x = torch.zeros(2)
    assert x[:1].is_inference() and x[:1]._base is None
    with pytest.raises(RuntimeError, match="Inference tensors do not track version counter"):
        print(x._version)


def test_views_of_ordinary_tensors_are_ordinary_in_inference_mode():
    x = torch.zeros(2)
    with torch.inference_mode():
        assert not x[:1].is_inference() and not x.detach().is_inference()
        assert (x + 1).is_inference()


def test_as_strided_in_place_is_recorded():
    x = torch.arange(4.0).requires_grad_()
    y = x * 1
    y.as_strided_((2,), (2,), 1)
    assert y.grad_fn.name() == "AsStridedBackward1" and y.tolist() == [1, 3]
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 0, 1]


def test_out_may_not_require_a_gradient():
    words = "functions with out=... arguments don't support automatic differentiation"
    with pytest.raises(RuntimeError, match=words):
        torch.add(torch.ones(2), 1, out=leaf(2))
    with torch.no_grad():
        assert torch.add(torch.ones(2), 1, out=leaf(2)).tolist() == [2, 2]


def test_a_saved_view_that_changed_is_named_as_it_is_now():
    a = leaf(4) * 1
    y = a[:2].sin()
    a.add_(1)
    with pytest.raises(RuntimeError, match="output 0 of AsStrided, is at version 1; expected version 0 instead"):
        y.sum().backward()


def test_a_gradient_of_another_dtype_is_refused():
    words = "attempting to assign a gradient with dtype 'double' to a tensor with grad_dtype 'Float'"
    with pytest.raises(RuntimeError, match=words):
        leaf(2).grad = torch.ones(2, dtype=torch.float64)


def test_another_dtype_of_the_same_bytes_is_no_view_that_autograd_knows_of():
    x = leaf(4)
    bits = x.view(torch.int32)
    assert not bits.requires_grad and not bits._is_view()
    assert bits.data_ptr() == x.data_ptr()


def test_resizing_to_the_same_size_is_no_change():
    x = torch.zeros(2, 3)
    x.resize_(2, 3)
    assert x._version == 0
    x.resize_(6)
    assert x._version == 1 and x.shape == (6,)


def test_a_tensor_resized_stays_where_it_is_in_memory():
    base = torch.arange(6.0)
    view = base[2:4]
    view.resize_(3)
    assert view.storage_offset() == 2 and view.tolist() == [2.0, 3.0, 4.0] and view._base is base
    view.resize_(2, 2).fill_(7.0)
    assert base.tolist() == [0.0, 1.0, 7.0, 7.0, 7.0, 7.0]
    spread = torch.arange(6.0)[::2]
    assert spread.resize_(4).tolist() == [0.0, 1.0, 2.0, 3.0]
    one = torch.ones(1).expand(4)
    assert one.resize_(2, 3).stride() == (3, 1) and one[0, 0] == 1.0
    more = torch.arange(6.0)[1:3].resize_(7)
    assert more.storage_offset() == 1 and more[:5].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert torch.zeros(3, device="meta")[1:].resize_(4).device.type == "meta"


def test_an_out_of_another_shape_is_filled_where_it_lies():
    base = torch.zeros(6)
    view = base[1:3]
    with pytest.warns(UserWarning, match=r"resized since it had shape \[2\], which does not match .* shape \[3\]"):
        torch.add(torch.ones(3), 1, out=view)
    assert base.tolist() == [0.0, 2.0, 2.0, 2.0, 0.0, 0.0] and view.storage_offset() == 1 and base._version == 1
    nothing = base[:0]
    torch.sum(torch.ones(2, 3), 0, out=nothing)
    assert nothing.tolist() == [2.0, 2.0, 2.0] and base.tolist() == [2.0, 2.0, 2.0, 2.0, 0.0, 0.0]
    small = torch.zeros(2)[1:1]
    assert torch.mul(torch.ones(2, 2), 3, out=small).tolist() == [[3.0, 3.0], [3.0, 3.0]]


def test_a_retained_gradient_is_contiguous():
    x = leaf(3, 4)
    y = x * 2
    y.retain_grad()
    seen = []
    y.register_hook(lambda gradient: seen.append(gradient.stride()))
    (y.t() * torch.ones(4, 3)).sum().backward()
    assert seen == [(1, 3)] and y.grad.stride() == (4, 1)


def test_a_variable_is_made_of_a_tensor():
    with pytest.raises(TypeError, match="Variable data has to be a tensor, but got int"):
        torch.autograd.Variable(3)
    with pytest.raises(RuntimeError, match="Only Tensors of floating point"):
        torch.autograd.Variable(torch.ones(2, dtype=torch.int64), requires_grad=True)
    with pytest.warns(UserWarning, match="volatile was removed"):
        torch.autograd.Variable(torch.ones(2), volatile=True)


@pytest.mark.parametrize("name", ["cuda", "mps", "xpu", "meta", "vulkan", "ipu", "xla", "maia", "mtia"])
def test_a_tensor_is_on_no_device_but_the_cpu(name):
    assert getattr(torch.zeros(1), f"is_{name}") is False


@pytest.mark.parametrize(
    "cut",
    [
        lambda y: y.unsafe_split(2),
        lambda y: y.unsafe_chunk(2),
        lambda y: y.unsafe_split_with_sizes([2, 2]),
    ],
)
def test_pieces_cut_unsafely_have_a_version_each(cut):
    x = torch.arange(4.0, requires_grad=True)
    y = x * 1
    a, b = cut(y)
    a.mul_(b)
    assert (a._version, b._version, y._version) == (1, 0, 0)
    assert not a._is_view() and y.tolist() == [0.0, 3.0, 2.0, 3.0]
    a.sum().backward()
    assert x.grad.tolist() == [2.0, 3.0, 0.0, 1.0]


class Passes(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return grad


def test_a_view_that_a_function_returned_unrecorded_is_not_written_to():
    change = torch.ones(1, requires_grad=True)
    for write in (lambda t: t.add_(change), lambda t: t.copy_(change), lambda t: t[:1].add_(change)):
        with pytest.raises(RuntimeError, match="in no_grad mode and is being .* This view was created inside a custom"):
            write(Passes.apply(torch.ones(2)))
    base = torch.ones(2)
    view = Passes.apply(base)
    base.add_(change)
    with pytest.raises(RuntimeError, match="its base or another view .* This view was created inside a custom"):
        _ = view.grad_fn
    view = Passes.apply(torch.ones(2))
    view.add_(1)
    assert view.grad_fn is None and view.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("shape", [(2,), (1, 2), (3,)])
def test_a_leaf_set_to_other_memory_is_not_the_one_that_was_used(shape):
    x = leaf(2)
    hooked = []
    x.register_hook(hooked.append)
    edge = get_gradient_edge(x)
    y = x.clone()
    before = y.grad_fn.next_functions[0][0]
    with torch.no_grad():
        x.set_(torch.ones(shape))
    assert x._version == 1 and x.shape == shape
    with pytest.raises(RuntimeError, match="not have been used in the graph"):
        torch.autograd.grad(y.sum(), x, retain_graph=True)
    assert torch.autograd.grad(y.sum(), edge, retain_graph=True)[0].tolist() == [1.0, 1.0]  # where it led then
    hooked.clear()
    after = (x * 2).grad_fn.next_functions[0][0]
    assert after is not before and after.variable is x and before.variable is x
    (x * 2).sum().backward()
    assert x.grad.shape == shape and len(hooked) == 1
    if shape == (2,):
        y.sum().backward()
        assert x.grad.tolist() == [3.0, 3.0] and len(hooked) == 2


def test_a_tensor_set_to_itself_is_what_it_was():
    x = torch.arange(4.0)
    assert x.set_(x) is x and x.tolist() == [0.0, 1.0, 2.0, 3.0]
    x.set_(x[1:])
    assert x.tolist() == [1.0, 2.0, 3.0]


def test_a_view_counts_as_a_leaf_where_another_one_was_written_to_and_it_was_not_asked_since():
    for look, refused in ((lambda row: None, True), (lambda row: row.grad_fn, False), (lambda row: row * 2, False)):
        table = torch.zeros(2, 3)
        first, second = table[0], table[1]
        first.copy_(leaf(3))
        look(second)
        if refused:
            with pytest.raises(RuntimeError, match="^a leaf Variable that requires grad is being used in an in-place"):
                second.copy_(leaf(3))
            assert table.tolist() == [[1, 1, 1], [0, 0, 0]]
        else:
            assert second.copy_(leaf(3)).grad_fn.name() == "AsStridedBackward0"


def test_nothing_is_written_where_an_argument_cannot_follow_its_base():
    x = leaf(2, 2)
    y, part = x.clone(), x.unbind()[0]
    with torch.no_grad():
        x.mul_(2)
    with pytest.raises(RuntimeError, match="Output 0 of Unbind is a view and its base or another view of its base"):
        y[0].copy_(part)
    assert y.tolist() == [[1, 1], [1, 1]] and y._version == 0


def test_a_view_that_leads_nowhere_is_not_saved():
    packed = []
    x = leaf(2) * 1
    with torch.no_grad():
        view = x[:]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t):
        y, z = view * view, view.sin()
    assert len(packed) == 1 and y.requires_grad and y.grad_fn.next_functions == ((None, 0), (None, 0))
    assert y.grad_fn._saved_self is None and z.requires_grad and packed[0] is view


def test_the_accumulator_that_a_graph_holds_refuses_another_shape():
    x = leaf(2, 3)
    y = x * 2
    x.data = torch.ones(3, 2)
    with pytest.raises(RuntimeError, match="MulBackward0 returned an invalid gradient at index 0 - got"):
        (x * 3).sum().backward()
    del y
    (x * 3).sum().backward()
    assert x.grad.tolist() == [[3, 3]] * 3


def test_a_gradient_of_another_shape_that_backward_was_given_is_no_function_s():
    y = leaf(2, 3).sum(0)
    y.data = torch.ones(2)
    with pytest.raises(
        RuntimeError, match="^invalid gradient at index 0 - got .2. but expected shape compatible with .3."
    ):
        y.backward(torch.ones(2))


def test_a_function_of_several_outputs_may_not_change_a_view():
    class Both(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.mul_(2)
            return x, x + 1

        @staticmethod
        def backward(ctx, a, b):
            return a + b

    x = leaf(2, 2)
    with torch.no_grad():
        frozen = x.view(4)
    for view, words in (
        (lambda: frozen, "a leaf Variable that requires grad has been used in an in-place operation"),
        (lambda: x.unbind()[0], "If your Function modifies inplace an input that is a view of another Tensor"),
    ):
        with pytest.raises(RuntimeError, match=words):
            Both.apply(view())


def test_detach_in_place_does_nothing_in_inference_mode():
    y = leaf(2) * 2
    with torch.inference_mode():
        assert y.detach_() is y
    assert y.requires_grad and y.grad_fn is not None


@pytest.mark.parametrize(
    "use",
    [
        lambda part: part.diagonal(0, 5, 6),
        lambda part: part.view(7),
        lambda part: part.split([1, 9]),
        lambda part: part + torch.ones(5),
    ],
)
def test_a_view_that_cannot_follow_its_base_is_the_first_error(use):
    x = leaf(2, 2)
    part = x.unbind()[0]
    with torch.no_grad():
        x.mul_(2)
    with pytest.raises(RuntimeError, match="Output 0 of Unbind is a view and its base or another view of its base"):
        use(part)


def test_a_copy_of_what_is_there_already_writes_nothing():
    x = torch.ones(3).expand(2, 3)
    first, second = x.unbind()
    assert x.copy_(x) is x and x._version == 1
    second.copy_(first)
    assert x.tolist() == [[1, 1, 1]] * 2
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        x.copy_(torch.ones(2, 3))


def test_a_view_of_the_same_shape_has_the_strides_of_the_shape():
    x = torch.arange(12.0).view(4, 3)[::2][:1]
    assert x.stride() == x[...].stride() == (6, 1)
    assert x.view(1, 3).stride() == x.view_as(x).stride() == x.reshape(1, 3).stride() == (3, 1)
    assert torch.empty(0, 3).t().view(3, 0).stride() == torch.empty(0, 3).t().stride()


def test_gradients_that_are_put_into_zeros_have_been_written_to():
    x = leaf(3)
    changed = x * 1
    view = changed[:2]
    changed.add_(1)
    assert torch.autograd.grad(x[[0]].sum(), x)[0]._version == 1
    assert torch.autograd.grad(view.sum(), changed)[0]._version == 1


def test_a_leaf_changed_by_a_function_is_an_error_whatever_view_it_is():
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2

    x = leaf(2, 2)
    with torch.inference_mode():
        view = x.view(4)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad has been used in an in-place operation"):
        Doubled.apply(view)


def test_the_words_for_a_tensor_that_cannot_be_turned_name_the_call():
    for name in ("t", "t_"):
        with pytest.raises(RuntimeError, match=rf"^{name}\(\) expects a tensor with <= 2 dimensions, but self is 3D"):
            getattr(torch.ones(1, 1, 1), name)()


@pytest.mark.parametrize("leaf", [True, False])
def test_a_node_knows_what_shape_its_input_had(leaf):
    """After `x.data = y` the node of x, or its accumulator in a graph, is of another shape than x is."""
    for old, op, got in (
        ((5,), lambda x: x.sum(), r"SumBackward0 .* got \[2, 3\] but expected shape compatible with \[5\]"),
        ((3, 2), lambda x: x.mean(0), r"MeanBackward1 .* got \[2, 3\] but .* with \[3, 2\]"),
        ((5,), lambda x: x[0], r"SelectBackward0 .* got \[2, 3\] but .* with \[5\]"),
        ((5,), lambda x: x.view(-1), r"ViewBackward0 .* got \[2, 3\] but .* with \[5\]"),
        ((5,), lambda x: torch.cat([x, x]), r"CatBackward0 .* got \[2, 3\] but .* with \[5\]"),
    ):
        x = torch.rand(old, requires_grad=True)
        x, graph = (x, x * 1) if leaf else (x * 1, None)
        x.data = torch.rand(2, 3)
        y = op(x)
        with pytest.raises(RuntimeError, match="Function " + got):
            y.sum().backward()
        del graph
    x = torch.rand((), requires_grad=True)
    x, graph = (x, x * 1) if leaf else (x * 1, None)
    x.data = torch.ones(2, 3)
    assert torch.autograd.grad(x.sum(0).sum(), x)[0].item() == 6


@pytest.mark.parametrize("then", [torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("op", [lambda v: v[1:], lambda v: v.unbind()[0]])
def test_a_view_of_one_made_in_inference_mode_counts_as_made_there(op, then):
    x = leaf(2, 3, 4) * 1
    with torch.inference_mode():
        view = x.transpose(0, 1)[0]
    with then():
        view = op(view)
    with pytest.raises(RuntimeError, match="created in inference mode and is being modified inplace in normal mode"):
        view.mul_(2)
