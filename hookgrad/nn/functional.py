"""The functions layers are made of, under the names and with the arguments of torch.nn.functional.

Whatever the core computes under PyTorch's own signature is taken from it as it is: `relu` here is the core's. What
follows are the functions made of several ops, and those whose arguments need a look first.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html
"""

import math
import sys as _sys
from functools import cache as _cache

import hookgrad

from .. import _C
from ._whole import one_node, within_map

# What few programs use is in files of its own, which come with their first use.
_LATE_FAMILIES = {
    "_attention": "_in_projection _in_projection_packed _mha_shape_check multi_head_attention_forward",
    "_bags": "embedding_bag",
    "_losses": """cosine_embedding_loss ctc_loss gaussian_nll_loss hinge_embedding_loss linear_cross_entropy
        margin_ranking_loss multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss poisson_nll_loss soft_margin_loss triplet_margin_loss
        triplet_margin_with_distance_loss""",
    "_noise": """alpha_dropout celu_ dropout3d elu_ feature_alpha_dropout local_response_norm pdist rrelu rrelu_ selu_""",
    "_pooling": """adaptive_avg_pool3d adaptive_max_pool1d_with_indices adaptive_max_pool3d fractional_max_pool2d
        fractional_max_pool2d_with_indices fractional_max_pool3d fractional_max_pool3d_with_indices lp_pool1d lp_pool2d
        lp_pool3d max_pool3d max_unpool1d max_unpool2d max_unpool3d""",
    "torch_functions": "conv_tbc native_channel_shuffle",
    "_vision": """affine_grid channel_shuffle fold grid_sample interpolate pixel_shuffle pixel_unshuffle unfold upsample
        upsample_bilinear upsample_nearest""",
}
_LATE = {name: family for family, names in _LATE_FAMILIES.items() for name in names.split()}

_sys.modules[__name__].__class__ = _C._Package
_OVERRIDES = frozenset(
    "has_torch_function has_torch_function_unary has_torch_function_variadic handle_torch_function".split()
)

Tensor = _C.Tensor
_nn = _C.nn
globals().update({name: getattr(_nn, name) for name in dir(_nn) if not name.startswith("_") and name not in _LATE})
# One function under two names: whoever asks `func is torch.conv2d` means both.
for _name in """adaptive_avg_pool1d avg_pool1d conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d hardshrink prelu
        relu_ threshold_""".split():
    globals()[_name] = getattr(_C, _name)


def __getattr__(name):
    from importlib import import_module

    if name in ("_single", "_pair", "_triple"):
        return getattr(import_module(".modules.utils", __package__), name)
    if name == "grad":
        return import_module(".grad", __package__)
    if name == "_Reduction":
        return import_module("._reduction", __package__)
    if name == "torch":
        return hookgrad
    if name in _OVERRIDES:
        return getattr(import_module("hookgrad.overrides"), name)
    if name not in _LATE:
        raise AttributeError(f"hookgrad has no torch.nn.functional.{name}")
    value = globals()[name] = getattr(import_module("." + _LATE[name], __package__), name)
    value.__module__ = gumbel_softmax.__module__  # which a stand-in may have renamed
    return value


def __dir__():
    return sorted({*globals(), *_LATE})


def _warn(words, stacklevel=3, category=UserWarning):
    from .._warn import warn

    warn(words, category, stacklevel)


def _must_be_tensors(function, **given):
    """TypeError, as of PyTorch's functions in C++, where an argument is something else."""
    for i, (name, value) in enumerate(given.items(), 1):
        if not isinstance(value, hookgrad.Tensor):
            raise TypeError(
                f"{function}(): argument '{name}' (position {i}) must be Tensor, not {type(value).__name__}"
            )


def _must_be_floats(kernel, tensor, halves=True):
    """NotImplementedError where PyTorch's kernel is one of floating numbers, or of those but the `halves`."""
    if not tensor.dtype.is_floating_point or tensor.element_size() == 2 and not halves:
        from ..type_info import not_for

        raise not_for(kernel, tensor.dtype)


