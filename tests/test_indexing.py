"""x[...] and its assignment, and the ops that read and write by index, mask or value."""

import pytest
from op_cases import check_derivatives, check_error, check_result

import hookgrad as torch
import hookgrad.nn.functional as F

# What PyTorch 2.13 gives: the numbers, and the name of the node that made them.
RESULTS = [
    (lambda x, y, v, s: x[0], [0.0, 1.0, 2.0], "SelectBackward0"),
    (lambda x, y, v, s: x[-1, 1], 4.0, "SelectBackward0"),
    (lambda x, y, v, s: x[:, 1:], [[1.0, 2.0], [4.0, 5.0]], "SliceBackward0"),
    (lambda x, y, v, s: x[::2], [[0.0, 1.0, 2.0]], "SliceBackward0"),
    (lambda x, y, v, s: y[..., 1], [[-6.0, -2.0, 2.0], [6.0, 10.0, 14.0]], "SelectBackward0"),
    (lambda x, y, v, s: x[None], [[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]], "UnsqueezeBackward0"),
    (lambda x, y, v, s: y[0, :, 1], [-6.0, -2.0, 2.0], "SelectBackward0"),
    (lambda x, y, v, s: x[...], [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], "AliasBackward0"),
    (lambda x, y, v, s: x[True], [[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]], "IndexBackward0"),
    (lambda x, y, v, s: x[torch.tensor(1)], [3.0, 4.0, 5.0], "SelectBackward0"),
    (
        lambda x, y, v, s: x[torch.tensor([0, 1, 1])],
        [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [3.0, 4.0, 5.0]],
        "IndexBackward0",
    ),
    (lambda x, y, v, s: x[:, torch.tensor([2, 0])], [[2.0, 0.0], [5.0, 3.0]], "IndexBackward0"),
    (lambda x, y, v, s: x[torch.tensor([0, 1]), torch.tensor([1, 2])], [1.0, 5.0], "IndexBackward0"),
    (
        lambda x, y, v, s: y[torch.tensor([0, 1]), :, torch.tensor([1, 2])],
        [[-6.0, -2.0, 2.0], [7.0, 11.0, 15.0]],
        "IndexBackward0",
    ),
    (
        lambda x, y, v, s: y[:, torch.tensor([0, 1]), torch.tensor([1, 2])],
        [[-6.0, -1.0], [6.0, 11.0]],
        "IndexBackward0",
    ),
    (
        lambda x, y, v, s: y[1, torch.tensor([[0], [2]])],
        [[[5.0, 6.0, 7.0, 8.0]], [[13.0, 14.0, 15.0, 16.0]]],
        "IndexBackward0",
    ),
    (lambda x, y, v, s: x[x > 2.5], [3.0, 4.0, 5.0], "IndexBackward0"),
    (
        lambda x, y, v, s: y[x > 2.5],
        [[5.0, 6.0, 7.0, 8.0], [9.0, 10.0, 11.0, 12.0], [13.0, 14.0, 15.0, 16.0]],
        "IndexBackward0",
    ),
    (lambda x, y, v, s: x[torch.tensor([True, False])], [[0.0, 1.0, 2.0]], "IndexBackward0"),
    (lambda x, y, v, s: x[[0, 1], [1, 2]], [1.0, 5.0], "IndexBackward0"),
    (lambda x, y, v, s: x[5:], [], "SliceBackward0"),
    (lambda x, y, v, s: x.gather(1, torch.tensor([[2, 0], [1, 1]])), [[2.0, 0.0], [4.0, 4.0]], "GatherBackward0"),
    (
        lambda x, y, v, s: x.scatter(0, torch.tensor([[1, 0, 1]]), 9.0),
        [[0.0, 9.0, 2.0], [9.0, 4.0, 9.0]],
        "ScatterBackward1",
    ),
    (
        lambda x, y, v, s: x.scatter(0, torch.tensor([[1, 0, 1]]), v[None]),
        [[0.0, -1.0, 2.0], [3.0, 4.0, 2.0]],
        "ScatterBackward0",
    ),
    (
        lambda x, y, v, s: x.scatter_add(0, torch.tensor([[1, 0, 1], [1, 1, 1]]), x),
        [[0.0, 2.0, 2.0], [6.0, 8.0, 12.0]],
        "ScatterAddBackward0",
    ),
    (
        lambda x, y, v, s: x.scatter_reduce(0, torch.tensor([[1, 0, 1], [1, 1, 1]]), x, "mean"),
        [[0.0, 1.0, 2.0], [2.0, 4.0, 4.0]],
        "ScatterReduceBackward0",
    ),
    (
        lambda x, y, v, s: x.index_select(1, torch.tensor([2, 2, 0])),
        [[2.0, 2.0, 0.0], [5.0, 5.0, 3.0]],
        "IndexSelectBackward0",
    ),
    (
        lambda x, y, v, s: x.index_add(0, torch.tensor([1, 1]), x, alpha=2),
        [[0.0, 1.0, 2.0], [9.0, 14.0, 19.0]],
        "IndexAddBackward0",
    ),
    (
        lambda x, y, v, s: x.index_copy(1, torch.tensor([2]), x[:, :1]),
        [[0.0, 1.0, 0.0], [3.0, 4.0, 3.0]],
        "IndexCopyBackward0",
    ),
    (
        lambda x, y, v, s: x.index_fill(0, torch.tensor([1]), 7.0),
        [[0.0, 1.0, 2.0], [7.0, 7.0, 7.0]],
        "IndexFillBackward0",
    ),
    (lambda x, y, v, s: x.masked_select(x > 1.5), [2.0, 3.0, 4.0, 5.0], "MaskedSelectBackward0"),
    (lambda x, y, v, s: x.masked_scatter(x > 2.5, v), [[0.0, 1.0, 2.0], [3.0, -1.0, 2.0]], "MaskedScatterBackward0"),
    (lambda x, y, v, s: x.take(torch.tensor([0, -1, 2])), [0.0, 5.0, 2.0], "TakeBackward0"),
    (lambda x, y, v, s: x.take_along_dim(torch.tensor([[0], [2]]), dim=1), [[0.0], [5.0]], "GatherBackward0"),
    (
        lambda x, y, v, s: x.index_put((torch.tensor([1, 1]),), v, accumulate=True),
        [[0.0, 1.0, 2.0], [9.0, 2.0, 9.0]],
        "IndexPutBackward0",
    ),
    (lambda x, y, v, s: torch.nonzero(x > 2), [[1, 0], [1, 1], [1, 2]], None),
    (lambda x, y, v, s: torch.where(x > 2), [[1, 1, 1], [0, 1, 2]], None),
    (lambda x, y, v, s: torch.bincount(torch.tensor([1, 1, 3])), [0, 2, 0, 1], None),
    (lambda x, y, v, s: F.one_hot(torch.tensor([1, 0]), 3), [[0, 1, 0], [1, 0, 0]], None),
    (lambda x, y, v, s: torch.bucketize(v, torch.tensor([0.0, 2.0])), [2, 0, 1], None),
]


