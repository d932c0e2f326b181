"""The rarer kinds of pooling, as functions. `functional` has them under PyTorch's names."""

import math

import hookgrad

from .. import _C
from .._levels import anywhere
from ..type_info import scalar_type
from . import functional as F
from ._whole import one_node
from .modules.utils import _ntuple

_nn = _C.nn


def max_pool3d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The maximum of each window of (N, C, D, H, W) or (C, D, H, W); with `return_indices` also where it stood."""
    op = _nn.max_pool3d_with_indices if return_indices else _nn.max_pool3d
    return op(input, kernel_size, stride, padding, dilation, ceil_mode)


def adaptive_avg_pool3d(input, output_size):
    """The means of as many windows as `output_size` says, None keeping the input's size."""
    return _nn.adaptive_avg_pool3d(input, F._full_size(output_size, input.shape, 3))


def adaptive_max_pool3d(input, output_size, return_indices=False):
    """The maxima of as many windows as `output_size` says; with `return_indices` also where they stood in D * H * W."""
    output, indices = _nn.adaptive_max_pool3d_with_indices(input, F._full_size(output_size, input.shape, 3))
    return (output, indices) if return_indices else output


def adaptive_max_pool1d_with_indices(input, output_size, return_indices=False):
    """adaptive_max_pool1d with the places of the maxima."""
    return F.adaptive_max_pool1d(input, output_size, True)


# ---- Power means -------------------------------------------------------------------------------------------------------


def _lp_pool(n, input, norm_type, kernel_size, stride, ceil_mode):
    names = f"max_pool{n}d", f"avg_pool{n}d"
    max_pool, avg_pool = (getattr(F, name) for name in names)
    if norm_type == math.inf:
        return max_pool(input.abs(), kernel_size, stride, 0, 1, ceil_mode)
    if norm_type == -math.inf:
        return -max_pool(-input.abs(), kernel_size, stride, 0, 1, ceil_mode)
    mean = avg_pool(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    n_elements = math.prod(_ntuple(n)(kernel_size))
    return (mean.sign() * F.relu(mean.abs())).mul(n_elements).pow(1.0 / norm_type)


def lp_pool1d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The norm_type-th root of the sum of the powers of each window of (N, C, L) or (C, L)."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The norm_type-th root of the sum of the powers of each window of (N, C, H, W) or (C, H, W).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool2d.html
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The norm_type-th root of the sum of the powers of each window of (N, C, D, H, W) or (C, D, H, W)."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


# ---- Back to where the maxima were -------------------------------------------------------------------------------------


def _unpool_output_size(input, kernel_size, stride, padding, output_size):
    n = len(kernel_size)
    default = [(size - 1) * s + k - 2 * p for size, s, k, p in zip(input.shape[-n:], stride, kernel_size, padding)]
    if output_size is None:
        return default
    if len(output_size) == n + 2:
        output_size = output_size[2:]
    if len(output_size) != n:
        raise ValueError(
            f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a length of "
            f"'{len(output_size)}'"
        )
    for d in range(n):
        low, high = default[d] - stride[d], default[d] + stride[d]
        if not low < output_size[d] < high:
            raise ValueError(f'invalid output_size "{output_size}" (dim {d} must be between {low} and {high})')
    return list(output_size)


def _unpool(input, indices, size):
    """Each element where its index says, zeros elsewhere; the last dimensions have the size afterwards."""
    n = len(size)
    flat = input.new_zeros((*input.shape[:-n], math.prod(size)))
    output = flat.scatter(-1, indices.flatten(-n), input.flatten(-n)).unflatten(-1, size)
    is_last = n == 2 and input.dim() == 4 and input.is_contiguous(memory_format=hookgrad.channels_last)
    return output.contiguous(memory_format=hookgrad.channels_last) if is_last else output


def _of_unpool(grad, input, indices, size):
    n = -len(size)
    return grad.flatten(n).gather(-1, indices.flatten(n)).view_as(indices)


_unpool2d = one_node("MaxUnpool2DBackward0", 0, saved="- indices", derivative=_of_unpool)(_unpool)
_unpool3d = one_node("MaxUnpool3DBackward0", 0, saved="- indices", derivative=_of_unpool)(_unpool)


def _checked_unpool(input, indices, size, stride):
    n = len(size)
    name = f"max_unpooling{n}d"
    F._must_be_tensors(f"max_unpool{n}d", input=input, indices=indices)
    F._must_be_floats(f"max_unpool{n}d", input)
    if indices.dtype != hookgrad.int64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {scalar_type(indices.dtype)}")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"Input to {name} should be a {n + 1}d or {n + 2}d Tensor, but got a tensor with {input.dim()} dimensions."
        )
    if indices.shape != input.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got indices tensor "
            f"with shape: {list(indices.shape)}"
        )
    if min(stride) <= 0 and n == 3:
        raise RuntimeError(f"strides should be greater than zero, but got stride: {list(stride)}")
    is_bad = (indices < 0) | (indices >= math.prod(size))
    if anywhere(is_bad):
        bad = indices[is_bad]
        volume = "x".join(str(s) for s in size)
        raise RuntimeError(f"Found an invalid max index: {int(bad[0])} (output volumes are of size {volume})")
    return (_unpool3d if n == 3 else _unpool2d)(input, indices, tuple(size))


