"""Views share memory: their shapes, their history, what torch refuses."""

import pytest
from op_cases import check_derivatives, check_error, check_result

import hookgrad as torch
import hookgrad.nn.functional as F

# What PyTorch 2.13 gives: the numbers, and the name of the node that made them.
RESULTS = [
    (lambda x, y, v, s: x.view(3, 2), [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], "ViewBackward0"),
    (lambda x, y, v, s: x.view(-1, 2), [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], "ViewBackward0"),
    (lambda x, y, v, s: x.reshape(6), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "ViewBackward0"),
    (
        lambda x, y, v, s: y.transpose(0, 1).reshape(3, 8),
        [
            [-7.0, -6.0, -5.0, -4.0, 5.0, 6.0, 7.0, 8.0],
            [-3.0, -2.0, -1.0, 0.0, 9.0, 10.0, 11.0, 12.0],
            [1.0, 2.0, 3.0, 4.0, 13.0, 14.0, 15.0, 16.0],
        ],
        "UnsafeViewBackward0",
    ),
    (
        lambda x, y, v, s: y.transpose(0, 2).reshape(4, 3, 2),
        [
            [[-7.0, 5.0], [-3.0, 9.0], [1.0, 13.0]],
            [[-6.0, 6.0], [-2.0, 10.0], [2.0, 14.0]],
            [[-5.0, 7.0], [-1.0, 11.0], [3.0, 15.0]],
            [[-4.0, 8.0], [0.0, 12.0], [4.0, 16.0]],
        ],
        "ReshapeAliasBackward0",
    ),
    (lambda x, y, v, s: x.view_as(x.reshape(3, 2)), [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], "ViewBackward0"),
    (lambda x, y, v, s: x.t(), [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]], "TBackward0"),
    (lambda x, y, v, s: x.T, [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]], "PermuteBackward0"),
    (
        lambda x, y, v, s: y.mT,
        [
            [[-7.0, -3.0, 1.0], [-6.0, -2.0, 2.0], [-5.0, -1.0, 3.0], [-4.0, 0.0, 4.0]],
            [[5.0, 9.0, 13.0], [6.0, 10.0, 14.0], [7.0, 11.0, 15.0], [8.0, 12.0, 16.0]],
        ],
        "TransposeBackward0",
    ),
    (lambda x, y, v, s: v.T, [3.0, -1.0, 2.0], "PermuteBackward0"),
    (
        lambda x, y, v, s: y.transpose(0, 2),
        [
            [[-7.0, 5.0], [-3.0, 9.0], [1.0, 13.0]],
            [[-6.0, 6.0], [-2.0, 10.0], [2.0, 14.0]],
            [[-5.0, 7.0], [-1.0, 11.0], [3.0, 15.0]],
            [[-4.0, 8.0], [0.0, 12.0], [4.0, 16.0]],
        ],
        "TransposeBackward0",
    ),
    (
        lambda x, y, v, s: y.swapaxes(0, 1),
        [
            [[-7.0, -6.0, -5.0, -4.0], [5.0, 6.0, 7.0, 8.0]],
            [[-3.0, -2.0, -1.0, 0.0], [9.0, 10.0, 11.0, 12.0]],
            [[1.0, 2.0, 3.0, 4.0], [13.0, 14.0, 15.0, 16.0]],
        ],
        "TransposeBackward0",
    ),
    (
        lambda x, y, v, s: y.permute(2, 0, 1),
        [
            [[-7.0, -3.0, 1.0], [5.0, 9.0, 13.0]],
            [[-6.0, -2.0, 2.0], [6.0, 10.0, 14.0]],
            [[-5.0, -1.0, 3.0], [7.0, 11.0, 15.0]],
            [[-4.0, 0.0, 4.0], [8.0, 12.0, 16.0]],
        ],
        "PermuteBackward0",
    ),
    (
        lambda x, y, v, s: y.movedim(0, 1),
        [
            [[-7.0, -6.0, -5.0, -4.0], [5.0, 6.0, 7.0, 8.0]],
            [[-3.0, -2.0, -1.0, 0.0], [9.0, 10.0, 11.0, 12.0]],
            [[1.0, 2.0, 3.0, 4.0], [13.0, 14.0, 15.0, 16.0]],
        ],
        "PermuteBackward0",
    ),
    (
        lambda x, y, v, s: y.movedim((0, 1), (2, 0)),
        [
            [[-7.0, 5.0], [-6.0, 6.0], [-5.0, 7.0], [-4.0, 8.0]],
            [[-3.0, 9.0], [-2.0, 10.0], [-1.0, 11.0], [0.0, 12.0]],
            [[1.0, 13.0], [2.0, 14.0], [3.0, 15.0], [4.0, 16.0]],
        ],
        "PermuteBackward0",
    ),
    (lambda x, y, v, s: v.expand(2, 3), [[3.0, -1.0, 2.0], [3.0, -1.0, 2.0]], "ExpandBackward0"),
    (
        lambda x, y, v, s: x.unsqueeze(1).expand(2, 2, -1),
        [[[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]], [[3.0, 4.0, 5.0], [3.0, 4.0, 5.0]]],
        "ExpandBackward0",
    ),
    (lambda x, y, v, s: torch.broadcast_to(v, (2, 3)), [[3.0, -1.0, 2.0], [3.0, -1.0, 2.0]], "ExpandBackward0"),
    (lambda x, y, v, s: x[:1].squeeze(), [0.0, 1.0, 2.0], "SqueezeBackward0"),
    (lambda x, y, v, s: x[:1].squeeze(0), [0.0, 1.0, 2.0], "SqueezeBackward1"),
    (lambda x, y, v, s: x[:1].squeeze((0, 1)), [0.0, 1.0, 2.0], "SqueezeBackward2"),
    (lambda x, y, v, s: v.unsqueeze(0), [[3.0, -1.0, 2.0]], "UnsqueezeBackward0"),
    (lambda x, y, v, s: v.unsqueeze(-1), [[3.0], [-1.0], [2.0]], "UnsqueezeBackward0"),
    (lambda x, y, v, s: x.flatten(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "ViewBackward0"),
    (
        lambda x, y, v, s: y.flatten(1),
        [
            [-7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0],
            [5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0],
        ],
        "ViewBackward0",
    ),
    (
        lambda x, y, v, s: y.unflatten(2, (2, 2)),
        [
            [[[-7.0, -6.0], [-5.0, -4.0]], [[-3.0, -2.0], [-1.0, 0.0]], [[1.0, 2.0], [3.0, 4.0]]],
            [[[5.0, 6.0], [7.0, 8.0]], [[9.0, 10.0], [11.0, 12.0]], [[13.0, 14.0], [15.0, 16.0]]],
        ],
        "ViewBackward0",
    ),
    (
        lambda x, y, v, s: y.transpose(0, 1).ravel(),
        [
            -7.0,
            -6.0,
            -5.0,
            -4.0,
            5.0,
            6.0,
            7.0,
            8.0,
            -3.0,
            -2.0,
            -1.0,
            0.0,
            9.0,
            10.0,
            11.0,
            12.0,
            1.0,
            2.0,
            3.0,
            4.0,
            13.0,
            14.0,
            15.0,
            16.0,
        ],
        "ViewBackward0",
    ),
    (lambda x, y, v, s: x.narrow(1, 1, 2), [[1.0, 2.0], [4.0, 5.0]], "SliceBackward0"),
    (lambda x, y, v, s: x.select(1, -1), [2.0, 5.0], "SelectBackward0"),
    (lambda x, y, v, s: x.split(2, dim=1), [[[0.0, 1.0], [3.0, 4.0]], [[2.0], [5.0]]], "SplitBackward0"),
    (
        lambda x, y, v, s: x.split([1, 2], dim=1),
        [[[0.0], [3.0]], [[1.0, 2.0], [4.0, 5.0]]],
        "SplitWithSizesBackward0",
    ),
    (
        lambda x, y, v, s: y.chunk(2, dim=2),
        [
            [[[-7.0, -6.0], [-3.0, -2.0], [1.0, 2.0]], [[5.0, 6.0], [9.0, 10.0], [13.0, 14.0]]],
            [[[-5.0, -4.0], [-1.0, 0.0], [3.0, 4.0]], [[7.0, 8.0], [11.0, 12.0], [15.0, 16.0]]],
        ],
        "SplitBackward0",
    ),
    (lambda x, y, v, s: x.tensor_split(2, dim=1), [[[0.0, 1.0], [3.0, 4.0]], [[2.0], [5.0]]], "SliceBackward0"),
    (lambda x, y, v, s: x.unbind(1), [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]], "UnbindBackward0"),
    (lambda x, y, v, s: x.diagonal(), [0.0, 4.0], "DiagonalBackward0"),
    (lambda x, y, v, s: x.diagonal(1), [1.0, 5.0], "DiagonalBackward0"),
    (lambda x, y, v, s: y.diagonal(0, 1, 2), [[-7.0, -2.0, 3.0], [5.0, 10.0, 15.0]], "DiagonalBackward0"),
    (lambda x, y, v, s: x.as_strided((2, 2), (1, 2), 1), [[1.0, 3.0], [2.0, 4.0]], "AsStridedBackward0"),
    (lambda x, y, v, s: v.unfold(0, 2, 1), [[3.0, -1.0], [-1.0, 2.0]], "UnfoldBackward0"),
    (
        lambda x, y, v, s: y.unfold(2, 3, 1),
        [
            [
                [[-7.0, -6.0, -5.0], [-6.0, -5.0, -4.0]],
                [[-3.0, -2.0, -1.0], [-2.0, -1.0, 0.0]],
                [[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]],
            ],
            [
                [[5.0, 6.0, 7.0], [6.0, 7.0, 8.0]],
                [[9.0, 10.0, 11.0], [10.0, 11.0, 12.0]],
                [[13.0, 14.0, 15.0], [14.0, 15.0, 16.0]],
            ],
        ],
        "UnfoldBackward0",
    ),
    (lambda x, y, v, s: x.hsplit(3), [[[0.0], [3.0]], [[1.0], [4.0]], [[2.0], [5.0]]], "SliceBackward0"),
    (lambda x, y, v, s: x.detach(), [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], None),
]


