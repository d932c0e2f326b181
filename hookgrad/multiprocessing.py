"""Python's multiprocessing, under torch's name: tensors are copied from one process to another."""

import multiprocessing as _python

globals().update({name: getattr(_python, name) for name in _python.__all__})
__all__ = list(_python.__all__)
_strategy = ["file_descriptor"]


def get_all_sharing_strategies():
    """The ways to share tensors' memory that can be named: tensors are copied, whichever it is."""
    return {"file_descriptor", "file_system"}


def get_sharing_strategy():
    return _strategy[0]


def set_sharing_strategy(new_strategy):
    assert new_strategy in get_all_sharing_strategies()
    _strategy[0] = new_strategy
