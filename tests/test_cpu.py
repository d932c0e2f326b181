"""Every kernel for AVX-512, AVX2 and any processor: they agree with each other, and with the C library's functions."""

import math
import os
import pickle
import subprocess
import sys

import pytest

import hookgrad as torch
from hookgrad.backends import cpu

#: Runs every case and writes the results down, as bytes of float64.
PROGRAM = """
import pickle, sys
import hookgrad as torch
from test_cpu import CASES, as_bytes
sys.stdout.buffer.write(pickle.dumps((torch.backends.cpu.get_cpu_capability(), {k: as_bytes(f()) for k, f in CASES.items()})))
"""

EDGES = [
    0.0,
    -0.0,
    math.inf,
    -math.inf,
    math.nan,
    1e-40,
    -1e-40,
    1e-38,
    88.0,
    89.0,
    -87.0,
    -88.0,
    -104.0,
    1e30,
    -1e30,
    5e-7,
]
LENGTHS = (1, 7, 16, 63, 64, 65, 300, 1000)
F = torch.nn.functional

MATH = {
    "exp": math.exp,
    "expm1": math.expm1,
    "log": math.log,
    "tanh": math.tanh,
    "erf": math.erf,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x > -700 else 0.0,
    "gelu": lambda x: 0.5 * x * math.erfc(-x / math.sqrt(2)),
    "silu": lambda x: x / (1 + math.exp(-x)) if x > -700 else 0.0,
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "logsigmoid": lambda x: min(x, 0.0) - math.log1p(math.exp(-abs(x))),
    "mish": lambda x: x * math.tanh(max(x, 0.0) + math.log1p(math.exp(-abs(x)))),
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "sqrt": math.sqrt,
    "sin": math.sin,
    "cos": math.cos,
    "exp2": lambda x: 2.0**x,
    "log2": math.log2,
    "log10": math.log10,
    "log1p": math.log1p,
}
POSITIVE = ("log", "sqrt", "log2", "log10", "log1p")


def numbers(n, seed=0, scale=3.0):
    torch.manual_seed(seed)
    return torch.randn(n) * scale


def function(name):
    return getattr(torch, name, None) or getattr(F, name)


def as_bytes(value):
    if isinstance(value, (tuple, list)):
        return [as_bytes(v) for v in value]
    return value.double().flatten().tolist()


