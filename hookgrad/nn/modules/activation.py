"""Activations: functions of each element, or along one dimension."""

from ... import _C
from .. import functional as F
from .. import init as _init
from ..parameter import empty_parameter
from .module import Module
from .utils import own_names


class _InPlace(Module):
    """An activation whose only setting is whether it writes into its input."""

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        _C._begin(__class__, self, inplace=inplace)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace):
    """max(x, 0).

    >>> import hookgrad as torch
    >>> ReLU()(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU.html
    """

    forward = _C.layer_forward("relu")


class SiLU(_InPlace):
    """x * sigmoid(x), also known as swish.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SiLU.html
    """

    forward = _C.layer_forward("silu")


class Mish(_InPlace):
    """x * tanh(softplus(x)).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Mish.html
    """

    def forward(self, input):
        return F.mish(input, self.inplace)


class Hardswish(_InPlace):
    """x * relu6(x + 3) / 6.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardswish.html
    """

    def forward(self, input):
        return F.hardswish(input, self.inplace)


class Hardsigmoid(_InPlace):
    """relu6(x + 3) / 6.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardsigmoid.html
    """

    def forward(self, input):
        return F.hardsigmoid(input, self.inplace)

    def extra_repr(self):
        return ""


class SELU(_InPlace):
    """1.0507 * (x if x > 0 else 1.6733 * (exp(x) - 1)).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SELU.html
    """

    def forward(self, input):
        return F.selu(input, self.inplace)


class LeakyReLU(Module):
    """x where it is positive, else `negative_slope` * x.

    >>> LeakyReLU(0.1)
    LeakyReLU(negative_slope=0.1)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html
    """

    __constants__ = ["inplace", "negative_slope"]
    forward = _C.layer_forward("leaky_relu")

    def __init__(self, negative_slope=0.01, inplace=False):
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def extra_repr(self):
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class RReLU(Module):
    """x where it is positive, else a random slope between `lower` and `upper` times x; in evaluation their mean.

    >>> RReLU(0.1, 0.3)
    RReLU(lower=0.1, upper=0.3)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RReLU.html
    """

    __constants__ = ["lower", "upper", "inplace"]

    def __init__(self, lower=1.0 / 8, upper=1.0 / 3, inplace=False):
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input):
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self):
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """x where it is positive, else weight * x: the slope, or one for each channel, is learned.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.PReLU.html
    """

    __constants__ = ["num_parameters"]

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = empty_parameter(num_parameters, device, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        """Set the slope to its first value."""
        _init.constant_(self.weight, self.init)

    def forward(self, input):
        return F.prelu(input, self.weight)

    def extra_repr(self):
        return f"num_parameters={self.num_parameters}"


class _Exponential(Module):
    """An activation with an `alpha`."""

    __constants__ = ["alpha", "inplace"]

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def extra_repr(self):
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class ELU(_Exponential):
    """x where it is positive, else alpha * (exp(x) - 1).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ELU.html
    """

    def forward(self, input):
        return F.elu(input, self.alpha, self.inplace)


class CELU(_Exponential):
    """x where it is positive, else alpha * (exp(x / alpha) - 1).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CELU.html
    """

    def forward(self, input):
        return F.celu(input, self.alpha, self.inplace)


class GELU(Module):
    """x times the probability that a standard normal number lies below x; `approximate="tanh"` for the quicker formula.

    >>> GELU()
    GELU(approximate='none')

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GELU.html
    """

    __constants__ = ["approximate"]
    forward = _C.layer_forward("gelu")

    def __init__(self, approximate="none"):
        super().__init__()
        self.approximate = approximate

    def extra_repr(self):
        return f"approximate={self.approximate!r}"


class Hardtanh(Module):
    """x, but no less than `min_val` and no more than `max_val`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardtanh.html
    """

    __constants__ = ["min_val", "max_val", "inplace"]

    def __init__(self, min_val=-1.0, max_val=1.0, inplace=False, min_value=None, max_value=None):
        super().__init__()
        for old, value in (("min_val", min_value), ("max_val", max_value)):
            if value is not None:
                import warnings

                words = f"keyword argument `{old}ue` is deprecated and renamed to `{old}`"
                warnings.warn(words, FutureWarning, stacklevel=2)
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if self.max_val <= self.min_val:
            raise AssertionError(f"max_val ({self.max_val}) must be greater than min_val ({self.min_val})")

    def forward(self, input):
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self):
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class ReLU6(Hardtanh):
    """x, but no less than 0 and no more than 6.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU6.html
    """

    def __init__(self, inplace=False):
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class Softplus(Module):
    """log(1 + exp(beta * x)) / beta, a smooth relu; x itself where beta * x exceeds `threshold`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softplus.html
    """

    __constants__ = ["beta", "threshold"]

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input):
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self):
        return f"beta={self.beta}, threshold={self.threshold}"


