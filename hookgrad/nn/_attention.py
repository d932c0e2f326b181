"""Attention with several heads, as a function. `functional` has it under PyTorch's name."""

import math

import hookgrad

from . import functional as F


def _mha_shape_check(query, key, value, key_padding_mask, attn_mask, num_heads):
    """Is there a batch? Fails where the others do not fit a query with or without one."""
    if query.dim() not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D query tensor"
        )
    n = query.dim()
    kind = f"For {'batched (3-D)' if n == 3 else 'unbatched (2-D)'} `query`, expected"
    if key.dim() != n or value.dim() != n:
        raise AssertionError(
            f"{kind} `key` and `value` to be {n}-D but found {key.dim()}-D and {value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != n - 1:
        raise AssertionError(
            f"{kind} `key_padding_mask` to be `None` or {n - 1}-D but found {key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None:
        if attn_mask.dim() not in (2, 3):
            raise AssertionError(
                f"{kind} `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D tensor instead"
            )
        expected = (num_heads, query.shape[0], key.shape[0])
        if n == 2 and attn_mask.dim() == 3 and attn_mask.shape != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {attn_mask.shape}")
    return n == 3


def _in_projection_packed(query, key, value, weight, bias=None):
    """Query, key and value times their thirds of the weight; one product for those that are the same tensor."""
    width = query.shape[-1]
    if key is value and query is key:
        three = F.linear(query, weight, bias).unflatten(-1, (3, width))
        three = three.unsqueeze(0).transpose(0, -2).squeeze(-2).contiguous()
        return three[0], three[1], three[2]
    if key is value:
        w_q, w_kv = weight.split([width, 2 * width])
        b_q, b_kv = (None, None) if bias is None else bias.split([width, 2 * width])
        q = F.linear(query, w_q, b_q)
        both = F.linear(key, w_kv, b_kv).unflatten(-1, (2, width))
        both = both.unsqueeze(0).transpose(0, -2).squeeze(-2).contiguous()
        return q, both[0], both[1]
    weights = weight.chunk(3)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return tuple(F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases))


def _in_projection(q, k, v, w_q, w_k, w_v, b_q=None, b_k=None, b_v=None):
    """Query, key and value times a weight each."""
    return F.linear(q, w_q, b_q), F.linear(k, w_k, b_k), F.linear(v, w_v, b_v)


def _checked_mask(mask, n, num_heads, tgt_len, src_len):
    """attn_mask with three dimensions, the first 1 or n * num_heads."""
    if mask.dim() not in (2, 3):
        raise RuntimeError(f"attn_mask's dimension {mask.dim()} is not supported")
    expected = (tgt_len, src_len) if mask.dim() == 2 else (n * num_heads, tgt_len, src_len)
    if mask.shape != expected:
        raise RuntimeError(f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}.")
    return mask.unsqueeze(0) if mask.dim() == 2 else mask


def _by_heads(x, heads, head_dim, fixed=None, name=""):
    """(heads, L or S, head_dim) of (L or S, N, E), or the keys or values of that name that are fixed."""
    if fixed is None:
        return x.view(x.shape[0], heads, head_dim).transpose(0, 1)
    for dim, expected in ((0, heads), (2, head_dim)):
        if fixed.size(dim) != expected:
            raise AssertionError(f"expecting {name}.size({dim}) of {expected}, but got {fixed.size(dim)}")
    return fixed


def _masks(attn_mask, key_padding_mask, is_causal, need_weights, dtype):
    """(the mask, that of the keys, whether both say no more than is_causal does), as numbers to be added."""
    key_padding_mask = F._canonical_mask(
        key_padding_mask, "key_padding_mask", F._none_or_dtype(attn_mask), "attn_mask", dtype
    )
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and key_padding_mask is None and not need_weights:
        return None, None, True
    attn_mask = F._canonical_mask(attn_mask, "attn_mask", None, "", dtype, check_other=False)
    return attn_mask, key_padding_mask, is_causal and key_padding_mask is None


def _projected(query, key, value, packed, separate, bias):
    """What the three become by their weights, which are one tensor or three."""
    if separate is not None:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
            )
        biases = (None, None, None) if bias is None else bias.chunk(3)
        return _in_projection(query, key, value, *separate, *biases)
    if key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
    if packed is None:
        raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
    return _in_projection_packed(query, key, value, packed, bias)


def _with_biases(k, v, bias_k, bias_v, static_k, static_v):
    """A further key and value, the same for every entry of the batch."""
    if bias_k is None or bias_v is None:
        names = ("bias_v", "bias_k") if bias_k is None else ("bias_k", "bias_v")
        raise AssertionError("{} is set but {} is None".format(*names))
    for name, fixed in (("key", static_k), ("value", static_v)):
        if fixed is not None:
            raise AssertionError(f"bias cannot be added to static {name}.")
    n = k.shape[1]
    return hookgrad.cat([k, bias_k.repeat(1, n, 1)]), hookgrad.cat([v, bias_v.repeat(1, n, 1)])


