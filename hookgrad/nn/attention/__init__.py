"""How scaled_dot_product_attention() is computed. There is one way here; the choice is kept and changes nothing.

Source: https://docs.pytorch.org/docs/stable/nn.attention.html
"""

from contextlib import contextmanager
from enum import IntEnum

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(IntEnum):
    """The ways that PyTorch knows."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __repr__(self):
        return f"<SDPBackend.{self.name}: {self.value}>"

    def __str__(self):
        return f"SDPBackend.{self.name}"


_chosen = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH, SDPBackend.CUDNN_ATTENTION]


def _cur_sdpa_kernel_backends(with_priority=False):
    return list(_chosen)


@contextmanager
def sdpa_kernel(backends, set_priority=False):
    """Within it, attention may be computed in the given ways only.

    >>> with sdpa_kernel(SDPBackend.MATH):
    ...     _cur_sdpa_kernel_backends()
    [<SDPBackend.MATH: 0>]
    """
    global _chosen
    if not isinstance(backends, (list, SDPBackend)):
        raise AssertionError("Backend must be an instance of SDPBackend or a list of SDPBackend instances")
    backends = [backends] if isinstance(backends, SDPBackend) else list(dict.fromkeys(backends))
    before, _chosen = _chosen, backends
    try:
        yield {}
    finally:
        _chosen = before
