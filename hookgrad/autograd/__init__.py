"""Automatic differentiation: `backward`, `grad`, and what surrounds them.

Source: https://docs.pytorch.org/docs/stable/autograd.html
"""

from .. import _C
from . import function, grad_mode, graph, variable
from .function import Function
from .grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled
from .graph import GradientEdge
from .variable import Variable

__all__ = [
    "Function",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "function",
    "functional",
    "grad",
    "grad_mode",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "variable",
]


def _as_tuple(tensors):
    """A tensor or an edge, or a sequence of them, as a tuple of tensors: an edge as one whose gradient arrives there."""
    if isinstance(tensors, (_C.Tensor, GradientEdge)):
        tensors = (tensors,)
    return tuple([_C._node_output(t.node, t.output_nr) if isinstance(t, GradientEdge) else t for t in tensors])


def _gradients(outputs, given, create_graph):
    """The gradients to start from: those given, made to fit, and a one for each scalar output without."""
    given = (None,) * len(outputs) if given is None else _as_tuple(given)
    if len(given) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(given)} gradients")
    for i, (output, gradient) in enumerate(zip(outputs, given)):
        if gradient is None:
            continue
        if not isinstance(gradient, _C.Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(gradient).__name__}")
        if gradient.shape != output.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {gradient.shape} and output[{i}] has a shape of "
                f"{output.shape}."
            )
    return given


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None, inputs=None):
    """Add the gradients of `tensors` to `.grad` of the leaves they were computed from, or of `inputs`.

    >>> import hookgrad as torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> torch.autograd.backward((x * x).sum())
    >>> x.grad
    tensor([2., 4.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.backward.html
    """
    if grad_variables is not None:
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`."
            )
        grad_tensors = grad_variables
    tensors = _as_tuple(tensors)
    if inputs is not None:
        inputs = _as_tuple(inputs)
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    grad_tensors = _gradients(tensors, grad_tensors, create_graph)
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
    """The gradients of `outputs` with respect to `inputs`, as a tuple; nothing is added to any `.grad`.

    With `create_graph` they can be differentiated again; with `allow_unused` an input that does not matter gets None,
    with `materialize_grads` zeros.

    >>> import hookgrad as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> (first,) = torch.autograd.grad(x**3, x, create_graph=True)
    >>> torch.autograd.grad(first, x)
    (tensor(18.),)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.grad.html
    """
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    if is_grads_batched:
        raise NotImplementedError("grad(): is_grads_batched=True is not supported")
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
    outputs, inputs = _as_tuple(outputs), _as_tuple(inputs)
    grad_outputs = _gradients(outputs, grad_outputs, create_graph)
    keep = create_graph if retain_graph is None else retain_graph
    got = _C.grad(outputs, grad_outputs, inputs, keep, create_graph, allow_unused)
    if materialize_grads:
        got = tuple(_C.zeros_like(x, requires_grad=create_graph) if g is None else g for g, x in zip(got, inputs))
    return got


def _is_checkpoint_valid():
    return _C._is_checkpoint_valid()


_LATE = {
    "anomaly_mode": "anomaly_mode",
    "detect_anomaly": "anomaly_mode",
    "functional": "functional",
    "gradcheck": "gradcheck",
    "gradgradcheck": "gradcheck",
    "set_detect_anomaly": "anomaly_mode",
}


def __getattr__(name):
    if name in _LATE:
        from importlib import import_module

        module = import_module("." + _LATE[name], __name__)
        value = globals()[name] = getattr(module, name, module)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
