"""Warnings at the line that calls, whatever was asked about the call in between; some come once in a process, as PyTorch's do,
unless `torch.set_warn_always(True)` has it otherwise."""

import sys

from . import _C


def warn(words, category=UserWarning, stacklevel=1):
    """`warnings.warn`, the frames of `overrides._asking` not counted."""
    import warnings

    frame, level, above = sys._getframe(1), 2, stacklevel - 1
    while above and frame.f_back:
        frame, level = frame.f_back, level + 1
        if frame.f_back and "_asked_functions" in frame.f_back.f_code.co_names:
            frame, level = frame.f_back, level + 1
        else:
            above -= 1
    warnings.warn(words, category, level)


def warn_once(words, stacklevel=2):
    """A UserWarning of the caller's, the first time."""
    if _C._is_news(words):
        warn(words, UserWarning, stacklevel + 1)
