"""The Kullback-Leibler divergence of two distributions.

Source: https://docs.pytorch.org/docs/stable/distributions.html#module-torch.distributions.kl
"""

import math
import warnings

import hookgrad

from ._composed import Independent, TransformedDistribution
from ._counts import Bernoulli, Binomial, Categorical, ContinuousBernoulli, Geometric, OneHotCategorical, Poisson
from ._numbers import Beta, Cauchy, Dirichlet, Exponential, Gamma, Laplace, Normal, Uniform
from ._transformed import Gumbel, HalfNormal, Pareto
from ._vectors import LowRankMultivariateNormal, MultivariateNormal
from .distribution import ExponentialFamily
from .utils import _sum_rightmost, euler_constant

_registry = {}  # (class of p, class of q) -> function


def register_kl(type_p, type_q):
    """A decorator: the function gives the divergence of these two classes, and of classes made of them.

    >>> class Mine(Normal): pass
    >>> @register_kl(Mine, Mine)
    ... def divergence(p, q):
    ...     return 0.0
    >>> kl_divergence(Mine(0.0, 1.0), Mine(1.0, 1.0))
    0.0
    """

    def decorate(function):
        _registry[type_p, type_q] = function
        return function

    return decorate


def kl_divergence(p, q):
    """KL(p || q), for each of the batch.

    >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 1.0))
    tensor(0.5000)
    """
    found = [(a, b) for a, b in _registry if isinstance(p, a) and isinstance(q, b)]
    if not found:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
        )
    left, right = type(p).__mro__, type(q).__mro__
    nearest = min(found, key=lambda pair: (left.index(pair[0]), right.index(pair[1])))
    other = min(found, key=lambda pair: (right.index(pair[1]), left.index(pair[0])))
    if _registry[nearest] is not _registry[other]:
        warnings.warn(
            f"Ambiguous kl_divergence({type(p).__name__}, {type(q).__name__}). Please register_kl({nearest[0].__name__}, "
            f"{other[1].__name__})",
            RuntimeWarning,
            stacklevel=2,
        )
    return _registry[nearest](p, q)


# ---- Of one class ----------------------------------------------------------------------------------------------------


@register_kl(Normal, Normal)
def _(p, q):
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(Categorical, Categorical)
def _(p, q):
    t = p.probs * (p.logits - q.logits)
    t[(q.probs == 0).expand_as(t)] = math.inf
    t[(p.probs == 0).expand_as(t)] = 0
    return t.sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _(p, q):
    return kl_divergence(p._categorical, q._categorical)


@register_kl(Bernoulli, Bernoulli)
def _(p, q):
    softplus = hookgrad.nn.functional.softplus
    t1 = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    t1[q.probs == 0] = math.inf
    t1[p.probs == 0] = 0
    t2 = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    t2[q.probs == 1] = math.inf
    t2[p.probs == 1] = 0
    return t1 + t2


@register_kl(Binomial, Binomial)
def _(p, q):
    if (p.total_count < q.total_count).any():
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    kl = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return kl.masked_fill(p.total_count > q.total_count, math.inf)


@register_kl(Beta, Beta)
def _(p, q):
    return kl_divergence(p._dirichlet, q._dirichlet)


@register_kl(Dirichlet, Dirichlet)
def _(p, q):
    a, b = p.concentration, q.concentration
    norms = a.sum(-1).lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return norms + ((a - b) * (a.digamma() - a.sum(-1, True).digamma())).sum(-1)


@register_kl(Cauchy, Cauchy)
def _(p, q):
    return ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log() - (4 * p.scale * q.scale).log()


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _(p, q):
    norms = p._cont_bern_log_norm() + (-p.probs).log1p() - q._cont_bern_log_norm() - (-q.probs).log1p()
    return p.mean * (p.logits - q.logits) + norms


@register_kl(Exponential, Exponential)
def _(p, q):
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(ExponentialFamily, ExponentialFamily)
def _(p, q):
    if type(p) is not type(q):
        raise NotImplementedError(
            "The cross KL-divergence between different exponential families cannot be computed using Bregman divergences"
        )
    params, log_norm, means = p._norm_and_means()
    result = q._log_normalizer(*q._natural_params) - log_norm
    for mine, theirs, mean in zip(params, q._natural_params, means):
        result = result - _sum_rightmost((theirs - mine) * mean, len(q.event_shape))
    return result


