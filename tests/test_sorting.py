"""Order along a dimension: sort, topk, kthvalue, unique."""

import math

import pytest
from op_cases import check_derivatives, check_error, check_result

import hookgrad as torch

# What PyTorch 2.13 gives: the numbers, and the name of the node that made them.
RESULTS = [
    (lambda x, y, v, s: torch.sort(v), [[-1.0, 2.0, 3.0], [1, 2, 0]], "SortBackward0"),
    (lambda x, y, v, s: torch.sort(v, descending=True), [[3.0, 2.0, -1.0], [0, 2, 1]], "SortBackward0"),
    (
        lambda x, y, v, s: y.sort(0, descending=True),
        [
            [
                [[5.0, 6.0, 7.0, 8.0], [9.0, 10.0, 11.0, 12.0], [13.0, 14.0, 15.0, 16.0]],
                [[-7.0, -6.0, -5.0, -4.0], [-3.0, -2.0, -1.0, 0.0], [1.0, 2.0, 3.0, 4.0]],
            ],
            [[[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]], [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]],
        ],
        "SortBackward0",
    ),
    (lambda x, y, v, s: v.sort(stable=True), [[-1.0, 2.0, 3.0], [1, 2, 0]], "SortBackward1"),
    (lambda x, y, v, s: torch.argsort(v), [1, 2, 0], None),
    (lambda x, y, v, s: x.argsort(1, descending=True), [[2, 1, 0], [2, 1, 0]], None),
    (lambda x, y, v, s: torch.msort(x.t().flip(0)), [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]], "SortBackward0"),
    (lambda x, y, v, s: v.topk(2), [[3.0, 2.0], [0, 2]], "TopkBackward0"),
    (lambda x, y, v, s: x.topk(2, largest=False), [[[0.0, 1.0], [3.0, 4.0]], [[0, 1], [0, 1]]], "TopkBackward0"),
    (
        lambda x, y, v, s: y.topk(1, dim=1),
        [[[[1.0, 2.0, 3.0, 4.0]], [[13.0, 14.0, 15.0, 16.0]]], [[[2, 2, 2, 2]], [[2, 2, 2, 2]]]],
        "TopkBackward0",
    ),
    (lambda x, y, v, s: v.kthvalue(2), [2.0, 2], "KthvalueBackward0"),
    (lambda x, y, v, s: x.kthvalue(1, dim=0), [[0.0, 1.0, 2.0], [0, 0, 0]], "KthvalueBackward0"),
    (lambda x, y, v, s: x.kthvalue(3, keepdim=True), [[[2.0], [5.0]], [[2], [2]]], "KthvalueBackward0"),
]


@pytest.mark.parametrize("call, expected, node", RESULTS)
def test_results_and_nodes_are_those_of_torch(call, expected, node):
    check_result(call, expected, node)


@pytest.mark.parametrize("call", [call for call, _, node in RESULTS if node])
def test_derivatives_agree_with_finite_differences(call):
    check_derivatives(call)


ERRORS = [
    (lambda x, y, v, s: v.topk(4), RuntimeError, "selected index k out of range"),
    (lambda x, y, v, s: v.topk(-1), RuntimeError, "selected index k out of range"),
    (lambda x, y, v, s: v.kthvalue(0), RuntimeError, "kthvalue(): selected number k out of range for dimension 0"),
    (lambda x, y, v, s: v.kthvalue(4), RuntimeError, "kthvalue(): selected number k out of range for dimension 0"),
    (
        lambda x, y, v, s: v.sort(1),
        IndexError,
        "Dimension out of range (expected to be in range of [-1, 0], but got 1)",
    ),
    (lambda x, y, v, s: (v > 0).topk(1), RuntimeError, "topk does not support bool dtypes on CPU"),
]


@pytest.mark.parametrize("call, error, words", ERRORS)
def test_errors_have_torchs_words(call, error, words):
    check_error(call, error, words)


NAN = float("nan")


def test_nan_is_the_largest():
    t = torch.tensor([1.0, NAN, -1.0, float("inf")])
    assert t.argsort().tolist() == [2, 0, 3, 1]
    assert t.argsort(descending=True).tolist() == [1, 3, 0, 2]
    assert t.topk(1).indices.tolist() == [1]
    assert t.kthvalue(3).indices.item() == 3


def test_equal_elements_keep_their_order():
    t = torch.tensor([1.0, 0.0, -0.0, 1.0, 0.0])
    assert t.sort(stable=True).indices.tolist() == [1, 2, 4, 0, 3]
    assert t.sort(stable=True, descending=True).indices.tolist() == [0, 3, 1, 2, 4]


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
)
@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 100, 1000])
def test_every_dtype_and_length_is_sorted(dtype, n):
    torch.manual_seed(n)
    t = torch.randint(0, 100, (3, n)).to(getattr(torch, dtype))
    rows = t.tolist()
    assert t.sort(1).values.tolist() == [sorted(row) for row in rows]
    assert t.sort(1, descending=True).values.tolist() == [sorted(row, reverse=True) for row in rows]
    assert torch.equal(t.gather(1, t.argsort(1)), t.sort(1).values)
    assert t.t().sort(0).values.t().tolist() == [sorted(row) for row in rows]
    k = (n + 2) // 3
    assert t.topk(k).values.tolist() == [sorted(row, reverse=True)[:k] for row in rows]
    assert t.kthvalue(k, dim=1).values.tolist() == [sorted(row)[k - 1] for row in rows]