@pytest.mark.parametrize("call, expected, node", RESULTS)
def test_results_and_nodes_are_those_of_torch(call, expected, node):
    check_result(call, expected, node)


@pytest.mark.parametrize("call", [call for call, _, node in RESULTS if node])
def test_derivatives_agree_with_finite_differences(call):
    check_derivatives(call)


ERRORS = [
    (lambda x, y, v, s: x[5], IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
    (lambda x, y, v, s: x[0, 5], IndexError, "index 5 is out of bounds for dimension 1 with size 3"),
    (lambda x, y, v, s: x[0, 0, 0], IndexError, "too many indices for tensor of dimension 2"),
    (
        lambda x, y, v, s: torch.tensor(1.0)[0],
        IndexError,
        "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
        "convert a 0-dim tensor to a number",
    ),
    (lambda x, y, v, s: x[::-1], ValueError, "step must be greater than zero"),
    (
        lambda x, y, v, s: x[1.0],
        IndexError,
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got float)",
    ),
    (
        lambda x, y, v, s: x[torch.tensor([True, False, True])],
        IndexError,
        "The shape of the mask [3] at index 0 does not match the shape of the indexed tensor [2, 3] at index 0",
    ),
    (
        lambda x, y, v, s: x[:, torch.tensor([True, False])],
        IndexError,
        "The shape of the mask [2] at index 0 does not match the shape of the indexed tensor [2, 3] at index 1",
    ),
    (lambda x, y, v, s: x[torch.tensor([5])], IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
    (
        lambda x, y, v, s: x[torch.tensor([0.5])],
        IndexError,
        "tensors used as indices must be long, int, byte or bool tensors",
    ),
    (
        lambda x, y, v, s: x[torch.tensor([0, 1, 2]), torch.tensor([0, 1])],
        IndexError,
        "shape mismatch: indexing tensors could not be broadcast together with shapes [3], [2]",
    ),
    (
        lambda x, y, v, s: x[torch.zeros(2, 2, dtype=torch.bool)],
        IndexError,
        "The shape of the mask [2, 2] at index 1 does not match the shape of the indexed tensor [2, 3] at index 1",
    ),
    (
        lambda x, y, v, s: x[torch.tensor([0]), torch.tensor([5])],
        IndexError,
        "index 5 is out of bounds for dimension 1 with size 3",
    ),
    (
        lambda x, y, v, s: x[torch.tensor([1, 0], dtype=torch.int16)],
        IndexError,
        "tensors used as indices must be long, int, byte or bool tensors",
    ),
    (
        lambda x, y, v, s: x.gather(0, torch.tensor([0])),
        RuntimeError,
        "Index tensor must have the same number of dimensions as input tensor",
    ),
    (
        lambda x, y, v, s: x.gather(0, torch.tensor([[2]])),
        RuntimeError,
        "index 2 is out of bounds for dimension 0 with size 2",
    ),
    (
        lambda x, y, v, s: x.gather(0, torch.tensor([[0.0]])),
        RuntimeError,
        "gather(): Expected dtype int32/int64 for index",
    ),
    (
        lambda x, y, v, s: x.gather(1, torch.zeros(3, 3, dtype=torch.long)),
        RuntimeError,
        "Size does not match at dimension 0 expected index [3, 3] to be no larger than self [2, 3] apart "
        "from dimension 1",
    ),
    (
        lambda x, y, v, s: x.scatter(0, torch.tensor([[5]]), 1.0),
        RuntimeError,
        "index 5 is out of bounds for dimension 0 with size 2",
    ),
    (
        lambda x, y, v, s: x.scatter(0, torch.tensor([[0]]), x.long()),
        RuntimeError,
        "scatter(): Expected self.dtype to be equal to src.dtype",
    ),
    (
        lambda x, y, v, s: x.scatter_add(0, torch.zeros(3, 4, dtype=torch.long), x),
        RuntimeError,
        "Expected index [3, 4] to be no larger than self [2, 3] apart from dimension 0 and to be no "
        "larger size than src [2, 3]",
    ),
    (lambda x, y, v, s: x.index_select(0, torch.tensor([2])), IndexError, "index out of range in self"),
    (
        lambda x, y, v, s: x.index_select(0, torch.tensor([[0]])),
        IndexError,
        "index_select(): Index is supposed to be a vector",
    ),
    (
        lambda x, y, v, s: x.index_add(0, torch.tensor([0]), x),
        RuntimeError,
        "index_add_(): Number of indices (1) should be equal to source.size(dim): (2), for dim: 0",
    ),
    (
        lambda x, y, v, s: x.index_add(0, torch.tensor([5]), x[:1]),
        RuntimeError,
        "index 5 is out of bounds for dimension 0 with size 2",
    ),
    (
        lambda x, y, v, s: x.index_copy(0, torch.tensor([0]), x),
        IndexError,
        "index_copy_(): Number of indices (1) should be equal to source.size(dim) (2)",
    ),
    (
        lambda x, y, v, s: x.index_fill(0, torch.tensor([5]), 1),
        IndexError,
        "index 5 is out of bounds for dimension 0 with size 2",
    ),
    (lambda x, y, v, s: x.masked_select(x.long()), RuntimeError, "masked_select: expected BoolTensor for mask"),
    (
        lambda x, y, v, s: x.masked_scatter(x > 2, v[:1]),
        RuntimeError,
        "Number of elements of source < number of ones in mask",
    ),
    (
        lambda x, y, v, s: x.take(torch.tensor([6])),
        IndexError,
        "out of range: tried to access index 6 on a tensor of 6 elements.",
    ),
    (
        lambda x, y, v, s: x.take_along_dim(torch.tensor([0]), 0),
        RuntimeError,
        "torch.take_along_dim(): input and indices should have the same number of dimensions, but got 2 "
        "dimensions for input, and 1 dimensions for indices",
    ),
    (
        lambda x, y, v, s: x.index_put((torch.tensor([0]),), torch.tensor(1)),
        RuntimeError,
        "Index put requires the source and destination dtypes match, got Float for the destination and "
        "Long for the source.",
    ),
    (
        lambda x, y, v, s: x.index_put((torch.tensor([0]),), torch.zeros(2)),
        RuntimeError,
        "shape mismatch: value tensor of shape [2] cannot be broadcast to indexing result of shape [1, 3]",
    ),
    (
        lambda x, y, v, s: torch.bincount(torch.tensor([-1])),
        RuntimeError,
        "bincount only supports 1-d non-negative integral inputs.",
    ),
    (
        lambda x, y, v, s: F.one_hot(torch.tensor([3]), 2),
        RuntimeError,
        "Class values must be smaller than num_classes.",
    ),
    (lambda x, y, v, s: F.one_hot(torch.tensor([-1])), RuntimeError, "Class values must be non-negative."),
]


@pytest.mark.parametrize("call, error, words", ERRORS)
def test_errors_have_torchs_words(call, error, words):
    check_error(call, error, words)


def assigned(change):
    x = torch.arange(6.0).reshape(2, 3)
    change(x)
    return x.tolist()


def test_assignment_through_an_index():
    idx = torch.tensor
    assert assigned(lambda x: x.__setitem__(0, 9)) == [[9, 9, 9], [3, 4, 5]]
    assert assigned(lambda x: x.__setitem__((slice(None), 1), idx([7.0, 8.0]))) == [[0, 7, 2], [3, 8, 5]]
    assert assigned(lambda x: x.__setitem__(x > 2, 0)) == [[0, 1, 2], [0, 0, 0]]
    assert assigned(lambda x: x.__setitem__((idx([0, 1]), idx([2, 0])), idx([7.0, 8.0]))) == [[0, 1, 7], [8, 4, 5]]
    assert assigned(lambda x: x.__setitem__(idx([True, False]), idx([[7.0, 8.0, 9.0]]))) == [[7, 8, 9], [3, 4, 5]]
    assert assigned(lambda x: x.__setitem__(Ellipsis, idx([[1], [2]]))) == [[1, 1, 1], [2, 2, 2]]
    assert assigned(lambda x: x.__setitem__(False, 9)) == [[0, 1, 2], [3, 4, 5]]


def test_assignment_to_part_of_itself():
    x = torch.arange(6.0).reshape(2, 3)
    x[:, 1:] = x[:, :2].clone()
    assert x.tolist() == [[0, 0, 1], [3, 3, 4]]


@pytest.mark.parametrize(
    "assign, of_x, of_value",
    [
        (lambda y, v: y.__setitem__(0, v), [[0, 0, 0], [1, 1, 1]], [1, 1, 1]),
        (lambda y, v: y.__setitem__(slice(None), v), [[0, 0, 0], [0, 0, 0]], [2, 2, 2]),
        (lambda y, v: y.__setitem__(torch.tensor([1]), v), [[1, 1, 1], [0, 0, 0]], [1, 1, 1]),
        (lambda y, v: y.__setitem__(y > 2, v), [[1, 1, 1], [0, 0, 0]], [1, 1, 1]),
        (lambda y, v: y.__setitem__((0, 1), v[2]), [[1, 0, 1], [1, 1, 1]], [0, 0, 1]),
    ],
)
def test_gradients_go_to_what_was_assigned(assign, of_x, of_value):
    x = torch.arange(6.0).reshape(2, 3).requires_grad_(True)
    value = torch.ones(3, requires_grad=True)
    y = x * 1
    assign(y, value)
    y.sum().backward()
    assert x.grad.tolist() == of_x
    assert value.grad.tolist() == of_value


@pytest.mark.parametrize("index", [0, slice(None), Ellipsis, [0], (0, 1)])
def test_a_leaf_that_wants_a_gradient_cannot_be_assigned_to(index):
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad is being used in an in-place operation"):
        torch.ones(2, 2, requires_grad=True)[index] = 1


@pytest.mark.parametrize(
    "index, value, words",
    [
        (
            0,
            torch.zeros(2),
            "The expanded size of the tensor (3) must match the existing size (2) at non-singleton dimension 0.",
        ),
        (
            [0],
            torch.zeros(2),
            "shape mismatch: value tensor of shape [2] cannot be broadcast to indexing result of shape [1, 3]",
        ),
        ([0], torch.zeros(3, dtype=torch.int64), "Index put requires the source and destination dtypes match"),
    ],
)
def test_values_that_do_not_fit(index, value, words):
    with pytest.raises(RuntimeError) as raised:
        torch.zeros(2, 3)[index] = value
    assert str(raised.value).startswith(words)


def test_strided_tensors_are_indexed_by_their_own_strides():
    x = torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1)
    assert x[torch.tensor([3, 0]), :, 1].tolist() == [[7, 19], [4, 16]]
    x[x > 20] = -1
    assert x[:, 1].tolist() == [[12, 16, 20], [13, 17, -1], [14, 18, -1], [15, 19, -1]]


