"""Operations with a derivative of one's own: ``Function``, as ``torch.autograd.function`` has it.

The node of a call is the ``ctx`` of its ``forward`` and ``backward``: it keeps what is set on it in a context object that it
owns, and the methods below are called with the node as their ``self``. Where nothing is recorded there is no node, and the
context object alone is the ``ctx``.
"""

from __future__ import annotations

from functools import cache, partial

from .. import _C
from .grad_mode import no_grad

__all__ = [
    "BackwardCFunction",
    "Function",
    "FunctionCtx",
    "FunctionMeta",
    "InplaceFunction",
    "NestedIOFunction",
    "once_differentiable",
]

_LEGACY = (
    "Legacy autograd function with non-static forward method is deprecated. "
    "Please use new-style autograd function with static forward method. "
    "(Example: https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
)
_dual_apply = None  # what `Function.apply` is while there are dual tensors: forward_ad.py
_transforms = None  # torch.func's, once it is imported: they look at what is applied in them
_DIFFERENTIABLE, _DIRTY = 1, 2  # what _C._function_outputs is told of an output


class FunctionCtx:
    """What ``forward`` leaves for ``backward``: saved tensors, flags, and any attribute."""

    __slots__ = ()  # what is set on a node, its context keeps

    def __new__(cls, *args, **kwargs):
        return object.__new__(_Bare if cls is FunctionCtx else cls)

    def save_for_backward(self, *tensors):
        """Keep tensors (or None) for ``backward``, which finds them in ``ctx.saved_tensors``."""
        self.to_save = tensors

    def save_for_forward(self, *tensors):
        """Keep tensors for ``jvp``."""
        for tensor in tensors:
            if not (isinstance(tensor, _C.Tensor) or tensor is None):
                raise AssertionError(
                    "save_for_forward expects all arguments to be tensors; you should save non-tensors as attributes "
                    "on ctx."
                )
        self.saved_for_forward = tensors

    def mark_dirty(self, *args):
        """Say which inputs ``forward`` has changed in place. Each must be returned as an output."""
        self.dirty_tensors = args

    def mark_shared_storage(self, *pairs):
        """Of old: tensors that share memory are found without being told."""
        import warnings

        warnings.warn(
            "`mark_shared_storage` is deprecated. Tensors with shared storages are automatically tracked.",
            FutureWarning,
            stacklevel=2,
        )

    def mark_non_differentiable(self, *args):
        """Say which outputs have no gradient."""
        self.non_differentiable = args

    def set_materialize_grads(self, value):
        """Whether ``backward`` gets zeros (True, the default) or None for outputs that no gradient reached."""
        self.materialize_grads = value


class _Bare(FunctionCtx):
    """What FunctionCtx() gives, for programs that call a ``forward`` or ``backward`` themselves: it takes attributes."""


_Bare.__name__ = _Bare.__qualname__ = "FunctionCtx"


class _HookMixin:
    __slots__ = ()

    @staticmethod
    def _register_hook(backward_hooks, hook):
        from ..utils.hooks import RemovableHandle

        if backward_hooks is None:
            from collections import OrderedDict

            backward_hooks = OrderedDict()
        handle = RemovableHandle(backward_hooks)
        backward_hooks[handle.id] = hook
        return backward_hooks, handle


