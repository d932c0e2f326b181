"""What distributions share."""

import hookgrad

from .. import _C
from ..autograd.grad_mode import no_grad


def broadcast_all(*values):
    """Numbers and tensors as tensors of one shape; numbers get the dtype of a tensor among them."""
    tensors = [v for v in values if isinstance(v, _C.Tensor)]
    if not all(isinstance(v, (_C.Tensor, int, float)) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing __torch_function__."
        )
    dtype = tensors[0].dtype if tensors else hookgrad.get_default_dtype()
    return hookgrad.broadcast_tensors(*[v if isinstance(v, _C.Tensor) else _C.tensor(v, dtype=dtype) for v in values])


def logits_to_probs(logits, is_binary=False):
    """Probabilities of log-odds, or of unnormalised log-probabilities along the last dimension."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def probs_to_logits(probs, is_binary=False):
    """The other way round; probabilities are kept off 0 and 1 by the dtype's epsilon."""
    eps = hookgrad.finfo(probs.dtype).eps
    probs = probs.clamp(min=eps, max=1 - eps)
    return probs.log() - (-probs).log1p() if is_binary else probs.log()


class lazy_property:
    """An attribute that is computed when it is first asked for, with gradients enabled."""

    def __init__(self, wrapped):
        self.wrapped, self.__doc__ = wrapped, wrapped.__doc__

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        with hookgrad.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


class Distribution:
    """A batch of distributions: samples have the shape sample_shape + batch_shape + event_shape."""

    has_rsample = False
    has_enumerate_support = False
    arg_constraints = {}
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
        for name, constraint in self.arg_constraints.items():
            lazy = name not in self.__dict__ and isinstance(getattr(type(self), name, None), lazy_property)
            if lazy or constraint is None:
                continue
            value = getattr(self, name)
            if not constraint.check(value).all():
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

    def entropy(self):
        """The entropy of each distribution of the batch."""
        raise NotImplementedError

    @property
    def stddev(self):
        """The standard deviation."""
        return self.variance.sqrt()

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
        if not self.support.check(value).all():
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the support "
                f"({self.support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self):
        names = [name for name in self.arg_constraints if name in self.__dict__]
        shown = ", ".join(f"{n}: {v if v.numel() == 1 else v.size()}" for n in names for v in [self.__dict__[n]])
        return f"{self.__class__.__name__}({shown})"
