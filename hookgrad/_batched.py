"""How ops compute on all samples of a map at once.

Note [Samples]
A sample is a hollow tensor: it has the shape of one entry, and stands for a batch, its whole, which has a first dimension more. An
op of samples comes here below the recording of the graph (py_dispatch.c) and is called on the batches, outside of the map, where it
is recorded for whoever differentiates the map; what it gives is a sample again. So the graph within a map is one of samples, and
functions, hooks and nodes within run once. What a transform within the map differentiates, and is the same for all, is a sample
that is not mapped, whose whole has no dimension more. An op without a rule is called for one entry after another.
"""

import re
from ast import literal_eval
from functools import cache
from typing import NamedTuple

from . import _C
from ._levels import tensors_of
from ._ops import IS_VIEW, row_of

_DIMS = frozenset("dim dim0 dim1 dim2 dims dimension".split())
_SIZES = frozenset("size input_sizes".split())


_op_of = cache(_C._op_of_row)


class Value(NamedTuple):
    """What an argument is outside of the map; its rank is that within."""

    whole: _C.Tensor
    mapped: bool
    rank: int


class Call:
    """An op called on n samples."""

    def __init__(self, n, number, inplace, args, kwargs, values):
        self.n, self.row, self.op, self.inplace = n, row_of(number), _op_of(number, inplace), inplace
        self.args, self.kwargs, self.values = args, kwargs, values  # by the id() of each
        self.rank = max([v.rank for v in values.values()], default=0)

    def made(self):
        """What the op gives for the batches."""
        if not any(v.mapped for v in self.values.values()):
            return self.on(lambda v: v.whole)
        rule = _rule_of(self.row["id"])
        made = rule and rule(self, *self.args, **self.kwargs)
        return self.each() if made is None else made

    def on(self, change, args=None, kwargs=None):
        """The op, called with what `change` makes of each tensor."""

        def changed(a):
            return change(self[a]) if isinstance(a, _C.Tensor) else a

        args, kwargs = self.args if args is None else args, self.kwargs if kwargs is None else kwargs
        every = [list(map(changed, a)) if isinstance(a, list) else changed(a) for a in (*args, *kwargs.values())]
        return self.op(*every[: len(args)], **dict(zip(kwargs, every[len(args) :])))

    def __getitem__(self, t):
        return self.values[id(t)]

    def each(self):
        def entry(i):
            return lambda v: v.whole.select(0, i) if v.mapped else v.whole

        if self.n == 0:
            every = [self.on(lambda v: v.whole.new_zeros(v.whole.shape[1:]) if v.mapped else v.whole)]
        else:
            every = [self.on(entry(i)) for i in range(self.n)]
        if self.inplace:
            return self.args[0]
        if isinstance(every[0], (tuple, list)):
            return [self._stacked(column) for column in zip(*every)]
        return self._stacked(every)

    def _stacked(self, column):
        return _C.stack(list(column)) if self.n else column[0].new_empty((0, *column[0].shape))

    def aligned(self, v, rank=None):
        """So that it broadcasts with batches of entries of that rank."""
        more = (self.rank if rank is None else rank) - v.rank
        return v.whole.view(self.n, *[1] * more, *v.whole.shape[1:]) if v.mapped and more > 0 else v.whole

    def batch(self, v):
        """As a batch, whether or not it is one."""
        return v.whole if v.mapped else v.whole.expand(self.n, *v.whole.shape)

    def named(self):
        """The positional arguments by name, and what names dimensions by its default."""
        for i, p in enumerate(self.row["params"]):
            if i < len(self.args):
                yield p["name"], self.args[i]
            elif p["name"] in _DIMS and p["name"] not in self.kwargs:
                default = re.search(rf"\b{p['name']}=(-?\d+|\[.*?\]|None)", self.row["schema"])
                yield p["name"], literal_eval(default[1])


# ---- Rules: what they give for the batches, or None: that is to be done for each entry ------------------------------------


