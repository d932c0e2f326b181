"""The incomplete gamma functions and Hurwitz's zeta function, and draws from distributions named after Gamma and Poisson.

All is computed in float64. Draws take their numbers from the generator as PyTorch's do, one element after the other.
"""

import math

from . import _C
from ._given import of_tensors
from ._levels import anywhere
from ._out import take_out
from .nn._whole import in_place, one_node, without_derivative
from .type_info import finfo, not_for

_MOST_TERMS = 3000


def _doubles(name, *numbers):
    """The tensors broadcast, in float64 and without history, and the dtype of a result; for the function of that name."""
    tensors = [_C.as_tensor(x) for x in numbers]
    if _C._has_duals():
        from .autograd.forward_ad import refuse

        refuse(name, *tensors)
    dtype = sum(t.detach() * 0 for t in tensors).dtype
    doubles = [t.detach().double() for t in _C.broadcast_tensors(*tensors)]
    return *doubles, dtype if dtype.is_floating_point else _C.get_default_dtype()


# ---- Incomplete gamma functions ------------------------------------------------------------------------------------


def _lower(a, x):
    """The regularised lower function P(a, x), and whether 1 - P is the more precise of the two, with its value."""
    inside = (x > 0) & (a > 0) & x.isfinite() & a.isfinite()
    a_, x_ = _C.where(inside, a, 1.0), _C.where(inside, x, 1.0)
    scale = (a_ * x_.log() - x_ - a_.lgamma()).exp()
    near = x_ < a_ + 1
    lower = scale * _series(a_, _C.where(near, x_, a_))
    upper = scale * _fraction(a_, _C.where(near, a_ + 2, x_))
    lower, upper = _C.where(near, lower, 1 - upper), _C.where(near, 1 - lower, upper)
    none = (a > 0) & (x == 0) | (a == math.inf) & (x >= 0) & x.isfinite()
    whole = (a == 0) & (x > 0) | (x == math.inf) & (a >= 0) & a.isfinite()
    outside = _C.where(none, 0.0, _C.where(whole, 1.0, math.nan))
    return _C.where(inside, lower, outside), _C.where(inside, upper, 1 - outside)


def _series(a, x):
    """The sum of x^k / (a (a + 1) ... (a + k)), for x below a + 1."""
    term = total = 1 / a
    for k in range(1, _MOST_TERMS):
        term = term * x / (a + k)
        total = total + term
        if not anywhere(~(term < total * 1e-17)):
            break
    return total


def _fraction(a, x):
    """Gamma(a, x) e^x x^-a, for x above a + 1: a continued fraction, by the method of Lentz."""
    b = x + 1 - a
    c, d = _C.full_like(x, 1e300), 1 / b
    total = d
    for k in range(1, _MOST_TERMS):
        b, factor = b + 2, k * (a - k)
        c = b + factor / c
        d = 1 / (b + factor * d)
        total = total * (c * d)
        if not anywhere(~((c * d - 1).abs() < 1e-15)):
            break
    return total


def _refuse(name, tensor):
    if isinstance(tensor, _C.Tensor) and tensor.requires_grad:
        raise NotImplementedError(f"the derivative for '{name}' is not implemented.")


def _by_x(sign):
    def derivative(grad, a, x):
        _refuse("igamma: input" if sign > 0 else "igammac: input", a)
        return None, sign * grad * (-x + _C.xlogy(a - 1, x) - a.lgamma()).exp()

    return derivative


@one_node("IgammaBackward0", 0, 1, saved="self other", derivative=_by_x(1))
def gammainc(input, other):
    """The regularised lower incomplete gamma function P(input, other); it is differentiated by `other` only.

    >>> import hookgrad as torch
    >>> torch.special.gammainc(torch.tensor(4.0), torch.tensor([3.0, 4.0]))
    tensor([0.3528, 0.5665])

    Source: https://docs.pytorch.org/docs/stable/special.html
    """
    a, x, dtype = _doubles("igamma", input, other)
    return _lower(a, x)[0].to(dtype)


@one_node("IgammacBackward0", 0, 1, saved="self other", derivative=_by_x(-1))
def gammaincc(input, other):
    """The regularised upper incomplete gamma function: 1 - gammainc(input, other)."""
    a, x, dtype = _doubles("igammac", input, other)
    return _lower(a, x)[1].to(dtype)


of_tensors(globals(), "gammainc gammaincc", "special_")
take_out(globals(), "gammainc gammaincc")
igamma, igammac = gammainc, gammaincc
igamma_, igammac_ = in_place(gammainc), in_place(gammaincc)


# ---- Hurwitz's zeta function ---------------------------------------------------------------------------------------

# The even Bernoulli numbers B(2k) / (2k)!
_BERNOULLI = [1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600]