def test_repeated_indices_accumulate_only_where_asked():
    x = torch.zeros(3)
    x.index_put_((torch.tensor([0, 0, 2]),), torch.tensor(1.0), accumulate=True)
    assert x.tolist() == [2, 0, 1]
    x = torch.ones(3, requires_grad=True)
    x[torch.tensor([0, 0, 2])].sum().backward()
    assert x.grad.tolist() == [2, 0, 1]


@pytest.mark.parametrize("name", ["scatter_", "scatter_add_", "index_add_", "index_copy_"])
def test_elements_that_share_memory_are_not_written_by_index(name):
    x, one = torch.zeros(1).expand(3), torch.ones(1)
    with pytest.raises(
        RuntimeError, match="more than one element of the written-to tensor refers to a single memory location"
    ):
        getattr(x, name)(0, torch.tensor([0]), one)


def test_a_mask_of_bytes_warns():
    with pytest.warns(UserWarning, match="indexing with dtype torch.uint8 is now deprecated"):
        assert torch.arange(3)[torch.tensor([1, 0, 1], dtype=torch.uint8)].tolist() == [0, 2]


def test_take_along_dim_counts_from_the_end():
    x = torch.arange(6).view(2, 3)
    assert torch.take_along_dim(x, torch.tensor([[-1], [-2]]), 1).tolist() == [[2], [4]]


