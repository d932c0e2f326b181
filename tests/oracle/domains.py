"""What arguments each op takes: one entry an op where its schema alone does not say.

The entries are in domains_math.py, domains_shape.py and domains_nn.py.

`sample(draw, row)` gives a random call of a row. Without an entry in DOMAINS arguments follow from the schema: tensors
of broadcasting shapes, numbers, dimensions, sizes.
"""

from arguments import Named, call

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
# Only shape and dtype are promised.
VALUES_DIFFER = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"}


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
    if kind == "memory_format":
        last = {4: ["channels_last"], 5: ["channels_last_3d"]}.get(n, [])
        return Named(d.pick("contiguous_format", "preserve_format", *last))
    if kind == "int":
        return d.random.randint(0, 3)
    if kind in ("float", "Scalar"):
        return d.number()
    if kind.startswith("int["):
        return list(d.shape(1, 3))
    if kind == "str":
        return p.default.strip("\"'") if p.default not in (None, "None") else "mean"
    return None


# Each fills DOMAINS.
import domains_math  # noqa: E402, F401
import domains_nn  # noqa: E402, F401
import domains_shape  # noqa: E402, F401