@pytest.mark.parametrize("call, expected, node", RESULTS)
def test_results_and_nodes_are_those_of_torch(call, expected, node):
    check_result(call, expected, node)


@pytest.mark.parametrize("call", [call for call, _, node in RESULTS if node])
def test_derivatives_agree_with_finite_differences(call):
    check_derivatives(call)


ERRORS = [
    (lambda x, y, v, s: x.view(3, 5), RuntimeError, "shape '[3, 5]' is invalid for input of size 6"),
    (lambda x, y, v, s: x.view(-1, -1), RuntimeError, "only one dimension can be inferred"),
    (lambda x, y, v, s: x.view(-1, 4), RuntimeError, "shape '[-1, 4]' is invalid for input of size 6"),
    (lambda x, y, v, s: x.view(-2, 3), RuntimeError, "invalid shape dimension -2 at index 0 of shape [-2, 3]"),
    (
        lambda x, y, v, s: x.t().view(6),
        RuntimeError,
        "view size is not compatible with input tensor's size and stride (at least one dimension spans "
        "across two contiguous subspaces). Use .reshape(...) instead.",
    ),
    (lambda x, y, v, s: x.reshape(5), RuntimeError, "shape '[5]' is invalid for input of size 6"),
    (
        lambda x, y, v, s: x.transpose(0, 5),
        IndexError,
        "Dimension out of range (expected to be in range of [-2, 1], but got 5)",
    ),
    (
        lambda x, y, v, s: x.permute(0),
        RuntimeError,
        "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the "
        "desired ordering of dimensions i.e. input.dim() = 2 is not equal to len(dims) = 1",
    ),
    (lambda x, y, v, s: x.permute(0, 0), RuntimeError, "permute(): duplicate dims are not allowed."),
    (
        lambda x, y, v, s: x.movedim(0, 2),
        IndexError,
        "Dimension out of range (expected to be in range of [-2, 1], but got 2)",
    ),
    (lambda x, y, v, s: x.movedim((0, 0), (0, 1)), RuntimeError, "movedim: repeated dim in `source` ([0, 0])"),
    (lambda x, y, v, s: y.t(), RuntimeError, "t() expects a tensor with <= 2 dimensions, but self is 3D"),
    (
        lambda x, y, v, s: x.expand(3, 3),
        RuntimeError,
        "The expanded size of the tensor (3) must match the existing size (2) at non-singleton dimension "
        "0.  Target sizes: [3, 3].  Tensor sizes: [2, 3]",
    ),
    (
        lambda x, y, v, s: x.expand(2),
        RuntimeError,
        "expand(torch.FloatTensor{[2, 3]}, size=[2]): the number of sizes provided (1) must be greater or"
        " equal to the number of dimensions in the tensor (2)",
    ),
    (
        lambda x, y, v, s: x.expand(-1, 2, 3),
        RuntimeError,
        "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension 0",
    ),
    (
        lambda x, y, v, s: x.squeeze(2),
        IndexError,
        "Dimension out of range (expected to be in range of [-2, 1], but got 2)",
    ),
    (lambda x, y, v, s: x.squeeze((0, 0)), RuntimeError, "dim 0 appears multiple times in the list of dims"),
    (
        lambda x, y, v, s: x.unsqueeze(3),
        IndexError,
        "Dimension out of range (expected to be in range of [-3, 2], but got 3)",
    ),
    (
        lambda x, y, v, s: x.flatten(1, 0),
        RuntimeError,
        "flatten() has invalid args: start_dim cannot come after end_dim",
    ),
    (
        lambda x, y, v, s: x.unflatten(1, (2, 2)),
        RuntimeError,
        "unflatten: Provided sizes [2, 2] don't multiply up to the size of dim 1 (3) in the input tensor",
    ),
    (lambda x, y, v, s: x.narrow(0, 0, 3), RuntimeError, "start (0) + length (3) exceeds dimension size (2)."),
    (
        lambda x, y, v, s: x.narrow(0, 3, 1),
        IndexError,
        "start out of range (expected to be in range of [-2, 2], but got 3)",
    ),
    (lambda x, y, v, s: x.narrow(0, 0, -1), RuntimeError, "narrow(): length must be non-negative."),
    (
        lambda x, y, v, s: x.select(0, 2),
        IndexError,
        "select(): index 2 out of range for tensor of size [2, 3] at dimension 0",
    ),
    (lambda x, y, v, s: torch.tensor(1.0).select(0, 0), IndexError, "select() cannot be applied to a 0-dim tensor."),
    (
        lambda x, y, v, s: x.split(0),
        RuntimeError,
        "split_size can only be 0 if dimension size is 0, but got dimension size of 2",
    ),
    (
        lambda x, y, v, s: x.split([1, 2]),
        RuntimeError,
        "split_with_sizes expects split_sizes to sum exactly to 2 (input tensor's size at dimension 0), "
        "but got split_sizes=[1, 2]",
    ),
    (
        lambda x, y, v, s: x.split([-1, 3]),
        RuntimeError,
        "split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes=[-1, 3]",
    ),
    (lambda x, y, v, s: x.chunk(0), RuntimeError, "chunk expects `chunks` to be greater than 0, got: 0"),
    (lambda x, y, v, s: x.tensor_split(0), RuntimeError, "number of sections must be larger than 0, got 0"),
    (
        lambda x, y, v, s: torch.tensor(1.0).unbind(),
        IndexError,
        "Dimension specified as 0 but tensor has no dimensions",
    ),
    (lambda x, y, v, s: x.diagonal(0, 0, 0), RuntimeError, "diagonal dimensions cannot be identical 0, 0"),
    (lambda x, y, v, s: x.as_strided((2,), (1, 2)), RuntimeError, "mismatch in length of strides and shape"),
    (
        lambda x, y, v, s: x.as_strided((10,), (1,)),
        RuntimeError,
        "setStorage: sizes [10], strides [1], storage offset 0, and itemsize 4 requiring a storage size "
        "of 40 are out of bounds for storage of size 24",
    ),
    (
        lambda x, y, v, s: x.as_strided((2,), (-1,)),
        RuntimeError,
        "as_strided: Negative strides are not supported at the moment, got strides: [-1]",
    ),
    (lambda x, y, v, s: v.unfold(0, 4, 1), RuntimeError, "maximum size for tensor at dimension 0 is 3 but size is 4"),
    (lambda x, y, v, s: v.unfold(0, 1, 0), RuntimeError, "step is 0 but must be > 0"),
    (
        lambda x, y, v, s: x.hsplit(2),
        RuntimeError,
        "torch.hsplit attempted to split along dimension 1, but the size of the dimension 3 is not "
        "divisible by the split_size 2!",
    ),
    (
        lambda x, y, v, s: x.view(torch.float64),
        RuntimeError,
        "self.size(-1) must be divisible by 2 to view Float as Double (different element sizes), but got 3",
    ),
]


