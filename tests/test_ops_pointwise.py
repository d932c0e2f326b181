"""Elementwise ops: values, dtypes, gradients and refusals. Expected values are PyTorch's."""

import itertools
import math

import pytest

import hookgrad as torch
import hookgrad.nn.functional as F

nan, inf = math.nan, math.inf


def close(a, b, tolerance=1e-6):
    a, b = (x.tolist() if isinstance(x, torch.Tensor) else x for x in (a, b))
    if isinstance(a, list):
        return len(a) == len(b) and all(close(x, y, tolerance) for x, y in zip(a, b))
    return a == b or (a != a and b != b) or abs(a - b) <= tolerance * max(1, abs(b))


# ---- derivatives, by finite differences


def slopes(f, x, step=1e-6):
    """The derivative of sum(f(x)) at each element, from values alone."""
    out = []
    with torch.no_grad():
        for i in range(x.numel()):
            ends = []
            for sign in (1, -1):
                moved = x.detach().clone()
                moved.view(-1)[i] += sign * step
                ends.append(f(moved).sum().item())
            out.append((ends[0] - ends[1]) / (2 * step))
    return out


def check_derivatives(f, x, second=True):
    x = x.detach().double().clone().requires_grad_()
    (g,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    assert close(g.flatten(), slopes(f, x), 1e-5)
    if second and g.requires_grad:
        weights = torch.arange(1.0, x.numel() + 1, dtype=torch.float64).view_as(x)

        def first(y):
            y = y.detach().requires_grad_()
            return torch.autograd.grad(f(y).sum(), y, create_graph=True)[0].detach() * weights

        (gg,) = torch.autograd.grad((g * weights).sum(), x)
        assert close(gg.flatten(), slopes(lambda y: torch.enable_grad()(first)(y), x), 1e-4)


ANYWHERE = [-1.7, -0.6, 0.4, 1.3]
POSITIVE = [0.3, 0.8, 1.4, 2.2]
INSIDE = [-0.8, -0.3, 0.2, 0.7]
UNARY = [
    *[
        (n, ANYWHERE)
        for n in "neg abs exp exp2 expm1 sin cos tan atan sinh cosh tanh asinh sigmoid erf erfc square sinc".split()
    ],
    *[(n, POSITIVE) for n in "log log2 log10 log1p sqrt rsqrt reciprocal lgamma digamma".split()],
    *[(n, INSIDE) for n in "asin acos atanh erfinv frac deg2rad rad2deg nan_to_num".split()],
    ("acosh", [1.2, 1.7, 2.5, 3.0]),
    ("logit", [0.1, 0.4, 0.6, 0.9]),
]


@pytest.mark.parametrize("name, values", UNARY, ids=[n for n, _ in UNARY])
def test_derivatives_of_functions(name, values):
    check_derivatives(getattr(torch, name), torch.tensor(values, dtype=torch.float64))


ACTIVATIONS = """relu relu6 leaky_relu elu celu selu gelu silu mish softplus hardtanh hardsigmoid hardswish logsigmoid softsign
    tanhshrink softshrink hardshrink""".split()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_of_activations(name):
    check_derivatives(getattr(F, name), torch.tensor([-4.1, -1.7, -0.6, 0.3, 0.8, 2.4, 7.0], dtype=torch.float64))


def test_derivative_of_gelu_by_tanh():
    check_derivatives(lambda x: F.gelu(x, approximate="tanh"), torch.tensor(ANYWHERE))


BINARY = "add sub mul div pow atan2 maximum minimum fmax fmin hypot logaddexp logaddexp2 xlogy copysign remainder fmod".split()


@pytest.mark.parametrize("name", BINARY)
def test_derivatives_of_both_operands(name):
    f = getattr(torch, name)
    a, b = torch.tensor(POSITIVE).double(), torch.tensor([0.7, 1.9, 0.5, 1.2]).double()
    check_derivatives(lambda x: f(x, b), a)
    if name not in ("remainder", "fmod"):
        check_derivatives(lambda x: f(a, x), b)


@pytest.mark.parametrize("f", [torch.addcmul, torch.addcdiv, torch.lerp])
def test_derivatives_of_three_operands(f):
    a, b, c = (torch.tensor(v).double() for v in (ANYWHERE, POSITIVE, [0.2, 0.4, 0.7, 0.9]))
    check_derivatives(lambda x: f(x, b, c), a)
    check_derivatives(lambda x: f(a, x, c), b)
    check_derivatives(lambda x: f(a, b, x), c)


@pytest.mark.parametrize("weight", [0.7, 1.0])
def test_from_minus_zero_to_itself_is_minus_zero(weight):
    ends = torch.full((70,), -0.0)
    assert torch.lerp(ends, ends, weight).signbit().all()


# ---- kinks


@pytest.mark.parametrize(
    "f, at, expected",
    [
        (torch.abs, [0.0, -2.0], [0.0, -1.0]),
        (torch.relu, [0.0, 1.0, -1.0], [0.0, 1.0, 0.0]),
        (lambda x: x.clamp(0, 1), [0.0, 1.0, -1.0, 2.0, 0.5], [1.0, 1.0, 0.0, 0.0, 1.0]),
        (lambda x: torch.maximum(x, torch.ones(3)), [1.0, 2.0, 0.0], [0.5, 1.0, 0.0]),
        (lambda x: x**0, [0.0, 2.0], [0.0, 0.0]),
        (lambda x: F.hardtanh(x), [-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]),
        (torch.sign, [0.0, 3.0], [0.0, 0.0]),
    ],
)
def test_gradients_at_kinks(f, at, expected):
    x = torch.tensor(at, requires_grad=True)
    f(x).sum().backward()
    assert x.grad.tolist() == expected


def test_power_of_zero_has_a_finite_gradient():
    base = torch.tensor([0.0, 0.0, 2.0], requires_grad=True)
    exponent = torch.tensor([1.0, 2.0, 0.0], requires_grad=True)
    (base**exponent).sum().backward()
    assert base.grad.tolist() == [1.0, 0.0, 0.0]
    assert close(exponent.grad, [0.0, 0.0, math.log(2)])


# ---- promotion


@pytest.mark.parametrize(
    "a, b, expected",
    [
        (torch.ones(2, dtype=torch.int32), 2, torch.int32),
        (torch.ones(2, dtype=torch.int32), 2.0, torch.float32),
        (torch.ones(2, dtype=torch.float16), 2.0, torch.float16),
        (torch.ones(2, dtype=torch.bool), 2, torch.int64),
        (torch.ones(2, dtype=torch.bool), True, torch.bool),
        (torch.ones(2, dtype=torch.uint8), torch.ones(2, dtype=torch.int8), torch.int16),
        (torch.ones(2, dtype=torch.float16), torch.ones(2, dtype=torch.bfloat16), torch.float32),
        (torch.ones(2), torch.tensor(1.0, dtype=torch.float64), torch.float32),
        (torch.ones(2, dtype=torch.int64), torch.tensor(1.0, dtype=torch.float64), torch.float64),
        (torch.ones(2, dtype=torch.int8), torch.tensor(1, dtype=torch.int64), torch.int8),
        (torch.ones(2), torch.ones(2, dtype=torch.float64), torch.float64),
    ],
)
def test_what_two_operands_promote_to(a, b, expected):
    assert torch.add(a, b).dtype is expected


def test_functions_of_integers_are_floating():
    assert torch.exp(torch.arange(3)).dtype is torch.float32
    assert (torch.arange(3) / 2).dtype is torch.float32
    assert (torch.arange(3) // 2).dtype is torch.int64


def test_half_types_compute_in_float32_and_round_once():
    x = torch.tensor([0.1, 1000.0, 65504.0], dtype=torch.float16)
    assert (x * 1.001).tolist() == [0.10009765625, 1001.0, inf]
    assert torch.tensor([1.0, 3.0], dtype=torch.bfloat16).div(3).tolist() == [0.333984375, 1.0]


@pytest.mark.parametrize("value", [6e-8, 2.0**-24 * 1.5, 6.1e-5, 65519.0, 65520.0, -0.0, nan, 1 / 3])
def test_rounding_to_half(value):
    import struct

    got = torch.tensor(value).half().item()
    try:
        expected = struct.unpack("e", struct.pack("e", value))[0]
    except OverflowError:
        expected = math.copysign(inf, value)
    assert got == expected or (got != got and expected != expected)


# ---- division and integers


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64, torch.float32, torch.float64])
def test_division_follows_python(dtype):
    for a in range(-7, 8):
        for b in (-3, -2, -1, 1, 2, 3):
            x, y = torch.tensor([a], dtype=dtype), torch.tensor([b], dtype=dtype)
            assert (x // y).item() == a // b and (x % y).item() == a % b
            assert torch.fmod(x, y).item() == math.fmod(a, b)
            assert torch.div(x, y, rounding_mode="trunc").item() == int(a / b)


@pytest.mark.parametrize("f", [torch.floor_divide, torch.remainder, torch.fmod])
def test_integer_division_by_zero(f):
    for zero in (0, torch.tensor([1, 0, 2])):
        with pytest.raises(RuntimeError, match="^ZeroDivisionError$"):
            f(torch.tensor([1, 2, 3]), zero)
    nothing = torch.empty(0, dtype=torch.int64)
    assert f(nothing, 0).shape == f(nothing, torch.tensor([0])).shape == (0,)
    assert torch.isnan(torch.remainder(torch.ones(1), 0)).item()


def test_the_smallest_integer_over_minus_one_wraps():
    x = torch.tensor([-(2**63)])
    assert (x // -1).item() == -(2**63) and (x % -1).item() == 0 and (-x).item() == -(2**63)


def test_integers_wrap():
    assert (torch.tensor([200], dtype=torch.uint8) + 100).item() == 44
    assert (torch.tensor([2**62]) * 4).item() == 0


def test_integer_powers():
    assert (torch.tensor([2, -3, 0]) ** 3).tolist() == [8, -27, 0]
    assert torch.pow(torch.tensor([1, -1, 2]), torch.tensor([-1, -3, -1])).tolist() == [1, -1, 0]
    with pytest.raises(RuntimeError, match="Integers to negative integer powers are not allowed."):
        torch.tensor([2]) ** -1


def test_shifts_beyond_the_width():
    x = torch.tensor([1, -8], dtype=torch.int32)
    assert (x << 3).tolist() == [8, -64] and (x >> 1).tolist() == [0, -4]
    assert (x >> 40).tolist() == [0, -1] and (x << 40).tolist() == [0, 0]


# ---- special values


def test_nan_wins_or_loses_as_named():
    a, b = torch.tensor([1.0, nan, 2.0]), torch.tensor([nan, 1.0, 3.0])
    assert close(torch.maximum(a, b), [nan, nan, 3.0]) and close(torch.minimum(a, b), [nan, nan, 2.0])
    assert torch.fmax(a, b).tolist() == [1.0, 1.0, 3.0] and torch.fmin(a, b).tolist() == [1.0, 1.0, 2.0]
    assert close(torch.tensor([nan, -1.0, 5.0]).clamp(0, 1), [nan, 0.0, 1.0])
    assert close(torch.relu(torch.tensor([nan, -1.0])), [nan, 0.0])


def test_tests_of_numbers():
    x = torch.tensor([1.0, nan, inf, -inf])
    assert torch.isnan(x).tolist() == [False, True, False, False]
    assert torch.isinf(x).tolist() == [False, False, True, True]
    assert torch.isfinite(x).tolist() == [True, False, False, False]
    assert torch.isposinf(x).tolist() == [False, False, True, False]
    assert torch.nan_to_num(x, 0.5).tolist() == [1.0, 0.5, 3.4028234663852886e38, -3.4028234663852886e38]
    assert torch.signbit(torch.tensor([-0.0, 0.0])).tolist() == [True, False]


def test_rounding_is_half_to_even():
    assert torch.round(torch.tensor([0.5, 1.5, 2.5, -0.5])).tolist() == [0.0, 2.0, 2.0, -0.0]
    assert close(torch.round(torch.tensor([1.235, 125.0]), decimals=2), [1.24, 125.0])
    assert torch.round(torch.tensor([125.0, 135.0]), decimals=-1).tolist() == [120.0, 140.0]


def test_special_functions():
    assert close(torch.erfinv(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0])), [-inf, 0.0, 0.476936, inf, nan])
    assert close(torch.digamma(torch.tensor([1.0, 0.5, -0.5])), [-0.577216, -1.963510, 0.036490], 1e-5)
    assert close(torch.polygamma(1, torch.tensor([1.0])), [math.pi**2 / 6])
    assert close(torch.xlogy(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 3.0])), [0.0, 2 * math.log(3)])
    assert close(
        torch.logaddexp(torch.tensor([-inf, 1000.0]), torch.tensor([-inf, 1000.0])), [-inf, 1000 + math.log(2)]
    )
    assert torch.heaviside(torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([0.5])).tolist() == [0.0, 0.5, 1.0]


