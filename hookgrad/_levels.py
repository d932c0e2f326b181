"""What ops may not do within the transforms of torch.func (Note [Levels] in op.c), and which of them are of samples."""

from textwrap import indent

from . import _C

_READING = {
    "item": "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling .item() on a Tensor, please "
    "try to rewrite what you're doing with other operations. If error is occurring somewhere inside PyTorch internals, please "
    "file a bug report.",
    "bool": "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't support that yet, "
    "please file an issue at https://github.com/pytorch/pytorch/issues .",
    "data": "Cannot access data pointer of Tensor that doesn't have storage",
    ".data": "accessing `data` under vmap transform is not allowed",
    ".data=": "mutating directly with `.data` under vmap transform is not allowed.",
}
_READING["numpy"] = _READING["data"]
_ISSUE = "Please file an issue at https://github.com/pytorch/pytorch/issues if you need this feature."
_READING["allclose"] = f"vmap over torch.allclose isn't supported yet. {_ISSUE}"
# How ops name themselves where they may not write: PyTorch's rules for these speak of themselves so, the rest is "aten::".
_ARITHMETIC = frozenset(
    "sub_ mul_ multiply_ div_ divide_ true_divide_ copy_ masked_fill_ clamp_min_ clamp_max_ logical_and_ logical_or_ logical_xor_".split()
)
_OWN_RULE = frozenset("fill_ index_fill_ index_add_ index_put_ scatter_add_ scatter_reduce_".split())
_RULED = {
    **dict.fromkeys(_ARITHMETIC, "inplace arithmetic"),
    **{name: name for name in _OWN_RULE},
    "bernoulli_": "inplace bernoulli",
}
# These have no rule that looks: it is by their shapes that they find out.
_BY_SHAPE = frozenset(
    "add_ arctan2_ atan2_ bitwise_and_ bitwise_left_shift_ bitwise_or_ bitwise_right_shift_ bitwise_xor_ copysign_ gcd_ lcm_".split()
)
_DYNAMIC = frozenset("nonzero nonzero_numpy where _unique2 _unique_dim _unique_consecutive".split())


def tensors_of(args):
    every = [t for a in args for t in (a if isinstance(a, list) else (a,))]
    return [t for t in every if isinstance(t, _C.Tensor)]


def in_map(t):
    """None, where it is no sample of a map that is under way."""
    known = getattr(t, "_in_map", None)
    return known if known and known.samples.live else None


def innermost(tensors):
    """The Samples of the innermost map under way that one of the tensors is known to; None: there is none."""
    known = [known.samples for t in tensors if (known := in_map(t)) is not None]
    return max(known, key=lambda samples: samples.depth, default=None)


def known_as(t, other):
    """`other` stands for t."""
    if (known := in_map(t)) is not None:
        other._in_map = known._replace(argument=None)
        _C._levels(other, _C._levels(t, 0) | 64)


def alias(t):
    """Another sample of what t is one of, without t's history; None: it is none."""
    known = in_map(t)
    return known and known.samples.sample(known.whole, known.mapped, _C._levels(t, 0))


def outside(t):
    """What it stands for outside of all maps."""
    while (known := in_map(t)) is not None:
        t = known.whole
    return t


def anywhere(condition):
    """Does it hold for an element, of whichever sample?"""
    return bool(outside(condition).any())


def of(transforms, values):
    """The levels of the tensors among them; of maps, those that have another for each sample."""
    levels = 0
    for t in values:
        if isinstance(t, _C.Tensor):
            levels |= _C._levels(t, 0) & ~transforms.maps
            while known := in_map(t):
                t, levels = known.whole, levels | known.samples.level * known.mapped
    return levels


def of_reading(transforms, what, tensor):
    """A number ("item"), a condition ("bool"), elements ("data") or the `.data` are wanted of a tensor."""
    if of(transforms, (tensor,)) & (transforms.maps | (transforms.derives if what == "numpy" else 0)):
        raise RuntimeError(_READING[what])


def of_call(transforms, id, inplace, args, kwargs, records, own):
    """An op is called that is one of samples, or may have no place here. What stands in for its result; None: nothing does. `own`: it is
    a derivative's, which knows what it does."""
    from ._ops import overload_of, row_of

    tensors = tensors_of((*args, *kwargs.values()))
    row, others = row_of(id), of(transforms, tensors[inplace:]) & transforms.maps
    name = row["name"]
    samples = transforms.samples
    draws = samples and (name == "_dropout_mask" or any(p["type"] == "Generator" for p in row["params"]))
    if inplace and not own and not (draws and samples.randomness != "different"):
        _written(transforms, overload_of(id, True, args, kwargs).name(), tensors, others)
    if draws:
        return samples.draw(id, inplace, args, kwargs)
    if others and not own:
        _refuse(transforms, row, args)
    inner = innermost(tensors)
    return inner and inner.call(id, inplace, args, kwargs, records)


