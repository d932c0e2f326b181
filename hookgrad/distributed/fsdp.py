"""Modules whose parameters are spread over several processes, which hookgrad does not have: for programs to ask about."""

from dataclasses import dataclass
from typing import Any

from . import get_rank

__all__ = ["FSDPModule", "FullyShardedDataParallel", "MixedPrecisionPolicy", "fully_shard"]


class FSDPModule:
    """What fully_shard() would make of a module: none is one."""

    def __new__(cls, *args, **kwargs):
        get_rank()


class FullyShardedDataParallel(FSDPModule):
    """A module that would be trained by several processes: none can be made."""


@dataclass(frozen=True)
class MixedPrecisionPolicy:
    """The dtypes that fully_shard() would be told."""

    param_dtype: Any = None
    reduce_dtype: Any = None
    output_dtype: Any = None
    cast_forward_inputs: bool = True


def fully_shard(module, **kwargs):
    """Fails: there is one process."""
    get_rank()