def _zeta(x, q):
    """The sum of (q + k)^-x over k >= 0, by the formula of Euler and Maclaurin."""
    poor = (x < 1) | ((q <= 0) & (x != x.floor()))
    pole = (x == 1) | ((q <= 0) & (q == q.floor()))
    x_ = _C.where(poor | pole, 2.0, x)
    q_ = _C.where(poor | pole, 1.0, q)
    total = _C.zeros_like(x_)
    for k in range(10):
        total = total + (q_ + k).abs().pow(-x_) * _C.where((q_ + k < 0) & (x_ % 2 == 1), -1.0, 1.0)
    start = q_ + 9
    n_more = int((9 - start).clamp(min=-1).max().floor()) + 1 if q_.numel() else 0  # terms, where q is below 0
    for _ in range(n_more):
        step = start <= 9
        start = _C.where(step, start + 1, start)
        sign = _C.where((start < 0) & (x_ % 2 == 1), -1.0, 1.0)
        total = total + _C.where(step, start.abs().pow(-x_) * sign, 0.0)
    total = total + start.pow(1 - x_) / (x_ - 1) - 0.5 * start.pow(-x_)
    rising, power = x_, start.pow(-x_ - 1)
    for k, b in enumerate(_BERNOULLI):
        total = total + b * rising * power
        rising = rising * (x_ + 2 * k + 1) * (x_ + 2 * k + 2)
        power = power / (start * start)
    return _C.where(pole, math.inf, _C.where(poor | x.isnan() | q.isnan(), math.nan, total))


def zeta(input, other):
    """Hurwitz's zeta function: the sum of (other + k)^-input over k = 0, 1, ...; it is differentiated by `other` only.

    >>> import hookgrad as torch
    >>> torch.special.zeta(torch.tensor([2.0, 4.0]), 1)
    tensor([1.6449, 1.0823])

    Source: https://docs.pytorch.org/docs/stable/special.html
    """
    if isinstance(input, _C.Tensor) and isinstance(other, _C.Tensor):
        return _zeta_of_both(input, other)
    return _zeta_by_other(input, other) if isinstance(other, _C.Tensor) else _zeta_by_input(input, other)


def _computed(input, other):
    x, q, dtype = _doubles("special_zeta", input, other)
    return _zeta(x, q).to(dtype)


def _by_other(grad, x, q):
    _refuse("zeta", x)
    return grad * -x * zeta(x + 1, q)


_zeta_of_both = one_node(
    "SpecialZetaBackward0", 0, 1, saved="self other", derivative=lambda *a: (None, _by_other(*a)), reads="numbers"
)(_computed)
_zeta_by_other = one_node("SpecialZetaBackward1", 1, saved="self other", derivative=_by_other, reads="numbers")(
    _computed
)
_zeta_by_input = one_node("SpecialZetaBackward2", 0, derivative=lambda grad, x, q: _refuse("zeta", x), reads="numbers")(
    _computed
)


# ---- Draws ---------------------------------------------------------------------------------------------------------


class _Source:
    """Numbers in float64 from a generator, one by one."""

    def __init__(self, generator):
        self._generator, self._one = generator, _C.empty((), dtype=_C.float64)

    def even(self):
        return self._one.uniform_(generator=self._generator).item()

    def normal(self):
        return self._one.normal_(generator=self._generator).item()


def _drawn(draw, generator, *tensors):
    """The tensor of draw(source, *elements)."""
    source = _Source(generator)
    columns = [t.detach().double().flatten().tolist() for t in _C.broadcast_tensors(*tensors)]
    shape = _C.broadcast_tensors(*tensors)[0].shape
    return _C.tensor([draw(source, *each) for each in zip(*columns)], dtype=_C.float64).view(shape)


def _one_poisson(source, rate):
    if rate < 0:
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    if rate == 0:
        return 0
    if rate < 10:
        count, product, least = 0, source.even(), math.exp(-rate)
        while product > least:
            count, product = count + 1, product * source.even()
        return count
    # Hoermann's transformed rejection, PTRS.
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    while True:
        u, v = source.even() - 0.5, source.even()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + rate + 0.43) if us else -1
        if us >= 0.07 and v <= 0.9277 - 3.6224 / (b - 2):
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        ratio = v * (1.1239 + 1.1328 / (b - 3.4)) / (a / (us * us) + b)
        if ratio == 0 or math.log(ratio) <= k * math.log(rate) - rate - math.lgamma(k + 1):
            return k


def _zeros(grad, input, generator):
    return _C.zeros_like(input)


