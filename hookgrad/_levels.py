"""What ops may not do within the transforms of torch.func (Note [Levels] in op.c), and how they draw random numbers in a map.

Note [Draws of a map]
PyTorch draws for all samples of a map at once. So does the first sample here, at each of its draws, and the others take their
parts. What is drawn by the values of an argument, the samples draw one by one, each from the state that it would have met.
"""

from . import _C
from .random import get_rng_state, set_rng_state

_PLEASE = "please file an issue at https://github.com/pytorch/pytorch/issues"
_ITEM = "we don't support vmap over calling .item() on a Tensor, please try to rewrite what you're doing with other operations."
_FLOW = "attempting to use a Tensor in some data-dependent control flow"
_READING = {
    "item": f"vmap: It looks like you're calling .item() on a Tensor. W{_ITEM[1:]} If error is occurring somewhere inside PyTorch "
    "internals, please file a bug report.",
    "bool": f"vmap: It looks like you're {_FLOW}. We don't support that yet, {_PLEASE} .",
    "data": "Cannot access data pointer of Tensor that doesn't have storage",
}
_EITHER = (
    f"vmap: It looks like you're either (1) calling .item() on a Tensor or (2) {_FLOW} or (3) encountering this error in PyTorch "
    f"internals. For (1): {_ITEM} For (2): we don't support data-dependent control flow in vmap yet, {_PLEASE} . For (3): please "
    "file an issue."
)
_MASKED = (
    "vmap: Attempted to vmap over `mask` in torch.masked_select(self, mask) We cannot support this because for each batch this "
    f"would return a differently shaped Tensor. P{_PLEASE[1:]} if you need this feature."
)
_NAMES = {"nonzero_numpy": "nonzero", "_unique_consecutive": "unique_consecutive", "_unique_dim": "unique_dim"}
_ARITHMETIC = frozenset("add_ sub_ mul_ div_ copy_ masked_fill_ clamp_min_ clamp_max_ logical_and_ logical_or_".split())
_ITS_NAME = frozenset("fill_ index_put_ index_add_".split())  # the others go by "aten::" and it


def of_reading(what, differentiates):
    """The words for a number ("item"), a condition ("bool") or elements ("data") that are wanted of a sample."""
    return _EITHER if differentiates and what != "data" else _READING[what]


def _tensors(args):
    every = [t for a in args for t in (a if isinstance(a, list) else (a,))]
    return [t for t in every if isinstance(t, _C.Tensor)]


def of(values):
    """The levels of the tensors among them."""
    levels = 0
    for t in values:
        if isinstance(t, _C.Tensor):
            levels |= _C._levels(t, 0)
    return levels


def of_call(transforms, id, inplace, args, kwargs):
    """An op is called that may have no place here. What stands in for its result; None: nothing does."""
    from ._ops import overload_of, row_of

    row, others = row_of(id), of(_tensors(args[inplace:])) & transforms.maps
    if inplace:
        _written(transforms, overload_of(id, True, args, kwargs).name(), _C._levels(args[0], 0), others)
    if row["name"] == "_dropout_mask" or any(p["type"] == "Generator" for p in row["params"]):
        return _draw(transforms, row, inplace, args, kwargs)
    if inplace or not others:
        return None
    name = row["name"]
    if name == "native_batch_norm":
        kept = [t for t in args[3:5] if t is not None]
        if args[5] and any(_C._levels(args[0], 0) & transforms.maps & ~_C._levels(t, 0) for t in kept):
            raise RuntimeError(
                "Batch norm got a batched tensor as input while the running_mean or running_var, which will be updated in place, "
                "were not batched.\nIf you are using a module and do not need eval mode, please set `track_running_stats` to be "
                "False.If you are using a prebuilt module and do not need eval mode, please see the functorch website for "
                "resources on how to patch your module to work with vmap"
            )
        return None
    if name == "equal":
        raise RuntimeError("Batching rule not implemented for aten::equal. We could not generate a fallback.")
    if name == "masked_select":
        raise RuntimeError(_MASKED)
    if name == "_index":
        if any(t.dtype == _C.bool and _C._levels(t, 0) & transforms.maps for t in _tensors(args[1:])):
            raise RuntimeError(
                "vmap: We do not support batching operators that can support dynamic shape. Attempting to batch over indexing "
                "with a boolean mask."
            )
        return None
    raise RuntimeError(
        "vmap: We do not support batching operators that can output dynamic shape. Attempted to vmap over "
        f"aten::{_NAMES.get(name, name)}. P{_PLEASE[1:]} if you need this feature."
    )


