"""The class that programs ask whether their model is one of."""

from ... import distributed
from ..modules.module import Module


class DistributedDataParallel(Module):
    """A module that is trained by several processes, which hookgrad does not do: none can be made."""

    def __init__(self, module, *args, **kwargs):
        distributed.get_rank()
