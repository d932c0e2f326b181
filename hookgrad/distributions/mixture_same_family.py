"""Mixtures of distributions of one class."""

import hookgrad

from ..autograd.grad_mode import no_grad
from . import constraints
from .categorical import Categorical
from .distribution import Distribution


class MixtureSameFamily(Distribution):
    """A draw from the component that a draw from `mixture_distribution` names: those along the last batch dimension.

    >>> import hookgrad as torch
    >>> from hookgrad.distributions import Normal
    >>> two = MixtureSameFamily(Categorical(torch.ones(2)), Normal(torch.tensor([-1.0, 1.0]), torch.ones(2)))
    >>> two.mean
    tensor(0.)

    Source: https://docs.pytorch.org/docs/stable/distributions.html#mixturesamefamily
    """

    arg_constraints = {}

    def __init__(self, mixture_distribution, component_distribution, validate_args=None):
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(" The Mixture distribution needs to be an  instance of torch.distributions.Categorical")
        if not isinstance(component_distribution, Distribution):
            raise ValueError("The Component distribution needs to be an instance of torch.distributions.Distribution")
        self._mixture_distribution, self._component_distribution = mixture_distribution, component_distribution
        ours, theirs = mixture_distribution.batch_shape, component_distribution.batch_shape[:-1]
        if any(a != 1 and b != 1 and a != b for a, b in zip(reversed(ours), reversed(theirs))):
            raise ValueError(
                f"`mixture_distribution.batch_shape` ({ours}) is not compatible with "
                f"`component_distribution.batch_shape`({theirs})"
            )
        n, last = mixture_distribution.logits.shape[-1], component_distribution.batch_shape[-1]
        if n != last:
            raise ValueError(
                f"`mixture_distribution component` ({n}) does not equal `component_distribution.batch_shape[-1]` ({last})"
            )
        self._num_component, self._event_ndims = n, len(component_distribution.event_shape)
        super().__init__(theirs, component_distribution.event_shape, validate_args=validate_args)

    @constraints.dependent_property
    def support(self):
        """What any component can give."""
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    mixture_distribution = property(lambda self: self._mixture_distribution)
    component_distribution = property(lambda self: self._component_distribution)

    def _pad(self, x):
        return x.unsqueeze(-1 - self._event_ndims)

    def _mixed(self, values):
        """The mean of the components' values."""
        probs = self._mixture_distribution.probs
        n = len(self._mixture_distribution.batch_shape)
        between = 0 if n == 1 else len(self.batch_shape) - n
        probs = probs.reshape(probs.shape[:-1] + (1,) * between + probs.shape[-1:] + (1,) * self._event_ndims)
        return (probs * values).sum(-1 - self._event_ndims)

    @property
    def mean(self):
        """The mean."""
        return self._mixed(self._component_distribution.mean)

    @property
    def variance(self):
        """The mean variance and the variance of the means."""
        parts = self._component_distribution
        return self._mixed(parts.variance) + self._mixed((parts.mean - self._pad(self.mean)).pow(2.0))

    def cdf(self, x):
        return (self._component_distribution.cdf(self._pad(x)) * self._mixture_distribution.probs).sum(-1)

    def log_prob(self, x):
        if self._validate_args:
            self._validate_sample(x)
        of_parts = self._component_distribution.log_prob(self._pad(x))
        return (of_parts + self._mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def sample(self, sample_shape=()):
        with no_grad():
            dim = len(sample_shape) + len(self.batch_shape)
            chosen = self._mixture_distribution.sample(sample_shape)
            drawn = self._component_distribution.sample(sample_shape)
            chosen = chosen.reshape(chosen.shape + (1,) * (self._event_ndims + 1))
            chosen = chosen.repeat((1,) * (chosen.dim() - self._event_ndims) + tuple(self.event_shape))
            return hookgrad.gather(drawn, dim, chosen).squeeze(dim)

    def __repr__(self):
        return f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"
