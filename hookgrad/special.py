"""Special functions. Source: https://docs.pytorch.org/docs/stable/special.html"""

import math

from . import _C
from ._gamma import gammainc, gammaincc, zeta  # noqa: F401 (names of this module)
from ._given import of_tensors
from ._out import take_out, title
from .nn._whole import in_place, one_node

globals().update({name: value for name, value in vars(_C.special).items() if not name.startswith("_")})

psi, log_softmax, softmax, round = (
    _C._op_again(op, name, "hookgrad.special")
    for op, name in ((_C.digamma, "psi"), (_C.log_softmax, "log_softmax"), (_C.softmax, "softmax"), (_C.round, "round"))
)


# ---- The normal distribution -----------------------------------------------------------------------------------------------


def ndtr(input):
    """The probability that a standard normal number is less."""
    return _C._mul(_C._add(_C.erf(_C._mul(input, math.sqrt(0.5))), 1), 0.5)


@one_node(
    "SpecialNdtriBackward0",
    0,
    results="result",
    derivative=lambda grad, x, result: _C._mul(grad, math.sqrt(2 * math.pi)) * _C._div(result.pow(2), 2).exp(),
)
def ndtri(input):
    """The value that a standard normal number exceeds with probability 1 - input."""
    return math.sqrt(2) * _C.erfinv(2 * input - 1)


@one_node(
    "SpecialLogNdtrBackward0",
    0,
    saved="self",
    results="result",
    derivative=lambda grad, x, result: (
        _C._div(grad, math.sqrt(2 * math.pi)) * (result + _C._div(x.pow(2), 2)).neg().exp()
    ),
)
def log_ndtr(input):
    """log(ndtr(input)), computed in float64."""
    x = input.double() * math.sqrt(0.5)
    low = (0.5 * erfcx(-x)).log() - x * x
    return _C.where(x < -0.5, low, (-0.5 * _C.erfc(x)).log1p()).to(input.dtype)


@one_node(
    "SpecialErfcxBackward0",
    0,
    saved="self",
    results="result",
    derivative=lambda grad, x, result: _C._sub(_C._mul(x, 2) * result, 2 / math.sqrt(math.pi)) * grad,
)
def erfcx(input):
    """exp(x^2) erfc(x), which stays within range where erfc does not: computed in float64.

    >>> import hookgrad as torch
    >>> torch.special.erfcx(torch.tensor([0.0, 30.0]))
    tensor([1.0000, 0.0188])
    """
    floating = input if input.is_floating_point() else input.to(_C.get_default_dtype())
    x = floating.double()
    is_near = x < 5  # each branch sees only what it can compute: a gradient of zero times infinity is no number
    near, far = _C.where(is_near, x, 5.0), _C.where(is_near, 5.0, x)
    fraction = far
    for k in range(40, 0, -1):  # Laplace's continued fraction
        fraction = far + 0.5 * k / fraction
    tail = _C.erfc(_C.where(near < -10, -10.0, near))  # 2 from there on
    value = _C.where(is_near, near.square().exp() * tail, 1 / (math.sqrt(math.pi) * fraction))
    return value.to(floating.dtype)


# ---- Entropies and products of logarithms -------------------------------------------------------------------------------------


@one_node("SpecialEntrBackward0", 0, saved="self", derivative=lambda grad, x: grad * -_C._add(x.log(), 1))
def entr(input):
    """-x log x: 0 at 0, and minus infinity below."""
    return _C.where(input < 0, -math.inf, -_C.xlogy(input, input))


def _of_xlog1py(grad, x, y):
    by_y = grad * x / _C._add(y, 1)
    return _xlog1py(grad, y).masked_fill((x == 0) & (y <= -1), 0.0), by_y


@one_node("SpecialXlog1PyBackward0", 0, 1, saved="self other", derivative=_of_xlog1py)
def _xlog1py(input, other):
    product = input * other.log1p()
    return _C.where((input == 0) & ~other.isnan(), _C.zeros_like(product), product)


def xlog1py(input, other):
    """input * log1p(other), and 0 where input is 0."""
    as_tensor = _C.as_tensor
    return _xlog1py(as_tensor(input), as_tensor(other))


