"""What of Fourier transforms needs no complex numbers; the transforms themselves can be named, and fail when called.

Source: https://docs.pytorch.org/docs/stable/fft.html
"""

import hookgrad

from ._given import of_tensors

__all__ = [  # noqa: F822 (the transforms are made below)
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft",
    "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip


def _transform(name):
    def transform(*args, **kwargs):
        raise NotImplementedError(f"hookgrad has no complex numbers, and no torch.fft.{name}")

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = "Fails: there are no complex numbers."
    return transform


globals().update({name: _transform(name) for name in __all__ if not name.endswith(("freq", "shift"))})


def fftfreq(n, d=1.0, *, out=None, dtype=None, layout=hookgrad.strided, device=None, requires_grad=False):
    """The frequencies of the samples of a transform of length `n`, `d` apart: the negative ones come last.

    >>> fftfreq(5)
    tensor([ 0.0000,  0.2000,  0.4000, -0.4000, -0.2000])
    """
    settings = {"dtype": dtype or hookgrad.get_default_dtype(), "device": device}
    counts = hookgrad.arange(n, **settings)
    counts[(n + 1) // 2 :] -= n
    return _given(counts * (1.0 / (n * d)), out, requires_grad)


def rfftfreq(n, d=1.0, *, out=None, dtype=None, layout=hookgrad.strided, device=None, requires_grad=False):
    """The frequencies of a transform of real numbers: those that are not negative.

    >>> rfftfreq(5)
    tensor([0.0000, 0.2000, 0.4000])
    """
    counts = hookgrad.arange(n // 2 + 1, dtype=dtype or hookgrad.get_default_dtype(), device=device)
    return _given(counts * (1.0 / (n * d)), out, requires_grad)


def _given(frequencies, out, requires_grad):
    if out is not None:
        return out.resize_(frequencies.shape).copy_(frequencies)
    return frequencies._requires(requires_grad)


def fftshift(input, dim=None):
    """The frequencies in ascending order, zero in the middle, along `dim` or all dimensions.

    >>> fftshift(fftfreq(4))
    tensor([-0.5000, -0.2500,  0.0000,  0.2500])
    """
    return _shifted(input, dim, lambda size: size // 2)


def ifftshift(input, dim=None):
    """The opposite of fftshift()."""
    return _shifted(input, dim, lambda size: (size + 1) // 2)


def _shifted(input, dim, shift):
    dims = range(input.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
    dims = tuple(dims)
    return input.roll(tuple(shift(input.shape[d]) for d in dims), dims) if dims else input.clone()


of_tensors(globals(), "fftshift ifftshift", "fft_")
