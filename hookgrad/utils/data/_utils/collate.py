"""How samples become batches, under the name of PyTorch's module."""

import re

from ..collate import (  # noqa: F401 (names of this module)
    collate,
    collate_float_fn,
    collate_int_fn,
    collate_str_fn,
    collate_tensor_fn,
    default_collate,
    default_collate_err_msg_format,
    default_collate_fn_map,
    default_convert,
)

np_str_obj_array_pattern = re.compile("[SaUO]")