@pytest.mark.parametrize("call, error, words", ERRORS)
def test_errors_have_torchs_words(call, error, words):
    check_error(call, error, words)


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.view(3, 2), lambda t: t.reshape(6), lambda t: t.t(), lambda t: t.permute(1, 0), lambda t: t.flatten(),
        lambda t: t[0], lambda t: t[:, 1:], lambda t: t.unsqueeze(0), lambda t: t.narrow(1, 0, 2), lambda t: t.diagonal(),
        lambda t: t.unbind()[1], lambda t: t.split(1)[1], lambda t: t.as_strided((2,), (2,)), lambda t: t.detach(),
    ],
)  # fmt: skip
def test_writing_to_a_view_writes_to_its_base(view):
    base = torch.zeros(2, 3)
    view(base).fill_(1)
    assert base.sum() == view(base).numel()


def test_a_reshape_that_must_copy_shares_nothing():
    base = torch.zeros(2, 3)
    base.t().reshape(6).fill_(1)
    assert base.sum() == 0


def test_gradients_pass_through_an_operation_on_a_view():
    x = torch.arange(6.0).reshape(2, 3).requires_grad_(True)
    y = x * 1
    row = y[0]
    row.mul_(3)
    y.t()[1:].neg_()
    y.sum().backward()
    assert x.grad.tolist() == [[3.0, -3.0, -3.0], [1.0, -1.0, -1.0]]
    assert type(y.grad_fn).__name__ == "CopySlices"


