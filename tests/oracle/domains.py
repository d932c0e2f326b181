"""What arguments each op takes: one entry an op where its schema alone does not say.

`sample(draw, row)` gives a random call of a row. Without an entry in DOMAINS arguments follow from the schema: tensors
of broadcasting shapes, numbers, dimensions, sizes.
"""

import numpy as np
from arguments import FLOATS, Dtype, T, call

DOMAINS = {}

# Where values must lie for the result to be defined, and smooth where derivatives are compared.
RANGES = {
    "log": (0.1, 4), "log2": (0.1, 4), "log10": (0.1, 4), "log1p": (-0.8, 4), "sqrt": (0.1, 4), "rsqrt": (0.1, 4),
    "reciprocal": (0.3, 3), "asin": (-0.9, 0.9), "acos": (-0.9, 0.9), "arcsin": (-0.9, 0.9), "arccos": (-0.9, 0.9),
    "atanh": (-0.9, 0.9), "arctanh": (-0.9, 0.9), "acosh": (1.1, 4), "arccosh": (1.1, 4), "logit": (0.05, 0.95),
    "erfinv": (-0.9, 0.9), "lgamma": (0.2, 4), "digamma": (0.2, 4), "xlogy": (0.1, 3), "tan": (-1.3, 1.3),
    "exp": (-3, 3), "exp2": (-3, 3), "expm1": (-3, 3), "sinh": (-3, 3), "cosh": (-3, 3), "prod": (-2, 2),
    "cumprod": (-2, 2), "float_power": (0.3, 3), "renorm": (0.3, 3), "norm": (0.3, 3),
}  # fmt: skip
# Ops that compare elements: distinct ones, so that a derivative has one place to go.
DISTINCT = {"amax", "amin", "aminmax", "maximum", "minimum", "fmax", "fmin", "cummax", "cummin", "dist"}
# Fills and generators: only shape and dtype are promised, as the numbers are not (dropout, bernoulli with a number) or
# there are none (empty).
VALUES_DIFFER = {
    "multinomial", "bernoulli.p", "bernoulli_.float",
    "empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "dropout", "alpha_dropout",
    "feature_dropout", "feature_alpha_dropout", "dropout1d", "dropout2d", "dropout3d", "native_dropout", "rrelu",
}  # fmt: skip


def domain(*names):
    def add(function):
        DOMAINS.update(dict.fromkeys(names, function))
        return function

    return add


def sample(d, row):
    make = DOMAINS.get(row.name) or DOMAINS.get(row.name.rstrip("_"))
    return make(d, row) if make else from_schema(d, row)


def from_schema(d, row):
    args, kwargs = [], {}
    low, high = RANGES.get(row.name.rstrip("_"), (-3, 3))
    distinct = d.grads and row.name in DISTINCT
    first = None
    for p in row.params:
        optional = p.default is not None or p.type.endswith("?")
        if optional and d.chance(0.5):
            continue
        if p.is_tensor and not p.type.endswith("]"):
            if first is None:
                first = d.shape()
                value = d.tensor(first, low, high, distinct=distinct)
            elif "Scalar" in p.type and d.chance(0.4):
                value = d.number(low, high)
            else:
                value = d.tensor(d.broadcast(first), low, high, dtype=partner(d), distinct=distinct)
        elif p.type.startswith("Tensor"):
            value = [d.tensor(first or d.shape(), low, high) for _ in range(d.random.randint(1, 3))]
        else:
            value = plain(d, p, len(first or ()))
        if p.keyword_only or kwargs or (args and d.chance(0.2)) or skipped(row, args, kwargs, p):
            kwargs[p.name] = value
        else:
            args.append(value)
    return call(*args, **kwargs)


def skipped(row, args, kwargs, p):
    return row.params[len(args)] is not p


def partner(d):
    """The dtype of a second operand: mostly the same, sometimes any."""
    if d.grads or d.chance(0.6):
        return d.dtype
    return d.any_dtype().name


def plain(d, p, n):
    kind = p.type.rstrip("?")
    if p.name in ("dim", "dim0", "dim1", "axis") and kind == "int":
        return d.dim(n)
    if p.name in ("dim", "dims", "axis") and kind.startswith("int["):
        return d.dims(n) if d.chance(0.8) else d.dim(n)
    if kind == "bool":
        return d.chance(0.5)
    if kind in ("ScalarType", "dtype"):
        return d.float_dtype()
    if kind == "int":
        return d.random.randint(0, 3)
    if kind in ("float", "Scalar"):
        return d.number()
    if kind.startswith("int["):
        return list(d.shape(1, 3))
    if kind == "str":
        return p.default.strip("\"'") if p.default not in (None, "None") else "mean"
    return None


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
    }[row.name]  # fmt: skip
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


