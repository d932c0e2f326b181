"""Switches of PyTorch's back ends: they can be set, and change nothing."""

import sys
from types import ModuleType


def _backend(name, doc, **attributes):
    module = ModuleType(f"{__name__}.{name}", doc)
    vars(module).update(attributes)
    sys.modules[module.__name__] = module
    return module


def _no():
    return False


cudnn = _backend(
    "cudnn",
    "CUDA's kernels for networks: not here.",
    is_available=_no,
    version=lambda: None,
    enabled=False,
    benchmark=False,
    deterministic=False,
    allow_tf32=False,
)
cuda = _backend("cuda", "CUDA: not here.", is_built=_no, matmul=_backend("cuda.matmul", "", allow_tf32=False))
mps = _backend("mps", "Apple's graphics processors: not here.", is_available=_no, is_built=_no)
mkldnn = _backend("mkldnn", "oneDNN: not here.", is_available=_no, enabled=False)
mkl = _backend("mkl", "MKL: not here.", is_available=_no)
openmp = _backend("openmp", "OpenMP: not here.", is_available=_no)
__path__ = []  # its members are modules, and can be imported