def test_comparisons_and_logic():
    a, b = torch.tensor([1, 2, 3]), torch.tensor([3.0, 2.0, 1.0])
    assert (a < b).tolist() == [True, False, False] and (a >= b).tolist() == [False, True, True]
    assert (a == 2).dtype is torch.bool
    assert torch.logical_xor(a > 1, b > 1).tolist() == [True, False, True]
    assert (~torch.tensor([True, False])).tolist() == [False, True] and (~torch.tensor([5])).item() == -6
    assert torch.isclose(b, b + 1e-7).all().item() and torch.allclose(b, b + 1e-7) and torch.equal(a, a.clone())
    assert not torch.equal(a, torch.ones(2))


# ---- strides, broadcasting, writing in place


def test_every_layout_gives_the_same_values():
    base = torch.arange(24.0).view(2, 3, 4)
    dense = (base * 2 + 1).tolist()
    for t in (base.permute(2, 0, 1), base.transpose(0, 2), base[:, ::2], base[..., 1::2], base[:1].expand(3, 3, 4)):
        copy = torch.tensor(t.tolist())
        assert (t * 2 + 1).tolist() == (copy * 2 + 1).tolist()
        assert (t + t.flip(0)).tolist() == (copy + copy.flip(0)).tolist()
        assert torch.exp(t / 10).tolist() == torch.exp(copy / 10).tolist()
    assert (base * 2 + 1).tolist() == dense