def gradients(f, *inputs):
    """f's results and the gradients of their weighted sum."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    out = f(*inputs)
    (out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
    return [out.detach(), *(x.grad for x in inputs)]


CASES = {}
for _name in (*MATH, "relu", "rsqrt", "reciprocal", "floor", "round", "trunc", "neg", "abs", "sign", "frac", "hardswish",
              "hardsigmoid", "softshrink", "leaky_relu", "isnan", "isinf"):  # fmt: skip
    _f = function(_name)
    CASES[_name] = lambda f=_f: [f(numbers(n)) for n in LENGTHS] + [f(torch.tensor(EDGES))]
    CASES[_name + " of positive numbers"] = lambda f=_f: [f(numbers(n).abs() + 1e-3) for n in LENGTHS]
    CASES[_name + " strided"] = lambda f=_f: f(numbers(600)[::2].view(20, 15).t())
for _name in ("add", "sub", "mul", "div", "maximum", "minimum", "fmax", "fmin", "eq", "lt", "ge"):
    _f = getattr(torch, _name)
    CASES[_name] = lambda f=_f: [f(numbers(n), numbers(n, 1)) for n in LENGTHS] + [
        f(torch.tensor(EDGES)[:, None], torch.tensor(EDGES)), f(numbers(40).view(8, 5), numbers(5, 1)),
        f(numbers(40).view(8, 5), numbers(8, 1).view(8, 1)), f(numbers(40).double(), torch.tensor(2.5)), f(numbers(77), torch.tensor(1.25))]  # fmt: skip
for _name in ("exp", "tanh", "sigmoid", "gelu", "silu", "softplus", "elu", "mish", "leaky_relu", "hardswish"):
    _f = function(_name)
    CASES["gradient of " + _name] = lambda f=_f: gradients(f, numbers(300))
CASES["gradient of gelu by tanh"] = lambda: gradients(lambda x: F.gelu(x, approximate="tanh"), numbers(300))
for _name in ("sum", "prod", "amax", "amin", "mean", "var", "norm", "softmax", "log_softmax", "logsumexp", "cumsum"):
    _f = getattr(torch, _name)
    for _dim in range(3):
        CASES[f"{_name} over {_dim}"] = lambda f=_f, d=_dim: [
            f(numbers(3 * 70 * 40, scale=1.0).view(3, 70, 40), dim=d), f(numbers(30 * 130).view(2, 195, 10), dim=d)]  # fmt: skip
for _name in ("sum", "nansum", "prod", "max", "min", "norm", "mean", "std"):
    _f = getattr(torch, _name)
    CASES[_name] = lambda f=_f: [f(numbers(n, scale=1.0)) for n in (2, 33, 500, 70_000, 200_000)]
for _name in ("max", "min", "sort"):
    _f = getattr(torch, _name)
    CASES[f"{_name} along rows"] = lambda f=_f: [
        part for n, m in ((300, 300), (5, 40), (11, 77)) for part in f(numbers(n * m).view(n, m).floor(), dim=1)]  # fmt: skip
CASES["gradient of a square"] = lambda: gradients(lambda x: x**2, numbers(300))
CASES["matmul"] = lambda: (
    [numbers(m * 40).view(m, 40) @ numbers(40 * n, 1).view(40, n) for m in (1, 5, 31) for n in (1, 9, 50)]
    + [torch.bmm(numbers(90).view(5, 3, 6), numbers(60, 1).view(5, 2, 6).transpose(1, 2))]
)
CASES["gradient of linear"] = lambda: gradients(
    F.linear, numbers(33 * 20).view(33, 20), numbers(17 * 20, 1).view(17, 20), numbers(17, 2)
)
for _size, _channels, _kernel, _stride in ((9, 4, 3, 1), (11, 3, 5, 2), (8, 32, 3, 1), (28, 1, 5, 1), (15, 6, 3, 1)):
    CASES[f"gradient of conv2d, {_channels} channels, {_kernel}x{_kernel} by {_stride}"] = (
        lambda s=_size, c=_channels, k=_kernel, by=_stride: gradients(
            lambda x, w: F.conv2d(x, w, None, by, 1),
            numbers(7 * c * s * s, scale=0.1).view(7, c, s, s), numbers(c * c * k * k, 1).view(c, c, k, k))
    )  # fmt: skip
for _size, _kernel, _stride in ((29, 7, 1), (28, 5, 2), (21, 3, 1)):
    CASES[f"gradient of depthwise conv2d, {_kernel}x{_kernel} by {_stride}"] = (
        lambda s=_size, k=_kernel, by=_stride: gradients(
            lambda x, w: F.conv2d(x, w, None, by, k // 2, groups=3),
            numbers(6 * s * s, scale=0.1).view(2, 3, s, s), numbers(3 * k * k, 1).view(3, 1, k, k))
    )  # fmt: skip
CASES["rounding to half precision"] = lambda: [
    (numbers(n).double() * 10.0**e).to(one).to(other)
    for n in LENGTHS for e in (-8, -4, 0, 3) for one in (torch.float64, torch.bfloat16, torch.float16)
    for other in (torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.bool)]  # fmt: skip
CASES["gradient of max_pool2d"] = lambda: gradients(
    lambda x: F.max_pool2d(x, 3, 2, 1), numbers(2 * 3 * 19 * 40).view(2, 3, 19, 40)
)
CASES["gradient of max_pool2d, whole rows"] = lambda: gradients(
    lambda x: F.max_pool2d(x, 2), numbers(2 * 3 * 10 * 64).view(2, 3, 10, 64)
)
CASES["gradient of avg_pool2d"] = lambda: gradients(
    lambda x: F.avg_pool2d(x, 2), numbers(2 * 3 * 11 * 41).view(2, 3, 11, 41)
)
CASES["gradient of attention"] = lambda: gradients(
    F.scaled_dot_product_attention, *(numbers(2 * 3 * 20 * 8, i, 1.0).view(2, 3, 20, 8) for i in range(3))
)
CASES["gradient of softmax"] = lambda: gradients(lambda x: x.softmax(1), numbers(20 * 70).view(20, 70))
CASES["gradient of softmax, side by side"] = lambda: gradients(lambda x: x.softmax(0), numbers(20 * 70).view(20, 70))
for _name in ("softmax", "log_softmax"):
    _f = function(_name)
    for _dim, _shape in ((1, (19, 9)), (1, (5, 16)), (0, (9, 21))):
        CASES[f"gradient of {_name}, few over {_dim} of {_shape}"] = lambda f=_f, d=_dim, s=_shape: gradients(
            lambda x: f(x, d), numbers(math.prod(s)).view(s))  # fmt: skip
CASES["gradient of log_softmax"] = lambda: gradients(lambda x: x.log_softmax(1), numbers(20 * 70).view(20, 70))
CASES["layer norm"] = lambda: gradients(
    lambda x, w, b: F.layer_norm(x, (90,), w, b), numbers(40 * 90).view(40, 90), numbers(90, 1), numbers(90, 2)
)
CASES["batch norm"] = lambda: gradients(
    lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
    numbers(2100).view(3, 7, 10, 10),
    numbers(7, 1),
    numbers(7, 2),
)
for _n, _channels in ((6, 150), (40, 11), (300, 64)):
    CASES[f"batch norm of {_n} rows of {_channels}"] = lambda n=_n, c=_channels: gradients(
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        numbers(n * c).view(n, c), numbers(c, 1), numbers(c, 2),
    )  # fmt: skip
CASES["batch norm of rows by what is known"] = lambda: gradients(
    lambda x: F.batch_norm(x, torch.ones(70), torch.full((70,), 4.0)), numbers(840).view(12, 70)
)
for _name in ("mse_loss", "smooth_l1_loss", "huber_loss", "l1_loss"):
    _f = getattr(F, _name)
    for _reduction in ("none", "mean", "sum"):
        CASES[f"{_name}, {_reduction}"] = lambda f=_f, r=_reduction: [
            gradients(lambda x, y: f(x, y, reduction=r).view(-1), numbers(n), numbers(n, 1)) for n in LENGTHS]  # fmt: skip
CASES["lerp"] = lambda: [torch.lerp(numbers(n), numbers(n, 1), w) for n in LENGTHS for w in (0.25, 0.75, numbers(n, 2))]
CASES["prelu"] = lambda: [F.prelu(numbers(n * c).view(n, c), numbers(c, 1)) for n in LENGTHS for c in (1, 8, 80)]
CASES["sums of short rows"] = lambda: [numbers(5 * n).view(5, n).sum(1) for n in (*LENGTHS, 31, 32, 47)]
CASES["narrow columns"] = lambda: [
    fold(numbers(99 * n).view(99, n), 0) for n in (2, 7, 15) for fold in (torch.sum, torch.amax, torch.amin)
]
CASES["clamp"] = lambda: [torch.clamp(x, -1.5, 0.5) for x in (torch.tensor(EDGES), *map(numbers, LENGTHS))]
CASES["scalar products"] = lambda: [numbers(9 * n).view(9, n) @ numbers(n, 1) for n in (*LENGTHS, 79, 80, 129)]
CASES["nan_to_num"] = lambda: [torch.tensor(EDGES).repeat(n).nan_to_num() for n in (1, 20)]
CASES["group norm"] = lambda: gradients(
    lambda x, w, b: F.group_norm(x, 2, w, b), numbers(2400).view(3, 8, 10, 10), numbers(8, 1), numbers(8, 2)
)


def run_as(name: str) -> tuple:
    """What the machine says it is, and the results of every case."""
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), os.path.dirname(__file__))))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, env={**os.environ, "HOOKGRAD_CPU": name, "PYTHONPATH": path}
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


@pytest.fixture(scope="module")
def results():
    return {name: run_as(name) for name in ("baseline", "avx2", "avx512")}


def flat(value):
    return [x for v in value for x in (flat(v) if isinstance(v, list) else [v])]


def test_the_environment_asks_for_less_than_the_machine_has(results):
    have = ["DEFAULT", "AVX2", "AVX512"]
    assert results["baseline"][0] == "DEFAULT"
    assert [have.index(results[name][0]) for name in results] == sorted(
        have.index(results[name][0]) for name in results
    )
    assert have.index(cpu.get_cpu_capability()) <= have.index(results["avx512"][0])


@pytest.mark.parametrize("case", CASES)
def test_instruction_sets_agree(case, results):
    """To about four units in the last place of a float32: of the number, or, where terms cancel, of the largest."""
    wanted = flat(results["baseline"][1][case])
    largest = max([abs(x) for x in wanted if math.isfinite(x)], default=1)
    cancels = case.split()[0] not in MATH or case.split()[0] in ("gelu", "logsigmoid", "mish")
    for name in ("avx2", "avx512"):
        got = flat(results[name][1][case])
        assert len(got) == len(wanted)
        for a, b in zip(got, wanted):
            same = a == b or (a != a and b != b)
            assert same or abs(a - b) <= 5e-7 * abs(b) + (5e-7 * largest if cancels else 1e-37), (name, a, b)


@pytest.mark.parametrize("name", MATH)
def test_functions_are_those_of_the_c_library(name):
    x = torch.cat([torch.linspace(-20, 20, 40_001), torch.linspace(-1, 1, 2001), torch.linspace(-86, 86, 1001)])
    if name in POSITIVE:
        x = x.abs() + 1e-3
    absolute = 2e-7 if name in ("gelu", "mish", "silu") else 1e-37
    for a, b in zip(x.tolist(), function(name)(x).tolist()):
        wanted = MATH[name](a)
        assert abs(b - wanted) <= 5e-7 * abs(wanted) + absolute, (a, b, wanted)


def test_edges_of_functions_are_those_of_the_c_library():
    inf, nan = math.inf, math.nan
    edges = torch.tensor([inf, -inf, nan, 0.0, -0.0])
    wanted = {
        "exp": [inf, 0, nan, 1, 1],
        "log": [inf, nan, nan, -inf, -inf],
        "tanh": [1, -1, nan, 0, 0],
        "erf": [1, -1, nan, 0, 0],
        "sigmoid": [1, 0, nan, 0.5, 0.5],
        "expm1": [inf, -1, nan, 0, 0],
        "gelu": [inf, nan, nan, 0, 0],
        "softplus": [inf, 0, nan, math.log(2), math.log(2)],
        "relu": [inf, 0, nan, 0, 0],
    }
    for n in (1, 20):  # alone, and in a whole block
        for name, values in wanted.items():
            got = function(name)(edges.repeat(n)).tolist()
            for a, b in zip(got, values * n):
                assert (a != a and b != b) or a == pytest.approx(b), (name, got)
    for name in ("tanh", "erf", "expm1", "sin", "log1p"):
        for n in (1, 100):
            assert math.copysign(1, function(name)(torch.full((n,), -0.0))[0].item()) == -1
    small = torch.tensor([-90.0, -100.0, -103.0])
    assert all(x > 0 for x in small.exp().tolist()) and torch.tensor([-104.0]).exp().item() == 0
    assert torch.tensor([1e-40]).log().item() == pytest.approx(math.log(1e-40))


def test_sines_of_large_numbers_and_near_their_zeros():
    x = torch.cat([torch.arange(1, 2000) * math.pi, torch.linspace(-8192, 8192, 5001), torch.linspace(1e4, 1e6, 301)])
    for name, f in (("sin", math.sin), ("cos", math.cos)):
        for a, b in zip(x.tolist(), function(name)(x).tolist()):
            assert abs(b - f(a)) <= 5e-7 * abs(f(a)), (name, a)
    assert torch.tensor([math.inf] * 100).sin().isnan().all() and torch.tensor([math.nan] * 100).cos().isnan().all()


@pytest.mark.parametrize("name", ("baseline", "avx2", "avx512"))
def test_a_constant_is_its_own_mean(name):
    program = """if True:
        import hookgrad as torch
        for shape in ((2, 4, 8), (2, 4, 5, 5)):
            x = torch.full(shape, 3.7, requires_grad=True)
            y = torch.nn.functional.batch_norm(x, None, None, training=True)
            assert (y.grad_fn._saved_result1 == x[0, 0].flatten()[0]).all(), shape
            assert torch.nn.functional.group_norm(x, 2).abs().max() == 0, shape
            assert torch.nn.functional.layer_norm(x, shape[1:]).abs().max() == 0, shape"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "HOOKGRAD_CPU": name})


