"""Functions and tensor methods made of other ops, as PyTorch makes them too; the module comes with the first use of one.

What they are made of is recorded, so they differentiate wherever those ops do. Sources: the pages of the same names
in https://docs.pytorch.org/docs/stable/torch.html
"""

import math

from . import _C
from .nn._whole import one_node
from .return_types import named
from .type_info import scalar_type


def _not_for(kernel, dtype):
    return NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_type(dtype)}'")


# ---- Differences and statistics ------------------------------------------------------------------------------------


def diff(input, n=1, dim=-1, prepend=None, append=None):
    """The n-th difference of neighbours along a dimension.

    >>> import hookgrad as torch
    >>> torch.diff(torch.tensor([1, 3, 2]))
    tensor([ 2, -1])
    """
    if input.dim() < 1:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    if n == 0:
        return input.clone()
    parts = [part for part in (prepend, input, append) if part is not None]
    out = _C.cat(parts, dim) if len(parts) > 1 else input
    for _ in range(min(n, out.size(dim))):
        size = out.size(dim)
        if size == 0:
            break
        after, before = out.narrow(dim, 1, size - 1), out.narrow(dim, 0, size - 1)
        out = after.logical_xor(before) if out.dtype == _C.bool else after - before
    return out


def gradient(input, *, spacing=1, dim=None, edge_order=1):
    """The derivative along each dimension, estimated from neighbours (second order inside); a tensor for each.

    `spacing` is the distance between neighbours: a number, a number a dimension, or a tensor of coordinates a dimension.
    """
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    dims = range(input.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
    if len({d % input.dim() for d in dims}) < len(dims):
        twice = next(d for i, d in enumerate(dims) if d in list(dims)[:i])
        raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
    spacing = 1 if spacing is None else spacing
    spacings = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing] * len(dims)
    if len(spacings) != len(dims) and dim is None:
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar, or a list of length equal to "
            f"'self.dim() = {input.dim()}', since dim argument was not given, but got a list of length {len(spacings)}"
        )
    if len(spacings) != len(dims):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar or it's spacing and dim arguments to have the same "
            f"length, but got a spacing argument of length {len(spacings)} and a dim argument of length {len(dims)}."
        )
    for d in dims:
        if input.size(d) < edge_order + 1:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
    return tuple(_gradient_along(input, d, s, edge_order) for d, s in zip(dims, spacings))


def _gradient_along(input, dim, spacing, edge_order):
    size = input.size(dim)

    def at(start, length):
        return input.narrow(dim, start, length)

    if isinstance(spacing, _C.Tensor) and spacing.dim():
        steps = spacing.diff().view([-1 if d == dim % input.dim() else 1 for d in range(input.dim())])
    else:
        kind = input.dtype if input.is_floating_point() else _C.get_default_dtype()
        steps = _C.full([size - 1 if d == dim % input.dim() else 1 for d in range(input.dim())], spacing, dtype=kind)
    before, after = steps.narrow(dim, 0, size - 2), steps.narrow(dim, 1, size - 2)
    inside = (
        at(0, size - 2) * (-after / (before * (before + after)))
        + at(1, size - 2) * ((after - before) / (before * after))
        + at(2, size - 2) * (before / (after * (before + after)))
    )
    if edge_order == 1:
        first = (at(1, 1) - at(0, 1)) / steps.narrow(dim, 0, 1)
        last = (at(size - 1, 1) - at(size - 2, 1)) / steps.narrow(dim, size - 2, 1)
    else:
        first = _edge(at(0, 1), at(1, 1), at(2, 1), steps.narrow(dim, 0, 1), steps.narrow(dim, 1, 1))
        last = -_edge(
            at(size - 1, 1),
            at(size - 2, 1),
            at(size - 3, 1),
            steps.narrow(dim, size - 2, 1),
            steps.narrow(dim, size - 3, 1),
        )
    return _C.cat([first, inside, last], dim)


def _edge(a, b, c, h, k):
    """The derivative at `a` of the parabola through a, b and c, which lie h and h + k away."""
    return -(2 * h + k) / (h * (h + k)) * a + (h + k) / (h * k) * b - h / (k * (h + k)) * c


