"""How samples become batches, under the name of PyTorch's module."""

from ..collate import default_collate, default_convert  # noqa: F401 (names of this module)