@one_node("PoissonBackward0", 0, saved="self_sym_sizes", derivative=_zeros, reads="random")
def poisson(input, generator=None):
    """Draws from Poisson distributions of the rates given.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.poisson.html
    """
    if not input.is_floating_point():
        raise not_for("poisson_cpu", input.dtype)
    return _drawn(_one_poisson, generator, input).to(input.dtype)


def _rest_of_stirling(k):
    return math.lgamma(k + 1) - ((k + 0.5) * math.log(k + 1) - (k + 1) + 0.5 * math.log(2 * math.pi))


def _one_binomial(source, count, p):
    if count <= 0 or p <= 0:
        return 0
    if p >= 1:
        return count
    if p > 0.5:
        return count - _one_binomial(source, count, 1 - p)
    if p != p or count != count:
        return math.nan
    if count * p < 10:  # by the distances between successes
        successes, trials, log_miss = -1, 0, math.log1p(-p)
        while trials <= count:
            u = source.even()
            successes, trials = successes + 1, trials + (math.ceil(math.log(u) / log_miss) if u else math.inf)
        return successes
    # Hoermann's transformed rejection, BTRS.
    deviation = math.sqrt(count * p * (1 - p))
    b = 1.15 + 2.53 * deviation
    a, centre = -0.0873 + 0.0248 * b + 0.01 * p, count * p + 0.5
    odds, mode = p / (1 - p), math.floor((count + 1) * p)
    while True:
        u, v = source.even() - 0.5, source.even()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + centre) if us else -1
        if k < 0 or k > count:
            continue
        if us >= 0.07 and v <= 0.92 - 4.2 / b:
            return k
        ratio = v * (2.83 + 5.1 / b) * deviation / (a / (us * us) + b)
        most = (
            (mode + 0.5) * math.log((mode + 1) / (odds * (count - mode + 1)))
            + (count + 1) * math.log((count - mode + 1) / (count - k + 1))
            + (k + 0.5) * math.log(odds * (count - k + 1) / (k + 1))
            + _rest_of_stirling(mode)
            + _rest_of_stirling(count - mode)
            - _rest_of_stirling(k)
            - _rest_of_stirling(count - k)
        )
        if ratio == 0 or math.log(ratio) <= most:
            return k


@without_derivative("binomial", 0, 1, reads="random")
def binomial(count, prob, generator=None):
    """Draws of how many of `count` trials succeed, each with probability `prob`. They have no history.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.binomial.html
    """
    return _drawn(_one_binomial, generator, count, prob).to(count.dtype)


def _one_gamma(source, alpha):
    """By the method of Marsaglia and Tsang."""
    scale = 1.0
    if alpha < 1:
        if alpha == 0:
            return 0.0
        scale, alpha = (1 - source.even()) ** (1 / alpha), alpha + 1
    d = alpha - 0.3333333432674408  # a third in float32, as PyTorch has it
    c = 1 / math.sqrt(9 * d)
    while True:
        x = source.normal()
        if 1 + c * x <= 0:
            continue
        v = (1 + c * x) ** 3
        u = 1 - source.even()
        if u < 1 - 0.0331 * x**4 or math.log(u) < 0.5 * x * x + d * (1 - v + math.log(v)):
            return scale * d * v


def _refuse_twice(grad, alpha, sample):
    _refuse("_standard_gamma_grad", alpha)


@one_node("StandardGammaGradBackward0", 0, saved="- -", derivative=_refuse_twice)
def _standard_gamma_grad(alpha, sample):
    """The derivative of a sample by alpha that keeps the value of the distribution function at it."""
    a, x, dtype = _doubles("_standard_gamma_grad", alpha, sample)
    h = 1e-3 * a  # the difference of order four
    up = _lower(a + h, x)[0] - _lower(a - h, x)[0]
    twice = _lower(a + 2 * h, x)[0] - _lower(a - 2 * h, x)[0]
    density = ((a - 1) * x.log() - x - a.lgamma()).exp()
    return (-(8 * up - twice) / (12 * h * density)).to(dtype)


def _by_alpha(grad, alpha, generator, sample):
    return grad * _standard_gamma_grad(alpha, sample)


@one_node("StandardGammaBackward0", 0, saved="self", results="result", derivative=_by_alpha, reads="random")
def _standard_gamma(input, generator=None):
    """Draws from gamma distributions of rate one, which can be differentiated by their shape `input`."""
    return _drawn(_one_gamma, generator, input).to(input.dtype).clamp(min=_least(input))


def _least(t):
    return finfo(t.dtype).tiny


def _sample_dirichlet(input, generator=None):
    """Draws from Dirichlet distributions along the last dimension. They have no history."""
    gammas = _drawn(_one_gamma, generator, input)
    return (gammas / gammas.sum(-1, keepdim=True)).to(input.dtype).clamp(min=_least(input))


of_tensors(globals(), "binomial:count igamma igammac poisson")
