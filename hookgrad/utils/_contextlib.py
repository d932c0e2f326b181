"""Where PyTorch keeps what makes a context manager a decorator as well: libraries derive theirs from it.

Source: https://github.com/pytorch/pytorch/blob/main/torch/utils/_contextlib.py
"""

from ..autograd.grad_mode import _DecoratorContextManager


class _NoParamDecoratorContextManager(_DecoratorContextManager):
    """One that takes no settings, so that it decorates with and without parentheses."""

    def __new__(cls, orig_func=None):
        return super().__new__(cls) if orig_func is None else cls()(orig_func)
