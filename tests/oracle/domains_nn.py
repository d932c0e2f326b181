"""What arguments the ops take: products, layers and losses."""

from arguments import T, call
from domains import domain

# ---- Products ------------------------------------------------------------------------------------


def n(d):
    return d.size() or 1


@domain(
    "mm",
    "matmul",
    "bmm",
    "mv",
    "dot",
    "vdot",
    "inner",
    "outer",
    "ger",
    "kron",
    "__matmul__",
)
def _(d, row):
    a, b, c, z = n(d), n(d), n(d), n(d)
    wrong = 0 if d.grads else d.chance(0.04)
    pairs = {
        "mm": [((a, b), (b + wrong, c))],
        "bmm": [((z, a, b), (z + wrong, b, c))],
        "mv": [((a, b), (b + wrong,))],
        "dot": [((a,), (a + wrong,))],
        "vdot": [((a,), (a + wrong,))],
        "outer": [((a,), (b,))],
        "ger": [((a,), (b,))],
        "inner": [((a,), (a,)), ((a, b), (c, b)), ((a, b), (b + wrong,))],
        "kron": [((a, b), (c, z))],
        "matmul": [
            ((a,), (a,)), ((a, b), (b + wrong, c)), ((b,), (b, c)), ((a, b), (b,)), ((z, a, b), (b, c)),
            ((z, a, b), (z, b, c)), ((2, 1, a, b), (z, b, c)), ((b,), (z, b, c)), ((z, a, b), (b + wrong,)),
        ],
    }  # fmt: skip
    if row.name == "inner" and d.dtype == "bool":
        return call(d.tensor((a, b)), d.tensor((c, b)))
    if row.name == "kron":
        return call(d.tensor((a, b), layout="plain"), d.tensor((c, z), layout="plain"))
    one, two = d.pick(*pairs.get(row.name.strip("_"), pairs["mm"]))
    return call(d.tensor(one), d.tensor(two))


@domain("addmm", "addbmm", "baddbmm", "addmv", "addr")
def _(d, row):
    a, b, c, z = n(d), n(d), n(d), n(d)
    out, one, two = {
        "addmm": (d.pick((a, c), (c,), (1,), ()), (a, b), (b, c)),
        "addmv": (d.pick((a,), (1,)), (a, b), (b,)),
        "addr": (d.pick((a, b), (b,)), (a,), (b,)),
        "baddbmm": (d.pick((z, a, c), (c,)), (z, a, b), (z, b, c)),
        "addbmm": ((a, c), (z, a, b), (z, b, c)),
    }[row.name]
    more = (
        {"beta": d.pick(1, 2, 0) if not d.is_float else d.pick(1, 0.5), "alpha": d.pick(1, 2)} if d.chance(0.5) else {}
    )
    return call(d.tensor(out), d.tensor(one), d.tensor(two), **more)


@domain("multi_dot", "chain_matmul")
def _(d, row):
    sizes = [n(d) for _ in range(d.random.randint(3, 5))]
    tensors = [d.tensor(pair) for pair in zip(sizes, sizes[1:])]
    return call(tensors) if row.name == "multi_dot" else call(*tensors)


@domain("einsum")
def _(d, row):
    a, b, c = n(d), n(d), n(d)
    text, *shapes = d.pick(
        ("ij,jk->ik", (a, b), (b, c)), ("ij->ji", (a, b)), ("ij,ij->i", (a, b), (a, b)), ("i,j->ij", (a,), (b,)),
        ("bij,bjk->bik", (2, a, b), (2, b, c)), ("ii->i", (a, a)), ("ii", (a, a)), ("ij->", (a, b)),
        ("...ij,...jk->...ik", (2, a, b), (b, c)), ("ij,jk,kl->il", (a, b), (b, c), (c, 2)), ("i,i", (a,), (a,)),
        ("bij,kj->bik", (2, a, b), (c, b)), ("ij,k->kji", (a, b), (c,)),
    )  # fmt: skip
    tensors = [d.tensor(s) for s in shapes]
    return call(text, tensors) if d.chance(0.3) else call(text, *tensors)


