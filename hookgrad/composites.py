"""Functions and tensor methods made of other ops, as PyTorch makes them too; the module comes with the first use of one.

What they are made of is recorded, so they differentiate wherever those ops do. Sources: the pages of the same names
in https://docs.pytorch.org/docs/stable/torch.html
"""

import math
from functools import wraps

from . import _C
from ._given import of_tensors
from ._levels import anywhere, in_map
from ._out import take_out
from ._warn import warn_once
from .nn import functional as F
from .nn._whole import in_place, of_each, one_node, without_derivative
from .return_types import named
from .type_info import not_for, scalar_type

# ---- Places ------------------------------------------------------------------------------------------------------


def isin(elements, test_elements, *, assume_unique=False, invert=False):
    """Which elements stand among the test elements; a tensor of bool.

    >>> import hookgrad as torch
    >>> torch.isin(torch.tensor([1, 2, 3]), torch.tensor([2, 4]))
    tensor([False,  True, False])
    """
    if not isinstance(elements, _C.Tensor):
        elements = _C.tensor(elements)
    tests = test_elements if isinstance(test_elements, _C.Tensor) else _C.tensor(test_elements)
    if _C.bool in (elements.dtype, tests.dtype):
        raise RuntimeError("Unsupported input type encountered for isin(): Bool")
    if tests.numel() == 0:
        return _C.full(elements.shape, invert, dtype=_C.bool)
    ordered = tests.reshape(-1).sort()[0]
    wide = _C.promote_types(elements.dtype, ordered.dtype)
    ordered, sought = ordered.to(wide), elements.to(wide)
    place = _C.searchsorted(ordered, sought.contiguous()).clamp(max=ordered.numel() - 1)
    return ordered[place].ne(sought) if invert else ordered[place].eq(sought)


def unravel_index(indices, shape):
    """The index in each dimension of a tensor of that shape, for each index into it laid flat; a tuple of tensors."""
    if not isinstance(indices, _C.Tensor):
        raise TypeError(f"unravel_index(): argument 'indices' must be Tensor, not {type(indices).__name__}")
    if indices.is_floating_point() or indices.dtype == _C.bool:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    if not isinstance(shape, (int, tuple, list, _C.Size)):
        raise TypeError(f"expected 'shape' to be int or sequence of ints, but got {type(shape)}")
    shape = [shape] if isinstance(shape, int) else list(shape)
    for n in shape:
        if not isinstance(n, int):
            raise TypeError(f"expected 'shape' sequence to only contain ints, but got {type(n)}")
    if any(n < 0 for n in shape):
        raise ValueError(f"'shape' cannot have negative values, but got {tuple(shape)}")
    out = []
    for n in reversed(shape):
        out.insert(0, indices % n)
        indices = indices.div(n, rounding_mode="floor")
    return tuple(out)


# ---- Whole numbers -------------------------------------------------------------------------------------------------


def gcd(input, other):
    """The greatest common divisor of each pair of integers."""
    a, b = _integers("gcd", input, other)
    while anywhere(b != 0):  # Euclid, all pairs together; those done keep their divisor
        a, b = _C.where(b == 0, a, b), _C.where(b == 0, b, a.fmod(_C.where(b == 0, _C.ones_like(b), b)))
    return a.abs()


def lcm(input, other):
    """The least common multiple of each pair of integers."""
    a, b = _integers("lcm", input, other)
    divisor = gcd(a, b)
    return (a.div(_C.where(divisor == 0, _C.ones_like(a), divisor), rounding_mode="trunc") * b).abs()


def _integers(name, a, b):
    F._must_be_tensors(name, input=a, other=b)
    wide = _C.promote_types(a.dtype, b.dtype)
    if wide.is_floating_point or wide == _C.bool:
        raise not_for(f"{name}_cpu", wide)
    return [t.to(wide) for t in _C.broadcast_tensors(a, b)]


def _of_ldexp(grad, input, other, result):
    by_other = _C._mul(grad * result, math.log(2.0)) if other.requires_grad else None
    return grad * _C.pow(2.0, other), by_other


