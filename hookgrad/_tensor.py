"""What tensors do rarely: text, copies, pickles, and methods made of others. Added to the core's type at import."""

from . import _C, functional

Tensor = _C.Tensor


def _method(function):
    """Make the function a method of Tensor, under its own name."""
    function.__qualname__ = f"Tensor.{function.__name__}"
    setattr(Tensor, function.__name__, function)
    return function


def _asked(function):
    """The same for what Python calls by itself: a class with a `__torch_function__` is asked of it."""

    def method(self, *args, **kwargs):
        if _C._overridden(self) and (type(self) is not Tensor or function.__name__ != "__reduce_ex__"):
            from .overrides import _call

            return _call(getattr(Tensor, function.__name__), (self, *args), kwargs)
        return function(self, *args, **kwargs)

    method.__name__ = function.__name__
    return _method(method)


# ---- Text ----------------------------------------------------------------------------------------------------------


@_asked
def __repr__(self, *, tensor_contents=None):
    from ._tensor_str import _str

    return _str(self, tensor_contents=tensor_contents)


@_asked
def __format__(self, spec):
    if self.dim() == 0 and type(self) is Tensor:
        return self.item().__format__(spec)
    return object.__format__(self, spec)


# ---- Operators --------------------------------------------------------------------------------------------------------


def _name_operator(slot, name):
    """Show a method that Python calls for an operator under the name that PyTorch has for it."""
    operator = Tensor.__dict__[slot]

    def method(self, *args):
        return operator(self, *args)

    method.__name__, method.__qualname__ = name, f"Tensor.{slot}"
    _C._name_operator(slot, method)


for _slot, _name in {"__pow__": "pow", "__ipow__": "pow_", "__rtruediv__": "__rdiv__"}.items():
    _name_operator(_slot, _name)


# ---- Copies and pickles --------------------------------------------------------------------------------------------


@_asked
def __reduce_ex__(self, protocol):
    if self._backward_hooks:
        from .utils.hooks import warn_if_has_hooks

        warn_if_has_hooks(self)
    from ._utils import _reduce_tensor

    return _reduce_tensor(self)


@_method
def module_load(self, other, assign=False):
    """What takes this parameter's place where a module loads `other` by swapping: see `torch.__future__`."""
    if _C._overridden(other) and not _C._overridden(self):
        from .overrides import _call

        return _call(Tensor.module_load, (self, other), {"assign": assign})
    return other.detach() if assign else self.copy_(other).detach()


def _reduced_otherwise(kind):
    """Does the class say itself what its copies and pickles are? Those made of Parameter do: a Parameter."""
    from .nn.parameter import Parameter

    return kind is not Parameter and kind.__reduce_ex__ is not Tensor.__reduce_ex__


@_method
def __copy__(self):
    kind = type(self)
    if _C._overridden(self) or kind is not Tensor and _reduced_otherwise(kind) or self.is_inference():
        from copy import _reconstruct

        return _reconstruct(self, None, *self.__reduce_ex__(4))
    if self._backward_hooks and kind is Tensor:  # a Parameter leaves them behind without a word
        from .utils.hooks import warn_if_has_hooks

        warn_if_has_hooks(self)
    copy = self.detach() if kind is Tensor else Tensor._make_subclass(kind, self)
    copy.requires_grad = self.requires_grad
    copy._backward_hooks = {}
    if self.__dict__:
        copy.__dict__.update(self.__dict__)
    return copy


