"""Attention with several heads."""

from .. import functional as F
from .. import init
from ..parameter import empty_parameter
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

    __module__ = f"{__package__}.activation"
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
                setattr(self, name, empty_parameter(shape, device, dtype))
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
        key_padding_mask = F._canonical_mask(
            key_padding_mask, "key_padding_mask", F._none_or_dtype(attn_mask), "attn_mask", query.dtype
        )
        attn_mask = F._canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, check_other=False)
        swapped = self.batch_first and query.dim() == 3
        if swapped:
            # One tensor given twice stays one.
            # What is one tensor stays one where it is projected as one.
            is_pair, is_one = key is value, query is key is value
            query = query.transpose(1, 0)
            key = query if is_one else key.transpose(1, 0)
            value = key if is_pair else value.transpose(1, 0)
        separate = {}
        if not self._qkv_same_embed_dim:
            separate = {name: getattr(self, name) for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight")}
        output, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=bool(separate),
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
            **separate,
        )
        return output.transpose(1, 0) if swapped else output, weights

    def __setstate__(self, state):
        state.setdefault("_qkv_same_embed_dim", True)
        super().__setstate__(state)

    def merge_masks(self, attn_mask, key_padding_mask, query):
        """Both masks as one, (N, S) or (N, num_heads, L, S), and its kind: 1 for padding alone, 2 with attention's."""
        if attn_mask is None:
            return key_padding_mask, None if key_padding_mask is None else 1
        n, length, _ = query.shape
        if attn_mask.dim() == 3:
            merged = attn_mask.view(n, -1, length, length)
        else:
            merged = attn_mask.view(1, 1, length, length).expand(n, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            merged = merged + key_padding_mask.view(n, 1, 1, length).expand(-1, self.num_heads, -1, -1)
        return merged, 2
