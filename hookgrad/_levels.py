"""What ops may not do within the transforms of torch.func (Note [Levels] in op.c), and how they draw random numbers in a map.

A map draws for all samples at once, as PyTorch's: the first sample does, at each of its draws, and the others take their parts.
What is drawn by the values of an argument, they draw one by one, each from the state that it would have met.
"""

from textwrap import indent

from . import _C
from .random import get_rng_state, set_rng_state

_READING = {
    "item": "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling .item() on a Tensor, please "
    "try to rewrite what you're doing with other operations.",
    "bool": "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't support that yet.",
    "data": "Cannot access data pointer of Tensor that doesn't have storage",
    ".data": "accessing `data` under vmap transform is not allowed",
    ".data=": "mutating directly with `.data` under vmap transform is not allowed.",
}
_READING["numpy"] = _READING["data"]


def tensors_of(args):
    every = [t for a in args for t in (a if isinstance(a, list) else (a,))]
    return [t for t in every if isinstance(t, _C.Tensor)]


def of(values):
    """The levels of the tensors among them."""
    levels = 0
    for t in values:
        if isinstance(t, _C.Tensor):
            levels |= _C._levels(t, 0)
    return levels


def of_reading(what):
    """A number ("item"), a condition ("bool"), elements ("data") or the `.data` are wanted of a sample."""
    raise RuntimeError(_READING[what])


def of_call(transforms, id, inplace, args, kwargs):
    """An op is called that may have no place here. What stands in for its result; None: nothing does."""
    from ._ops import overload_of, row_of

    row, others = row_of(id), of(tensors_of(args[inplace:])) & transforms.maps
    name = row["name"]
    if inplace:
        _written(transforms, overload_of(id, True, args, kwargs).name(), of(args[:1]), others)
    if transforms.samples and (name == "_dropout_mask" or any(p["type"] == "Generator" for p in row["params"])):
        return _draw(transforms, row, inplace, args, kwargs)
    indexes = name in ("_index", "index_put")
    if indexes and of([t for t in tensors_of(args[1:2]) if t.dtype == _C.bool]) & transforms.maps:
        raise RuntimeError(
            "vmap: We do not support batching operators that can support dynamic shape. Attempting to batch over indexing "
            "with a boolean mask."
        )
    if inplace or indexes or not others:
        return None
    if name == "equal":
        raise RuntimeError("Batching rule not implemented for aten::equal. We could not generate a fallback.")
    if name == "native_batch_norm":
        if args[5] and of(args[:1]) & transforms.maps & ~of(args[3:4]) and args[3] is not None:
            raise RuntimeError(
                "Batch norm got a batched tensor as input while the running_mean or running_var, which will be updated in place, "
                "were not batched."
            )
    elif name != "masked_select":
        raise RuntimeError(
            "vmap: We do not support batching operators that can output dynamic shape. Attempted to vmap over "
            f"aten::{name.removesuffix('_numpy')}."
        )
    elif of(args[1:]) & transforms.maps:
        raise RuntimeError("vmap: Attempted to vmap over `mask` in torch.masked_select(self, mask)")


def _written(transforms, name, levels, others):
    """May the op of that name write to a tensor of those levels, from arguments of the others?"""
    missing = (transforms.derives | others) & ~levels
    if missing & transforms.derives > missing & others:
        raise RuntimeError(
            f"During a grad (vjp, jvp, grad, etc) transform, the function provided attempted to call in-place operation ({name}) "
            "that would mutate a captured Tensor. This is not supported; please rewrite the function being transformed to "
            "explicitly accept the mutated Tensor(s) as inputs."
        )
    if missing:
        raise RuntimeError(
            "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args that "
            "has more elements than `self`."
        )


def shown(transforms, tensor):
    """The text of a tensor that transforms know, as PyTorch's wrappers of it show themselves; a map's sample is a batch of one.
    None: it is not one."""
    from .autograd import forward_ad

    levels = of((tensor,)) & (transforms.maps | transforms.derives)
    if not tensor.requires_grad and forward_ad._tangent(tensor) is None:
        levels &= transforms.maps
    if not levels:
        return None
    told, maps = _C._without_duals(1), levels & transforms.maps
    try:
        with transforms.being({}):
            value = tensor.detach()
            for _ in range(maps.bit_count()):
                value = value.unsqueeze(0)
            text = repr(value)
    finally:
        _C._without_duals(told)
    for i in range(6):
        if levels >> i & 1:
            kind = "BatchedTensor(lvl={}, bdim=0" if maps >> i & 1 else "GradTrackingTensor(lvl={}"
            text = f"{kind.format(i + 1)}, value=\n{indent(text, '    ')}\n)"
    return text


def refuse_random():
    raise RuntimeError("vmap: called random operation while in randomness error mode.")


def _draw(transforms, row, inplace, args, kwargs):
    samples, tensors = transforms.samples, tensors_of(args)
    bit, several = samples.level, samples.randomness == "different"
    if samples.randomness == "error":
        refuse_random()
    like = row["name"].endswith("_like") or row["name"] in ("_dropout_mask", "bernoulli") and len(args) == 2
    if not several and of(tensors) & bit and not (inplace or like):
        raise RuntimeError("Vmap does not currently support same randomness with a batched tensor input.")
    if several and inplace and not of(tensors) & bit:
        raise RuntimeError("vmap: Cannot ask for different inplace randomness on an unbatched tensor.")
    if "generator" in kwargs:
        return None
    op, n = _C._op_of_row(row["id"], inplace), samples.n if several else 1
    i, turn = samples.turn()
    drawn = samples.drawn

    def call():
        return op(args[0].detach().clone(), *args[1:], **kwargs) if inplace else op(*args, **kwargs)

    with transforms.being(samples.outside):
        if row["name"] != "randperm" and len(tensors) == (inplace or like):
            if turn not in drawn:
                if tensors and several:
                    drawn[turn] = op(args[0].detach().expand(n, *args[0].shape).clone(), *args[1:], **kwargs)
                elif several:
                    drawn[turn] = op(*[[n, *a] if isinstance(a, list) else a for a in args], **kwargs)
                else:
                    drawn[turn] = call()
            result = drawn[turn][i] if several else drawn[turn].clone()
        else:
            if turn not in drawn:
                drawn[turn] = [get_rng_state()]
                for _ in range(n):
                    call()
                    drawn[turn].append(get_rng_state())
            last = get_rng_state()
            set_rng_state(drawn[turn][i * several])
            result = call()
            set_rng_state(last)
    _C._levels(result, transforms.derives | bit * several)
    return result