@_asked
def __deepcopy__(self, memo):
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  "
            "If you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, "
            "see https://github.com/pytorch/pytorch/pull/103001"
        )
    if id(self) in memo:
        return memo[id(self)]
    from copy import deepcopy

    if _C._is_hollow(self):  # what it is made of is its class's business
        with _no_grad():
            copy = self.clone()
        if type(copy) is not type(self):
            raise RuntimeError(
                "The default implementation of __deepcopy__() for wrapper subclasses only works for subclass types that implement "
                f"__torch_dispatch__ and for which cloning returns another instance of the same subclass: of {type(self)} it gave "
                f"a {type(copy)}"
            )
        copy.requires_grad = self.requires_grad
        memo[id(self)] = copy
        from ._utils import _get_obj_state, _set_obj_state

        _set_obj_state(copy, deepcopy(_get_obj_state(self), memo))
        if self.grad is not None:
            copy.grad = deepcopy(self.grad, memo)
        return copy

    # Tensors on one storage stay together: the storage is copied once, and each is a view of the copy.
    from .storage import copied

    with _no_grad():
        copy = copied(self.detach()._storage_bytes(), memo)
        if self.dtype != _C.uint8:
            copy = copy.view(self.dtype)
        copy = copy.as_strided(self.shape, self.stride(), self.storage_offset()).detach()
    if type(self) is Tensor:
        copy.requires_grad = self.requires_grad
    else:
        copy = Tensor._make_subclass(type(self), copy, self.requires_grad)
    memo[id(self)] = copy
    if self.__dict__:
        copy.__dict__.update(deepcopy(self.__dict__, memo))
    if type(self) is not Tensor:
        from copyreg import _slotnames

        for name in _slotnames(type(self)):
            if hasattr(self, name):
                setattr(copy, name, deepcopy(getattr(self, name), memo))
    if self.is_leaf and self.grad is not None:
        copy.grad = deepcopy(self.grad, memo)
    return copy


class _no_grad:
    def __enter__(self):
        self.was = _C._grad_mode(False)

    def __exit__(self, *exc):
        _C._grad_mode(self.was)


# ---- Containers ----------------------------------------------------------------------------------------------------


@_asked
def __contains__(self, element):
    if isinstance(element, (Tensor, int, float, bool)):
        return bool((element == self).any())
    raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")


@_asked
def __reversed__(self):
    return self if self.dim() == 0 else self.flip(0)


@_method
def __dir__(self):
    return sorted({*dir(type(self)), *self.__dict__})


del __dir__  # what a module has under that name is its own


@_method
def __complex__(self):
    return complex(float(self))


# ---- Memory --------------------------------------------------------------------------------------------------------


@_method
def untyped_storage(self):
    """The bytes it lies in, which other tensors may share."""
    from .storage import UntypedStorage

    return UntypedStorage._of(self)


@_method
def storage(self):
    """The bytes it lies in, as elements of its dtype."""
    from .storage import _warn, typed_of

    _warn()
    return typed_of(self)


@_method
def _typed_storage(self):
    from .storage import typed_of

    return typed_of(self)


@_method
def is_shared(self):
    """Is its memory shared with processes that are forked from now on?"""
    return self.untyped_storage().is_shared()


@_method
def share_memory_(self):
    """Move it into memory that this process and those forked from now on both read and write; returns itself.

    Other views of the memory it had stay there.
    """
    from .autograd.grad_mode import inference_mode
    from .storage import shared_copy

    if not self.is_shared():
        with inference_mode(self.is_inference()):
            self.data = shared_copy(self)
    return self


@_method
def is_pinned(self, device=None):
    """Is its memory locked for an accelerator? Never."""
    if device is not None:
        from ._warn import warn

        words = "The argument 'device' of Tensor.is_pinned() is deprecated. Please do not pass this argument."
        warn(words, DeprecationWarning, stacklevel=2)
    return False


@_method
def pin_memory(self, device=None):
    """Itself: there is no accelerator to copy to."""
    return self


