"""Reductions and running sums: values, dimensions, gradients, empty tensors. Expected values are PyTorch's."""

import itertools
import math

import pytest

import hookgrad as torch

nan, inf = math.nan, math.inf


def same(a, b):
    a, b = (x.tolist() if isinstance(x, torch.Tensor) else x for x in (a, b))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b) or abs(a - b) <= 1e-6 * max(1, abs(b))


def by_hand(t, dims, fold):
    """Fold the numbers of t over dims, one output element at a time."""
    shape = t.shape
    kept = [range(n) for i, n in enumerate(shape) if i not in dims]
    gone = [range(shape[i]) for i in dims]
    data = t.tolist()

    def element(index):
        x = data
        for i in index:
            x = x[i]
        return x

    out = []
    for at in itertools.product(*kept):
        numbers = []
        for over in itertools.product(*gone):
            rest, done = iter(at), dict(zip(dims, over))
            numbers.append(element([done[i] if i in done else next(rest) for i in range(len(shape))]))
        out.append(fold(numbers))
    return out


def variance(numbers):
    mean = sum(numbers) / len(numbers)
    return sum((x - mean) ** 2 for x in numbers) / (len(numbers) - 1)


FOLDS = {
    "sum": sum,
    "mean": lambda n: sum(n) / len(n),
    "amax": max,
    "amin": min,
    "var": variance,
    "std": lambda n: math.sqrt(variance(n)),
    "logsumexp": lambda n: math.log(sum(map(math.exp, n))),
    "all": lambda n: all(n),
    "any": lambda n: any(n),
    "count_nonzero": lambda n: sum(map(bool, n)),
}


@pytest.mark.parametrize("name", FOLDS)
@pytest.mark.parametrize("dims", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2), (-1, 0)])
def test_reductions_over_dimensions_of_every_layout(name, dims):
    torch.manual_seed(1)
    base = torch.randn(3, 4, 5, dtype=torch.float64)
    for t in (base, base.permute(2, 0, 1), base.transpose(0, 2), base[:, ::2], base[:1].expand(2, 4, 5)):
        expected = by_hand(t, [d % 3 for d in dims], FOLDS[name])
        assert same(getattr(torch, name)(t, dims).flatten(), expected)


@pytest.mark.parametrize("n", [0, 1, 15, 31, 32, 33, 1000, 4095, 4097, 20000])
def test_long_rows_lose_nothing(n):
    x = torch.arange(n, dtype=torch.float32) - 100
    assert x.sum().item() == sum(i - 100 for i in range(n))
    if n:
        assert (x.max().item(), x.min().item(), x.argmax().item()) == (n - 101.0, -100.0, n - 1)
        assert x.mean().item() == pytest.approx((n - 1) / 2 - 100, rel=1e-6)


def test_a_sum_of_float32_is_exact_to_its_last_bit():
    x = torch.full((1_000_000,), 0.1)
    assert x.sum().item() == pytest.approx(0.10000000149011612 * 1_000_000, rel=6e-8)
    assert same(x.view(1000, 1000).sum(0), [100.0] * 1000)


@pytest.mark.parametrize("scale", (1e-22, 1e-12, 1.0, 1e12, 1e18))
def test_squares_beyond_float32_do_not_spoil_what_is_within(scale):
    x = [(i * 37 % 101 - 50) * scale for i in range(400)]
    mean = sum(x) / 400
    spread = math.sqrt(sum((v - mean) ** 2 for v in x) / 399)
    t = torch.tensor(x)
    assert math.isclose(t.std().item(), spread, rel_tol=1e-6)
    assert math.isclose(t.norm().item(), math.sqrt(sum(v * v for v in x)), rel_tol=1e-6)
    assert torch.stack([t, t, t]).std(1).tolist() == [t.std().item()] * 3
    assert all(math.isclose(v, spread, rel_tol=1e-6) for v in torch.stack([t] * 40, 1).std(0).tolist())


def test_dtypes_of_results():
    ints = torch.arange(6).view(2, 3)
    assert ints.int().sum().dtype is torch.int64 and ints.bool().sum().item() == 5
    assert ints.sum(dtype=torch.float32).dtype is torch.float32
    assert torch.tensor([1.7, 1.7]).sum(dtype=torch.int64).item() == 2
    assert torch.tensor([0.5], dtype=torch.float16).sum().dtype is torch.float16
    assert ints.to(torch.uint8).any().dtype is torch.uint8 and ints.any().dtype is torch.bool
    with pytest.raises(RuntimeError, match="could not infer output dtype. Input dtype must be .* Got: Long"):
        ints.mean()


