"""Bags of embeddings, as a function. `functional` has it under PyTorch's name; `torch.embedding_bag` is here too."""

import hookgrad

from .. import _C
from .._levels import anywhere
from . import functional as F
from ._whole import one_node

_MODES = ("sum", "mean", "max")


_NO_PADDING = 2**64 - 1  # -1, as PyTorch's node shows it


def _bag(
    weight, per_sample_weights, indices, padding_idx, scale_grad_by_freq, mode, layout, offsets, _1, _2, maxima, *shown
):
    """The bags (N, D) of the rows of weight that the indices name.

    `layout`: in which bag each index is, how many bags there are, how many indices of each count, and the size that all have, if
    they have one. `maxima` (N, D): of which row each maximum is.
    """
    bag_of, n_bags, counts, size = layout
    if mode == 2:
        # A bag of nothing is zeros, taken from the rows all the same: the weight has a gradient then, of zeros.
        return weight.gather(0, maxima).masked_fill((counts == 0).unsqueeze(1), 0.0) if n_bags else weight[:0] * 1
    if padding_idx == _NO_PADDING:
        padding_idx = None
    rows = _C.embedding(weight, indices, -1 if padding_idx is None else padding_idx, scale_grad_by_freq)
    if padding_idx is not None:
        counted = (indices != padding_idx).unsqueeze(1)
        rows = rows.masked_fill(~counted, 0.0)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    if size:
        total = rows.view(n_bags, size, -1).sum(1)
    else:
        total = rows.new_zeros((n_bags, weight.shape[1])).index_add(0, bag_of, rows)
    return total if mode == 0 else total / counts.clamp_min(1).unsqueeze(1).to(total.dtype)


def _plain_gradient(grad, weight, _, indices, padding_idx, _1, mode, layout, *shown):
    """The gradient by the weight of bags of rows as they are: no sum is made again for it."""
    bag_of, _2, counts, _3 = layout
    if mode:
        grad = grad / counts.clamp_min(1).unsqueeze(1).to(grad.dtype)
    rows = grad.index_select(0, bag_of)
    if padding_idx != _NO_PADDING:
        rows = rows.masked_fill((indices == padding_idx).unsqueeze(1), 0.0)
    return rows.new_zeros(weight.shape).index_add_(0, indices, rows), None


_BAG = "per_sample_weights indices padding_idx scale_grad_by_freq mode - offsets result1 result2 result3 sparse weight_sym_argsize_0"
# Only the gradient by the weights of the samples depends on the weight: else the node shows None.
_bag_of_weighted = one_node("EmbeddingBagBackward0", 0, 1, saved=f"weight {_BAG}", twice=True)(_bag)
_plain_bag = one_node("EmbeddingBagBackward0", 0, 1, saved=f"= {_BAG} weight", derivative=_plain_gradient, twice=True)(
    _bag
)
_bag = one_node("EmbeddingBagBackward0", 0, 1, saved=f"= {_BAG} weight", twice=True)(_bag)


def _places_of_maxima(weight, indices, bag_of, n_bags, size, padding_idx):
    """For each bag and column the index whose row has the maximum: (N, D), 0 in a bag of nothing."""
    if size and padding_idx is None:
        return indices.view(n_bags, size).gather(1, weight[indices].view(n_bags, size, -1).argmax(1))
    places = indices.new_zeros((n_bags, weight.shape[1]))
    for i in range(n_bags):
        inside = indices[(bag_of == i) & (indices != (-1 if padding_idx is None else padding_idx))]
        if inside.numel():
            places[i] = inside[weight[inside].argmax(0)]
    return places


def _check_types(weight, indices, offsets, per_sample_weights):
    if weight.dim() != 2:
        raise RuntimeError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}")
    for name, tensor in (("indices", indices), ("offsets", offsets)):
        if tensor.dtype not in (hookgrad.int64, hookgrad.int32):
            raise RuntimeError(
                f"Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
                f"{tensor.type()} instead for {name} (while checking arguments for embedding_bag)"
            )
    if per_sample_weights is not None and per_sample_weights.dtype != weight.dtype:
        raise RuntimeError(
            f"Expected tensor for argument #1 'weight' to have the same type as tensor for argument #1 'per_sample_weights'; "
            f"but type {weight.type()} does not equal {per_sample_weights.type()} (while checking arguments for embedding_bag)"
        )


def _starts(offsets, n_indices, include_last_offset):
    """Where each bag begins, as a list."""
    starts = offsets.tolist()
    if include_last_offset:
        if not starts:
            raise RuntimeError("include_last_offset: number of offset should be at least 1")
        starts = starts[:-1]
    if starts and starts[0] != 0:
        raise RuntimeError(
            f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, got "
            f"{starts[0]}"
        )
    if starts and starts[-1] > n_indices:
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length {n_indices} but got offsets[-1] of {starts[-1]}"
        )
    return starts


