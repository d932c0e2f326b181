"""Functions that few programs call. Sources: the pages of the same names in https://docs.pytorch.org/docs/stable/torch.html"""

import builtins
import math
from enum import Enum

from . import _C
from ._given import of_tensors
from .nn._whole import one_node

_STARTS = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": -math.inf, "amin": math.inf}


def segment_reduce(data, reduce, *, lengths=None, indices=None, offsets=None, axis=0, unsafe=False, initial=None):
    """Reduce ("sum", "mean", "max", "min", "prod") the segments along a dimension whose lengths, or bounds, are given.

    `lengths` has the shape of data up to that dimension, and there the number of segments; `offsets` one more.

    >>> import hookgrad as torch
    >>> torch.segment_reduce(torch.arange(4.0), "sum", lengths=torch.tensor([1, 3]))
    tensor([0., 6.])

    Source: https://docs.pytorch.org/docs/stable/torch.html
    """
    reduce = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    if reduce not in _STARTS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    if lengths is None and offsets is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if data.dim() == 0 or data.numel() == 0 and lengths is None:
        raise RuntimeError("segment_reduce(): Expected data to have at least one dimension and elements")
    if lengths is None:
        lengths = offsets.diff(dim=-1)
    axis %= data.dim()
    if lengths.dim() != axis + 1:
        raise RuntimeError("segment_reduce(): Expected lengths to have as many dimensions as data up to axis.")
    if not unsafe:
        if (lengths < 0).any():
            raise RuntimeError("lengths contains negative value!")
        if offsets is None and (lengths.sum(-1) != data.size(axis)).any():
            raise RuntimeError(
                "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) when !unsafe."
            )
    return _segments_reduced(data, lengths, reduce, axis, initial)


_segment_reduce = segment_reduce


@one_node("SegmentReduceBackward0", 0, saved="data lengths reduce axis initial", results="result")
def _segments_reduced(data, lengths, reduce, axis, initial):
    shape = data.shape
    start = _STARTS[reduce] if initial is None else initial
    flat, counts = data.reshape(-1, *shape[axis + 1 :]), lengths.reshape(-1).long()
    at = _C.repeat_interleave(_C.arange(counts.numel()), counts)
    out = flat.new_full((counts.numel(), *flat.shape[1:]), start)
    if reduce in ("sum", "mean"):
        out = out.index_add(0, at, flat)
        if reduce == "mean":
            counts = counts.view(-1, *[1] * (flat.dim() - 1))
            out = out / counts if initial is None else _C.where(counts == 0, out, out / counts.clamp(min=1))
    else:
        from .composites import _index_reduce  # which does not warn

        out = _index_reduce(out, 0, at, flat, reduce, True)
    return out.view(*shape[:axis], lengths.size(-1), *shape[axis + 1 :])


def nonzero_static(input, *, size, fill_value=-1):
    """The first `size` rows of nonzero(); where there are fewer, rows of `fill_value` follow."""
    found = input.nonzero()[:size]
    return _C.cat([found, found.new_full((size - len(found), found.size(1)), fill_value)])


def range(start, end=None, step=1, **kwargs):
    """The numbers from start to end, the end included: PyTorch's old arange()."""
    from ._warn import warn

    warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with Python's "
        "range builtin. Instead, use torch.arange, which produces values in [start, end).",
        stacklevel=2,
    )
    start, end = (0, start) if end is None else (start, end)
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) / step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    kwargs.setdefault("dtype", _C.get_default_dtype())
    return _C.arange(start, start + step * (math.floor((end - start) / step) + 0.5), step, **kwargs)


def empty_permuted(size, physical_layout, **kwargs):
    """An uninitialised tensor whose dimensions lie in memory in the order given, the outermost first."""
    made = _C.empty([size[d] for d in physical_layout], **kwargs)
    return made.permute([list(physical_layout).index(d) for d, _ in enumerate(size)])


# ---- What PyTorch has for sizes that are symbols: plain numbers here ----------------------------------------------


class SymInt:
    """The type of such a size. Nothing is of it."""


class SymFloat:
    """The type of such a number. Nothing is of it."""


class SymBool:
    """The type of such a condition. Nothing is of it."""


def sym_float(a):
    """float(a)"""
    return float(a)