def _of_multigammaln(grad, x, p):
    return grad * (_C.arange(0.5 * (1 - p), 0.5, 0.5, dtype=x.dtype) + x.unsqueeze(-1)).digamma().sum(-1)


@one_node("MvlgammaBackward0", 0, saved="self p", derivative=_of_multigammaln)
def multigammaln(input, p):
    """The logarithm of the multivariate gamma function of dimension p."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    steps = _C.arange(p, dtype=input.dtype) / 2
    return (input.unsqueeze(-1) - steps).lgamma().sum(-1) + p * (p - 1) / 4 * math.log(math.pi)


mvlgamma = multigammaln
mvlgamma_ = in_place(mvlgamma)


@in_place
@one_node("PolygammaBackward1", 0, saved="self n", derivative=lambda grad, x, n: grad * _C.special.polygamma(n + 1, x))
def polygamma_(input, n):
    """The n-th derivative of digamma, written into its argument."""
    return _C.special.polygamma(n, input)


# ---- Modified Bessel functions: integrals over half a circle, whose sums converge faster than any power ------------------------


def _bessel_far(x, away, wave):
    """Far from 0, by the asymptotic series."""
    total = term = _C.ones_like(away)
    for k in range(1, 7):
        term = term * ((2 * k - 1) ** 2 - 4 * wave) / (8 * k * away)
        total = total + term
    total = total / (2 * math.pi * away).sqrt()
    return total * x.sgn() if wave else total


def _bessel(input, wave, scaled):
    x = (input if input.is_floating_point() else input.to(_C.get_default_dtype())).double()
    angle = (_C.arange(400, dtype=_C.float64) + 0.5) * (math.pi / 400)
    away = x.abs()
    value = (x.unsqueeze(-1) * angle.cos() - away.unsqueeze(-1)).exp() * (wave * angle).cos()
    value = _C.where(away > 300, _bessel_far(x, away, wave), value.mean(-1))
    value = _C.where(x == 0, x / 2 if wave else 1.0, value)  # exactly that
    if not scaled:
        value = value * away.exp()
    value = value.to(input.dtype if input.is_floating_point() else _C.get_default_dtype())
    return (
        value
        if value.is_contiguous() and input.is_contiguous()
        else _C.zeros_like(input, dtype=value.dtype).copy_(value)
    )


def _apart_from_0(x, function):
    """The function of x; of what may be divided by where x is 0, and a half in its place."""
    is_apart = x != 0
    return _C.where(is_apart, function(_C.where(is_apart, x, 1.0)), 0.5)


@one_node("I0Backward0", 0, saved="self", derivative=lambda grad, x: grad * i1(x))
def i0(input):
    """The modified Bessel function of order 0."""
    return _bessel(input, 0, False)


i0_ = in_place(i0)


@one_node(
    "SpecialI0EBackward0",
    0,
    saved="self",
    results="result",
    derivative=lambda grad, x, result: grad * (i1e(x) - x.sgn() * result),
)
def i0e(input):
    """i0(x) exp(-abs(x))"""
    return _bessel(input, 0, True)


@one_node(
    "SpecialI1Backward0",
    0,
    saved="self",
    results="result",
    derivative=lambda grad, x, result: grad * _apart_from_0(x, lambda x: i0(x) - result * x.reciprocal()),
)
def i1(input):
    """The modified Bessel function of order 1."""
    return _bessel(input, 1, False)


@one_node(
    "SpecialI1EBackward0",
    0,
    saved="self",
    results="result",
    derivative=lambda grad, x, result: grad * _apart_from_0(x, lambda x: i0e(x) - result * (x.sgn() + x.reciprocal())),
)
def i1e(input):
    """i1(x) exp(-abs(x))"""
    return _bessel(input, 1, True)


of_tensors(globals(), "entr erfcx i0e i1 i1e log_ndtr multigammaln ndtr ndtri", "special_")
of_tensors(globals(), "i0 mvlgamma")
take_out(globals(), "entr erfcx i0 i0e i1 i1e log_ndtr multigammaln mvlgamma ndtr ndtri xlog1py zeta")
title(globals(), "special_", "entr erfcx i0e i1 i1e log_ndtr multigammaln ndtr ndtri xlog1py zeta")
mvlgamma.__name__ = "mvlgamma"