def test_outputs_of_unbind_may_not_be_changed_in_place():
    y = torch.ones(2, 3, requires_grad=True) * 1
    with pytest.raises(RuntimeError, match="Output 0 of Unbind is a view and is being modified inplace"):
        y.unbind()[0].mul_(2)


@pytest.mark.parametrize(
    "change, shape, node",
    [
        (lambda t: t.t_(), (3, 2), "TBackward1"),
        (lambda t: t.transpose_(0, 1), (3, 2), "TransposeBackward1"),
        (lambda t: t.unsqueeze_(0), (1, 2, 3), "UnsqueezeBackward1"),
        (lambda t: t.squeeze_(), (2, 3), "SqueezeBackward3"),
    ],
)
def test_shapes_change_in_place(change, shape, node):
    x = torch.arange(6.0).reshape(2, 3).requires_grad_(True)
    y = x * 1
    assert change(y) is y
    assert tuple(y.shape) == shape
    assert y.grad_fn.name() == node
    (y * y).sum().backward()
    assert x.grad.tolist() == [[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]]


def test_overlapping_windows_share_their_gradient():
    v = torch.ones(4, requires_grad=True)
    v.unfold(0, 2, 1).sum().backward()
    assert v.grad.tolist() == [1.0, 2.0, 2.0, 1.0]