def test_keepdim_and_all_dimensions():
    x = torch.ones(2, 3, 4)
    assert x.sum((0, 2), keepdim=True).shape == (1, 3, 1) and x.sum(()).shape == () and x.sum(dim=None).item() == 24
    assert x.amax().shape == () and x.argmax(keepdim=True).shape == (1, 1, 1) and x.max(1, True)[0].shape == (2, 1, 4)
    assert torch.tensor(3.0).sum(0).item() == 3


def test_dimensions_out_of_range():
    with pytest.raises(IndexError) as failure:
        torch.ones(2, 3).sum(5)
    assert str(failure.value) == "Dimension out of range (expected to be in range of [-2, 1], but got 5)"
    with pytest.raises(RuntimeError, match="dim 0 appears multiple times in the list of dims"):
        torch.ones(2, 3).sum((0, -2))


def test_empty_tensors():
    none = torch.zeros(0, 3)
    assert none.sum().item() == 0 and none.prod().item() == 1 and same(none.mean(), nan)
    assert none.sum(0).tolist() == [0, 0, 0] and none.all().item() is True and none.any().item() is False
    assert none.sum(1).shape == (0,) and none.amax(1).shape == (0,)
    words = "Expected reduction dim to be specified for input.numel\\(\\) == 0. Specify the reduction dim with the 'dim' argument."
    with pytest.raises(RuntimeError, match="max\\(\\): " + words):
        none.max()
    with pytest.raises(IndexError, match="max\\(\\): Expected reduction dim 0 to have non-zero size."):
        none.max(0)
    with pytest.raises(IndexError, match="argmax\\(\\): Expected reduction dim to be specified"):
        none.argmax()


# ---- extremes


def test_extremes_name_their_places():
    x = torch.tensor([[3.0, 1.0, 3.0], [2.0, 5.0, 5.0]])
    top = x.max(1)
    assert top.values.tolist() == [3, 5] and top.indices.tolist() == [0, 1]
    assert x.min(dim=0).indices.tolist() == [1, 0, 0] and x.argmin().item() == 1
    assert torch.max(x, torch.tensor(2.0)).tolist() == [[3, 2, 3], [2, 5, 5]]
    low, high = torch.aminmax(x)
    assert (low.item(), high.item()) == (1, 5)


def test_nan_is_the_extreme():
    x = torch.tensor([[1.0, nan, 3.0], [1.0, 2.0, 3.0]])
    assert same(x.max(), nan) and same(x.amin(1), [nan, 1.0])
    assert x.max(1).indices.tolist() == [1, 2] and x.argmin().item() == 1
    assert (
        same(x.median(1).values, [nan, 2.0]) and same(torch.nansum(x), 10.0) and same(torch.nanmean(x, 1), [2.0, 2.0])
    )


def test_ties_share_the_gradient_of_a_full_extreme():
    for f, expected in ((torch.max, [0, 0.5, 0.5]), (torch.amax, [0, 0.5, 0.5]), (lambda x: x.max(0)[0], [0, 1, 0])):
        x = torch.tensor([1.0, 3.0, 3.0], requires_grad=True)
        f(x).backward()
        assert x.grad.tolist() == expected


def test_modes_among_nan_are_those_of_pytorch():
    nan = float("nan")
    for row, value, place in (([1, nan, nan, 1], 1, 0), ([nan, nan, 1, nan], nan, 0), ([2, nan, 2, nan, 1], 1, 4)):
        found = torch.tensor(row).mode()
        assert torch.equal(found.values.nan_to_num(-1), torch.tensor(float(value)).nan_to_num(-1))
        assert found.indices == place


def test_median_and_mode():
    x = torch.tensor([[4, 1, 3, 2], [5, 5, 1, 1]])
    assert x.median().item() == 2 and x.median(1).values.tolist() == [2, 1]
    assert x.mode(1).values.tolist() == [1, 1]
    y = torch.tensor([4.0, 1.0, 3.0, 2.0], requires_grad=True)
    y.median().backward()
    assert y.grad.tolist() == [0, 0, 0, 1]


# ---- gradients


def slopes(f, x, step=1e-6):
    out = []
    with torch.no_grad():
        for i in range(x.numel()):
            moved = [x.detach().clone() for _ in range(2)]
            moved[0].view(-1)[i] += step
            moved[1].view(-1)[i] -= step
            out.append((f(moved[0]).sum().item() - f(moved[1]).sum().item()) / (2 * step))
    return out