def test_broadcasting():
    a, b = torch.arange(3.0).view(3, 1), torch.arange(4.0)
    assert (a * 10 + b).tolist() == [[10.0 * i + j for j in range(4)] for i in range(3)]
    with pytest.raises(RuntimeError) as failure:
        torch.ones(2, 3) + torch.ones(2, 4)
    assert str(failure.value) == (
        "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 1"
    )


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 17, 100, 128, 129])
def test_short_rows_are_as_if_what_repeats_were_written_out(n):
    for rows, dtype in itertools.product(
        (2, 9, 3000), (torch.float32, torch.float64, torch.float16, torch.int32, torch.uint8)
    ):
        whole = (torch.arange(2 * rows * n) % 7).to(dtype).view(2, rows, n)
        for other in ((n,), (2, 1, n), (2, rows, 1), (rows, 1), (1, 1, n)):
            few = (torch.arange(math.prod(other)) % 5 + 1).to(dtype).view(other)
            many = few.expand(whole.shape).clone()
            assert torch.equal(whole + few, whole + many) and torch.equal(few - whole, many - whole)
            assert torch.equal(whole < few, whole < many)
            assert torch.equal(torch.where(few > 2, whole, few), torch.where(many > 2, whole, many))
            assert torch.equal(torch.add(few, whole.float()), torch.add(many, whole.float()))
            out = torch.empty(n, 2, rows, dtype=dtype).permute(1, 2, 0)
            assert torch.equal(torch.mul(whole, few, out=out), whole * many)
            assert torch.equal(whole.clone().mul_(few), whole * many)


