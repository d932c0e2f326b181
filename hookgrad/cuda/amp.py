"""Mixed precision on graphics processors: the old names of torch.amp."""

import sys

from .. import amp

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]
__path__ = []  # its parts are here
autocast_mode = grad_scaler = sys.modules[__name__]


class autocast(amp.autocast):
    """`torch.amp.autocast("cuda")`."""

    def __init__(self, enabled=True, dtype=None, cache_enabled=True):
        amp.warn_of_old_name("autocast", "cuda")
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(amp.OldGradScaler):
    """`torch.amp.GradScaler("cuda")`."""

    _kind = "cuda"


def custom_fwd(fwd=None, *, cast_inputs=None):
    """`torch.amp.custom_fwd(device_type="cuda")`."""
    return amp.custom_fwd(fwd, device_type="cuda", cast_inputs=cast_inputs)


def custom_bwd(bwd=None):
    """`torch.amp.custom_bwd(device_type="cuda")`."""
    return amp.custom_bwd(bwd, device_type="cuda")