def _elementwise(call, *args, **kwargs):
    values = call.values.values()
    numbers = any(v.rank == 0 for v in values) and len({v.whole.dtype for v in values}) > 1  # which count for less
    if not call.inplace and numbers or kwargs.get("memory_format") in (_C.channels_last, _C.channels_last_3d):
        return None
    return call.on(call.aligned)


def _filled(call, t, *rest):
    """With a value for each entry: `rest` is that, or a mask and that."""
    if not isinstance(rest[-1], _C.Tensor) or not call[rest[-1]].mapped:
        return _elementwise(call, t, *rest)
    own, *mask, value = (call.aligned(call[a]) for a in (t, *rest))
    value = value.to(own.dtype)
    new = _C.where(mask[0], value, own) if mask else value
    return own.copy_(new) if call.inplace else _C.empty_like(call.batch(call[t])).copy_(new) if not mask else new


def _detach(call, t):
    whole = call[t].whole
    return whole.detach() if _C.is_grad_enabled() else whole


def _last(call, *args, **kwargs):
    """It is about the last dimensions of what it is given."""
    return call.on(call.batch) if len({v.rank for v in call.values.values()}) == 1 else None


_PRODUCTS = {"mm": 2, "mv": 2, "bmm": 3, "dot": 1, "addmm": 2, "addmv": 2, "baddbmm": 3}


def _product(call, a, b):
    a, b = call[a], call[b]
    rank = _PRODUCTS[call.row["name"]]
    if a.rank != rank or b.rank != 1 + (rank > 1) * (not call.row["name"].endswith("mv")) + (rank > 2):
        return None  # which says so
    if rank == 1:
        dtype = a.whole.dtype
        if dtype == _C.bool or b.whole.dtype != dtype:
            return None  # which says so
        return (a.whole * b.whole).sum(-1, dtype=dtype)
    if b.rank != 1:
        return _C.matmul(a.whole, b.whole)
    return _C.matmul(a.whole, b.whole.unsqueeze(-1)).squeeze(-1) if a.mapped else _C.matmul(b.whole, a.whole.t())


def _sum_with_product(call, t, a, b, *, beta=1, alpha=1):
    if call.inplace or not (call[a].mapped or call[b].mapped) or (out := _product(call, a, b)) is None:
        return None
    start = call.aligned(call[t], out.dim() - 1)
    return _C.add(out if alpha == 1 else out * alpha, start if beta == 1 else start * beta)


_OF_ALL = {"sum": "sum", "mean": "mean", "prod": "prod", "all": "all", "any": "any", "max": "amax", "min": "amin"}


def _rows(batch):
    return batch.flatten(1) if batch.dim() > 1 else batch.unsqueeze(1)


def _of_all(call, t, **kwargs):
    return getattr(_C, _OF_ALL[call.row["name"]])(_rows(call[t].whole), 1, **kwargs)


def _loss(call, *args, **kwargs):
    given = dict(call.named()) | kwargs
    reduction, given["reduction"] = given.get("reduction", "mean"), "none"
    out = call.on(lambda v: call.batch(v) if v.rank == call.rank else call.aligned(v), (), given)  # of one shape
    return out if reduction == "none" else getattr(_rows(out), reduction)(1)


def _nll_loss(call, t, target, weight, reduction="mean", ignore_index=-100):
    if weight is not None:
        return None
    rows, classes = call.batch(call[t]), call.batch(call[target])
    total = (classes != ignore_index).to(rows.dtype)
    out, _ = call.op(rows.reshape(-1, rows.size(-1)), classes.reshape(-1), None, "none", ignore_index)
    if reduction == "none":
        return out.view_as(classes), total
    out, total = _rows(out.view_as(classes)).sum(1), _rows(total).sum(1)
    return out / total if reduction == "mean" else out, total


