"""Functions made of several ops that are one node of the graph, as they are in PyTorch, which has a kernel for each.

The node saves the function's arguments. Its derivative runs the function once more, recorded, and backward through that.
"""

from functools import wraps

from .. import _C
from ..autograd.grad_mode import enable_grad, no_grad

_DIFFERENTIABLE = 1  # what _C._function_outputs is told of an output
_NUMBERS = {  # settings that PyTorch's kernels know by number
    "reduction": ("none", "mean", "sum"),
    "mode": ("sum", "mean", "max"),
    "interpolation_mode": ("bilinear", "nearest", "bicubic"),
    "padding_mode": ("zeros", "border", "reflection"),
}


class _Whole:
    """The context of such a node: the function, and its arguments with None in the places of tensors."""

    def __init__(self, name, function, args, edges, saved, results):
        self._name = name  # which the core's node does not own
        self._saved_names = saved
        self._result_names = results
        self._function = function
        self._is_tensor = [isinstance(a, _C.Tensor) for a in args]
        self._args = [None if is_tensor else a for a, is_tensor in zip(args, self._is_tensor)]
        self._edges = edges

    def _saved_attribute(self, name):
        """`_saved_x` and `_raw_saved_x` of the node, `self`; NotImplemented where it has no such attribute."""
        raw = name.startswith("_raw_saved_")
        name = name.removeprefix("_raw_saved_" if raw else "_saved_")
        if name in self._result_names:
            which = sum(self._is_tensor) + self._result_names.index(name)
            return (self._raw_saved_tensors if raw else self.saved_tensors)[which]
        if name not in self._saved_names:
            return NotImplemented
        at = self._saved_names.index(name)
        if self._is_tensor[at]:
            which = sum(self._is_tensor[:at])
            sizes = name.endswith("_sym_sizes")
            if raw:
                return NotImplemented if sizes else self._raw_saved_tensors[which]
            tensor = self.saved_tensors[which]
            return tuple(tensor.shape) if sizes else tensor
        value = self._args[at]
        if raw:
            return NotImplemented
        return _NUMBERS[name].index(value) if isinstance(value, str) else value

    def __dir__(self):
        shown = [(n, tensor) for n, tensor in zip(self._saved_names, self._is_tensor) if n != "-"]
        raw = ["_raw_saved_" + n for n, tensor in shown if tensor and not n.endswith("_sym_sizes")]
        results = [kind + n for n in self._result_names for kind in ("_saved_", "_raw_saved_")]
        return ["_saved_" + n for n, _ in shown] + raw + results

    def _run_backward(self, *grads):
        """What the engine calls, with the node for `self`: a gradient, or None, for each edge."""
        from ..autograd import grad

        create_graph = _C.is_grad_enabled()
        saved = iter(self.saved_tensors)
        is_tensor, edges = self._is_tensor, self._edges
        args = [next(saved) if given else a for a, given in zip(self._args, is_tensor)]
        with enable_grad():
            # Stand-ins, so that the inputs' own hooks do not run; in a second derivative they lead on to the inputs.
            for i in edges:
                if is_tensor[i] and args[i].requires_grad:
                    args[i] = args[i].view_as(args[i]) if create_graph else args[i].detach().requires_grad_()
            outputs = self._function(*args)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        used = [(out, g) for out, g in zip(outputs, grads) if g is not None and out.requires_grad]
        by = [args[i] for i in edges if is_tensor[i] and args[i].requires_grad]
        if not used:
            return (None,) * len(edges)
        outputs, grads = zip(*used)
        got = grad(outputs, by, grads, create_graph=create_graph, allow_unused=True)
        got = iter([g if g is None or g.dim() not in (4, 5) else lying_as(grads[0], g) for g in got])
        return tuple([next(got) if is_tensor[i] and args[i].requires_grad else None for i in edges])


def lying_as(like, tensor):
    """`tensor`, in the channels-last format if `like` is in it, else contiguous: what most kernels make."""
    for form in (_C.channels_last, _C.channels_last_3d):
        if like.is_contiguous(memory_format=form) and not like.is_contiguous():
            return tensor.contiguous(memory_format=form)
    return tensor.contiguous()


def _own(tensor, args):
    """The tensor, or a copy where it is an argument or a view of one."""
    base = tensor._base
    for a in args:
        if isinstance(a, _C.Tensor) and (tensor is a or base is not None and (base is a or base is a._base)):
            return tensor.clone()
    return tensor


def _by_position(function, args, kwargs):
    from inspect import signature

    bound = signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args


def one_node(name, *edges, saved="", results=""):
    """A decorator: the results of a function of tensors and settings come from one node `name`.

    `edges` are the numbers of the arguments that are differentiated by, tensors or None. The function returns a
    tensor or a tuple of them, and the same values for the same arguments. `saved` has a word for each argument that the node
    shows: `_saved_x` for "x", or the tensor's shape for "x_sym_sizes"; "-" for one that it does not show. `results` has
    one for each of the first results, which the node then saves, too.
    """
    saved, results = saved.split(), results.split()

    def decorate(function):
        @wraps(function)
        def call(*args, **kwargs):
            if kwargs or len(args) < function.__code__.co_argcount:
                args = _by_position(function, args, kwargs)
            if not (_C.is_grad_enabled() and any(args[i] is not None and args[i].requires_grad for i in edges)):
                return function(*args)
            with no_grad():
                result = function(*args)
            # An argument as it came, or a view of one, would be given the history of another tensor.
            outputs = tuple([_own(t, args) for t in (result if isinstance(result, tuple) else (result,))])
            node = _C._function_new(
                name, _Whole(name, function, args, edges, saved, results), tuple([args[i] for i in edges])
            )
            _C._function_outputs(node, outputs, bytes([_DIFFERENTIABLE * t.is_floating_point() for t in outputs]))
            tensors = [a for a in args if isinstance(a, _C.Tensor)]
            _C._function_save(node, (*tensors, *outputs[: len(results)]), False)
            return outputs if isinstance(result, tuple) else outputs[0]

        return call

    return decorate
