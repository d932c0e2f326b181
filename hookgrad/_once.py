"""Warnings that PyTorch gives once in a process, unless `torch.set_warn_always(True)` has it otherwise."""

from . import _C


def warn_once(words, stacklevel=2):
    """A UserWarning of the caller's, the first time."""
    if _C._is_news(words):
        import warnings

        warnings.warn(words, stacklevel=stacklevel + 1)
