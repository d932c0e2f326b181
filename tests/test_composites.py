"""Functions made of other ops: their numbers are PyTorch's, they differentiate, and bad input is refused by name."""

import operator
import warnings

import pytest
from op_cases import check_error, inputs, numbers

import hookgrad as torch
import hookgrad.special
from hookgrad.autograd import gradcheck

# What PyTorch 2.13 gives. x is 2x3 from 0, v is (3, -1, 2).
RESULTS = [
    (lambda x, y, v, s: v.diff(), [-4.0, 3.0]),
    (lambda x, y, v, s: x.diff(n=2), [[0.0], [0.0]]),
    (lambda x, y, v, s: v.diff(prepend=v[:1], append=v[:1]), [0.0, -4.0, 3.0, 1.0]),
    (lambda x, y, v, s: torch.gradient(v), [[-4.0, -0.5, 3.0]]),
    (lambda x, y, v, s: torch.gradient(x, dim=0, spacing=2.0), [[[1.5, 1.5, 1.5], [1.5, 1.5, 1.5]]]),
    (lambda x, y, v, s: torch.cov(x), [[1.0, 1.0], [1.0, 1.0]]),
    (lambda x, y, v, s: torch.corrcoef(x), [[1.0, 1.0], [1.0, 1.0]]),
    (lambda x, y, v, s: v.quantile(0.25), 0.5),
    (lambda x, y, v, s: x.quantile(torch.tensor([0.0, 1.0]), dim=1), [[0.0, 3.0], [2.0, 5.0]]),
    (lambda x, y, v, s: torch.quantile(v, 0.25, interpolation="higher"), 2.0),
    (lambda x, y, v, s: torch.nanquantile(torch.tensor([float("nan"), 1.0, 3.0]), 0.5), 2.0),
    (lambda x, y, v, s: torch.histc(v.detach(), 2), [1.0, 2.0]),
    (lambda x, y, v, s: torch.combinations(v), [[3.0, -1.0], [3.0, 2.0], [-1.0, 2.0]]),
    (lambda x, y, v, s: torch.vander(v), [[9.0, 3.0, 1.0], [1.0, -1.0, 1.0], [4.0, 2.0, 1.0]]),
    (lambda x, y, v, s: torch.isin(x, v), [[False, False, True], [True, False, False]]),
    (lambda x, y, v, s: torch.isin(x, v, invert=True), [[True, True, False], [False, True, True]]),
    (lambda x, y, v, s: torch.unravel_index(torch.tensor([5, 2]), (2, 3)), [[1, 0], [2, 2]]),
    (lambda x, y, v, s: torch.trapezoid(v, dx=2), 3.0),
    (lambda x, y, v, s: torch.cumulative_trapezoid(v), [1.0, 1.5]),
    (lambda x, y, v, s: torch.gcd(torch.tensor([12, -8, 0]), torch.tensor([18, 12, 5])), [6, 4, 5]),
    (lambda x, y, v, s: torch.lcm(torch.tensor([4, 0]), torch.tensor([6, 3])), [12, 0]),
    (lambda x, y, v, s: torch.ldexp(v, torch.tensor([1, 2, -1])), [6.0, -4.0, 1.0]),
    (lambda x, y, v, s: x.sum_to_size(1, 3), [[3.0, 5.0, 7.0]]),
    (lambda x, y, v, s: x.select_scatter(v, 0, 1), [[0.0, 1.0, 2.0], [3.0, -1.0, 2.0]]),
    (lambda x, y, v, s: x.slice_scatter(s, 1, 1), [[0.0, 4.0, 1.0], [3.0, 2.0, 3.0]]),
    (lambda x, y, v, s: x.diagonal_scatter(v[:2]), [[3.0, 1.0, 2.0], [3.0, -1.0, 5.0]]),
    (lambda x, y, v, s: x.as_strided_scatter(v, (3,), (2,)), [[3.0, 1.0, -1.0], [3.0, 2.0, 5.0]]),
    (lambda x, y, v, s: x.put(torch.tensor([0, -1]), v[:2]), [[3.0, 1.0, 2.0], [3.0, 4.0, -1.0]]),
    (lambda x, y, v, s: torch.zeros(2, 3).fill_diagonal_(4), [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]]),
    (lambda x, y, v, s: x.adjoint(), [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]),
    (lambda x, y, v, s: torch.renorm(s, 1, 0, 5.0), [[4.0, 1.0], [2.0, 3.0]]),
    (lambda x, y, v, s: v.real, [3.0, -1.0, 2.0]),
]


@pytest.mark.parametrize("call, expected", RESULTS)
def test_numbers_are_those_of_torch(call, expected):
    assert numbers(call(*inputs())) == expected


DIFFERENTIABLE = [
    lambda x, v: x.diff(dim=0, prepend=v.view(1, 3)),
    lambda x, v: torch.gradient(x, edge_order=1),
    lambda x, v: torch.cov(x),
    lambda x, v: x.quantile(0.3, dim=1),
    lambda x, v: torch.trapezoid(x, v),
    lambda x, v: torch.renorm(x, 2, 1, 1.5),
    lambda x, v: x.select_scatter(v, 0, 1),
    lambda x, v: x.put(torch.tensor([1, 3, 1]), v, accumulate=True),
    lambda x, v: torch.vander(v),
    lambda x, v: (x * v).sum_to_size(2, 1),
]


