"""Differences, integrals and statistics of tensors, made of other ops, as PyTorch makes them too.

Sources: the pages of the same names in https://docs.pytorch.org/docs/stable/torch.html
"""

import math

from . import _C
from ._given import of_tensors
from ._out import take_out
from .nn import functional as F
from .nn._whole import of_each, without_derivative
from .return_types import named
from .type_info import not_for, scalar_type

# ---- Differences and integrals ---------------------------------------------------------------------------------------


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
    if any(part.dim() != input.dim() for part in parts):
        raise RuntimeError("diff expects prepend or append to be the same dimension as input")
    out = _C.cat(parts, dim) if len(parts) > 1 else input
    for _ in range(min(n, out.size(dim))):
        size = out.size(dim)
        if size == 0:
            break
        before, after = out.narrow(dim, 0, size - 1), out.narrow(dim, 1, size - 1)
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
    part = [input.narrow(dim, 0, size - 2), input.narrow(dim, 1, size - 2), input.narrow(dim, 2, size - 2)]
    start = [input.narrow(dim, i, 1) for i in range(edge_order + 1)]
    end = [input.narrow(dim, size - 1 - i, 1) for i in range(edge_order + 1)]
    if not (isinstance(spacing, _C.Tensor) and spacing.dim()):  # evenly spaced
        inside = _over(_over(part[2] - part[0], spacing), 2.0)
        if edge_order == 1:
            first, last = start[1] - start[0], end[0] - end[1]
        else:
            first = _times(start[0], -1.5) + _times(start[1], 2) - _times(start[2], 0.5)
            last = _times(end[2], 0.5) - _times(end[1], 2) + _times(end[0], 1.5)
        return _C.cat([_over(first, spacing), inside, _over(last, spacing)], dim)
    steps = spacing.diff().view([-1 if d == dim % input.dim() else 1 for d in range(input.dim())])
    at = [steps.narrow(dim, i, 1) for i in (0, min(1, size - 2), max(size - 3, 0), size - 2)]
    before, after = steps.narrow(dim, 0, size - 2), steps.narrow(dim, 1, size - 2)
    both = before + after
    weights = -after / (before * both), (after - before) / (before * after), before / (after * both)
    inside = _weighted(weights, part)
    if edge_order == 1:
        first, last = (start[1] - start[0]) / at[0], (end[0] - end[1]) / at[3]
    else:
        first = _weighted(_parabola(at[0], at[1]), start)
        last = _weighted([-w for w in _parabola(at[3], at[2])][::-1], end[::-1])
    return _C.cat([first, inside, last], dim)


def _over(x, number):
    """x / number as PyTorch's C++ has it: a node with one edge."""
    return _C._div(x, number.item() if isinstance(number, _C.Tensor) else number)


_times = _C._mul


def _weighted(weights, parts):
    return weights[0] * parts[0] + weights[1] * parts[1] + weights[2] * parts[2]


def _parabola(h, k):
    """What weighs the values at 0, h and h + k in the derivative of the parabola through them at 0."""
    return -(2 * h + k) / (h * (h + k)), (h + k) / (h * k), -h / (k * (h + k))


def _neighbours(y, dim):
    """The sums of neighbours along a dimension."""
    size = max(y.size(dim) - 1, 0)
    return y.narrow(dim, 0, size) + y.narrow(dim, min(1, y.size(dim)), size)


def trapezoid(y, x=None, *, dx=1, dim=-1):
    """The integral along a dimension by the trapezoidal rule, the points x apart, or dx."""
    if x is not None:
        steps = _steps(y, x, dim)
        return _C._div((_neighbours(y, dim) * steps).sum(dim), 2.0)
    if y.size(dim) == 0:
        return y.new_zeros([n for d, n in enumerate(y.shape) if d != dim % y.dim()])
    last = y.select(dim, -1)
    ends = _times(y.select(dim, 0) + last, 0.5)
    return _times(y.sum(dim) - ends, dx)


trapz = trapezoid


def cumulative_trapezoid(y, x=None, *, dx=1, dim=-1):
    """The running integral along a dimension by the trapezoidal rule."""
    if x is None:
        return _times(_neighbours(y, dim), dx / 2.0).cumsum(dim)
    steps = _steps(y, x, dim)
    return _C._div((_neighbours(y, dim) * steps).cumsum(dim), 2.0)


def _steps(y, x, dim):
    if x.dim() == 1:
        x = x.view([-1 if d == dim % y.dim() else 1 for d in range(y.dim())])
    before = x.narrow(dim, 0, x.size(dim) - 1)  # made first, as PyTorch's compiler has it
    return x.narrow(dim, 1, x.size(dim) - 1) - before


