"""What arguments the ops take: pointwise ops and reductions."""

from arguments import FLOATS, Dtype, T, call
from domains import DISTINCT, RANGES, domain, partner

# ---- Pointwise -----------------------------------------------------------------------------------


@domain("pow", "float_power")
def _(d, row):
    shape = d.shape()
    base = d.tensor(shape, 0.3, 3)
    if row.param("self") and not row.param("self").is_tensor:
        return call(d.number(1, 3), d.tensor(shape, -2, 2))
    if d.chance(0.5):
        if d.is_float:
            return (
                call(d.tensor(shape, -2, 2), d.pick(2, 3, 2.0, 3.0, 0, 1))
                if d.chance(0.5)
                else call(base, d.pick(0.5, -0.5, -1, -2, 1.7))
            )
        return call(base, d.pick(0, 1, 2, 3, 2.0, 0.5))
    other = d.tensor(d.broadcast(shape), -2 if d.is_float else 0, 2, dtype=partner(d))
    return call(base, other)


@domain("div", "true_divide", "divide", "floor_divide", "remainder", "fmod", "atan2", "arctan2")
def _(d, row):
    shape = d.shape()
    other = d.number(1, 3) if d.chance(0.3) else d.tensor(d.broadcast(shape), 0.4, 3, dtype=partner(d))
    if isinstance(other, T) and other.dtype not in FLOATS and other.dtype != "bool":
        other.data = other.data.clip(1)
    if isinstance(other, T) and other.dtype == "bool":
        other.data = other.data * 0 + 1
    kwargs = {}
    if row.has("rounding_mode"):
        kwargs["rounding_mode"] = d.pick(None, "floor", "trunc")
    if row.param("self") and not row.param("self").is_tensor:
        return call(d.number(), d.tensor(shape, 0.4, 3))
    return call(d.tensor(shape, -5, 5), other, **kwargs)


@domain("rsub", "sub", "subtract", "add")
def _(d, row):
    shape = d.shape()
    other = d.number() if d.chance(0.3) else d.tensor(d.broadcast(shape), dtype=partner(d))
    return call(d.tensor(shape), other, **({"alpha": d.pick(1, 2, -1, 0.5)} if d.chance(0.4) else {}))


@domain("clamp", "clip", "hardtanh")
def _(d, row):
    shape = d.shape()
    x = d.tensor(shape)
    names = [p.name for p in row.params[1:3]]
    tensors = row.params[1].is_tensor and row.params[1].type.rstrip("?") == "Tensor"
    bound = (lambda low, high: d.tensor(d.broadcast(shape), low, high)) if tensors else d.number
    given = {names[0]: bound(-2, 0), names[1]: bound(0, 2)}
    if d.chance(0.5) and row.name != "hardtanh":
        del given[d.pick(*names)]
    return call(x, **given)


@domain("clamp_min", "clamp_max")
def _(d, row):
    shape = d.shape()
    return call(d.tensor(shape), d.number() if d.chance(0.5) else d.tensor(d.broadcast(shape)))


@domain("where")
def _(d, row):
    shape = d.shape()
    if not row.has("self") and len(row.params) == 1:
        return call(d.tensor(shape))
    one = d.number() if d.chance(0.2) else d.tensor(d.broadcast(shape))
    other = d.number() if d.chance(0.2) else d.tensor(d.broadcast(shape), dtype=partner(d))
    return call(d.mask(shape), one, other)


@domain("lerp")
def _(d, row):
    shape = d.shape()
    return call(d.tensor(shape), d.tensor(shape), d.number() if d.chance(0.5) else d.tensor(shape))


@domain("addcmul", "addcdiv")
def _(d, row):
    shape = d.shape()
    rest = [d.tensor(d.broadcast(shape)), d.tensor(d.broadcast(shape), 0.4, 3)]
    return call(d.tensor(shape), *rest, **({"value": d.number()} if d.chance(0.5) else {}))


@domain("bitwise_and", "bitwise_or", "bitwise_xor", "logical_and", "logical_or", "logical_xor")
def _(d, row):
    shape = d.shape()
    if row.name.startswith("bitwise") and d.chance(0.3):
        return call(d.tensor(shape), d.random.randint(0, 5))
    return call(d.tensor(shape), d.tensor(d.broadcast(shape), dtype=partner(d)))