@one_node("LdexpBackward0", 0, 1, saved="- other", results="result", derivative=_of_ldexp)
def ldexp(input, other):
    """input times two to the power of other."""
    result = _C.mul(input, _C.pow(2.0, other))
    return result.to(input.dtype) if input.is_floating_point() and not other.is_floating_point() else result


# ---- Shapes and parts ----------------------------------------------------------------------------------------------


def sum_to_size(input, *size):
    """Sum the dimensions that broadcasting `size` would have expanded, so that `size` results.

    >>> import hookgrad as torch
    >>> torch.ones(2, 3).sum_to_size(1, 3)
    tensor([[2., 2., 2.]])
    """
    size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    lead = input.dim() - len(size)
    if lead < 0 or any(n not in (1, m) for n, m in zip(size, input.shape[lead:])):
        raise RuntimeError(f"size {{{list(size)}}} is not expandable to size {{{list(input.shape)}}}.")
    dims = [i for i in range(input.dim()) if i < lead or (size[i - lead] == 1 and input.size(i) != 1)]
    if not size:
        return input.sum()
    total = input.sum(dims, keepdim=True) if dims else input
    return total.view(size) if lead else total


def _scatter_into(name, settings):
    """A function that writes src into a copy of input, where the view that a function of input and settings makes lies."""

    def decorate(view):
        def by_ops(input, src, *settings):
            return _embed(input, src, lambda t: view(t, *settings))

        def derivative(grad, input, src, *settings):
            is_strided = name == "AsStridedScatter"
            if is_strided:
                grad = grad.contiguous()
            zeros = _C.zeros_like(view(grad.detach(), *settings))
            rest = (by_ops if is_strided else as_one)(grad, zeros, *settings)
            return rest, view(grad, *settings)

        as_one = one_node(name + "Backward0", 0, 1, saved="- - " + settings, derivative=derivative)(by_ops)
        return as_one

    return decorate


@_scatter_into("SelectScatter", "dim index")
def _select_scatter(t, dim, index):
    return t.select(dim, index)


@_scatter_into("SliceScatter", "dim start end step")
def _slice_scatter(t, dim, start, end, step):
    return t[(slice(None),) * (dim % max(t.dim(), 1)) + (slice(start, end, step),)]


@_scatter_into("DiagonalScatter", "offset dim1 dim2")
def _diagonal_scatter(t, offset, dim1, dim2):
    return t.diagonal(offset, dim1, dim2)


@_scatter_into("AsStridedScatter", "size stride storage_offset")
def _as_strided_scatter(t, size, stride, storage_offset):
    return t.as_strided(size, stride, storage_offset or 0)


def select_scatter(input, src, dim, index):
    """A copy of input with src where select(dim, index) lies."""
    return _select_scatter(input, src, dim, index)


def slice_scatter(input, src, dim=0, start=None, end=None, step=1):
    """A copy of input with src where the slice start:end:step of a dimension lies."""
    return _slice_scatter(input, src, dim, start, end, step)


def diagonal_scatter(input, src, offset=0, dim1=0, dim2=1):
    """A copy of input with src on the diagonal."""
    return _diagonal_scatter(input, src, offset, dim1, dim2)


def as_strided_scatter(input, src, size, stride, storage_offset=None):
    """A copy of input with src where as_strided(size, stride, storage_offset) lies."""
    return _as_strided_scatter(input.contiguous(), src, size, stride, storage_offset)


def _embed(input, src, part):
    overlaps = any(step == 0 and n > 1 for step, n in zip(input.stride(), input.shape))
    if overlaps or in_map(input) is not None:
        whole = input.clone()
    else:
        whole = _C.empty_strided(input.shape, input.stride(), dtype=input.dtype).copy_(input)
    if in_map(src) is not None:  # as many as there are of src
        whole = _C.where(_C.zeros_like(src, dtype=_C.bool).any(), whole, whole)
    place = part(whole)
    if place.shape != src.shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = {list(place.shape)}"
        )
    place.copy_(src)
    return whole


