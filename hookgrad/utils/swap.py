"""Exchanging what two tensors are, so that everybody who holds one sees the other's contents."""

__all__ = ["swap_tensors"]


def swap_tensors(t1, t2):
    """Exchange the contents of two tensors: memory, history, gradient, class and attributes. Each stays the object it is.

    Neither may be referred to weakly, nor be held by a graph or another tensor (RuntimeError): only a leaf's accumulator
    may be there, and a backward that reaches it from then on fails.

    >>> import hookgrad as torch
    >>> a, b = torch.zeros(2), torch.ones(3)
    >>> torch.utils.swap_tensors(a, b)
    >>> a
    tensor([1., 1., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.utils.swap_tensors.html
    """
    from copyreg import _slotnames
    from weakref import getweakrefs

    from ..storage import Asked, UntypedStorage

    for name, tensor in (("t1", t1), ("t2", t2)):
        if any(type(reference) is not Asked for reference in getweakrefs(tensor)):
            raise RuntimeError(f"Cannot swap {name} because it has weakref associated with it")
    slots = set(_slotnames(type(t1)))
    if slots != set(_slotnames(type(t2))):
        raise RuntimeError("Cannot swap t1 and t2 if they have different slots")
    _poison(t1, "t1")
    _poison(t2, "t2")
    held = [{slot: getattr(t, slot) for slot in slots if hasattr(t, slot)} for t in (t1, t2)]
    asked = [other for tensor, other in ((t1, t2), (t2, t1)) if getweakrefs(tensor)]
    t1._swap(t2)
    for tensor in asked:
        UntypedStorage._of(tensor)  # has gone over, and refers to the tensor that it is now asked of
    for tensor, values in zip((t2, t1), held):
        for slot in slots:
            if slot in values:
                setattr(tensor, slot, values[slot])
            elif hasattr(tensor, slot):
                delattr(tensor, slot)


def _poison(tensor, name):
    """Nothing in the graph may hold the tensor but its accumulator, and that shall not run any more."""
    held = tensor._held()
    if held is True or (held is not None and not tensor.requires_grad):
        raise RuntimeError(
            f"Expected use_count of {name} to be 1 or 2 with an AccumulateGrad node, but another node, a view or a tensor "
            "whose .grad it is holds it too"
        )
    if held is not None:
        held.register_prehook(_refuse)


def _refuse(grad_outputs):
    raise RuntimeError(
        "Trying to execute AccumulateGrad node that was poisoned by swap_tensors: its tensor has been swapped since forward. "
        "With `torch.__future__.set_swap_module_params_on_conversion(True)` convert a module before running forward, or after "
        "both forward and backward."
    )
