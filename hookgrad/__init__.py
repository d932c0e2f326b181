"""hookgrad: PyTorch's API on a small C core, made for watching and changing what flows through a neural network.

    import hookgrad as torch
    from hookgrad import nn

What is imported here is what every program needs. The rest (`nn`, `optim`, `linalg` ...) is a module of its own that
comes with its first use, as NumPy does with the first array.
"""

import sys as _sys
from math import e, inf, nan, pi

from . import _C
from ._C import (
    Generator,
    OutOfMemoryError,
    Size,
    Tensor,
    _unique2,
    default_generator,
    device,
    dtype,
    get_default_dtype,
    is_grad_enabled,
    is_inference_mode_enabled,
    layout,
    memory_format,
    promote_types,
    set_default_dtype,
    strided,
    tensor,
)
from .version import __version__

# Ops, dtypes and functions of the core have PyTorch's names already; a few are for the package's own use.
_OWN = frozenset(
    "Module RemovableHandle Op Node adam_step grad layer_forward linalg nn op_table run_backward sgd_step special".split()
)
globals().update({name: value for name, value in vars(_C).items() if name[0] != "_" and name not in _OWN})

from . import _tensor  # noqa: E402 (Tensor's cold methods)
from .autograd.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled  # noqa: E402
from .functional import (  # noqa: E402
    atleast_1d,
    atleast_2d,
    atleast_3d,
    broadcast_shapes,
    can_cast,
    einsum,
    is_complex,
    is_floating_point,
    is_inference,
    is_nonzero,
    is_storage,
    is_tensor,
    nonzero,
    numel,
    result_type,
    tensordot,
    unique,
    unique_consecutive,
)
from .random import get_rng_state, initial_seed, manual_seed, seed, set_rng_state  # noqa: E402

FloatTensor = _tensor.legacy_type("FloatTensor", _C.float32)
DoubleTensor = _tensor.legacy_type("DoubleTensor", _C.float64)
HalfTensor = _tensor.legacy_type("HalfTensor", _C.float16)
BFloat16Tensor = _tensor.legacy_type("BFloat16Tensor", _C.bfloat16)
chalf, cfloat, cdouble = _C.complex32, _C.complex64, _C.complex128
ByteTensor = _tensor.legacy_type("ByteTensor", _C.uint8)
CharTensor = _tensor.legacy_type("CharTensor", _C.int8)
ShortTensor = _tensor.legacy_type("ShortTensor", _C.int16)
IntTensor = _tensor.legacy_type("IntTensor", _C.int32)
LongTensor = _tensor.legacy_type("LongTensor", _C.int64)
BoolTensor = _tensor.legacy_type("BoolTensor", _C.bool)

DisableTorchFunctionSubclass = _tensor.DisableTorchFunctionSubclass
legacy_contiguous_format = contiguous_format  # noqa: F821 (a name of the core's)
newaxis = None

