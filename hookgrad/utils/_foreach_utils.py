"""Lists of tensors sorted by what one call could take together: what optimizers with a `foreach` ask for."""


def _group_tensors_by_device_and_dtype(tensorlistlist, with_indices=False):
    """Lists of tensors of the same length, split by the device and dtype of the first one's.

    Args:
        tensorlistlist: lists that belong together position by position; lists after the first may hold None.
        with_indices: give the positions, too.

    Returns:
        A dict from (device, dtype) to (the lists' parts, the positions); the latter are empty without with_indices.
    """
    groups = {}
    for at, tensors in enumerate(zip(*tensorlistlist)):
        key = (tensors[0].device, tensors[0].dtype)
        lists, positions = groups.setdefault(key, ([[] for _ in tensors], []))
        for part, tensor in zip(lists, tensors):
            part.append(tensor)
        if with_indices:
            positions.append(at)
    return groups


def _get_foreach_kernels_supported_devices():
    return ["cuda", "xpu", "mtia"]


def _get_fused_kernels_supported_devices():
    return ["mps", "cuda", "xpu", "hpu", "cpu", "mtia"]


def _device_has_foreach_support(device):
    return device.type in [*_get_foreach_kernels_supported_devices(), "cpu"]


def _has_foreach_support(tensors, device):
    """Whether one call could take all of these: plain tensors, or None, on a device that has such calls."""
    from .. import Tensor
    from ..nn import Parameter

    return _device_has_foreach_support(device) and all(t is None or type(t) in (Tensor, Parameter) for t in tensors)
