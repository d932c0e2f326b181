"""Exponential families."""

from ..autograd import grad
from .distribution import Distribution


class ExponentialFamily(Distribution):
    """Distributions whose density is h(x) exp(<parameters, statistics of x> - the logarithm of a norm).

    A subclass that defines `_natural_params`, `_log_normalizer` and `_mean_carrier_measure` has its entropy from their derivatives.

    Source: https://docs.pytorch.org/docs/stable/distributions.html#exponentialfamily
    """

    @property
    def _natural_params(self):
        raise NotImplementedError

    def _log_normalizer(self, *natural_params):
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self):
        raise NotImplementedError

    def _norm_and_means(self):
        """The parameters, the logarithm of the norm, and its derivatives: the means of the statistics."""
        params = [p.detach().requires_grad_() for p in self._natural_params]
        log_norm = self._log_normalizer(*params)
        return params, log_norm, grad(log_norm.sum(), params, create_graph=True)

    def entropy(self):
        carrier = self._mean_carrier_measure
        params, result, means = self._norm_and_means()
        for p, mean in zip(params, means):
            result = result - (p * mean).reshape((*self._batch_shape, -1)).sum(-1)
        return result - carrier
