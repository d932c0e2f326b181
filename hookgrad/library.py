"""Ops of one's own: functions that are one node of the graph, with a derivative written for them, found in `torch.ops`.

Source: https://docs.pytorch.org/docs/stable/library.html
"""

import inspect
import re
from collections import abc
from contextlib import contextmanager
from enum import Enum
from functools import partial, update_wrapper
from itertools import islice
from types import UnionType
from typing import Union, get_args, get_origin

from . import _C
from ._ops import OpOverload, ops
from ._schema import parsed
from .autograd import function
from .autograd.function import Function
from .types import Number

__all__ = [
    "CustomOpDef",
    "Library",
    "custom_op",
    "define",
    "impl",
    "infer_schema",
    "opcheck",
    "register_autograd",
    "register_fake",
    "register_kernel",
    "register_vmap",
]


class CustomOpDef:
    """A function as an op `namespace::name`: what `custom_op` makes of it."""

    def __init__(self, qualname, fn, schema):
        namespace, _, name = qualname.partition("::")
        if not name or not namespace:
            raise ValueError(
                f"Expected name to be of the form '<namespace>::<name>', but got: {qualname}. Please check the op's name"
            )
        self._namespace, self._name, self._qualname = namespace, name, qualname
        self._schema, self._signature = schema, parsed(qualname, schema)
        returns = self._signature.returns
        self._gives_list = bool(fn) and len(returns) == 1 and str(returns[0].type).startswith("List")
        self._init_fn = self._kernel = fn
        self._is_enabled = True  # the kernel; where it is not, the function itself runs
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

    @contextmanager
    def set_kernel_enabled(self, device_type, enabled=True):
        """Within a `with` block: whether a registered kernel runs, or the function that was made an op."""
        was = self._is_enabled
        self._is_enabled = enabled if device_type == "cpu" else was
        try:
            yield
        finally:
            self._is_enabled = was

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
        announced = self._signature.arguments
        values = self._signature.bind(args, kwargs)
        kernel = self._kernel if self._is_enabled else self._init_fn
        if any(getattr(a, "is_meta", False) for a in values):
            kernel = self._abstract_fn or (self._no_fake if self._init_fn else None)
        if kernel is None:
            raise NotImplementedError(f"There is no kernel registered for {self._qualname}")
        keywords = {a.name: value for a, value in zip(announced, values) if a.kwarg_only}
        if not (self._init_fn or self._backward or self._vmap):  # it differentiates by what it is made of
            return kernel(*values[: len(values) - len(keywords)], **keywords)
        inputs, counts = _spread(values[: len(values) - len(keywords)])
        key = None if keywords else (kernel, self._vmap, counts)
        function = self._functions.get(key) or self._function(kernel, keywords, counts)
        if key:
            self._functions[key] = function
        result = function.apply(*inputs)
        if function.gives_list:
            result = list(result)
        for argument, value in zip(announced, values):
            if argument.is_write and isinstance(value, _C.Tensor):
                _C._increment_version(value)
        return result

    def _no_fake(self, *args, **kwargs):
        if self._signature.returns:
            raise RuntimeError(
                f"There was no fake impl registered for {self}: what it gives of tensors on the device meta "
                f"`{self._init_fn.__name__}.register_fake` says."
            )

    def _check(self, inputs, output):
        """What a function gives is what it says, and lies in memory of its own."""
        returns = self._signature.returns
        if len(returns) > 1 and not (isinstance(output, (list, tuple)) and len(output) == len(returns)):
            found = output[0] if isinstance(output, (list, tuple)) and output else output
            raise TypeError(f"Object of type '{type(found).__name__}' is not an instance of 'sequence'")
        for given, announced in zip(output if len(returns) > 1 else (output,), returns):
            if not announced.type.takes(given):
                raise RuntimeError(f"Unable to cast {given} to {announced.type}")
        seen = {x.untyped_storage()._cdata for x in inputs if isinstance(x, _C.Tensor)}
        for y in output if isinstance(output, (list, tuple)) else (output,):
            if isinstance(y, _C.Tensor) and y.untyped_storage()._cdata in seen:
                raise RuntimeError(
                    f"{self._name}: The output of this custom operator (1) must not also be an input to this custom operator and "
                    "(2) may not alias any inputs to this custom operator or other returns: return a clone, x.clone()."
                )
            seen.add(y.untyped_storage()._cdata if isinstance(y, _C.Tensor) else None)

    def _function(self, kernel, keywords, counts):
        """The autograd.Function of a call of the kernel with these arguments that go by keyword only, and lists of so many."""
        op = self

        class Generated(Function):
            gives_list = False

            @staticmethod
            def forward(*inputs):
                within = op._init_fn and function._transforms is not None and function._transforms.depth
                call = partial(function._transforms.below, kernel) if within else kernel
                output = call(*_gathered(inputs, counts), **keywords)
                if op._init_fn:
                    op._check(inputs, output)
                Generated.gives_list = isinstance(output, list) or op._gives_list
                return tuple(output) if Generated.gives_list else output

            @staticmethod
            def setup_context(ctx, inputs, output):
                if op._setup_context is not None and type(ctx) is not Generated._context_cls:  # it is recorded
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
                needs, ctx.needs_input_grad = ctx.needs_input_grad, tuple(_gathered(ctx.needs_input_grad, counts))
                try:
                    result = op._backward(ctx, list(grads)) if Generated.gives_list else op._backward(ctx, *grads)
                finally:
                    ctx.needs_input_grad = needs
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
        return CustomOpDef(name, fn, infer_schema(fn, mutates_args=mutates_args) if schema is None else schema)

    return decorate if fn is None else decorate(fn)


