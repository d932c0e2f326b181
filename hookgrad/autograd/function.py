"""Operations with a derivative of one's own: ``Function``, as ``torch.autograd.function`` has it.

The node of a call lives in the core and owns the context; the context finds its node through a weak reference.
"""

from __future__ import annotations

import weakref

from .. import _C
from .grad_mode import no_grad

_LEGACY = (
    "Legacy autograd function with non-static forward method is deprecated. "
    "Please use new-style autograd function with static forward method. "
    "(Example: https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
)


class FunctionCtx:
    """What ``forward`` leaves for ``backward``: saved tensors, flags, and any attribute."""

    def save_for_backward(self, *tensors):
        """Keep tensors (or None) for ``backward``, which finds them in ``ctx.saved_tensors``."""
        self.to_save = tensors

    def save_for_forward(self, *tensors):
        """Keep tensors for ``jvp``."""
        for tensor in tensors:
            if not (isinstance(tensor, _C.Tensor) or tensor is None):
                raise AssertionError(
                    "save_for_forward(): expected tensors or None, got "
                    f"{type(tensor).__name__}; anything else can be an attribute of ctx"
                )
        self.saved_for_forward = tensors

    def mark_dirty(self, *args):
        """Say which inputs ``forward`` has changed in place. Each must be returned as an output."""
        self.dirty_tensors = args

    def mark_non_differentiable(self, *args):
        """Say which outputs have no gradient."""
        self.non_differentiable = args

    def set_materialize_grads(self, value):
        """Whether ``backward`` gets zeros (True, the default) or None for outputs that no gradient reached."""
        self.materialize_grads = value


class _BackwardMeta(type):
    """Lets a node count as an instance of the class of its context."""

    def __instancecheck__(cls, instance):
        return super().__instancecheck__(instance) or (
            isinstance(instance, _C.Node) and cls in getattr(instance, "_context_mro", ())
        )


class BackwardCFunction(FunctionCtx, metaclass=_BackwardMeta):
    """A context as ``backward`` sees it: the face of a node whose derivative is written in Python."""

    _node = None
    materialize_grads = True
    to_save = dirty_tensors = non_differentiable = ()
    needs_input_grad = ()

    @property
    def _context_mro(self):
        return type(self).__mro__

    def _its_node(self):
        return self._node() if self._node is not None else None

    @property
    def saved_tensors(self):
        node = self._its_node()
        return () if node is None else _C._function_saved(node)

    @property
    def saved_variables(self):
        import warnings

        warnings.warn("'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2)
        return self.saved_tensors

    @property
    def next_functions(self):
        node = self._its_node()
        return () if node is None else node.next_functions

    @property
    def metadata(self):
        return self._its_node().metadata

    def name(self):
        return type(self).__name__

    def register_hook(self, hook):
        return self._its_node().register_hook(hook)

    def register_prehook(self, hook):
        return self._its_node().register_prehook(hook)

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
        return self._user_backward()(self, *grads)

    def _run_backward(self, *grads):
        """What the engine calls: one gradient, or None, for each tensor that forward was given."""
        if self.materialize_grads:
            node = self._its_node()
            is_tensor = self._tensor_outputs
            grads = tuple(_C._function_zeros(node, k) if g is None and is_tensor[k] else g for k, g in enumerate(grads))
        result = self.apply(*grads)
        if not isinstance(result, tuple):
            result = (result,)
        given = self._tensor_inputs
        n = len(given)
        if len(result) > n and all(g is None for g in result[n:]):
            result = result[:n]
        if len(result) != n:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {n}, got {len(result)})"
            )
        for i, (g, is_tensor) in enumerate(zip(result, given)):
            if g is None:
                continue
            if not is_tensor:
                raise RuntimeError(
                    f"function {self.name()} returned a gradient different than None at position {i + 1}, "
                    "but the corresponding forward input was not a Variable"
                )
            if not isinstance(g, _C.Tensor):
                raise RuntimeError(f"expected Variable or None (got {type(g).__name__})")
        return tuple(g for g, is_tensor in zip(result, given) if is_tensor)


class FunctionMeta(type):
    """Gives every Function the class of its contexts, named after it: the name of its nodes."""

    def __init__(cls, name, bases, attrs):
        cls._backward_cls = _BackwardMeta(
            name + "Backward", (BackwardCFunction,), {"_forward_cls": cls, "__module__": FunctionCtx.__module__}
        )
        super().__init__(name, bases, attrs)


