"""Distributions of one real number.

Source: https://docs.pytorch.org/docs/stable/distributions.html
"""

import math

import hookgrad

from .. import _C
from ..autograd.grad_mode import no_grad
from ..nn.functional import binary_cross_entropy_with_logits
from . import constraints
from .distribution import Distribution
from .exp_family import ExponentialFamily
from .gamma import Gamma
from .trial import Trial
from .utils import _standard_normal, broadcast_all, clamp_probs, lazy_property

_where, _nan, _inf = _C.where, float("nan"), float("inf")


class Cauchy(Distribution):
    """Density 1 / (pi scale (1 + ((x - loc) / scale)^2)), without a mean.

    >>> import hookgrad as torch
    >>> Cauchy(torch.tensor(0.0), torch.tensor(1.0)).cdf(torch.tensor(1.0))
    tensor(0.7500)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc, scale, validate_args=None):
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.size(), validate_args=validate_args)

    mean = property(lambda self: hookgrad.full_like(self.loc, _nan))
    mode = property(lambda self: self.loc)
    variance = property(lambda self: hookgrad.full_like(self.loc, _inf))

    def rsample(self, sample_shape=()):
        eps = hookgrad.empty(self._extended_shape(sample_shape), dtype=self.loc.dtype).cauchy_()
        return self.loc + eps * self.scale

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return -math.log(math.pi) - self.scale.log() - (((value - self.loc) / self.scale) ** 2).log1p()

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return ((value - self.loc) / self.scale).atan() / math.pi + 0.5

    def icdf(self, value):
        return (math.pi * (value - 0.5)).tan() * self.scale + self.loc

    def entropy(self):
        return math.log(4 * math.pi) + self.scale.log()


class Chi2(Gamma):
    """The sum of the squares of `df` standard normal numbers."""

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df, validate_args=None):
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    df = property(lambda self: self.concentration * 2)


class StudentT(Distribution):
    """Student's t of `df` degrees of freedom, moved by `loc` and stretched by `scale`."""

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, df, loc=0.0, scale=1.0, validate_args=None):
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.size(), validate_args=validate_args)

    mean = property(lambda self: self.loc.masked_fill(self.df <= 1, _nan))
    mode = property(lambda self: self.loc)

    @property
    def variance(self):
        """The variance: infinite for up to two degrees of freedom, nan for up to one."""
        finite = _where(self.df > 2, self.df, 3.0)
        variance = _where(self.df > 2, self.scale.pow(2) * finite / (finite - 2), _inf)
        return variance.masked_fill(self.df <= 1, _nan)

    def rsample(self, sample_shape=()):
        x = _standard_normal(self._extended_shape(sample_shape), self.df.dtype)
        z = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * (x * (z / self.df).rsqrt())

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        y, half = (value - self.loc) / self.scale, 0.5 * (self.df + 1.0)
        norm = self.scale.log() + 0.5 * self.df.log() + 0.5 * math.log(math.pi)
        return -half * (y**2.0 / self.df).log1p() - (norm + (0.5 * self.df).lgamma() - half.lgamma())

    def entropy(self):
        low, high = 0.5 * self.df, 0.5 * (self.df + 1)
        log_beta = low.lgamma() + math.lgamma(0.5) - high.lgamma()
        return self.scale.log() + high * (high.digamma() - low.digamma()) + 0.5 * self.df.log() + log_beta


class FisherSnedecor(Distribution):
    """The ratio of two chi-squared numbers, each divided by its degrees of freedom."""

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1, df2, validate_args=None):
        self.df1, self.df2 = broadcast_all(df1, df2)
        self._gamma1, self._gamma2 = Gamma(self.df1 * 0.5, self.df1), Gamma(self.df2 * 0.5, self.df2)
        super().__init__(self.df1.size(), validate_args=validate_args)

    def _df2_above(self, least):
        return self.df2.masked_fill(self.df2 <= least, _nan)

    mean = property(lambda self: self._df2_above(2) / (self._df2_above(2) - 2))

    @property
    def mode(self):
        """The most probable value, where df1 > 2."""
        mode = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return mode.masked_fill(self.df1 <= 2, _nan)

    @property
    def variance(self):
        """The variance, where df2 > 4."""
        df2 = self._df2_above(4)
        return 2 * df2.pow(2) * (self.df1 + df2 - 2) / (self.df1 * (df2 - 2).pow(2) * (df2 - 4))

    def rsample(self, sample_shape=()):
        x1, x2 = self._gamma1.rsample(sample_shape), self._gamma2.rsample(sample_shape)
        tiny = hookgrad.finfo(x2.dtype).tiny
        return (x1 / x2.clamp(min=tiny)).clamp(min=tiny)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        a, b, ratio = self.df1 * 0.5, self.df2 * 0.5, self.df1 / self.df2
        norm = (a + b).lgamma() - a.lgamma() - b.lgamma()
        return norm + a * ratio.log() + (a - 1) * value.log() - (a + b) * (ratio * value).log1p()