@_method
def set_(self, source=None, storage_offset=None, size=None, stride=None):
    """Show another tensor's memory from here on; returns itself."""
    kind = getattr(source, "dtype", self.dtype)
    if kind != self.dtype:
        raise RuntimeError(f"set_(): expected the memory of a tensor of {self.dtype}, got {kind}")
    if source is None:
        source = _C.empty(0, dtype=self.dtype)
    elif not isinstance(source, Tensor):
        source = source._whole().view(self.dtype)
    if size is not None:
        if stride is None:
            stride = _strides(size)
        source = source.as_strided(size, stride, storage_offset or 0)
    if self.requires_grad and _C.is_grad_enabled() and self.is_leaf:
        self.zero_()  # refused, as any op in place
    kept, source = source, source.detach()  # it may be self
    # Another dtype in between: a leaf gets a new accumulator, whatever its shape was.
    _C._increment_version(self)
    self.data = source.to(_C.float32 if source.dtype == _C.float64 else _C.float64)
    self.data = source
    if kept is not self:
        from .nn._whole import written_without_derivative

        written_without_derivative("set_", self, kept)
    return self


@_method
def as_strided_(self, size, stride, storage_offset=None):
    """Change its shape and strides over its memory; returns itself."""
    offset = self.storage_offset()
    return self._as_strided_(size, stride, offset if storage_offset is None else storage_offset, self.stride(), offset)


def _strides(size, memory_format=None):
    """Those of a new tensor. A contiguous one need not fit into memory."""
    if memory_format not in (None, _C.contiguous_format):
        return _C.empty(size, dtype=_C.bool, memory_format=memory_format).stride()
    strides, step = [], 1
    for n in reversed(size):
        strides.insert(0, step)
        step *= max(n, 1)
    return strides


_MOST_BYTES = 2**63 - 1


