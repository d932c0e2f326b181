"""Rarer dropouts, random slopes, and normalisation over neighbouring channels: `functional` has them under PyTorch's names."""

import math

import hookgrad

from .. import _C
from . import functional as F
from ._whole import in_place, one_node


def dropout3d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of (N, C, D, H, W) or (C, D, H, W) with probability `p`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout3d.html
    """
    F._check_probability(p)
    if input.dim() not in (4, 5):
        F._warn(
            f"dropout3d: Received a {input.dim()}-D input to dropout3d, which is deprecated and will result in an error in a "
            "future release. To retain the behavior and silence this warning, please use dropout instead."
        )
    if input.dim() == 5:
        return F._drop_channels(input, p, training, inplace)
    return F._drop_channels(input.unsqueeze(0), p, training, inplace).squeeze(0)


# What SELU's activations go to for very negative inputs, negated: 1.0507 * 1.6733.
_ALPHA = 1.7580993408473766


def _alpha(input, p, training, inplace, noise):
    F._check_probability(p)
    if p == 0 or not training or input.numel() == 0:
        return input
    if p == 1:
        zeros = hookgrad.zeros((), dtype=input.dtype)
        return input.mul_(zeros) if inplace else input.mul(zeros)
    noise.bernoulli_(1 - p)
    scale = 1.0 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
    shift = noise.add(-1).mul_(_ALPHA * scale).add_(_ALPHA * scale * p)
    noise.mul_(scale)
    return input.mul_(noise).add_(shift) if inplace else input.mul(noise).add(shift)


def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Set elements to SELU's lowest value with probability `p`, and keep mean and variance by a scale and a shift.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.alpha_dropout.html
    """
    return _alpha(input, p, training, inplace, hookgrad.empty_like(input))


def feature_alpha_dropout(input, p=0.5, training=False, inplace=False):
    """alpha_dropout of whole channels of (N, C, *).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.feature_alpha_dropout.html
    """
    F._must_be_tensors("feature_alpha_dropout", input=input)
    if training and 0 < p < 1 and input.numel() and input.dim() < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return _alpha(input, p, training, inplace, input.new_empty(F._shape_of_channels(input)))


def _slopes_again(g, grad, input, *noise_and_settings):
    return _slopes(g, input, *noise_and_settings), hookgrad.zeros_like(input)


@one_node("RreluWithNoiseBackwardBackward0", 0, 1, saved="- self noise lower upper training", derivative=_slopes_again)
def _slopes(grad, input, noise, lower, upper, training):
    return noise * grad  # lies as the noise does, which is as the input


@one_node("RreluWithNoiseBackward0", 0, saved="self noise lower upper training", derivative=_slopes)
def _scaled(input, noise, lower, upper, training):
    return (input * noise).contiguous()


def _slopes_by_result(grad, input, noise, lower, upper, training, result):
    if not training and lower + upper < 0:
        raise RuntimeError(
            "In-place leakyReLu backward calculation is triggered with a negative slope which is not supported. This is "
            "caused by calling in-place forward function with a negative slope, please call out-of-place version instead."
        )
    return _slopes(grad, result, noise, lower, upper, training)


_scaled_ = in_place(
    one_node(
        "RreluWithNoiseBackward1",
        0,
        saved="- noise lower upper training",
        results="result",
        derivative=_slopes_by_result,
    )(_scaled.__wrapped__)
)


def rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, inplace=False):
    """x where it is positive, else a random slope between `lower` and `upper` times x; their mean unless `training`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.rrelu.html
    """
    F._must_be_tensors("rrelu", input=input)
    F._must_be_floats("rrelu_with_noise_out_cpu" if training else "leaky_relu_cpu", input)
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    with hookgrad.no_grad():
        noise = hookgrad.ones_like(input)
        is_negative = input <= 0
        if training:
            n = int(is_negative.sum())
            noise[is_negative] = hookgrad.empty(n, dtype=hookgrad.float64).uniform_(lower, upper).to(input.dtype)
        else:
            noise = noise.masked_fill_(is_negative, (lower + upper) / 2)
    return (_scaled_ if inplace else _scaled)(input, noise, lower, upper, training)


def rrelu_(input, lower=1.0 / 8, upper=1.0 / 3, training=False):
    """rrelu, written into its input."""
    return rrelu(input, lower, upper, training, True)


def celu_(input, alpha=1.0):
    """celu, written into its input."""
    return F.celu(input, alpha, True)


def elu_(input, alpha=1.0):
    """elu, written into its input."""
    return F.elu(input, alpha, True)


def selu_(input):
    """selu, written into its input."""
    return F.selu(input, True)


def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Divide each element of (N, C, *) by (k + alpha * mean of squares of `size` neighbouring channels) ** beta.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.local_response_norm.html
    """
    if input.dim() < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality                          input (got {input.dim()} dimensions)"
        )
    if input.numel() == 0:
        return input
    squares = input.mul(input)
    around = size // 2, (size - 1) // 2
    if input.dim() == 3:
        squares = F.pad(squares.unsqueeze(1), (0, 0, *around))
        mean = F.avg_pool2d(squares, (size, 1), stride=1).squeeze(1)
    else:
        n, channels, rows = input.shape[:3]
        squares = F.pad(squares.view(n, 1, channels, rows, -1), (0, 0, 0, 0, *around))
        mean = F.avg_pool3d(squares, (size, 1, 1), stride=1).squeeze(1).view(input.shape)
    return input / mean.mul(alpha).add(k).pow(beta)


@one_node("PdistBackward0", 0, saved="self p", results="result", twice=True)
def _pdist(input, p):
    rows, cols = _C.triu_indices(input.shape[0], input.shape[0], 1)
    return (input[rows] - input[cols]).norm(p, -1)


def pdist(input, p=2.0):
    """The p-norm of the difference of every pair of rows of (N, M): N * (N - 1) / 2 numbers.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pdist.html
    """
    F._must_be_tensors("pdist", input=input)
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    if not input.is_floating_point():
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    return _pdist(input, p)
