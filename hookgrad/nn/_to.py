"""What `Module.to()` takes: a device, a dtype, a tensor that has both; and the words in which it refuses anything else."""

import hookgrad

_NAMES = ("device", "dtype", "non_blocking", "copy")
_TYPES = {
    "device": (str, hookgrad.device, int),
    "dtype": hookgrad.dtype,
    "tensor": hookgrad.Tensor,
    "non_blocking": bool,
    "copy": bool,
    "memory_format": hookgrad.memory_format,
}
_SIGNATURES = """
 * (torch.device device = None, torch.dtype dtype = None, bool non_blocking = False, bool copy = False, *, torch.memory_format memory_format = None)
 * (torch.dtype dtype, bool non_blocking = False, bool copy = False, *, torch.memory_format memory_format = None)
 * (Tensor tensor, bool non_blocking = False, bool copy = False, *, torch.memory_format memory_format = None)
"""


def parse_to(*args, **kwargs):
    """The device, the dtype, non_blocking and the memory format that the arguments of `to()` name."""
    names = _NAMES
    if args and isinstance(args[0], (float, bool)):  # a number stands for a tensor of it
        args = (
            hookgrad.scalar_tensor(args[0], dtype=hookgrad.float64 if type(args[0]) is float else hookgrad.bool),
            *args[1:],
        )
    if args and isinstance(args[0], hookgrad.dtype):
        names = names[1:]
    elif args and isinstance(args[0], hookgrad.Tensor):
        names = ("tensor", *names[2:])
    given = dict(zip(names, args))
    fits = len(args) <= len(names) and not given.keys() & kwargs.keys()
    given.update(kwargs)
    for name, value in given.items():
        optional = value is None and name in ("device", "dtype", "memory_format")
        fits = fits and name in _TYPES and (optional or isinstance(value, _TYPES[name]))
    if not fits or "tensor" in given and ("device" in given or "dtype" in given):
        shown = [
            type(value).__name__ if type(value).__module__ == "builtins" else hookgrad.typename(value) for value in args
        ]
        shown += [f"{name}={type(value).__name__}" for name, value in kwargs.items()]
        raise TypeError(
            f"to() received an invalid combination of arguments - got ({', '.join(shown)}), but expected one of:"
            + _SIGNATURES
        )
    if given.get("copy"):
        raise RuntimeError(".to() does not accept copy argument")
    device, dtype = given.get("device"), given.get("dtype")
    if "tensor" in given:
        device, dtype = given["tensor"].device, given["tensor"].dtype
    if device is not None:
        device = hookgrad.device(device)
    return device, dtype, given.get("non_blocking", False), given.get("memory_format")
