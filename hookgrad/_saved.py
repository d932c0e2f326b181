"""What PyTorch's nodes keep and hookgrad's do not: computed, where it is asked for, from what they do keep (py_saved.c)."""


def _lu(node):
    from . import linalg

    A = node._saved_A.detach()
    if "Solve" not in node.name() and A.is_contiguous():
        A = A.mT  # whose determinant is the same, and which needs no copy for LAPACK
    return linalg.lu_factor_ex(A)


def _sizes(node):
    return node._saved_input.shape


_FACTORS = {"LU": lambda node: _lu(node)[0], "pivots": lambda node: _lu(node)[1]}
_VALUES = {
    "LinalgDetBackward0": _FACTORS,
    "LinalgSlogdetBackward0": {**_FACTORS, "sign": lambda node: node._saved_A.detach().slogdet()[0]},
    "LinalgSolveExBackward0": {**_FACTORS, "left": lambda node: True},
    "LinalgSvdBackward0": {"S_sym_argsize_minus_1": lambda node: node._saved_S.size(-1)},
    "LogSigmoidBackward0": {"buffer": lambda node: (-node._saved_self.detach().abs()).exp()},
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
