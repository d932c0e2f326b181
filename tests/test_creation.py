"""New tensors: values, dtypes, refusals. Expected values are PyTorch's."""

import math

import pytest

import hookgrad as torch


def test_fills_take_their_dtype_from_the_number():
    assert torch.full((2,), 3).dtype is torch.int64 and torch.full((2,), True).dtype is torch.bool
    assert torch.full((2,), 3.0).dtype is torch.float32 and torch.full((2,), 3, dtype=torch.float64).tolist() == [3, 3]
    assert torch.zeros(2, 3).shape == torch.zeros((2, 3)).shape == torch.zeros([2, 3]).shape == (2, 3)
    assert torch.zeros(()).item() == 0 and torch.ones(0, 4).numel() == 0


def test_like_and_new():
    x = torch.ones(2, 3, dtype=torch.int32)
    assert torch.zeros_like(x).dtype is torch.int32 and torch.ones_like(x, dtype=torch.float64).dtype is torch.float64
    assert torch.full_like(x, 7).tolist() == [[7] * 3] * 2 and torch.empty_like(x).shape == (2, 3)
    assert x.new_zeros(4).dtype is torch.int32 and x.new_full((1,), 2, dtype=torch.float32).tolist() == [2.0]
    assert x.new_ones(2, 2).sum().item() == 4 and x.new_empty((3, 0)).shape == (3, 0)


@pytest.mark.parametrize(
    "args, expected",
    [
        ((5,), [0, 1, 2, 3, 4]),
        ((2, 7, 2), [2, 4, 6]),
        ((7, 2, -2), [7, 5, 3]),
        ((3, 3), []),
        ((1, 2.5, 0.5), [1.0, 1.5, 2.0]),
        ((2.5,), [0.0, 1.0, 2.0]),
    ],
)
def test_arange(args, expected):
    x = torch.arange(*args)
    assert x.tolist() == expected
    assert x.dtype is (torch.int64 if all(isinstance(a, int) for a in args) else torch.float32)


def test_arange_is_exact():
    x = torch.arange(-5, 5, 0.01)
    assert len(x) == 1000 and x.double()[[496, 500, 504]].tolist() == [
        -0.03999999910593033, 8.940696516468449e-10, 0.03999999910593033,
    ]  # fmt: skip
    assert torch.arange(-5, 5, 0.01, dtype=torch.float64)[500].item() == 1.0408340855860843e-16
    assert torch.arange(0, 3, 1.9, dtype=torch.int32).tolist() == [0, 1]


def test_linspace_is_exact_at_both_ends():
    x = torch.linspace(-5, 5, 100)
    assert (x[0].item(), x[-1].item()) == (-5, 5)
    assert x[[48, 49, 50, 51]].tolist() == [
        -0.15151524543762207,
        -0.0505051463842392,
        0.0505051463842392,
        0.15151524543762207,
    ]
    assert torch.linspace(0, 10, 4, dtype=torch.int64).tolist() == [0, 3, 6, 10]
    assert torch.linspace(3, 9, 1).tolist() == [3] and torch.linspace(0, 1, 0).tolist() == []
    assert torch.logspace(0, 3, 4).tolist() == [1, 10, 100, 1000]


def test_matrices():
    assert torch.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]] and torch.eye(2, dtype=torch.int64).tolist() == [
        [1, 0],
        [0, 1],
    ]
    assert torch.tril_indices(3, 3).tolist() == [[0, 1, 1, 2, 2, 2], [0, 0, 1, 0, 1, 2]]
    assert torch.triu_indices(2, 3, 1).tolist() == [[0, 0, 1], [1, 2, 2]]
    assert torch.empty_strided((2, 3), (1, 2)).stride() == (1, 2)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: torch.arange(5, 2), "upper bound and lower bound inconsistent with step sign"),
        (lambda: torch.arange(0, 5, 0), "step must be nonzero"),
        (lambda: torch.arange(0, math.nan), "unsupported range: 0 -> nan"),
        (lambda: torch.linspace(0, 1, -1), "number of steps must be non-negative"),
        (lambda: torch.zeros(2, -1), "zeros: Dimension size must be non-negative."),
        (lambda: torch.empty(2, -1), "Trying to create tensor with negative dimension -1: [2, -1]"),
        (lambda: torch.eye(-1), "n must be greater or equal to 0, got -1"),
        (
            lambda: torch.full((2,), 300, dtype=torch.uint8),
            "value cannot be converted to type uint8_t without overflow",
        ),
    ],
)
def test_refusals(make, words):
    with pytest.raises(RuntimeError) as failure:
        make()
    assert str(failure.value) == words


