"""Tensors with a role in a module: parameters, which are learned, and buffers, which are merely kept."""

import hookgrad

from .. import _C


class _Marked(type(hookgrad.Tensor)):
    """A tensor of another class that bears the mark of this one is an instance too."""

    def __instancecheck__(cls, instance):
        mark = cls.__dict__.get("_mark")
        if mark and isinstance(instance, hookgrad.Tensor) and getattr(instance, mark, False):
            return True
        return super().__instancecheck__(instance)


class _ParameterMeta(_Marked):
    """The type of `Parameter`."""


class _BufferMeta(_Marked):
    """The type of `Buffer`."""


class Parameter(hookgrad.Tensor, metaclass=_ParameterMeta):
    """A tensor that a module learns. Assigned to an attribute of a module it joins `module.parameters()`.

    It requires a gradient unless told otherwise, even when made under `no_grad()`, and shares its memory with `data`.

    >>> import hookgrad as torch
    >>> torch.nn.Parameter(torch.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html
    """

    _mark = "_is_param"
    __torch_function__ = _C._disabled_torch_function_impl

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = hookgrad.empty(0)
        if type(data) is hookgrad.Tensor or type(data) is Parameter:
            return hookgrad.Tensor._make_subclass(cls, data, requires_grad)
        # An instance of a user's own class keeps that class: it becomes a parameter by a mark.
        t = data.detach()._requires(requires_grad)
        if type(t) is not type(data):
            if type(data).detach is not hookgrad.Tensor.detach:
                raise RuntimeError(
                    f"Parameter(): data of type {type(data).__name__} requires that detach() returns an instance of the "
                    f"same type, not of {type(t).__name__}"
                )
            t = hookgrad.Tensor._make_subclass(type(data), data, requires_grad)
        t._is_param = True
        return t

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), self.requires_grad)
        return memo[id(self)]

    def __repr__(self):
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, protocol):
        from .._utils import _reduce_parameter

        return _reduce_parameter(self)


_C._set_parameter_type(Parameter)

#: empty_parameter(size, device=None, dtype=None): what Parameter(empty(...)) is, in one call.
empty_parameter = hookgrad.Tensor._empty_parameter


class Buffer(hookgrad.Tensor, metaclass=_BufferMeta):
    """A tensor that is part of a module's state but not learned, as a running mean is.

    Assigned to an attribute of a module it joins `module.buffers()`, and with `persistent` also its `state_dict()`.
    What this returns is an ordinary tensor that carries a mark: `isinstance(buffer, Buffer)` sees it.

    >>> import hookgrad as torch
    >>> module = torch.nn.Module()
    >>> module.count = torch.nn.Buffer(torch.zeros(1))
    >>> list(module.state_dict())
    ['count']

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Buffer.html
    """

    _mark = "_is_buffer"
    __torch_function__ = _C._disabled_torch_function_impl

    def __new__(cls, data=None, *, persistent=True):
        if data is None:
            data = hookgrad.empty(0)
        t = data.detach()._requires(data.requires_grad)
        t.persistent = persistent
        t._is_buffer = True
        return t


class UninitializedTensorMixin:
    """What parameters and buffers without a shape share: all one can do with them is to give them one."""

    __slots__ = ()
    cls_to_become = None
    __torch_function__ = _C._disabled_torch_function_impl

    def materialize(self, shape, device=None, dtype=None):
        """Give it a shape, in place: it becomes an ordinary parameter or tensor, with whatever is in the memory."""
        self.data = hookgrad.empty(shape, device=device, dtype=self.dtype if dtype is None else dtype)
        self.__class__ = self.cls_to_become

    @property
    def shape(self):
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. "
            "Call `forward` to initialize the parameters before accessing their attributes."
        )

    def __repr__(self):
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, dtype=self.dtype)
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        return type(self), (self.requires_grad, None, self.dtype)

    def share_memory_(self):
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize the parameters "
            "before calling `module.share_memory()`."
        )


# The methods that operators call in PyTorch, where they are not called as the operator.
_CALLED = {f"__{name}__": name for name in "abs add ge gt le lt mul ne neg sub".split()}
_CALLED.update(__radd__="add", __rmul__="mul", __truediv__="div")


def _refused(name):
    name = _CALLED.get(name, name)

    def method(self, *args, **kwargs):
        raise ValueError(
            f"Attempted to use an uninitialized parameter in <method '{name}' of 'torch._C.TensorBase' objects>. This "
            "error happens when you are using a `LazyModule` or explicitly manipulating "
            f"`torch.nn.parameter.{type(self).__name__}` objects. When using LazyModules Call `forward` with a dummy "
            "batch to initialize the parameters before calling torch functions"
        )

    return method


# What a tensor without a shape can do: be converted, be asked for its kind. Every other method says what is missing.
_ALLOWED = frozenset(
    """__copy__ size copy_ is_complex is_floating_point half float double char short int long cuda cpu to get_device
    __hash__ __deepcopy__ __reduce__ __reduce_ex__ __repr__ __format__ __setstate__ __dir__ __new__ __init__ __setattr__
    __getattribute__ __delattr__ __torch_function__ __torch_dispatch__ __class__ __init_subclass__""".split()
)
for _name, _value in vars(hookgrad.Tensor).items():
    _private = _name.startswith("_") and not _name.startswith("__")
    if not _private and callable(_value) and _name not in _ALLOWED and _name not in vars(UninitializedTensorMixin):
        setattr(UninitializedTensorMixin, _name, _refused(_name))


_C._refuse_in_functions(UninitializedTensorMixin)


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape is not known yet: see `LazyModuleMixin`.

    >>> UninitializedParameter()
    <UninitializedParameter>

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.UninitializedParameter.html
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        return hookgrad.Tensor._make_subclass(cls, hookgrad.empty(0, device=device, dtype=dtype), requires_grad)


class UninitializedBuffer(UninitializedTensorMixin, hookgrad.Tensor):
    """A buffer whose shape is not known yet: see `LazyModuleMixin`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.UninitializedBuffer.html
    """

    cls_to_become = hookgrad.Tensor

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        t = hookgrad.Tensor._make_subclass(cls, hookgrad.empty(0, device=device, dtype=dtype), requires_grad)
        t.persistent = persistent
        t._is_buffer = True
        return t


def _converting(name):
    def method(self, *args, **kwargs):
        t = getattr(hookgrad.Tensor, name)(self, *args, **kwargs)
        return t if t is self else hookgrad.Tensor.as_subclass(t, type(self))

    return method


for _name in "half float double char short int long cuda cpu to".split():
    setattr(UninitializedBuffer, _name, _converting(_name))


def is_lazy(param):
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(param, UninitializedTensorMixin)