def test_a_tensor_repeated_by_strides_collects_its_gradient():
    v = torch.ones(2, requires_grad=True)
    v.as_strided((2, 3), (1, 0)).sum().backward()
    assert v.grad.tolist() == [3.0, 3.0]


def test_flatten_of_a_vector_is_the_vector():
    v = torch.zeros(3)
    assert v.flatten() is v


def test_bytes_can_be_read_as_another_dtype():
    assert torch.tensor([1.0, 2.0]).view(torch.int32).tolist() == [1065353216, 1073741824]
    assert torch.tensor([1, 2], dtype=torch.int16).view(torch.uint8).tolist() == [1, 0, 2, 0]


# ---- Views and in-place operations --------------------------------------------------------------------------------------


def test_a_view_requires_gradients_where_its_base_does():
    out, x = torch.zeros(2, 3), torch.ones(2, 3, requires_grad=True)
    row = out[0]
    assert not row.requires_grad and row.is_leaf
    out.copy_(x * 2)
    assert row.requires_grad and not row.is_leaf and row.grad_fn.name() == "AsStridedBackward0"
    row.sum().backward()
    assert x.grad.tolist() == [[2.0] * 3, [0.0] * 3]
    with torch.no_grad():
        assert x.view(6).requires_grad and x.view(6).is_leaf