@pytest.mark.parametrize("call", DIFFERENTIABLE)
def test_derivatives_agree_with_finite_differences(call):
    x, _, v, _ = inputs(torch.float64)
    assert gradcheck(call, (x, v))


def test_in_place_forms_write_into_the_tensor_and_its_views():
    t = torch.zeros(2, 2).t()
    assert t.put_(torch.tensor([1]), torch.tensor([5.0])) is t
    assert t.tolist() == [[0.0, 5.0], [0.0, 0.0]]
    assert t.fill_diagonal_(1.0) is t
    assert t.tolist() == [[1.0, 5.0], [0.0, 1.0]]


ERRORS = [
    (lambda x, y, v, s: torch.diff(v, -1), RuntimeError, "order must be non-negative but got -1"),
    (lambda x, y, v, s: torch.quantile(v, 2.0), RuntimeError, "quantile() q must be in the range [0, 1] but got 2"),
    (
        lambda x, y, v, s: torch.quantile(torch.tensor([1, 2]), 0.5),
        RuntimeError,
        "quantile() input tensor must be either float or double dtype",
    ),
    (lambda x, y, v, s: torch.gcd(v, v), NotImplementedError, "\"gcd_cpu\" not implemented for 'Float'"),
    (lambda x, y, v, s: torch.combinations(x), RuntimeError, "Expect a 1D vector, but got shape [2, 3]"),
    (
        lambda x, y, v, s: x.select_scatter(v, 1, 0),
        RuntimeError,
        "expected src to have a size equal to the slice of self. src size = [3], slice size = [2]",
    ),
    (lambda x, y, v, s: v.fill_diagonal_(1.0), RuntimeError, "dimensions must larger than 1"),
    (
        lambda x, y, v, s: v.imag,
        RuntimeError,
        "imag is not implemented for tensors with non-complex dtypes.",
    ),
]


@pytest.mark.parametrize("call, error, words", ERRORS)
def test_errors_have_torchs_words(call, error, words):
    check_error(call, error, words)


def test_numbers_among_the_tensors_are_taken_as_they_once_were():
    """`p.data.add_(-lr, grad)` and its like, from the first years of PyTorch."""
    a, x, m = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0], requires_grad=True), torch.eye(2)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        assert x.add(2, a).tolist() == torch.add(x, 2, a).tolist() == x.add(2, other=a).tolist() == [5.0, 8.0]
        y = x.sub(2, x)
        assert a.clone().add_(-0.5, torch.ones(2)).tolist() == [0.5, 1.5]
        assert a.clone().addcmul_(2, a, a).tolist() == torch.addcmul(a, 2, a, a).tolist() == [3.0, 10.0]
        assert a.clone().addcdiv_(2, a, a).tolist() == [3.0, 4.0]
        assert (
            m.addmm(2, m, m).equal(3 * m)
            and m.addmm(2, 3, m, m).equal(5 * m)
            and torch.addmm(2, m, 3, m, m).equal(5 * m)
        )
        assert torch.add(x.detach(), 2, a, out=torch.empty(2)).tolist() == [5.0, 8.0]
    y.sum().backward()
    assert y.grad_fn.name() == "SubBackward0" and x.grad.tolist() == [-1.0, -1.0]
    with pytest.raises(TypeError):
        a.add(2, 3, a)
    with pytest.raises(TypeError):
        a.mul(2, a)


def test_the_old_spelling_is_warned_of_once():
    import subprocess
    import sys

    program = (
        "import hookgrad as torch, warnings\n"
        "warnings.simplefilter('always')\n"
        "a = torch.ones(1)\n"
        "with warnings.catch_warnings(record=True) as seen: a.add_(2, a), a.addcmul_(2, a, a)\n"
        "print(len(seen), repr(str(seen[0].message)))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith(
        "1 'This overload of add_ is deprecated:\\n\\tadd_(Number alpha, Tensor other)\\nConsider using one"
    )


# ---- out= ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, args",
    [
        ("angle", [torch.tensor([-1.0, 2.0])]),
        ("lcm", [torch.tensor([4, 6]), torch.tensor([6, 4])]),
        ("quantile", [torch.arange(5.0), 0.5]),
        ("linalg.cholesky", [torch.eye(2) * 4]),
        ("linalg.norm", [torch.arange(5.0)]),
        ("special.i1", [torch.arange(3.0)]),
        ("igamma", [torch.arange(1.0, 4.0), torch.ones(3)]),
        ("nonzero", [torch.tensor([0, 1, 1])]),
    ],
)
def test_results_are_written_where_they_are_wanted(name, args):
    function = operator.attrgetter(name)(torch)
    expected = function(*args)
    out = torch.empty(0, dtype=expected.dtype)
    assert function(*args, out=out) is out
    assert out.equal(expected)


def test_what_is_written_elsewhere_has_no_gradient():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"angle\(\): functions with out=... arguments don't support automatic"):
        torch.angle(x, out=torch.empty(2))
    with torch.no_grad():
        assert torch.angle(x, out=torch.empty(2)).tolist() == [0.0, 0.0]
    values, indices = torch.empty(0), torch.empty(0, dtype=torch.int64)
    torch.nanmedian(torch.tensor([[1.0, 3.0, 2.0]]), 1, out=(values, indices))
    assert (values.tolist(), indices.tolist()) == ([2.0], [2])
    with pytest.raises(TypeError, match=r"nanmedian\(\): argument 'out' must be tuple of Tensors, not Tensor"):
        torch.nanmedian(torch.ones(1, 2), 1, out=values)
