"""What PyTorch's nodes keep and hookgrad's do not: computed, where it is asked for, from what they do keep (py_saved.c)."""


def _sizes(node):
    return node._saved_input.shape


_BUFFER = {"buffer": lambda node: (-node._saved_self.detach().abs()).exp()}
_VALUES = {
    "EluBackwardBackward0": {"is_result": lambda node: True},  # of elu_(): else it is kept
    "LinalgSolveExBackward0": {"left": lambda node: True},
    "LinalgSvdBackward0": {"S_sym_argsize_minus_1": lambda node: node._saved_S.size(-1)},
    "LogSigmoidBackward0": _BUFFER,
    "LogSigmoidBackwardBackward0": _BUFFER,
    "NativeGroupNormBackward0": {
        "N": lambda node: _sizes(node)[0],
        "C": lambda node: _sizes(node)[1],
        "HxW": lambda node: _sizes(node)[2:].numel(),
    },
}


def names(node):
    """`_saved_NAME` for each."""
    return ["_saved_" + name for name in _VALUES.get(node.name(), ())]


def value(node, attribute):
    """The value of `_saved_NAME`; NotImplemented where there is none."""
    make = _VALUES.get(node.name(), {}).get(attribute.removeprefix("_saved_"))
    return make(node) if make else NotImplemented
