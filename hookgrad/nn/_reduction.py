"""The words for how losses are put together, and PyTorch's numbers for them."""

from .functional import _reduction

_NUMBERS = {"none": 0, "mean": 1, "elementwise_mean": 1, "sum": 2}


def get_enum(reduction):
    """The number of a word; -1 of none that is known raises ValueError."""
    if reduction not in _NUMBERS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return _NUMBERS[reduction]


def legacy_get_string(size_average, reduce, emit_warning=True):
    """The word that the old arguments `size_average` and `reduce` stand for."""
    size_average = True if size_average is None else size_average
    reduce = True if reduce is None else reduce
    if emit_warning:
        return _reduction(size_average, reduce, "mean")
    return ("mean" if size_average else "sum") if reduce else "none"


def legacy_get_enum(size_average, reduce, emit_warning=True):
    """The number that the old arguments stand for."""
    return get_enum(legacy_get_string(size_average, reduce, emit_warning))