_WORDS = {
    _C.Tensor: "Tensor",
    int: "SymInt",
    float: "float",
    bool: "bool",
    str: "str",
    _C.dtype: "ScalarType",
    _C.device: "Device",
    Number: "Scalar",
}


def _word(annotation):
    """The word of a schema for a type, or None."""
    if annotation in _WORDS:
        return _WORDS[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType) and type(None) in inner:
        word = _word(Union[tuple(one for one in inner if one is not type(None))])  # noqa: UP007
        return word and word + "?"
    if origin in (list, abc.Sequence) and len(inner) == 1:
        word = _word(inner[0])
        return word and word + "[]"
    return None


def infer_schema(prototype_function, /, *, mutates_args, op_name=None):
    """The schema of a function, from its annotations.

    >>> import hookgrad as torch
    >>> def scaled(x: torch.Tensor, by: float = 2.5) -> torch.Tensor: ...
    >>> infer_schema(scaled, mutates_args=())
    '(Tensor x, float by=2.5) -> Tensor'
    """
    signature = inspect.signature(prototype_function)

    def refuse(words):
        raise ValueError(f"infer_schema(func): {words} Got func with signature {signature})")

    try:
        known = inspect.signature(prototype_function, eval_str=True)
    except NameError as error:
        refuse(f"Unsupported type annotation: {error}.")
    written, mutable = [], 0
    for name, parameter in known.parameters.items():
        kind, annotation, default = parameter.kind, parameter.annotation, parameter.default
        if kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            refuse("We do not support positional-only args, varargs, or varkwargs.")
        if annotation is parameter.empty:
            refuse(f"Parameter {name} must have a type annotation.")
        word = _word(annotation)
        if word is None:
            valid = ", ".join(getattr(one, "__name__", str(one)) for one in _WORDS)
            refuse(
                f"Parameter {name} has unsupported type {annotation}. The valid types are: {valid}, options and lists of them."
            )
        if "Tensor" in word if mutates_args == "unknown" else name in mutates_args:
            if "Tensor" not in word:
                refuse(f"Parameter {name} is in mutable_args but only Tensors or collections of Tensors can be mutated")
            word = word.replace("Tensor", f"Tensor(a{mutable}!)")
            mutable += 1
        if kind is parameter.KEYWORD_ONLY and "*" not in written:
            written.append("*")
        if default is not parameter.empty:
            if not isinstance(default, (int, float, str, _C.dtype, _C.device, type(None))):
                refuse(f"Parameter {name} has an unsupported default value type {type(default)}.")
            quoted = isinstance(default, (str, _C.device))
            default = f'"{default}"' if quoted else str(default).removeprefix("torch.")
            written.append(f"{word} {name}={default}")
        else:
            written.append(f"{word} {name}")
    unknown = set() if mutates_args == "unknown" else set(mutates_args) - set(known.parameters)
    if unknown:
        refuse(
            f"{unknown} in mutates_args were not found in the custom op's signature. mutates_args should contain the names of all "
            "args that the custom op mutates, or just the string 'unknown' if you don't know."
        )
    result = known.return_annotation
    if result is known.empty:
        refuse("No return type annotation was provided. Please add one.")
    several = get_args(result) if get_origin(result) is tuple else None
    words = [] if result is None else [_word(one) for one in several or (result,)]
    if None in words:
        refuse(f"Return has unsupported type {result}.")
    results = words[0] if len(words) == 1 and not several else f"({', '.join(words)})"
    return f"{op_name or ''}({', '.join(written)}) -> {results}"


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
    if not re.match(r"\(.*\) -> .+", schema):
        raise ValueError(
            f'define(qualname, schema, ...): expected schema to look like e.g. "(Tensor x) -> Tensor" but got "{schema}"'
        )
    namespace, _, name = qualname.partition("::")
    if not name:
        raise ValueError(f'Expected `qualname` to be of the form "namespace::name", but got {qualname}.')
    if name in getattr(ops, namespace)._custom:
        raise RuntimeError(
            f"Tried to register an operator ({qualname}{schema}) with the same name and overload name multiple times."
        )
    CustomOpDef(qualname, None, schema)


