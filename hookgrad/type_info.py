"""The limits of dtypes, and what messages call them."""

from . import _C

# bits, largest, smallest step from 1, smallest normal number, decimal digits kept
_FLOATS = {
    _C.float16: (16, 65504.0, 2.0**-10, 2.0**-14, 1e-3),
    _C.bfloat16: (16, (2 - 2.0**-7) * 2.0**127, 2.0**-7, 2.0**-126, 1e-2),
    _C.float32: (32, (2 - 2.0**-23) * 2.0**127, 2.0**-23, 2.0**-126, 1e-6),
    _C.float64: (64, (2 - 2.0**-52) * 2.0**1023, 2.0**-52, 2.0**-1022, 1e-15),
    _C.float8_e4m3fn: (8, 448.0, 2.0**-3, 2.0**-6, 1.0),
    _C.float8_e5m2: (8, 57344.0, 2.0**-2, 2.0**-14, 1.0),
    _C.float8_e4m3fnuz: (8, 240.0, 2.0**-3, 2.0**-7, 1.0),
    _C.float8_e5m2fnuz: (8, 57344.0, 2.0**-3, 2.0**-15, 1.0),
}
_PARTS = {
    _C.complex32: _C.float16,
    _C.complex64: _C.float32,
    _C.complex128: _C.float64,
    float: _C.float64,
}  # of a number


def _name(dtype):
    return str(dtype)[len("torch.") :]


class finfo:
    """The limits of a floating-point dtype.

    >>> import hookgrad as torch
    >>> torch.finfo(torch.float32).eps
    1.1920928955078125e-07
    """

    def __init__(self, type=None):
        dtype = _C.get_default_dtype() if type is None else _PARTS.get(type, type)
        if dtype not in _FLOATS:
            raise TypeError(
                f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle {dtype}"
                if isinstance(dtype, _C.dtype)
                else f"finfo(): argument 'type' (position 1) must be torch.dtype, not {dtype.__class__.__name__}"
            )
        self.bits, self.max, self.eps, self.tiny, self.resolution = _FLOATS[dtype]
        self.min, self.smallest_normal, self.dtype = -self.max, self.tiny, _name(dtype)

    def __repr__(self):
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.tiny:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )

    def __eq__(self, other):
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __hash__(self):
        return hash(self.dtype)


class iinfo:
    """The limits of an integer dtype.

    >>> import hookgrad as torch
    >>> torch.iinfo(torch.int8)
    iinfo(min=-128, max=127, dtype=int8)
    """

    def __init__(self, type):
        type = _C.int64 if type is int else type
        if not isinstance(type, _C.dtype):
            raise TypeError(f"iinfo(): argument 'type' (position 1) must be torch.dtype, not {type.__class__.__name__}")
        if type.is_floating_point or type.is_complex or type == _C.bool:
            raise TypeError(f"torch.iinfo() requires an integer input type. Use torch.finfo to handle {type}")
        self.bits = type.itemsize * 8
        self.min = -(2 ** (self.bits - 1)) if type.is_signed else 0
        self.max = 2 ** (self.bits - 1) - 1 if type.is_signed else 2**self.bits - 1
        self.dtype = _name(type)

    def __repr__(self):
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"

    def __eq__(self, other):
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __hash__(self):
        return hash(self.dtype)


def scalar_type(dtype):
    """PyTorch's name for a dtype in its messages.

    >>> import hookgrad as torch
    >>> scalar_type(torch.int64)
    'Long'
    """
    return _C.empty(0, dtype=dtype).type().rpartition(".")[2].removesuffix("Tensor")


def not_for(kernel, dtype):
    """The error of a function whose kernel, PyTorch's name for it, has no loop for the dtype."""
    return NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_type(dtype)}'")
