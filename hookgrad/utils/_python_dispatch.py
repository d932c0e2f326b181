"""What sees every op: modes (`TorchDispatchMode`), and tensor classes with a `__torch_dispatch__`.

Inside a mode's `with`, each op that is no composite of others comes to the mode just before it computes, in forward and in
backward, below the recording of the graph. What the mode returns is taken for the op's result.

    class Logged(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            print(func)
            return func(*args, **(kwargs or {}))

    with Logged():
        torch.ones(2, 2) @ torch.ones(2, 2)   # aten.ones.default twice, then aten.mm.default

A tensor class whose `__torch_dispatch__` is a classmethod of the same kind is asked of each op that one of its tensors takes part in.

Source: https://docs.pytorch.org/docs/stable/notes/extending.html#extending-torch-native-api
"""

import threading
from contextlib import contextmanager

from .. import _C
from .._aten import of_row
from .._modes import Mode, ModeStack
from .._ops import ops, overload_of

_stack = ModeStack(_C._dispatch_modes)


class TorchDispatchMode(Mode):
    """A context whose `__torch_dispatch__(func, types, args, kwargs)` gives the result of each op that runs in it.

    Inside of `__torch_dispatch__` the mode is off, those around it are on.
    """

    _modes_on = _stack

    def __init__(self, _dispatch_key=None):
        self.__dict__.setdefault("_entered", 0)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        raise NotImplementedError

    @classmethod
    def is_infra_mode(cls):
        """Is it there for the sake of others? See `is_in_torch_dispatch_mode`."""
        return False


class BaseTorchDispatchMode(TorchDispatchMode):
    """A mode that runs each op as it is."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def _get_current_dispatch_mode():
    return _stack.top()


def _get_current_dispatch_mode_stack():
    return list(_stack.modes)


def is_in_torch_dispatch_mode(include_infra_modes=True):
    """Is a mode on in this thread? Without "infra modes": one that does not say that it is such."""
    return any(include_infra_modes or not mode.is_infra_mode() for mode in _stack.modes)


def _push_mode(mode):
    _stack.push(mode)


def _pop_mode(k=None):
    return _stack.pop()


_pop_mode_temporarily = _stack.without_top
_disable_current_modes = _stack.without_all


class _DisableTorchDispatch:
    """A context in which neither modes nor tensor classes are asked."""

    def __enter__(self):
        _C._dispatch_off(1)

    def __exit__(self, *exc):
        _C._dispatch_off(-1)


_C._DisableTorchDispatch = _DisableTorchDispatch


@contextmanager
def _above_again():
    """Within a `__torch_dispatch__`: a context in which operations are recorded as they are outside of it."""
    was = _C._dispatch_above(None)
    try:
        yield
    finally:
        _C._dispatch_above(was)


# ---- Tensors made of tensors ----------------------------------------------------------------------------------------------


def is_traceable_wrapper_subclass_type(t):
    """Is it a class of tensors that are made of others, and say which (`__tensor_flatten__`)?"""
    return issubclass(t, _C.Tensor) and t is not _C.Tensor and _says_its_parts(t)


def is_traceable_wrapper_subclass(t):
    """Is it a tensor that is made of others, and says which?"""
    return isinstance(t, _C.Tensor) and type(t) is not _C.Tensor and _says_its_parts(t)


def _says_its_parts(t):
    return hasattr(t, "__tensor_flatten__") and hasattr(t, "__tensor_unflatten__")


def transform_subclass(t, callback, outer_size=None, outer_stride=None):
    """A tensor of t's class made of what `callback(name, tensor)` makes of each of its parts."""
    size = t.size() if outer_size is None else outer_size
    stride = t.stride() if outer_stride is None else outer_stride
    names, context = t.__tensor_flatten__()
    parts = {name: callback(name, getattr(t, name)) for name in names}
    made = type(t).__tensor_unflatten__(parts, context, size, stride)
    for what, got, wanted in (("shape", made.shape, size), ("stride", made.stride(), stride)):
        if got != wanted:
            raise AssertionError(f"{type(t)}.__tensor_unflatten__() gave a tensor of {what} {got}, not {wanted}")
    return made


def return_and_correct_aliasing(func, args, kwargs, out):
    """What the `__torch_dispatch__` of a class whose tensors are made of others returns for `out`, which it has made.

    Of a view, `out` counts its versions with the tensor it is a view of, and lies in that one's memory. What `func` has written to,
    in place or by `out=`, is returned itself.
    """
    if func._views:
        for one in out if isinstance(out, (list, tuple)) else [out]:
            if type(one) is not type(args[0]) and any(map(is_traceable_wrapper_subclass, (one, args[0]))):
                raise AssertionError(
                    f"Called {func} with {type(args[0])}: it gave a {type(one)}, and the two should be of one type"
                )
            _C._share(one, args[0])
    if func._writes:
        if "out" in (kwargs or {}):
            return kwargs["out"]
        if func._reshapes:  # the shape of the whole is changed, as that of its parts was
            with _DisableTorchDispatch():
                func(*args, **(kwargs or {}))
        return args[0]
    return out


# ---- Asking ---------------------------------------------------------------------------------------------------------------


_BELOW_ZERO = {
    -1: ops.aten._local_scalar_dense,
    -2: ops.aten.lift_fresh,
    -3: ops.aten.detach,
}  # what is no row of the table