@_method
def resize_(self, *size, memory_format=None):
    """Give it another size; elements beyond the old ones are uninitialised."""
    if self.requires_grad and not _C.is_inference_mode_enabled():
        raise RuntimeError("cannot resize variables that require grad")
    size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    if size == tuple(self.shape) and memory_format is None:
        return self
    n = 1
    for one in size:
        n *= one
    if any(one < 0 for one in size) or n * self.element_size() > _MOST_BYTES:
        raise RuntimeError(f"Storage size calculation overflowed with sizes={list(size)}")
    offset, item = self.storage_offset(), self.element_size()
    memory, end = self._storage_bytes(), (offset + n) * item
    if n and end > memory.numel():
        grown = _C.empty(end, dtype=_C.uint8, device=self.device)
        grown[: memory.numel()] = memory
        memory = grown
    whole = memory[: memory.numel() // item * item].view(self.dtype)
    _C._increment_version(self)
    self.data = whole.as_strided(size, _strides(size, memory_format), offset)
    return self


@_method
def resize_as_(self, other, memory_format=None):
    """Give it the size of another tensor; with `preserve_format` its order in memory too."""
    if memory_format == _C.preserve_format:
        formats = {4: _C.channels_last, 5: _C.channels_last_3d}
        memory_format = formats.get(other.dim())
        if memory_format is None or other.is_contiguous() or not other.is_contiguous(memory_format=memory_format):
            memory_format = None
    return self.resize_(other.shape, memory_format=memory_format)


@_method
def resize(self, *sizes):
    """The same elements in another shape, as PyTorch spelled it first: deprecated."""
    from ._warn import warn
    from .autograd._functions import Resize

    warn("non-inplace resize is deprecated", stacklevel=2)
    return Resize.apply(self, sizes)


@_method
def resize_as(self, tensor):
    """The same elements in the shape of another tensor, as PyTorch spelled it first: deprecated."""
    from ._warn import warn
    from .autograd._functions import Resize

    warn("non-inplace resize_as is deprecated", stacklevel=2)
    return Resize.apply(self, tensor.size())


@_method
def new(self, *args, **kwargs):
    """A tensor of its dtype: uninitialised of the sizes given, or with the data given."""
    return _legacy(self.dtype, args, **kwargs)


@_method
def nonzero(self, *, as_tuple=False):
    """Where it is not zero: a row of indices for each such element, or a tensor of indices for each dimension."""
    return _C.where(self) if as_tuple else _C.nonzero(self)


@_method
def unique(self, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """Its distinct elements, or slices along a dimension."""
    return functional.unique(self, sorted, return_inverse, return_counts, dim)


@_method
def unique_consecutive(self, return_inverse=False, return_counts=False, dim=None):
    """The first of every run of equal elements, or of equal slices along a dimension."""
    return functional.unique_consecutive(self, return_inverse, return_counts, dim)


@_method
def is_nonzero(self):
    """Is its only element different from zero?"""
    return bool(self)


@_method
def dim_order(self, ambiguity_check=False):
    """Its dimensions from the outermost in memory to the innermost.

    With `ambiguity_check` there must be one such order only, or that of one of the memory formats in the list.
    """
    strides = self.stride()
    if not isinstance(ambiguity_check, (bool, list)):
        raise TypeError("The ambiguity_check argument must be a bool or a list of memory formats.")
    formats = ambiguity_check if isinstance(ambiguity_check, list) else []
    unique = 1 not in self.shape and len(set(strides)) == len(strides)
    if ambiguity_check and not unique:
        if sum(self.is_contiguous(memory_format=form) for form in formats) != 1:
            raise RuntimeError(
                "The tensor does not have unique dim order, or cannot map to exact one of the given memory formats."
            )
    return tuple(sorted(range(self.dim()), key=lambda i: -strides[i]))


def _replace(self, values):
    """Write the values behind autograd's back, as functions called for each element do; returns self."""
    from .autograd.grad_mode import _unsafe_preserve_version_counter

    written = self.detach()  # which may be written to where self is of inference mode
    with _unsafe_preserve_version_counter(written):
        written.copy_(_C.tensor(values, dtype=self.dtype).view(self.shape))
    return self


def _refuse_gradient(self, name):
    if self.requires_grad:
        raise RuntimeError(f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead.")


@_method
def map_(self, other, function):
    """Replace each element by function(element, element of other)."""
    _refuse_gradient(self, "map_")
    if self.dtype != other.dtype:
        raise TypeError(f"map_: expected other of {self.dtype} (got {other.dtype})")
    return _map(self, function, other)


@_method
def map2_(self, x, y, function):
    """Replace each element by function(element, element of x, element of y)."""
    _refuse_gradient(self, "map2_")
    return _map(self, function, x, y)


def _map(self, function, *others):
    return _replace(self, list(map(function, *(t.expand_as(self).flatten().tolist() for t in (self, *others)))))


@_method
def apply_(self, function):
    """Replace each element by function(element)."""
    _refuse_gradient(self, "apply_")
    values = [function(x) for x in self.flatten().tolist()]
    if any(isinstance(value, str) for value in values):
        raise TypeError("must be real number, not str")
    return _replace(self, values)


def real(self):
    return self


def imag(self):
    raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")


Tensor.real = property(real, doc="Its real part: itself, as there are no complex dtypes.")
Tensor.imag = property(imag, doc="Of complex dtypes only.")


@_method
def _is_view(self):
    """Whether it shares the memory of another tensor, in a way autograd knows of."""
    return self._base is not None


@_method
def _view_func(self, new_base):
    """The same view of another base; None where this tensor is no view, or that base is made otherwise than its own."""
    base = self._base
    if base is None or base.shape != new_base.shape or base.stride() != new_base.stride():
        return None
    return self._view_func_unsafe(new_base)


@_method
def _view_func_unsafe(self, new_base):
    """The same view of another base, however that is made."""
    base = self._base
    return new_base.as_strided(
        self.size(), self.stride(), self.storage_offset() - base.storage_offset() + new_base.storage_offset()
    )


@_method
def _use_count(self):
    """How many own its core: the one Python object that it is."""
    return 1


_DOCS = "https://docs.pytorch.org/docs/stable/generated/torch"


def _late(name, home):
    """A method that is a function of a module which comes with the first call."""

    def method(self, *args, **kwargs):
        from importlib import import_module

        return getattr(import_module(home), name)(self, *args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"{home}.{name}() of this tensor.\n\nSource: {_DOCS}.Tensor.{name}.html"
    return _method(method)


for _home, _names in {
    "old_linalg": """cholesky cholesky_inverse cholesky_solve lu lu_solve orgqr ormqr pinverse qr svd
        triangular_solve""",
    "_rare": "nonzero_static",
    "composites": """adjoint angle as_strided_scatter cauchy_ conj conj_physical conj_physical_ diagonal_scatter
        fill_diagonal_ float_power_ frexp gcd gcd_ geometric_ index_reduce index_reduce_ is_conj is_neg isreal lcm lcm_
        ldexp ldexp_ log_normal_ nanmedian narrow_copy new_empty_strided nextafter nextafter_ put put_ renorm renorm_
        resolve_conj resolve_neg select_scatter slice_scatter sum_to_size""",
    "_statistics": "corrcoef cov diff histc histogram nanquantile quantile",
    "_gamma": "igamma igamma_ igammac igammac_",
    "special": "i0 i0_ mvlgamma mvlgamma_ polygamma_",
}.items():
    for _name in _names.split():
        _late(_name, f"{__package__}.{_home}")


@_method
def _is_all_true(self):
    """Are all elements of a tensor of bool true? A tensor."""
    return self.all()


@_method
def _is_any_true(self):
    """Is any element of a tensor of bool true? A tensor."""
    return self.any()


@_method
def is_distributed(self):
    """Is it spread over processes? Never."""
    return False


@_method
def polygamma(self, n):
    """The n-th derivative of digamma."""
    return _C.special.polygamma(n, self)


class _WeakTensorRef:
    """A weak reference to a tensor that can be asked whether it has gone."""

    def __init__(self, tensor):
        from weakref import ref

        self._ref = ref(tensor)

    def expired(self):
        return self._ref() is None


_C._TensorMeta = type(_C.Tensor)
_C._get_default_device = lambda: "cpu"
_C._log_api_usage_once = lambda event: None  # nobody counts what is used
_C._WeakTensorRef = _WeakTensorRef


# ---- Classes made of it --------------------------------------------------------------------------------------------


class DisableTorchFunctionSubclass:
    """A context in which tensors of every class count as plain ones."""

    def __enter__(self):
        _C._override_off(1)

    def __exit__(self, *exc):
        _C._override_off(-1)


_C.DisableTorchFunctionSubclass = DisableTorchFunctionSubclass

_OF_OVERRIDES = """DisableTorchFunction _EnableTorchFunction _get_function_stack_at _is_torch_function_all_disabled
    _len_torch_function_stack""".split()


def _late_in_core(name):
    """What `torch._C` has that is Python here and comes with its first use."""
    if name in _OF_OVERRIDES:
        from . import overrides

        return getattr(overrides, name)
    if name == "_get_tracing_state":
        return lambda: None  # nothing is traced
    if name == "Graph":  # of a traced function: for annotations
        from .fx import Graph

        return Graph
    if name in ("DispatchKey", "DispatchKeySet"):
        from . import library

        return getattr(library, name)
    if name == "_are_functorch_transforms_active":
        return lambda: False
    raise AttributeError(f"module 'torch._C' has no attribute {name!r}")


_C.__getattr__ = _late_in_core
_C.__class__ = _C._Package  # the names it has are found first


def __init_subclass__(cls, **kwargs):
    super(Tensor, cls).__init_subclass__(**kwargs)
    if cls.__torch_dispatch__ is not _C._disabled_torch_dispatch_impl:
        _watch_dispatch()
        if getattr(cls.__torch_function__, "__func__", None) is __torch_function__:
            cls.__torch_function__ = (
                _C._disabled_torch_function_impl
            )  # who sees ops need not be asked of functions, too
    if cls.__torch_function__ is not _C._disabled_torch_function_impl:  # else it counts as a plain tensor
        from .overrides import _watch

        _watch(cls)


def _watch_dispatch():
    """There is a class with a `__torch_dispatch__`: from here on ops ask it."""
    from .utils._python_dispatch import _dispatch

    _C._dispatch_with(_dispatch)
    _C._dispatch_classes()


def _make_wrapper_subclass(
    cls,
    size,
    strides=None,
    storage_offset=None,
    memory_format=None,
    dtype=None,
    layout=None,
    device=None,
    pin_memory=False,
    requires_grad=False,
    dispatch_sizes_strides_policy=None,
    dispatch_device=False,
    dispatch_layout=False,
    _extra_dispatch_keys=None,
    storage_size=None,
):
    """A tensor of a class with a `__torch_dispatch__`, of that size and with no values of its own."""
    if not isinstance(cls, type):
        raise TypeError(f"cls must be a type (got {type(cls).__name__})")
    if getattr(cls, "__torch_dispatch__", _C._disabled_torch_dispatch_impl) is _C._disabled_torch_dispatch_impl:
        raise TypeError(f"{cls.__name__} must define __torch_dispatch__")
    dtype = _C.get_default_dtype() if dtype is None else dtype
    if strides is None:
        strides = _strides(size, memory_format)
    offset = storage_offset or 0
    if storage_size is None:
        last = sum((n - 1) * step for n, step in zip(size, strides))
        storage_size = (offset + last + 1) * dtype.itemsize if 0 not in size else 0
    made = _C._hollow(cls, dtype, tuple(size), tuple(strides), offset, storage_size)
    if requires_grad:
        made.requires_grad_()
    return made


Tensor._make_wrapper_subclass = staticmethod(_make_wrapper_subclass)
Tensor.__torch_dispatch__ = _C._disabled_torch_dispatch_impl


def __torch_function__(cls, func, types, args=(), kwargs=None):
    """What a function gives for tensors of this class: the result of the plain function, of this class."""
    from .overrides import _default

    return _default(cls, func, types, args, kwargs)


Tensor.__init_subclass__ = classmethod(__init_subclass__)
Tensor.__torch_function__ = classmethod(__torch_function__)


# ---- Old constructors ----------------------------------------------------------------------------------------------


def _legacy(dtype, args, device=None, size=None):
    if size is not None:
        args = (_C.Size(size),)
    if len(args) == 1 and isinstance(args[0], Tensor):
        if args[0].dtype != dtype:
            raise TypeError(f"expected {dtype} (got {args[0].dtype})")
        return args[0].detach()
    if len(args) == 1 and hasattr(args[0], "_whole"):
        return _C.empty(0, dtype=dtype).set_(args[0])
    if len(args) == 1 and not isinstance(args[0], (int, _C.Size)):
        return _C.tensor(args[0], dtype=dtype)
    size = args[0] if len(args) == 1 and isinstance(args[0], _C.Size) else args
    return _C.empty(tuple(size) if args else (0,), dtype=dtype)


class LegacyType(type):
    """The type of torch.FloatTensor and its kin: constructors that know a dtype, and types for isinstance()."""

    def __new__(cls, name, bases, members):
        if bases:
            raise TypeError(f"type 'torch.{bases[0].__name__}' is not an acceptable base type")
        return super().__new__(cls, name, bases, members)

    def __call__(self, *args, **kwargs):
        if self.is_cuda:
            raise TypeError(f"type torch.cuda.{self.__name__} not available. Torch not compiled with CUDA enabled.")
        return _legacy(self.dtype, args, **kwargs)

    def __instancecheck__(self, instance):
        return isinstance(instance, Tensor) and instance.dtype == self.dtype and not self.is_cuda

    def __repr__(self):
        return f"<class 'torch{'.cuda' if self.is_cuda else ''}.{self.__name__}'>"


def legacy_type(name, dtype, is_cuda=False):
    """torch.FloatTensor, of that name and dtype; those of CUDA can be named and asked for, and make nothing."""
    known = {
        "__doc__": f"Makes tensors of {dtype}, of sizes or of values; each is an instance.",
        "dtype": dtype,
        "layout": _C.strided,
        "is_cuda": is_cuda,
        "is_sparse": False,
        "is_xpu": False,
    }
    return LegacyType(name, (), {"__module__": __package__ + ".cuda" * is_cuda, **known})
