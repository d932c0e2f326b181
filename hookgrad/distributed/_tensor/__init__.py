"""An older name of `tensor`."""

from ..tensor import *  # noqa: F403
