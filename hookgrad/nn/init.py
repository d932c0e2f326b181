"""Initial values for tensors. Every function fills its tensor in place, outside the graph, and returns it.

After `manual_seed` the values are PyTorch's. Source: https://docs.pytorch.org/docs/stable/nn.init.html
"""

import math
from functools import wraps
from inspect import signature

import hookgrad

from .. import _C

_LINEAR = frozenset(
    ["linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid"]
)
_GAINS = {"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}


def calculate_gain(nonlinearity, param=None):
    """The factor by which weights in front of a non-linearity are scaled; `param` is the slope of leaky_relu.

    >>> calculate_gain("leaky_relu", 0.2)
    1.3867504905630728
    """
    if nonlinearity in _LINEAR:
        return 1
    if nonlinearity in _GAINS:
        return _GAINS[nonlinearity]
    if nonlinearity != "leaky_relu":
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    slope = 0.01 if param is None else param
    if isinstance(slope, bool) or not isinstance(slope, (int, float)):
        raise ValueError(f"negative_slope {slope} not a valid number")
    return math.sqrt(2.0 / (1 + slope**2))


def _asked(function):
    """A mode, and a class with a `__torch_function__`, of tensors or not, is asked of the function, with every argument by name."""

    @wraps(function)
    def call(*args, **kwargs):
        given = args[0] if args else kwargs.get("tensor")
        if not _C._overridden(given) and (isinstance(given, _C.Tensor) or not hasattr(given, "__torch_function__")):
            return function(*args, **kwargs)
        from ..overrides import handle_torch_function

        bound = signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        return handle_torch_function(call, (given,), **bound.arguments)

    return call


@_asked
def uniform_(tensor, a=0.0, b=1.0, generator=None):
    """Fill with numbers drawn evenly from [a, b).

    >>> import hookgrad as torch
    >>> t = uniform_(torch.empty(3, 5))
    """
    return _C._without_grad(tensor.uniform_, a, b, generator=generator)


@_asked
def normal_(tensor, mean=0.0, std=1.0, generator=None):
    """Fill with normally distributed numbers."""
    return _C._without_grad(tensor.normal_, mean, std, generator=generator)


# The parts of these that code for PyTorch calls itself.
_no_grad_uniform_, _no_grad_normal_ = uniform_, normal_


def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """Fill with normally distributed numbers that lie in [a, b]: whatever falls outside is drawn again."""
    if mean < a - 2 * std or mean > b + 2 * std:
        _warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
        )

    def below(x):
        return (1.0 + math.erf((x - mean) / std / math.sqrt(2.0))) / 2.0

    with hookgrad.no_grad():
        if below(b) - below(a) > 0.3:
            values = _draw_until_inside(tensor, mean, std, a, b, generator)
        else:
            values = _draw_under_the_curve(tensor, mean, std, a, b, generator)
        if values is not tensor:
            tensor.copy_(values)
    return tensor


def _draw_until_inside(tensor, mean, std, a, b, generator):
    """Normal numbers, redrawn all at once until none is outside: fit for bounds that let most of them pass."""
    # The bounds as the tensor's dtype has them, or a number rounded onto a bound would be redrawn for ever.
    low, high = tensor.new_tensor(a).item(), tensor.new_tensor(b).item()
    values = tensor.normal_(mean, std, generator=generator)
    while True:
        outside = (values < low) | (values > high)
        if not outside.any():
            return values
        again = hookgrad.empty_like(values).normal_(mean, std, generator=generator)
        values = hookgrad.where(outside, again, values)


def _draw_under_the_curve(tensor, mean, std, a, b, generator):
    """Even numbers from [a, b], each kept with the probability the bell curve gives it: fit for far-off bounds."""
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2

    def rejected(values):
        log_density = values.clone().sub_(mean).div_(std).pow_(2).mul_(-0.5).sub_(peak)
        return hookgrad.empty_like(values).uniform_(generator=generator).log_().gt(log_density)

    values = tensor.uniform_(a, b, generator=generator)
    pending = rejected(values)
    while pending.any():
        again = hookgrad.empty_like(tensor).uniform_(a, b, generator=generator)
        values = hookgrad.where(pending, again, values)
        pending = hookgrad.where(pending, rejected(again), pending)
    return values


@_asked
def constant_(tensor, val):
    """Fill with one number.

    >>> import hookgrad as torch
    >>> constant_(torch.empty(2), 0.3)
    tensor([0.3000, 0.3000])
    """
    return _C._without_grad(tensor.fill_, val)


def ones_(tensor):
    """Fill with ones."""
    return _C._without_grad(tensor.fill_, 1.0)


def zeros_(tensor):
    """Fill with zeros."""
    return _C._without_grad(tensor.zero_)


_no_grad_fill_, _no_grad_zero_ = constant_, zeros_