# ---- A sequence that stands for a tuple


def selected(index):
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        return torch.arange(64.0).view(4, 4, 4)[index]


@pytest.mark.parametrize(
    "index",
    [
        [[0, 1], [1, 2]],
        [(0, 1), (1, 2)],
        [0, [1, 2]],
        [0, slice(1, 3)],
        [slice(None), None, 2],
        [..., 1],
        [torch.tensor([0, 1]), torch.tensor([1, 2])],
        [torch.tensor(0), torch.tensor(1)],
        [[True, False, True, False]],
        [[]],
    ],
)
def test_a_list_with_items_that_are_no_numbers_is_an_index_for_each_dimension(index):
    assert selected(index).equal(torch.arange(64.0).view(4, 4, 4)[tuple(index)])


def test_writing_through_such_a_list_writes_what_reading_reads():
    x = torch.zeros(4, 4)
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        x[[[0, 1], [2, 3]]] = 1.0
    assert x.nonzero().tolist() == [[0, 2], [1, 3]]


def test_a_list_of_thirty_two_lists_is_one_index():
    assert torch.arange(64.0).view(4, 4, 4)[[[0, 1]] * 32].shape == (32, 2, 4, 4)


def test_a_list_of_numbers_is_one_index_and_floats_are_cut_off(recwarn):
    x = torch.arange(4.0)
    assert x[[1, 3]].tolist() == [1.0, 3.0] and x[[1.0, 2.7]].tolist() == [1.0, 2.0] and x[[]].shape == (0,)
    assert not recwarn.list


