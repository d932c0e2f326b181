"""Labels for stretches of a program, as code written for PyTorch's profiler sets them. There is no profiler here."""

from .grad_mode import _DecoratorContextManager

__all__ = ["record_function"]


class record_function(_DecoratorContextManager):
    """A label for a `with` block, or for the calls of a function it decorates.

    >>> with record_function("forward") as label:
    ...     label.name
    'forward'

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.profiler.record_function.html
    """

    def __init__(self, name, args=None):
        self.name, self.args = name, args

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def clone(self):
        return type(self)(self.name, self.args)