def cov(input, *, correction=1, fweights=None, aweights=None):
    """The covariances of the rows of an (n, observations) matrix, (n, n).

    >>> import hookgrad as torch
    >>> torch.cov(torch.tensor([[0., 1., 2.], [2., 1., 0.]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    if input.dim() > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
    if input.dtype == _C.bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    rows = input if input.is_floating_point() else input.to(_C.get_default_dtype())
    rows = rows if input.dim() == 2 else rows.view(1, -1)
    n = rows.size(1)
    weights = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        _check_weights(name, given, n)
        weights = given if weights is None else weights * given
    total = _C.tensor(float(n)) if weights is None else weights.sum()
    mean = rows.mean(1, keepdim=True) if weights is None else (rows * weights).sum(1, keepdim=True) / total
    if aweights is None or correction == 0:
        norm = total - correction
    else:
        norm = total - correction * (weights * aweights).sum() / total
    if norm.item() <= 0:
        import warnings

        warnings.warn(
            "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.",
            stacklevel=2,
        )
        norm = norm.clamp(min=0)
    centred = rows - mean
    out = centred @ (centred if weights is None else centred * weights).t() / norm
    return out.squeeze()


def _check_weights(name, given, n):
    """The weights of n observations: a vector of them, counts for fweights, numbers for aweights, none negative."""
    if given.dim() > 1:
        raise RuntimeError(
            f"cov(): expected {name} to have one or fewer dimensions but got {name} with {given.dim()} dimensions"
        )
    whole = not given.is_floating_point()
    if whole != (name == "fweights"):
        kind = "integral" if name == "fweights" else "floating point"
        raise RuntimeError(
            f"cov(): expected {name} to have {kind} dtype but got {name} with {scalar_type(given.dtype)} dtype"
        )
    if given.numel() != n:
        raise RuntimeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input "
            f"but got {given.numel()} != {n}"
        )
    if n and given.min() < 0:
        raise RuntimeError(f"cov(): {name} cannot be negative")


def corrcoef(input):
    """The correlations of the rows of an (n, observations) matrix, (n, n)."""
    if input.dim() > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
    c = cov(input)
    if c.dim() == 0:
        return c / c
    d = c.diag().sqrt()
    return (c / d.view(-1, 1) / d.view(1, -1)).clip(-1, 1)


def quantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """The q-th quantiles, q a number in [0, 1] or a vector of them, which becomes the first dimension of the result.

    >>> import hookgrad as torch
    >>> torch.quantile(torch.arange(5.0), 0.6)
    tensor(2.4000)
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


def nanquantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """The quantiles of what is not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


def _quantile(name, input, q, dim, keepdim, interpolation, ignore_nan):
    if input.numel() == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if input.dtype not in (_C.float32, _C.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if isinstance(q, _C.Tensor):
        if q.dim() > 1:
            raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
        if q.dtype != input.dtype:
            raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    elif not 0 <= q <= 1:
        raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q:g}")
    points = q if isinstance(q, _C.Tensor) else _C.tensor(q, dtype=input.dtype)
    if not ((points >= 0) & (points <= 1)).all():
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    if input.dim() == 0:  # one element, whatever dimension is named
        input, dim, keepdim = input.view(1), None, False
    if dim is None:
        flat = input.reshape(-1)
    else:
        input.size(dim)  # is there such a dimension?
        dim %= input.dim()
        flat = input.unsqueeze(-1).transpose(dim, -1)
    ordered = flat.sort(-1)[0]
    shape = [1] * input.dim() if dim is None else [1 if i == dim else n for i, n in enumerate(input.shape)]
    last = ordered.size(-1) - 1
    if ignore_nan:
        rank = points.reshape(-1, *[1] * ordered.dim()) * (ordered.isnan().logical_not().sum(-1, keepdim=True) - 1)
        rank = rank.clamp(min=0)
    else:
        rank = (points * last).reshape(-1, *[1] * ordered.dim()).expand(-1, *ordered.shape[:-1], 1)
        rank = rank.masked_fill(ordered.isnan().any(-1, keepdim=True), last)
    if interpolation == "lower":
        rank = rank.floor()
    elif interpolation == "higher":
        rank = rank.ceil()
    elif interpolation == "nearest":
        rank = rank.round()
    every = ordered.expand(rank.size(0), *ordered.shape)
    below = rank.to(_C.int64)
    out = every.gather(-1, below)
    if interpolation in ("linear", "midpoint"):
        weight = _C.full_like(rank, 0.5) if interpolation == "midpoint" else rank - below.to(rank.dtype)
        above = every.gather(-1, rank.ceil().to(_C.int64))
        out = out.lerp(above, weight)
    out = out.squeeze(-1).reshape(rank.size(0), *shape)
    if not keepdim:
        out = out.reshape(rank.size(0)) if dim is None else out.squeeze(dim + 1)
    return out if points.dim() else out.squeeze(0)


def histc(input, bins=100, min=0, max=0):
    """How many elements fall into each of `bins` equal bins from min to max (those of the data where both are equal)."""
    if not input.is_floating_point():
        raise _not_for("histogram_cpu", input.dtype)
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
    low, high = float(min), float(max)
    if low == high and input.numel():
        low, high = input.min().item(), input.max().item()
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError("torch.histc: max must be larger than min")
    return _count(input.detach().reshape(-1), low, high, bins).to(input.dtype)


def _count(flat, low, high, bins):
    flat = flat[(flat >= low) & (flat <= high)]
    place = ((flat - low) * bins / (high - low)).to(_C.int64).clamp(max=bins - 1)
    return _C.bincount(place, minlength=bins)


def combinations(input, r=2, with_replacement=False):
    """Every choice of r elements of a vector, a row each, in the order of itertools.

    >>> import hookgrad as torch
    >>> torch.combinations(torch.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    import itertools

    if input.dim() != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty(0)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(input.numel()), r))
    return input[_C.tensor(rows, dtype=_C.int64).view(len(rows), r)]