def test_products_by_index_with_several_zeros_are_not_differentiated_twice():
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([0, 0, 1, 1])

    def gradients(*values):
        src = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        y = x.scatter_reduce(0, index, src, "prod")
        return src, torch.autograd.grad(y.sum(), [x, src], create_graph=True)

    src, (to_x, to_src) = gradients(0.0, 1.0, 2.0, 3.0)
    assert to_src.tolist() == [1.0, 0.0, 3.0, 2.0]
    assert torch.autograd.grad(to_src.square().sum(), [x, src])[0].tolist() == [2.0, 26.0]
    src, (to_x, to_src) = gradients(0.0, 0.0, 2.0, 1.0)
    assert to_src.tolist() == [0.0, 0.0, 1.0, 2.0] and to_src.grad_fn.name() == "torch::autograd::Error"
    assert torch.autograd.grad(to_x.square().sum(), src, retain_graph=True)[0].tolist() == [0.0, 0.0, 4.0, 8.0]
    with pytest.raises(RuntimeError, match="scatter_reduce.*Double backward is unsupported for src when >1 zeros"):
        torch.autograd.grad(to_src.sum(), [x, src])


def test_a_tensor_of_one_byte_is_a_mask():
    x, yes, no = torch.arange(6.0).view(2, 3), torch.tensor(1, dtype=torch.uint8), torch.tensor(0, dtype=torch.uint8)
    assert x[yes].equal(x[None]) and x[no].shape == (0, 2, 3) and x[0, yes].equal(x[:1])
    x[no] = 7.0
    assert x.sum() == 15
    x[yes] = 7.0
    assert x.sum() == 42


