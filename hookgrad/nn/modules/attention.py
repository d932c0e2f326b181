"""Attention with several heads."""

import math

import hookgrad

from .. import functional as F
from .. import init
from ..parameter import Parameter
from .linear import NonDynamicallyQuantizableLinear
from .module import Module


class MultiheadAttention(Module):
    """Each query takes a mean of the values, weighed by how well their keys fit it, in `num_heads` heads side by side.

    query (L, N, embed_dim), key (S, N, kdim), value (S, N, vdim); with `batch_first` N comes first, without a batch it
    is left out. Returns the output, shaped like query, and with `need_weights` the weights (N, L, S). In
    `key_padding_mask` (N, S) and `attn_mask` (L, S) or (N * num_heads, L, S), True forbids and numbers are added.

    >>> import hookgrad as torch
    >>> attention = MultiheadAttention(embed_dim=8, num_heads=2)
    >>> x = torch.randn(5, 3, 8)
    >>> output, weights = attention(x, x, x)
    >>> output.shape, weights.shape
    (torch.Size([5, 3, 8]), torch.Size([3, 5, 5]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html
    """

    __constants__ = ["batch_first"]

    def __init__(
        self,
        embed_dim,
        num_heads,
        dropout=0.0,
        bias=True,
        add_bias_kv=False,
        add_zero_attn=False,
        kdim=None,
        vdim=None,
        batch_first=False,
        device=None,
        dtype=None,
    ):
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, "
                f"got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")

        def weight(name, *shape):
            if shape:
                setattr(self, name, Parameter(hookgrad.empty(shape, device=device, dtype=dtype)))
            else:
                self.register_parameter(name, None)

        if self._qkv_same_embed_dim:
            weight("in_proj_weight", 3 * embed_dim, embed_dim)
            for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
                weight(name)
        else:
            weight("q_proj_weight", embed_dim, embed_dim)
            weight("k_proj_weight", embed_dim, self.kdim)
            weight("v_proj_weight", embed_dim, self.vdim)
            weight("in_proj_weight")
        weight("in_proj_bias", *((3 * embed_dim,) if bias else ()))
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        if add_bias_kv:
            weight("bias_k", 1, 1, embed_dim)
            weight("bias_v", 1, 1, embed_dim)
        else:
            self.bias_k = self.bias_v = None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self):
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if getattr(self, name) is not None:
                init.xavier_uniform_(getattr(self, name))
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query,
        key,
        value,
        key_padding_mask=None,
        need_weights=True,
        attn_mask=None,
        average_attn_weights=True,
        is_causal=False,
    ):
        if is_causal and attn_mask is None:
            raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
        if query.dim() not in (2, 3):
            raise AssertionError(
                f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D query tensor"
            )
        is_batched = query.dim() == 3
        if not is_batched:
            query, key, value = query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0)
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
        if query.shape[-1] != self.embed_dim:
            raise AssertionError(f"was expecting embedding dimension of {self.embed_dim}, but got {query.shape[-1]}")

        # From here on everything is (N, length, embed_dim), then (N, num_heads, length, head_dim).
        q, k, v = self._project(query, key, value)
        n = q.shape[0]
        extra = 0
        if self.bias_k is not None:
            k = hookgrad.cat([k, self.bias_k.expand(n, 1, -1)], dim=1)
            v = hookgrad.cat([v, self.bias_v.expand(n, 1, -1)], dim=1)
            extra += 1
        if self.add_zero_attn:
            zero = hookgrad.zeros((n, 1, self.embed_dim), dtype=k.dtype)
            k, v = hookgrad.cat([k, zero], dim=1), hookgrad.cat([v, zero], dim=1)
            extra += 1
        q, k, v = (t.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for t in (q, k, v))
        mask = self._merged_mask(key_padding_mask, attn_mask, n, extra, q.dtype)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q * math.sqrt(1.0 / self.head_dim)) @ k.transpose(-2, -1)
            weights = (scores if mask is None else scores + mask).softmax(-1)
            if dropout > 0.0:
                weights = F.dropout(weights, dropout)
            output = weights @ v
            if average_attn_weights:
                weights = weights.mean(1)
        else:
            output = F.scaled_dot_product_attention(q, k, v, mask, dropout)
        output = F.linear(output.transpose(1, 2).flatten(-2), self.out_proj.weight, self.out_proj.bias)

        if not is_batched:
            return output.squeeze(0), None if weights is None else weights.squeeze(0)
        return output if self.batch_first else output.transpose(0, 1), weights

    def _project(self, query, key, value):
        if self._qkv_same_embed_dim:
            weights = self.in_proj_weight.chunk(3)
        else:
            weights = self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return [F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases)]

    def _merged_mask(self, key_padding_mask, attn_mask, n, extra, dtype):
        """What is added to the scores (N, num_heads, L, S), or None; `extra` keys at the end are never masked."""
        merged = None
        if attn_mask is not None:
            mask = F._canonical_mask(attn_mask, "attn_mask", dtype)
            merged = mask if mask.dim() == 2 else mask.unflatten(0, (n, self.num_heads))
        if key_padding_mask is not None:
            mask = F._canonical_mask(key_padding_mask, "key_padding_mask", dtype).unsqueeze(1).unsqueeze(1)
            merged = mask if merged is None else merged + mask
        return merged if merged is None or not extra else F.pad(merged, (0, extra))
