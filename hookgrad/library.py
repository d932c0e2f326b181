"""Ops of one's own: functions that are one node of the graph, with a derivative written for them, found in `torch.ops`.

Source: https://docs.pytorch.org/docs/stable/library.html
"""

import inspect
from enum import Enum
from functools import update_wrapper
from itertools import islice

from . import _C
from ._ops import OpOverload, ops
from .autograd.function import Function

__all__ = [
    "CustomOpDef",
    "Library",
    "custom_op",
    "define",
    "impl",
    "register_autograd",
    "register_fake",
    "register_kernel",
    "register_vmap",
]


class CustomOpDef:
    """A function as an op `namespace::name`: what `custom_op` makes of it."""

    def __init__(self, qualname, fn, mutates_args=()):
        namespace, _, name = qualname.partition("::")
        if not name or not namespace:
            raise ValueError(
                f"Expected name to be of the form '<namespace>::<name>', but got: {qualname}. Please check the op's name"
            )
        self._namespace, self._name, self._qualname = namespace, name, qualname
        self._init_fn = self._kernel = fn
        self._mutates = mutates_args
        self._backward = self._setup_context = self._abstract_fn = self._vmap = None
        self._functions = {}  # what is applied in calls without keywords, by kernel and vmap: samples of a vmap share it
        self._opoverload = getattr(ops, namespace)._define(name, self).default
        if fn is not None:
            update_wrapper(self, fn)

    def __repr__(self):
        return f"<CustomOpDef({self._qualname})>"

    def register_kernel(self, device_types, fn=None, /):
        """The function to run for a kind of device: there is the CPU. May be used as a decorator."""

        def register(fn):
            if device_types is None or "cpu" in ([device_types] if isinstance(device_types, str) else device_types):
                self._kernel = fn
            return fn

        return register if fn is None else register(fn)

    def register_fake(self, fn, /):
        """How shape and dtype of the result are found without computing it: it is called where an argument is on `meta`."""
        self._abstract_fn = fn
        return fn

    def register_vmap(self, func=None):
        """How `torch.vmap` computes: `func(info, in_dims, *args)`, as `autograd.Function.vmap`. Without it, sample by sample."""
        if func is None:
            return self.register_vmap
        self._vmap = func
        return func

    def register_autograd(self, backward, /, *, setup_context=None):
        """The derivative: `backward(ctx, *grads)` gives a gradient for each argument; `setup_context(ctx, inputs, output)` keeps
        what it needs."""
        self._backward, self._setup_context = backward, setup_context

    def __call__(self, *args, **kwargs):
        kernel = self._kernel
        if self._abstract_fn and any(getattr(a, "is_meta", False) for a in (*args, *kwargs.values())):
            kernel = self._abstract_fn
        if kernel is None:
            raise NotImplementedError(f"There is no kernel registered for {self._qualname}")
        try:
            bound = inspect.signature(self._init_fn or kernel).bind(*args, **kwargs)
        except TypeError as error:
            raise RuntimeError(f"{self._qualname}() {error}") from None
        for name, value in bound.arguments.items():
            if bound.signature.parameters[name].annotation is _C.Tensor and not isinstance(value, _C.Tensor):
                raise RuntimeError(
                    f"{self._qualname}() Expected a value of type 'Tensor' for argument '{name}' but instead found type "
                    f"'{type(value).__name__}'."
                )
        bound.apply_defaults()
        inputs, counts = _spread(bound.args)
        key = None if bound.kwargs else (kernel, self._vmap, counts)
        function = self._functions.get(key) or self._function(kernel, bound.kwargs, counts)
        if key:
            self._functions[key] = function
        result = function.apply(*inputs)
        if function.gives_list:
            result = list(result)
        for name in self._mutates if isinstance(self._mutates, (list, tuple, set)) else ():
            if isinstance(bound.arguments.get(name), _C.Tensor):
                _C._increment_version(bound.arguments[name])
        return result

    def _function(self, kernel, keywords, counts):
        """The autograd.Function of a call of the kernel with these arguments that go by keyword only, and lists of so many."""
        op = self

        class Generated(Function):
            gives_list = False

            @staticmethod
            def forward(*inputs):
                output = kernel(*_gathered(inputs, counts), **keywords)
                Generated.gives_list = isinstance(output, list)
                return tuple(output) if Generated.gives_list else output

            @staticmethod
            def setup_context(ctx, inputs, output):
                if op._setup_context is not None:
                    rest = {"keyword_only_inputs": keywords} if keywords else {}
                    inputs, output = tuple(_gathered(inputs, counts)), list(output) if Generated.gives_list else output
                    op._setup_context(ctx=ctx, inputs=inputs, output=output, **rest)

            @staticmethod
            def backward(ctx, *grads):
                if op._backward is None:
                    raise RuntimeError(
                        f"Trying to backward through {op._opoverload} but no autograd formula was registered. "
                        "Please use register_autograd to add one."
                    )
                result = op._backward(ctx, list(grads)) if Generated.gives_list else op._backward(ctx, *grads)
                if counts == (None,) * len(counts):
                    return result
                grads = zip(result if isinstance(result, tuple) else (result,), counts)
                return tuple([g for grad, n in grads for g in ([grad] if n is None else grad or [None] * n)])

            generate_vmap_rule = op._vmap is None
            if op._vmap is not None:

                @staticmethod
                def vmap(info, in_dims, *inputs):
                    return op._vmap(info, tuple(_gathered(in_dims, counts)), *_gathered(inputs, counts))

        Generated._backward_cls.__name__ = f"GeneratedBackwardFor_{self._namespace}_{self._name}_defaultBackward"
        return Generated