@one_node("NarrowCopyBackward0", 0, saved="self_sym_sizes dim start length")
def narrow_copy(input, dim, start, length):
    """A copy of narrow(dim, start, length)."""
    return input.narrow(dim, start, length).clone()


def adjoint(input):
    """The last two dimensions exchanged: there are no complex numbers to conjugate."""
    if input.dim() == 1:
        raise RuntimeError("tensor.adjoint() is only supported on matrices or batches of matrices. Got 1-D tensor.")
    if input.dim() == 0:
        warn_once("adjoint() is deprecated on 0-D tensors. Consider using x.conj().", 3)
        return input
    return input.transpose(-2, -1)


@one_node("RenormBackward0", 0, saved="self p dim maxnorm")
def renorm(input, p, dim, maxnorm):
    """Scale the slices along a dimension whose p-norm exceeds maxnorm down to it."""
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.dim() < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.dim()} dimensions")
    rest = [d for d in range(input.dim()) if d != dim % input.dim()]
    norm = _C.linalg.vector_norm(input, p, rest, keepdim=True)
    return (input * _C.where(norm > maxnorm, maxnorm / (norm + 1e-7), _C.ones_like(norm))).contiguous()


def fill_diagonal_(input, fill_value, wrap=False):
    """Write a number onto the main diagonal; in a tall matrix again and again with `wrap`. Returns input."""
    if input.dim() < 2:
        raise RuntimeError("dimensions must larger than 1")
    if input.dim() > 2 and len(set(input.shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    step, size = sum(input.stride()), min(input.shape)
    input.as_strided((size,), (step,), input.storage_offset()).fill_(fill_value)
    if wrap and input.dim() == 2 and input.size(0) > input.size(1) + 1:
        for start in range(input.size(1) + 1, input.size(0), input.size(1) + 1):
            input[start:].fill_diagonal_(fill_value)
    return input


def _checked_put(input, index, source):
    if index.dtype != _C.int64:
        raise RuntimeError(f"put_(): Expected a long tensor for index, but got {scalar_type(index.dtype)}")
    if source.dtype != input.dtype:
        raise RuntimeError(
            "put_(): self and source expected to have the same dtype, but got "
            f"self.dtype = {scalar_type(input.dtype)} and source.dtype = {scalar_type(source.dtype)}"
        )
    if index.numel() != source.numel():
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, "
            f"but got source.numel() = {source.numel()}, index.numel() = {index.numel()}"
        )


def _of_put(grad, input, index, source, accumulate):
    kept = grad if accumulate else put(grad, index, _C.zeros_like(source))
    return kept, grad.take(index).reshape(source.shape)


@one_node("PutBackward0", 0, 2, saved="- index source accumulate", derivative=_of_put)
def put(input, index, source, accumulate=False):
    """A copy of input with source's elements where index points in it laid flat, added with `accumulate`."""
    _checked_put(input, index, source)
    flat = input.reshape(-1).index_put((index.reshape(-1),), source.reshape(-1), accumulate)
    made = flat.view(input.shape)
    return made if input.is_contiguous() else _C.empty_like(input).copy_(made)


put_ = in_place(put)


def new_empty_strided(input, size, stride, dtype=None, device=None, layout=None, requires_grad=False, pin_memory=False):
    """An uninitialised tensor of input's dtype with these strides."""
    return _C.empty_strided(size, stride, dtype=dtype or input.dtype, requires_grad=requires_grad)


def float_power_(input, exponent):
    """Raise float64 elements to a power, in place. Returns input."""
    if input.dtype != _C.float64:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {scalar_type(input.dtype)} but the operation's result requires dtype Double"
        )
    return input.pow_(exponent)


# ---- Numbers of one kind only: nothing to conjugate, nothing negated late -----------------------------------------


def conj(input):
    """Itself: every tensor is real."""
    return input


conj_physical = resolve_conj = resolve_neg = conj
conj_physical_ = in_place(one_node("ConjPhysicalBackward1", 0, saved="-")(conj))


def is_conj(input):
    """Is it conjugated late? Never."""
    return False


is_neg = is_conj


def isreal(input):
    """Where it is real: everywhere."""
    return _C.ones_like(input, dtype=_C.bool)


