"""The types of layers' settings, for annotations. Source: https://docs.pytorch.org/docs/stable/nn.html"""

from .. import _C

Tensor = _C.Tensor


def _sizes(n, kind):
    return kind | tuple[(kind,) * n]


_scalar_or_tuple_any_t = int | tuple[int, ...]
_size_any_t = int | tuple[int, ...]
_size_1_t, _size_2_t, _size_3_t, _size_4_t, _size_5_t, _size_6_t = (_sizes(n, int) for n in range(1, 7))
_ratio_any_t = float | tuple[float, ...]
_ratio_2_t, _ratio_3_t = _sizes(2, float), _sizes(3, float)
_tensor_list_t = Tensor | list[Tensor]
_maybe_indices_t = Tensor | tuple[Tensor, Tensor]
