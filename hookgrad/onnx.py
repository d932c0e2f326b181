"""Exports to ONNX, which hookgrad does not make: models ask whether one is under way.

Source: https://docs.pytorch.org/docs/stable/onnx.html
"""

__path__ = []  # _standin.IMPORTED
__all__ = ["export", "is_in_onnx_export"]


def is_in_onnx_export():
    """Is the model being exported? Never.

    >>> import hookgrad as torch
    >>> torch.onnx.is_in_onnx_export()
    False
    """
    return False


def export(model, *args, **kwargs):
    raise RuntimeError("hookgrad has no torch.onnx.export: it does not trace")


def register_custom_op_symbolic(symbolic_name, symbolic_fn, opset_version):
    """How exports shall write an op: never asked for."""
