"""Automatic differentiation: `backward`, `grad`, and what surrounds them.

Source: https://docs.pytorch.org/docs/stable/autograd.html
"""

import sys
from collections.abc import Mapping

from .. import _C
from .._package import Package
from . import function, grad_mode, graph, variable
from .function import Function, NestedIOFunction
from .grad_mode import (
    _force_original_view_tracking,
    _unsafe_preserve_version_counter,
    enable_grad,
    enforce_grad_layout_policy,
    inference_mode,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from .graph import GradientEdge
from .variable import Variable

SavedTensor = _C._autograd.SavedTensor

__all__ = [
    "Function",
    "NestedIOFunction",
    "SavedTensor",
    "Variable",
    "_force_original_view_tracking",
    "_unsafe_preserve_version_counter",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "enforce_grad_layout_policy",
    "function",
    "functional",
    "grad",
    "grad_mode",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_multithreading_enabled",
    "is_view_replay_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
    "variable",
]


def _as_tuple(tensors):
    """A tensor or an edge, or a sequence of them, as a tuple of tensors: an edge as one whose gradient arrives there."""
    if isinstance(tensors, (_C.Tensor, GradientEdge)) or hasattr(tensors, "__torch_function__"):
        tensors = (tensors,)
    return tuple([_C._node_output(t.node, t.output_nr) if isinstance(t, GradientEdge) else t for t in tensors])


def _listed(inputs, function):
    """`inputs` of backward or grad; of a dict what it holds."""
    if not isinstance(inputs, Mapping):
        return inputs
    if type(inputs) is not dict:
        raise TypeError(
            f"`inputs` argument to `{function}()` must be a dict, not {type(inputs).__name__}. Other Mapping types are not "
            "supported."
        )
    return tuple(inputs.values())


def _as_inputs(inputs):
    """`inputs` of backward, or those of grad from a dict on, as a tuple of tensors."""
    inputs = _as_tuple(_listed(inputs, "backward"))
    for one in inputs:
        if not isinstance(one, _C.Tensor):
            raise RuntimeError(f"all inputs have to be Tensors or GradientEdges, but got {type(one).__name__}")
    return inputs


def _gradients(outputs, given, batched=False):
    """The gradients to start from: those given, made to fit, and a one for each scalar output without."""
    given = (None,) * len(outputs) if given is None else _as_tuple(given)[: len(outputs)]
    for i, (output, gradient) in enumerate(zip(outputs, given)):
        if not isinstance(output, _C.Tensor):
            raise AssertionError("Expected output to be a torch.Tensor")
        if gradient is None:
            continue
        if not isinstance(gradient, _C.Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(gradient).__name__}")
        shape = gradient.shape[1:] if batched else gradient.shape
        if shape == output.shape:
            continue
        shown = shape[1:] if batched else shape  # PyTorch's message is without two dimensions
        both = f"grad_output[{i}] has a shape of {shown} and output[{i}] has a shape of {output.shape}."
        if batched:
            raise RuntimeError(
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch dimension. "
                "The sizes of the remaining dimensions are expected to match the shape of corresponding output, but a "
                f"mismatch was detected: {both} If you only want some tensors in `grad_output` to be considered batched, "
                "consider using vmap."
            )
        raise RuntimeError(f"Mismatch in shape: {both}")
    return given


def _strange(tensors):
    """Is one of them no tensor, but of a class with a `__torch_function__`?"""
    several = tensors if isinstance(tensors, (list, tuple)) else (tensors,)  # an iterator is not to be used up
    return any(hasattr(t, "__torch_function__") and not isinstance(t, _C.Tensor) for t in several)


def _asked(function, args, kwargs, relevant):
    from ..overrides import handle_torch_function

    return handle_torch_function(function, relevant, *args, **kwargs)


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None, inputs=None):
    """Add the gradients of `tensors` to `.grad` of the leaves they were computed from, or of `inputs`, which may be a dict.

    >>> import hookgrad as torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> torch.autograd.backward((x * x).sum())
    >>> x.grad
    tensor([2., 4.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.backward.html
    """
    if _C._overridden(tensors) or _strange(tensors):
        given = {"retain_graph": retain_graph, "create_graph": create_graph, "inputs": inputs}
        return _asked(backward, (_as_tuple(tensors),), {"grad_tensors": grad_tensors, **given}, _as_tuple(tensors))
    if grad_variables is not None:
        import warnings

        warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2)
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. Please only use "
                "`grad_tensors`."
            )
        grad_tensors = grad_variables
    tensors = _as_tuple(tensors)
    if inputs is not None:
        inputs = _as_inputs(inputs)
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    grad_tensors = _gradients(tensors, grad_tensors)
    _C.run_backward(tensors, grad_tensors, create_graph if retain_graph is None else retain_graph, create_graph, inputs)