@domain("bitwise_left_shift", "bitwise_right_shift")
def _(d, row):
    shape = d.shape()
    return call(d.tensor(shape, 0, 5), d.tensor(d.broadcast(shape), 0, 2))


@domain("round")
def _(d, row):
    return call(
        d.tensor(d.shape(), -5, 5), **({"decimals": d.pick(0, 1, 2)} if row.has("decimals") and d.is_float else {})
    )


@domain("logit")
def _(d, row):
    return call(d.tensor(d.shape(), 0.05, 0.95), *([d.pick(None, 0.01, 0.2)] if d.chance(0.5) else []))


@domain("polygamma")
def _(d, row):
    return call(d.random.randint(0, 3), d.tensor(d.shape(), 0.5, 3))


@domain("signbit", "copysign")
def _(d, row):
    shape = d.shape()
    return call(d.tensor(shape), *([d.tensor(shape)] if row.has("other") else []))


@domain("nan_to_num")
def _(d, row):
    return call(d.tensor(d.shape()), **({"nan": 1.5} if d.chance(0.5) else {}))


@domain("isclose", "allclose")
def _(d, row):
    shape = d.shape()
    x = d.tensor(shape)
    y = T(x.data if d.chance(0.5) else x.data + 1, x.dtype, "plain")
    return call(x, y, **({"equal_nan": d.chance(0.5)} if d.chance(0.5) else {}))


@domain("equal")
def _(d, row):
    x = d.tensor(d.shape())
    return call(x, T(x.data.copy(), x.dtype, "plain") if d.chance(0.5) else d.tensor(d.shape()))


@domain("leaky_relu", "elu", "celu", "softplus", "threshold", "hardshrink", "softshrink", "gelu", "glu", "softmin")
def _(d, row):
    x = d.tensor(d.shape())
    options = {
        "leaky_relu": [{}, {"negative_slope": 0.2}], "elu": [{}, {"alpha": 1.5}], "celu": [{}, {"alpha": 1.5}],
        "softplus": [{}, {"beta": 2}, {"beta": 1.5, "threshold": 3}], "threshold": [{"threshold": 0.5, "value": 2.0}],
        "hardshrink": [{}, {"lambd": 0.3}], "softshrink": [{}, {"lambd": 0.3}], "gelu": [{}, {"approximate": "tanh"}],
        "glu": [{}], "softmin": [{"dim": 0}],
    }[row.name.rstrip("_")]  # fmt: skip
    if row.name == "glu":
        x = d.tensor((3, 4))
    return call(x, **d.pick(*options))


@domain("prelu")
def _(d, row):
    shape = d.shape(2, 4)
    return call(d.tensor(shape), d.tensor((d.pick(1, shape[1]),)))


# ---- Reductions ----------------------------------------------------------------------------------


def ties(d, shape):
    """The shape, without dimensions along which booleans would tie: which one is chosen then is nobody's promise."""
    return tuple(1 for _ in shape) if d.dtype == "bool" else shape


@domain("max", "min", "median", "nanmedian", "mode")
def _(d, row):
    shape = ties(d, d.shape(0, 3, empty=False))
    x = d.tensor(shape, distinct=True)
    if row.has("other"):
        return call(x, d.tensor(d.broadcast(shape), distinct=True, low=-2.9, high=3.1, dtype=partner(d)))
    if row.has("dim"):
        return call(x, d.dim(len(shape)), *([True] if d.chance(0.3) else []))
    return call(x)


@domain("argmax", "argmin")
def _(d, row):
    shape = d.shape(empty=False)
    x = d.tensor(shape, distinct=d.chance(0.5), layout="plain")
    return d.pick(call(x), call(x, d.dim(len(shape))), call(x, dim=d.dim(len(shape)), keepdim=True))


@domain("sum", "mean", "nansum", "nanmean", "all", "any", "logsumexp", "amax", "amin", "count_nonzero")
def _(d, row):
    shape = d.shape()
    x = d.tensor(shape, distinct=row.name in DISTINCT)
    kwargs = {}
    if row.has("dim"):
        one = row.param("dim").type.startswith("int[") is False
        kwargs["dim"] = d.dim(len(shape)) if one or d.chance(0.4) else d.dims(len(shape))
        if row.has("keepdim") and d.chance(0.4):
            kwargs["keepdim"] = True
    if row.has("dtype") and d.chance(0.3):
        kwargs["dtype"] = d.float_dtype()
    return call(x, **kwargs)