def _nll_loss_backward(call, grad, t, target, weight, reduction, ignore_index, total):
    if weight is not None:
        return None
    rows, classes, grad = call.batch(call[t]), call.batch(call[target]), call.batch(call[grad])
    if reduction == "mean":
        grad = grad / call.batch(call[total])
    if reduction != "none":
        grad = grad.unsqueeze(-1).expand(call.n, classes.numel() // max(call.n, 1))
    flat = rows.reshape(-1, rows.size(-1)), classes.reshape(-1)
    return call.op(grad.reshape(-1), *flat, None, "none", ignore_index, grad.new_zeros(())).view_as(rows)


def _folded(call, rank, *args):
    """Entries of that rank are batches, which become one."""
    values = call.values.values()
    if any(v.rank != call.rank for v in values) or call.rank < rank - 1:
        return None
    many = call.rank == rank
    size = next(iter(values)).whole.shape[-rank] if many else 0

    def resized(name, a):
        return a if name != "input_size" else [call.n * a[0], *a[1:]] if many else [call.n, *a]

    out = call.on(
        lambda v: call.batch(v).flatten(0, 1) if many else call.batch(v), [resized(k, a) for k, a in call.named()]
    )
    if not many:
        return out
    return (
        [t.unflatten(0, (call.n, size)) for t in out]
        if isinstance(out, (tuple, list))
        else out.unflatten(0, (call.n, size))
    )


_POOL = re.compile(r"_?(?:adaptive_)?(?:max|avg)_pool(.)d")


def _pool(call, *args):
    return _folded(call, int(_POOL.match(call.row["name"])[1]) + 2)


def _attention(call, *args, **kwargs):
    return None if len(args) > 7 and args[7] is not None or kwargs.get("attn_mask") is not None else _folded(call, 4)


def _side_by_side(batch):
    """(n, N, C, ...) as (N, n C, ...)."""
    return batch.transpose(0, 1).flatten(1, 2)


def _apart(t, n):
    return t.unflatten(1, (n, t.size(1) // max(n, 1))).transpose(0, 1)


def _convolution(call, t, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    x, w, rest = call.batch(call[t]), call[weight], (stride, padding, dilation, transposed, output_padding)
    if w.mapped and (transposed and groups != 1 or not call.n):
        return None
    lone = call[t].rank < w.rank
    x = x.unsqueeze(1) if lone else x
    if w.mapped:
        out = _apart(call.op(_side_by_side(x), w.whole.flatten(0, 1), None, *rest, call.n * groups), call.n)
    else:
        out = call.op(x.flatten(0, 1), w.whole, None, *rest, groups).unflatten(0, (call.n, x.size(1)))
    out = out.squeeze(1) if lone else out
    if bias is None:
        return out
    b = call[bias]
    return out + b.whole.view(call.n if b.mapped else 1, *[1] * (not lone), -1, *[1] * (w.rank - 2))


def _convolution_backward_weight(call, grad, t, kernel, stride, padding, dilation, groups):
    if not call.n:
        return None
    grad, x = (_side_by_side(call.batch(call[a])) for a in (grad, t))
    return call.op(grad, x, kernel, stride, padding, dilation, call.n * groups).unflatten(
        0, (call.n, grad.size(1) // max(call.n, 1))
    )


def _batch_norm(call, *args):
    """By entries whose channels lie side by side."""

    def flat(v):
        whole = call.batch(v)
        return whole.reshape(-1) if v.rank == 1 else _side_by_side(whole)

    out = call.on(flat)
    return [_apart(t, call.n) if t.dim() > 1 else t.view(call.n, -1) for t in out]


def _layer_norm(call, t, weight, bias, shape, eps):
    out, mean, rstd = call.op(call.batch(call[t]), None, None, shape, eps)
    if weight is not None:
        out = out * call.aligned(call[weight])
    return out if bias is None else out + call.aligned(call[bias]), mean, rstd


def _layer_norm_backward(call, grad, t, shape, mean, rstd, weight, bias, eps):
    grad, x, mean, rstd = (call.batch(call[a]) for a in (grad, t, mean, rstd))
    scaled = grad if weight is None else grad * call.aligned(call[weight])
    # With its history, which mean and rstd are without.
    normal, _, _ = _op_of(_number("native_layer_norm"), False)(x, None, None, shape, eps)
    given, _, _ = call.op(scaled, x, shape, mean, rstd, None, None, eps)

    def summed(t):
        return t.reshape(call.n, -1, *shape).sum(1)

    return given, summed(grad * normal), summed(grad)


def _group_norm(call, t, weight, bias, groups, eps):
    made = call.op(call.batch(call[t]).flatten(0, 1), None, None, groups, eps)
    out, mean, rstd = [part.unflatten(0, (call.n, t.size(0))) for part in made]

    def spread(v):
        return v.whole.view(call.n if v.mapped else 1, 1, -1, *[1] * (t.dim() - 2))

    if weight is not None:
        out = out * spread(call[weight])
    return out if bias is None else out + spread(call[bias]), mean, rstd


def _embedding(call, weight, indices, *args, **kwargs):
    return None if call[weight].mapped else call.op(call[weight].whole, call[indices].whole, *args, **kwargs)


def _embedding_dense_backward(call, grad, indices, num_weights, padding_idx, scale_grad_by_freq):
    """As of one table with the rows of all samples, in which each has its own."""
    grad, places = call.batch(call[grad]), call.batch(call[indices])
    if padding_idx >= 0:
        grad = grad.masked_fill((places == padding_idx).unsqueeze(-1), 0)
    rows = _C.arange(call.n).view(-1, *[1] * indices.dim()) * num_weights + places
    out = call.op(grad, rows, call.n * num_weights, -1, scale_grad_by_freq)
    return out.unflatten(0, (call.n, num_weights))


def _index(call, t, indices, *rest):
    """`rest`: what is put there, and how."""
    places = [call[i] for i in indices if i is not None]
    own, mapped, rank = call[t], any(v.mapped for v in places), max(v.rank for v in places)
    if any(v.whole.dtype in (_C.bool, _C.uint8) for v in places) or any(
        i is None for i in indices[indices[0] is None :]
    ):
        return None
    if indices[0] is None and (mapped or any(i is None for i in indices[1:])):
        return None
    given = [i if i is None else call.aligned(call[i], rank) for i in indices]
    if own.mapped or rest:
        given.insert(0, _C.arange(call.n).view(-1, *[1] * rank) if mapped else None)
    if not rest:
        return call.op(own.whole, given)
    value = call.aligned(call[rest[0]], rank + own.rank - len(places))
    return call.op(call.batch(own), given, value, *rest[1:])


def _repeat(call, t, repeats):
    return call.op(call.aligned(call[t], len(repeats)), [1, *repeats])


def _expand(call, t, size, **kwargs):
    return call.op(call.aligned(call[t], len(size)), [call.n, *size], **kwargs)


def _one_hot(call, t, num_classes=-1):
    if num_classes < 1:
        raise RuntimeError(
            "When vmap-ing torch.nn.functional.one_hot, please provide an explicit positive num_classes argument."
        )
    return call.op(call[t].whole, num_classes)


def _roll(call, t, shifts, dims=()):
    return _along(call, t, shifts, dims) if dims else _rows(call[t].whole).roll(shifts, 1).view(call.n, *t.shape)


def _squeeze(call, t):
    return call[t].whole.squeeze([i + 1 for i, size in enumerate(t.shape) if size == 1])


def _t(call, t):
    return call[t].whole.transpose(1, 2) if t.dim() == 2 else call[t].whole.view_as(call[t].whole)


def _as_strided(call, t, size, stride, offset, *own):
    whole = call[t].whole
    return whole.as_strided([call.n, *size], [whole.stride(0), *stride], offset)


_REDUCES = frozenset(
    "sum nansum mean var std var_mean std_mean _norm vector_norm all any count_nonzero amax amin".split()
)
_JOINS = frozenset("unsqueeze stack diag_embed".split())  # their dimensions are those of the result


def _listed(dims):
    return dims if isinstance(dims, list) else [dims]


def _along(call, *args, **kwargs):
    """Where arguments name dimensions, these are one further on; a size has the batch's first."""
    name, given = call.row["name"], dict(call.named())
    sizes = next((a for k, a in given.items() if k in _SIZES and isinstance(a, list)), None)
    ranks = {call[t].rank for t in tensors_of(args) if not (name.startswith("index_") and t is given["index"])}
    own_rank = max(ranks, default=call.rank)
    rank = len(sizes) if sizes is not None and name.endswith("_backward") else own_rank + (name in _JOINS)
    every = {**given, **kwargs}
    no_dims = any(k in _DIMS and (a is None or a == []) for k, a in every.items())
    by_dims = bool(_DIMS & every.keys())
    if len(ranks) > 1 or by_dims and rank == 0 or no_dims and name not in _REDUCES:
        return None
    dims = [d for k in _DIMS & every.keys() if every[k] is not None for d in _listed(every[k])]
    if not all(-rank <= d < rank for d in dims):
        return None  # which says so
    if name.startswith("index_") and (call[given["index"]].mapped or call[given["index"]].rank > 1):
        return None

    def moved(name, a):
        if name in _DIMS:
            if a is None or a == []:
                return list(range(1, rank + 1))
            if isinstance(a, list):
                return [0] * (call.row["name"] == "permute") + [d + 1 + rank * (d < 0) for d in a]
            return a + 1 + rank * (a < 0)
        return [call.n, *a] if name in _SIZES and isinstance(a, list) else a

    return call.on(
        lambda v: v.whole if name.startswith("index_") and v is call[given["index"]] else call.batch(v),
        [moved(k, a) for k, a in zip(given, args)],
        {k: moved(k, a) for k, a in every.items() if k in kwargs or k not in list(given)[: len(args)]},
    )


_RULES = {
    **dict.fromkeys("max.other min.other empty_like zeros_like ones_like full_like".split(), _elementwise),
    **dict.fromkeys("fill fill_ masked_fill".split(), _filled),
    **dict.fromkeys(
        "tril triu constant_pad_nd inv inverse cholesky_ex matrix_exp _linalg_det _linalg_slogdet".split(),
        _last,
    ),
    **dict.fromkeys("mm mv bmm dot".split(), _product),
    **dict.fromkeys("addmm addmv baddbmm".split(), _sum_with_product),
    **dict.fromkeys(_OF_ALL, _of_all),
    **dict.fromkeys(
        "_mse_loss _smooth_l1_loss _huber_loss _binary_cross_entropy _binary_cross_entropy_with_logits".split(), _loss
    ),
    **dict.fromkeys("_scaled_dot_product_flash_attention_for_cpu _attention_backward".split(), _attention),
    **dict.fromkeys("native_batch_norm native_batch_norm_backward".split(), _batch_norm),
    **dict.fromkeys("_index index_put _index_put_impl".split(), _index),
    "_as_strided": _as_strided,
    "convolution": _convolution,
    "convolution_backward_weight": _convolution_backward_weight,
    "detach": _detach,
    "embedding": _embedding,
    "embedding_dense_backward": _embedding_dense_backward,
    "equal": None,
    "expand": _expand,
    "native_group_norm": _group_norm,
    "native_layer_norm": _layer_norm,
    "native_layer_norm_backward": _layer_norm_backward,
    "nll_loss_backward": _nll_loss_backward,
    "nll_loss_forward": _nll_loss,
    "one_hot": _one_hot,
    "repeat": _repeat,
    "roll": _roll,
    "squeeze": _squeeze,
    "t": _t,
}


@cache
def _number(name):
    return next(row["id"] for row in _C.op_table() if row["name"] == name)


@cache
def _rule_of(number):
    row = row_of(number)
    name, by_dims = row["name"], any(p["name"] in _DIMS for p in row["params"])
    for key in (f"{name}.{row['overload']}", name):
        if key in _RULES and not (by_dims and key in ("squeeze", *_OF_ALL)):
            return _RULES[key]
    if _POOL.match(name):
        return _pool
    if number <= _number("zero_"):  # the elementwise ones come first
        return _elementwise
    if by_dims or row["flags"] & IS_VIEW or name.startswith("new_") or name == "_unsafe_view":
        return _along
    return None