def test_new_tensors_of_gradients():
    x = torch.ones(2, requires_grad=True)
    assert not torch.zeros_like(x).requires_grad and torch.zeros(2, requires_grad=True).is_leaf


def test_asarray_of_a_tensor_keeps_its_history():
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    assert torch.asarray(y) is y
    assert torch.asarray(y, copy=True).grad_fn.name() == "CloneBackward0"
    assert torch.asarray(y, dtype=torch.float64).grad_fn.name() == "ToCopyBackward0"
    assert torch.asarray(y, requires_grad=False).grad_fn is None
    assert torch.asarray(x, requires_grad=False) is x and not x.requires_grad


def test_asarray_takes_numpy_scalars_as_numbers():
    np = pytest.importorskip("numpy")
    for number in (np.float32(3), np.int8(3), np.bool_(True)):
        made = torch.asarray(number)
        assert made.shape == () and made.item() == number and made.dtype == torch.tensor(number).dtype
        assert torch.asarray(number, dtype=torch.float64).item() == number
        with pytest.raises(RuntimeError, match="can't alias numpy"):
            torch.asarray(number, copy=False)


def test_asarray_shares_memory_or_says_that_it_cannot():
    np = pytest.importorskip("numpy")
    lent = torch.zeros(2)
    torch.asarray(torch.to_dlpack(lent)).fill_(3)
    assert lent.tolist() == [3, 3]
    for given in (lent, np.zeros(2), [1.0], 1.0, torch.to_dlpack(lent)):
        with pytest.raises(ValueError, match="can't alias"):
            torch.asarray(given, dtype=torch.float16, copy=False)


@pytest.mark.parametrize("fill", ["torch.arange(0, 4,", "torch.linspace(0, 3, 4,", "torch.logspace(0, 3, 4, 2,"])
def test_rows_of_numbers_fill_an_out_of_any_shape_in_its_order(fill):
    base = torch.zeros(2, 3)
    part, row = base[:, 1:], eval(fill + ")")
    assert eval(fill + " out=part)") is part and part.shape == (2, 2)
    assert torch.equal(base, torch.nn.functional.pad(row.view(2, 2).float(), (1, 0)))


def test_out_of_another_dtype_than_the_one_asked_for():
    for make in (torch.zeros, torch.rand, torch.arange, torch.eye):
        with pytest.raises(RuntimeError, match="out is of dtype float64, not float32"):
            make(3, dtype=torch.float32, out=torch.empty(3, dtype=torch.float64))
    assert torch.ones(2, out=torch.empty(2, dtype=torch.int64)).tolist() == [1, 1]


def test_vander_by_position_and_of_bools():
    assert torch.vander(torch.tensor([2, 3]), 3, True).tolist() == [[1, 2, 4], [1, 3, 9]]
    assert torch.vander(torch.tensor([True, False])).tolist() == [[1, 1], [0, 1]]


def test_cat_of_what_has_no_dimensions():
    assert torch.cat([torch.empty(0), torch.empty(0)], 1).shape == (0,)


def test_what_is_filled_through_out_needs_no_gradient_any_more():
    leaf = torch.zeros(4, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"^aten::ones\(\): functions with out=\.\.\. arguments don't support"):
        torch.ones(4, out=leaf)
    with torch.no_grad():
        assert torch.arange(4, out=leaf) is leaf and not leaf.requires_grad
        leaf.requires_grad_()
        torch.ones(4, out=leaf)
    assert not leaf.requires_grad and leaf.tolist() == [1, 1, 1, 1]


def test_a_list_that_is_emptied_as_its_sizes_are_asked_is_refused():
    outer = []

    class Row:
        def __len__(self):
            outer.clear()
            return 1

        def __getitem__(self, i):
            return [1.0][i]

    outer += [Row(), Row()]
    with pytest.raises(ValueError, match=r"expected sequence of length 2 at dim 0 \(got 0\)"):
        torch.tensor(outer)