# ---- In place ------------------------------------------------------------------------------------------------------


def gcd_(self, other):
    """The greatest common divisors, written into the tensor."""
    return self.copy_(gcd(self, other))


def lcm_(self, other):
    """The least common multiples, written into the tensor."""
    return self.copy_(lcm(self, other))


ldexp_, renorm_ = in_place(ldexp), in_place(renorm)


def _draw(self, generator):
    """An even draw from [0, 1) for each element, as PyTorch makes them for these: in float64, in memory order."""
    return _C.empty_like(self, dtype=_C.float64).uniform_(generator=generator)


def _check_continuous(self, name):
    if not self.is_floating_point():
        kind = {
            _C.int64: "long int",
            _C.int32: "int",
            _C.int16: "short",
            _C.int8: "signed char",
            _C.uint8: "unsigned char",
        }
        raise RuntimeError(
            f"{name} distribution is a continuous probability distribution. dtype must be a floating point but you specified "
            f"{kind.get(self.dtype, 'bool')}"
        )


def _drawn(name, draw):
    """A method that fills a tensor with what `draw` of it returns."""

    @wraps(draw)
    def method(self, *args, generator=None, **kwargs):
        drawn = draw(self, *args, generator=generator, **kwargs)
        return fill(self, drawn)

    fill = in_place(one_node(name, 0, saved="- -")(_constant))
    return method


def _constant(input, value):
    """The value, of which the gradient is zero, not none."""
    return input.clone().zero_() + value.to(input.dtype)


def _cauchy(self, median=0, sigma=1, *, generator=None):
    """Fill it with draws from a Cauchy distribution.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.cauchy_.html
    """
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    _check_continuous(self, "Cauchy")
    return median + sigma * (math.pi * (_draw(self, generator) - 0.5)).tan()


def _geometric(self, p, *, generator=None):
    """Fill it with draws of how many trials it takes to the first success, each having probability p.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.geometric_.html
    """
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    return (_draw(self, generator).log() / math.log1p(-p)).ceil()


def _log_normal(self, mean=1, std=2, *, generator=None):
    """Fill it with draws whose logarithms are normal, of the mean and deviation given.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.log_normal_.html
    """
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    _check_continuous(self, "Log-normal")
    # Not contiguous, so that the draws are made in pairs however many they are.
    apart = _C.empty_strided(self.shape, [2 * s for s in _C.empty_like(self).stride()], dtype=_C.float64)
    return apart.normal_(mean, std, generator=generator).exp()


cauchy_ = _drawn("CauchyBackward0", _cauchy)
geometric_ = _drawn("GeometricBackward0", _geometric)
log_normal_ = _drawn("LogNormalBackward0", _log_normal)


# ---- Order and bits --------------------------------------------------------------------------------------------------


def nanmedian(input, dim=None, keepdim=False):
    """The median of what is not nan: of all, or along a dimension with its indices.

    >>> import hookgrad as torch
    >>> torch.nanmedian(torch.tensor([1.0, float("nan"), 5.0, 3.0]))
    tensor(3.)
    """
    if dim is None:
        return _nanmedian_of_all(input) if input.numel() else input.new_tensor(math.nan)
    return named("nanmedian")(*_nanmedian(input, dim, keepdim))


def _shared(grad, input, result):
    """Elements equal to the result share its gradient."""
    ties = input.isnan() if result.isnan() else input == result
    return _C.zeros_like(input).masked_fill(ties, grad / ties.sum())


@one_node("NanmedianBackward0", 0, saved="self", results="result", derivative=_shared)
def _nanmedian_of_all(input):
    return _nanmedian(input.reshape(-1), 0, False)[0]


def _by_place(grad, _, input, dim, keepdim, indices):
    if not keepdim and input.dim():
        grad, indices = grad.unsqueeze(dim), indices.unsqueeze(dim)
    return input.detach().scatter(dim, indices, grad)  # into zeros, which stand for the input