def impl(qualname, types, func=None, *, lib=None):
    """The kernel of an op that was defined: a decorator, or with `func` a function."""

    def register(func):
        _found(qualname)._kernel = func
        return func

    return register if func is None else register(func)


class OpCheckError(Exception):
    """An op is not what it says."""


def _copies(args, of=lambda tensor, copy: copy):
    return [of(a, a.detach().clone()) if isinstance(a, _C.Tensor) else a for a in args]


def _check_schema(op, args, kwargs):
    copies = _copies(args)
    op(*copies, **kwargs)
    for argument, before, after in zip(op._signature.arguments, args, copies):
        if isinstance(before, _C.Tensor) and not argument.is_write and not _C.equal(before, after):
            raise RuntimeError(f"Argument {argument.name} is not defined as mutable but was mutated")


def _check_registration(op, args, kwargs):
    """A derivative is where it belongs: register_autograd() knows no other place."""


def _check_fake(op, args, kwargs):
    real = op(*_copies(args), **kwargs)
    fake = op(*_copies(args, lambda _, copy: copy.to("meta")), **kwargs)
    for a, b in zip(*[x if isinstance(x, (list, tuple)) else [x] for x in (real, fake)]):
        if isinstance(a, _C.Tensor) and (a.shape, a.dtype) != (b.shape, b.dtype):
            raise RuntimeError(f"The fake impl gives {b.dtype} of {b.shape}, the op {a.dtype} of {a.shape}")


def _check_backward(op, args, kwargs):
    out = op(*_copies(args, lambda a, copy: copy.requires_grad_(a.requires_grad)), **kwargs)
    for y in out if isinstance(out, (list, tuple)) else [out]:
        if isinstance(y, _C.Tensor) and y.requires_grad:
            y.sum().backward(retain_graph=True)


_CHECKS = {
    "test_schema": _check_schema,
    "test_autograd_registration": _check_registration,
    "test_faketensor": _check_fake,
    "test_aot_dispatch_static": _check_backward,
    "test_aot_dispatch_dynamic": _check_backward,
}
_DEFAULT_CHECKS = tuple(name for name in _CHECKS if name != "test_aot_dispatch_static")


def opcheck(op, args, kwargs=None, *, test_utils=_DEFAULT_CHECKS, raise_exception=True, atol=None, rtol=None):
    """Is an op of one's own what its schema, its fake and its derivative say? {check: "SUCCESS", or the exception}."""
    if not isinstance(op, (CustomOpDef, OpOverload)):
        raise ValueError(
            f"opcheck(op, ...): op must be instance of torch._ops.OpOverload, e.g. torch.ops.aten.sin.default, got {type(op)}"
        )
    names = (test_utils,) if isinstance(test_utils, str) else tuple(test_utils)
    if not set(names) <= _CHECKS.keys():
        raise ValueError(
            f"opcheck(op, ..., test_utils={names}), expected test_utils to be subset of {tuple(_CHECKS)} but it was not"
        )
    results = {}
    for name in names:
        try:
            _CHECKS[name](_found(op), args, kwargs or {})
            results[name] = "SUCCESS"
        except Exception as error:  # noqa: BLE001 (whatever the op's functions raise is what was asked for)
            results[name] = error
            if raise_exception:
                raise OpCheckError(
                    f"opcheck(op, ...): {name} failed with {error} (scroll up for stack trace)"
                ) from error
    return results


class Library:
    """Ops of one namespace, defined by their schemas."""

    def __init__(self, ns, kind, dispatch_key=""):
        if kind not in ("DEF", "IMPL", "FRAGMENT"):
            raise ValueError(f"Unsupported kind: {kind}")
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key

    def __repr__(self):
        return f"Library(kind={self.kind}, ns={self.ns}, dispatch_key={self.dispatch_key})>"

    def define(self, schema, alias_analysis="", *, tags=()):
        """An op without a kernel yet: "name(Tensor x) -> Tensor"."""
        name, bracket, rest = schema.partition("(")
        define(f"{self.ns}::{name}", bracket + rest)
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
