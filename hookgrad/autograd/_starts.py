"""The gradients that a backward starts from, by the private names that programs know them by."""

from .. import _C
from . import _gradients
from .graph import GradientEdge


def _tensor_or_tensors_to_tuple(tensors, length):
    """A tensor, several or None as a tuple: None stands for `length` of them."""
    if tensors is None:
        return (None,) * length
    return (tensors,) if isinstance(tensors, _C.Tensor) else tuple(tensors)


def _make_grads(outputs, grads, is_grads_batched):
    """`grads`, checked against the outputs, with ones in the place of None where an output is a real number that requires a gradient."""
    outputs = [_C._node_output(o.node, o.output_nr) if isinstance(o, GradientEdge) else o for o in outputs]
    return tuple([_start(o, g) for o, g in zip(outputs, _gradients(outputs, tuple(grads), is_grads_batched))])


def _start(output, gradient):
    if gradient is not None or not output.requires_grad:
        return gradient
    if output.numel() != 1:
        raise RuntimeError("grad can be implicitly created only for scalar outputs")
    return _C.ones_like(output)