def test_chunks_of_mixed_dtypes_meet_at_their_ends():
    for n in (255, 256, 257, 1000):
        a, b = torch.arange(n, dtype=torch.int32), torch.arange(n, dtype=torch.float16)
        assert (a + b).float().tolist() == (torch.arange(n).float() * 2).half().float().tolist()
        a += torch.ones(n, dtype=torch.int8)
        assert a.tolist() == list(range(1, n + 1))


def test_in_place_results_must_fit():
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        torch.tensor([1]).add_(1.5)
    with pytest.raises(RuntimeError) as failure:
        torch.ones(3).add_(torch.ones(2, 3))
    assert str(failure.value) == "output with shape [3] doesn't match the broadcast shape [2, 3]"


def test_writing_over_memory_that_is_read():
    x = torch.arange(5.0)
    words = "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location"
    for write in (lambda: x[1:].add_(x[:-1]), lambda: x[1:].copy_(x[:-1])):
        with pytest.raises(RuntimeError, match=words):
            write()
    with pytest.raises(
        RuntimeError, match="more than one element of the written-to tensor refers to a single memory location"
    ):
        torch.zeros(3).expand(2, 3).add_(1)
    assert x.mul_(x).tolist() == [0.0, 1.0, 4.0, 9.0, 16.0]