@one_node("NanmedianBackward1", 0, saved="self_sym_sizes dim keepdim", results="- indices", derivative=_by_place)
def _nanmedian(input, dim, keepdim):
    values, indices = input.sort(stable=True, dim=dim)
    at = ((~input.isnan()).sum(dim, keepdim=True) - 1).clamp(min=0) // 2
    values, indices = values.gather(dim, at), indices.gather(dim, at)
    if not keepdim and input.dim():
        values, indices = values.squeeze(dim), indices.squeeze(dim)
    return values, indices


def frexp(input):
    """mantissa * 2**exponent, the mantissa between a half and one."""
    if not input.is_floating_point():
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    exponent = _exponent(input.detach())
    return named("frexp")(_mantissa(input, exponent), exponent)


@of_each
def _exponent(input):
    import numpy

    return _C.tensor(numpy.frexp(memoryview(input.double()))[1], dtype=_C.int32)  # not numpy(), which a transform hides


def _by_frexp(grad, _, exponent):
    return grad / exponent.double().exp2().to(grad.dtype)


@one_node("FrexpBackward0", 0, saved="- exponent", derivative=_by_frexp, reads="numbers")
def _mantissa(input, exponent):
    return input * (-exponent.double()).exp2().to(input.dtype)


def _by_nextafter(grad, input, other):
    return _C.where(input != other, grad, 0), _C.zeros_like(grad)


@one_node("NextafterBackward0", 0, 1, saved="self other", derivative=_by_nextafter, reads="numbers")
def nextafter(input, other):
    """The next number of the dtype from input towards other."""
    import numpy

    # Whose tangent, in forward mode, is that of the next number.
    result = _C.where(input != other, input, other.detach())
    a, b = (memoryview(t.detach()) for t in (input, other))  # not numpy(), which a transform hides
    result.data.copy_(_C.from_numpy(numpy.asarray(numpy.nextafter(a, b))))
    return result


nextafter_ = in_place(nextafter)


def index_reduce(input, dim, index, source, reduce, *, include_self=True):
    """A copy of input in which the slices of source at `index` are reduced ("prod", "mean", "amax", "amin")."""
    _check_reduced(index, reduce)
    return _index_reduce(input, dim, index, source, reduce, include_self)


def index_reduce_(input, dim, index, source, reduce, *, include_self=True):
    """The same, written into input."""
    _check_reduced(index, reduce)
    return _index_reduce_(input, dim, index, source, reduce, include_self)


def _check_reduced(index, reduce):
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    warn_once("index_reduce() is in beta and the API may change at any time.", 4)
    if index.dim() > 1:
        raise IndexError(f"index_reduce(): Index is supposed to be a vector, but got dim: {index.dim()}")


@one_node("IndexReduceBackward0", 0, 3, saved="self dim index source reduce include_self", results="result")
def _index_reduce(input, dim, index, source, reduce, include_self):
    at = index.reshape([-1 if d == dim % input.dim() else 1 for d in range(input.dim())]).expand(source.shape)
    return input.scatter_reduce(dim, at, source, reduce, include_self=include_self)


_index_reduce_ = in_place(_index_reduce)


def is_same_size(input, other):
    """Have both the same shape?"""
    return input.shape == other.shape


def is_signed(input):
    """Has the dtype a sign?"""
    return input.dtype not in (_C.uint8, _C.bool)


@one_node("AngleBackward0", 0, saved="self")
def angle(input):
    """The angle in the complex plane: 0, or pi below zero."""
    zero = input * 0 if input.is_floating_point() else _C.zeros_like(input, dtype=_C.get_default_dtype())
    return _C.where(input < 0, zero + math.pi, zero)


def norm_except_dim(v, pow=2, dim=0):
    """The norms of the slices along a dimension, kept as dimensions of size 1; -1: the norm of all."""
    if dim == -1:
        return v.norm(pow)
    rest = [d for d in range(v.dim()) if d != dim]
    return v.norm(pow, rest, keepdim=True) if rest else v.abs()


def frobenius_norm(input, dim, keepdim=False):
    """The square root of the sum of squares along dimensions."""
    return _C.linalg.vector_norm(input, 2, dim or None, keepdim)