class _Context(_HookMixin):
    """The class of contexts; each Function has one of its own, made by its metaclass.

    It has the methods of FunctionCtx without being derived from it: a __new__ in Python costs each call of a Function."""

    # Slots, so that the context's __dict__ holds what forward has set on it and nothing else.
    __slots__ = (
        "to_save",
        "saved_for_forward",
        "dirty_tensors",
        "non_differentiable",
        "needs_input_grad",
        "_materialize",
        "_materialize_non_diff_grads",
        "_tensor_inputs",
        "_zeros_for",
        "_metadata",
    )

    save_for_backward = FunctionCtx.save_for_backward
    save_for_forward = FunctionCtx.save_for_forward
    mark_dirty = FunctionCtx.mark_dirty
    mark_shared_storage = FunctionCtx.mark_shared_storage
    mark_non_differentiable = FunctionCtx.mark_non_differentiable
    set_materialize_grads = FunctionCtx.set_materialize_grads

    saved_tensors = saved_variables = ()  # a node has those it was given

    def __init__(self):
        self.to_save = self.saved_for_forward = self.dirty_tensors = self.non_differentiable = None
        self.needs_input_grad = ()
        self._materialize = self._materialize_non_diff_grads = True

    @property
    def __class__(self):
        """Where a call is not recorded the context stands for its node."""
        return self._forward_cls._backward_cls

    def _set_materialize_grads(self, value):
        if not isinstance(value, bool):
            raise TypeError(
                f"set_materialize_grads received an invalid combination of arguments - got ({type(value).__name__}), "
                "but expected (bool)"
            )
        self._materialize = value

    materialize_grads = property(fset=_set_materialize_grads)

    # What the ctx of a call that is not recorded answers; a node has all this itself.
    next_functions = ()

    @property
    def metadata(self):
        if not hasattr(self, "_metadata"):
            self._metadata = {}
        return self._metadata

    def register_hook(self, hook):
        return self._register_hook(None, hook)[1]

    register_prehook = register_hook

    def name(self):
        return type(self).__name__

    def _user_backward(self):
        cls = self._forward_cls
        backward, vjp = cls.backward, cls.vjp
        if backward is not Function.backward and vjp is not Function.vjp:
            raise RuntimeError(
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. "
                "You should only implement one of them."
            )
        return backward if vjp is Function.vjp else vjp

    def apply(self, *grads):
        """The gradients of the inputs, as the user's ``backward`` (or ``vjp``) gives them."""
        backward = self._user_backward()
        return backward(self, list(grads)) if self._forward_cls.boxed_grads_call else backward(self, *grads)

    def apply_jvp(self, *tangents):
        return self._forward_cls.jvp(self, *tangents)

    def _run_backward(self, *grads):
        """What the engine calls: one gradient, or None, for each tensor that forward was given."""
        if self._materialize:
            zeros = self._zeros_for
            grads = tuple([_C._function_zeros(self, k) if g is None and zeros[k] else g for k, g in enumerate(grads)])
        result = self.apply(*grads)
        if not isinstance(result, tuple):
            result = (result,)
        given = self._tensor_inputs
        n = len(given)
        if len(result) > n and all(g is None for g in result[n:]):
            result = result[:n]
        if len(result) != n:
            raise RuntimeError(
                f"function {_C._FunctionBase.name(self)} returned an incorrect number of gradients "
                f"(expected {n}, got {len(result)})"
            )
        for i, (g, is_tensor) in enumerate(zip(result, given)):
            if g is None:
                continue
            if not is_tensor:
                raise RuntimeError(
                    f"function {_C._FunctionBase.name(self)} returned a gradient different than None at position {i + 1}, "
                    "but the corresponding forward input was not a Variable"
                )
            if not isinstance(g, _C.Tensor):
                raise RuntimeError(f"expected Variable or None (got {type(g).__name__})")
        return tuple([g for g, is_tensor in zip(result, given) if is_tensor])


# The class above those of all Functions' nodes.
BackwardCFunction = _C._function_class(
    "BackwardCFunction",
    (_C._FunctionBase, FunctionCtx, _HookMixin),
    {"__module__": FunctionCtx.__module__, "apply": _Context.apply, "apply_jvp": _Context.apply_jvp},
)


class FunctionMeta(type):
    """Gives every Function the class of its nodes, in transforms of torch.func as well, and that of its contexts, named after it."""

    def __init__(cls, name, bases, attrs):
        own = {"_forward_cls": cls, "__module__": FunctionCtx.__module__}
        cls._backward_cls = _C._function_class(name + "Backward", (BackwardCFunction,), own)
        cls._context_cls = type(name + "Backward", (_Context,), own)
        cls._generated_cls = cache(partial(_C._function_class, name + "GeneratedBackward", (BackwardCFunction,), own))
        super().__init__(name, bases, attrs)