def _dispatch(id, inplace, args, kwargs):
    if id < 0:
        return _ask(_BELOW_ZERO[id].default, args, kwargs)
    func = overload_of(id, inplace, args, kwargs)
    name = func.overloadpacket.__name__
    args = of_row(name, args)
    if _stack.modes:
        if name == "native_dropout":
            return _noise(*args)
        if name == "native_batch_norm":
            _ask(
                ops.aten.empty.memory_format,
                ([0],),
                {"dtype": _C.uint8, "layout": _C.strided, "device": args[0].device},
            )  # cuDNN's, had it run
        if name == "_reshape_alias":
            func, args = ops.aten.view.default, args[:2]
        if name in _PARTS:
            node = _C._current_autograd_node()
            if node is not None and node.name() == "ConvolutionBackward0":
                return _part_of_convolution(node, _PARTS.index(name), args)
    return _ask(func, args, kwargs)


_PARTS = "convolution", "convolution_backward_weight", "sum"  # by the input, by the weight, by the bias


class _Derivatives(threading.local):
    """Those of the convolution that is being differentiated, as far as they are still to be given."""

    node = None


_derivatives = _Derivatives()


def _part_of_convolution(node, part, args):
    """One of the three derivatives that PyTorch has of one op: it is asked about with the first of them."""
    d = _derivatives
    if d.node is not node:
        transposed = node._saved_transposed
        mask = [edge is not None for edge, _ in node.next_functions] + [False]
        grad = args[1] if part == 1 and transposed else args[0]
        bias = node._saved_bias_sym_sizes_opt
        settings = [node._saved_stride, node._saved_padding, node._saved_dilation]
        given = [grad, node._saved_input, node._saved_weight, list(bias or [0]), *map(list, settings)]
        given += [transposed, list(node._saved_output_padding), node._saved_groups, mask[:3]]
        d.node, d.made = node, list(_ask(ops.aten.convolution_backward.default, tuple(given), {}))
        d.left = sum(mask[:3])
    d.left -= 1
    made = d.made[part]
    if d.left == 0:
        d.node = d.made = None
    return made


def _convolution_backward(
    grad, input, weight, bias_sizes, stride, padding, dilation, transposed, output_padding, groups, output_mask
):
    """`torch.ops.aten.convolution_backward`."""
    settings = stride, padding, dilation
    if _stack.modes:
        given = grad, input, weight, bias_sizes, *settings, transposed, output_padding, groups, output_mask
        return _ask(ops.aten.convolution_backward.default, given, {})
    by_input = by_weight = by_bias = None
    if output_mask[0]:
        spans = zip(input.shape[2:], grad.shape[2:], weight.shape[2:], *settings)
        extra = [
            0 if transposed else size - ((n - 1) * step - 2 * pad + apart * (kernel - 1) + 1)
            for size, n, kernel, step, pad, apart in spans
        ]
        by_input = ops.aten.convolution(grad, weight, None, *settings, not transposed, extra, groups)
        for dim, size in enumerate(input.shape):
            by_input = by_input.narrow(dim, 0, size)
    if output_mask[1]:
        pair = (input, grad) if transposed else (grad, input)
        by_weight = ops.aten.convolution_backward_weight(*pair, weight.shape[2:], *settings, groups)
    if output_mask[2]:
        by_bias = grad.sum([0, *range(2, grad.dim())])
    return by_input, by_weight, by_bias


def _noise(input, p):
    """What dropout multiplies by, in the ops that PyTorch takes for it."""
    noise = _ask(ops.aten.empty_like.default, (input,), {})
    _ask(ops.aten.bernoulli_.float, (noise, 1 - p) if p != 0.5 else (noise,), {})
    _ask(ops.aten.div_.Scalar, (noise, 1 - p), {})
    return noise


def _ask(func, args, kwargs):
    """What the modes make of a call, or the classes of the tensors among its arguments, derived ones before their bases."""
    asked = []
    for arg in (*args, *kwargs.values()):
        for one in arg if isinstance(arg, (list, tuple)) else (arg,):
            cls = type(one)
            if _C._dispatches(one) and cls not in map(type, asked):
                asked.insert(
                    next((i for i, other in enumerate(asked) if issubclass(cls, type(other))), len(asked)), one
                )
    types, refused = tuple(map(type, asked)), []
    if _stack.modes:
        with _pop_mode_temporarily() as mode:
            if getattr(mode.__torch_dispatch__, "__self__", mode) is not mode:
                raise RuntimeError(
                    "Defining your mode's `__torch_dispatch__` as a classmethod is not supported, please make it a plain method"
                )
            result = mode.__torch_dispatch__(func, types, args, kwargs)
        if result is not NotImplemented:
            return result
        refused.append(f"mode object {mode!r}")
    for one in asked:
        result = one.__torch_dispatch__(func, types, args, kwargs)
        if result is not NotImplemented:
            return result
        refused.append(f"tensor subclass {type(one)!r}")
    raise TypeError(
        f"Multiple dispatch failed for '{func}'; all __torch_dispatch__ handlers returned NotImplemented:\n\n"
        + "".join(f"  - {one}\n" for one in refused)
        + "\nFor more information, try re-running with TORCH_LOGS=not_implemented"
    )


_C._dispatch_with(_dispatch)