def vander(x, N=None, *, increasing=False):
    """The Vandermonde matrix of a vector: column j holds x to the j-th power, the highest first unless `increasing`."""
    if x.dim() != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    n = x.numel() if N is None else N
    if n < 0:
        raise RuntimeError("N must be non-negative.")
    powers = x.new_ones(x.numel(), n) if n else x.new_empty(x.numel(), 0)
    if n > 1:
        powers = _C.cat([powers[:, :1], x.view(-1, 1).expand(-1, n - 1)], 1).cumprod(1)
    return powers if increasing else powers.flip(1)


def isin(elements, test_elements, *, assume_unique=False, invert=False):
    """Which elements stand among the test elements; a tensor of bool.

    >>> import hookgrad as torch
    >>> torch.isin(torch.tensor([1, 2, 3]), torch.tensor([2, 4]))
    tensor([False,  True, False])
    """
    if not isinstance(elements, _C.Tensor):
        elements = _C.tensor(elements)
    tests = test_elements if isinstance(test_elements, _C.Tensor) else _C.tensor(test_elements)
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


def trapezoid(y, x=None, *, dx=1, dim=-1):
    """The integral along a dimension by the trapezoidal rule, the points x apart, or dx."""
    left, right = y.narrow(dim, 0, max(y.size(dim) - 1, 0)), y.narrow(dim, min(1, y.size(dim)), max(y.size(dim) - 1, 0))
    if x is None:
        return (left + right).sum(dim) * (dx / 2.0)
    return ((left + right) * _steps(y, x, dim)).sum(dim) / 2.0


trapz = trapezoid


def cumulative_trapezoid(y, x=None, *, dx=1, dim=-1):
    """The running integral along a dimension by the trapezoidal rule."""
    left, right = y.narrow(dim, 0, y.size(dim) - 1), y.narrow(dim, 1, y.size(dim) - 1)
    if x is None:
        return (left + right).cumsum(dim) * (dx / 2.0)
    return ((left + right) * _steps(y, x, dim)).cumsum(dim) / 2.0


def _steps(y, x, dim):
    if x.dim() == 1 and y.dim() > 1:
        x = x.view([-1 if d == dim % y.dim() else 1 for d in range(y.dim())])
    return x.diff(dim=dim)


# ---- Whole numbers -------------------------------------------------------------------------------------------------


def gcd(input, other):
    """The greatest common divisor of each pair of integers."""
    a, b = _integers("gcd", input, other)
    while (b != 0).any():  # Euclid, all pairs together; those done keep their divisor
        a, b = _C.where(b == 0, a, b), _C.where(b == 0, b, a.fmod(_C.where(b == 0, _C.ones_like(b), b)))
    return a.abs()


def lcm(input, other):
    """The least common multiple of each pair of integers."""
    a, b = _integers("lcm", input, other)
    divisor = gcd(a, b)
    return (a.div(_C.where(divisor == 0, _C.ones_like(a), divisor), rounding_mode="trunc") * b).abs()