# ---- Statistics ----------------------------------------------------------------------------------------------------


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
    mean = (rows if weights is None else rows * weights).sum(1) / total
    if aweights is None or correction == 0:
        norm = total - correction
    else:
        norm = total - correction * (weights * aweights).sum() / total
    if norm.item() <= 0:
        from ._warn import warn

        warn(
            "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.",
            stacklevel=2,
        )
        norm = norm.clamp(min=0)
    centred = rows - mean.unsqueeze(1)
    out = centred.mm((centred if weights is None else centred * weights).t()) / norm
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
    d = c.diagonal().sqrt()
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
    if dim is not None and input.dim():
        input.size(dim)  # is there such a dimension?
    if dim is None or not input.dim():  # one element, whatever dimension is named
        rest = [1] * (keepdim * input.dim()) if dim is None else []
        ordered = input.flatten().sort()[0]
    else:
        dim %= input.dim()
        rest = [1 if i == dim else n for i, n in enumerate(input.shape) if keepdim or i != dim]
        last_one = dim == input.dim() - 1
        ordered = (input if last_one else input.unsqueeze(-1).transpose(dim, -1)).sort(-1)[0]
    ordered = ordered.view(*rest, ordered.size(-1))
    last = ordered.size(-1) - 1
    if ignore_nan:
        rank = (points * (ordered.isnan().logical_not().sum(-1, keepdim=True) - 1)).clamp(min=0)
    else:
        rank, has_nan = _C.broadcast_tensors(points * last, ordered.isnan().any(-1, keepdim=True))
        rank = rank.masked_fill(has_nan, last)
    if interpolation == "lower":
        rank = rank.floor()
    elif interpolation == "higher":
        rank = rank.ceil()
    elif interpolation == "nearest":
        rank = rank.round()
    below = rank.to(_C.int64)
    out = ordered.gather(-1, below)
    if interpolation in ("linear", "midpoint"):
        weight = _C.full_like(rank, 0.5) if interpolation == "midpoint" else rank - below
        out.lerp_(ordered.gather(-1, rank.ceil().to(_C.int64)), weight)
    return out.unsqueeze_(0).transpose_(0, -1).squeeze_(-1) if points.dim() else out.squeeze_(-1)


@of_each
def histc(input, bins=100, min=0, max=0):
    """How many elements fall into each of `bins` equal bins from min to max (those of the data where both are equal)."""
    if not input.is_floating_point():
        raise not_for("histogram_cpu", input.dtype)
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


def histogram(input, bins, *, range=None, weight=None, density=False):
    """How many elements fall into each bin, and the edges of the bins: `bins` even ones within `range`, or between edges."""
    return named("histogram")(*_histogram(input, bins, range, weight, density))


@without_derivative("histogram", 0, 3)
def _histogram(input, bins, range, weight, density):
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
    return hist, edges


# ---- Choices and powers --------------------------------------------------------------------------------------------


def combinations(input, r=2, with_replacement=False):
    """Every choice of r elements of a vector, a row each, in the order of itertools.

    >>> import hookgrad as torch
    >>> torch.combinations(torch.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    F._must_be_tensors("combinations", input=input)
    if input.dim() != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty(0)
    grids = _C.meshgrid(*[input] * r, indexing="ij")
    places = _C.meshgrid(*[_C.arange(input.numel())] * r, indexing="ij")
    chosen = _C.ones([input.numel()] * r, dtype=_C.bool)
    for before, after in zip(places, places[1:]):
        chosen &= before <= after if with_replacement else before < after
    return _C.stack([grid.masked_select(chosen) for grid in grids], 1)


def vander(x, N=None, increasing=False):
    """The Vandermonde matrix of a vector: column j holds x to the j-th power, the highest first unless `increasing`."""
    if x.dim() != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    n = x.numel() if N is None else N
    if n < 0:
        raise RuntimeError("N must be non-negative.")
    powers = x.new_ones(x.numel(), n, dtype=_C.int64 if x.dtype == _C.bool else None)
    if n > 1:
        powers[:, 1:].copy_(x.unsqueeze(-1))
        powers[:, 1:].copy_(powers[:, 1:].clone().cumprod(1))  # PyTorch makes no copy, and its backward fails
    return powers if increasing else powers.flip(1)


of_tensors(
    globals(),
    """combinations corrcoef cov cumulative_trapezoid:y diff gradient histc histogram nanquantile quantile trapezoid:y trapz:y
    vander:x""",
)
take_out(globals(), "histc histogram nanquantile quantile")
