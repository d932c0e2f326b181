"""The named tuples that operations with several results return: `torch.return_types.max` and its kin."""

from . import _C


def __getattr__(name):
    kind = None if name.startswith("__") else _C._result_type(name)
    if kind is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = kind
    return kind


def named(kind, *fields):
    """The class of named tuples that a function made in Python returns: `torch.return_types.<kind>`."""
    if kind in globals():
        return globals()[kind]
    from collections import namedtuple

    class Result(namedtuple(kind, fields)):
        __slots__ = ()
        n_fields = n_sequence_fields = len(fields)
        n_unnamed_fields = 0

        def __repr__(self):
            shown = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
            return f"torch.return_types.{kind}(\n{shown})"

    Result.__name__ = Result.__qualname__ = kind
    globals()[kind] = Result
    return Result
