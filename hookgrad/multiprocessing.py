"""Python's multiprocessing, under torch's name: tensors are copied from one process to another."""

import multiprocessing as _python

globals().update({name: getattr(_python, name) for name in _python.__all__})
__all__ = list(_python.__all__)