@pytest.mark.parametrize("value", [2.0, torch.tensor(2.0)])
def test_a_number_is_not_put_where_elements_share_their_memory(value):
    x = torch.ones(1).expand(3)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        x[0:2] = value
    assert x.fill_(3.0).tolist() == [3.0] * 3


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool), ids=str)
def test_one_value_where_a_mask_is_true(dtype):
    torch.manual_seed(0)
    x, mask = (torch.rand(9, 17) * 5).to(dtype), torch.rand(9, 17) > 0.5
    for value in (1, torch.ones((), dtype=dtype), torch.ones(1, dtype=dtype)):
        for t, m in ((x.clone(), mask), (x.t().clone().t(), mask), (x.clone()[:, 3:], mask[:, 3:])):
            before = t.tolist()
            t[m] = value
            assert t.tolist() == [[1 if k else v for k, v in zip(*rows)] for rows in zip(m.tolist(), before)]
    own = x.clone()
    own[mask] = own[0, 0]
    assert own[mask].eq(x[0, 0]).all() and own[~mask].equal(x[~mask])
    itself = mask.clone()
    itself[itself] = False
    assert not itself.any()


def test_positions_are_in_order():
    torch.manual_seed(0)
    x = torch.rand(3, 5, 7) > 0.6
    wanted = [[i, j, k] for i in range(3) for j in range(5) for k in range(7) if x[i, j, k]]
    assert x.nonzero().tolist() == x.float().nonzero().tolist() == wanted
    assert x.permute(2, 0, 1).nonzero().tolist() == sorted([k, i, j] for i, j, k in wanted)
    assert x[0, 0].nonzero().tolist() == [[k] for k in range(7) if x[0, 0, k]]
    assert torch.zeros(4, 2).nonzero().shape == (0, 2) and torch.tensor(3).nonzero().shape == (1, 0)
    assert torch.tensor(0).nonzero().shape == (0, 0) and torch.ones(2, 0).nonzero().shape == (0, 2)


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64, torch.float16, torch.uint8), ids=str)
def test_selecting_along_each_dimension(dtype):
    x, index = torch.arange(60).view(3, 4, 5).to(dtype), torch.tensor([2, 0, 2, 1])
    at = index.tolist()
    for t in (x, x.permute(0, 1, 2).contiguous(), x.transpose(0, 2).contiguous().transpose(0, 2)):
        assert t.index_select(2, index).tolist() == [[[r[k] for k in at] for r in p] for p in x.tolist()]
        assert t.index_select(1, index).tolist() == [[p[k] for k in at] for p in x.tolist()]
        assert t.index_select(0, index).tolist() == [x.tolist()[k] for k in at]


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8), ids=str)
def test_adding_along_each_dimension(dtype):
    x, index = torch.arange(60).view(3, 4, 5).to(dtype), torch.tensor([2, 0, 2, 1])
    for d in range(3):
        source = x.narrow(d, 0, 3).index_select(d, torch.tensor([0, 1, 2, 1]))
        wanted = x.clone()
        for k, at in enumerate(index.tolist()):
            wanted.select(d, at).add_(source.select(d, k), alpha=2)
        assert x.index_add(d, index, source, alpha=2).equal(wanted)
    assert not x.equal(x + 1) and x.equal(x.clone()) and not x.equal(x.view(3, 20))


