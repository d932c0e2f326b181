"""How samples become batches, under the name of PyTorch's module."""

import re

from ..collate import default_collate, default_convert  # noqa: F401 (names of this module)

np_str_obj_array_pattern = re.compile("[SaUO]")