def _integers(name, a, b):
    for argument, position, given in (("input", 1, a), ("other", 2, b)):
        if not isinstance(given, _C.Tensor):
            raise TypeError(
                f"{name}(): argument '{argument}' (position {position}) must be Tensor, not {type(given).__name__}"
            )
    wide = _C.promote_types(a.dtype, b.dtype)
    if wide.is_floating_point or wide == _C.bool:
        raise _not_for(f"{name}_cpu", wide)
    return [t.to(wide) for t in _C.broadcast_tensors(a, b)]


@one_node("LdexpBackward0", 0, 1, saved="+ other", results="result")
def ldexp(input, other):
    """input times two to the power of other."""
    return _C.mul(input, _C.pow(2.0, other))


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
    return input.sum(dims, keepdim=True).view(size) if dims else input


@one_node("SelectScatterBackward0", 0, 1, saved="- - dim index")
def select_scatter(input, src, dim, index):
    """A copy of input with src where select(dim, index) lies."""
    return _embed(input, src, lambda t: t.select(dim, index))


@one_node("SliceScatterBackward0", 0, 1, saved="- - dim start end step")
def slice_scatter(input, src, dim=0, start=None, end=None, step=1):
    """A copy of input with src where the slice start:end:step of a dimension lies."""
    where = [slice(None)] * (dim % max(input.dim(), 1)) + [slice(start, end, step)]
    return _embed(input, src, lambda t: t[tuple(where)])


@one_node("DiagonalScatterBackward0", 0, 1, saved="- - offset dim1 dim2")
def diagonal_scatter(input, src, offset=0, dim1=0, dim2=1):
    """A copy of input with src on the diagonal."""
    return _embed(input, src, lambda t: t.diagonal(offset, dim1, dim2))


@one_node("AsStridedScatterBackward0", 0, 1, saved="- - size stride storage_offset")
def as_strided_scatter(input, src, size, stride, storage_offset=None):
    """A copy of input with src where as_strided(size, stride, storage_offset) lies."""
    return _embed(input, src, lambda t: t.as_strided(size, stride, storage_offset or 0))


def _embed(input, src, part):
    whole = input.clone()
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
    return input if input.dim() == 0 else input.transpose(-2, -1)


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
    return input * _C.where(norm > maxnorm, maxnorm / (norm + 1e-7), _C.ones_like(norm))


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


def put_(input, index, source, accumulate=False):
    """Write source's elements where index points in input laid flat, adding with `accumulate`. Returns input."""
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
    flat = input.reshape(-1).index_put((index.reshape(-1),), source.reshape(-1), accumulate)
    return input.copy_(flat.view(input.shape))


@one_node("PutBackward0", 0, 2, saved="- index source accumulate")
def put(input, index, source, accumulate=False):
    """A copy of input with source's elements where index points in it laid flat."""
    return input.clone().put_(index, source, accumulate)


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


def ldexp_(self, other):
    """self * 2**other, written into the tensor."""
    return self.copy_(ldexp(self, other))


def renorm_(self, p, dim, maxnorm):
    """Slices along a dimension shortened to a p-norm of at most maxnorm, written into the tensor."""
    return self.copy_(renorm(self, p, dim, maxnorm))


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


def cauchy_(self, median=0, sigma=1, *, generator=None):
    """Fill it with draws from a Cauchy distribution.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.cauchy_.html
    """
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    _check_continuous(self, "Cauchy")
    return self.copy_(median + sigma * (math.pi * (_draw(self, generator) - 0.5)).tan())


def geometric_(self, p, *, generator=None):
    """Fill it with draws of how many trials it takes to the first success, each having probability p.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.geometric_.html
    """
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    return self.copy_((_draw(self, generator).log() / math.log1p(-p)).ceil())


def log_normal_(self, mean=1, std=2, *, generator=None):
    """Fill it with draws whose logarithms are normal, of the mean and deviation given.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.log_normal_.html
    """
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    _check_continuous(self, "Log-normal")
    # Not contiguous, so that the draws are made in pairs however many they are.
    apart = _C.empty_strided(self.shape, [2 * s for s in _C.empty_like(self).stride()], dtype=_C.float64)
    return self.copy_(apart.normal_(mean, std, generator=generator).exp())


# ---- Order and bits --------------------------------------------------------------------------------------------------


def nanmedian(input, dim=None, keepdim=False):
    """The median of what is not nan: of all, or along a dimension with its indices.

    >>> import hookgrad as torch
    >>> torch.nanmedian(torch.tensor([1.0, float("nan"), 5.0, 3.0]))
    tensor(3.)
    """
    if dim is None:
        return _nanmedian_of_all(input) if input.numel() else input.new_tensor(math.nan)
    return named("nanmedian", "values", "indices")(*_nanmedian(input, dim, keepdim))