def test_copies_cast_and_broadcast():
    x = torch.zeros(2, 3, dtype=torch.int64)
    assert x.copy_(torch.tensor([1.9, -1.9, 3.0])).tolist() == [[1, -1, 3], [1, -1, 3]]
    x.t().fill_(7)
    assert x.tolist() == [[7] * 3] * 2
    y, src = torch.ones(3, requires_grad=True), torch.ones(1, dtype=torch.float64, requires_grad=True)
    (y * 1).copy_(src).sum().backward()
    assert y.grad.tolist() == [0.0] * 3 and src.grad.tolist() == [3.0]


def test_fills_refuse_what_the_dtype_cannot_hold():
    for dtype, value in ((torch.uint8, 300), (torch.int32, 2**40), (torch.float16, 1e6)):
        with pytest.raises(RuntimeError, match="without overflow"):
            torch.zeros(2, dtype=dtype).fill_(value)


# ---- choosing


def test_where_and_masks():
    c = torch.tensor([True, False, True])
    assert torch.where(c, 1, 0).dtype is torch.int64 and torch.where(c, 1.0, 0.0).tolist() == [1.0, 0.0, 1.0]
    assert torch.where(c, torch.tensor([[1], [2]]), torch.tensor(0.5)).tolist() == [[1.0, 0.5, 1.0], [2.0, 0.5, 2.0]]
    x = torch.ones(3, requires_grad=True)
    x.masked_fill(c, 5.0).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]
    with pytest.raises(
        RuntimeError, match="masked_fill_ only supports boolean masks, but got mask with dtype long int"
    ):
        x.masked_fill(torch.tensor([1, 0, 1]), 5.0)


def test_clamp_by_tensors():
    x, low, high = (torch.tensor(v, requires_grad=True) for v in ([-2.0, 0.5, 3.0], [-1.0, 0.0, 5.0], [1.0, 1.0, 2.0]))
    y = torch.clamp(x, low, high)
    assert y.tolist() == [-1.0, 0.5, 2.0]
    y.sum().backward()
    assert (x.grad.tolist(), low.grad.tolist(), high.grad.tolist()) == (
        [0.0, 1.0, 0.0],
        [1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0],
    )


# ---- names and dtypes that have no kernel


@pytest.mark.parametrize(
    "f, name",
    [
        (lambda x: x + 1, "AddBackward0"),
        (lambda x: 1 - x, "RsubBackward1"),
        (lambda x: x / x, "DivBackward0"),
        (lambda x: torch.div(x, 2, rounding_mode="floor"), "DivBackward2"),
        (lambda x: x**2, "PowBackward0"),
        (lambda x: x**x, "PowBackward1"),
        (lambda x: 2**x, "PowBackward2"),
        (lambda x: x % 2, "RemainderBackward0"),
        (lambda x: x.clamp(0, 1), "ClampBackward1"),
        (lambda x: x.clamp(x, x), "ClampBackward0"),
        (lambda x: x.log1p(), "Log1PBackward0"),
        (lambda x: x.masked_fill(x > 0, 1), "MaskedFillBackward0"),
        (lambda x: x.double(), "ToCopyBackward0"),
        (lambda x: F.relu6(x), "HardtanhBackward0"),
        (lambda x: F.selu(x), "EluBackward0"),
    ],
)
def test_names_of_nodes(f, name):
    assert f(torch.ones(2, requires_grad=True)).grad_fn.name() == name