def test_positions_among_equals_are_those_of_torch():
    few = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    assert few.topk(3).indices.tolist() == [3, 6, 5]
    assert few.topk(2, largest=False).indices.tolist() == [1, 4]
    assert few.kthvalue(4).indices.item() == 3
    many = torch.arange(200) % 3
    assert many.topk(3).indices.tolist() == [8, 5, 2]
    assert many.topk(5).indices.tolist() == [59, 62, 140, 137, 143]


def test_results_have_names():
    result = torch.tensor([2.0, 1.0]).sort()
    assert result.values.tolist() == [1.0, 2.0]
    assert result.indices.tolist() == [1, 0]


def test_unique():
    t = torch.tensor([[3, 1, 3], [1, 0, 3]])
    assert torch.unique(t).tolist() == [0, 1, 3]
    values, places, counts = torch.unique(t, return_inverse=True, return_counts=True)
    assert torch.equal(values[places], t)
    assert counts.tolist() == [1, 2, 3]
    assert t.t().unique(dim=0).tolist() == [[1, 0], [3, 1], [3, 3]]
    assert torch.tensor([[1, 1], [1, 1], [0, 2]]).unique(dim=0, return_counts=True)[1].tolist() == [1, 2]
    assert len(torch.tensor([NAN, NAN]).unique()) == 2


def test_unique_consecutive():
    values, counts = torch.unique_consecutive(torch.tensor([1, 1, 2, 1]), return_counts=True)
    assert values.tolist() == [1, 2, 1]
    assert counts.tolist() == [2, 1, 1]


@pytest.mark.parametrize("descending", (False, True))
@pytest.mark.parametrize("rows, n", [(1, 70), (3, 9), (4, 1), (5, 2), (8, 65), (13, 256), (9, 1501)])
def test_rows_of_float32_are_sorted_stably_whatever_their_number(rows, n, descending):
    """NaN is the largest, the zeros are one, and equal numbers stay in their order; values are those that were there."""
    kinds = [0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1e-40, -1e-40, 1.0, -1.0, 3e38]
    x = [[kinds[(i * i * 7 + r * 3 + i) % 13 % len(kinds)] for i in range(n)] for r in range(rows)]
    x = torch.tensor(x).tolist()
    for t in (torch.tensor(x), torch.tensor(x).t().contiguous().t()):
        values, places = t.sort(1, descending=descending)
        for row, got, at in zip(x, values.tolist(), places.tolist()):
            rank = [(v != v, v if v == v else 0.0) for v in row]
            wanted = sorted(range(n), key=lambda i: rank[i], reverse=descending)
            assert at == wanted
            assert list(map(str, got)) == [str(row[i]) for i in wanted]


@pytest.mark.parametrize("n", (1, 2, 5, 40, 41, 300))
def test_medians_and_distinct_values_are_those_of_sorted_rows(n):
    torch.manual_seed(n)
    for dtype in (torch.int64, torch.uint8, torch.float32, torch.float64):
        x = torch.randint(0, 9, (3, n)).to(dtype)
        found = x.median(1)
        for row, value, at in zip(x.tolist(), found.values.tolist(), found.indices.tolist()):
            assert (value, at) == sorted((v, i) for i, v in enumerate(row))[(n - 1) // 2]
        assert x.median().item() == sorted(x.flatten().tolist())[(3 * n - 1) // 2]
        values, inverse, counts = x.unique(return_inverse=True, return_counts=True)
        flat = x.flatten().tolist()
        assert values.tolist() == sorted(set(flat)) and counts.tolist() == [flat.count(v) for v in values.tolist()]
        assert values[inverse].equal(x)
    holed = torch.tensor([3.0, math.nan, 1.0, math.nan])
    assert holed.median(0).indices.item() == 1 and holed.median().isnan()


def test_whole_numbers_are_searched_for_as_such():
    first = 2**53  # from there on doubles have every other one only
    places = torch.tensor([first, first + 1, first + 2])
    assert torch.searchsorted(places, places).tolist() == [0, 1, 2]
    assert torch.bucketize(places, places, right=True).tolist() == [1, 2, 3]
    assert torch.bucketize(first + 1, places).item() == 1
    assert torch.bucketize(1.5, torch.tensor([1, 2, 3])).item() == 1


def test_rows_too_long_for_any_memory_are_refused():
    endless = torch.zeros(1).expand(2**58)
    for order in (lambda: endless.topk(3), lambda: endless.kthvalue(3), lambda: endless.expand(2, 2**58).kthvalue(3)):
        with pytest.raises(RuntimeError, match="out of memory"):
            order()


def test_the_first_none_of_a_number_is_the_number():
    values, places = torch.tensor(5.0).topk(0)
    assert (values.item(), places.item()) == (5.0, 0)


def test_rows_without_elements_are_not_compared():
    for unique in (torch.unique, torch.unique_consecutive):
        with pytest.raises(RuntimeError, match="There are 0 sized dimensions, and they aren't selected"):
            unique(torch.zeros(3, 0), dim=0)
        with pytest.raises(RuntimeError, match="Number of zero sized dimensions is more than one"):
            unique(torch.zeros(0, 0), dim=0)
        assert unique(torch.zeros(0, 3), dim=0).shape == (0, 3)