def _is_one_of(tensor, tensors):
    return any(tensor is t for t in tensors)


def _marked(ctx, name, words):
    """The tensors marked dirty, or as without a gradient."""
    tensors = getattr(ctx, name)
    if tensors is None:
        return ()
    if not isinstance(tensors, tuple):
        raise RuntimeError(
            f"autograd internal error: {name} attribute is expected to be a tuple but is {type(tensors).__name__}"
        )
    for i, t in enumerate(tensors):
        if not isinstance(t, _C.Tensor):
            raise RuntimeError(words.format(i, type(t).__name__))
    return tensors


def _positional(forward, args, kwargs):
    """The arguments of a ``forward(ctx, ...)``, those given by keyword in their places."""
    names = forward.__code__.co_varnames[1 : forward.__code__.co_argcount]
    for name in kwargs:
        if name not in names:
            raise TypeError(f"forward() got an unexpected keyword argument '{name}'")
        if name in names[: len(args)]:
            raise TypeError(f"forward() got multiple values for argument '{name}'")
    last = max(names.index(name) for name in kwargs)
    for i in range(len(args), last):
        if names[i] not in kwargs:
            raise TypeError(f"forward() missing required argument: '{names[i]}' (position {i})")
    return args + tuple([kwargs[name] for name in names[len(args) : last + 1]])


class _SingleLevelFunction(FunctionCtx, _HookMixin, metaclass=FunctionMeta):
    """Only a name: what older code finds between Function and FunctionCtx."""


