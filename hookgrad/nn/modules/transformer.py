"""The transformer: layers of attention, its encoder, its decoder, and both together."""

from copy import deepcopy

import hookgrad

from .. import functional as F
from ..init import xavier_uniform_
from .activation import GELU, ReLU
from .attention import MultiheadAttention
from .container import ModuleList
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

_ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu}


def _get_activation_fn(activation):
    if activation not in _ACTIVATIONS:
        raise RuntimeError(f"activation should be relu/gelu, not {activation}")
    return _ACTIVATIONS[activation]


def _get_clones(module, n):
    return ModuleList([deepcopy(module) for _ in range(n)])


def _generate_square_subsequent_mask(sz, device=None, dtype=None):
    return hookgrad.triu(hookgrad.full((sz, sz), float("-inf"), dtype=dtype, device=device), diagonal=1)


def _is_causal(mask, is_causal, x, batch_first):
    """Does the mask keep each place from seeing later ones? Looked up only where the caller does not say."""
    if is_causal is not None or mask is None:
        return is_causal is True
    length = x.size(0 if x.dim() == 2 or not batch_first else 1)
    causal = _generate_square_subsequent_mask(length, dtype=mask.dtype)
    return mask.size() == causal.size() and bool((mask == causal).all())


class _Layer(Module):
    """What both kinds of layer share: the two linear maps, and the copies that differ in their numbers only."""

    __constants__ = ["norm_first"]

    def _add_parts(self, n, d_model, dim_feedforward, dropout, eps, norm_first, bias, like):
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, **like)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, **like)
        self.norm_first = norm_first
        for i in range(1, n + 1):
            setattr(self, f"norm{i}", LayerNorm(d_model, eps=eps, bias=bias, **like))
        for i in range(1, n + 1):
            setattr(self, f"dropout{i}", Dropout(dropout))


def _without_a_key(out, mask, padding):
    """What comes of queries (N, S) all of whose keys are masked: nan, as of a softmax of nothing."""
    blocked = [m.isneginf() for m in (mask, padding[:, None] if padding is not None else None) if m is not None]
    if not blocked or mask is not None and mask.dim() != 2:
        return out
    nothing = (blocked[0] | blocked[-1]).all(-1, keepdim=True)
    return out.masked_fill(nothing, float("nan")) if nothing.any() else out