def test_what_has_no_kernel_says_so():
    with pytest.raises(NotImplementedError, match="\"frac_cpu\" not implemented for 'Long'"):
        torch.frac(torch.tensor([1]))
    with pytest.raises(RuntimeError, match="with two bool tensors is not supported"):
        torch.tensor([True]) - torch.tensor([True])
    with pytest.raises(RuntimeError, match="argument alpha must not be a floating point number"):
        torch.add(torch.tensor([1]), 1, alpha=1.5)


def test_activations_in_place():
    for f in (F.relu, F.leaky_relu, F.elu, F.silu, F.hardtanh, F.relu6, F.celu, F.selu):
        x = torch.tensor([-1.0, 2.0], requires_grad=True)
        y = x * 1
        assert f(y, inplace=True) is y
        assert y.tolist() == f(x).tolist()
        y.sum().backward()
        expected = torch.autograd.grad(f(x).sum(), x)[0]
        assert close(x.grad, expected)


def test_gradients_where_a_formula_has_no_value():
    def gradients(f, *values):
        tensors = [torch.tensor(v, requires_grad=True) for v in values]
        return [g.tolist() for g in torch.autograd.grad(f(*tensors).sum(), tensors)]

    assert gradients(torch.atan2, [0.0, 0.0], [0.0, -1.0]) == [[0, -1], [0, 0]]
    assert gradients(torch.xlogy, [0.0, 0.0], [1.0, 0.0])[0] == [0, 0]
    assert gradients(torch.xlogy, [0.0], [math.e])[0] == pytest.approx([1])
    assert gradients(lambda x: torch.xlogy(x, math.e), [0.0])[0] == pytest.approx([1])
    assert gradients(lambda x: torch.xlogy(x, 0.0), [0.0])[0] == [0]


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64), ids=str)
def test_remainders_are_exact(dtype):
    """Also where the quotient is rounded to the next whole number, is too large for a double, or infinite."""
    x = torch.tensor([0.0, -0.0, 5.0, -5.0, 0.7, -2.1, 1e10, -123456.7, 3e38, 1e-40, math.inf, math.nan], dtype=dtype)
    y = torch.tensor([0.7, -0.7, 2.1, 3.0, -3.0, 1e-3, 3e38, math.inf, -math.inf, math.nan], dtype=dtype)
    x, y = torch.cat([x, torch.arange(1, 200, dtype=dtype) * y[0]]), torch.cat([y, torch.arange(1, 9, dtype=dtype) / 7])
    for a in x.tolist():
        for b, fmod, up in zip(y.tolist(), torch.fmod(x.new_tensor(a), y).tolist(), (x.new_tensor(a) % y).tolist()):
            wanted = math.fmod(a, b) if math.isfinite(a) and not math.isnan(b) else math.nan
            assert fmod == wanted and math.copysign(1, fmod) == math.copysign(1, wanted) or fmod != fmod != wanted
            wanted = x.new_tensor(wanted + b if wanted and (wanted < 0) != (b < 0) else wanted).item()
            assert up == wanted or up != up != wanted, (a, b)


