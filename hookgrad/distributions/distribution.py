"""What distributions share."""

import warnings

import hookgrad

from .. import _C
from ..autograd import grad
from ..autograd.grad_mode import no_grad
from . import constraints
from .utils import lazy_property


def _all(valid):
    return _C._levels(valid, 0) or valid.all()  # of samples of a vmap it cannot be said


class Distribution:
    """A batch of distributions: samples have the shape sample_shape + batch_shape + event_shape."""

    has_rsample = False
    has_enumerate_support = False
    _shared = "_unbroadcasted", "temperature"  # how the names begin of what expand() leaves as it is
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value):
        """Are arguments checked where the constructor is not told?"""
        if value not in [True, False]:
            raise ValueError
        Distribution._validate_args = value

    def __init__(self, batch_shape=(), event_shape=(), validate_args=None):
        self._batch_shape, self._event_shape = hookgrad.Size(batch_shape), hookgrad.Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if not self._validate_args:
            return
        try:
            arg_constraints = self.arg_constraints
        except NotImplementedError:
            arg_constraints = {}
            warnings.warn(
                f"{self.__class__} does not define `arg_constraints`. Please set `arg_constraints = {{}}` or initialize the "
                "distribution with `validate_args=False` to turn off validation.",
                stacklevel=2,
            )
        for name, constraint in arg_constraints.items():
            lazy = name not in self.__dict__ and isinstance(getattr(type(self), name, None), lazy_property)
            if lazy or constraints.is_dependent(constraint):
                continue
            value = getattr(self, name)
            if not _all(constraint.check(value)):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution {self!r} "
                    f"to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
                )

    @property
    def batch_shape(self):
        """The shape of the parameters."""
        return self._batch_shape

    @property
    def event_shape(self):
        """The shape of one draw."""
        return self._event_shape

    @property
    def arg_constraints(self):
        """What each parameter must be: a dict of constraints."""
        raise NotImplementedError

    @property
    def support(self):
        """What a draw can be: a constraint."""
        raise NotImplementedError

    @property
    def mean(self):
        """The mean."""
        raise NotImplementedError

    @property
    def mode(self):
        """The most probable value."""
        raise NotImplementedError(f"{self.__class__} does not implement mode")

    @property
    def variance(self):
        """The variance."""
        raise NotImplementedError

    def expand(self, batch_shape, _instance=None):
        """The same distributions, broadcast to a batch of that shape.

        What has the batch's shape on its left is expanded, distributions within included; the rest is shared. A subclass that
        has made the new instance passes it, with what it set itself, as `_instance`.
        """
        new = self.__new__(type(self)) if _instance is None else _instance
        batch_shape, n = hookgrad.Size(batch_shape), len(self._batch_shape)
        for name, value in self.__dict__.items():
            if name in new.__dict__:
                continue
            shape = value.batch_shape if isinstance(value, Distribution) else getattr(value, "shape", None)
            if isinstance(value, (_C.Tensor, Distribution)) and not name.startswith(self._shared):
                value = value.expand(batch_shape + shape[n:] if shape[:n] == self._batch_shape else batch_shape)
            new.__dict__[name] = value
        new._batch_shape = batch_shape
        return new

    def sample(self, sample_shape=()):
        """Draws, without gradients."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        """Draws that are differentiable by the parameters."""
        raise NotImplementedError

    def log_prob(self, value):
        """The logarithm of the probability, or density, at value."""
        raise NotImplementedError

    def cdf(self, value):
        """The probability of no more than value."""
        raise NotImplementedError

    def icdf(self, value):
        """The value that is exceeded with probability 1 - value."""
        raise NotImplementedError

    def enumerate_support(self, expand=True):
        """Every value there can be, along a new first dimension."""
        raise NotImplementedError

    def entropy(self):
        """The entropy of each distribution of the batch."""
        raise NotImplementedError

    @property
    def stddev(self):
        """The standard deviation."""
        return self.variance.sqrt()

    def sample_n(self, n):
        """n draws: sample((n,))."""
        warnings.warn("`sample_n(n)` will be deprecated. Use `sample((n,))` instead.", FutureWarning, stacklevel=2)
        return self.sample((n,))

    def perplexity(self):
        """exp of the entropy."""
        return self.entropy().exp()

    def _extended_shape(self, sample_shape=()):
        return hookgrad.Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _first_numbers(self, n, expand, dtype=None):
        """0 to n - 1, along a new first dimension: a support."""
        values = hookgrad.arange(n, dtype=dtype).view(-1, *[1] * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values

    def _validate_sample(self, value):
        if not self._validate_args:
            return
        if not isinstance(value, _C.Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        n = value.dim() - len(self._event_shape)
        if value.shape[n:] != self._event_shape:
            raise ValueError(
                f"The right-most size of value must match event_shape: {value.shape} vs {self._event_shape}."
            )
        for i, j in zip(reversed(value.shape), reversed(self._batch_shape + self._event_shape)):
            if i != 1 and j != 1 and i != j:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs "
                    f"{self._batch_shape + self._event_shape}."
                )
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{self.__class__} does not define `support` to enable sample validation. Please initialize the distribution with "
                "`validate_args=False` to turn off validation.",
                stacklevel=2,
            )
            return
        if not _all(support.check(value)):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the support "
                f"({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self):
        names = [name for name in self.arg_constraints if name in self.__dict__]
        shown = ", ".join(f"{n}: {v if v.numel() == 1 else v.size()}" for n in names for v in [self.__dict__[n]])
        return f"{self.__class__.__name__}({shown})"


class ExponentialFamily(Distribution):
    """Distributions whose density is h(x) exp(<parameters, statistics of x> - the logarithm of a norm).

    A subclass that defines `_natural_params`, `_log_normalizer` and `_mean_carrier_measure` has its entropy from their derivatives.
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