def _refuse(transforms, row, args):
    name = row["name"]
    if name in ("_index", "index_put", "_index_put_impl"):
        if of(transforms, [t for t in tensors_of(args[1:2]) if t.dtype == _C.bool]) & transforms.maps:
            raise RuntimeError(
                "vmap: We do not support batching operators that can support dynamic shape. Attempting to batch over indexing "
                "with a boolean mask."
            )
    elif name == "equal":
        raise RuntimeError("Batching rule not implemented for aten::equal. We could not generate a fallback.")
    elif name == "native_batch_norm":
        if args[5] and of(transforms, args[:1]) & transforms.maps & ~of(transforms, args[3:4]) and args[3] is not None:
            raise RuntimeError(
                "Batch norm got a batched tensor as input while the running_mean or running_var, which will be updated in place, "
                "were not batched.\nIf you are using a module and do not need eval mode, please set `track_running_stats` to be False."
                "If you are using a prebuilt module and do not need eval mode, please see the functorch website for resources on how "
                "to patch your module to work with vmap"
            )
    elif name == "masked_select":
        if of(transforms, args[1:]) & transforms.maps:
            raise RuntimeError(
                "vmap: Attempted to vmap over `mask` in torch.masked_select(self, mask) We cannot support this because for each "
                f"batch this would return a differently shaped Tensor. {_ISSUE}"
            )
    elif name in _DYNAMIC and not (name == "where" and len(args) > 1):
        raise RuntimeError(
            "vmap: We do not support batching operators that can output dynamic shape. Attempted to vmap over "
            f"aten::{name.removesuffix('_numpy')}. {_ISSUE}"
        )


def _written(transforms, name, tensors, others):
    """May the op of that name write to the first tensor, from arguments of these other levels?"""
    missing = (transforms.derives | others) & ~of(transforms, tensors[:1])
    if missing & transforms.derives > missing & others:
        raise RuntimeError(
            f"During a grad (vjp, jvp, grad, etc) transform, the function provided attempted to call in-place operation ({name}) "
            "that would mutate a captured Tensor. This is not supported; please rewrite the function being transformed to "
            "explicitly accept the mutated Tensor(s) as inputs."
        )
    if missing:
        raise RuntimeError(_overfull(name.removeprefix("aten::").partition(".")[0], tensors, missing.bit_length()))


def _overfull(name, tensors, level):
    if name in _BY_SHAPE:
        wide = [innermost(tensors[1:]).n, *_C.broadcast_tensors(*tensors)[0].shape]
        return f"output with shape {list(tensors[0].shape)} doesn't match the broadcast shape {wide}"
    shown, where = (_RULED[name], "in a vmap") if name in _RULED else (f"aten::{name}", f"at level {level}")
    return (
        f"vmap: {shown}(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args that has more "
        "elements than `self`. This happened due to `other` being vmapped over but `self` not being vmapped over "
        f"{where}. Please try to use out-of-place operators instead of {shown}. If said operator is being called inside the "
        "PyTorch framework, please file a bug report instead."
    )


def shown(transforms, tensor):
    """The text of a tensor that transforms know, as PyTorch's wrappers of it show themselves; None: it is not one."""
    from .autograd import forward_ad

    value, maps, levels = tensor, 0, of(transforms, (tensor,)) & transforms.derives
    while known := getattr(value, "_in_map", None):
        value, maps = known.whole, maps | known.samples.level * known.mapped
    if not tensor.requires_grad and forward_ad._tangent(tensor) is None:
        levels = 0
    levels |= maps
    if not levels:
        return None
    told = _C._without_duals(1)
    try:
        with transforms.being({}):
            text = repr(value.detach())
    finally:
        _C._without_duals(told)
    for i in range(6):
        if levels >> i & 1:
            kind = "BatchedTensor(lvl={}, bdim=0" if maps >> i & 1 else "GradTrackingTensor(lvl={}"
            text = f"{kind.format(i + 1)}, value=\n{indent(text, '    ')}\n)"
    return text


def refuse_same():
    raise RuntimeError(
        "Vmap does not currently support same randomness with a batched tensor input. Please file an issue with functorch"
    )


def refuse_random():
    raise RuntimeError(
        "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' randomness "
        "flags on vmap or perform the randomness operation out of vmap"
    )
