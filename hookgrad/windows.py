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
        at = _C.arange(window_length, dtype=dtype)  # to be rounded as PyTorch rounds: in this dtype, a factor at a time
        window = _C.ones(1, dtype=dtype) if window_length == 1 else shape(at, last, *args)
        return window._requires(requires_grad)

    make.__name__ = shape.__name__
    make.__doc__ = shape.__doc__
    return make


@_window
def hann_window(at, last):
    """(1 - cos) / 2"""
    return _raised_cosine(at, last, 0.5, 0.5)


@_window
def hamming_window(at, last, alpha=0.54, beta=0.46):
    """alpha - beta cos"""
    return _raised_cosine(at, last, alpha, beta)


def _raised_cosine(at, last, alpha, beta):
    return at.mul_(2 * math.pi / last).cos_().mul_(-beta).add_(alpha)


@_window
def blackman_window(at, last):
    """A cosine and one of twice the frequency."""
    at.mul_(math.pi / last)
    return at.mul(4).cos_().mul_(0.08) - at.mul(2).cos_().mul_(0.5) + 0.42


@_window
def bartlett_window(at, last):
    """A triangle."""
    at.mul_(2 / last)
    return at.where(at <= 1, 2 - at)


@_window
def kaiser_window(at, last, beta=12.0):
    """Kaiser's, of Bessel functions."""
    whole = at if at.dtype == _C.float64 else at.float()
    rising = special.i0(beta * (1 - whole.mul(2 / last).sub_(1).pow(2)).clamp(min=0).sqrt())
    return (rising / special.i0(_C.tensor(beta, dtype=_C.float64)).item()).to(at.dtype)
