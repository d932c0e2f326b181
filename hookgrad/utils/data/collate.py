"""Samples put together into a batch."""

import hookgrad


def _is_numpy(value):
    return type(value).__module__ == "numpy"


def _like(container, values):
    """A container of the same kind with other values; a plain one where that kind cannot be built so."""
    try:
        if isinstance(container, tuple) and hasattr(container, "_fields"):
            return type(container)(*values)
        return type(container)(values)
    except TypeError:
        return dict(values) if isinstance(values, dict) else list(values)


def default_collate(batch):
    """A batch from a list of samples: tensors are stacked, numbers become a tensor, containers are taken apart.

    >>> import hookgrad as torch
    >>> default_collate([(torch.zeros(2), 1), (torch.ones(2), 0)])
    [tensor([[0., 0.],
            [1., 1.]]), tensor([1, 0])]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.default_collate
    """
    from collections.abc import Mapping, Sequence

    first = batch[0]
    if isinstance(first, hookgrad.Tensor):
        return hookgrad.stack(list(batch), 0)
    if _is_numpy(first):
        if type(first).__name__ == "ndarray":
            if first.dtype.kind in "SaUO":
                raise TypeError(_unfit(first.dtype))
            return hookgrad.stack([hookgrad.as_tensor(sample) for sample in batch], 0)
        import numpy

        return hookgrad.as_tensor(numpy.asarray(batch))
    if isinstance(first, float):
        return hookgrad.tensor(batch, dtype=hookgrad.float64)
    if isinstance(first, int):
        return hookgrad.tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _like(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [default_collate(column) for column in zip(*batch)]
        # A plain tuple becomes a list: PyTorch's rule.
        return columns if type(first) is tuple else _like(first, columns)
    raise TypeError(_unfit(type(first)))


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


def _unfit(what):
    return f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {what}"