@register_kl(Gamma, Gamma)
def _(p, q):
    a, b = p.concentration, q.concentration
    scales = b * (p.rate / q.rate).log() + (q.rate - p.rate) * (a / p.rate)
    return scales + b.lgamma() - a.lgamma() + (a - b) * a.digamma()


@register_kl(Geometric, Geometric)
def _(p, q):
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Gumbel, Gumbel)
def _(p, q):
    ratio, distance = p.scale / q.scale, (q.loc - p.loc) / q.scale
    tail = (distance + (1 + ratio).lgamma()).exp()
    return -ratio.log() - distance + ratio * euler_constant + tail - (1 + euler_constant)


@register_kl(HalfNormal, HalfNormal)
@register_kl(TransformedDistribution, TransformedDistribution)
def _(p, q):
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def _(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return p._summed(kl_divergence(p.base_dist, q.base_dist))


@register_kl(Laplace, Laplace)
def _(p, q):
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


@register_kl(Pareto, Pareto)
def _(p, q):
    ratio = q.alpha / p.alpha
    result = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return result.masked_fill(p.scale < q.scale, math.inf)


@register_kl(Poisson, Poisson)
def _(p, q):
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Uniform, Uniform)
def _(p, q):
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return result.masked_fill((q.low > p.low) | (q.high < p.high), math.inf)


def _log_det(d):
    return d._log_det() if isinstance(d, LowRankMultivariateNormal) else 2 * d._half_log_det()


def _normal_vectors(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two (Low Rank) Multivariate Normals with different event shapes cannot be computed"
        )
    solve = hookgrad.linalg.solve_triangular
    ratio = solve(q.scale_tril, p.scale_tril, upper=False).pow(2).sum((-2, -1))
    distance = solve(q.scale_tril, (q.loc - p.loc).unsqueeze(-1), upper=False).squeeze(-1).pow(2).sum(-1)
    return 0.5 * (_log_det(q) - _log_det(p) + ratio + distance - p.event_shape[0])


for _p in (MultivariateNormal, LowRankMultivariateNormal):
    for _q in (MultivariateNormal, LowRankMultivariateNormal):
        register_kl(_p, _q)(_normal_vectors)


# ---- Of two classes --------------------------------------------------------------------------------------------------


def _infinite(p, q):
    """p goes where q does not."""
    return hookgrad.full_like(p.mean, math.inf)


for _p, _others in [
    (Beta, [Pareto]),
    (ContinuousBernoulli, [Pareto]),
    (Exponential, [Beta, ContinuousBernoulli, Pareto, Uniform]),
    (Gamma, [Beta, ContinuousBernoulli, Pareto, Uniform]),
    (Gumbel, [Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform]),
    (Laplace, [Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform]),
    (Normal, [Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform]),
    (Pareto, [Beta, ContinuousBernoulli, Uniform]),
    (Poisson, [Bernoulli, Binomial]),
]:
    for _q in _others:
        register_kl(_p, _q)(_infinite)


# The divergence is the mean of -log q under p, less the entropy of p: what follows are those means.


def _cross(*pairs):
    def decorate(mean):
        for a, b in pairs:
            register_kl(a, b)(lambda p, q: mean(p, q) - p.entropy())

    return decorate


@_cross((Bernoulli, Poisson))
def _(p, q):
    return q.rate - p.probs * q.rate.log()


@_cross((Beta, Exponential), (ContinuousBernoulli, Exponential), (Gamma, Exponential))
def _(p, q):
    return q.rate * p.mean - q.rate.log()


@_cross((Pareto, Exponential))
def _(p, q):
    return (q.rate * p.mean - q.rate.log()).masked_fill(p.alpha <= 1, math.inf)


@_cross((Uniform, Exponential))
def _(p, q):
    return (q.rate * p.mean - q.rate.log()).masked_fill(p.low < 0, math.inf)


@_cross((Beta, ContinuousBernoulli))
def _(p, q):
    return -p.mean * q.logits - (-q.probs).log1p() - q._cont_bern_log_norm()


@_cross((Uniform, ContinuousBernoulli))
def _(p, q):
    mean = -p.mean * q.logits - (-q.probs).log1p() - q._cont_bern_log_norm()
    return mean.masked_fill((p.high >= 1) | (p.low <= 0), math.inf)  # PyTorch's bounds