def test_a_view_among_the_arguments_of_an_in_place_operation():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = x * 1
    view = y.view(4).view(2, 2)
    y += view
    (view * torch.tensor([[1.0, 10.0], [100.0, 1000.0]])).sum().backward()
    assert x.grad.tolist() == [[2.0, 20.0], [200.0, 2000.0]]


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda y: torch.no_grad()(y.view)(4), "A view was created in no_grad mode and"),
        (
            lambda y: torch.no_grad()(y.view)(4)[1:],
            "Output 0 of Slice is a view of a view which was created in no_grad mode and",
        ),
        (lambda y: y.unbind()[1], "Output 1 of Unbind is a view and"),
    ],
)
def test_views_that_cannot_be_rebased(make, words):
    y = torch.ones(2, 2, requires_grad=True) * 1
    with pytest.raises(RuntimeError, match=f"{words} is being modified inplace"):
        make(y).mul_(2)
    view = make(y)
    assert view.sum().requires_grad
    y.mul_(2)
    for use in (lambda: view.grad_fn, lambda: view.is_leaf, lambda: view.sum(), lambda: view[0]):
        with pytest.raises(RuntimeError, match=f"{words} its base or another view of its base has been modified"):
            use()
    assert view.requires_grad and repr(view).endswith("grad_fn=<Invalid>)")


def test_a_view_of_a_leaf_is_not_written_to():
    leaf_among_views = torch.ones(2, 3)[0].requires_grad_()
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad is being used"):
        leaf_among_views[0].mul_(2)


def test_the_first_hook_on_a_view_whose_base_was_written_to_goes_to_the_new_history():
    x = torch.ones(2, requires_grad=True)
    base, seen = x.clone(), []
    view = base.view(2)
    base.mul_(2)
    view.register_hook(lambda gradient: seen.append(gradient.tolist()))
    (3 * view.sum()).backward()
    assert seen == [[3.0, 3.0]]
    assert x.grad.tolist() == [6.0, 6.0]


@pytest.mark.parametrize(("asked", "expected"), [(False, ["first", "second"]), (True, ["second", "first"])])
def test_a_further_hook_on_such_a_view_stays_with_the_old_history_until_it_is_asked_for(asked, expected):
    base, seen = torch.ones(2, requires_grad=True).clone(), []
    view = base.view(2)
    before = view + 1
    view.register_hook(lambda gradient: seen.append("first"))
    with torch.no_grad():
        base.mul_(2)
    if asked:
        assert view.grad_fn.name() == "AsStridedBackward0"
    view.register_hook(lambda gradient: seen.append("second"))
    (before.sum() + view.sum()).backward()
    assert seen == expected


@pytest.mark.parametrize(
    ("view_of", "names"),
    [
        (lambda y: y.view(-1), ["ViewBackward0"]),
        (lambda y: y[0], ["SelectBackward0"]),
        (lambda y: y.t(), ["TBackward0"]),
        (lambda y: y.as_strided((2,), (1,)), ["AsStridedBackward0"]),
        (lambda y: y.view(-1)[1:].unsqueeze(0), ["UnsqueezeBackward0", "SliceBackward0", "ViewBackward0"]),
    ],
)
def test_a_stale_view_is_made_again_as_it_was_where_views_are_replayed(view_of, names):
    gradients = []
    for replay in (True, False):
        x = torch.ones(2, 3, requires_grad=True)
        y = x * 1
        with torch.autograd._force_original_view_tracking(replay):
            view = view_of(y)
        view.mul_(2)
        y.mul_(3)
        expected = names if replay else ["AsStridedBackward0"]
        found, node = [], view.grad_fn
        for _ in expected:
            found.append(node.name())
            node = node.next_functions[0][0]
        assert found == expected and node.name() == "MulBackward0"
        view.sum().backward()
        gradients.append(x.grad.tolist())
    assert gradients[0] == gradients[1]


def test_a_view_turned_since_it_was_made_has_its_gradient_where_views_are_replayed():
    x = torch.ones(2, 3, requires_grad=True)
    with torch.autograd._force_original_view_tracking(True):
        y = x * 1
        view = y[:, 1:]
        view.t_()
        y.mul_(2)
    view.sum().backward()
    assert x.grad.tolist() == [[0.0, 2.0, 2.0], [0.0, 2.0, 2.0]]


def test_a_write_to_a_view_has_no_second_backward():
    x = torch.ones(2, requires_grad=True)
    base = x.clone()
    base.view(2).sub_(1)
    base.sum().backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        base.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
        lambda x: F.grid_sample(x, torch.zeros(1, 3, 3, 2)),
        lambda x: F.fold(x.reshape(1, 4, 8), (2, 9), 2),
        lambda x: torch.cross(x[0, 0, :3, :3], x[0, 1, :3, :3] + 1, dim=1),
    ],
)
def test_a_result_of_several_ops_is_no_view_and_can_be_written_to(function):
    x = torch.rand(1, 2, 4, 4, requires_grad=True)
    (expected,) = torch.autograd.grad(function(x).square().sum(), x)
    y = function(x)
    assert not y._is_view() and y._base is None
    before = y.detach().clone()
    y.clamp_(min=-100).add_(before)
    y.mul_(0.5)
    (got,) = torch.autograd.grad((2 * y * before).sum(), x)
    assert torch.allclose(got, expected / 2, atol=1e-5)


