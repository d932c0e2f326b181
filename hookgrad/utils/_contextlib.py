"""Where PyTorch keeps what makes a context manager a decorator as well: libraries derive theirs from it.

Source: https://github.com/pytorch/pytorch/blob/main/torch/utils/_contextlib.py
"""

from ..autograd.grad_mode import _DecoratorContextManager, _NoParamDecoratorContextManager  # noqa: F401
