"""What arguments the ops take: making, viewing and indexing tensors."""

import numpy as np
from arguments import Dtype, T, call
from domains import domain, partner

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


@domain("split", "split_with_sizes", "unsafe_split_with_sizes", "tensor_split", "chunk", "unsafe_split", "unsafe_chunk")
def _(d, row):
    shape = d.shape(1, 4, empty=False)
    dim = d.dim(len(shape), bad=0)
    n = shape[dim]
    if row.name == "chunk":
        return call(d.tensor(shape), d.random.randint(1, 4), dim)
    if row.params[1].type == "Tensor":
        return call(d.tensor(shape), d.index((2,), n, "int64"), dim)
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


@domain("det", "logdet", "slogdet", "inv", "inverse", "solve", "matrix_power")
def _(d, row):
    """Square matrices far from singular: a strong diagonal, positive where a logarithm is taken."""
    n = d.random.randint(1, 3)
    x = d.tensor((*d.shape(0, 1), n, n), -1, 1, layout="plain")
    if d.is_float:
        x.data = x.data + np.eye(n) * (4 if row.name == "logdet" else d.pick(4, -4))
    if row.name == "solve":
        return call(x, d.tensor((n, d.random.randint(1, 3))) if d.chance(0.6) else d.tensor((n,)))
    return call(x, d.pick(1, 2, 3, -1)) if row.name == "matrix_power" else call(x)


@domain("qr", "geqrf", "matrix_exp", "cholesky_ex", "solve_triangular", "_linalg_eigh", "_linalg_svd")
def _(d, row):
    """Matrices whose values lie apart: a diagonal of 1, 3, 5 ... with little beside it."""
    n = d.random.randint(1, 3)
    m = n + d.pick(0, 1, 2) if row.name in ("qr", "geqrf", "_linalg_svd") else n
    x = d.tensor((*d.shape(0, 1), m, n), -0.4, 0.4, layout="plain")
    if row.name in ("cholesky_ex", "_linalg_eigh"):
        x.data = x.data + np.swapaxes(x.data, -1, -2)
    if row.name == "matrix_exp" and d.dtype in ("float16", "bfloat16"):
        return call(d.tensor((0, n, n)))  # PyTorch's numbers of half types are wrong: exp(0) has a -21064 in it
    if d.is_float:
        x.data = x.data + np.eye(m, n) * np.arange(1, 2 * n, 2)
    if row.name == "solve_triangular":
        left = d.chance(0.5)
        kwargs = {"upper": d.chance(0.5), "left": left, "unitriangular": d.chance(0.3)}
        return call(x, d.tensor((n, 2) if left else (2, n)), **kwargs)
    return call(x, upper=d.chance(0.5)) if row.name == "cholesky_ex" else call(x)


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