def test_remainders_of_many_are_those_of_each():
    """Whole chunks go by vectors, where no quotient is large, infinite or NaN; in the last ones some are."""
    torch.manual_seed(0)
    y = torch.randn(1600)
    x = torch.cat(
        [torch.randn(400) * 50, torch.randint(-(2**22), 2**22, (400,)) * y[400:800].abs().clamp(max=1), y[800:]]
    )
    x[1200:1204] = torch.tensor([math.inf, math.nan, 3e38, -1e-40])
    y[1300:1304] = torch.tensor([math.inf, 0, math.nan, -1e-40])
    for a, b in ((x, y), (x[1::3], y[1::3]), (x[:7], y[:7]), (x[:0], y[:0]), (x, x.new_tensor(0.75)), (x[1], y)):
        for f in (torch.fmod, torch.remainder, torch.floor_divide, lambda a, b: torch.div(a, b, rounding_mode="trunc")):
            many, pairs = f(a, b), zip(*(t.reshape(-1).tolist() for t in torch.broadcast_tensors(a, b)))
            for r, (p, q) in zip(many.tolist(), pairs):
                if f is torch.fmod:
                    wanted = math.fmod(p, q) if math.isfinite(p) and q else math.nan
                    assert r == wanted and math.copysign(1, r) == math.copysign(1, p) or r != r != wanted
                one = f(torch.tensor([p]), torch.tensor([q])).item()
                assert r == one and math.copysign(1, r) == math.copysign(1, one) or r != r and one != one


def test_rows_of_few_elements():
    """Where an iterator's rows would be short it takes another dimension for them."""
    x = torch.arange(120.0).view(40, 3)
    rows = x.tolist()
    assert (x[:, :2] * 2 + x[:, 1:]).tolist() == [[2 * a + b, 2 * b + c] for a, b, c in rows]
    assert x[:, ::2].clone().tolist() == [[a, c] for a, b, c in rows]
    assert x.t()[:2].t().long().tolist() == [[int(a), int(b)] for a, b, c in rows]
    assert (x[:, 1:].t() > 50).tolist() == [[row[k] > 50 for row in rows] for k in (1, 2)]
    assert x.repeat_interleave(2).tolist() == [v for row in rows for v in row for _ in range(2)]


def test_a_number_beside_half_precision_is_rounded_as_it_is():
    x = torch.tensor([1.0, -0.4375, 2.5], dtype=torch.bfloat16)
    near = torch.tensor(0.3, dtype=torch.bfloat16).item()
    for result, exact in [
        (x + 0.3, x.float() + near),
        (0.3 - x, near - x.float()),
        (x.clone().sub_(0.3), x.float() - near),
        (x + torch.tensor(0.3), x.float() + near),
        (x.fmod(0.3), x.float().fmod(near)),
        (x * 0.3, x.float() * 0.3),  # but for products and quotients
        (x / 0.3, x.float() / 0.3),
    ]:
        assert result.dtype == torch.bfloat16 and torch.equal(result, exact.bfloat16())
    assert (torch.tensor([near], dtype=torch.bfloat16) == 0.3).item()


def test_alpha_in_half_precision_is_rounded_and_so_is_a_short_product():
    x, y = torch.linspace(-1, 1, 64).half(), torch.linspace(3, 7, 64).half()
    alpha = torch.tensor(0.1, dtype=torch.float16).item()
    assert torch.equal(torch.add(x, y, alpha=0.1), (x.float() + alpha * y.float()).half())
    assert torch.equal(torch.sub(x, y, alpha=0.1), (x.float() - alpha * y.float()).half())
    few, product = x[:5].clone(), (alpha * y[:5].float()).half().float()
    assert torch.equal(few.add_(y[:5], alpha=0.1), (x[:5].float() + product).half())
    assert torch.equal(torch.sub(x[:5], y[:5], alpha=0.1), (x[:5].float() - product).half())


# ---- functions in double precision


def spread(low, high, n=1000):
    """n numbers from low to high, none of them round."""
    return [low + (high - low) * ((k * 0.6180339887498949) % 1) for k in range(n)]