@domain("var", "std", "var_mean", "std_mean")
def _(d, row):
    shape = d.shape(1, 4, empty=False)
    shape = tuple(n + 1 for n in shape)
    kwargs = {}
    if row.has("dim"):
        kwargs["dim"] = d.dim(len(shape)) if d.chance(0.5) else d.dims(len(shape))
        kwargs["keepdim"] = d.chance(0.4)
    if row.has("correction"):
        kwargs["correction"] = d.pick(0, 1)
    elif row.has("unbiased"):
        kwargs["unbiased"] = d.chance(0.5)
    return call(d.tensor(shape, layout="plain"), **kwargs)


@domain("norm", "vector_norm", "linalg_vector_norm")
def _(d, row):
    shape = d.shape(1, 3)
    x = d.tensor(shape, 0.3, 3)
    kwargs = {}
    if d.chance(0.6):
        kwargs[row.params[1].name] = d.pick(1, 2, 3, float("inf"), 2.5, 0) if not d.grads else d.pick(1, 2, 3)
    if row.has("dim") and (d.chance(0.6) or row.param("dim").default is None):
        kwargs["dim"] = d.dim(len(shape)) if row.name == "norm" or d.chance(0.5) else d.dims(len(shape))
        kwargs.setdefault(row.params[1].name, 2)
        if row.has("keepdim") and d.chance(0.4):
            kwargs["keepdim"] = True
    return call(x, **kwargs)


@domain("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin", "softmax", "log_softmax", "softmin")
def _(d, row):
    shape = d.shape()
    x = d.tensor(shape, *RANGES.get(row.name, (-3, 3)), distinct=row.name in DISTINCT)
    if d.dtype in ("uint8", "bool") and row.name == "softmin":
        return call(x, d.dim(len(shape)))
    same = row.name.startswith("cum")  # in place it can be no other
    dtype = Dtype(d.dtype) if same else d.float_dtype()
    return call(x, d.dim(len(shape)), **({"dtype": dtype} if row.has("dtype") and d.chance(0.3) else {}))


@domain("dist")
def _(d, row):
    shape = d.shape()
    return call(d.tensor(shape), d.tensor(shape, 4, 6), *([d.pick(1, 2, 3)] if d.chance(0.5) else []))


@domain("sort", "argsort", "msort")
def _(d, row):
    shape = ties(d, d.shape(0, 3, empty=False))
    x = d.tensor(shape, distinct=True)
    kwargs = {}
    if row.has("stable") and row.param("stable").default is None:
        kwargs["stable"] = True
    if row.has("dim") and d.chance(0.6):
        kwargs["dim"] = d.dim(len(shape))
    if row.has("descending") and d.chance(0.5):
        kwargs["descending"] = True
    return call(x, **kwargs)


@domain("unique_dim", "_unique2", "unique_consecutive")
def _(d, row):
    shape = d.shape(1, 2, empty=False)
    x = d.tensor(shape, 0, 2)
    args = [d.dim(len(shape), bad=0)] if row.name == "unique_dim" else []
    return call(x, *args, return_inverse=d.chance(0.5), return_counts=d.chance(0.5))


@domain("topk", "kthvalue")
def _(d, row):
    shape = tuple(n if d.dtype == "bool" else n + 1 for n in ties(d, d.shape(1, 2, empty=False)))
    x = d.tensor(shape, distinct=True)
    dim = d.dim(len(shape), bad=0)
    k = d.random.randint(1, shape[dim])
    if row.name == "kthvalue":
        return call(x, k, dim)
    return call(x, k, dim, **({"largest": d.chance(0.5)} if d.chance(0.5) else {}))


@domain("bincount")
def _(d, row):
    return call(d.index((6,), 5), **({"minlength": 8} if d.chance(0.3) else {}))


@domain("histc")
def _(d, row):
    return call(d.tensor((10,)), bins=5, min=-3, max=3)
