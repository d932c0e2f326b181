"""The named tuples that operations with several results return: `torch.return_types.max` and its kin."""

from . import _C


def __getattr__(name):
    kind = None if name.startswith("__") else _C._result_type(name)
    if kind is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = kind
    return kind