class GeneralizedPareto(Distribution):
    """What exceeds a threshold `loc`: exponential where `concentration` is zero, with a heavier tail where it is more."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True

    def __init__(self, loc, scale, concentration, validate_args=None):
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.size(), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        """From loc on, up to a bound where the concentration is negative."""
        c = self.concentration
        return constraints.interval(self.loc, _where(c < 0, self.loc - self.scale / c, _inf))

    def _shape(self):
        """(Where the concentration is zero, the concentration with ones there.)"""
        zero = self.concentration.isclose(hookgrad.zeros_like(self.concentration))
        return zero, _where(zero, 1.0, self.concentration)

    mode = property(lambda self: self.loc)

    @property
    def mean(self):
        """The mean, where the concentration is below one."""
        c = self.concentration
        return _where(c < 1, self.loc + self.scale / (1 - _where(c < 1, c, 0.5)), _nan)

    @property
    def variance(self):
        """The variance, where the concentration is below one half."""
        valid = self.concentration < 0.5
        c = _where(valid, self.concentration, 0.25)
        return _where(valid, self.scale**2 / ((1 - c) ** 2 * (1 - 2 * c)), _nan)

    def rsample(self, sample_shape=()):
        return self.icdf(hookgrad.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        z, (zero, c) = (value - self.loc) / self.scale, self._shape()
        power = 1 / c + hookgrad.ones_like(z)
        other = _where(power == 0, power, power * (c * z).log1p())
        return -self.scale.log() - _where(zero, z, other)

    def log_survival_function(self, value):
        """The logarithm of the probability of more than value."""
        if self._validate_args:
            self._validate_sample(value)
        z, (zero, c) = (value - self.loc) / self.scale, self._shape()
        return _where(zero, -z, -(c * z).log1p() / c)

    def log_cdf(self, value):
        """The logarithm of the probability of no more than value."""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value):
        return self.log_cdf(value).exp()

    def icdf(self, value):
        log_left, (zero, c) = (-value).log1p(), self._shape()
        return _where(zero, self.loc - self.scale * log_left, self.loc + self.scale / c * (-c * log_left).expm1())

    def entropy(self):
        return self.scale.log() + self.concentration + 1


class ContinuousBernoulli(Trial, ExponentialFamily):
    """Density proportional to probs^x (1 - probs)^(1 - x) on [0, 1]. Between `lims` Taylor series stand for what cancels out."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, probs=None, logits=None, lims=(0.499, 0.501), validate_args=None):
        self._lims = lims
        self._set_odds(probs, logits)
        if probs is not None:
            if validate_args is not None and not constraints.unit_interval.check(self.probs).all():
                raise ValueError("The parameter probs has invalid values")
            self.probs = self._param = clamp_probs(self.probs)
        super().__init__(self._param.size(), validate_args=validate_args)

    @lazy_property
    def probs(self):
        """The parameter, which is not the mean."""
        return clamp_probs(self.logits.sigmoid())

    def _outside(self):
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut(self):
        return _where(self._outside(), self.probs, self._lims[0])

    def _cont_bern_log_norm(self):
        p, x = self._cut(), (self.probs - 0.5) ** 2
        below = p <= 0.5
        ends = _where(below, (-2.0 * _where(below, p, 0.0)).log1p(), (2.0 * _where(p >= 0.5, p, 1.0) - 1.0).log())
        log_norm = ((-p).log1p() - p.log()).abs().log() - ends
        return _where(self._outside(), log_norm, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self):
        """The mean."""
        p, x = self._cut(), self.probs - 0.5
        mean = p / (2.0 * p - 1.0) + 1.0 / ((-p).log1p() - p.log())
        return _where(self._outside(), mean, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x**2) * x)

    @property
    def variance(self):
        """The variance."""
        p, x = self._cut(), (self.probs - 0.5) ** 2
        variance = p * (p - 1.0) / (1.0 - 2.0 * p) ** 2 + 1.0 / ((-p).log1p() - p.log()) ** 2
        return _where(self._outside(), variance, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    def rsample(self, sample_shape=()):
        return self.icdf(hookgrad.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        likely = -binary_cross_entropy_with_logits(logits, value, reduction="none")
        return likely + self._cont_bern_log_norm()

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        p = self._cut()
        below = (p**value * (1.0 - p) ** (1.0 - value) + p - 1.0) / (2.0 * p - 1.0)
        return _where(value <= 0, 0.0, _where(value >= 1, 1.0, _where(self._outside(), below, value)))

    def icdf(self, value):
        p = self._cut()
        other = ((-p + value * (2.0 * p - 1.0)).log1p() - (-p).log1p()) / (p.log() - (-p).log1p())
        return _where(self._outside(), other, value)

    def entropy(self):
        log_0, log_1 = (-self.probs).log1p(), self.probs.log()
        return self.mean * (log_0 - log_1) - self._cont_bern_log_norm() - log_0


def _log_bessel(x, order):
    """The logarithm of the modified Bessel function of order 0 or 1: Abramowitz and Stegun's approximations, 9.8.1 to 9.8.4."""
    small, large = _BESSEL[order]
    y, inverse = (x / 3.75) ** 2, 3.75 / x
    near, far = hookgrad.zeros_like(x), hookgrad.zeros_like(x)
    for a in reversed(small):
        near = a + y * near
    for a in reversed(large):
        far = a + inverse * far
    near = (x.abs() * near if order else near).log()
    return _where(x < 3.75, near, x - 0.5 * x.log() + far.log())


_BESSEL = (
    (
        (1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813),
        (0.39894228, 0.01328592, 0.00225319, -0.00157565, 0.00916281, -0.02057706, 0.02635537, -0.01647633, 0.00392377),
    ),
    (
        (0.5, 0.87890594, 0.51498869, 0.15084934, 0.02658733, 0.00301532, 0.00032411),
        (
            *(0.39894228, -0.03988024, -0.00362018, 0.00163801, -0.01031555, 0.02282967),
            *(-0.02895312, 0.01787654, -0.00420059),
        ),
    ),
)


class VonMises(Distribution):
    """The normal distribution's like on the circle: density proportional to exp(concentration cos(x - loc))."""

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real

    def __init__(self, loc, concentration, validate_args=None):
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    mean = mode = property(lambda self: self.loc)

    @property
    def variance(self):
        """One less the length of the mean vector."""
        return 1 - (_log_bessel(self.concentration, 1) - _log_bessel(self.concentration, 0)).exp()

    def sample(self, sample_shape=()):
        with no_grad():
            loc, k = self.loc.double(), self.concentration.double()
            tau = 1 + (1 + 4 * k**2).sqrt()
            rho = (tau - (2 * tau).sqrt()) / (2 * k)
            r = _where(k < 1e-5, 1 / k + k, (1 + rho**2) / (2 * rho))
            x = hookgrad.zeros(self._extended_shape(sample_shape), dtype=loc.dtype)
            done = hookgrad.zeros(x.shape, dtype=hookgrad.bool)
            while not done.all():  # Best and Fisher's rejections
                u1, u2, u3 = hookgrad.rand((3, *x.shape), dtype=loc.dtype).unbind()
                z = (math.pi * u1).cos()
                f = (1 + r * z) / (r + z)
                c = k * (r - f)
                accept = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
                x = _where(accept, (u3 - 0.5).sign() * f.acos(), x)
                done = done | accept
            return ((x + math.pi + loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        near = self.concentration * (value - self.loc).cos()
        return near - math.log(2 * math.pi) - _log_bessel(self.concentration, 0)
