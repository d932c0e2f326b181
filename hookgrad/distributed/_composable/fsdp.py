"""An older name of `fsdp`."""

from ..fsdp import *  # noqa: F403
