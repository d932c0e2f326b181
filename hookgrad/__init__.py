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
    """CHook GradMode HookFlags HookTable LayerForward MappingIterator MappingView Module Node Op RemovableHandle SavedTensor Table Walk
    adam_step are_tensors grad layer_forward linalg nn op_table run_backward sgd_step special states_of with_grad""".split()
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
    """_VF __config__ __future__ _dynamo _ops _utils accelerator amp ao autograd backends compiler cpu cuda
    distributed distributions fft func functional futures fx hub jit library linalg mps multiprocessing nn onnx
    optim overrides profiler random return_types serialization special storage testing types utils version""".split()
)
_ELSEWHERE = {
    name: home
    for home, names in {
        "_gamma": "_sample_dirichlet _standard_gamma _standard_gamma_grad binomial igamma igammac poisson",
        "_ops": "ops",
        "_rare": """_segment_reduce _shape_as_tensor _softmax_backward_data _unique compiled_with_cxx11_abi
            eig empty_permuted Event get_device_module has_lapack has_mkl has_openmp has_spectral lstsq
            matrix_rank native_batch_norm native_group_norm native_layer_norm nonzero_static range
            segment_reduce solve Stream sym_float sym_int sym_ite sym_max sym_min sym_not sym_sqrt sym_sum
            SymBool symeig SymFloat SymInt Tag""",
        "_recurrent": "gru gru_cell lstm lstm_cell rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell",
        "_statistics": """combinations corrcoef cov cumulative_trapezoid diff gradient histc histogram nanquantile
            quantile trapezoid trapz vander""",
        "_tensor_str": "get_printoptions set_printoptions",
        "amp": """autocast clear_autocast_cache get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype
            get_autocast_ipu_dtype get_autocast_xla_dtype GradScaler is_autocast_cache_enabled
            is_autocast_cpu_enabled is_autocast_enabled is_autocast_ipu_enabled is_autocast_xla_enabled
            set_autocast_cache_enabled set_autocast_cpu_dtype set_autocast_cpu_enabled set_autocast_dtype
            set_autocast_enabled set_autocast_gpu_dtype set_autocast_ipu_dtype set_autocast_ipu_enabled
            set_autocast_xla_dtype set_autocast_xla_enabled""",
        "autograd.anomaly_mode": "is_anomaly_check_nan_enabled is_anomaly_enabled set_anomaly_enabled",
        "composites": """adjoint alias_copy angle as_strided_copy as_strided_scatter conj conj_physical detach_copy
            diagonal_copy diagonal_scatter expand_copy fake_quantize_per_channel_affine
            fake_quantize_per_tensor_affine frexp frobenius_norm gcd imag index_reduce is_conj is_neg
            is_same_size is_signed isin isreal lcm ldexp nanmedian narrow_copy nextafter norm_except_dim
            nuclear_norm permute_copy put renorm resolve_conj resolve_neg select_copy select_scatter
            slice_copy slice_scatter split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy
            unbind_copy unfold_copy unravel_index unsqueeze_copy view_as_real view_copy""",
        "func": "vmap",
        "functional": """_assert _assert_async _check _check_index _check_is_size _check_not_implemented
            _check_tensor_all _check_tensor_all_with _check_type _check_value _check_with
            are_deterministic_algorithms_enabled compile cond get_default_device
            get_deterministic_debug_mode get_float32_matmul_precision get_num_interop_threads
            is_deterministic_algorithms_warn_only_enabled is_warn_always_enabled set_default_device
            set_default_tensor_type set_deterministic_debug_mode set_float32_matmul_precision
            set_flush_denormal set_num_interop_threads set_warn_always typename use_deterministic_algorithms""",
        "futures": "Future",
        "jit": "ScriptFunction ScriptModule",
        "nn.functional": """alpha_dropout bilinear celu_ channel_shuffle conv3d cosine_similarity feature_alpha_dropout
            max_pool3d pairwise_distance pdist pixel_shuffle pixel_unshuffle rrelu rrelu_ selu_""",
        "nn.parameter": "Parameter",
        "nn.torch_functions": """adaptive_max_pool1d affine_grid_generator alpha_dropout_ batch_norm
            batch_norm_update_stats binary_cross_entropy_with_logits conv_tbc cosine_embedding_loss
            ctc_loss dropout_ embedding_bag feature_alpha_dropout_ feature_dropout feature_dropout_
            grid_sampler group_norm hinge_embedding_loss instance_norm kl_div layer_norm
            margin_ranking_loss native_channel_shuffle native_dropout poisson_nll_loss
            triplet_margin_loss""",
        "nn.utils.weight_norm": "_weight_norm",
        "old_linalg": """cholesky cholesky_inverse cholesky_solve lu lu_solve lu_unpack orgqr ormqr pca_lowrank pinverse
            qr svd svd_lowrank triangular_solve""",
        "overrides": "DisableTorchFunction",
        "random": "fork_rng thread_safe_generator",
        "serialization": "load PyTorchFileReader save",
        "special": "i0 mvlgamma",
        "storage": """BFloat16Storage BoolStorage ByteStorage CharStorage DoubleStorage FloatStorage from_file
            HalfStorage IntStorage LongStorage ShortStorage Storage TypedStorage UntypedStorage""",
        "type_info": "finfo iinfo",
        "utils.dlpack": "to_dlpack",
        "windows": "bartlett_window blackman_window hamming_window hann_window kaiser_window",
    }.items()
    for name in names.split()
}


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
