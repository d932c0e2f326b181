"""Functions of layers that torch has by itself too, with numbers where nn.functional has words.

Source: https://docs.pytorch.org/docs/stable/torch.html
"""

from .. import _C
from .._given import of_tensors
from ..autograd.grad_mode import no_grad
from . import functional as F
from ._bags import torch_embedding_bag as embedding_bag  # noqa: F401
from ._whole import one_node

_REDUCTIONS = ("none", "mean", "sum")  # "none" by default here, whatever PyTorch's schemas say
_SAMPLING = ("bilinear", "nearest", "bicubic")
_PADDING = ("zeros", "border", "reflection")

# The ops themselves, whatever stands in for those of nn.functional: see _inner.py.
_batch_norm = _C._op_again(_C.nn._batch_norm_any, "batch_norm", "torch")
_layer_norm = _C._op_again(_C.nn.layer_norm, "layer_norm", "torch")
_group_norm = _C._op_again(_C.nn.group_norm, "group_norm", "torch")


def adaptive_max_pool1d(input, output_size):
    """The maxima of as many windows as `output_size` says, and where they stood in L."""
    return F.adaptive_max_pool1d(input, output_size, True)


def affine_grid_generator(theta, size, align_corners):
    """nn.functional.affine_grid."""
    return F.affine_grid(theta, size, align_corners)


def grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners):
    """nn.functional.grid_sample, with the numbers of its modes."""
    return F.grid_sample(input, grid, _SAMPLING[interpolation_mode], _PADDING[padding_mode], align_corners)


def feature_dropout(input, p, train):
    """Zero whole channels of (N, C, *) with probability `p`, while `train`."""
    return F._drop_channels(input, p, train, False)


def dropout_(input, p, train):
    """nn.functional.dropout, in place."""
    return F.dropout(input, p, train, inplace=True)


def feature_dropout_(input, p, train):
    """feature_dropout, in place."""
    return F._drop_channels(input, p, train, True)


def alpha_dropout_(input, p, train):
    """nn.functional.alpha_dropout, in place."""
    return F.alpha_dropout(input, p, train, inplace=True)


def feature_alpha_dropout_(input, p, train):
    """nn.functional.feature_alpha_dropout, in place."""
    return F.feature_alpha_dropout(input, p, train, inplace=True)


def native_dropout(input, p, train):
    """Dropout of `input`, and what it kept: booleans of its shape."""
    kept = _C.ones_like(input, dtype=_C.bool, memory_format=_C.contiguous_format)
    if train is False:
        return _kept(input, kept, p, 1.0), kept
    return _kept(input, kept.bernoulli_(1 - p), p, 1 / (1 - p) if p < 1 else 0.0), kept


@one_node("NativeDropoutBackward0", 0, saved="- result1 p -")
def _kept(input, mask, p, scale):
    return input * mask * scale


def batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled=False):
    """nn.functional.batch_norm, the parameters first."""
    return _batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5, cudnn_enable=True):
    """nn.functional.layer_norm."""
    return _layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True):
    """nn.functional.group_norm."""
    return _group_norm(input, num_groups, weight, bias, eps)


def batch_norm_update_stats(input, running_mean, running_var, momentum):
    """The mean and the variance of each channel of (N, C, *), which the running statistics move towards."""
    if input.numel() == 0:
        raise RuntimeError(f"input tensor must have at least one element, but got input_sizes = {list(input.shape)}")
    with no_grad():
        batch_norm(input, None, None, running_mean, running_var, True, momentum, 1.0)
        channels = input.transpose(0, 1).flatten(1)
        return channels.mean(1), channels.var(1, correction=0)


@one_node("ConvTbcBackward0", 0, 1, 2, saved="self weight bias pad")
def conv_tbc(input, weight, bias, pad=0):
    """Convolution of (T, N, C_in) with weight (K, C_in, C_out) along T: (T', N, C_out)."""
    out = F.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return out.permute(2, 0, 1).contiguous()


def native_channel_shuffle(input, groups):
    """nn.functional.channel_shuffle."""
    return F.channel_shuffle(input, groups)


def instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled=False):
    """nn.functional.instance_norm, the parameters first."""
    return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def binary_cross_entropy_with_logits(input, target, weight=None, pos_weight=None, reduction=0):
    """nn.functional.binary_cross_entropy_with_logits, with a number for the reduction: 0 none, 1 mean, 2 sum."""
    return F.binary_cross_entropy_with_logits(
        input, target, weight, pos_weight=pos_weight, reduction=_REDUCTIONS[reduction]
    )


def cosine_embedding_loss(input1, input2, target, margin=0.0, reduction=0):
    """nn.functional.cosine_embedding_loss, with a number for the reduction."""
    return F.cosine_embedding_loss(input1, input2, target, margin, reduction=_REDUCTIONS[reduction])


def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction=0, zero_infinity=False):
    """nn.functional.ctc_loss, with a number for the reduction."""
    return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, _REDUCTIONS[reduction], zero_infinity)


def hinge_embedding_loss(input, target, margin=1.0, reduction=0):
    """nn.functional.hinge_embedding_loss, with a number for the reduction."""
    return F.hinge_embedding_loss(input, target, margin, reduction=_REDUCTIONS[reduction])


def kl_div(input, target, reduction=0, *, log_target=False):
    """nn.functional.kl_div, with a number for the reduction."""
    loss = F.kl_div(input, target, reduction="none", log_target=log_target)
    return loss if reduction == 0 else loss.mean() if reduction == 1 else loss.sum()


def margin_ranking_loss(input1, input2, target, margin=0.0, reduction=0):
    """nn.functional.margin_ranking_loss, with a number for the reduction."""
    return F.margin_ranking_loss(input1, input2, target, margin, reduction=_REDUCTIONS[reduction])


def poisson_nll_loss(input, target, log_input, full, eps, reduction):
    """nn.functional.poisson_nll_loss, with a number for the reduction."""
    return F.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=_REDUCTIONS[reduction])


def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False, reduction=0):
    """nn.functional.triplet_margin_loss, with a number for the reduction."""
    return F.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction=_REDUCTIONS[reduction])


of_tensors(
    globals(),
    """affine_grid_generator:theta batch_norm_update_stats binary_cross_entropy_with_logits conv_tbc cosine_embedding_loss:input1
    embedding_bag:weight feature_dropout feature_dropout_ grid_sampler group_norm hinge_embedding_loss margin_ranking_loss:input1""",
)