def _written(transforms, name, levels, others):
    """May the op of that name write to a tensor of those levels, from arguments of the others?"""
    for i in reversed(range(6)):
        bit = 1 << i
        if levels & bit:
            continue
        if transforms.derives & bit:
            raise RuntimeError(
                f"During a grad (vjp, jvp, grad, etc) transform, the function provided attempted to call in-place operation ({name}) "
                "that would mutate a captured Tensor. This is not supported; please rewrite the function being transformed to "
                "explicitly accept the mutated Tensor(s) as inputs."
            )
        if others & bit:
            short = name.removeprefix("aten::").partition(".")[0]
            what = "inplace arithmetic" if short in _ARITHMETIC else short if short in _ITS_NAME else f"aten::{short}"
            where = f"at level {i + 1}" if what.startswith("aten::") else "in a vmap"
            raise RuntimeError(
                f"vmap: {what}(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args that has more "
                "elements than `self`. This happened due to `other` being vmapped over but `self` not being vmapped over "
                f"{where}. Please try to use out-of-place operators instead of {what}. If said operator is being called inside "
                "the PyTorch framework, please file a bug report instead."
            )


def refuse_random():
    raise RuntimeError(
        "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' randomness "
        "flags on vmap or perform the randomness operation out of vmap"
    )


def _draw(transforms, row, inplace, args, kwargs):
    samples = transforms.samples
    bit, rule = samples.level, samples.randomness
    if rule == "error":
        refuse_random()
    tensors = _tensors(args)
    batched = of(tensors) & bit
    like = row["name"].endswith("_like") or row["name"] in ("_dropout_mask", "bernoulli") and len(args) == 2
    if rule == "same" and batched and not (inplace or like):
        raise RuntimeError(
            "Vmap does not currently support same randomness with a batched tensor input. Please file an issue with functorch"
        )
    if rule == "different" and inplace and not batched:
        raise RuntimeError(
            "vmap: Cannot ask for different inplace randomness on an unbatched tensor. This will appear like same randomness. "
            "If this is necessary for your usage, please file an issue with functorch."
        )
    if "generator" in kwargs:
        return None
    op, n = _C._op_of_row(row["id"], inplace), samples.n if rule == "different" else 1
    at_once = row["name"] != "randperm" and len(tensors) == (inplace or like)
    i, turn = samples.turn()
    was = dict(vars(transforms))
    transforms.become(samples.outside)
    try:
        if at_once:
            if turn not in samples.drawn:
                samples.drawn[turn] = _all_at_once(op, rule == "different", n, inplace, tensors, args, kwargs)
            result = samples.drawn[turn]
            result = result[i] if rule == "different" else result.clone()
        else:
            result = _one_by_one(samples.drawn, turn, op, n, i if n > 1 else 0, inplace, args, kwargs)
    finally:
        transforms.become(was)
    if rule == "different":
        _C._levels(result, bit)
    _C._levels(result, transforms.derives)
    return result


def _all_at_once(op, several, n, inplace, tensors, args, kwargs):
    if tensors:
        like = args[0].detach()
        return op(
            like.expand(n, *like.shape).clone() if several else like.clone() if inplace else like, *args[1:], **kwargs
        )
    return op(*[[n, *a] if several and isinstance(a, list) else a for a in args], **kwargs)


def _one_by_one(drawn, turn, op, n, i, inplace, args, kwargs):
    def call():
        return op(args[0].detach().clone(), *args[1:], **kwargs) if inplace else op(*args, **kwargs)

    if turn not in drawn:
        states = drawn[turn] = [get_rng_state()]
        for _ in range(n):
            call()
            states.append(get_rng_state())
    last = get_rng_state()
    set_rng_state(drawn[turn][i])
    result = call()
    set_rng_state(last)
    return result