class Function(_SingleLevelFunction):
    """An operation whose derivative is written by its user.

    Subclass it, give it static methods ``forward`` and ``backward`` and call it through ``apply``. ``forward`` takes the
    context first, or leaves it to a static ``setup_context(ctx, inputs, output)``. ``backward(ctx, *grad_outputs)`` returns
    a gradient, or None, for every argument of ``forward``.

    Source: ``torch.autograd.Function``.

    >>> import hookgrad as torch
    >>> class Double(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         return grad * 2
    >>> x = torch.ones(2, requires_grad=True)
    >>> Double.apply(x)
    tensor([2., 2.], grad_fn=<DoubleBackward>)
    """

    def __init__(self, *args, **kwargs):
        import warnings

        warnings.warn(
            f"{self.__class__} should not be instantiated. Methods on autograd functions are all static, so you should "
            "invoke them on the class itself. Instantiating an autograd function will raise an error in a future version "
            "of PyTorch.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args, **kwargs):
        raise RuntimeError(_LEGACY)

    @staticmethod
    def forward(*args, **kwargs):
        """forward(ctx, *inputs), or forward(*inputs) with a setup_context(): the output, a tensor or a tuple.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.Function.forward.html
        """
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep in ctx what backward needs of the tuple of inputs and of the output."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """A gradient, or None, for each input of forward, from those of its outputs.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.Function.backward.html
        """
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """The tangents of the outputs, from those of the inputs: None where one has none."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info, in_dims, *args):
        """(output, out_dims) of a whole batch, of `info.batch_size`, which lies along in_dims of the arguments."""
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or set "
            "generate_vmap_rule=True."
        )

    generate_vmap_rule = False
    clear_saved_tensors_on_access = False  # True: asking for ctx.saved_tensors lets them go
    boxed_grads_call = False  # True: backward is given one list that it may empty

    @classmethod
    def apply(cls, *args, **kwargs):
        """Run ``forward`` without recording it, and record this call in its place."""
        if _dual_apply is not None:
            return _dual_apply(cls, args, kwargs)
        return cls._apply(args, kwargs)

    @classmethod
    def _apply(cls, args, kwargs):
        if _transforms is not None and _transforms.depth:
            _transforms.check(cls, kwargs)
        with_setup = cls.setup_context is not Function.setup_context
        if with_setup and (kwargs or len(args) < cls.forward.__code__.co_argcount):  # setup_context wants them all
            import inspect

            bound = inspect.signature(cls.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        if kwargs:
            args = _positional(cls.forward, args, kwargs)
        forward = cls.forward
        if _transforms is not None and _transforms.depth:
            forward, is_all = _transforms.forward(cls)
            if is_all:
                return forward(*args)
        ctx = cls._context_cls()
        inputs = tuple([a for a in args if isinstance(a, _C.Tensor)])
        ctx._tensor_inputs = tuple([isinstance(a, _C.Tensor) for a in args])
        ctx.needs_input_grad = needs = tuple([isinstance(a, _C.Tensor) and a.requires_grad for a in args])
        node = None
        if any(needs) and _C.is_grad_enabled() and not _C.is_inference_mode_enabled():
            within = _transforms is not None and _transforms.depth
            node = ctx = _C._function_new(cls._generated_cls() if within else cls._backward_cls, ctx, inputs)
        with no_grad():
            if with_setup:
                output = forward(*args)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args)
            return cls._finish(ctx, node, inputs, output, with_setup)

    @classmethod
    def _finish(cls, ctx, node, inputs, output, with_setup):
        """Make what forward returned the outputs of this call. Runs without recording, as forward did."""
        outputs = output if isinstance(output, tuple) else (output,)
        dirty = _marked(ctx, "dirty_tensors", "mark_dirty can only accept variables, but argument {} is of type {}")
        frozen = _marked(
            ctx, "non_differentiable", "mark_non_differentiable only accepts variable arguments, but got {1}"
        )
        for t in dirty:
            _C._increment_version(t)  # whether or not forward did it in a way that could be seen
            if not _is_one_of(t, inputs) and _is_one_of(t, outputs):
                import warnings

                warnings.warn(
                    "ctx.mark_dirty() received a tensor that was not an input. Only input Tensors that have been mutated "
                    "should be passed to ctx.mark_dirty().",
                    stacklevel=4,
                )
        saved = ctx.to_save or ()
        kept = (*saved, *(ctx.saved_for_forward or ())) if with_setup else ()
        wrapped, kinds = [], bytearray()
        for out in outputs:
            if not isinstance(out, _C.Tensor):
                wrapped.append(out)
                kinds.append(0)
                continue
            given, changed = _is_one_of(out, inputs), _is_one_of(out, dirty)
            kind = _DIRTY if changed else 0
            if node is not None and out.is_floating_point() and not _is_one_of(out, frozen):
                kind |= _DIFFERENTIABLE
            kinds.append(kind)
            wrapped.append(cls._output(out, kind, given, len(outputs), _is_one_of(out, kept)))
        if not all(_is_one_of(t, outputs) for t in dirty):
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as output. "
                "The inputs that are modified inplace must all be outputs of the Function."
            )
        tensors = tuple([w if isinstance(w, _C.Tensor) else None for w in wrapped])
        if node is not None:
            ctx._zeros_for = tuple(
                [
                    t is not None and (ctx._materialize_non_diff_grads or bool(kind & _DIFFERENTIABLE))
                    for t, kind in zip(tensors, kinds)
                ]
            )
        _C._function_outputs(node, tensors, bytes(kinds))
        if node is not None:
            _C._function_save(node, saved, cls.clear_saved_tensors_on_access)
        ctx.to_save = ctx.saved_for_forward = ctx.non_differentiable = None
        return tuple(wrapped) if isinstance(output, tuple) else wrapped[0]

    @staticmethod
    def _output(out, kind, given, n_outputs, is_saved):
        """The tensor to return for `out`: itself, or another one where it is an input (`given`) as it came."""
        base = out._base
        if not kind & _DIFFERENTIABLE:
            if not out.requires_grad:
                return _another(out, is_saved) if given and kind != _DIRTY else out
            if given:
                return out.detach()
            return out if base is not None else out.detach_()
        if kind & _DIRTY:
            if base is not None and n_outputs > 1 and not _is_written_leaf(out):
                raise RuntimeError(
                    "If your Function modifies inplace an input that is a view of another Tensor, your Function cannot "
                    "return more than one Tensor. This is not supported by the current autograd engine. You should either "
                    "make sure the input is not a view (using .clone() for example) or make your Function only return one "
                    "Tensor (potentially splitting it into two Functions: one doing the inplace that returns a single "
                    "Tensor and a second one that does the other operations). You can ask on the forum "
                    "https://discuss.pytorch.org/ if you need help to do this change."
                )
            return out
        return _another(out, is_saved) if given else out