GRADIENTS = {
    "sum": lambda x: (x * x).sum(1),
    "mean": lambda x: (x * x).mean((0, 1)),
    "prod": lambda x: x.prod(),
    "prod.dim": lambda x: x.prod(1),
    "var": lambda x: x.var(1),
    "var of all": lambda x: x.var(correction=0),
    "std": lambda x: x.std(0, keepdim=True),
    "var_mean": lambda x: torch.var_mean(x, 1)[0] * torch.var_mean(x, 1)[1],
    "std_mean": lambda x: torch.std_mean(x)[0] * torch.std_mean(x)[1],
    "norm": lambda x: x.norm(),
    "norm 1": lambda x: x.norm(1, 0),
    "norm 3": lambda x: x.norm(3, 1),
    "norm 1.5": lambda x: torch.linalg.vector_norm(x, 1.5),
    "norm inf": lambda x: x.norm(inf, 1),
    "dist": lambda x: torch.dist(x, x.flip(1) * 2, 2),
    "logsumexp": lambda x: x.logsumexp(1),
    "max": lambda x: x.max(1).values ** 2,
    "amin": lambda x: x.amin((0, 1)) ** 2,
    "median": lambda x: x.median(1).values ** 2,
    "cumsum": lambda x: x.cumsum(0) ** 2,
    "cumprod": lambda x: x.cumprod(1),
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "cummax": lambda x: x.cummax(1).values ** 2,
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_by_finite_differences(name):
    f = GRADIENTS[name]
    x = torch.tensor([[0.4, -1.3, 0.9], [1.6, 0.7, -0.5]], dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    assert all(abs(a - b) < 1e-5 for a, b in zip(g.flatten().tolist(), slopes(f, x)))
    if g.requires_grad:

        def first(y):
            with torch.enable_grad():
                y = y.detach().requires_grad_()
                return (torch.autograd.grad(f(y).sum(), y, create_graph=True)[0] ** 2).detach()

        (gg,) = torch.autograd.grad((g**2).sum(), x)
        assert all(abs(a - b) < 1e-4 for a, b in zip(gg.flatten().tolist(), slopes(first, x)))


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [0.0, 2.0, 3.0], [0.0, 2.0, 0.0]])
def test_products_of_zeros_have_gradients(values):
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    for f in (torch.prod, lambda t: t.prod(0), lambda t: t.cumprod(0)):
        (g,) = torch.autograd.grad(f(x).sum(), x)
        assert all(abs(a - b) < 1e-6 for a, b in zip(g.tolist(), slopes(f, x)))


def test_the_norm_of_zero_has_gradient_zero():
    for p in (1, 2, 3):
        x = torch.zeros(2, requires_grad=True)
        x.norm(p).backward()
        assert x.grad.tolist() == [0, 0]


# ---- running


def test_running_reductions():
    x = torch.tensor([[1.0, 3.0, 2.0], [4.0, 0.0, 5.0]])
    assert x.cumsum(1).tolist() == [[1, 4, 6], [4, 4, 9]] and x.cumprod(0).tolist() == [[1, 3, 2], [4, 0, 10]]
    assert x.cummax(1).values.tolist() == [[1, 3, 3], [4, 4, 5]] and x.cummin(1).indices.tolist() == [
        [0, 0, 0],
        [0, 1, 1],
    ]
    assert x.t().cumsum(0).tolist() == [[1, 4], [4, 4], [6, 9]]
    assert torch.ones(3, dtype=torch.int8).cumsum(0).dtype is torch.int64
    y = torch.ones(3, dtype=torch.int32)
    assert y.cumsum_(0).tolist() == [1, 2, 3] and y.dtype is torch.int32


def test_norms():
    x = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    assert x.norm().item() == 5 and x.norm(p=1, dim=1).tolist() == [7, 0] and x.norm(inf).item() == 4
    assert x.norm(0).item() == 2 and x.norm("fro").item() == 5 and torch.linalg.vector_norm(x, -inf).item() == 0
    assert x.norm(dim=0, keepdim=True).shape == (1, 2) and x.norm().grad_fn is None


def test_variance_of_one_number_is_nan():
    with pytest.warns(UserWarning, match="degrees of freedom is <= 0"):
        assert same(torch.ones(1).std(), nan)
    assert torch.ones(1).var(correction=0).item() == 0


@pytest.mark.parametrize(
    "f, name",
    [
        (lambda x: x.sum(), "SumBackward0"),
        (lambda x: x.sum(0), "SumBackward1"),
        (lambda x: x.mean(0), "MeanBackward1"),
        (lambda x: x.max(), "MaxBackward1"),
        (lambda x: x.max(0)[0], "MaxBackward0"),
        (lambda x: x.norm(), "LinalgVectorNormBackward0"),
        (lambda x: x.std(), "StdBackward0"),
        (lambda x: x.median(0)[0], "MedianBackward1"),
        (lambda x: torch.var_mean(x)[1], "VarMeanBackward0"),
        (lambda x: x.prod(0), "ProdBackward1"),
    ],
)
def test_names_of_nodes(f, name):
    assert f(torch.ones(2, 2, requires_grad=True)).grad_fn.name() == name