FUNCTIONS = {
    "exp": (math.exp, -708, 709),
    "exp2": (lambda x: 2.0**x, -1020, 1020),
    "expm1": (math.expm1, -3, 3),
    "log": (math.log, 1e-3, 9),
    "log2": (math.log2, 1e-3, 9),
    "log10": (math.log10, 1e-3, 9),
    "log1p": (math.log1p, -0.99, 3),
    "sin": (math.sin, -9e5, 9e5),
    "cos": (math.cos, -20, 20),
    "tan": (math.tan, -20, 20),
    "asin": (math.asin, -1, 1),
    "acos": (math.acos, -1, 1),
    "atan": (math.atan, -9, 9),
    "sinh": (math.sinh, -30, 30),
    "cosh": (math.cosh, -30, 30),
    "tanh": (math.tanh, -5, 5),
    "atanh": (math.atanh, -0.999, 0.999),
    "erf": (math.erf, -6, 6),
    "erfc": (math.erfc, -5, 25),
    "sigmoid": (lambda x: 1 / (1 + math.exp(-x)), -40, 40),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_many_doubles_are_exact_to_some_units_in_the_last_place(name):
    exact, low, high = FUNCTIONS[name]
    for x in (spread(low, high), spread(max(low, -1e-3), 1e-3) if low < 0 else spread(0.99, 1.01)):
        for value, got in zip(x, getattr(torch, name)(torch.tensor(x, dtype=torch.float64)).tolist()):
            want = exact(value)
            assert abs(got - want) <= 4 * math.ulp(want), (value, got, want)


@pytest.mark.parametrize("name", ["tan", "asin", "acos", "atan", "sinh", "cosh", "atanh", "erfc"])
def test_float32_of_functions_that_are_seldom_met_is_rounded_once(name):
    exact, low, high = FUNCTIONS[name]
    x = torch.tensor(spread(low, min(high, 9)))
    assert torch.equal(getattr(torch, name)(x), torch.tensor([exact(v) for v in x.tolist()]))
    pairs = torch.stack([x, x], 1)  # one by one
    assert torch.equal(getattr(torch, name)(pairs[:, 1]), getattr(torch, name)(x))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_a_function_cannot_reach_by_vectors_is_as_it_is_alone(name):
    special = [nan, inf, -inf, 0.0, -0.0, 5e-324, 1e308, -1e308, 800.0, -750.0, 1.0, -1.0]
    for value in special:
        among = torch.full((100,), 0.25, dtype=torch.float64)
        among[70] = value
        alone = getattr(torch, name)(torch.tensor([value], dtype=torch.float64)).item()
        got = getattr(torch, name)(among)[70].item()
        assert close(got, alone, 1e-15) and math.copysign(1, got) == math.copysign(1, alone) or alone != alone


def test_erfinv_is_what_erf_takes_back():
    x = torch.tensor(spread(-0.999, 0.999), dtype=torch.float64)
    assert (torch.erf(torch.erfinv(x)) - x).abs().max() < 3e-16


def test_angles_of_all_quarters():
    x, y = spread(-3, 3), spread(-5, 2)[::-1]
    got = torch.atan2(torch.tensor(y, dtype=torch.float64), torch.tensor(x, dtype=torch.float64)).tolist()
    assert all(abs(a - math.atan2(v, u)) <= 2 * math.ulp(a) for a, u, v in zip(got, x, y))


def test_the_slope_of_digamma_ends_at_zero():
    x = torch.tensor([math.inf, 1.0, -1.5], dtype=torch.float64, requires_grad=True)
    x.digamma().sum().backward()
    assert x.grad.tolist() == pytest.approx([0, math.pi**2 / 6, 9.3792466], rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_limits_and_exponents_of_halves(dtype):
    x = torch.tensor([0.3, -0.3, 1.0], dtype=dtype)  # the limit is rounded as they were
    assert torch.equal(torch.nn.functional.hardshrink(x, 0.3), torch.tensor([0, 0, 1], dtype=dtype))
    scaled = torch.ldexp(torch.tensor([1.5, 2**-10], dtype=dtype), torch.tensor([2, 20]))
    assert torch.equal(scaled, torch.tensor([6, 1024], dtype=dtype))


def test_a_zero_at_a_bound_of_zero_keeps_its_sign():
    for dtype in (torch.float32, torch.float64, torch.float16):
        x = torch.tensor([-0.0, 0.0, math.nan] * 6, dtype=dtype)
        for y in (x.clamp(min=0), x.clamp(max=-0.0), x.clamp_min(0.0), x.clamp(-0.0, 0), x.clone().clamp_(min=0)):
            assert list(map(str, y.tolist())) == ["-0.0", "0.0", "nan"] * 6
        assert x.clamp(min=math.nan).isnan().all() and x.clamp(max=math.nan).isnan().all()