@_cross((Beta, Uniform))
def _(p, q):
    return (q.high - q.low).log().masked_fill((q.low > 0) | (q.high < 1), math.inf)


@_cross((ContinuousBernoulli, Uniform))
def _(p, q):
    return (q.high - q.low).log().masked_fill((q.low >= 0) | (q.high <= 1), math.inf)  # PyTorch's bounds


@_cross(*[(p, Normal) for p in (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Uniform)])
def _(p, q):
    square = p.variance + (p.mean - q.loc).pow(2)
    return 0.5 * (q.scale.pow(2) * 2 * math.pi).log() + 0.5 * square / q.scale.pow(2)


@_cross((Pareto, Normal))
def _(p, q):
    square = p.variance + (p.mean - q.loc).pow(2)
    mean = 0.5 * (q.scale.pow(2) * 2 * math.pi).log() + 0.5 * square / q.scale.pow(2)
    return mean.masked_fill(p.alpha <= 2, math.inf)


def _to_gamma(q, mean, mean_log):
    """The mean of -log q for a q from Gamma."""
    norm = q.concentration.lgamma() - q.concentration * q.rate.log()
    return norm - (q.concentration - 1) * mean_log + q.rate * mean


@_cross((Beta, Gamma))
def _(p, q):
    total = p.concentration1 + p.concentration0
    return _to_gamma(q, p.mean, p.concentration1.digamma() - total.digamma())


@_cross((Exponential, Gamma))
def _(p, q):
    return _to_gamma(q, p.mean, -euler_constant - p.rate.log())


@_cross((Pareto, Gamma))
def _(p, q):
    return _to_gamma(q, p.mean, p.scale.log() + p.alpha.reciprocal()).masked_fill(p.alpha <= 1, math.inf)


@_cross((Uniform, Gamma))
def _(p, q):
    return _to_gamma(q, p.mean, _mean_log(p.low, p.high)).masked_fill(p.low < 0, math.inf)


def _mean_log(low, high):
    """Of even numbers between the bounds."""
    return (hookgrad.xlogy(high, high) - hookgrad.xlogy(low, low)) / (high - low) - 1


def _to_gumbel(q, mean, tail):
    """The mean of -log q for a q from Gumbel; `tail` is that of exp(-x / scale)."""
    return q.scale.log() + (mean - q.loc) / q.scale + (q.loc / q.scale).exp() * tail


@_cross((Exponential, Gumbel))
def _(p, q):
    product = p.rate * q.scale
    return _to_gumbel(q, p.mean, product / (product + 1))


@_cross((Gamma, Gumbel))
def _(p, q):
    return _to_gumbel(q, p.mean, (1 + (p.rate * q.scale).reciprocal()).pow(-p.concentration))


@_cross((Normal, Gumbel))
def _(p, q):
    return _to_gumbel(q, p.loc, (-p.loc / q.scale + 0.5 * (p.scale / q.scale).pow(2)).exp())


@_cross((Uniform, Gumbel))
def _(p, q):
    tail = ((-p.low / q.scale).exp() - (-p.high / q.scale).exp()) * q.scale / (p.high - p.low)
    return _to_gumbel(q, p.mean, tail)


@_cross((Normal, Laplace))
def _(p, q):
    distance = p.loc - q.loc
    ratio = distance / p.scale
    spread = math.sqrt(2 / math.pi) * p.scale * (-0.5 * ratio.pow(2)).exp()
    return (2 * q.scale).log() + (spread + distance * (math.sqrt(0.5) * ratio).erf()) / q.scale


@_cross((Uniform, Beta))
def _(p, q):
    a, b = q.concentration1, q.concentration0
    norm = a.lgamma() + b.lgamma() - (a + b).lgamma()
    logs = (a - 1) * _mean_log(p.low, p.high) + (b - 1) * _mean_log(1 - p.high, 1 - p.low)
    return (norm - logs).masked_fill((p.high > 1) | (p.low < 0), math.inf)


@_cross((Uniform, Pareto))
def _(p, q):
    mean = (q.alpha + 1) * _mean_log(p.low, p.high) - (q.alpha * q.scale.pow(q.alpha)).log()
    return mean.masked_fill(p.low < q.scale, math.inf)