def test_the_gradient_of_logcumsumexp_does_not_overflow():
    z = torch.tensor([-800.0, 5.0, 900.0], requires_grad=True)
    (grad,) = torch.autograd.grad(z.logcumsumexp(0), z, torch.tensor([1.0, -2.0, 0.5]))
    assert grad.tolist() == [1.0, -2.0, 0.4999854564666748]  # PyTorch's numbers, a logarithm away from a half


def test_gradients_at_values_that_are_not_finite():
    def gradient(f, *values):
        x = torch.tensor(values, requires_grad=True)
        return torch.autograd.grad(f(x), x)[0]

    nan, inf = math.nan, math.inf
    assert gradient(torch.amin, nan, 1.0).isnan().all()  # nothing equals the result
    assert gradient(torch.min, nan, 1.0).tolist() == [1, 0]
    assert gradient(lambda x: x.logsumexp(0), inf, 1.0).isnan().tolist() == [True, False]
    assert gradient(lambda x: x.logsumexp(0), -inf, 1.0).tolist() == [0, 1]
    assert gradient(lambda x: x.logsumexp(0), -inf, -inf).isnan().all()


@pytest.mark.parametrize("product", [lambda x: x.prod(), lambda x: x.prod(0)[0]])
def test_the_gradient_of_a_product_is_the_gradient_times_what_the_others_make(product):
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(product(x), x, create_graph=True)
    assert gradient.grad_fn.name() == "MulBackward0"
    assert "DivBackward0" in [node.name() for node, _ in gradient.grad_fn.next_functions if node]


def test_dimensions_that_are_none_are_those_not_given():
    x = torch.tensor([[1.0, 0.0], [3.0, 4.0]], requires_grad=True)
    assert x.all(keepdim=True).tolist() == [[False]] and torch.any(x, keepdim=True).tolist() == [[True]]
    assert (x.all(dim=None), x.amax(None), x.amin(dim=None)) == (False, 4, 0)
    assert x.amax(None).grad_fn._saved_dim == () == torch.roll(x, 1, dims=None).grad_fn._saved_dims
    assert x.roll(1, None).tolist() == [[4, 1], [0, 3]]


def test_norms_of_matrices_by_name():
    x = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.norm(x, "nuc", dim=(1, 2)).tolist() == pytest.approx([24.3646, 62.4951], abs=1e-3)
    kept = torch.norm(x.transpose(0, 1), "nuc", dim=(2, 0), keepdim=True, dtype=torch.float64)
    assert kept.shape == (1, 2, 1) and kept.flatten().tolist() == pytest.approx([24.3646, 62.4951], abs=1e-3)
    for given in ({"p": "nuc"}, {"p": "fro", "dim": (0, 1, 2)}, {"p": "nuc", "dim": 1}):
        with pytest.raises(RuntimeError, match="dim must be a 2-tuple"):
            torch.norm(x, **given)
    with pytest.raises(RuntimeError, match="Order foo not supported"):
        x.norm("foo")


def test_results_with_names_have_them_also_through_out():
    values, indices = torch.empty(0), torch.empty(0, dtype=torch.int64)
    result = torch.max(torch.eye(2), 0, out=[values, indices])
    assert result.values is values and result.indices is indices
    assert type(result) is torch.return_types.max_out and repr(result).startswith(
        "torch.return_types.max_out(\nvalues="
    )


@pytest.mark.parametrize("n", (15, 16, 17, 31, 32, 100))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64), ids=str)
def test_extremes_of_rows_of_any_length_keep_nan_and_infinities(n, dtype):
    torch.manual_seed(0)
    x = torch.randn(4, n, dtype=dtype)
    x[1, n // 2], x[2], x[3, n - 1] = float("inf"), -float("inf"), float("nan")
    for least, t in ((False, x), (True, -x)):
        got = (t.amin(1) if least else t.amax(1)).tolist()
        assert got[:3] == [min(row) if least else max(row) for row in t[:3].tolist()] and got[3] != got[3]
    for at in range(n):
        row = torch.zeros(n, dtype=dtype)
        row[at] = float("nan")
        assert row.max().isnan() and row.min().isnan()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64], ids=str)
