"""Attention and the transformer: masks, copies, and which of its parts are called."""

import warnings

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.nn.modules import transformer


def close(a, b):
    return torch.allclose(a, b, atol=1e-5)


def causal(n):
    return nn.Transformer.generate_square_subsequent_mask(n)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(
    "settings", [{}, {"add_bias_kv": True, "add_zero_attn": True}, {"kdim": 6, "vdim": 7}], ids=str
)
def test_what_a_mask_forbids_does_not_count(need_weights, settings):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, **settings)
    q, k, v = torch.randn(3, 2, 8), torch.randn(5, 2, attention.kdim), torch.randn(5, 2, attention.vdim)
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True
    output, weights = attention(q, k, v, key_padding_mask=padding, need_weights=need_weights)
    k[3:, 1], v[3:, 1] = 7.0, -7.0
    again, _ = attention(q, k, v, key_padding_mask=padding, need_weights=need_weights)
    assert close(output, again)
    if need_weights:
        assert close(weights.sum(-1), torch.ones(2, 3)) and weights[1, :, 3:5].abs().max() == 0


def test_attention_without_a_batch_projects_three_times():
    shapes = []

    def pack(tensor):
        shapes.append(tuple(tensor.shape))
        return tensor

    attention = nn.MultiheadAttention(4, 2)
    for x, n_whole in ((torch.ones(3, 4, requires_grad=True), 0), (torch.ones(3, 1, 4, requires_grad=True), 1)):
        shapes.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            attention(x, x, x)
        assert shapes.count((4, 12)) == n_whole  # the weight of one product


def test_a_batch_is_moved_once_where_it_is_projected_once():
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    x, y = (torch.ones(2, 3, 4, requires_grad=True) for _ in range(2))
    for given, expected in (((x, x, x), 1), ((x, y, y), 2), ((x, y, x), 3), ((x, x, y), 3)):
        (start,) = attention(*given)[0].grad_fn.next_functions[0][:1]
        todo, nodes = [start], set()
        while todo:
            node = todo.pop()
            if node is not None and node not in nodes:
                nodes.add(node)
                todo += [n for n, _ in node.next_functions]
        leaves = [n for n in nodes if getattr(n, "variable", None) is x or getattr(n, "variable", None) is y]
        moved = [n for n in nodes if any(to in leaves for to, _ in n.next_functions)]
        assert len(moved) == expected


def test_weights_of_each_head():
    attention = nn.MultiheadAttention(8, 4, batch_first=True)
    x = torch.randn(2, 3, 8)
    each, mean = (attention(x, x, x, average_attn_weights=average)[1] for average in (False, True))
    assert each.shape == (2, 4, 3, 3) and close(each.mean(1), mean)


def test_masks_as_booleans_and_as_numbers_are_alike():
    attention = nn.MultiheadAttention(8, 2)
    x = torch.randn(4, 1, 8)
    number = causal(4)
    outputs = [attention(x, x, x, attn_mask=mask)[0] for mask in (number, number != 0, number.expand(2, 4, 4))]
    assert close(outputs[0], outputs[1]) and close(outputs[0], outputs[2])
    assert close(outputs[0], attention(x, x, x, attn_mask=number, is_causal=True, need_weights=False)[0])


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_a_causal_decoder_does_not_see_the_future(batch_first, norm_first):
    torch.manual_seed(1)
    layer = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first, norm_first=norm_first)
    decoder = nn.TransformerDecoder(layer, 2, nn.LayerNorm(8))
    tgt, memory = torch.randn(4, 4, 8), torch.randn(4, 4, 8)
    output = decoder(tgt, memory, tgt_mask=causal(4))
    changed = tgt.clone()
    changed.select(1 if batch_first else 0, 3).zero_()
    again = decoder(changed, memory, tgt_mask=causal(4))
    dim = 1 if batch_first else 0
    assert close(output.narrow(dim, 0, 3), again.narrow(dim, 0, 3))
    assert not close(output.select(dim, 3), again.select(dim, 3))


def test_evaluation_at_once_is_evaluation_part_by_part():
    torch.manual_seed(2)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.randn(2, 3, 8)
    slow = layer(x)
    with torch.no_grad():
        fast = layer(x)
    assert close(slow, fast)