# ---- In place, but only how it lies


MOVES = {
    "t_": (lambda v: v.t_(), "TBackward1"),
    "transpose_": (lambda v: v.transpose_(0, -1), "TransposeBackward1"),
    "squeeze_": (lambda v: v.squeeze_(), "SqueezeBackward3"),
    "unsqueeze_": (lambda v: v.unsqueeze_(0), "UnsqueezeBackward1"),
    "as_strided_": (lambda v: v.as_strided_((2,), (1,)), "AsStridedBackward1"),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_view_that_is_laid_out_anew_is_a_view_still_and_its_base_has_not_changed(name):
    move, node = MOVES[name]
    x = torch.arange(6.0, requires_grad=True)
    base = x * 1
    view = base.view(2, 3)[:1]
    move(view)
    assert view.grad_fn.name() == node and view.grad_fn.next_functions[0][0].name() == "SliceBackward0"
    assert base.grad_fn.name() == "MulBackward0" and view._base is base and view._version == base._version == 1
    n = view.numel()
    view.mul_(2)
    assert view.grad_fn.name() == "AsStridedBackward0" and base.grad_fn.name() == "torch::autograd::CopySlices"
    base.sum().backward()
    assert x.grad.tolist() == [2.0] * n + [1.0] * (6 - n)


@pytest.mark.parametrize("name", ["mT", "mH", "H"])
def test_the_transpose_of_a_number_is_that_number_with_a_warning(name):
    x = torch.tensor(2.0)
    with pytest.warns(UserWarning, match=rf"Tensor.{name} is deprecated on 0-D tensors"):
        assert getattr(x, name) is x


def test_elements_that_share_memory_share_the_gradient_of_as_strided():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    x.expand(3, 2).as_strided((2,), (1,)).backward(torch.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [1, 10]
    x.grad = None
    (g,) = torch.autograd.grad(
        (x * 1).unfold(0, 1, 1).expand(2, 2, 3).as_strided((2, 2), (1, 0)).square().sum(), x, create_graph=True
    )
    g.sum().backward()
    assert g.tolist() == [4, 8] and x.grad.tolist() == [4, 4]


def test_what_arrives_beside_the_gradient_of_as_strided_is_not_added_in_place():
    x = torch.arange(4.0).requires_grad_()
    (alone,) = torch.autograd.grad(x.as_strided((2,), (1,)).sum(), x)
    first = x * 2
    (both,) = torch.autograd.grad(first.sum() + x.as_strided((2,), (1,)).sum(), x)
    assert (alone._version, both._version, both.tolist()) == (1, 0, [3, 3, 2, 2])


def test_views_of_more_elements_than_can_be_counted_are_refused():
    x = torch.zeros(1)
    for view in (
        lambda: x.expand(2**62, 2**62),
        lambda: x.as_strided((2**62, 2**62), (0, 0)),
        lambda: x.expand(2**61).unfold(0, 8, 1),
    ):
        with pytest.raises(RuntimeError, match="numel: integer multiplication overflow"):
            view()
    assert x.expand(2**62).numel() == 2**62


def test_pieces_are_as_many_as_a_list_holds():
    many = torch.zeros(1).expand(2**32 + 1)
    for cut in (lambda: many.split(1), lambda: many.unbind(), lambda: torch.zeros(0).chunk(2**61)):
        with pytest.raises(RuntimeError, match="out of memory"):
            cut()
    x = torch.arange(4)
    assert [[p.tolist() for p in cut] for cut in (x.split(2**63 - 1), x.chunk(2**62))] == [
        [[0, 1, 2, 3]],
        [[0], [1], [2], [3]],
    ]


def test_triangles_end_where_the_matrix_does():
    x = torch.ones(2, 2)
    far = 2**63 - 1
    assert x.triu(far).equal(x * 0) and x.tril(far).equal(x)
    assert x.triu(-far - 1).equal(x) and x.tril(-far - 1).equal(x * 0)