def _is_one_of(tensor, tensors):
    return any(tensor is t for t in tensors)


def _shares_memory(out, inputs):
    """Is out a view of an input?"""
    base = out._base
    return base is not None and any(base is t or base is t._base for t in inputs)


class Function(FunctionCtx, metaclass=FunctionMeta):
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
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx, *grad_inputs):
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @classmethod
    def apply(cls, *args, **kwargs):
        """Run ``forward`` without recording it, and record this call in its place."""
        with_setup = cls.setup_context is not Function.setup_context
        if with_setup and (kwargs or len(args) < cls.forward.__code__.co_argcount):  # setup_context wants them all
            import inspect

            bound = inspect.signature(cls.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        ctx = cls._backward_cls()
        inputs = tuple([a for a in args if isinstance(a, _C.Tensor)])
        ctx._tensor_inputs = tuple([isinstance(a, _C.Tensor) for a in args])
        ctx.needs_input_grad = tuple([isinstance(a, _C.Tensor) and a.requires_grad for a in args])
        recorded = _C.is_grad_enabled() and any(ctx.needs_input_grad)
        node = _C._function_new(cls._backward_cls.__name__, ctx, inputs) if recorded else None
        if recorded:
            ctx._node = weakref.ref(node)
        with no_grad():
            if with_setup:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args, **kwargs)
        return cls._finish(ctx, node, inputs, output)

    @classmethod
    def _finish(cls, ctx, node, inputs, output):
        outputs = output if isinstance(output, tuple) else (output,)
        dirty, frozen = ctx.dirty_tensors, ctx.non_differentiable
        if not all(_is_one_of(d, outputs) for d in dirty):
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as output. "
                "The inputs that are modified inplace must all be outputs of the Function."
            )
        wrapped, is_tensor = [], []
        differentiable = dirty_mask = views = 0
        for k, out in enumerate(outputs):
            is_tensor.append(isinstance(out, _C.Tensor))
            if not is_tensor[k]:
                wrapped.append(out)
                continue
            changed = _is_one_of(out, dirty)
            if node is not None and changed and out.requires_grad and out.is_leaf:
                raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")
            returned = out
            if not changed and _is_one_of(out, inputs):  # an input as it came: the caller gets another tensor
                with no_grad():
                    returned = out.detach() if node is None else out.view_as(out)
            if not changed and _shares_memory(returned, inputs):
                views |= 1 << k
            if returned.is_floating_point() and not _is_one_of(out, frozen):
                differentiable |= 1 << k
            if changed:
                dirty_mask |= 1 << k
                _C._increment_version(out)  # whether or not forward did it in a way that could be seen
            wrapped.append(returned)
        ctx._tensor_outputs = tuple(is_tensor)
        if node is not None:
            tensors = tuple([w if t else None for w, t in zip(wrapped, is_tensor)])
            _C._function_outputs(node, tensors, differentiable, dirty_mask, views)
            # An output that forward saved is saved as what it has become, with its history.
            became = {id(o): w for o, w in zip(outputs, wrapped) if isinstance(o, _C.Tensor)}
            save = tuple(
                [became.get(id(t), t) if t is not None and not _is_one_of(t, inputs) else t for t in ctx.to_save]
            )
            _C._function_save(node, save)
        ctx.to_save = ()
        if isinstance(output, tuple):
            return tuple(wrapped) if type(output) is tuple else type(output)(*wrapped)
        return wrapped[0]


class _DelayedError(Function):
    """Passes its inputs through; its derivative is an error."""

    @staticmethod
    def forward(ctx, words, *tensors):
        ctx.words = words
        return tuple([t.detach() if t is not None else None for t in tensors])

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError(ctx.words)


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
            t.detach().requires_grad_() if isinstance(t, _C.Tensor) else t for t in (outputs if several else (outputs,))
        ]
        words = "trying to differentiate twice a function that was marked with @once_differentiable"
        wrapped = _DelayedError.apply(words, *stand_ins)
        return wrapped if several else wrapped[0]

    return wrapper


class InplaceFunction(Function):
    """For old code: a Function that remembers whether it works in place."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace
