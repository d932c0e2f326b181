"""Functions of torch's that are no ops: questions about tensors, dtypes and settings."""

from . import _C


def is_tensor(obj):
    """Is it a tensor?"""
    return isinstance(obj, _C.Tensor)


def is_storage(obj):
    """Is it the memory of a tensor?"""
    from .storage import TypedStorage, UntypedStorage

    return isinstance(obj, (UntypedStorage, TypedStorage))


def is_floating_point(input):
    """Is its dtype a floating-point one?"""
    return _C.Tensor.is_floating_point(input)


def is_inference(input):
    """Was it made in inference mode?"""
    return _C.Tensor.is_inference(input)


def is_complex(input):
    """Is its dtype a complex one? There are none."""
    return _C.Tensor.is_complex(input)


def numel(input):
    """How many elements it has."""
    return _C.Tensor.numel(input)


def nonzero(input, *, as_tuple=False, out=None):
    """Where it is not zero: a row of indices for each such element, or a tensor of indices for each dimension."""
    return _C.where(input) if as_tuple else _C.nonzero(input, out=out)


def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """Its distinct elements, or slices along a dimension; with the place of each and how often it occurs where wanted.

    >>> import hookgrad as torch
    >>> torch.unique(torch.tensor([3, 1, 3]))
    tensor([1, 3])
    """
    if dim is None:
        found = _C._unique2(input, sorted, return_inverse, return_counts)
    else:
        found = _C._unique_dim(input, dim, sorted, return_inverse, return_counts)
    return _wanted(found, return_inverse, return_counts)


def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """The first of every run of equal elements, or of equal slices along a dimension."""
    return _wanted(_C._unique_consecutive(input, return_inverse, return_counts, dim), return_inverse, return_counts)


def _wanted(found, inverse, counts):
    values, places, numbers = found
    if not inverse and not counts:
        return values
    return (values, *([places] if inverse else []), *([numbers] if counts else []))


def tensordot(a, b, dims=2, out=None):
    """Contract the last dimensions of one tensor with the first of another, or those that `dims` names."""
    if isinstance(dims, _C.Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        return _C.tensordot(a, b, dims, out=out)
    if len(dims) != 2:
        raise RuntimeError("tensordot expects dims to be a pair of lists")
    of_a, of_b = ([d] if isinstance(d, int) else list(d) for d in dims)
    return _C.tensordot(a, b, of_a, of_b, out=out)


def einsum(*args):
    """Sum products along named dimensions: an equation and operands, or each operand followed by its dimensions' numbers.

    >>> import hookgrad as torch
    >>> a = torch.ones(2, 3)
    >>> torch.einsum("ij->j", a)
    tensor([2., 2., 2.])
    >>> torch.einsum(a, [0, 1], [1])
    tensor([2., 2., 2.])
    """
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, "
            "or at least one operand and its subscripts list"
        )
    if isinstance(args[0], _C.Tensor):
        inputs = ",".join(_subscripts(args[i]) for i in range(1, len(args), 2))
        return _C.einsum(
            inputs + ("->" + _subscripts(args[-1]) if len(args) % 2 else ""), list(args[0 : len(args) & ~1 : 2])
        )
    return _C.einsum(*args)


def _subscripts(numbers):
    """The letters einsum gives to dimension numbers 0 to 51: A to Z, then a to z."""
    letters = ""
    for n in numbers:
        if n is Ellipsis:
            letters += "..."
        elif isinstance(n, int) and 0 <= n < 52:
            letters += chr(ord("A") + n) if n < 26 else chr(ord("a") + n - 26)
        else:
            raise ValueError("einsum(): subscript in subscript list is not within the valid range [0, 52)")
    return letters


def _each(op):
    """The op on one tensor, or on each of several."""

    def function(*tensors):
        if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
            tensors = tensors[0]
        elif len(tensors) == 1:
            return op(tensors[0])
        return tuple(op(t) for t in tensors)

    function.__name__ = function.__qualname__ = op.__name__
    function.__doc__ = op.__doc__
    return function


atleast_1d, atleast_2d, atleast_3d = map(_each, (_C.atleast_1d, _C.atleast_2d, _C.atleast_3d))


def is_nonzero(input):
    """Is its only element different from zero?"""
    return _C.Tensor.__bool__(input)


def result_type(tensor1, tensor2):
    """The dtype an operation on the two, tensors or numbers, would give.

    >>> import hookgrad as torch
    >>> torch.result_type(torch.tensor([1, 2]), 1.0)
    torch.float32
    """

    def empty(x):
        return _C.empty([0] * min(x.dim(), 1), dtype=x.dtype) if isinstance(x, _C.Tensor) else x

    a, b = empty(tensor1), empty(tensor2)
    if not isinstance(a, _C.Tensor) and not isinstance(b, _C.Tensor):
        return (_C.scalar_tensor(a) + b).dtype if isinstance(a, float) else (_C.tensor(b) + a).dtype
    return _C.add(a, b).dtype if a.__class__ is not bool or b.__class__ is not bool else _C.bool


def _category(dtype):
    return 2 if dtype.is_floating_point else 0 if dtype == _C.bool else 1


def can_cast(from_, to):
    """May an in-place operation with a result of one dtype write into a tensor of the other?"""
    return _category(from_) <= _category(to)


def _sizes(shape):
    return shape if isinstance(shape, (tuple, list)) else (shape,)


def broadcast_shapes(*shapes):
    """The shape tensors of these shapes take together.

    >>> import hookgrad as torch
    >>> torch.broadcast_shapes((2, 1), (3,))
    torch.Size([2, 3])
    """
    for shape in shapes:
        if not isinstance(shape, int) and not all(hasattr(size, "__index__") for size in _sizes(shape)):
            raise RuntimeError("Input shapes should be of type ints, a tuple of ints, or a list of ints, got ", shape)
    shapes = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    out = []
    for i in range(1, max(map(len, shapes), default=0) + 1):
        size = 1
        for shape in shapes:
            if i > len(shape):
                continue
            if shape[-i] < 0:
                raise RuntimeError(f"Trying to create tensor with negative dimension ({shape[-i]}): ({shape[-i]})")
            if shape[-i] != 1 and size not in (1, shape[-i]):
                raise RuntimeError(
                    "Shape mismatch: objects cannot be broadcast to a single shape: sizes "
                    f"{size} and {shape[-i]} at dimension -{i}"
                )
            if shape[-i] != 1:
                size = shape[-i]
        out.insert(0, size)
    return _C.Size(out)


def typename(obj):
    """The name of its type, with the module."""
    if isinstance(obj, _C.Tensor):
        return obj.type()
    kind = obj if isinstance(obj, type) else type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def compile(model=None, **options):
    """The function as it is: there is no compiler."""
    return (lambda model: model) if model is None else model


# ---- Settings that change nothing here -----------------------------------------------------------------------------

_settings = {"interop": None, "deterministic": False, "warn_only": False, "matmul": "highest"}


def get_num_interop_threads():
    """What set_num_interop_threads() was told; without it, 1."""
    return _settings["interop"] or 1


def set_num_interop_threads(n):
    """A number to be remembered: ops run one after another."""
    _settings["interop"] = n


def use_deterministic_algorithms(mode, *, warn_only=False):
    """Every algorithm here is deterministic already."""
    _settings["deterministic"], _settings["warn_only"] = mode, warn_only


def are_deterministic_algorithms_enabled():
    """What use_deterministic_algorithms() was told."""
    return _settings["deterministic"]


def is_deterministic_algorithms_warn_only_enabled():
    """Its `warn_only`."""
    return _settings["warn_only"]


_DEBUG_MODES = ("default", "warn", "error")


def get_deterministic_debug_mode():
    """0, 1 or 2: nothing is asked for, what is not deterministic warns, or fails."""
    return _settings["deterministic"] + (_settings["deterministic"] and not _settings["warn_only"])


def set_deterministic_debug_mode(debug_mode):
    """Set what get_deterministic_debug_mode() says: a number, or "default", "warn" or "error"."""
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    known = _DEBUG_MODES if isinstance(debug_mode, str) else range(3)
    if debug_mode not in known:
        one_of = ", ".join(f"`{mode}`" if isinstance(mode, str) else str(mode) for mode in known)
        raise RuntimeError(f"invalid value of debug_mode, expected one of {one_of}, but got {debug_mode}")
    mode = known.index(debug_mode)
    use_deterministic_algorithms(mode > 0, warn_only=mode == 1)


def cond(pred, true_fn, false_fn, operands=()):
    """true_fn(*operands), or false_fn(*operands) where `pred`, a bool or a tensor of one element, is false."""
    return (true_fn if pred else false_fn)(*operands)


def set_float32_matmul_precision(precision):
    """ "highest", "high" or "medium", to be remembered: products are those of float32."""
    if precision not in ("highest", "high", "medium"):
        from ._warn import warn

        warn(f"{precision} is not one of 'highest', 'high', or 'medium'; it has no effect", stacklevel=2)
        return
    _settings["matmul"] = precision


def get_float32_matmul_precision():
    """What set_float32_matmul_precision() was told."""
    return _settings["matmul"]


def set_default_device(device):
    """Where tensors are made that are not told where: "cpu", which None stands for, or "meta"."""
    from .utils import _device

    _device.set_default_device(device)


def get_default_device():
    """Where a tensor is made that is not told where."""
    from .utils import _device

    return _device.get_default_device()


def set_default_tensor_type(t):
    """PyTorch's old name for `set_default_dtype`: takes torch.DoubleTensor, or its name "torch.DoubleTensor"."""
    from ._warn import warn_once

    warn_once(
        "torch.set_default_tensor_type() is deprecated as of PyTorch 2.1, please use torch.set_default_dtype() and "
        "torch.set_default_device() as alternatives.",
        stacklevel=2,
    )
    if isinstance(t, str):
        import hookgrad

        t = getattr(hookgrad, t.removeprefix("torch."))
    dtype = getattr(t, "dtype", None)
    if not isinstance(dtype, _C.dtype):
        raise TypeError("invalid type object: only floating-point types are supported as the default type")
    if not dtype.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _C.set_default_dtype(dtype)


def _assert(condition, message):
    """`assert` as a function: AssertionError with the message where the condition, a bool or a tensor, does not hold."""
    if not condition:
        raise AssertionError(message)


def _check_with(error_type, cond, message=None):
    """Raise the error, with what `message` returns, unless the bool holds."""
    if not isinstance(cond, bool):
        raise TypeError(f"cond must be a bool, but got {type(cond)}")
    if cond:
        return
    if message is None:
        raise error_type(
            "Expected cond to be True, but got False. (Could this error message be improved? If so, please report an "
            "enhancement request to PyTorch.)"
        )
    if not callable(message):
        raise TypeError("message must be a callable")
    raise error_type(str(message()))


def _check(cond, message=None):
    """RuntimeError unless the bool holds.

    >>> import hookgrad as torch
    >>> torch._check(torch.ones(2).dim() == 1, lambda: "one dimension, please")
    """
    _check_with(RuntimeError, cond, message)


def _check_value(cond, message=None):
    _check_with(ValueError, cond, message)


def _check_type(cond, message=None):
    _check_with(TypeError, cond, message)


def _check_index(cond, message=None):
    _check_with(IndexError, cond, message)


def _check_not_implemented(cond, message=None):
    _check_with(NotImplementedError, cond, message)


def _check_is_size(i, message=None, *, max=None):
    _check(i >= 0 and (max is None or i <= max), message)


def _check_tensor_all(cond, message=None):
    """RuntimeError unless every element of a tensor of bool holds."""
    _check_tensor_all_with(RuntimeError, cond, message)


def _check_tensor_all_with(error_type, cond, message=None):
    if not isinstance(cond, _C.Tensor):
        raise TypeError(f"cond must be a tensor, but got {type(cond)}")
    if cond.dtype != _C.bool:
        raise TypeError(f"cond tensor must have dtype torch.bool, but got {cond.dtype}")
    _check_with(error_type, bool(cond.all()), message)


def _assert_async(input, assert_msg="Expected Tensor with single nonzero value, but got zero"):
    """RuntimeError where the one element of the tensor is zero: at once, for there is nothing to wait for."""
    if not input:
        raise RuntimeError(assert_msg)


def set_flush_denormal(mode):
    """Asks for denormal numbers to become zero; hookgrad keeps them, and says so with False."""
    return False


_warn_always = False


def is_warn_always_enabled():
    """Do warnings that come once come each time?"""
    return _warn_always


def set_warn_always(b):
    """Let warnings that come once in a process come each time."""
    global _warn_always
    _warn_always = b
    _C._set_warn_always(b)


def __getattr__(name):
    if name in _ELSEWHERE:
        import hookgrad

        return getattr(hookgrad, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Functions of torch's that are also known by this module.
_ELSEWHERE = frozenset(
    """block_diag broadcast_tensors cartesian_prod cdist chain_matmul lu meshgrid norm pca_lowrank split svd_lowrank
    unravel_index Tensor""".split()
)