@domain("tensordot")
def _(d, row):
    return call(d.tensor((2, 3, 4)), d.tensor((3, 4, 2)), d.pick(2, [[1, 2], [0, 1]]) if d.chance(0.9) else 1)


@domain("cross", "linalg_cross")
def _(d, row):
    return call(d.tensor((2, 3)), d.tensor((2, 3)), **({"dim": 1} if row.has("dim") else {}))


@domain("linear")
def _(d, row):
    a, b = n(d), n(d)
    x = d.tensor((*d.shape(0, 2), a))
    return call(x, d.tensor((b, a)), *([d.tensor((b,))] if d.chance(0.6) else []))


@domain("bilinear")
def _(d, row):
    return call(d.tensor((2, 3)), d.tensor((2, 4)), d.tensor((5, 3, 4)), *([d.tensor((5,))] if d.chance(0.5) else []))


@domain("cosine_similarity", "pairwise_distance")
def _(d, row):
    return call(d.tensor((3, 4)), d.tensor((3, 4), 1, 5))


@domain("cdist")
def _(d, row):
    return call(d.tensor((3, 4)), d.tensor((5, 4)))


# ---- Networks ------------------------------------------------------------------------------------


@domain(
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution"
)  # fmt: skip
def _(d, row):
    nd = 1 if "1d" in row.name else 3 if "3d" in row.name else 2
    groups = d.pick(1, 1, 2)
    cin, cout = 2 * groups, 3 * groups
    kernel = tuple(d.random.randint(1, 3) for _ in range(nd))
    size = tuple(d.random.randint(5, 7) for _ in range(nd))
    up = "transpose" in row.name
    weight = (cin, cout // groups, *kernel) if up else (cout, cin // groups, *kernel)
    batch = () if d.chance(0.15) else (d.random.randint(1, 2),)
    bias = d.tensor((cout,)) if d.chance(0.6) else None
    if row.name == "convolution":
        return call(
            d.tensor((1, cin, *size)), d.tensor(weight), bias, [1] * nd, [0] * nd, [1] * nd, False, [0] * nd, groups
        )
    kwargs = {"groups": groups}
    if d.chance(0.6):
        kwargs["stride"] = d.pick(1, 2, [2] + [1] * (nd - 1))
    if d.chance(0.6):
        kwargs["padding"] = d.pick(0, 1, [1] + [0] * (nd - 1))
        takes_words = any(p.name == "padding" and "str" in p.type for p in row.params)
        if takes_words:
            kwargs["padding"] = d.pick("same", "valid")
            kwargs.pop("stride", None)
    if d.chance(0.4) and not up:
        kwargs["dilation"] = d.pick(1, 2)
    tensors = [d.tensor((*batch, cin, *size)), d.tensor(weight)]
    if up and d.dtype in ("float16", "bfloat16") and not d.special:
        # Where the processor does not multiply halves PyTorch adds up in halves: whole numbers it adds exactly.
        tensors = [d.index(t.data.shape, 3, d.dtype, negative=True) for t in tensors]
    return call(*tensors, bias, **kwargs)


@domain(
    "max_pool1d", "max_pool2d", "max_pool3d", "max_pool1d_with_indices", "max_pool2d_with_indices",
    "max_pool3d_with_indices", "avg_pool1d",
    "avg_pool2d", "avg_pool3d",
)  # fmt: skip
def _(d, row):
    nd = 1 if "1d" in row.name else 3 if "3d" in row.name else 2
    size = tuple(d.random.randint(5, 7) for _ in range(nd))
    batch = () if d.chance(0.15) else (2,)
    x = d.tensor((*batch, 3, *size), distinct="max" in row.name)
    kwargs = {}
    if d.chance(0.5):
        kwargs["stride"] = d.pick(1, 2)
    if d.chance(0.5):
        kwargs["padding"] = 1
    if d.chance(0.3):
        kwargs["ceil_mode"] = True
    if row.has("dilation") and d.chance(0.3):
        kwargs["dilation"] = 2
    if row.has("count_include_pad") and d.chance(0.4):
        kwargs["count_include_pad"] = False
    if row.has("divisor_override") and d.chance(0.2):
        kwargs["divisor_override"] = 3
    return call(x, d.pick(2, 3, [2] + [3] * (nd - 1)), **kwargs)


@domain(
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool1d_with_indices",
    "_adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool3d_with_indices",
)
def _(d, row):
    nd = 1 if "1d" in row.name else 3 if "3d" in row.name else 2
    size = tuple(d.random.randint(3, 7) for _ in range(nd))
    x = d.tensor((2, 3, *size), distinct="max" in row.name)
    return call(x, [d.random.randint(1, 4) for _ in range(nd)])


@domain("batch_norm", "native_batch_norm")
def _(d, row):
    c = 3
    shape = d.pick((4, c), (2, c, 5), (2, c, 3, 2))
    x = d.tensor(shape, layout="plain")
    training = d.chance(0.6)
    stats = [d.tensor((c,), grad=False, layout="plain"), d.tensor((c,), 0.5, 2, grad=False, layout="plain")]
    if training and d.chance(0.4):
        stats = [None, None]
    affine = [d.tensor((c,)), d.tensor((c,))] if d.chance(0.7) else [None, None]
    given = dict(zip(["running_mean", "running_var", "weight", "bias"], [*stats, *affine]))
    given.update(training=training, momentum=d.pick(0.1, 0.3), eps=1e-5)
    if row.has("cudnn_enabled"):
        given["cudnn_enabled"] = False
    return call(x, **given)


@domain("layer_norm", "rms_norm", "native_layer_norm")
def _(d, row):
    shape = (2, 3, 4)
    k = d.random.randint(1, 2)
    normal = list(shape[-k:])
    weight = d.tensor(normal) if d.chance(0.6) else None
    if row.has("bias"):
        return call(d.tensor(shape), normal, weight, d.tensor(normal) if weight and d.chance(0.8) else None, 1e-5)
    return call(d.tensor(shape), normal, weight)


@domain("group_norm", "instance_norm")
def _(d, row):
    x = d.tensor((2, 4, 3), layout="plain")
    affine = [d.tensor((4,)), d.tensor((4,))] if d.chance(0.6) else []
    return call(x, 2, *affine) if row.name == "group_norm" else call(x)


@domain("local_response_norm")
def _(d, row):
    return call(d.tensor((2, 4, 3, 3)), 3)


@domain("normalize")
def _(d, row):
    return call(d.tensor((3, 4)), **d.pick({}, {"p": 1.0}, {"dim": 0}))


@domain("embedding")
def _(d, row):
    weight, index = d.tensor((5, 3), layout="plain"), d.index(d.shape(0, 3), 5, d.pick("int64", "int32"))
    more = {"padding_idx": d.pick(1, 4)} if d.chance(0.4) else {}
    # Tensor first as torch.embedding has it, index first as torch.nn.functional has it.
    return call(weight, index, **more) if row.params[0].name == "weight" else call(index, weight, **more)


@domain("dropout")
def _(d, row):
    x = d.tensor(d.shape(2, 3, empty=False), dtype=d.dtype if d.is_float else "float32")
    flag = [d.chance(0.7)] if row.has("train") or row.has("training") else []
    return call(x, d.pick(0.0, 0.3, 0.5, 1.0), *flag)


@domain("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d")
def _(d, row):
    if row.name == "pad" and row.has("mode") and not d.grads and d.chance(0.5):
        return call(d.tensor((2, 3, 4, 5)), [1, 2, 2, 1], d.pick("reflect", "replicate", "circular"))
    if "1d" in row.name:
        return call(d.tensor((2, 3, 5)), [1, 2])
    if "2d" in row.name:
        return call(d.tensor((2, 3, 4, 5)), [1, 2, 2, 1])
    shape = d.shape(1, 4, empty=False)
    pads = [d.random.randint(-1 if k > 2 else 0, 2) for k in shape[::-1] for _ in range(2)][
        : 2 * d.random.randint(1, len(shape))
    ]
    if row.name == "pad":
        return call(d.tensor(shape), pads, value=d.number()) if d.chance(0.5) else call(d.tensor(shape), pads)
    return call(d.tensor(shape), pads, d.number())


@domain("interpolate", "upsample_nearest2d", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle")
def _(d, row):
    if row.name == "interpolate":
        return call(d.tensor((1, 2, 3, 4)), scale_factor=2, mode=d.pick("nearest", "bilinear"))
    if row.name == "upsample_nearest2d":
        return call(d.tensor((1, 2, 3, 4)), [6, 8])
    return call(d.tensor((1, 8, 2, 2)), 2)


@domain("fold")
def _(d, row):
    return call(d.tensor((1, 12, 12)), [4, 5], 2)


@domain("scaled_dot_product_attention")
def _(d, row):
    q, k, v = (d.tensor((2, 3, 4, 5)) for _ in range(3))
    return call(q, k, v, **d.pick({}, {"is_causal": True}))


# ---- Losses --------------------------------------------------------------------------------------


def reduction(d, row):
    """Reductions are words in torch.nn.functional and numbers in torch's own ops."""
    p = row.param("reduction")
    if p is None or d.chance(0.3):
        return {}
    words = ["none", "mean", "sum"]
    return {"reduction": d.pick(*(words if p.type.startswith("str") else range(3)))}


@domain("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss", "kl_div", "poisson_nll_loss")
def _(d, row):
    shape = d.shape(0, 3, empty=False)
    more = reduction(d, row)
    if row.has("beta") and d.chance(0.5):
        more["beta"] = 0.7
    if row.has("delta") and d.chance(0.5):
        more["delta"] = 0.7
    return call(d.tensor(shape), d.tensor(shape, 0.1, 3), **more)


@domain("binary_cross_entropy", "binary_cross_entropy_with_logits")
def _(d, row):
    shape = d.shape(0, 3, empty=False)
    with_logits = row.name.endswith("logits")
    x = d.tensor(shape) if with_logits else d.tensor(shape, 0.05, 0.95)
    more = reduction(d, row)
    if d.chance(0.3):
        more["weight"] = d.tensor(shape, 0.5, 2, grad=False)
    if with_logits and d.chance(0.3):
        more["pos_weight"] = d.tensor(shape[-1:] if shape else (), 0.5, 2, grad=False)
    return call(x, d.tensor(shape, 0, 1), **more)


@domain("nll_loss", "nll_loss_nd", "nll_loss2d")
def _(d, row):
    c = 4
    outer = d.pick((3,), (3,), (), (2, 3, 2)) if row.name != "nll_loss2d" else (2, 3, 2)
    shape = (outer[:1] + (c,) + outer[1:]) if outer else (c,)
    return call(d.tensor(shape), d.index(outer, c), **weights(d, row, c), **ignore(d, row), **reduction(d, row))


@domain("cross_entropy", "cross_entropy_loss")
def _(d, row):
    c = 4
    outer = d.pick((3,), (3,), (), (2, 3, 2))
    shape = (outer[:1] + (c,) + outer[1:]) if outer else (c,)
    more = {**weights(d, row, c), **reduction(d, row)}
    if d.chance(0.4):
        more["label_smoothing"] = 0.1
    if d.chance(0.3):
        return call(d.tensor(shape), d.tensor(shape, 0, 1), **more)
    return call(d.tensor(shape), d.index(outer, c), **ignore(d, row), **more)


def weights(d, row, c):
    return {"weight": d.tensor((c,), 0.3, 2, grad=False, layout="plain")} if row.has("weight") and d.chance(0.4) else {}


def ignore(d, row):
    return {"ignore_index": d.pick(-100, 1)} if row.has("ignore_index") and d.chance(0.4) else {}


@domain(
    "margin_ranking_loss", "hinge_embedding_loss", "cosine_embedding_loss", "triplet_margin_loss", "gaussian_nll_loss"
)
def _(d, row):
    x = [d.tensor((3, 4), layout="plain") for _ in range(3)]
    sign = T(d.numpy.choice([-1.0, 1.0], 3), d.dtype, "plain")
    if row.name == "margin_ranking_loss":
        return call(d.tensor((3,)), d.tensor((3,)), sign)
    if row.name == "hinge_embedding_loss":
        return call(d.tensor((3,)), sign)
    if row.name == "cosine_embedding_loss":
        return call(x[0], x[1], sign)
    return call(x[0], x[1], d.tensor((3, 4), 0.2, 2) if row.name == "gaussian_nll_loss" else x[2])