def sym_int(a):
    """int(a)"""
    return int(a)


def sym_not(a):
    """not a"""
    return not a


def sym_max(a, b):
    """The larger one; a float if one of them is."""
    return float(max(a, b)) if isinstance(a, float) or isinstance(b, float) else max(a, b)


def sym_min(a, b):
    """The smaller one; a float if one of them is."""
    return float(min(a, b)) if isinstance(a, float) or isinstance(b, float) else min(a, b)


def sym_sqrt(a):
    """The square root."""
    return math.sqrt(a)


def sym_sum(args):
    """The sum of a sequence."""
    return sum(args)


def sym_ite(b, t, f):
    """t where b is true, else f."""
    return t if b else f


# ---- Normalisations with their statistics ---------------------------------------------------------------------------------------


def native_layer_norm(input, normalized_shape, weight, bias, eps):
    """nn.functional.layer_norm, the means and the inverse deviations."""
    dims = tuple(-1 - i for i in builtins.range(len(normalized_shape)))
    variance, mean = _C.var_mean(input, dims, correction=0, keepdim=True)
    return _C.nn.layer_norm(input, normalized_shape, weight, bias, eps), mean, (variance + eps).rsqrt()


def native_group_norm(input, weight, bias, N, C, HxW, group, eps):
    """nn.functional.group_norm, and of each sample's groups the means and the inverse deviations."""
    variance, mean = _C.var_mean(input.reshape(N, group, C * HxW // group), -1, correction=0)
    return _C.nn.group_norm(input, group, weight, bias, eps), mean, (variance + eps).rsqrt()


def native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps):
    """nn.functional.batch_norm, and where it is `training` the means and the inverse deviations of the channels."""
    out = _C.nn.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        return out, input.new_empty(0), input.new_empty(0)
    variance, mean = _C.var_mean(input.transpose(0, 1).flatten(1), 1, correction=0)
    return out, mean, (variance + eps).rsqrt()


def _softmax_backward_data(grad_output, output, dim, input_dtype):
    """The gradient of what softmax has made `output` of."""
    from ._ops import ops

    return ops.aten._softmax_backward_data(grad_output, output, dim).to(input_dtype)


def _shape_as_tensor(input):
    return _C.tensor(input.shape)


def _unique(input, sorted=True, return_inverse=False):
    return _C._unique2(input, sorted, return_inverse)[:2]


# ---- Names of what is elsewhere, or nowhere ------------------------------------------------------------------------------------


class Stream:
    """A queue of work for a device: on the CPU, one that is always empty."""

    def __init__(self, device="cpu", **options):
        self.device = _C.device(device)

    def query(self):
        return True

    synchronize = record = wait = record_event = wait_event = wait_stream = lambda self, other=None: other
    __enter__ = lambda self: self
    __exit__ = lambda *exception: None


class Event(Stream):
    """A mark in such a queue: passed."""


Tag = Enum(
    "Tag",
    """core cudagraph_unsafe data_dependent_output dynamic_output_shape flexible_layout generated inplace inplace_view
    maybe_aliasing_or_mutating needs_contiguous_strides needs_exact_strides needs_fixed_stride_order nondeterministic_bitwise
    nondeterministic_seeded out out_variant pointwise pt2_compliant_tag reduction view_copy""",
)


def get_device_module(device=None):
    """The module of a kind of device: torch.cpu."""
    import hookgrad

    return getattr(hookgrad, _C.device("cpu" if device is None else device).type)


def compiled_with_cxx11_abi():
    """True."""
    return True


def _removed(*args, **kwargs):
    """What PyTorch itself has removed."""
    raise RuntimeError("This function was deprecated since version 1.9 and is now removed. See torch.linalg.")


eig = lstsq = matrix_rank = solve = symeig = _removed


def warn_of_flag(name):
    """Of a flag that torch.backends has now; the frames in between are those of the attribute's look-up."""
    import warnings

    home = name.removeprefix("has_")
    asked = "is_built" if home in ("cuda", "mps") else "is_available"
    warnings.warn(f"'{name}' is deprecated, please use 'torch.backends.{home}.{asked}()'", stacklevel=4)


has_lapack, has_mkl, has_openmp, has_spectral = True, False, True, False


of_tensors(globals(), "segment_reduce:data")
