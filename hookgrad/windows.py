"""Windows for the analysis of signals: vectors that rise from the sides to the middle.

Sources: the pages of the same names in https://docs.pytorch.org/docs/stable/torch.html
"""

import math

from . import _C, special


def _window(shape):
    def make(
        window_length, periodic=True, *args, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False
    ):
        if window_length < 0:
            raise RuntimeError(
                f"{make.__name__} requires non-negative window_length, got window_length={window_length}"
            )
        dtype = dtype or _C.get_default_dtype()
        last = max(window_length - (not periodic), 1)
        at = _C.arange(window_length, dtype=_C.float64) / last  # 0 at the left side, 1 at the right
        window = _C.ones(1, dtype=dtype) if window_length == 1 else shape(at, *args).to(dtype)
        return window._requires(requires_grad)

    make.__name__ = shape.__name__
    make.__doc__ = shape.__doc__
    return make


@_window
def hann_window(at):
    """(1 - cos) / 2"""
    return 0.5 - 0.5 * (2 * math.pi * at).cos()


@_window
def hamming_window(at, alpha=0.54, beta=0.46):
    """alpha - beta cos"""
    return alpha - beta * (2 * math.pi * at).cos()


@_window
def blackman_window(at):
    """A cosine and one of twice the frequency."""
    return 0.42 - 0.5 * (2 * math.pi * at).cos() + 0.08 * (4 * math.pi * at).cos()


@_window
def bartlett_window(at):
    """A triangle."""
    return 1 - (2 * at - 1).abs()


@_window
def kaiser_window(at, beta=12.0):
    """Kaiser's, of Bessel functions."""
    return special.i0(beta * (1 - (2 * at - 1) ** 2).clamp(min=0).sqrt()) / special.i0(
        _C.tensor(beta, dtype=_C.float64)
    )