def grad(
    outputs,
    inputs,
    grad_outputs=None,
    retain_graph=None,
    create_graph=False,
    only_inputs=True,
    allow_unused=None,
    is_grads_batched=False,
    materialize_grads=False,
):
    """The gradients of `outputs` with respect to `inputs`, as a tuple; nothing is added to any `.grad`. Of a dict of inputs a
    dict.

    With `create_graph` they can be differentiated again; with `allow_unused` an input that does not matter gets None,
    with `materialize_grads` zeros. With `is_grads_batched` the first dimension of `grad_outputs` is one of several gradients
    to start from, and that of the results too: one backward follows another, so hooks see each.

    >>> import hookgrad as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> (first,) = torch.autograd.grad(x**3, x, create_graph=True)
    >>> torch.autograd.grad(first, x)
    (tensor(18.),)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.grad.html
    """
    if (
        grad_outputs is None
        and only_inputs
        and not (is_grads_batched or materialize_grads)
        and _C.are_tensors(outputs, inputs)
    ):
        keep = create_graph if retain_graph is None else retain_graph
        return _C.grad(outputs, None, inputs, keep, create_graph, not not allow_unused)
    if _C._overridden(outputs, inputs) or _strange(outputs) or _strange(inputs):
        given = {"grad_outputs": grad_outputs, "retain_graph": retain_graph, "create_graph": create_graph}
        given |= {"only_inputs": only_inputs, "allow_unused": bool(allow_unused)}
        given |= {"is_grads_batched": is_grads_batched, "materialize_grads": materialize_grads}
        outputs, listed = _as_tuple(outputs), _as_tuple(_listed(inputs, "grad"))
        inputs = inputs if isinstance(inputs, dict) else listed
        return _asked(grad, (outputs, inputs), given, (*outputs, *listed))
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    if allow_unused is None:
        allow_unused = materialize_grads
    if not only_inputs:
        import warnings

        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for other "
            "parts of the graph, please use torch.autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    names = inputs if isinstance(inputs, dict) else None
    given = (inputs,) if isinstance(inputs, (_C.Tensor, GradientEdge)) else tuple(_listed(inputs, "grad"))
    outputs, inputs = _as_tuple(outputs), _as_inputs(given)
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    grad_outputs = _gradients(outputs, grad_outputs, is_grads_batched)
    keep = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        got = _for_each(outputs, grad_outputs, inputs, keep, create_graph, allow_unused)
    else:
        got = _C.grad(outputs, grad_outputs, inputs, keep, create_graph, allow_unused)
    if materialize_grads:
        if any(g is None and isinstance(x, GradientEdge) for g, x in zip(got, given)):
            raise RuntimeError("materialize_grads cannot be used when the given input is a GradientEdge")
        got = tuple(_C.zeros_like(x, requires_grad=create_graph) if g is None else g for g, x in zip(got, inputs))
    return got if names is None else dict(zip(names, got))


def _for_each(outputs, batches, inputs, keep, create_graph, allow_unused):
    """The gradients for each entry of the batches, in one pass."""
    if any(batch is None for batch in batches):
        if any(output.numel() != 1 for output, batch in zip(outputs, batches) if batch is None):
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        raise ValueError(
            "vmap(vjp, in_dims=0, ...)(<inputs>): Got in_dim=0 for some input, but that input is a Tensor of "
            "dimensionality 0 so expected in_dim to satisfy 0 <= in_dim < 0."
        )
    from ..func import _vmap

    def vjp(*starts):
        return _C.grad(outputs, starts, inputs, keep, create_graph, allow_unused)

    return _vmap(vjp, allow_none_pass_through=True)(*batches)


def _is_checkpoint_valid():
    return _C._is_checkpoint_valid()


def is_multithreading_enabled():
    """What set_multithreading_enabled() was told; True without it."""
    return _C._is_multithreading_enabled()


def is_view_replay_enabled():
    """Are views made again as they were, in this thread? See _force_original_view_tracking()."""
    return _C._is_view_replay_enabled()


_functions_over_modules = frozenset({"gradcheck"})
sys.modules[__name__].__class__ = Package

_LATE = {
    "_functions": "_functions",
    "_make_grads": "_starts",
    "_tensor_or_tensors_to_tuple": "_starts",
    "anomaly_mode": "anomaly_mode",
    "detect_anomaly": "anomaly_mode",
    "forward_ad": "forward_ad",
    "functional": "functional",
    "gradcheck": "gradcheck",
    "gradgradcheck": "gradcheck",
    "profiler": "profiler",
    "set_detect_anomaly": "anomaly_mode",
}


def __getattr__(name):
    if name in _LATE:
        from importlib import import_module

        module = import_module("." + _LATE[name], __name__)
        value = globals()[name] = getattr(module, name, module)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LATE})