def torch_embedding_bag(
    weight,
    indices,
    offsets,
    scale_grad_by_freq=False,
    mode=0,
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """torch.embedding_bag: the bags, the bag of each index, the size of each bag, and where the maxima came from."""
    if sparse:
        raise NotImplementedError("embedding_bag(): sparse=True is not supported by hookgrad")
    if padding_idx is not None:
        if not -weight.shape[0] <= padding_idx < weight.shape[0]:
            raise RuntimeError("padding_idx must be within the number of embeddings")
        padding_idx %= weight.shape[0]
    _check_types(weight, indices, offsets, per_sample_weights)
    starts = _starts(offsets, indices.numel(), include_last_offset)
    sizes = [b - a for a, b in zip(starts, [*starts[1:], indices.numel()])]
    counts = hookgrad.tensor(sizes, dtype=hookgrad.int64)
    size = sizes[0] if len(set(sizes)) == 1 else None
    bag_of = hookgrad.arange(len(sizes)).repeat_interleave(counts if size is None else size)
    indices = indices.long()
    if anywhere((indices < 0) | (indices >= weight.shape[0])):
        wrong = indices[(indices < 0) | (indices >= weight.shape[0])]
        raise RuntimeError(
            f"embedding_bag: Expected idx >= 0 && idx < num_embeddings but found idx to be {int(wrong[0])}"
        )
    if padding_idx is not None:
        counts = hookgrad.zeros_like(counts).index_add(0, bag_of, (indices != padding_idx).long())
    n = len(sizes)
    found = bag_of, counts, counts
    if mode == 2:
        with hookgrad.no_grad():
            found = bag_of, counts, _places_of_maxima(weight, indices, bag_of, n, size, padding_idx)
    elif mode == 0:  # PyTorch's kernel has no need of them
        is_fast = padding_idx is None and weight.dtype != hookgrad.float64
        found = bag_of[:0] if is_fast else bag_of, hookgrad.zeros_like(counts), hookgrad.zeros_like(counts)
    settings = _NO_PADDING if padding_idx is None else padding_idx, scale_grad_by_freq, mode
    shown = offsets, *found, sparse, weight.shape[0], None
    is_by_weight = per_sample_weights is not None and per_sample_weights.requires_grad
    is_plain = mode != 2 and per_sample_weights is None and not scale_grad_by_freq
    bags = (_bag_of_weighted if is_by_weight else _plain_bag if is_plain else _bag)(
        weight, per_sample_weights, indices, *settings, (bag_of, n, counts, size), *shown
    )
    return bags, *found


def _in_a_row(input, offsets, per_sample_weights, include_last_offset):
    """The four, where input (bags, size) becomes one row."""
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length sequences. "
                f"However, found offsets of type {type(offsets)}"
            )
        offsets = hookgrad.arange(0, input.numel(), input.size(1), dtype=input.dtype)
        weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
        return input.reshape(-1), offsets, weights, False
    if input.dim() != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets.dim() != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    return input, offsets, per_sample_weights, include_last_offset


def embedding_bag(
    input,
    weight,
    offsets=None,
    max_norm=None,
    norm_type=2,
    scale_grad_by_freq=False,
    mode="mean",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """The mean, sum or maximum of the rows of weight (V, D) that each bag names: (bags, D).

    input is (bags, size), or in a row (sum of sizes) with `offsets` saying where each bag starts.

    >>> import hookgrad as torch
    >>> embedding_bag(torch.tensor([0, 1, 1]), torch.tensor([[1.0], [3.0]]), torch.tensor([0, 2]))
    tensor([[2.],
            [3.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding_bag.html
    """
    if weight.dtype == hookgrad.long and input.is_floating_point():
        F._warn(
            "Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, input, ...)` is "
            "deprecated, and should now be `embedding_bag(input, weight, ...)`."
        )
        weight, input = input, weight
    if per_sample_weights is not None and input.size() != per_sample_weights.size():
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then it must have the same "
            f"shape as the input ({input.shape})"
        )
    if weight.dim() != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}")
    input, offsets, per_sample_weights, include_last_offset = _in_a_row(
        input, offsets, per_sample_weights, include_last_offset
    )
    if mode not in _MODES:
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max":
        if scale_grad_by_freq:
            raise ValueError("max mode does not support scaling the gradient by the frequency")
        if sparse:
            raise ValueError("max mode does not support sparse weights")
    if max_norm is not None:
        with hookgrad.no_grad():
            F.embedding(input, weight, None, max_norm, norm_type)  # which shortens the rows
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
            f"(got mode='{mode}'). Please open a feature request on GitHub."
        )
    return torch_embedding_bag(
        weight,
        input,
        offsets,
        scale_grad_by_freq,
        _MODES.index(mode),
        sparse,
        per_sample_weights,
        include_last_offset,
        padding_idx,
    )[0]