@domain("norm", "vector_norm", "linalg_vector_norm", "linalg_norm", "matrix_norm")
def _(d, row):
    shape = d.shape(1, 3)
    x = d.tensor(shape, 0.3, 3)
    kwargs = {}
    if d.chance(0.6):
        kwargs[row.params[1].name] = d.pick(1, 2, 3, float("inf"), 2.5, 0) if not d.grads else d.pick(1, 2, 3)
    if row.has("ord") and len(shape) > 1 and row.name == "norm":
        return call(x, d.pick(1, 2, 3), dim=d.dim(len(shape)))  # along one dimension: a norm of vectors
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


# ---- Creation ------------------------------------------------------------------------------------


def options(d, row):
    return {"dtype": Dtype(d.dtype)} if row.has("dtype") and d.chance(0.7) else {}


@domain("zeros", "ones", "empty", "rand", "randn")
def _(d, row):
    shape = list(d.shape())
    return call(shape, **({"dtype": d.float_dtype()} if row.name.startswith("rand") else options(d, row)))


@domain("zeros_like", "ones_like", "empty_like", "rand_like", "randn_like")
def _(d, row):
    # The memory order of the new tensor shows in the numbers drawn: PyTorch keeps that of a transposed one.
    layout = "plain" if row.name.startswith("rand") else None
    return call(d.tensor(d.shape(), layout=layout), **options(d, row))


@domain("new_zeros", "new_ones", "new_empty")
def _(d, row):
    return call(d.tensor(d.shape()), list(d.shape()), **options(d, row))


@domain("full", "new_full", "full_like")
def _(d, row):
    value = d.pick(1, 2.5, True, -3)
    start = {"full": [list(d.shape())], "new_full": [d.tensor(d.shape()), list(d.shape())],
             "full_like": [d.tensor(d.shape())]}[row.name]  # fmt: skip
    return call(*start, value, **(options(d, row) if value != -3 else {}))


@domain("arange", "range")
def _(d, row):
    kwargs = options(d, row) if d.dtype != "bool" else {}
    if row.has("step"):
        whole = "dtype" in kwargs and not d.is_float
        start = d.pick(0, 1, -2) if whole else d.pick(0, 1, -2, 0.5)
        step = d.pick(1, 2, -1) if whole else d.pick(1, 2, 0.5, -1)
        return call(start, start + step * d.random.randint(0, 6), step, **kwargs)
    if row.has("start"):
        return call(d.random.randint(-3, 0), d.random.randint(0, 6), **kwargs)
    return call(d.pick(0, 3, 6, 2.5), **kwargs)


@domain("linspace", "logspace")
def _(d, row):
    kwargs = {"dtype": d.float_dtype()} if d.chance(0.4) else {}
    return call(d.number(), d.number(), d.random.randint(0, 12), **kwargs)


@domain("eye")
def _(d, row):
    return call(d.size(), *([d.size()] if row.has("m") else []), **options(d, row))


@domain("randint")
def _(d, row):
    low = [d.random.randint(-5, 0)] if row.has("low") and row.param("low").default is None else []
    return call(*low, d.random.randint(1, 100), list(d.shape()), **({"dtype": Dtype("int32")} if d.chance(0.2) else {}))


@domain("randint_like")
def _(d, row):
    low = [d.random.randint(0, 2)] if row.has("low") else []
    return call(d.tensor(d.shape(), layout="plain"), *low, d.random.randint(5, 50))


@domain("randperm")
def _(d, row):
    return call(d.random.randint(0, 40))


@domain("bernoulli")
def _(d, row):
    return call(d.tensor(d.shape(), 0, 1))


@domain("multinomial")
def _(d, row):
    return call(d.tensor((4,), 0.1, 1), 2, replacement=d.chance(0.5))


@domain("normal")
def _(d, row):
    shape = d.shape()
    kinds = [row.params[0].is_tensor, row.params[1].is_tensor]
    if not any(kinds):
        return call(d.number(-1.0, 1.0, "float32"), d.random.uniform(0.1, 2), list(d.shape()))
    mean = d.tensor(shape) if kinds[0] else d.number()
    return call(mean, d.tensor(shape, 0.1, 2) if kinds[1] else d.random.uniform(0.1, 2))