def eye_(tensor):
    """Make a matrix the identity, as far as its shape allows.

    >>> import hookgrad as torch
    >>> eye_(torch.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with hookgrad.no_grad():
        tensor.copy_(hookgrad.eye(*tensor.shape, dtype=tensor.dtype))
    return tensor


def dirac_(tensor, groups=1):
    """Make the weight of a convolution (out, in/groups, *kernel) hand its input channels through unchanged."""
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    n_out, n_in, *kernel = tensor.shape
    if n_out % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    per_group = n_out // groups
    centre = tuple(size // 2 for size in kernel)
    with hookgrad.no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(per_group, n_in)):
                tensor[(group * per_group + channel, channel, *centre)] = 1
    return tensor


def _calculate_fan_in_and_fan_out(tensor):
    """How many inputs feed one output of the weight (out, in, *kernel), and how many outputs one input feeds."""
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    n_in, n_out = tensor.size(1), tensor.size(0)
    field = math.prod(tensor.shape[2:]) if tensor.dim() > 2 else 1
    return n_in * field, n_out * field


def _calculate_correct_fan(tensor, mode):
    mode = mode.lower()
    modes = ["fan_in", "fan_out"]
    if mode not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {modes}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode)]


def xavier_uniform_(tensor, gain=1.0, generator=None):
    """Fill evenly from [-a, a), a = gain * sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio, 2010)."""
    bound = math.sqrt(3.0) * _xavier_std(tensor, gain)
    return _C._without_grad(tensor.uniform_, -bound, bound, generator=generator)


def xavier_normal_(tensor, gain=1.0, generator=None):
    """Fill normally with std = gain * sqrt(2 / (fan_in + fan_out)) (Glorot & Bengio, 2010)."""
    return _C._without_grad(tensor.normal_, 0.0, _xavier_std(tensor, gain), generator=generator)


def _xavier_std(tensor, gain):
    return gain * math.sqrt(2.0 / float(sum(_calculate_fan_in_and_fan_out(tensor))))


@_asked
def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Fill evenly from [-b, b), b = gain * sqrt(3 / fan) (He et al., 2015); `a` is the slope of leaky_relu.

    >>> import hookgrad as torch
    >>> t = kaiming_uniform_(torch.empty(3, 5), mode="fan_in", nonlinearity="relu")
    """
    if 0 in tensor.shape:
        _warn("Initializing zero-element tensors is a no-op")
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return _C._without_grad(tensor.uniform_, -bound, bound, generator=generator)


def _affine_(weight, bias):
    """Draw the weight (out, in, *kernel) of a linear layer or a convolution, and its bias or None, as both begin: evenly
    from ±1/sqrt(fan_in), which kaiming_uniform_ with a=sqrt(5) makes of the weight."""
    if _C._draw_affine(weight, bias):
        return
    kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in, _ = _calculate_fan_in_and_fan_out(weight)
        bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
        uniform_(bias, -bound, bound)


def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Fill normally with std = gain / sqrt(fan) (He et al., 2015); `a` is the slope of leaky_relu."""
    if 0 in tensor.shape:
        _warn("Initializing zero-element tensors is a no-op")
        return tensor
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return _C._without_grad(tensor.normal_, 0, std, generator=generator)


def _kaiming_std(tensor, a, mode, nonlinearity):
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def orthogonal_(tensor, gain=1, generator=None):
    """Make the rows (or the columns, where there are fewer) of the matrix (size(0), the rest) orthogonal."""
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    cols = tensor.numel() // rows
    flat = hookgrad.empty(rows, cols, dtype=tensor.dtype).normal_(0, 1, generator=generator)
    q = _orthogonal_basis(flat.t() if rows < cols else flat)
    with hookgrad.no_grad():
        tensor.copy_((q.t() if rows < cols else q).reshape(tensor.shape))
        tensor.mul_(gain)
    return tensor


def _orthogonal_basis(t):
    """Q of t = QR, with the signs that make the diagonal of R positive: that Q is unique."""
    q, r = hookgrad.linalg.qr(t)
    return q * r.diagonal().sign()


def sparse_(tensor, sparsity, std=0.01, generator=None):
    """Fill a matrix normally, then set the fraction `sparsity` of each column to zero (Martens, 2010)."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, cols = tensor.shape
    n_zeros = math.ceil(sparsity * rows)
    with hookgrad.no_grad():
        tensor.normal_(0, std, generator=generator)
        for col in range(cols):
            tensor[hookgrad.randperm(rows)[:n_zeros], col] = 0
    return tensor


def _warn(words, category=UserWarning):
    import warnings

    warnings.warn(words, category, stacklevel=3)


def _deprecated(function):
    """The name without the underscore: it works, and says that it should not be used."""
    name = function.__name__[:-1]

    def old(*args, **kwargs):
        _warn(f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.", FutureWarning)
        return function(*args, **kwargs)

    old.__name__ = old.__qualname__ = name
    old.__doc__ = f"The old name of `{name}_`."
    return old


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