def test_hooks_on_parts_keep_the_layer_from_being_computed_at_once():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    seen = []
    with torch.no_grad():
        handle = nn.modules.module.register_module_forward_hook(lambda m, args, out: seen.append(type(m).__name__))
        layer(torch.randn(1, 2, 8))
        handle.remove()
        assert seen == ["TransformerEncoderLayer"]
        seen.clear()
        layer.linear2.register_forward_hook(lambda m, args, out: seen.append("linear2"))
        layer(torch.randn(1, 2, 8))
    assert seen == ["linear2"]


def test_an_encoder_in_evaluation_leaves_the_padding_out():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    padding = torch.tensor([[False, False, True], [False, False, False]])
    x = torch.randn(2, 3, 8)
    with torch.no_grad():
        output = encoder(x, src_key_padding_mask=padding)
    assert output[0, 2].abs().sum() == 0 and output[1, 2].abs().sum() > 0
    assert close(encoder(x, src_key_padding_mask=padding)[0, :2], output[0, :2])


def test_an_encoder_says_why_it_keeps_the_padding():
    with pytest.warns(UserWarning, match="self.use_nested_tensor is False because encoder_layer.norm_first was True"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=True), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 1, enable_nested_tensor=False)
    assert encoder.layers[0].self_attn.in_proj_weight.shape == (24, 8)


def test_the_whole_model():
    torch.manual_seed(3)
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True)
    src, tgt = torch.randn(2, 5, 8, requires_grad=True), torch.randn(2, 4, 8)
    output = model(src, tgt, tgt_mask=causal(4))
    assert output.shape == (2, 4, 8)
    output.pow(2).sum().backward()
    assert src.grad.abs().sum() > 0 and all(p.grad is not None for p in model.parameters())
    with pytest.raises(RuntimeError, match="the batch number of src and tgt must be equal"):
        model(src, tgt[:1])
    with pytest.raises(RuntimeError, match="the feature number of src and tgt must be equal to d_model"):
        model(src, tgt[..., :7])


@pytest.mark.parametrize(
    "arguments, kind, words",
    [
        ({"attn_mask": torch.zeros(3, 2)}, RuntimeError, "The shape of the 2D attn_mask is"),
        ({"attn_mask": torch.zeros(4)}, AssertionError, "expected `attn_mask` to be `None`, 2-D or 3-D"),
        ({"key_padding_mask": torch.zeros(2)}, AssertionError, "expected `key_padding_mask` to be `None` or 2-D"),
        (
            {"key_padding_mask": torch.zeros(2, 7)},
            AssertionError,
            "Expected key_padded_mask.shape[1] to be 3, but got 7",
        ),
        ({"is_causal": True}, RuntimeError, "Need attn_mask if specifying the is_causal hint"),
    ],
)
def test_what_attention_refuses(arguments, kind, words):
    x = torch.randn(3, 2, 8)
    with pytest.raises(kind) as caught:
        nn.MultiheadAttention(8, 2)(x, x, x, **arguments)
    assert words in str(caught.value)


def test_a_query_without_a_key_is_nan_at_once_and_not_part_by_part():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval().requires_grad_(False)
    padding = torch.tensor([[True, True, True], [False, False, True]])
    x = torch.randn(2, 3, 8)
    out = layer(x, src_key_padding_mask=padding)
    assert out[0].isnan().all() and not out[1].isnan().any()
    mask = torch.tensor([[False, True, True], [True, True, True], [True, True, False]])
    out = layer(x, src_mask=mask, src_key_padding_mask=torch.tensor([[False] * 3, [False, False, True]]))
    assert out.isnan().all(-1).tolist() == [[False, True, False], [False, True, True]]
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        called = []
        with nn.modules.module.register_module_forward_hook(lambda module, args, output: called.append(module)):
            assert not layer(x, src_key_padding_mask=padding).isnan().any() and len(called) > 1
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    encoder = nn.TransformerEncoder(layer, 1)
    transformer._warned.clear()
    with pytest.warns(UserWarning, match="nested tensors is in prototype stage"):
        out = encoder(x, src_key_padding_mask=padding.flip(0))
    assert out[1].tolist() == [[0.0] * 8] * 3 and out[0, 2].tolist() == [0.0] * 8 and not out[0].isnan().any()


