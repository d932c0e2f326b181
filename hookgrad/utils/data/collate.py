"""Samples put together into a batch."""

from copy import copy

import hookgrad


def _is_numpy(value):
    return type(value).__module__ == "numpy"


def _like(container, values):
    """A container of the same kind with other values; a plain one where that kind cannot be built so."""
    try:
        if hasattr(container, "_fields"):
            return type(container)(*values)
        if not hasattr(container, "__setitem__"):
            return type(container)(values)
        copied = copy(container)  # with what its class keeps beside the values
        for key in values if isinstance(values, dict) else range(len(values)):
            copied[key] = values[key]
        return copied
    except TypeError:
        return dict(values) if isinstance(values, dict) else list(values)


def collate(batch, *, collate_fn_map=None):
    """A batch from a list of samples; `collate_fn_map` says, by their class, how those that are no containers are put together.

    >>> collate([{"a": 1}, {"a": 2}], collate_fn_map={int: lambda batch, *, collate_fn_map: sum(batch)})
    {'a': 3}
    """
    from collections.abc import Mapping, Sequence

    first = batch[0]
    for kind, together in (collate_fn_map or {}).items():
        if isinstance(first, kind) and (type(first) is kind or not _is_numpy(first)):
            return together(batch, collate_fn_map=collate_fn_map)
    if collate_fn_map and _is_numpy(first):
        return _collate_numpy(batch, collate_fn_map)
    if isinstance(first, Mapping):
        return _like(
            first, {key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map) for key in first}
        )
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch)]
        # A plain tuple becomes a list: PyTorch's rule.
        return columns if isinstance(first, tuple) and not hasattr(first, "_fields") else _like(first, columns)
    raise TypeError(default_collate_err_msg_format.format(type(first)))


def _collate_numpy(batch, collate_fn_map):
    first = batch[0]
    if type(first).__name__ != "ndarray":
        import numpy

        return hookgrad.as_tensor(numpy.asarray(batch))
    if first.dtype.kind in "SaUO":
        raise TypeError(default_collate_err_msg_format.format(first.dtype))
    return collate([hookgrad.as_tensor(sample) for sample in batch], collate_fn_map=collate_fn_map)


def collate_tensor_fn(batch, *, collate_fn_map=None):
    """The tensors stacked."""
    return hookgrad.stack(list(batch), 0)


def collate_float_fn(batch, *, collate_fn_map=None):
    """The numbers as a tensor of float64."""
    return hookgrad.tensor(batch, dtype=hookgrad.float64)


def collate_int_fn(batch, *, collate_fn_map=None):
    """The integers as a tensor."""
    return hookgrad.tensor(batch)


def collate_str_fn(batch, *, collate_fn_map=None):
    """The list as it is."""
    return batch


default_collate_err_msg_format = (
    "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"
)
default_collate_fn_map = {
    hookgrad.Tensor: collate_tensor_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}


def default_collate(batch):
    """A batch from a list of samples: tensors are stacked, numbers become a tensor, containers are taken apart.

    >>> import hookgrad as torch
    >>> default_collate([(torch.zeros(2), 1), (torch.ones(2), 0)])
    [tensor([[0., 0.],
            [1., 1.]]), tensor([1, 0])]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.default_collate
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)


def default_convert(data):
    """A sample as it is, NumPy arrays and numbers made tensors: what a loader without batches does.

    >>> default_convert([1, "a"])
    [1, 'a']
    """
    from collections.abc import Mapping, Sequence

    if isinstance(data, hookgrad.Tensor) or isinstance(data, (str, bytes)):
        return data
    if _is_numpy(data):
        if type(data).__name__ == "ndarray" and data.dtype.kind in "SaUO":
            return data
        return hookgrad.as_tensor(data)
    if isinstance(data, Mapping):
        return _like(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, Sequence):
        parts = [default_convert(part) for part in data]
        return parts if type(data) is tuple else _like(data, parts)
    return data