class TransformerEncoderLayer(_Layer):
    """Self-attention, then two linear maps with an activation between, each added to its input and normalised.

    src is (S, N, d_model), with `batch_first` (N, S, d_model). `norm_first` normalises before each part, not after. In
    evaluation without gradients, where PyTorch computes the whole layer at once, the parts are not called as modules
    (unless one of them has forward hooks).

    >>> import hookgrad as torch
    >>> TransformerEncoderLayer(d_model=8, nhead=2, dim_feedforward=16)(torch.rand(10, 32, 8)).shape
    torch.Size([10, 32, 8])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerEncoderLayer.html
    """

    def __init__(
        self,
        d_model,
        nhead,
        dim_feedforward=2048,
        dropout=0.1,
        activation=F.relu,
        layer_norm_eps=1e-5,
        batch_first=False,
        norm_first=False,
        bias=True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        like = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **like)
        self._add_parts(2, d_model, dim_feedforward, dropout, layer_norm_eps, norm_first, bias, like)
        if isinstance(activation, str):
            activation = _get_activation_fn(activation)
        is_relu = activation is F.relu or isinstance(activation, ReLU)
        is_gelu = activation is F.gelu or isinstance(activation, GELU)
        self.activation_relu_or_gelu = 1 if is_relu else 2 if is_gelu else 0
        self.activation = activation

    def __setstate__(self, state):
        super().__setstate__(state)
        if not hasattr(self, "activation"):
            self.activation = F.relu

    def _sa_block(self, x, attn_mask, key_padding_mask, is_causal=False):
        masks = {"attn_mask": attn_mask, "key_padding_mask": key_padding_mask}
        return self.dropout1(self.self_attn(x, x, x, **masks, need_weights=False, is_causal=is_causal)[0])

    def _ff_block(self, x):
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))

    def _at_once(self, src):
        """Whether PyTorch would compute the whole layer at once."""
        attention = self.self_attn
        return (
            src.dim() == 3
            and not self.training
            and hookgrad.backends.mha.get_fastpath_enabled()
            and attention.batch_first
            and attention.in_proj_bias is not None
            and attention._qkv_same_embed_dim
            and self.activation_relu_or_gelu
            and self.norm1.eps == self.norm2.eps
            and attention.num_heads % 2 == 0
            and not any(m._forward_hooks or m._forward_pre_hooks for m in self.modules())
            and not (
                hookgrad.is_grad_enabled()
                and (src.requires_grad or any(p.requires_grad for p in self.parameters(recurse=True)))
            )
        )

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        src_key_padding_mask = F._canonical_mask(
            src_key_padding_mask, "src_key_padding_mask", F._none_or_dtype(src_mask), "src_mask", src.dtype
        )
        src_mask = F._canonical_mask(src_mask, "src_mask", None, "", src.dtype, check_other=False)
        masks = src_mask, src_key_padding_mask
        if self._at_once(src):

            def attend(x, attn_mask, key_padding_mask, is_causal):
                out = MultiheadAttention.forward(self.self_attn, x, x, x, key_padding_mask, False, attn_mask)[0]
                return _without_a_key(out, attn_mask, key_padding_mask)

            def feed(x):
                act = F.gelu if self.activation_relu_or_gelu == 2 else F.relu
                x = act(F.linear(x, self.linear1.weight, self.linear1.bias))
                return F.linear(x, self.linear2.weight, self.linear2.bias)

            def normed(norm):
                return lambda x: F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)

            norm1, norm2 = normed(self.norm1), normed(self.norm2)
        else:
            attend, feed, norm1, norm2 = self._sa_block, self._ff_block, self.norm1, self.norm2
        x = src
        if self.norm_first:
            x = x + attend(norm1(x), *masks, is_causal=is_causal)
            return x + feed(norm2(x))
        x = norm1(x + attend(x, *masks, is_causal=is_causal))
        return norm2(x + feed(x))


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to the encoder's output, then two linear maps, each added to its input and normalised.

    tgt is (T, N, d_model), memory (S, N, d_model), with `batch_first` N comes first.

    >>> import hookgrad as torch
    >>> layer = TransformerDecoderLayer(d_model=8, nhead=2, dim_feedforward=16)
    >>> layer(torch.rand(20, 32, 8), torch.rand(10, 32, 8)).shape
    torch.Size([20, 32, 8])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerDecoderLayer.html
    """

    def __init__(
        self,
        d_model,
        nhead,
        dim_feedforward=2048,
        dropout=0.1,
        activation=F.relu,
        layer_norm_eps=1e-5,
        batch_first=False,
        norm_first=False,
        bias=True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        like = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **like)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **like)
        self._add_parts(3, d_model, dim_feedforward, dropout, layer_norm_eps, norm_first, bias, like)
        self.activation = _get_activation_fn(activation) if isinstance(activation, str) else activation

    def __setstate__(self, state):
        # As in PyTorch, an activation that is a module counts as none: copies of such a layer use relu.
        state.setdefault("activation", F.relu)
        super().__setstate__(state)

    def _sa_block(self, x, attn_mask, key_padding_mask, is_causal=False):
        masks = {"attn_mask": attn_mask, "key_padding_mask": key_padding_mask, "is_causal": is_causal}
        return self.dropout1(self.self_attn(x, x, x, **masks, need_weights=False)[0])

    def _mha_block(self, x, mem, attn_mask, key_padding_mask, is_causal=False):
        masks = {"attn_mask": attn_mask, "key_padding_mask": key_padding_mask, "is_causal": is_causal}
        return self.dropout2(self.multihead_attn(x, mem, mem, **masks, need_weights=False)[0])

    def _ff_block(self, x):
        return self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(x)))))

    def forward(
        self,
        tgt,
        memory,
        tgt_mask=None,
        memory_mask=None,
        tgt_key_padding_mask=None,
        memory_key_padding_mask=None,
        tgt_is_causal=False,
        memory_is_causal=False,
    ):
        own = tgt_mask, tgt_key_padding_mask, tgt_is_causal
        other = memory, memory_mask, memory_key_padding_mask, memory_is_causal
        x = tgt
        if self.norm_first:
            x = x + self._sa_block(self.norm1(x), *own)
            x = x + self._mha_block(self.norm2(x), *other)
            return x + self._ff_block(self.norm3(x))
        x = self.norm1(x + self._sa_block(x, *own))
        x = self.norm2(x + self._mha_block(x, *other))
        return self.norm3(x + self._ff_block(x))


_warned = []


def _warn_of_nested_tensors():
    """What PyTorch says, once, where it leaves the padding out."""
    if not _warned:
        import warnings

        _warned.append(True)
        warnings.warn(
            "The PyTorch API of nested tensors is in prototype stage and will change in the near future: the encoder leaves the "
            "padding out in PyTorch",
            UserWarning,
            stacklevel=4,
        )


class TransformerEncoder(Module):
    """`num_layers` copies of a layer, one after another, then `norm` if there is one.

    In evaluation without gradients, where PyTorch leaves the padding out, the output is zero there (before `norm`).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerEncoder.html
    """

    __constants__ = ["norm"]

    def __init__(self, encoder_layer, num_layers, norm=None, enable_nested_tensor=True, mask_check=True):
        super().__init__()
        self.layers = _get_clones(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.use_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check
        why = self._why_padded(encoder_layer)
        if enable_nested_tensor and why:
            import warnings

            warnings.warn(
                f"enable_nested_tensor is True, but self.use_nested_tensor is False because {why}", stacklevel=2
            )
            self.use_nested_tensor = False

    @staticmethod
    def _why_padded(layer):
        """Why PyTorch would not leave the padding out with such layers; "" where it would."""
        if not isinstance(layer, TransformerEncoderLayer):
            return "encoder_layer was not TransformerEncoderLayer"
        attention = layer.self_attn
        if layer.norm_first:
            return "encoder_layer.norm_first was True"
        if not attention.batch_first:
            return "encoder_layer.self_attn.batch_first was not True(use batch_first for better inference performance)"
        if not attention._qkv_same_embed_dim:
            return "encoder_layer.self_attn._qkv_same_embed_dim was not True"
        if attention.in_proj_bias is None:
            return "encoder_layer.self_attn was passed bias=False"
        if not layer.activation_relu_or_gelu:
            return "encoder_layer.activation_relu_or_gelu was not True"
        if layer.norm1.eps != layer.norm2.eps:
            return "encoder_layer.norm1.eps was not equal to encoder_layer.norm2.eps"
        if attention.num_heads % 2 == 1:
            return "encoder_layer.self_attn.num_heads is odd"
        return ""

    def _leaves_padding_out(self, src, mask, padding):
        first = self.layers[0]
        if not hookgrad.backends.mha.get_fastpath_enabled():
            return False
        if not self.use_nested_tensor or first.training or src.dim() != 3 or padding is None or mask is not None:
            return False
        if hookgrad.is_grad_enabled() and (src.requires_grad or any(p.requires_grad for p in first.parameters())):
            return False
        # What is not padding must come first.
        is_padding = padding != 0
        return not self.mask_check or not bool((is_padding[:, :-1] & ~is_padding[:, 1:]).any())

    def forward(self, src, mask=None, src_key_padding_mask=None, is_causal=None):
        padding = F._canonical_mask(
            src_key_padding_mask, "src_key_padding_mask", F._none_or_dtype(mask), "mask", src.dtype
        )
        mask = F._canonical_mask(mask, "mask", None, "", src.dtype, check_other=False)
        batch_first = self.layers[0].self_attn.batch_first
        is_causal = _is_causal(mask, is_causal, src, batch_first)
        output = src
        for layer in self.layers:
            output = layer(output, src_mask=mask, is_causal=is_causal, src_key_padding_mask=padding)
        if self._leaves_padding_out(src, mask, padding):
            _warn_of_nested_tensors()
            output = output.masked_fill((padding != 0).unsqueeze(-1), 0.0)
        return output if self.norm is None else self.norm(output)


class TransformerDecoder(Module):
    """`num_layers` copies of a layer, one after another, then `norm` if there is one.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerDecoder.html
    """

    __constants__ = ["norm"]

    def __init__(self, decoder_layer, num_layers, norm=None):
        super().__init__()
        self.layers = _get_clones(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt,
        memory,
        tgt_mask=None,
        memory_mask=None,
        tgt_key_padding_mask=None,
        memory_key_padding_mask=None,
        tgt_is_causal=None,
        memory_is_causal=False,
    ):
        output = tgt
        tgt_is_causal = _is_causal(tgt_mask, tgt_is_causal, tgt, self.layers[0].self_attn.batch_first)
        for layer in self.layers:
            output = layer(
                output,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=tgt_is_causal,
                memory_is_causal=memory_is_causal,
            )
        return output if self.norm is None else self.norm(output)


class Transformer(Module):
    """An encoder and a decoder that attends to what it returns: src (S, N, d_model), tgt (T, N, d_model), out like tgt.

    >>> import hookgrad as torch
    >>> model = Transformer(d_model=8, nhead=2, num_encoder_layers=1, num_decoder_layers=1, batch_first=True)
    >>> model(torch.rand(3, 10, 8), torch.rand(3, 20, 8)).shape
    torch.Size([3, 20, 8])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Transformer.html
    """

    def __init__(
        self,
        d_model=512,
        nhead=8,
        num_encoder_layers=6,
        num_decoder_layers=6,
        dim_feedforward=2048,
        dropout=0.1,
        activation=F.relu,
        custom_encoder=None,
        custom_decoder=None,
        layer_norm_eps=1e-5,
        batch_first=False,
        norm_first=False,
        bias=True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        like = {"device": device, "dtype": dtype}
        sizes = d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias
        if custom_encoder is None:
            layer = TransformerEncoderLayer(*sizes, **like)
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **like)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norm)
        self.encoder = custom_encoder
        if custom_decoder is None:
            layer = TransformerDecoderLayer(*sizes, **like)
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **like)
            custom_decoder = TransformerDecoder(layer, num_decoder_layers, norm)
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def _reset_parameters(self):
        for p in self.parameters():
            if p.dim() > 1:
                xavier_uniform_(p)

    def forward(
        self,
        src,
        tgt,
        src_mask=None,
        tgt_mask=None,
        memory_mask=None,
        src_key_padding_mask=None,
        tgt_key_padding_mask=None,
        memory_key_padding_mask=None,
        src_is_causal=None,
        tgt_is_causal=None,
        memory_is_causal=False,
    ):
        batch_dim = 0 if self.batch_first else 1
        if src.dim() == 3 and src.size(batch_dim) != tgt.size(batch_dim):
            raise RuntimeError("the batch number of src and tgt must be equal")
        if src.size(-1) != self.d_model or tgt.size(-1) != self.d_model:
            raise RuntimeError("the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz, device=None, dtype=None):
        """A mask (sz, sz) that is minus infinity above the diagonal: no place sees a later one.

        >>> Transformer.generate_square_subsequent_mask(2)
        tensor([[0., -inf],
                [0., 0.]])
        """
        return _generate_square_subsequent_mask(sz, dtype=dtype, device=device)