# ---- Activations -------------------------------------------------------------------------------------------------


def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """Draw from the categories whose unnormalised log-probabilities are `logits`, so that gradients flow.

    With `hard` the result is one-hot, the gradient that of the soft one.
    """
    if eps != 1e-10:
        _warn("`eps` parameter is deprecated and has no effect.")
    noise = -hookgrad.empty_like(logits).exponential_().log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one_hot = hookgrad.zeros_like(logits).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft


# ---- Dropout -----------------------------------------------------------------------------------------------------


def _check_probability(p):
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _shape_of_channels(input):
    """One number for each channel of (N, C, *): that shape."""
    return [*input.shape[:2]] + [1] * (input.dim() - 2)


def _drop_channels(input, p, training, inplace):
    """Zero whole channels (dimension 1): one draw for each sample and channel."""
    if not training or p == 0.0 or input.numel() == 0:
        return input
    if input.dim() < 2 and p < 1:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    mask = _nn.dropout(input.new_ones(_shape_of_channels(input)), p)
    return input.mul_(mask) if inplace else input * mask


def dropout1d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of (N, C, L) or (C, L) with probability `p`."""
    _check_probability(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. Note that dropout1d exists to "
            "provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional "
            "batch dimension (i.e. 2D or 3D inputs)."
        )
    if input.dim() == 3:
        return _drop_channels(input, p, training, inplace)
    return _drop_channels(input.unsqueeze(0), p, training, inplace).squeeze(0)


def dropout2d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of (N, C, H, W) with probability `p`. A 3D input counts as (N, C, L), as in PyTorch."""
    _check_probability(p)
    if input.dim() not in (3, 4):
        _warn(
            f"dropout2d: Received a {input.dim()}-D input to dropout2d, which is deprecated and will result in an error in a "
            "future release. To retain the behavior and silence this warning, please use dropout instead."
        )
    elif input.dim() == 3:
        _warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired: it "
            "is taken as (N, C, L). Use dropout1d to say so."
        )
    return _drop_channels(input, p, training, inplace)


# ---- Normalisation -----------------------------------------------------------------------------------------------


def instance_norm(
    input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
):
    """Normalise each channel of each sample of (N, C, *) by itself."""
    if use_input_stats and math.prod(input.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape}")
    n, channels, *rest = input.shape

    def for_each_sample(t):
        return None if t is None else t.repeat(n)

    # Batch normalisation of one sample that has the channels of all of them.
    weight, bias = for_each_sample(weight), for_each_sample(bias)
    mean, var = for_each_sample(running_mean), for_each_sample(running_var)
    y = _nn._batch_norm_any(
        input.reshape(1, n * channels, *rest),
        mean,
        var,
        weight,
        bias,
        use_input_stats,
        momentum,
        eps,
    )
    if use_input_stats:
        with hookgrad.no_grad():
            for running, each in ((running_mean, mean), (running_var, var)):
                if running is not None:
                    running.copy_(each.reshape(n, channels).mean(0))
    return y.reshape(input.shape)


