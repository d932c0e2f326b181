"""Switches of PyTorch's back ends: they can be set, and change nothing."""

import sys
from contextlib import contextmanager
from types import ModuleType

from . import _C


def _backend(name, doc, **attributes):
    module = ModuleType(f"{__name__}.{name}", doc)
    vars(module).update(attributes)
    sys.modules[module.__name__] = module
    return module


def _no():
    return False


def _flags(module, names):
    """A function that gives a context in which the module's switches of those names are set."""

    @contextmanager
    def flags(*values, **settings):
        settings.update(zip(names, values))
        before = {name: getattr(module, name) for name in settings}
        vars(module).update(settings)
        try:
            yield
        finally:
            vars(module).update(before)

    return flags


def _switch(module, value, get, put):
    """Give the module a function of each name: one that gets the value, and one that sets it."""
    at = [value]
    setattr(module, get, lambda: at[0])
    setattr(module, put, lambda value: at.__setitem__(0, value))


cudnn = _backend(
    "cudnn",
    "CUDA's kernels for networks: not here.",
    is_available=_no,
    version=lambda: None,
    enabled=True,
    benchmark=False,
    benchmark_limit=10,
    fp32_precision="none",
    deterministic=False,
    allow_tf32=False,
)
cudnn.flags = _flags(
    cudnn, ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32", "fp32_precision")
)
cuda = _backend(
    "cuda",
    "CUDA: not here.",
    is_built=_no,
    matmul=_backend(
        "cuda.matmul",
        "",
        allow_tf32=False,
        allow_fp16_reduced_precision_reduction=True,
        allow_bf16_reduced_precision_reduction=True,
    ),
)
for _kind in ("flash", "mem_efficient", "math", "cudnn"):
    _switch(cuda, True, f"{_kind}_sdp_enabled", f"enable_{_kind}_sdp")


@contextmanager
def _sdp_kernel(enable_flash=True, enable_math=True, enable_mem_efficient=True, enable_cudnn=True):
    from .nn.attention import SDPBackend, sdpa_kernel

    chosen = {
        SDPBackend.FLASH_ATTENTION: enable_flash,
        SDPBackend.EFFICIENT_ATTENTION: enable_mem_efficient,
        SDPBackend.MATH: enable_math,
        SDPBackend.CUDNN_ATTENTION: enable_cudnn,
    }
    with sdpa_kernel([backend for backend, on in chosen.items() if on]) as context:
        yield context


cuda.sdp_kernel = _sdp_kernel
mha = _backend("mha", "Attention in one kernel, where nobody looks inside.")
_switch(mha, True, "get_fastpath_enabled", "set_fastpath_enabled")
nnpack = _backend("nnpack", "NNPACK: not here.", is_available=_no, enabled=False)
nnpack.flags = _flags(nnpack, ("enabled",))
opt_einsum = _backend("opt_einsum", "opt_einsum: not here.", is_available=_no, enabled=False, strategy=None)
mps = _backend("mps", "Apple's graphics processors: not here.", is_available=_no, is_built=_no)
cpu = _backend(
    "cpu",
    "The processor.",
    get_cpu_capability=lambda: {"avx512": "AVX512", "avx2": "AVX2", "baseline": "DEFAULT"}[_C._cpu_name()],
)
mkldnn = _backend(
    "mkldnn",
    "oneDNN: not here.",
    is_available=_no,
    enabled=False,
    deterministic=False,
    allow_tf32=False,
    fp32_precision="none",
)
mkldnn.flags = _flags(mkldnn, ("enabled", "deterministic", "allow_tf32", "fp32_precision"))
mkl = _backend("mkl", "MKL: not here.", is_available=_no)
for _name in ("miopen", "kleidiai", "xeon"):
    globals()[_name] = _backend(_name, "Not here.", is_available=_no)
quantized = _backend("quantized", "Quantised numbers: not here.", engine="none", supported_engines=["none"])
openmp = _backend("openmp", "OpenMP: not here.", is_available=_no)
__path__ = []  # its members are modules, and can be imported