@one_node("NanmedianBackward0", 0, saved="self", results="result")
def _nanmedian_of_all(input):
    value = _nanmedian(input.detach().reshape(-1), 0, False)[0]
    ties = input.isnan() if value.isnan() else input == value
    return input[ties].max()  # all are equal: the gradient is shared among them


@one_node("NanmedianBackward1", 0, saved="self dim keepdim")
def _nanmedian(input, dim, keepdim):
    values, indices = input.sort(stable=True, dim=dim)
    at = ((~input.isnan()).sum(dim, keepdim=True) - 1).clamp(min=0) // 2
    values, indices = values.gather(dim, at), indices.gather(dim, at)
    if not keepdim and input.dim():
        values, indices = values.squeeze(dim), indices.squeeze(dim)
    return values, indices


def frexp(input):
    """mantissa * 2**exponent, the mantissa between a half and one."""
    import numpy

    if not input.is_floating_point():
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    exponent = _C.from_numpy(numpy.frexp(input.detach().double().numpy())[1].astype("int32").reshape(input.shape))
    return named("frexp", "mantissa", "exponent")(input * (-exponent.double()).exp2().to(input.dtype), exponent)


def nextafter(input, other):
    """The next number of the dtype from input towards other. It has no derivative: asking for it is an error."""
    import numpy

    if _C.is_grad_enabled() and (input.requires_grad or other.requires_grad):
        from .autograd.function import _Nextafter

        return _Nextafter.apply(input, other)
    return _C.from_numpy(numpy.asarray(numpy.nextafter(input.detach().numpy(), other.detach().numpy())))


def nextafter_(input, other):
    """The same, written into input."""
    return input.copy_(nextafter(input, other))


def index_reduce(input, dim, index, source, reduce, *, include_self=True):
    """A copy of input in which the slices of source at `index` are reduced ("prod", "mean", "amax", "amin")."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    if index.dim() > 1:
        raise IndexError(f"index_reduce(): Index is supposed to be a vector, but got dim: {index.dim()}")
    return _index_reduced(input, dim, index, source, reduce, include_self)


@one_node("IndexReduceBackward0", 0, 3, saved="self dim index source reduce include_self", results="result")
def _index_reduced(input, dim, index, source, reduce, include_self):
    at = index.reshape([-1 if d == dim % input.dim() else 1 for d in range(input.dim())]).expand(source.shape)
    return input.scatter_reduce(dim, at, source, reduce, include_self=include_self)


def index_reduce_(input, dim, index, source, reduce, *, include_self=True):
    """The same, written into input."""
    return input.copy_(index_reduce(input, dim, index, source, reduce, include_self=include_self))


def histogram(input, bins, *, range=None, weight=None, density=False):
    """How many elements fall into each bin, and the edges of the bins: `bins` even ones within `range`, or between edges."""
    if isinstance(bins, _C.Tensor):
        edges = bins
    else:
        low, high = range or (input.min().item(), input.max().item())
        edges = _C.linspace(low - 0.5 * (low == high), high + 0.5 * (low == high), bins + 1, dtype=input.dtype)
    flat = input.reshape(-1)
    inside = (flat >= edges[0]) & (flat <= edges[-1])
    at = (_C.searchsorted(edges, flat[inside], right=True) - 1).clamp(max=edges.numel() - 2)
    weights = _C.ones_like(flat) if weight is None else weight.reshape(-1)
    hist = _C.zeros(edges.numel() - 1, dtype=input.dtype).index_add(0, at, weights[inside])
    if density:
        hist = hist / (hist.sum() * edges.diff())
    return named("histogram", "hist", "bin_edges")(hist, edges)


def is_same_size(input, other):
    """Have both the same shape?"""
    return input.shape == other.shape


def is_signed(input):
    """Has the dtype a sign?"""
    return input.dtype not in (_C.uint8, _C.bool)


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


def _copying(name):
    """A function that makes a view, made to return a copy of it."""

    def copy(input, *args, **kwargs):
        made = getattr(input, name)(*args, **kwargs)
        return tuple([one.clone() for one in made]) if isinstance(made, (tuple, list)) else made.clone()

    copy.__name__ = f"{name}_copy"
    return copy


for (
    _name
) in "as_strided detach diagonal expand permute select split squeeze t transpose unbind unfold unsqueeze view".split():
    globals()[f"{_name}_copy"] = _copying(_name)


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
