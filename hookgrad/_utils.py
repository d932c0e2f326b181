"""What pickles of tensors call, and small helpers that code written for PyTorch takes from `torch._utils`."""

from collections import OrderedDict, defaultdict

import hookgrad

from . import _C

# ---- What pickles call ---------------------------------------------------------------------------------------------


def _rebuild_tensor(storage, storage_offset, size, stride):
    """A tensor over the memory of a storage."""
    dtype = getattr(storage, "dtype", _C.uint8)
    if 0 in size:
        return _C.empty_strided(size, stride, dtype=dtype)
    whole = storage._whole()
    whole = whole[: len(whole) - len(whole) % dtype.itemsize]
    return whole.view(dtype).as_strided(size, stride, storage_offset).detach()


def _reduce_tensor(tensor):
    """How a tensor pickles: a function and its arguments."""
    from .storage import typed_of

    if tensor.is_meta and type(tensor) is hookgrad.Tensor:
        settings = tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.requires_grad
        return _rebuild_meta_tensor_no_storage, settings
    where = tensor.storage_offset(), tuple(tensor.shape), tensor.stride()
    made = _rebuild_tensor_v2, (typed_of(tensor), *where, tensor.requires_grad, OrderedDict())
    state = _get_obj_state(tensor)
    if type(tensor) is hookgrad.Tensor and not state:
        return made
    return _rebuild_from_type_v2, (made[0], type(tensor), made[1], state)


def _reduce_parameter(parameter):
    """Hooks stay behind: they belong to this run, not to the values. One of a class made of Parameter comes back a Parameter."""
    state = _get_obj_state(parameter)
    if state:
        return _rebuild_parameter_with_state, (parameter.data, parameter.requires_grad, OrderedDict(), state)
    return _rebuild_parameter, (parameter.data, parameter.requires_grad, OrderedDict())


def _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, metadata=None):
    tensor = _rebuild_tensor(storage, storage_offset, size, stride)
    tensor.requires_grad = requires_grad
    tensor._backward_hooks = backward_hooks
    return tensor


def _rebuild_meta_tensor_no_storage(dtype, size, stride, requires_grad):
    return _C.empty_strided(size, stride, dtype=dtype, device="meta", requires_grad=requires_grad)


def _rebuild_parameter(data, requires_grad, backward_hooks):
    parameter = hookgrad.nn.Parameter(data, requires_grad)
    parameter._backward_hooks = backward_hooks
    return parameter


def _rebuild_parameter_with_state(data, requires_grad, backward_hooks, state):
    return _set_obj_state(_rebuild_parameter(data, requires_grad, backward_hooks), state)


def _rebuild_from_type_v2(func, new_type, args, state):
    """What `func` makes of the arguments, as a tensor of the class, with its attributes."""
    tensor = func(*args)
    if type(tensor) is not new_type:
        requires_grad = tensor.requires_grad
        tensor = hookgrad.Tensor._make_subclass(new_type, tensor, requires_grad)
    if hasattr(new_type, "__setstate__"):
        tensor.__setstate__(state)
        return tensor
    return _set_obj_state(tensor, state)


def _get_obj_state(obj):
    """The attributes of an object, those in slots apart: a dict, or a pair of dicts, or what its class says they are."""
    from copyreg import _slotnames

    own = getattr(type(obj), "__getstate__", None)
    if own is not getattr(object, "__getstate__", None):
        return obj.__getstate__()
    slots = {name: getattr(obj, name) for name in _slotnames(type(obj)) if hasattr(obj, name)}
    state = dict(obj.__dict__)
    return (state, slots) if slots else state


def _set_obj_state(obj, state):
    if isinstance(state, tuple):
        if len(state) != 2:
            raise RuntimeError(f"Invalid serialized state: {state}")
        state, slots = state
    else:
        slots = None
    for name, value in [*(state or {}).items(), *(slots or {}).items()]:
        setattr(obj, name, value)
    return obj


# ---- Many tensors in one -------------------------------------------------------------------------------------------