def _another(x, is_saved):
    """The output for an input that was returned as it came."""
    if is_saved:
        raise RuntimeError(
            "An input that has been returned as-is as output is being saved for backward. This is not supported if "
            "you override setup_context. You should return and save a view of the input instead, e.g. with "
            "x.view_as(x) or setup ctx inside the forward function itself."
        )
    return x.view_as(x)


def _is_written_leaf(out):
    """Is it a leaf that requires a gradient, such as a view made under no_grad? That is the first error to raise."""
    try:
        return out.is_leaf and out.requires_grad
    except RuntimeError as stale:  # such a view says of what it is not an output
        return not str(stale).startswith("Output")


class _Error(Function):
    """Passes its inputs through; its derivative is an error. None has an edge as well, which leads nowhere."""

    @staticmethod
    def forward(ctx, words, *tensors):
        ctx.words = words
        return tuple([t.detach() if t is not None else None for t in tensors])

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError(ctx.words)

    @classmethod
    def after(cls, words, tensors):
        nothing = _C.zeros(0)
        outputs = cls.apply(words, *[nothing if t is None else t for t in tensors])
        return tuple([None if t is None else out for t, out in zip(tensors, outputs)])


class _UndefinedGrad(Function):
    """Passes its inputs through; their gradients are undefined."""

    @staticmethod
    def forward(ctx, *tensors):
        return tuple([t.view_as(t) for t in tensors])

    @staticmethod
    def backward(ctx, *grads):
        return (None,) * len(grads)


# As PyTorch's nodes are called.
_Error._backward_cls.__name__ = "Error"
_UndefinedGrad._backward_cls.__name__ = "UndefinedGradBackward"


class DelayedError:
    """`_C._functions.DelayedError(words, n)`: called with n tensors it returns them, and a backward through them is an error."""

    def __init__(self, msg, num_inputs):
        self._words = msg

    def __call__(self, *tensors):
        outputs = _Error.after(self._words, tensors)
        return outputs[0] if len(outputs) == 1 else outputs


class UndefinedGrad:
    """`_C._functions.UndefinedGrad()`: called with tensors it returns them, and a backward through them hands on no gradient."""

    def __call__(self, *tensors):
        outputs = _UndefinedGrad.apply(*tensors)
        return outputs[0] if len(outputs) == 1 else outputs


def once_differentiable(fn):
    """Decorator for a ``backward`` that cannot itself be differentiated: doing so raises."""
    import functools

    @functools.wraps(fn)
    def wrapper(ctx, *args, **kwargs):
        with no_grad():
            outputs = fn(ctx, *args, **kwargs)
        if not _C.is_grad_enabled():
            return outputs
        if not any(isinstance(a, _C.Tensor) and a.requires_grad for a in args):
            return outputs
        several = isinstance(outputs, tuple)
        stand_ins = [
            t.detach()._requires() if isinstance(t, _C.Tensor) else t for t in (outputs if several else (outputs,))
        ]
        words = "trying to differentiate twice a function that was marked with @once_differentiable"
        wrapped = _Error.after(words, stand_ins)
        return wrapped if several else wrapped[0]

    return wrapper


class InplaceFunction(Function):
    """For old code: a Function that remembers whether it works in place."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace


class NestedIOFunction(Function):
    """For old code: a Function of nested tensors. It has a name, but as in PyTorch nothing calls these methods any more."""

    def forward_extended(self, *input):
        raise NotImplementedError

    def backward_extended(self, *grad_output):
        raise NotImplementedError