#: Functions of two whole numbers, and what Python says of them.
WHOLE = {
    torch.add: lambda x, y: x + y,
    torch.sub: lambda x, y: x - y,
    torch.mul: lambda x, y: x * y,
    torch.maximum: max,
    torch.minimum: min,
    torch.bitwise_and: lambda x, y: x & y,
    torch.bitwise_or: lambda x, y: x | y,
    torch.bitwise_xor: lambda x, y: x ^ y,
    torch.eq: lambda x, y: x == y,
    torch.lt: lambda x, y: x < y,
    torch.ge: lambda x, y: x >= y,
    torch.logical_and: lambda x, y: bool(x and y),
    torch.logical_or: lambda x, y: bool(x or y),
}


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("dtype", (torch.int64, torch.int32, torch.int16, torch.uint8), ids=str)
def test_whole_numbers_are_pythons(dtype, n):
    """Of a block, of what is left of one, of steps, and with one number for all."""
    torch.manual_seed(0)
    x, y = torch.randint(8, 15, (n,), dtype=dtype), torch.randint(0, 9, (n,), dtype=dtype)
    for f, wanted in WHOLE.items():
        pairs = {(x, y): (x, y), (x, y[0]): (x, y[:1].expand(n)), (x[0], y): (x[:1].expand(n), y),
                 (x[::2], y[::2]): (x[::2], y[::2])}  # fmt: skip
        for (a, b), (one, other) in pairs.items():
            assert f(a, b).tolist() == [wanted(p, q) for p, q in zip(one.tolist(), other.tolist())], f
    assert x.clamp(9, 12).tolist() == [min(max(v, 9), 12) for v in x.tolist()]
    if dtype.is_signed:
        assert (-x).tolist() == [-v for v in x.tolist()] and (8 - x).abs().tolist() == [v - 8 for v in x.tolist()]


