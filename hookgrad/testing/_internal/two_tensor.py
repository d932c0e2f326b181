"""A tensor that is two: each op is run on both.

Source: torch/testing/_internal/two_tensor.py, which is private: what it means is known from the tests that use it.
"""

import hookgrad

from ...utils._python_dispatch import return_and_correct_aliasing
from ...utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten


class TwoTensor(hookgrad.Tensor):
    """Tensors `a` and `b` of one shape, dtype and layout in memory."""

    @staticmethod
    def __new__(cls, a, b, outer_size=None, outer_stride=None, *, requires_grad=None):
        if (a.shape, a.stride(), a.storage_offset(), a.dtype, a.requires_grad) != (
            b.shape,
            b.stride(),
            b.storage_offset(),
            b.dtype,
            b.requires_grad,
        ):
            raise AssertionError(f"expected two tensors that are alike, got {a!r} and {b!r}")
        return hookgrad.Tensor._make_wrapper_subclass(
            cls,
            a.size() if outer_size is None else outer_size,
            strides=a.stride() if outer_stride is None else outer_stride,
            storage_offset=a.storage_offset(),
            dtype=a.dtype,
            layout=a.layout,
            device=a.device,
            requires_grad=requires_grad or a.requires_grad,
        )

    def __init__(self, a, b, outer_size=None, outer_stride=None, *, requires_grad=None):
        self.a, self.b = a, b

    def __repr__(self):
        return f"TwoTensor({self.a!r}, {self.b!r})"

    def __tensor_flatten__(self):
        return ["a", "b"], None

    @staticmethod
    def __tensor_unflatten__(inner_tensors, meta, outer_size, outer_stride):
        return TwoTensor(inner_tensors["a"], inner_tensors["b"], outer_size, outer_stride)

    @classmethod
    def __torch_dispatch__(cls, func, types, args, kwargs):
        results = []
        for name in "a", "b":
            part_args, part_kwargs = tree_map_only(
                TwoTensor, lambda x, name=name: getattr(x, name), (args, kwargs or {})
            )
            results.append(func(*part_args, **part_kwargs))
        a, spec = tree_flatten(results[0])
        both = [cls(x, y) if isinstance(x, hookgrad.Tensor) else x for x, y in zip(a, tree_leaves(results[1]))]
        return return_and_correct_aliasing(func, args, kwargs, tree_unflatten(both, spec))

    def get_elem_a(self):
        return self.a
