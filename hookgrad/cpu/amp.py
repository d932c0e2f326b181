"""Mixed precision on the CPU: the old names of torch.amp."""

from .. import _C, amp

__all__ = ["GradScaler", "autocast"]


class autocast(amp.autocast):
    """`torch.amp.autocast("cpu")`."""

    def __init__(self, enabled=True, dtype=_C.bfloat16, cache_enabled=True):
        amp.warn_of_old_name("autocast", "cpu")
        super().__init__("cpu", dtype, enabled, cache_enabled)


class GradScaler(amp.OldGradScaler):
    """`torch.amp.GradScaler("cpu")`."""

    _kind = "cpu"