def _spread(args):
    """The arguments, with each tensor of a list of them; and for each argument how many those are, or None."""
    counts = [
        len(a) if isinstance(a, (list, tuple)) and any(isinstance(t, _C.Tensor) for t in a) else None for a in args
    ]
    return [t for a, n in zip(args, counts) for t in ([a] if n is None else a)], tuple(counts)


def _gathered(inputs, counts):
    """What `_spread` has spread."""
    at = iter(inputs)
    return [next(at) if n is None else list(islice(at, n)) for n in counts]


def custom_op(name, fn=None, /, *, mutates_args, device_types=None, schema=None, tags=None):
    """Make a function an op: a decorator, or with `fn` a function. The name is "namespace::name".

    >>> import hookgrad as torch
    >>> @custom_op("docs::twice", mutates_args=())
    ... def twice(x: torch.Tensor) -> torch.Tensor:
    ...     return x * 2
    >>> twice.register_autograd(lambda ctx, grad: grad * 2)
    >>> x = torch.ones(1, requires_grad=True)
    >>> torch.ops.docs.twice(x).backward()
    >>> x.grad
    tensor([2.])
    """

    def decorate(fn):
        for parameter in inspect.signature(fn).parameters.values() if schema is None else ():
            if parameter.annotation is parameter.empty:
                raise ValueError(
                    f"infer_schema(func): Parameter {parameter.name} must have a type annotation. Got func with signature "
                    f"{inspect.signature(fn)}"
                )
        return CustomOpDef(name, fn, mutates_args)

    return decorate if fn is None else decorate(fn)


def _found(op):
    """The CustomOpDef that a name, an overload or itself stands for."""
    if isinstance(op, CustomOpDef):
        return op
    name = op.name() if isinstance(op, OpOverload) else op
    namespace, _, name = name.partition("::")
    found = getattr(ops, namespace)._custom.get(name.removesuffix(".default"))
    if found is None:
        raise RuntimeError(
            f"Could not find the operator {namespace}::{name}. Please make sure you have already registered it."
        )
    return found


def register_autograd(op, backward, /, *, setup_context=None, lib=None):
    """CustomOpDef.register_autograd of an op by its name."""
    _found(op).register_autograd(backward, setup_context=setup_context)


def register_fake(op, func=None, /, *, lib=None, _stacklevel=1, allow_override=False):
    """CustomOpDef.register_fake of an op by its name. torchvision has some of ops in C++, which are not there: no matter."""
    if isinstance(op, str) and op.startswith("torchvision::"):
        return func or (lambda func: func)
    return _found(op).register_fake if func is None else _found(op).register_fake(func)


def register_kernel(op, device_types, func=None, /, *, lib=None):
    """CustomOpDef.register_kernel of an op by its name."""
    return _found(op).register_kernel(device_types, func) if func else _found(op).register_kernel(device_types)


def register_vmap(op, func=None, /, *, lib=None):
    """CustomOpDef.register_vmap of an op by its name."""
    return _found(op).register_vmap(func)


def define(qualname, schema, *, lib=None, tags=()):
    """An op without a kernel yet, as `impl` gives it one."""
    CustomOpDef(qualname, None)


def impl(qualname, types, func=None, *, lib=None):
    """The kernel of an op that was defined: a decorator, or with `func` a function."""

    def register(func):
        _found(qualname)._kernel = func
        return func

    return register if func is None else register(func)


class Library:
    """Ops of one namespace, defined by their schemas."""

    def __init__(self, ns, kind, dispatch_key=""):
        self.ns, self.kind = ns, kind

    def define(self, schema, alias_analysis="", *, tags=()):
        """An op without a kernel yet: "name(Tensor x) -> Tensor"."""
        name = schema.partition("(")[0]
        define(f"{self.ns}::{name}", schema)
        return name

    def impl(self, op_name, fn, dispatch_key="", **options):
        """The kernel of an op; with dispatch_key "Autograd" it is called with what it differentiates by itself."""
        name = op_name if isinstance(op_name, str) else op_name.name()
        op = _found(name if "::" in name else f"{self.ns}::{name}")
        if dispatch_key.startswith(("Autograd", "CompositeImplicitAutograd")):
            op.__class__ = _Composite
        elif dispatch_key not in ("", "CPU", "CompositeExplicitAutograd"):
            return
        op._kernel = fn


DispatchKey = Enum("DispatchKey", "CPU CUDA XPU Meta AutocastCPU AutocastCUDA AutocastXPU AutogradCPU Python")


def DispatchKeySet(key):
    """A set of one key."""
    return frozenset([key])


class _Composite(CustomOpDef):
    """An op that differentiates by what it is made of."""

    def __call__(self, *args, **kwargs):
        return self._kernel(*args, **kwargs)