@domain("uniform_", "normal_", "random_", "exponential_", "bernoulli_")
def _(d, row):
    x = d.tensor(d.shape(0, 3), layout="plain")
    args = {"uniform_": [-1.0, 2.0], "normal_": [1.0, 2.0], "bernoulli_": [0.4]}.get(row.name, [])
    if row.name == "random_":
        args = [3, 50] if row.has("from") else [50] if row.has("to") else []
    if row.name == "bernoulli_" and row.params[1].is_tensor and row.params[1].type == "Tensor":
        args = [d.tensor(x.data.shape, 0, 1, dtype="float32")]
    return call(x, *args)


@domain("tril_indices", "triu_indices")
def _(d, row):
    return call(d.random.randint(1, 4), d.random.randint(1, 4), d.random.randint(-1, 1))


@domain("complex", "polar", "view_as_complex", "view_as_real")
def _(d, row):
    raise LookupError("complex numbers are not hookgrad's")


# ---- Views and shapes ----------------------------------------------------------------------------


def regroup(d, shape):
    """Sizes with the same number of elements, one of them -1 perhaps."""
    n = 1
    for size in shape:
        n *= size
    out, rest = [], n
    while rest > 1 and len(out) < 4:
        by = d.pick(*[k for k in range(1, rest + 1) if rest % k == 0])
        out.append(by)
        rest //= by
    out.append(rest)
    if d.chance(0.3) and n > 0:
        out[d.random.randrange(len(out))] = -1
    return out


@domain("view", "reshape", "_unsafe_view")
def _(d, row):
    shape = d.shape(empty=False)
    if row.has("dtype"):
        return call(d.tensor(shape, layout="plain"), Dtype(d.dtype))
    return call(d.tensor(shape, layout="plain" if row.name == "view" and d.chance(0.8) else None), regroup(d, shape))


@domain("view_as", "reshape_as")
def _(d, row):
    shape = d.shape(empty=False)
    other = [n if n > 0 else 1 for n in regroup(d, shape) if n != -1]
    if -1 in other or int_product(other) != int_product(shape):
        other = [int_product(shape)]
    return call(d.tensor(shape, layout="plain"), d.tensor(other, grad=False))


def int_product(shape):
    n = 1
    for size in shape:
        n *= size
    return n


@domain("transpose", "swapaxes", "swapdims")
def _(d, row):
    shape = d.shape()
    return call(d.tensor(shape), d.dim(len(shape)), d.dim(len(shape)))


@domain("permute")
def _(d, row):
    shape = d.shape()
    order = [i - len(shape) if d.chance(0.3) else i for i in d.random.sample(range(len(shape)), len(shape))]
    return call(d.tensor(shape), order)


@domain("movedim", "moveaxis")
def _(d, row):
    shape = d.shape(1, 4)
    if row.params[1].type == "int":
        return call(d.tensor(shape), d.dim(len(shape)), d.dim(len(shape)))
    n = d.random.randint(1, len(shape))
    pair = [d.random.sample(range(len(shape)), n) for _ in range(2)]
    return call(d.tensor(shape), *pair)


@domain("t", "adjoint", "T", "mT", "H", "mH")
def _(d, row):
    low, high = {"t": (0, 2), "T": (0, 2), "H": (2, 2)}.get(row.name, (2, 4))
    return call(d.tensor(d.shape(low, high)))


@domain("expand", "broadcast_to")
def _(d, row):
    shape = tuple(1 if d.chance(0.5) else n for n in d.shape(0, 3, empty=False))
    to = [d.random.randint(1, 4) if n == 1 else d.pick(n, n, -1) for n in shape]
    return call(d.tensor(shape), [d.random.randint(1, 3)] * d.random.randint(0, 2) + to)


@domain("expand_as")
def _(d, row):
    shape = d.shape(0, 3, empty=False)
    return call(d.tensor(d.broadcast(shape)), d.tensor(shape, grad=False))


@domain("squeeze")
def _(d, row):
    shape = tuple(1 if d.chance(0.5) else n for n in d.shape())
    if not row.has("dim"):
        return call(d.tensor(shape))
    return call(d.tensor(shape), d.dim(len(shape)) if row.param("dim").type == "int" else d.dims(len(shape)))


@domain("unsqueeze")
def _(d, row):
    shape = d.shape()
    return call(d.tensor(shape), d.dim(len(shape) + 1))


@domain("flatten")
def _(d, row):
    shape = d.shape()
    n = max(len(shape), 1)
    start = d.random.randint(0, n - 1)
    end = d.random.randint(start, n - 1)
    return d.pick(call(d.tensor(shape)), call(d.tensor(shape), start, end), call(d.tensor(shape), start_dim=start))


@domain("unflatten")
def _(d, row):
    shape = list(d.shape(1, 3, empty=False))
    dim = d.random.randrange(len(shape))
    shape[dim] = 6
    return call(d.tensor(shape), dim, d.pick([2, 3], [-1, 2], [6, 1]))


@domain("narrow", "narrow_copy")
def _(d, row):
    shape = d.shape(1, 4, empty=False)
    dim = d.dim(len(shape), bad=0)
    start = d.random.randint(0, shape[dim])
    return call(d.tensor(shape), dim, start, d.random.randint(0, shape[dim] - start + d.chance(0.05)))


@domain("select")
def _(d, row):
    shape = d.shape(1, 4, empty=False)
    dim = d.dim(len(shape))
    n = shape[dim] if -len(shape) <= dim < len(shape) else 1
    return call(d.tensor(shape), dim, d.random.randint(-n, n - 1 + d.chance(0.05)))


@domain("slice")
def _(d, row):
    shape = d.shape(1, 4)
    return call(d.tensor(shape), d.dim(len(shape), bad=0), d.pick(0, 1, -2), d.pick(2, 5, -1), d.pick(1, 2))


@domain("split", "split_with_sizes", "tensor_split", "chunk", "unsafe_split", "unsafe_chunk")
def _(d, row):
    shape = d.shape(1, 4, empty=False)
    dim = d.dim(len(shape), bad=0)
    n = shape[dim]
    if row.name == "chunk":
        return call(d.tensor(shape), d.random.randint(1, 4), dim)
    if row.params[1].type.startswith("int["):
        if row.name == "tensor_split":
            return call(d.tensor(shape), sorted(d.random.randint(0, n) for _ in range(2)), dim)
        first = d.random.randint(0, n)
        return call(d.tensor(shape), [first, n - first + d.chance(0.05)], dim)
    return call(d.tensor(shape), d.random.randint(1, 4), dim)


@domain("unbind")
def _(d, row):
    shape = d.shape(1, 4)
    return call(d.tensor(shape), d.dim(len(shape)))


@domain("diagonal", "diag_embed", "diag", "linalg_diagonal")
def _(d, row):
    if row.name == "diag":
        return call(d.tensor(d.shape(1, 2)), d.random.randint(-2, 2))
    shape = d.shape(2, 4) if row.name != "diag_embed" else d.shape(1, 3)
    return call(d.tensor(shape), **({"offset": d.random.randint(-1, 2)} if d.chance(0.6) else {}))


@domain("unfold")
def _(d, row):
    if row.has("kernel_size"):
        return call(d.tensor((2, 3, 5, 6)), 2, padding=d.pick(0, 1), stride=d.pick(1, 2))
    shape = tuple(n + 1 for n in d.shape(1, 3, empty=False))
    dim = d.dim(len(shape), bad=0)
    return call(d.tensor(shape), dim, d.random.randint(1, shape[dim]), d.pick(1, 2))


@domain("as_strided")
def _(d, row):
    return call(d.tensor((12,), layout="plain"), [2, 3], [3, 1], d.pick(0, 2))


@domain("cat", "concat", "concatenate")
def _(d, row):
    shape = list(d.shape(1, 3))
    dim = d.dim(len(shape), bad=0)
    parts = []
    for _ in range(d.random.randint(1, 4)):
        part = list(shape)
        part[dim] = d.size()
        parts.append(d.tensor(part, dtype=partner(d)))
    return call(parts, dim)


@domain("stack", "hstack", "vstack", "dstack", "column_stack", "row_stack")
def _(d, row):
    shape = d.shape()
    parts = [d.tensor(shape, dtype=partner(d)) for _ in range(d.random.randint(1, 4))]
    return call(parts, *([d.dim(len(shape) + 1)] if row.has("dim") else []))