def _weighed(q, k, v, attn_mask, dropout_p):
    """(the values weighed, their weights), op by op."""
    q = q * math.sqrt(1.0 / q.shape[-1])
    keys = k.transpose(-2, -1)
    weights = hookgrad.bmm(q, keys) if attn_mask is None else hookgrad.baddbmm(attn_mask, q, keys)
    weights = weights.softmax(-1)
    if dropout_p > 0.0:
        weights = F.dropout(weights, dropout_p)
    return hookgrad.bmm(weights, v), weights


def _with_zeros(k, v):
    """A further key and value of zeros, behind those of each head (heads, S, head_dim)."""
    zeros = hookgrad.zeros((k.shape[0], 1, k.shape[2]), dtype=k.dtype)
    return hookgrad.cat([k, zeros], dim=1), hookgrad.cat([v, zeros], dim=1)


def _one_mask(attn_mask, padding, n, num_heads, src_len, extra):
    """The mask (1 or n * num_heads, L or 1, S), with that of the keys (n, S) added for each head; None without either.

    Of S keys the last `extra` are not among the given ones, and never masked."""
    if extra:
        attn_mask = None if attn_mask is None else F.pad(attn_mask, (0, extra))
        padding = None if padding is None else F.pad(padding, (0, extra))
    if padding is None:
        return attn_mask
    if padding.shape[1] != src_len:
        raise AssertionError(f"Expected key_padded_mask.shape[1] to be {src_len}, but got {padding.shape[1]}")
    padding = padding.view(n, 1, 1, src_len).expand(-1, num_heads, -1, -1).reshape(n * num_heads, 1, src_len)
    return padding if attn_mask is None else attn_mask + padding


def _fused(q, k, v, attn_mask, dropout_p, is_causal, n, num_heads):
    """The values weighed (L * n, E), of heads (n * num_heads, L or S, head_dim), by the function that keeps no weights."""
    head_dim = q.shape[-1]
    if attn_mask is not None:
        is_shared = attn_mask.size(0) == 1
        attn_mask = attn_mask.unsqueeze(0) if is_shared else attn_mask.view(n, num_heads, -1, k.shape[1])
    q, k, v = (x.view(n, num_heads, x.shape[1], head_dim) for x in (q, k, v))
    output = F.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal)
    return output.permute(2, 0, 1, 3).reshape(n * q.shape[2], num_heads * head_dim)


def multi_head_attention_forward(
    query,
    key,
    value,
    embed_dim_to_check,
    num_heads,
    in_proj_weight,
    in_proj_bias,
    bias_k,
    bias_v,
    add_zero_attn,
    dropout_p,
    out_proj_weight,
    out_proj_bias,
    training=True,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    use_separate_proj_weight=False,
    q_proj_weight=None,
    k_proj_weight=None,
    v_proj_weight=None,
    static_k=None,
    static_v=None,
    average_attn_weights=True,
    is_causal=False,
):
    """What MultiheadAttention computes, with its weights: query (L, N, E), key (S, N, kdim), value (S, N, vdim), or all
    without N. Returns the output, shaped like query, and the weights (N, L, S) or None.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html
    """
    is_batched = _mha_shape_check(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not is_batched:
        # One tensor becomes three: as in PyTorch there are three products then.
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    tgt_len, n, embed_dim = query.shape
    src_len = key.shape[0]
    attn_mask, key_padding_mask, is_causal = _masks(attn_mask, key_padding_mask, is_causal, need_weights, query.dtype)
    if embed_dim != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed_dim}")
    head_dim = embed_dim // num_heads
    if head_dim * num_heads != embed_dim:
        raise AssertionError(f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    q, k, v = _projected(query, key, value, in_proj_weight, separate, in_proj_bias)
    if attn_mask is not None:
        attn_mask = _checked_mask(attn_mask, n, num_heads, tgt_len, src_len)

    has_biases = bias_k is not None or bias_v is not None
    if has_biases:
        k, v = _with_biases(k, v, bias_k, bias_v, static_k, static_v)
    heads = n * num_heads
    q = _by_heads(q, heads, head_dim)
    k = _by_heads(k, heads, head_dim, static_k, "static_k")
    v = _by_heads(v, heads, head_dim, static_v, "static_v")
    if add_zero_attn:
        k, v = _with_zeros(k, v)
    src_len = k.size(1)
    attn_mask = _one_mask(attn_mask, key_padding_mask, n, num_heads, src_len, has_biases + bool(add_zero_attn))
    if not training:
        dropout_p = 0.0

    if need_weights:
        output, weights = _weighed(q, k, v, attn_mask, dropout_p)
        output = output.transpose(0, 1).reshape(tgt_len * n, embed_dim)
    else:
        output, weights = _fused(q, k, v, attn_mask, dropout_p, is_causal, n, num_heads), None
    output = F.linear(output, out_proj_weight, out_proj_bias)
    output = output.view(tgt_len, n, output.size(1))
    if need_weights:
        weights = weights.view(n, num_heads, tgt_len, src_len)
        weights = weights.mean(dim=1) if average_attn_weights else weights
    if is_batched:
        return output, weights
    return output.squeeze(1), None if weights is None else weights.squeeze(0)