# Modules that come with their first use, and names that live in one of them.
_MODULES = frozenset(
    """_VF __config__ __future__ _dynamo _ops _utils accelerator amp ao autograd backends compiler cpu cuda distributed distributions func
    fft functional futures fx hub jit library linalg mps multiprocessing nn onnx optim overrides profiler random return_types serialization
    special storage
    testing types utils version""".split()
)
_ELSEWHERE = {
    "autocast": "amp",
    "get_autocast_dtype": "amp",
    "is_autocast_cache_enabled": "amp",
    "is_autocast_enabled": "amp",
    **dict.fromkeys(
        """_assert _assert_async _check _check_index _check_is_size _check_not_implemented _check_tensor_all _check_tensor_all_with _check_type _check_value
        _check_with""".split(),
        "functional",
    ),
    "cond": "functional",
    "get_deterministic_debug_mode": "functional",
    "set_deterministic_debug_mode": "functional",
    "imag": "composites",
    "view_as_real": "composites",
    "is_warn_always_enabled": "functional",
    "ops": "_ops",
    "set_flush_denormal": "functional",
    "set_warn_always": "functional",
    "GradScaler": "amp",
    "Future": "futures",
    "PyTorchFileReader": "serialization",
    "ScriptFunction": "jit",
    "ScriptModule": "jit",
    "DisableTorchFunction": "overrides",
    "Parameter": "nn.parameter",
    "i0": "special",
    "mvlgamma": "special",
    "to_dlpack": "utils.dlpack",
    "UntypedStorage": "storage",
    "from_file": "storage",
    "thread_safe_generator": "random",
    "TypedStorage": "storage",
    **dict.fromkeys(
        """BFloat16Storage BoolStorage ByteStorage CharStorage DoubleStorage FloatStorage HalfStorage IntStorage LongStorage
        ShortStorage Storage""".split(),
        "storage",
    ),
    "compile": "functional",
    "finfo": "type_info",
    "fork_rng": "random",
    "get_num_interop_threads": "functional",
    "iinfo": "type_info",
    "is_anomaly_check_nan_enabled": "autograd.anomaly_mode",
    "is_anomaly_enabled": "autograd.anomaly_mode",
    "set_anomaly_enabled": "autograd.anomaly_mode",
    "is_deterministic_algorithms_warn_only_enabled": "functional",
    "are_deterministic_algorithms_enabled": "functional",
    "use_deterministic_algorithms": "functional",
    "load": "serialization",
    "save": "serialization",
    "set_float32_matmul_precision": "functional",
    "get_float32_matmul_precision": "functional",
    "set_num_interop_threads": "functional",
    "set_default_device": "functional",
    "get_default_device": "functional",
    "set_default_tensor_type": "functional",
    "set_printoptions": "_tensor_str",
    "get_printoptions": "_tensor_str",
    "typename": "functional",
    "vmap": "func",
    **dict.fromkeys(
        """Event Stream SymBool SymFloat SymInt Tag compiled_with_cxx11_abi eig get_device_module has_lapack has_mkl has_openmp has_spectral
        lstsq matrix_rank native_batch_norm native_group_norm native_layer_norm solve symeig empty_permuted nonzero_static range segment_reduce sym_float sym_int sym_ite sym_max sym_min sym_not sym_sqrt
        sym_sum _shape_as_tensor _softmax_backward_data _unique""".split(),
        "_rare",
    ),
    "_weight_norm": "nn.utils.weight_norm",
    **dict.fromkeys(
        "_sample_dirichlet _standard_gamma _standard_gamma_grad binomial igamma igammac poisson".split(), "_gamma"
    ),
    **dict.fromkeys("bartlett_window blackman_window hamming_window hann_window kaiser_window".split(), "windows"),
    **dict.fromkeys(
        """clear_autocast_cache get_autocast_cpu_dtype get_autocast_gpu_dtype get_autocast_ipu_dtype get_autocast_xla_dtype
        is_autocast_cpu_enabled is_autocast_ipu_enabled is_autocast_xla_enabled set_autocast_cache_enabled set_autocast_cpu_dtype
        set_autocast_cpu_enabled set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype set_autocast_ipu_dtype
        set_autocast_ipu_enabled set_autocast_xla_dtype set_autocast_xla_enabled""".split(),
        "amp",
    ),
    **dict.fromkeys(
        """cholesky cholesky_inverse cholesky_solve lu lu_solve lu_unpack orgqr ormqr pca_lowrank pinverse qr svd svd_lowrank
        triangular_solve""".split(),
        "old_linalg",
    ),
    **dict.fromkeys(
        """adjoint alias_copy angle as_strided_copy as_strided_scatter conj conj_physical
        detach_copy diagonal_copy diagonal_scatter expand_copy fake_quantize_per_channel_affine fake_quantize_per_tensor_affine frexp frobenius_norm gcd
        index_reduce is_conj is_neg is_same_size is_signed isin isreal lcm ldexp nanmedian
        narrow_copy nextafter norm_except_dim nuclear_norm permute_copy put renorm
        resolve_conj resolve_neg select_copy select_scatter slice_copy slice_scatter split_copy split_with_sizes_copy squeeze_copy t_copy
        transpose_copy unbind_copy unfold_copy unravel_index unsqueeze_copy view_copy""".split(),
        "composites",
    ),
    **dict.fromkeys(
        """combinations corrcoef cov cumulative_trapezoid diff gradient histc histogram nanquantile quantile trapezoid trapz
        vander""".split(),
        "_statistics",
    ),
}


for _home, _names in {
    "_recurrent": "gru gru_cell lstm lstm_cell rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell",
    "nn.functional": """alpha_dropout bilinear celu_ channel_shuffle conv3d cosine_similarity feature_alpha_dropout
        max_pool3d pairwise_distance pdist pixel_shuffle pixel_unshuffle rrelu rrelu_ selu_""",
    "nn.torch_functions": """adaptive_max_pool1d affine_grid_generator batch_norm batch_norm_update_stats conv_tbc
        native_channel_shuffle
        alpha_dropout_ binary_cross_entropy_with_logits cosine_embedding_loss ctc_loss dropout_ embedding_bag
        feature_alpha_dropout_ feature_dropout feature_dropout_ grid_sampler group_norm hinge_embedding_loss instance_norm kl_div
        layer_norm margin_ranking_loss native_dropout poisson_nll_loss triplet_margin_loss""",
}.items():
    _ELSEWHERE.update(dict.fromkeys(_names.split(), _home))


# Methods that are functions, too.
_METHODS = frozenset(
    "as_strided_ conj_physical_ detach_ gcd_ get_device i0_ is_distributed lcm_ ldexp_ resize_as_".split()
)


torch = _sys.modules[__name__]  # libraries write torch.torch
torch.__class__ = _C._Package


def __getattr__(name):
    from importlib import import_module

    if name in ("mtia", "xpu"):  # of as little use
        name = "mps"
    if name in _MODULES:
        return import_module("." + name, __name__)
    if name in _ELSEWHERE:
        value = getattr(import_module("." + _ELSEWHERE[name], __name__), name)
        if _C._overriding():
            value = import_module(".overrides", __name__).asked_about(value, name)
        globals()[name] = value
        return value
    if name in _METHODS:
        return getattr(Tensor, name)
    if name in ("inspect", "math", "os", "sys", "threading", "warnings"):  # which PyTorch's module imports
        return import_module(name)
    if name in ("has_cuda", "has_cudnn", "has_mkldnn", "has_mps"):
        import_module("._rare", __name__).warn_of_flag(name)
        return False
    if name.startswith("_foreach_"):
        return getattr(import_module("._foreach", __name__), name)
    raise AttributeError(f"hookgrad has no torch.{name}")


def __dir__():
    return sorted({*globals(), *_MODULES, *_ELSEWHERE, *_METHODS})