@domain("block_diag", "cartesian_prod", "meshgrid", "broadcast_tensors", "atleast_1d", "atleast_2d", "atleast_3d")
def _(d, row):
    if not row.params[0].type.endswith("]"):
        return call(d.tensor(d.shape()))
    sizes = [(d.random.randint(1, 3),) for _ in range(2)]
    if row.name == "broadcast_tensors":
        sizes = [d.shape(empty=False)]
        sizes.append(d.broadcast(sizes[0]))
    tensors = [d.tensor(s) for s in sizes]
    return call(*tensors, **({"indexing": d.pick("ij", "xy")} if row.name == "meshgrid" else {}))


@domain("repeat", "tile")
def _(d, row):
    shape = d.shape(0, 3)
    return call(d.tensor(shape), [d.random.randint(0, 2) for _ in range(len(shape) + d.pick(0, 0, 1))])


@domain("repeat_interleave")
def _(d, row):
    shape = d.shape(1, 3, empty=False)
    dim = d.dim(len(shape), bad=0)
    if not row.has("self"):
        return call(d.index((4,), 3))
    if row.param("repeats").type.startswith("Tensor") and row.param("repeats").type == "Tensor":
        return call(d.tensor(shape), d.index((shape[dim],), 3), dim)
    return d.pick(call(d.tensor(shape), d.random.randint(0, 3)), call(d.tensor(shape), d.random.randint(0, 3), dim))


@domain("roll")
def _(d, row):
    shape = d.shape(1, 3)
    dims = d.dims(len(shape))
    return d.pick(
        call(d.tensor(shape), d.random.randint(-3, 3)),
        call(d.tensor(shape), [d.random.randint(-3, 3) for _ in dims], dims),
    )


@domain("flip")
def _(d, row):
    shape = d.shape()
    return call(d.tensor(shape), d.dims(len(shape)))


@domain("fliplr", "flipud", "rot90")
def _(d, row):
    return call(d.tensor(d.shape(2, 3)), *([d.random.randint(-1, 4), [0, 1]] if row.name == "rot90" else []))


@domain("tril", "triu")
def _(d, row):
    return call(d.tensor(d.shape(2, 4)), *([d.random.randint(-2, 2)] if d.chance(0.6) else []))


@domain("trace")
def _(d, row):
    return call(d.tensor(d.shape(2, 2)))


@domain("det", "logdet", "slogdet", "inv", "inverse", "solve", "matrix_power", "cholesky")
def _(d, row):
    """Square matrices far from singular: a strong diagonal, positive where a logarithm is taken."""
    n = d.random.randint(1, 3)
    x = d.tensor((*d.shape(0, 1), n, n), -1, 1, layout="plain")
    if d.is_float:
        x.data = x.data + np.eye(n) * (4 if row.name == "logdet" else d.pick(4, -4))
    if row.name == "solve":
        return call(x, d.tensor((n, d.random.randint(1, 3))) if d.chance(0.6) else d.tensor((n,)))
    return call(x, d.pick(1, 2, 3, -1)) if row.name == "matrix_power" else call(x)


@domain("diff")
def _(d, row):
    return call(d.tensor(d.shape(1, 3)))


# ---- Indexing ------------------------------------------------------------------------------------


def place(d, low=1):
    shape = d.shape(low, 3, empty=False)
    return shape, d.dim(len(shape), bad=0)


def within(d, shape, dim):
    """The shape of an index that fits into `shape` everywhere but along `dim`."""
    out = [d.random.randint(1, n) for n in shape]
    if out:
        out[dim] = d.random.randint(1, 4)
    return out


@domain("gather", "take_along_dim")
def _(d, row):
    shape, dim = place(d)
    index = within(d, shape, dim)
    if row.name == "gather":
        return call(d.tensor(shape), dim, d.index(index, shape[dim]))
    index = list(shape)
    index[dim] = d.random.randint(1, 4)
    return call(d.tensor(shape), d.index(index, shape[dim]), dim)


@domain("scatter", "scatter_add", "scatter_reduce")
def _(d, row):
    shape, dim = place(d)
    index = within(d, shape, dim)
    index[dim] = min(index[dim], shape[dim])
    places = d.numpy.permuted(spread(index, dim, shape[dim]), axis=dim)
    ix = T(places, "int64", "plain")
    if row.has("value"):
        return call(d.tensor(shape), dim, ix, d.number(), **reduce_of(d, row))
    more = [d.pick("sum", "prod", "amax", "amin", "mean")] if row.name == "scatter_reduce" else []
    return call(
        d.tensor(shape), dim, ix, d.tensor(index), *more, **(reduce_of(d, row) if row.name == "scatter" else {})
    )


