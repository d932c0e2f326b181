"""The named tuples that operations with several results return: `torch.return_types.max` and its kin."""

from . import _C

# The fields of what functions made in Python return.
_FIELDS = {
    "frexp": "mantissa exponent",
    "histogram": "hist bin_edges",
    "linalg_inv_ex": "inverse info",
    "linalg_lstsq": "solution residuals rank singular_values",
    "linalg_lu": "P L U",
    "linalg_lu_factor": "LU pivots",
    "linalg_lu_factor_ex": "LU pivots info",
    "linalg_slogdet": "sign logabsdet",
    "linalg_solve_ex": "result info",
    "lu_unpack": "P L U",
    "nanmedian": "values indices",
    "qr": "Q R",
    "svd": "U S V",
    "triangular_solve": "solution cloned_coefficient",
    "_lu_with_info": "LU pivots info",
}


def __getattr__(name):
    if name in _FIELDS:
        return named(name)
    kind = None if name.startswith("__") else _C._result_type(name)
    if kind is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = kind
    return kind


def named(kind):
    """The class of named tuples that a function made in Python returns: `torch.return_types.<kind>`."""
    if kind in globals():
        return globals()[kind]
    from collections import namedtuple

    fields = _FIELDS[kind].split()

    class Result(namedtuple(kind, fields)):
        __slots__ = ()
        n_fields = n_sequence_fields = len(fields)
        n_unnamed_fields = 0

        def __new__(cls, *values):
            """From the values, or as a struct sequence from one iterable of them."""
            return super().__new__(cls, *(values[0] if len(values) == 1 else values))

        def __repr__(self):
            shown = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
            return f"torch.return_types.{kind}(\n{shown})"

    Result.__name__ = Result.__qualname__ = kind
    globals()[kind] = Result
    return Result