class _Bare(Module):
    """An activation without settings."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class Tanh(_Bare):
    """The hyperbolic tangent.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanh.html
    """

    forward = _C.layer_forward("tanh")


class Sigmoid(_Bare):
    """1 / (1 + exp(-x)).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Sigmoid.html
    """

    forward = _C.layer_forward("sigmoid")


class LogSigmoid(_Bare):
    """log(sigmoid(x)), without loss for large negative x.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LogSigmoid.html
    """

    def forward(self, input):
        return F.logsigmoid(input)


class Softsign(_Bare):
    """x / (1 + |x|).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softsign.html
    """

    def forward(self, input):
        return F.softsign(input)


class Tanhshrink(_Bare):
    """x - tanh(x).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanhshrink.html
    """

    def forward(self, input):
        return F.tanhshrink(input)


class _Along(Module):
    """An activation along one dimension."""

    __constants__ = ["dim"]

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def extra_repr(self):
        return f"dim={self.dim}"


class Softmax(_Along):
    """exp(x), divided by its sum along `dim`: positive numbers that sum to one.

    >>> import hookgrad as torch
    >>> Softmax(dim=0)(torch.zeros(4))
    tensor([0.2500, 0.2500, 0.2500, 0.2500])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax.html
    """

    forward = _C.layer_forward("softmax")


class LogSoftmax(_Along):
    """log(softmax(x)) along `dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LogSoftmax.html
    """

    forward = _C.layer_forward("log_softmax")


class Softmin(_Along):
    """softmax(-x) along `dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmin.html
    """

    def forward(self, input):
        return F.softmin(input, self.dim, _stacklevel=5)


class GLU(_Along):
    """The first half along `dim` times the sigmoid of the second.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GLU.html
    """

    def __init__(self, dim=-1):
        super().__init__(dim)

    def forward(self, input):
        return F.glu(input, self.dim)


class Threshold(Module):
    """x where it exceeds `threshold`, else `value`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Threshold.html
    """

    __constants__ = ["threshold", "value", "inplace"]

    def __init__(self, threshold, value, inplace=False):
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input):
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self):
        return f"threshold={self.threshold}, value={self.value}" + (", inplace=True" if self.inplace else "")


class Softmax2d(Module):
    """softmax over the channels of (N, C, H, W) or (C, H, W), at each place by itself.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax2d.html
    """

    def forward(self, input):
        if input.dim() not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead")
        return F.softmax(input, -3)


class _Shrink(Module):
    __constants__ = ["lambd"]

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def extra_repr(self):
        return f"{self.lambd}"


class Hardshrink(_Shrink):
    """x, but 0 where |x| is at most `lambd`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardshrink.html
    """

    def forward(self, input):
        return F.hardshrink(input, self.lambd)


class Softshrink(_Shrink):
    """x drawn towards 0 by `lambd`, and 0 where |x| is at most that.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softshrink.html
    """

    def forward(self, input):
        return F.softshrink(input, self.lambd)


def __getattr__(name):
    # PyTorch has these here.
    if name not in ("MultiheadAttention",):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import attention

    return getattr(attention, name)


own_names(cls for base in (_InPlace, _Exponential, _Along, _Shrink) for cls in base.__subclasses__())