def nuclear_norm(input, dim=(-2, -1), keepdim=False):
    """The sum of the singular values."""
    from . import linalg

    return linalg.matrix_norm(input, "nuc", dim, keepdim)


def _copying(name, node):
    """A function that makes a view, made to return a copy of it: one node."""

    def copy(input, *args, **kwargs):
        @one_node(node + "Backward0_copy", 0, saved="-")
        def function(input):
            made = getattr(input, name)(*args, **kwargs)
            return tuple([one.clone() for one in made]) if isinstance(made, (tuple, list)) else made.clone()

        return function(input)

    copy.__name__ = copy.__qualname__ = f"{name}_copy"
    copy.__doc__ = f"The same as {name}(), but a copy, not a view."
    return copy


for _name, _node in {
    "t": "T",
    **{
        n: "".join([w.capitalize() for w in n.split("_")])
        for n in """as_strided diagonal expand permute select split
    split_with_sizes squeeze transpose unbind unfold unsqueeze view""".split()
    },
}.items():
    globals()[f"{_name}_copy"] = _copying(_name, _node)


@without_derivative("detach_copy", 0)
def detach_copy(input):
    """A copy; it has no derivative."""
    return input.detach().clone()


@one_node("AliasBackward0_copy", 0, saved="-")
def alias_copy(input):
    """A copy."""
    return input.clone()


@one_node("SliceBackward0_copy", 0, saved="-")
def slice_copy(input, dim=0, start=None, end=None, step=1):
    """A copy of a slice along a dimension."""
    return input[(slice(None),) * (dim % input.dim()) + (slice(start, end, step),)].clone()


# ---- Fake quantisation -----------------------------------------------------------------------------------------------


def _fake_quantize(name):
    @one_node(name, 0)
    def quantize(input, scale, zero_point, quant_min, quant_max):
        level = (input / scale + zero_point).detach().round()
        inside = (level >= quant_min) & (level <= quant_max)
        made = (level.clamp(quant_min, quant_max) - zero_point) * scale
        return input * inside + (made - input * inside).detach()  # the gradient passes where nothing was cut off

    return quantize


_per_tensor = _fake_quantize("FakeQuantizePerTensorAffineCachemaskBackward0")
_per_channel = _fake_quantize("FakeQuantizePerChannelAffineCachemaskBackward0")


def fake_quantize_per_tensor_affine(input, scale, zero_point, quant_min, quant_max):
    """What is left of input when it is rounded to quant_min .. quant_max steps of `scale`, 0 being at zero_point."""
    if quant_min > quant_max:
        raise RuntimeError("`quant_min` should be less than or equal to `quant_max`.")
    return _per_tensor(input, scale, zero_point, quant_min, quant_max)


def fake_quantize_per_channel_affine(input, scale, zero_point, axis, quant_min, quant_max):
    """The same with a scale and a zero point for each index of a dimension."""
    shape = [-1 if d == axis % input.dim() else 1 for d in range(input.dim())]
    return _per_channel(input, scale.view(shape), zero_point.view(shape), quant_min, quant_max)


def imag(input):
    """Fails: there are no complex numbers."""
    raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")


def view_as_real(input):
    """Fails: there are no complex numbers."""
    raise RuntimeError("view_as_real is only supported for complex tensors")


of_tensors(
    globals(),
    """alias_copy angle as_strided_copy as_strided_scatter conj conj_physical detach_copy diagonal_copy diagonal_scatter
    expand_copy frexp frobenius_norm imag is_conj is_neg is_same_size is_signed ldexp nanmedian narrow_copy nextafter
    norm_except_dim:v nuclear_norm permute_copy put renorm resolve_conj resolve_neg select_copy select_scatter slice_copy
    slice_scatter split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy unfold_copy unsqueeze_copy
    view_as_real view_copy""",
)
take_out(
    globals(),
    """angle conj_physical frexp gcd index_reduce lcm ldexp nanmedian narrow_copy nextafter renorm detach_copy diagonal_copy expand_copy
    permute_copy select_copy slice_copy squeeze_copy t_copy transpose_copy unfold_copy unsqueeze_copy view_copy alias_copy""",
)