def test_many_results_are_those_of_each_part(dtype):
    """Where results are many they are made for some of them at a time; of columns extremes keep NaN."""
    torch.manual_seed(0)
    x = (torch.randn(3, 4, 5, 9000) * 8).to(dtype)
    x[0, 1, 2, 7::50] = x[1, 0, 0, 5] = -9
    if dtype.is_floating_point:
        x[0, 2, :, 11], x[2, 3, 4, 8999], x[1, 1, 1, 3] = nan, inf, -inf
    folds = [torch.sum, torch.amax, torch.amin] + [torch.mean] * dtype.is_floating_point
    for t, dim in ((x, 1), (x, (0, 2)), (x, 2), (x[:, :, ::2, 1::2], 1), (x[:, :1], 1)):
        for fold in folds:
            whole = fold(t, dim)
            for i in (0, 3, 7, 11, 4499):
                assert same(whole[..., i], fold(t[..., i : i + 1], dim)[..., 0]), (fold, dim, i)
    assert same(x.transpose(0, 3).sum(2), x.sum(2).transpose(0, 2))
    assert same(x[:, :0].sum(1), [[[0] * 9000] * 5] * 3) and same((x > 0).any(1), (x > 0).amax(1))
    assert x.sum(2, keepdim=True).shape == (3, 4, 1, 9000)
    assert same(x[0].expand(9, 4, 5, 9000).amax(2)[8], x[0].amax(1))


@pytest.mark.parametrize("columns", [2, 3, 15, 16, 33])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32], ids=["f32", "f64", "i32"])
def test_narrow_columns_fold_as_their_numbers_one_by_one(columns, dtype):
    t = (torch.arange(3 * 70 * columns) * 7919 % 1009 - 500).to(dtype).view(3, 70, columns)
    if dtype.is_floating_point:
        t[1, 33, columns - 1] = float("nan")
        t[2, 69, 0] = float("-inf")
    picked = [[[t[i, j, k].item() for j in range(70)] for k in range(columns)] for i in range(3)]
    for fold, each in (("sum", sum), ("amax", max), ("amin", min)):
        expected = [[math.nan if any(x != x for x in row) else each(row) for row in rows] for rows in picked]
        assert repr(getattr(t, fold)(1).tolist()) == repr(torch.tensor(expected, dtype=t.sum().dtype).tolist())


@pytest.mark.parametrize("n", (15, 16, 17, 31, 32, 47, 48, 70))
def test_extremes_see_every_place_of_a_row(n):
    x = torch.arange(n, dtype=torch.float32)
    for i in range(n):
        rolled = x.roll(i)
        assert (rolled.amax().item(), rolled.amin().item()) == (n - 1, 0)
        assert (rolled.max(0)[1].item(), rolled.min(0)[1].item()) == ((n - 1 + i) % n, i)
        rolled[i] = math.nan
        assert math.isnan(rolled.amax().item()) and math.isnan(rolled.amin().item())
    assert x.sum().item() == n * (n - 1) / 2 and x.cumsum(0)[-1].item() == n * (n - 1) / 2


@pytest.mark.parametrize("n", (8, 15, 16, 31, 33, 49, 63, 64, 79, 127, 300))
def test_short_rows_are_summed_as_exactly_as_doubles(n):
    x = torch.linspace(-1, 1, 7 * n).view(7, n).exp() + 3
    for f in (torch.sum, torch.mean, torch.var, torch.linalg.vector_norm):
        got, wanted = f(x, dim=1), f(x.double(), dim=1)
        assert torch.allclose(got.double(), wanted, rtol=3e-7, atol=0), (f.__name__, got, wanted)


@pytest.mark.parametrize("n", (3, 4, 7, 16, 31, 32, 33, 64, 65, 100))
def test_short_rows_of_doubles_and_softmax_see_every_place(n):
    x = torch.zeros(n, n).fill_diagonal_(3.0)
    for of in (x, x.double()):
        assert of.sum(1).tolist() == of.nansum(1).tolist() == [3.0] * n and (of - 1).prod(1).abs().tolist() == [2.0] * n
    for of, tolerance in ((x * 40, 1e-6), (x.double() * 40, 1e-12)):
        assert torch.allclose(of.softmax(1), (of > 0).to(of.dtype), rtol=0, atol=tolerance)
        assert of.log_softmax(1).amax(1).tolist() == [0.0] * n


@pytest.mark.parametrize("dim", [0, -1])
@pytest.mark.parametrize("name", ["sum", "mean", "nansum", "prod", "amax", "logsumexp", "norm"])
def test_a_number_is_reduced_along_the_dimension_it_has_not(name, dim):
    x = torch.tensor(2.5, requires_grad=True)
    getattr(x, name)(dim=dim).backward()
    assert x.grad.item() == 1