def spread(index, dim, bound):
    """Places along dim that are all different, so that what is written does not depend on the order of writing."""
    line = np.arange(index[dim]) % bound
    return np.broadcast_to(line.reshape([-1 if i == dim % len(index) else 1 for i in range(len(index))]), index).copy()


def reduce_of(d, row):
    return {"reduce": d.pick("add", "multiply")} if row.has("reduce") and row.param("reduce").default is None else {}


@domain("index_select")
def _(d, row):
    shape, dim = place(d)
    return call(d.tensor(shape), dim, d.index((d.random.randint(0, 4),), shape[dim], d.pick("int64", "int32")))


@domain("index_add", "index_copy")
def _(d, row):
    shape, dim = place(d)
    n = d.random.randint(1, shape[dim])
    source = list(shape)
    source[dim] = n
    index = T(d.numpy.permutation(shape[dim])[:n], "int64", "plain")
    more = {"alpha": d.pick(2, -1)} if row.name == "index_add" and d.dtype != "bool" and d.chance(0.4) else {}
    return call(d.tensor(shape), dim, index, d.tensor(source), **more)


@domain("index_fill")
def _(d, row):
    shape, dim = place(d)
    return call(d.tensor(shape), dim, d.index((2,), shape[dim]), d.number())


@domain("index_put", "_index_put_impl")
def _(d, row):
    shape = d.shape(1, 3, empty=False)
    index = T(d.numpy.permutation(shape[0])[: d.random.randint(1, shape[0])], "int64", "plain")
    values = d.tensor((index.data.size, *shape[1:]))
    return call(d.tensor(shape), [index], values, **({"accumulate": True} if d.chance(0.4) else {}))


@domain("index")
def _(d, row):
    shape = d.shape(1, 3, empty=False)
    return call(d.tensor(shape), [d.index((3,), shape[0], negative=True)])


@domain("masked_fill")
def _(d, row):
    shape = d.shape()
    value = d.tensor((), grad=False) if row.param("value").type == "Tensor" else d.number()
    return call(d.tensor(shape), d.mask(d.broadcast(shape)), value)


@domain("masked_select")
def _(d, row):
    shape = d.shape()
    return call(d.tensor(shape), d.mask(d.broadcast(shape)))


@domain("masked_scatter")
def _(d, row):
    shape = d.shape()
    return call(d.tensor(shape), d.mask(shape), d.tensor((int_product(shape) + 1,)))


@domain("take")
def _(d, row):
    shape = d.shape(empty=False)
    return call(d.tensor(shape), d.index(d.shape(0, 2), int_product(shape), negative=True))


@domain("put")
def _(d, row):
    shape = d.shape(1, 3, empty=False)
    return call(d.tensor(shape, layout="plain"), d.index((1,), int_product(shape)), d.tensor((1,)))


@domain("searchsorted", "bucketize")
def _(d, row):
    line = T(d.numpy.permutation(6).astype(float), "float32", "plain")
    line.data.sort()
    pair = [line, d.tensor((4,), -1, 7, dtype="float32")]
    return call(*(pair if row.name == "searchsorted" else pair[::-1]))


@domain("one_hot")
def _(d, row):
    return call(d.index(d.shape(0, 2, empty=False), 5), d.pick(-1, 5, 7))


@domain("nonzero", "argwhere")
def _(d, row):
    return call(d.tensor(d.shape()))


@domain("fill", "fill_")
def _(d, row):
    return call(d.tensor(d.shape()), d.number() if row.param("value").type != "Tensor" else d.tensor(()))


@domain("copy_", "copy")
def _(d, row):
    shape = d.shape()
    return call(d.tensor(shape), d.tensor(d.broadcast(shape), dtype=partner(d)))


@domain("to", "type_as", "_to_copy")
def _(d, row):
    if row.has("dtype"):
        return call(d.tensor(d.shape()), dtype=d.float_dtype() if d.grads else d.any_dtype())
    return call(d.tensor(d.shape()), d.tensor(d.shape(), dtype=partner(d), grad=False))


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


@domain("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "convolution")
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
    return call(d.tensor((*batch, cin, *size)), d.tensor(weight), bias, **kwargs)


@domain(
    "max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool1d_with_indices", "avg_pool1d",
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
)
def _(d, row):
    nd = 1 if "1d" in row.name else 2
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


@domain("dropout", "alpha_dropout", "feature_dropout", "dropout1d", "dropout2d", "native_dropout")
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