def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    """Divide vectors along `dim` by their p-norm, or by `eps` where that is larger.

    >>> import hookgrad as torch
    >>> normalize(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    result = input / input.norm(p, dim, keepdim=True).clamp_min(eps).expand_as(input)
    return result if out is None else hookgrad.clone(result, out=out)


# ---- Distances ---------------------------------------------------------------------------------------------------


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """The cosine of the angle between vectors along `dim`; norms count as no less than `eps`.

    >>> import hookgrad as torch
    >>> cosine_similarity(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    tensor([0.7071])
    """
    _must_be_tensors("cosine_similarity", x1=x1, x2=x2)
    dtype = hookgrad.promote_types(x1.dtype, x2.dtype)
    if not dtype.is_floating_point:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {dtype}")
    x1, x2 = x1.to(dtype), x2.to(dtype)
    if x1.shape != x2.shape:
        x1, x2 = hookgrad.broadcast_tensors(x1, x2)
    lengths = [hookgrad.linalg.vector_norm(x, 2, dim, keepdim=True).clone() for x in (x1, x2)]
    with hookgrad.no_grad():
        for length in lengths:
            length.clamp_min_(eps)
    second = x2 / lengths[1]  # made first, as PyTorch's compiler has it
    return ((x1 / lengths[0]) * second).sum(dim)


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """The p-norm of x1 - x2 + eps along the last dimension."""
    _must_be_tensors("pairwise_distance", x1=x1, x2=x2)
    return _C._norm(_C._add(x1 - x2, eps), p, max(x1.dim(), x2.dim()) - 1, keepdim)


# ---- Attention ---------------------------------------------------------------------------------------------------


def _none_or_dtype(input):
    if input is None or isinstance(input, hookgrad.Tensor):
        return None if input is None else input.dtype
    raise RuntimeError("input to _none_or_dtype() must be None or torch.Tensor")


def _canonical_mask(mask, mask_name, other_type, other_name, target_type, check_other=True):
    """A mask as what is added to scores: minus infinity where a boolean one is True."""
    if mask is None:
        return None
    if not mask.is_floating_point() and mask.dtype != hookgrad.bool:
        raise AssertionError(f"only bool and floating types of {mask_name} are supported")
    if check_other and other_type is not None and mask.dtype != other_type:
        _warn(f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type for both instead.", 4)
    if mask.is_floating_point():
        return mask
    return hookgrad.zeros(mask.shape, dtype=target_type).masked_fill_(mask, -math.inf)


def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    """softmax(query @ key.T * scale + mask) @ value, for query (*, L, E), key (*, S, E), value (*, S, Ev).

    A boolean mask (*, L, S) says what may be attended to, any other is added; `is_causal` lets a query see the keys up
    to its own place; `scale` is 1/sqrt(E) unless given; `enable_gqa` shares each head of key and value between several
    of query.

    >>> import hookgrad as torch
    >>> q = k = torch.eye(2)
    >>> scaled_dot_product_attention(q, k, torch.tensor([[1.0], [3.0]]), is_causal=True)
    tensor([[1.0000],
            [2.3395]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
    """
    settings = query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa
    _must_be_tensors("scaled_dot_product_attention", query=query, key=key, value=value)
    _check_attention(query, key, value, attn_mask)
    # What PyTorch's kernel for the processor takes is one node, as there.
    if (
        query.dim() == key.dim() == value.dim() == 4
        and query.shape[-1] == value.shape[-1]
        and dropout_p == 0.0
        and 0 not in (query.shape[-2], key.shape[-2])
        and query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
        and not (attn_mask is not None and attn_mask.requires_grad)
    ):
        return _attention_at_once(*settings)
    if is_causal and attn_mask is not None:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    return _attention(*settings)


def _check_attention(query, key, value, mask):
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(
            f"Expected query, key, and value to have the same dtype, but got query.dtype: {query.dtype._c_name()} key.dtype: "
            f"{key.dtype._c_name()} and value.dtype: {value.dtype._c_name()} instead."
        )
    if min(query.dim(), key.dim(), value.dim()) < 2:
        raise RuntimeError(
            f"Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: {query.dim()} key.dim: "
            f"{key.dim()} and value.dim: {value.dim()} instead."
        )
    if mask is not None and mask.dtype not in (hookgrad.bool, hookgrad.float32, query.dtype):
        raise RuntimeError(
            f"Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
            f"{mask.dtype._c_name()} and  query.dtype: {query.dtype._c_name()} instead."
        )


def _attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, sums=None):
    """The logarithms of what the weights are divided by are appended to `sums`, where it is there."""
    if scale is None:
        size = query.shape[-1]
        scale = 1.0 / math.sqrt(size) if size else math.inf
    if enable_gqa:
        heads = query.size(-3)
        if heads % key.size(-3) or heads % value.size(-3):
            raise RuntimeError("Number of heads in key and value must divide the number of heads in ")
        key, value = (x.repeat_interleave(heads // x.size(-3), -3) for x in (key, value))
    # Both factors take half of the scale, which keeps the products small.
    half = math.sqrt(abs(scale))
    scores = _C._mul(query, math.copysign(half, scale)) @ _C._mul(key.transpose(-2, -1), half)
    if is_causal:
        seen = hookgrad.ones((query.shape[-2], key.shape[-2]), dtype=hookgrad.bool).tril()
        scores = scores + _canonical_mask(~seen, "attn_mask", None, "", query.dtype)
    if attn_mask is not None:
        if attn_mask.dtype == hookgrad.bool:
            attn_mask = _canonical_mask(~attn_mask, "attn_mask", None, "", query.dtype)
        scores = scores + attn_mask
    weights = _safe_softmax(scores)
    if sums is not None:
        sums.append(scores.detach().amax(-1) - weights.detach().amax(-1).log())
    if dropout_p > 0.0:
        weights = _nn.dropout(weights, dropout_p)
    return weights @ value


def _attention_at_once(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa):
    """One node, by the core's kernel where it has one for the type."""
    if query.dtype == hookgrad.float32 and not enable_gqa and not (is_causal and attn_mask is not None):
        if attn_mask is not None and attn_mask.dtype == hookgrad.bool:
            attn_mask = _canonical_mask(~attn_mask, "attn_mask", None, "", query.dtype)
        if key.shape[:2] == query.shape[:2]:
            return _C._scaled_dot_product_flash_attention_for_cpu(
                query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale
            )[0]
    return _attention_of_ops(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)[0]


@one_node(
    "ScaledDotProductFlashAttentionForCpuBackward0",
    0,
    1,
    2,
    saved="query key value attn_mask dropout_p is_causal scale",
    results="output logsumexp",
    differentiable=1,
)
def _attention_of_ops(query, *settings):
    sums = []
    output = _attention(query, *settings, sums)
    sums = sums[0].transpose(1, 2).contiguous().transpose(1, 2)
    if query.is_contiguous():
        return output, sums
    # It lies in memory as the query does: dimensions in the order of their strides.
    order = sorted(range(4), key=lambda dim: -query.stride(dim))
    return output.permute(order).contiguous().permute([order.index(dim) for dim in range(4)]), sums


@_cache  # to ask for an op by name takes milliseconds
def _softmax_backward_data():
    from .._ops import ops

    return ops.aten._function("_softmax_backward_data")


def _of_softmax(grad, scores, dim, result):
    return _softmax_backward_data()(grad, result, dim)


@one_node("SafeSoftmaxBackward0", 0, saved="- dim", results="result", derivative=_of_softmax)
def _safe_softmax(scores, dim=-1):
    """softmax over the last dimension, zeros where everything is minus infinity."""
    is_masked = (scores == -math.inf).all(-1, keepdim=True)
    if not (within_map() or is_masked.any()):
        return scores.softmax(-1)
    return scores.masked_fill(is_masked, 0.0).softmax(-1).masked_fill(is_masked, 0.0)


def _of_trilinear(grad, x, y, z, no_x, no_y, no_z, summed):
    return (
        _trilinear(grad, y, z, summed, no_y, no_z, no_x),
        _trilinear(x, grad, z, no_x, summed, no_z, no_y),
        _trilinear(x, y, grad, no_x, no_y, summed, no_z),
    )


@one_node("TrilinearBackward0", 0, 1, 2, saved="i1 i2 i3 expand1 expand2 expand3 sumdim", derivative=_of_trilinear)
def _trilinear(x, y, z, no_x, no_y, no_z, summed):
    """The products of three tensors of four dimensions, but those that each has not, summed along some."""
    letters = ["".join([c for d, c in enumerate("abcd") if d not in without]) for without in (no_x, no_y, no_z, summed)]
    return hookgrad.einsum("{},{},{}->{}".format(*letters), x, y, z)


def bilinear(input1, input2, weight, bias=None):
    """x1 @ weight @ x2 + bias for each output feature: x1 (*, in1), x2 (*, in2), weight (out, in1, in2).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.bilinear.html
    """
    _must_be_tensors("bilinear", input1=input1, input2=input2)
    if not input1.dtype == input2.dtype == weight.dtype:
        raise RuntimeError(
            f"All tensors must have the same dtype, got input1: {input1.dtype._c_name()}, input2: {input2.dtype._c_name()}, "
            f"weight: {weight.dtype._c_name()}"
        )
    if input1.dim() != input2.dim():
        raise RuntimeError(f"bilinear(): input dimensions do not match: got {input1.dim()} and {input2.dim()}")
    for i in range(input1.dim() - 1):
        if input1.shape[i] != input2.shape[i]:
            raise RuntimeError(
                f"bilinear(): input batch dimensions do not match at dim {i}: got {input1.shape[i]} and {input2.shape[i]}"
            )
    for which, size, wanted in ((1, input1.shape[-1], weight.shape[1]), (2, input2.shape[-1], weight.shape[2])):
        if size != wanted:
            raise RuntimeError(
                f"bilinear(): input{which} size does not match weight size: got {size} but expected {wanted}"
            )
    if bias is not None and bias.shape[0] != weight.shape[0]:
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {bias.shape[0]} but expected {weight.shape[0]}"
        )
    x1, x2 = input1.reshape(-1, input1.shape[-1]), input2.reshape(-1, input2.shape[-1])
    y = _trilinear(x1, weight, x2, (1, 3), (0,), (1, 2), (2, 3))
    y = y.view([*input1.shape[:-1], weight.shape[0]])
    return y if bias is None else y + bias


# ---- Pooling -----------------------------------------------------------------------------------------------------


def max_pool1d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The maximum of each window of (N, C, L) or (C, L); with `return_indices` also where it stood in L."""
    op = _nn.max_pool1d_with_indices if return_indices else hookgrad.max_pool1d
    return op(input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The maximum of each window of (N, C, H, W) or (C, H, W); with `return_indices` also where it stood in H * W."""
    op = _nn.max_pool2d_with_indices if return_indices else hookgrad.max_pool2d
    return op(input, kernel_size, stride, padding, dilation, ceil_mode)


def adaptive_avg_pool2d(input, output_size):
    """The means of as many windows as `output_size` says, None keeping the input's size.

    >>> import hookgrad as torch
    >>> adaptive_avg_pool2d(torch.tensor([[[1.0, 3.0], [5.0, 7.0]]]), (1, None))
    tensor([[[3., 5.]]])
    """
    return _nn.adaptive_avg_pool2d(input, _full_size(output_size, input.shape, 2))


def adaptive_max_pool2d(input, output_size, return_indices=False):
    """The maxima of as many windows as `output_size` says; with `return_indices` also where they stood in H * W."""
    output, indices = _nn.adaptive_max_pool2d_with_indices(input, _full_size(output_size, input.shape, 2))
    return (output, indices) if return_indices else output


def adaptive_max_pool1d(input, output_size, return_indices=False):
    """The maxima of as many windows as `output_size` says; with `return_indices` also where they stood in L."""
    size = output_size
    _must_be_tensors("adaptive_max_pool1d", input=input)
    if not isinstance(size, int):
        if len(size) != 1:
            raise RuntimeError(f"adaptive_max_pool1d() argument 'output_size' should contain one int (got {len(size)})")
        size = size[0]
    output, indices = _nn.adaptive_max_pool2d_with_indices(input.unsqueeze(-2), (1, size))
    return (output.squeeze(-2), indices.squeeze(-2)) if return_indices else output.squeeze(-2)


def _full_size(output_size, input_size, n):
    """The last n sizes of an output, None standing for the input's."""
    if isinstance(output_size, int):
        return (output_size,) * n
    if len(input_size) <= len(output_size):
        raise ValueError(f"Input dimension should be at least {len(output_size) + 1}")
    own = input_size[-len(output_size) :]
    return tuple([given if given is not None else size for given, size in zip(output_size, own)])


# ---- Losses ------------------------------------------------------------------------------------------------------


def _reduction(size_average, reduce, reduction, stacklevel=4):
    """The word for how losses are put together; `size_average` and `reduce` are the old way to say it."""
    if size_average is None and reduce is None:
        return reduction
    average = size_average is None or size_average
    reduction = ("mean" if average else "sum") if reduce is None or reduce else "none"
    _warn(f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.", stacklevel)
    return reduction


def _check_weight(input, weight):
    if weight is not None and weight.size() != input.size():
        raise ValueError("Weights and input must have the same size.")


def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """(input - target)², both (*); `weight` weighs the elements.

    >>> import hookgrad as torch
    >>> mse_loss(torch.zeros(2), torch.tensor([1.0, 3.0]))
    tensor(5.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.mse_loss.html
    """
    _check_weight(input, weight)
    return _nn.mse_loss(input, target, reduction=_reduction(size_average, reduce, reduction), weight=weight)


def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """|input - target|, both (*); `weight` weighs the elements."""
    _check_weight(input, weight)
    return _nn.l1_loss(input, target, reduction=_reduction(size_average, reduce, reduction), weight=weight)


def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """|d| - beta / 2 for the difference d, or d² / (2 beta) where |d| < `beta`."""
    return _nn.smooth_l1_loss(input, target, reduction=_reduction(size_average, reduce, reduction), beta=beta)


def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """delta * (|d| - delta / 2) for the difference d, or d² / 2 where |d| < `delta`; `weight` weighs the elements."""
    if weight is None:
        return _nn.huber_loss(input, target, reduction, delta)
    _check_weight(input, weight)
    loss = _nn.huber_loss(input, target, "none", delta) * weight
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"Invalid reduction mode: {reduction}. Expected one of 'none', 'mean', 'sum'.")
    return loss if reduction == "none" else getattr(loss, reduction)()


def binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """-(target * log(input) + (1 - target) * log(1 - input)), both between 0 and 1; logarithms no less than -100."""
    return _nn.binary_cross_entropy(input, target, weight, reduction=_reduction(size_average, reduce, reduction))


def binary_cross_entropy_with_logits(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """binary_cross_entropy of sigmoid(input), computed without loss; `pos_weight` weighs the positive targets."""
    reduction = _reduction(size_average, reduce, reduction)
    loss = _nn.binary_cross_entropy_with_logits(input, target, weight, reduction=reduction, pos_weight=pos_weight)
    return loss.to(target.dtype) if target.is_floating_point() and target.dtype != loss.dtype else loss


def kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    """target * (log(target) - input), input being log-probabilities; "batchmean" divides by the batch only."""
    reduction = _reduction(size_average, reduce, reduction)
    if reduction == "mean":
        _warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release."
        )
    return _nn.kl_div(input, target, reduction=reduction, log_target=log_target)


def nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
    """-input[target], for log-probabilities (N, C, *) or (C) and classes (N, *)."""
    reduction = _reduction(size_average, reduce, reduction)
    return _nn.nll_loss(input, target, weight, ignore_index=ignore_index, reduction=reduction)


def cross_entropy(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
):
    """-log softmax(input)[target]: input (N, C, *) or (C), target classes (N, *) or probabilities (N, C, *).

    >>> import hookgrad as torch
    >>> cross_entropy(torch.zeros(3, 5), torch.tensor([1, 0, 4]))
    tensor(1.6094)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cross_entropy.html
    """
    reduction = _reduction(size_average, reduce, reduction)
    return _nn.cross_entropy(
        input, target, weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
    )