def _max_unpool(n, input, indices, kernel_size, stride, padding, output_size):
    as_tuple = _ntuple(n)
    kernel_size, padding = as_tuple(kernel_size), as_tuple(padding)
    stride = kernel_size if stride is None else as_tuple(stride)
    size = _unpool_output_size(input, kernel_size, stride, padding, output_size)
    if n == 1:
        return _checked_unpool(input.unsqueeze(-1), indices.unsqueeze(-1), [*size, 1], (*stride, 1)).squeeze(-1)
    return _checked_unpool(input, indices, size, stride)


def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """What max_pool1d has pooled, at its places, and zeros elsewhere.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool1d.html
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """What max_pool2d has pooled, at its places, and zeros elsewhere.

    >>> import hookgrad as torch
    >>> pooled, indices = torch.nn.functional.max_pool2d(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2, return_indices=True)
    >>> max_unpool2d(pooled, indices, 2)
    tensor([[[0., 0.],
             [0., 4.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool2d.html
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """What max_pool3d has pooled, at its places, and zeros elsewhere.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool3d.html
    """
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


# ---- Windows at random places --------------------------------------------------------------------------------------------


def _starts(samples, size, out, kernel):
    """Where `out` windows start in `size` elements, (N, C, out), for one number in [0, 1) for each plane, samples (N, C)."""
    alpha = (size - kernel) / (out - 1) if out > 1 else 0.0
    steps = hookgrad.arange(out, dtype=samples.dtype)
    starts = ((steps + samples.unsqueeze(-1)) * alpha).int() - (samples.unsqueeze(-1) * alpha).int()
    starts = starts.long()
    starts[..., -1:] = size - kernel
    return starts


def _fractional_indices(input, kernel_size, output_size, samples):
    """The places of the maxima in their planes: (N, C, *output_size)."""
    n = len(kernel_size)
    sizes = input.shape[-n:]
    # The place in the plane of every element of every window, and its window: (N, C, *output_size, *kernel_size).
    places = 0
    for d in range(n):
        # PyTorch takes the last of the samples for the last dimension of 2D planes, the first for that of 3D ones.
        which = d if n == 3 else n - 1 - d
        starts = _starts(samples[:, :, which], sizes[d], output_size[d], kernel_size[d])
        at = starts.unsqueeze(-1) + hookgrad.arange(kernel_size[d])
        shape = [1] * (2 * n)
        shape[d], shape[n + d] = output_size[d], kernel_size[d]
        places = places * sizes[d] + at.view(*at.shape[:2], *shape)
    windows = places.flatten(-n)
    values = input.flatten(-n).gather(-1, windows.flatten(2)).view(windows.shape)
    return windows.gather(-1, values.argmax(-1, keepdim=True)).squeeze(-1)


def _take(input, indices, kernel_size, output_size):
    """The elements of the planes that the indices name."""
    n = len(output_size)
    return input.flatten(-n).gather(-1, indices.flatten(-n)).view(indices.shape)


_TAKEN = "self result1 kernel_size output_size"
_take2d = one_node("FractionalMaxPool2DBackward0", 0, saved=_TAKEN, twice=True)(_take)
_take3d = one_node("FractionalMaxPool3DBackward0", 0, saved=_TAKEN, twice=True)(_take)


def _check_samples(samples, planes, n):
    """One number for each plane and dimension, (N, C, n), as the windows' starts want them."""
    if samples.dtype != planes.dtype:
        raise RuntimeError("Expect _random_samples to have the same dtype as input")
    if samples.dim() != 3:
        raise RuntimeError(f"Expect _random_samples to have 3 dimensions, got {samples.dim()}")
    if samples.shape[0] < planes.shape[0]:
        raise RuntimeError("Expect _random_samples.size(0) no less then input batch size.")
    if samples.shape[1] != planes.shape[1]:
        raise RuntimeError("Expect _random_samples.size(1) equals to input channel size.")
    if samples.shape[2] != n:
        raise RuntimeError(f"Expect _random_samples.size(2) equals to {n}; got {samples.shape[2]}.")


def _fractional(n, input, kernel_size, output_size, output_ratio, samples):
    name = f"fractional_max_pool{n}d"
    as_tuple = _ntuple(n)
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if output_size is None and isinstance(output_ratio, (tuple, list)) and len(output_ratio) != n:
        raise ValueError(f"{name} requires output_ratio to either be a single Int or tuple of Ints.")
    if output_size is None:
        output_size = [int(size * ratio) for size, ratio in zip(input.shape[-n:], as_tuple(output_ratio))]
    kernel_size, output_size = as_tuple(kernel_size), as_tuple(output_size)
    for word, given in (("kernel_size", kernel_size), ("output_size", output_size)):
        if len(given) != n:
            ints = "tuple of two Ints" if n == 2 else "tuple of three Ints"
            raise RuntimeError(f"{name}: {word} must either be a single Int or {ints}, got {given}")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got: {list(input.shape)}")
    is_batched = input.dim() == n + 2
    planes = input if is_batched else input.unsqueeze(0)
    if 0 in planes.shape[1:]:
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, but got {list(input.shape)}"
        )
    if samples is None:
        samples = hookgrad.rand(planes.shape[0], planes.shape[1], n, dtype=input.dtype)
    _check_samples(samples, planes, n)
    samples = samples[: planes.shape[0]]
    words = ("height", "width") if n == 2 else ("time", "height", "width")
    for word, size, out, kernel in zip(words, planes.shape[-n:], output_size, kernel_size):
        if out + kernel - (n == 2) > size:
            where = f"{name}_out()" if n == 3 else f"{name}()"
            raise RuntimeError(f"{where}: pool {word} {kernel} too large relative to input {word} {size}")
    with hookgrad.no_grad():
        indices = _fractional_indices(planes.detach(), kernel_size, output_size, samples)
    if not is_batched:
        indices = indices.squeeze(0)
    return (_take3d if n == 3 else _take2d)(input, indices, kernel_size, tuple(output_size)), indices


def fractional_max_pool2d_with_indices(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
):
    """fractional_max_pool2d and the places of the maxima."""
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
):
    """The maxima of windows of (N, C, H, W) or (C, H, W) that start at random places, evenly spread.

    `output_size`, or `output_ratio` times the input's, says how many there are.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool2d.html
    """
    output, indices = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return (output, indices) if return_indices else output


def fractional_max_pool3d_with_indices(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
):
    """fractional_max_pool3d and the places of the maxima."""
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
):
    """The maxima of windows of (N, C, D, H, W) or (C, D, H, W) that start at random places, evenly spread.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool3d.html
    """
    output, indices = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return (output, indices) if return_indices else output