def test_a_number_is_one_row():
    for width in (3, 7, 9, 300):
        torch.ones(width, width)  # whose shape is still there, where a number has none
        x = torch.tensor(2.0, requires_grad=True)
        x.index_select(0, torch.tensor([0])).backward()
        assert x.grad.item() == 1


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64), ids=str)
def test_an_index_of_rows_is_read_once_a_row(dtype):
    x, source, rows = torch.arange(12).view(4, 3).to(dtype), torch.ones(3, 3, dtype=dtype), torch.tensor([1, 3, 1])
    index = rows.unsqueeze(1).expand(3, 3)
    for t in (x, x.mT.contiguous().mT):
        assert t.scatter_add(0, index, source).equal(x.index_add(0, rows, source))
        assert t.gather(0, index).equal(x[rows])
        for d in range(2):  # the index of a column is the same for all of them, too
            assert t.gather(d, rows[:1].expand(1, 1)).tolist() == [[x[1, 0].item() if d == 0 else x[0, 1].item()]]
    with pytest.raises(RuntimeError, match="index 4 is out of bounds"):
        x.scatter_add(0, (rows + 1).unsqueeze(1).expand(3, 3), source)
    total = torch.zeros(4, dtype=dtype).index_add(0, rows, source[0], alpha=2)
    assert total.tolist() == [0, 4, 0, 2]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int64])
def test_an_index_without_elements_may_be_of_any_dtype(dtype):
    x, none = torch.ones(3, requires_grad=True), torch.tensor([], dtype=dtype)
    y = x.gather(0, none)
    y.sum().backward()
    assert y.shape == (0,) and x.grad.tolist() == [0.0, 0.0, 0.0]
    assert x.scatter(0, none, 2.0).tolist() == x.scatter_add(0, none, torch.ones(0)).tolist() == [1.0, 1.0, 1.0]


def test_what_lies_where_it_is_written_is_refused():
    both = torch.tensor([0, 1])
    for write in (
        lambda y: y.index_put_((both,), y[:2]),
        lambda y: y.__setitem__(both, y[:1]),
        lambda y: y.index_add_(0, both, y[1:]),
        lambda y: y.index_copy_(0, both, y[:2]),
        lambda y: y.scatter_(0, both, y),
        lambda y: y.scatter_add_(0, both, y),
        lambda y: y.scatter_reduce_(0, both, y, "amax"),
    ):
        y = torch.arange(3.0)
        with pytest.raises(RuntimeError, match="refer to a single memory location"):
            write(y)
        assert y.tolist() == [0, 1, 2]


def test_an_index_that_lies_where_it_is_written_is_refused_or_read_first():
    far = torch.tensor([10**8] * 3)
    for write in (
        lambda x, i: x.scatter_(0, i, 10**8),
        lambda x, i: x.scatter_add_(0, i, far),
        lambda x, i: x.scatter_reduce_(0, i, far, "amax"),
        lambda x, i: x.index_add_(0, i, far),
        lambda x, i: x.index_copy_(0, i, far),
        lambda x, i: x.index_fill_(0, i, 10**8),
        lambda x, i: x.index_put_((i,), far),
    ):
        x = torch.tensor([1, 0, 2])
        with pytest.raises(RuntimeError, match="refer to a single memory location"):
            write(x, x)
        assert x.tolist() == [1, 0, 2]
        spaced = torch.tensor([[1, 9], [0, 9], [2, 9]])[:, 0]  # of which nobody says whether they meet
        assert (write(spaced, spaced) >= 10**8).all()


def test_a_mask_that_is_written_is_read_first():
    for n in (2, 3000):  # of as many as it counts the source has enough
        both = torch.zeros(n, dtype=torch.bool)
        both[0] = True
        both[1:].masked_scatter_(both[:-1], torch.tensor([True]))
        assert both.tolist() == [True, True] + [False] * (n - 2)


def test_more_indices_than_dimensions_are_too_many_whatever_they_speak_for():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(IndexError, match=r"too many indices for tensor of dimension 1 \(got 100\)"):
        torch.ops.aten.index.Tensor(x, [torch.tensor(True)] * 100)


def test_an_expanded_tensor_is_set_to_what_it_holds_already():
    base = torch.tensor([3.0])
    view = base.expand(2, 2)
    view[0] = base
    assert base.tolist() == [3] and base._version == 1
    for value in (torch.ones(1), 1.0, torch.tensor(1.0)):
        with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
            view[0] = value
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        torch.ones(1, requires_grad=True).expand(2, 2)[0] = torch.ones(1)
