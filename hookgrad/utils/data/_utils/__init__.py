"""Where PyTorch's own code for loaders lies."""

from . import collate  # noqa: F401 (a name of this module)