def _flatten_dense_tensors(tensors):
    """The elements of all of them as one vector."""
    flat = [t.contiguous().view(-1) for t in tensors]
    return flat[0] if len(flat) == 1 else hookgrad.cat(flat)


def _unflatten_dense_tensors(flat, tensors):
    """Views of `flat` that have the shapes of `tensors`, one after the other."""
    made, start = [], 0
    for t in tensors:
        n = t.numel()
        made.append(flat.narrow(0, start, n).view(t.shape) if n else flat.new_empty(0))
        start += n
    return tuple(made)


def _take_tensors(tensors, size_limit):
    """Groups of tensors of one type, each of at most about `size_limit` bytes."""
    groups = defaultdict(lambda: ([], [0]))
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        group, total = groups[tensor.type()]
        if total[0] + size > size_limit and total[0] > 0:
            yield list(group)
            group.clear()
            total[0] = 0
        group.append(tensor)
        total[0] += size
    for group, _ in groups.values():
        if group:
            yield group


def _reorder_tensors_as(tensors, ordered_tensors):
    """The same tensors in an order of types as `ordered_tensors` has."""
    by_type = defaultdict(list)
    for tensor in tensors:
        by_type[tensor.type()].append(tensor)
    queues = {kind: iter(group) for kind, group in by_type.items()}
    return tuple(next(queues[tensor.type()]) for tensor in ordered_tensors)


# ---- Exceptions of other threads and processes ---------------------------------------------------------------------


class KeyErrorMessage(str):
    """The words of a KeyError, which print as they are instead of as a quoted key."""

    __slots__ = ()

    def __repr__(self):
        return str(self)


class ExceptionWrapper:
    """An exception with its traceback as text, to be raised somewhere else with `reraise()`."""

    def __init__(self, exc_info=None, where="in background"):
        import sys
        from traceback import format_exception

        exc_info = sys.exc_info() if exc_info is None else exc_info
        self.exc_type = exc_info[0]
        self.exc_msg = "".join(format_exception(*exc_info))
        self.where = where

    def reraise(self):
        message = f"Caught {self.exc_type.__name__} {self.where}.\nOriginal {self.exc_msg}"
        if self.exc_type is KeyError:
            message = KeyErrorMessage(message)
        elif getattr(self.exc_type, "message", None):
            raise self.exc_type(message=message)
        try:
            exception = self.exc_type(message)
        except Exception:
            raise RuntimeError(message) from None
        raise exception


# ---- Names and devices ---------------------------------------------------------------------------------------------


def _import_dotted_name(name):
    first, *rest = name.split(".")
    found = __import__(first)
    for part in rest:
        found = getattr(found, part)
    return found


def _element_size(dtype):
    """The bytes of one element."""
    if not isinstance(dtype, _C.dtype):
        raise RuntimeError(f"expected torch.dtype, but got {type(dtype)}")
    return dtype.itemsize


def _get_available_device_type():
    """None: there is no accelerator."""


def _get_device_index(device, optional=False, allow_cpu=False):
    """The number of a device: itself, or that of a torch.device; -1 for the CPU where that is allowed."""
    if isinstance(device, str):
        device = _C.device(device)
    index = None
    if isinstance(device, _C.device):
        if device.type == "cpu" and not allow_cpu:
            raise ValueError(f"Expected a non cpu device, but got: {device}")
        index = -1 if device.type == "cpu" else device.index
    elif isinstance(device, int):
        index = device
    if index is None and not optional:
        raise ValueError(f"Expected a torch.device with a specified index or an integer, but got:{device}")
    return index


class _ClassPropertyDescriptor:
    def __init__(self, fget, fset=None):
        self.fget = fget

    def __get__(self, instance, owner=None):
        return self.fget.__get__(instance, type(instance) if owner is None else owner)()


def classproperty(func):
    """A property of the class itself."""
    return _ClassPropertyDescriptor(func if isinstance(func, (classmethod, staticmethod)) else classmethod(func))