def test_attention_with_scores_and_a_mask_of_ones_own():
    from hookgrad.nn.attention.flex_attention import (
        AuxRequest,
        and_masks,
        create_block_mask,
        create_mask,
        flex_attention,
        noop_mask,
        or_masks,
    )

    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, 5, 8) for _ in range(3))
    causal, near = (lambda b, h, i, j: i >= j), (lambda b, h, i, j: i - j < 2)
    mask = create_block_mask(and_masks(causal, near), None, None, 5, 5, BLOCK_SIZE=2)
    seen = torch.ones(5, 5, dtype=torch.bool).tril().triu(-1)
    assert torch.equal(create_mask(mask.mask_mod, None, None, 5, 5)[0, 0], seen)
    assert mask.to_dense()[0, 0].tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]] and mask.shape == (1, 1, 5, 5)
    assert mask.sparsity() == pytest.approx(100 * (1 - 20 / 25))
    bias = torch.randn(4)
    out = flex_attention(q, k, v, lambda score, b, h, i, j: score + bias[h] * (i - j), mask, scale=0.3)
    scores = q @ k.transpose(2, 3) * 0.3 + bias.view(4, 1, 1) * (torch.arange(5).view(5, 1) - torch.arange(5))
    expected = scores.masked_fill(~seen, -float("inf")).softmax(-1) @ v
    assert torch.allclose(out, expected, atol=1e-6)
    shared, lse = flex_attention(q, k[:, :2], v[:, :2], enable_gqa=True, return_lse=True)
    repeated = nn.functional.scaled_dot_product_attention(q, k[:, [0, 0, 1, 1]], v[:, [0, 0, 1, 1]])
    assert torch.allclose(shared, repeated, atol=1e-6) and lse.shape == (2, 4, 5)
    nothing = create_block_mask(lambda b, h, i, j: j > 9, None, None, 5, 5)
    assert not flex_attention(q, k, v, block_mask=nothing).any()
    _, aux = flex_attention(q, k, v, return_aux=AuxRequest(max_scores=True))
    assert torch.allclose(aux.max_scores, (q @ k.mT / 8**0.5).amax(-1), atol=1e-6) and aux.lse is None
    assert create_mask(or_masks(causal, noop_mask), 2, None, 3, 3).all()
    with pytest.raises(ValueError, match="Expect query and key/value to have the same number of heads"):
        flex_attention(q, k[:, :2], v[:, :2])
    with pytest.raises(NotImplementedError, match="does not support backward on CPU"):
        flex_attention(q.requires_grad_(), k, v)


@pytest.mark.parametrize("decoder", [False, True])
def test_hooks_see_the_keywords_of_attention_in_pytorchs_order(decoder):
    layer = (nn.TransformerDecoderLayer if decoder else nn.TransformerEncoderLayer)(4, 2, 8)
    seen = []
    for part in (layer.self_attn, layer.multihead_attn) if decoder else (layer.self_attn,):
        part.register_forward_pre_hook(lambda module, args, kwargs: seen.append(list(kwargs)), with_kwargs=True)
    layer(*[torch.ones(1, 1, 4)] * (1 + decoder))
    last = ["is_causal", "need_weights"] if decoder else ["need_weights", "is_causal"]
    assert seen == [["attn_mask", "key_padding_mask", *last]] * (1 + decoder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"key": torch.ones(1, 2, 3, 4).double()},
            "query.dtype: float key.dtype: double and value.dtype: float instead",
        ),
        ({"query": torch.ones(4)}, "at least 2 dimensional, but got query.dim: 1 key.dim: 4 and value.dim: 4 instead"),
        ({"attn_mask": torch.ones(3, 3).long()}, "got attn_mask.dtype: long int and  query.dtype: float instead"),
        (
            {"key": torch.ones(1, 3, 3, 4), "enable_gqa": True},
            "Number of heads in key and value must divide the number of heads",
        ),
    ],
)
def test_attention_says_what_does_not_fit(change, words):
    given = dict.fromkeys(("query", "key", "value"), torch.ones(1, 2, 3, 4)) | change
    with pytest.raises(RuntimeError, match=words):
        nn.functional.scaled_dot_product_attention(**given)


def test_keys_and_values_are_shared_by_as_many_heads_as_each_has():
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 4, 3, 8), torch.randn(1, 2, 3, 8), torch.randn(1, 1, 3, 8)
    shared = nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    apart = nn.functional.scaled_dot_product_attention(q, k[:, [0, 0, 1, 1]], v.expand(1, 4, 3, 8))
    assert torch.allclose(shared, apart, atol=1e-6)
