"""Attention whose scores and mask are functions of the place.

Source: https://docs.pytorch.org/docs/stable/nn.attention.flex_attention.html
"""

import hookgrad

__all__ = [
    "AuxRequest", "BlockMask", "and_masks", "create_block_mask", "create_mask", "flex_attention", "noop_mask", "or_masks",
]  # fmt: skip

_DEFAULT_SPARSE_BLOCK_SIZE = 128


def noop_mask(batch, head, q_idx, kv_idx):
    """The mask function that lets everything see everything."""
    return hookgrad.ones((), dtype=hookgrad.bool, device=batch.device)


def and_masks(*mask_mods):
    """A mask function that is true where all of them are."""
    return lambda b, h, q, kv: _joined(hookgrad.logical_and, [mod(b, h, q, kv) for mod in mask_mods], True)


def or_masks(*mask_mods):
    """A mask function that is true where any of them is."""
    return lambda b, h, q, kv: _joined(hookgrad.logical_or, [mod(b, h, q, kv) for mod in mask_mods], False)


def _joined(join, masks, start):
    joined = hookgrad.tensor(start)
    for mask in masks:
        joined = join(joined, mask)
    return joined


def _places(B, H, Q_LEN, KV_LEN, device):
    """The indices of batch, head, query and key, each along a dimension of its own: functions of them broadcast."""
    sizes = B, H, Q_LEN, KV_LEN
    return [
        hookgrad.arange(size, device=device).view([-1 if place == i else 1 for place in range(4)])
        for i, size in enumerate(sizes)
    ]


def create_mask(mod_fn, B, H, Q_LEN, KV_LEN, device="cpu"):
    """What a mask function gives at every place, of shape (B, H, Q_LEN, KV_LEN); a B or H of None is 1.

    >>> create_mask(lambda b, h, q, kv: q >= kv, None, None, 2, 2)
    tensor([[[[ True, False],
              [ True,  True]]]])
    """
    shape = B or 1, H or 1, Q_LEN, KV_LEN
    return mod_fn(*_places(*shape, device)).expand(shape).contiguous()


class BlockMask:
    """A mask function for so many batches, heads, queries and keys: create_block_mask() makes one."""

    def __init__(self, mask_mod, shape, block_size, device):
        self.mask_mod, self.shape, self.BLOCK_SIZE, self._device = mask_mod, shape, block_size, device
        self.seq_lengths = shape[2:]

    def to_dense(self):
        """Which blocks hold a place that is seen: of shape (B, H, blocks of queries, blocks of keys), int32."""
        mask = create_mask(self.mask_mod, *self.shape, self._device)
        rows, columns = self.BLOCK_SIZE
        mask = hookgrad.nn.functional.pad(mask, (0, -mask.shape[3] % columns, 0, -mask.shape[2] % rows))
        mask = mask.unflatten(3, (-1, columns)).unflatten(2, (-1, rows))
        return mask.any(-1).any(3).to(hookgrad.int32)

    def sparsity(self):
        """How many percent of the scores are in blocks of which nothing is seen."""
        rows, columns = self.BLOCK_SIZE
        seen = self.to_dense().sum().item() * rows * columns
        B, H, n_queries, n_keys = self.shape
        return 100 * (1 - seen / (B * H * n_queries * n_keys))

    def __repr__(self):
        return f"BlockMask(shape={self.shape}, mask_mod={self.mask_mod})"


def create_block_mask(mask_mod, B, H, Q_LEN, KV_LEN, device=None, BLOCK_SIZE=_DEFAULT_SPARSE_BLOCK_SIZE, **settings):
    """A mask for flex_attention() from a function of the indices of batch, head, query and key.

    Here it saves no work: where PyTorch leaves out blocks of which nothing is seen, every score is computed.
    """
    block_size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else tuple(BLOCK_SIZE)
    return BlockMask(mask_mod, (B or 1, H or 1, Q_LEN, KV_LEN), block_size, device or "cpu")


class AuxRequest:
    """Which of lse and max_scores flex_attention() is to return as well."""

    def __init__(self, lse=False, max_scores=False):
        self.lse, self.max_scores = lse, max_scores


class AuxOutput(AuxRequest):
    """What an AuxRequest asked for: tensors, or None."""


def flex_attention(
    query,
    key,
    value,
    score_mod=None,
    block_mask=None,
    scale=None,
    enable_gqa=False,
    return_lse=False,
    kernel_options=None,
    *,
    return_aux=None,
):
    """softmax(score_mod(query @ key.T * scale)) @ value over what `block_mask` lets each query see; where that is nothing, 0.

    query is (B, Hq, L, E), key and value (B, H, S, E); with `enable_gqa` Hq is a multiple of H. `score_mod(score, b, h, q, kv)`
    is called once, with tensors that broadcast. Raises NotImplementedError where a gradient is required, as PyTorch does on
    the CPU.
    """
    if not query.dim() == key.dim() == value.dim() == 4:
        raise NotImplementedError("NYI: query, key, and value must be 4D tensors")
    if hookgrad.is_grad_enabled() and any(t.requires_grad for t in (query, key, value)):
        raise NotImplementedError(
            "FlexAttention does not support backward on CPU. Please set the input requires_grad to False or use another device."
        )
    n_heads, n_shared = query.shape[1], key.shape[1]
    if n_heads != n_shared:
        if not enable_gqa:
            raise ValueError(
                "Expect query and key/value to have the same number of heads "
                f"but got Hq={n_heads} and Hkv={n_shared}. Try setting enable_gqa=True for GQA."
            )
        key, value = (t.repeat_interleave(n_heads // n_shared, 1) for t in (key, value))
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scale is None else scale)
    places = _places(*scores.shape, query.device)
    if score_mod is not None:
        scores = score_mod(scores, *places)
    if block_mask is not None:
        scores = scores.masked_fill(~block_mask.mask_mod(*places), -float("inf"))
    weights = scores.softmax(-1).nan_to_num(0.0)
    out = (weights @ value).to(query.dtype)
    if return_aux is not None:
        aux = AuxOutput(
            scores.logsumexp(-1) if return_aux.lse else None, scores.amax(-1) if return_aux.max_scores else None
        )
        return out, aux
    return (out, scores.logsumexp(-1)) if return_lse else out
