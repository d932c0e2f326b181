"""The Kullback-Leibler divergence of two distributions.

Source: https://docs.pytorch.org/docs/stable/distributions.html#module-torch.distributions.kl
"""

import hookgrad

from .bernoulli import Bernoulli
from .categorical import Categorical
from .exponential import Exponential
from .independent import Independent
from .laplace import Laplace
from .multivariate_normal import MultivariateNormal
from .normal import Normal
from .one_hot_categorical import OneHotCategorical
from .uniform import Uniform

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
    nearest = min(found, key=lambda pair: (type(p).__mro__.index(pair[0]), type(q).__mro__.index(pair[1])))
    return _registry[nearest](p, q)


@register_kl(Normal, Normal)
def _(p, q):
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(Categorical, Categorical)
def _(p, q):
    t = p.probs * (p.logits - q.logits)
    t[(q.probs == 0).expand_as(t)] = float("inf")
    t[(p.probs == 0).expand_as(t)] = 0
    return t.sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _(p, q):
    return kl_divergence(p._categorical, q._categorical)


@register_kl(Bernoulli, Bernoulli)
def _(p, q):
    softplus = hookgrad.nn.functional.softplus
    t1 = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    t2 = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    return t1 + t2


@register_kl(Exponential, Exponential)
def _(p, q):
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Laplace, Laplace)
def _(p, q):
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


@register_kl(Uniform, Uniform)
def _(p, q):
    result = ((q.high - q.low) / (p.high - p.low)).log()
    result[(q.low > p.low) | (q.high < p.high)] = float("inf")
    return result


@register_kl(Normal, Uniform)
@register_kl(Laplace, Uniform)
@register_kl(Exponential, Uniform)
def _(p, q):
    return hookgrad.full_like(p.mean, float("inf"))  # p goes where q does not


@register_kl(MultivariateNormal, MultivariateNormal)
def _(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be computed"
        )
    solve = hookgrad.linalg.solve_triangular
    ratio = solve(q.scale_tril, p.scale_tril, upper=False).pow(2).sum((-2, -1))
    distance = solve(q.scale_tril, (q.loc - p.loc).unsqueeze(-1), upper=False).squeeze(-1).pow(2).sum(-1)
    return q._half_log_det() - p._half_log_det() + 0.5 * (ratio + distance - p.event_shape[0])


@register_kl(Independent, Independent)
def _(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return p._summed(kl_divergence(p.base_dist, q.base_dist))
