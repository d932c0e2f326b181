"""The context in which plain tensors count as copies of one another: all are plain here."""

from ..tensor import implicit_replication  # noqa: F401 (a name of this module)