@pytest.mark.parametrize("n", LENGTHS)
def test_masks_are_pythons(n):
    torch.manual_seed(0)
    a, b = torch.rand(n) > 0.5, torch.rand(n) > 0.5
    x, y = a.tolist(), b.tolist()
    assert (a & b).tolist() == [p and q for p, q in zip(x, y)] and (a | b).tolist() == [p or q for p, q in zip(x, y)]
    assert (a ^ b).tolist() == (a != b).tolist() == [p != q for p, q in zip(x, y)]
    assert (~a).tolist() == [not p for p in x] and (a == b).tolist() == [p == q for p, q in zip(x, y)]
    for dtype in (torch.float32, torch.float64, torch.int64, torch.uint8):
        p, q = torch.arange(n).to(dtype), torch.arange(n, 2 * n).to(dtype)
        for one, other in ((p, q), (p, q[0]), (p[0], q), (p[0], q[0])):
            wide, narrow = one.expand(n).tolist(), other.expand(n).tolist()
            assert torch.where(a, one, other).tolist() == [v if m else w for m, v, w in zip(x, wide, narrow)]
        assert p.masked_fill(a, 3).tolist() == [3 if m else v for m, v in zip(x, p.tolist())]


@pytest.mark.parametrize("n", (1, 63, 300))
def test_conversions_keep_values(n):
    kinds = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32,
             torch.float64, torch.bool)  # fmt: skip
    values = [i % 100 for i in range(n)]
    for one in kinds:
        x = torch.tensor(values, dtype=one)
        for other in kinds:
            wanted = [bool(v) for v in values] if torch.bool in (one, other) else values
            assert x.to(other).tolist() == wanted and x[::2].to(other).tolist() == wanted[::2], (one, other)
