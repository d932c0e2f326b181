"""Images resized, sampled, rearranged, cut into patches: functions that `functional` has under PyTorch's names."""

import math

import hookgrad

from ..type_info import not_for, scalar_type
from . import functional as F
from ._whole import lying_as, one_node
from .modules.utils import _pair

# ---- Resizing ------------------------------------------------------------------------------------------------------------

# Every mode is linear in each dimension by itself: output = weights @ input, with weights (out, in).


def _cubic(x, a):
    """Keys' kernel."""
    x = x.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return hookgrad.where(x <= 1, near, hookgrad.where(x < 2, far, hookgrad.zeros_like(x)))


def _lanczos(x):
    inside = hookgrad.sinc(x) * hookgrad.sinc(x / 3)
    return hookgrad.where(x.abs() < 3, inside, hookgrad.zeros_like(x))


# Half the width of a filter, and the filter.
_FILTERS = {
    "bilinear": (1, lambda x: (1 - x.abs()).clamp_min(0)),
    "bicubic": (2, lambda x: _cubic(x, -0.5)),
    "lanczos": (3, _lanczos),
}


def _scale(size, out, factor, align_corners):
    if align_corners:
        return (size - 1) / (out - 1) if out > 1 else 0.0
    return 1.0 / factor if factor is not None and factor > 0 else size / out


def _places(size, out, factor, align_corners, dtype):
    """Where the outputs lie in the input."""
    scale = hookgrad.tensor(_scale(size, out, factor, align_corners), dtype=dtype)
    steps = hookgrad.arange(out, dtype=dtype)
    return steps * scale if align_corners else (steps + 0.5) * scale - 0.5


def _linear_weights(size, out, factor, align_corners, dtype):
    at = _places(size, out, factor, align_corners, dtype).clamp_min(0)
    low = at.long().clamp_max(size - 1)
    high = (low + 1).clamp_max(size - 1)
    t = (at - low).unsqueeze(1)
    weights = hookgrad.zeros(out, size, dtype=dtype).scatter_add(1, low.unsqueeze(1), 1 - t)
    return weights.scatter_add(1, high.unsqueeze(1), t)


def _cubic_weights(size, out, factor, align_corners, dtype):
    at = _places(size, out, factor, align_corners, dtype)
    low = at.floor()
    t = at - low
    taps = hookgrad.arange(-1, 3)
    places = (low.long().unsqueeze(1) + taps).clamp(0, size - 1)
    return hookgrad.zeros(out, size, dtype=dtype).scatter_add(1, places, _cubic(t.unsqueeze(1) - taps, -0.75))


def _antialias_weights(mode, size, out, factor, align_corners, dtype):
    half, kernel = _FILTERS[mode]
    scale = _scale(size, out, factor, align_corners)
    stretch = max(scale, 1.0)
    center = scale * (hookgrad.arange(out, dtype=dtype) + 0.5)
    low = (center - half * stretch + 0.5).long().clamp_min(0)
    high = (center + half * stretch + 0.5).long().clamp_max(size)
    places = hookgrad.arange(size)
    seen = (places >= low.unsqueeze(1)) & (places < high.unsqueeze(1))
    weights = kernel((places - center.unsqueeze(1) + 0.5) / stretch) * seen
    return weights / weights.sum(1, keepdim=True)


def _apply(input, weights):
    """weights (out, in) of each of the last dimensions, applied; half precision is summed in float32."""
    if input.itemsize < 4:
        return _apply(input.float(), weights).to(input.dtype)
    for i, w in enumerate(weights):
        dim = input.dim() - len(weights) + i
        input = (input.transpose(dim, -1) @ w.t()).transpose(dim, -1)
    return input


def _nearest(input, places):
    if input.is_floating_point() and input.itemsize < 4:
        return _nearest(input.float(), places).to(input.dtype)
    for i, at in enumerate(places):
        input = input.index_select(input.dim() - len(places) + i, at)
    return input


def _apply_to_bytes(input, tables):
    """As PyTorch and Pillow do it: dimension by dimension, weights in fixed point of 15 bits, every pass rounded to bytes."""
    out = input
    for dim, table in zip(reversed(range(2, input.dim())), reversed(tables)):
        table = table.double()
        bits = 15 - math.frexp(table.max().item())[1]
        ones = table * 2.0**bits
        ones = (ones + ones.sign() * 0.5).trunc().long()  # halves away from zero
        sums = out.movedim(dim, -1).long() @ ones.T + (1 << (bits - 1))
        out = (sums >> bits).clamp(0, 255).to(hookgrad.uint8).movedim(-1, dim)
    return out


_NAMES = {
    "nearest": "UpsampleNearest{}D",
    "nearest-exact": "UpsampleNearestExact{}D",
    "linear": "UpsampleLinear{}D",
    "bilinear": "UpsampleBilinear{}D",
    "trilinear": "UpsampleTrilinear{}D",
    "bicubic": "UpsampleBicubic{}D",
    "lanczos": "UpsampleLanczos{}D",
}
_made = {}


def _resized(mode, antialias, input, tables, sizes, factors, align_corners):
    """Through the node that the mode has in PyTorch."""
    name = _NAMES[mode].format(len(tables)) + ("Aa" if antialias else "") + "Backward0"
    if name not in _made:
        function = _nearest if mode.startswith("nearest") else _apply
        scales = "scales" if len(tables) == 1 else " ".join("scales_" + d for d in "dhw"[-len(tables) :])
        corners = "-" if function is _nearest else "align_corners"

        def resize(input, tables, sizes, align_corners, *factors):
            return lying_as(input, function(input, tables))

        _made[name] = one_node(name, 0, saved=f"self_sym_sizes - output_size {corners} {scales}", twice=True)(resize)
    return _made[name](input, tables, tuple(sizes), align_corners, *factors)


def _nearest_places(mode, size, out, factor, dtype):
    scale = hookgrad.tensor(_scale(size, out, factor, False), dtype=dtype)
    steps = hookgrad.arange(out, dtype=dtype)
    if mode == "nearest-exact":
        steps = steps + 0.5
    return (steps * scale).floor().long().clamp_max(size - 1)


def _is_size(x):
    if isinstance(x, hookgrad.Tensor):
        return not x.is_floating_point()
    return hasattr(x, "__index__") and not isinstance(x, bool)


def _output_size(input, size, scale_factor, recompute):
    """The sizes of the output's last dimensions, and the factors to compute with, None where they follow from the sizes."""
    n = input.dim() - 2
    spatial = list(input.shape[2:])
    if size is not None:
        if isinstance(size, (list, tuple)):
            if len(size) != n:
                raise ValueError(
                    "Input and output must have the same number of spatial dimensions, but got input with spatial "
                    f"dimensions of {spatial} and output size of {size}. Please provide input tensor in (N, C, d1, d2, "
                    "...,dK) format and output size in (o1, o2, ...,oK) format."
                )
            if not all(_is_size(x) for x in size):
                raise TypeError(
                    "expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, int, int], but got size "
                    f"with types {[type(x) for x in size]}"
                )
            return [int(x) for x in size], [None] * n
        if not _is_size(size):
            raise TypeError(f"expected size to be one of int or Tuple[int], but got size with type {type(size)}")
        return [int(size)] * n, [None] * n
    if isinstance(scale_factor, (list, tuple)):
        if len(scale_factor) != n:
            raise ValueError(
                "Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {spatial} and scale_factor of shape {scale_factor}. Please provide input tensor in (N, C, "
                "d1, d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) format."
            )
        factors = list(scale_factor)
    else:
        factors = [scale_factor] * n
    if not all(abs(s * f) < 2**63 for s, f in zip(spatial, factors)):
        raise RuntimeError("value cannot be converted to type int64_t without overflow")
    factors = [float(f) for f in factors]
    sizes = [math.floor(s * f) for s, f in zip(spatial, factors)]
    return sizes, [None] * n if recompute else factors


_MODES = "nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact"
_DIMS = {"linear": 3, "bilinear": 4, "bicubic": 4, "lanczos": 4, "trilinear": 5}


def _check_mode(mode, n_dims, antialias):
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and n_dims == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input"
        )
    if n_dims not in (3, 4, 5) or mode not in _MODES.split(" | ") or (mode in ("bicubic", "lanczos") and n_dims != 4):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {n_dims}D) for the modes: {_MODES} (got {mode})"
        )
    if n_dims != _DIMS.get(mode, n_dims):
        raise NotImplementedError(f"Got {n_dims}D input, but {mode} mode needs {_DIMS[mode]}D input")


def _check_not_empty(input, sizes):
    if min(input.shape[2:]) <= 0 or min(sizes) <= 0:
        shown = [
            ", ".join(f"{a}: {s}" for a, s in zip("DHW"[-len(sizes) :], shape)) for shape in (input.shape[2:], sizes)
        ]
        raise RuntimeError(
            "Input and output sizes should be greater than 0, but got input ({}) output ({})".format(*shown)
        )
    if not input.shape[1]:
        raise RuntimeError(
            f"Non-empty {input.dim()}D data tensor expected but got a tensor with sizes {list(input.shape)}"
        )


def interpolate(
    input,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    """Resize the last dimensions of (N, C, L), (N, C, H, W) or (N, C, D, H, W) to `size`, or by `scale_factor`.

    Modes: "nearest", "nearest-exact" and "area" for all of them, "linear" for the first, "bilinear", "bicubic" and
    "lanczos" for the second, "trilinear" for the third. `align_corners` makes the corners of input and output the same
    points; `antialias` widens the filter where the output is smaller.

    >>> import hookgrad as torch
    >>> interpolate(torch.tensor([[[1.0, 3.0]]]), scale_factor=2, mode="linear")
    tensor([[[1.0000, 1.5000, 2.5000, 3.0000]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.interpolate.html
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
            )
    align_corners = bool(align_corners)
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    n_dims = input.dim()
    sizes, factors = _output_size(input, size, scale_factor, recompute_scale_factor or mode == "area")
    _check_mode(mode, n_dims, antialias)
    if mode == "area":
        return getattr(F, f"adaptive_avg_pool{n_dims - 2}d")(input, sizes)
    if mode == "lanczos":
        if align_corners:
            raise ValueError("Lanczos mode does not support align_corners=True")
        if not antialias:
            raise ValueError("Lanczos mode requires antialias=True")
    _check_not_empty(input, sizes)
    in_bytes = input.dtype == hookgrad.uint8 and mode not in ("linear", "trilinear")
    if not input.is_floating_point() and not in_bytes:
        raise not_for(f"upsample_{mode}{n_dims - 2}d", input.dtype)
    dtype = hookgrad.float64 if in_bytes or input.dtype == hookgrad.float64 else hookgrad.float32
    dims = list(zip(input.shape[2:], sizes, factors))
    with hookgrad.no_grad():
        if mode.startswith("nearest"):
            tables = [_nearest_places(mode, *dim, dtype) for dim in dims]
        elif antialias:
            tables = [_antialias_weights(mode, *dim, align_corners, dtype) for dim in dims]
        else:
            weights = _cubic_weights if mode == "bicubic" else _linear_weights
            tables = [weights(*dim, align_corners, dtype) for dim in dims]
    if in_bytes and not mode.startswith("nearest"):
        return lying_as(input, _apply_to_bytes(input, tables))
    return _resized(mode, antialias, input, tables, sizes, factors, align_corners)


def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """interpolate() under an old name."""
    F._warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input, size=None, scale_factor=None):
    """interpolate() with mode "nearest", under an old name."""
    F._warn("`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.")
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input, size=None, scale_factor=None):
    """interpolate() with mode "bilinear" and aligned corners, under an old name."""
    F._warn("`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.")
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


# ---- Sampling ------------------------------------------------------------------------------------------------------------


def _reflect(x, low, high):
    """x, reflected at two borders (given twice) until it lies between them."""
    if low == high:
        return hookgrad.zeros_like(x)
    span = (high - low) / 2
    x = (x - low / 2).abs()
    flips = (x / span).floor()
    extra = x - flips * span
    return hookgrad.where(flips % 2 == 0, extra + low / 2, span - extra + low / 2)


def _to_pixels(x, size, align_corners):
    """Coordinates in [-1, 1] as places among `size` elements."""
    return (x + 1) / 2 * (size - 1) if align_corners else ((x + 1) * size - 1) / 2


def _inside(x, size, padding_mode, align_corners):
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        x = _reflect(x, 0, 2 * (size - 1)) if align_corners else _reflect(x, -1, 2 * size - 1)
    return x.masked_fill(x.isnan(), 0).clamp(0, size - 1)


def _fetch(input, places, weight=None):
    """The elements of (N, C, *) at places (N, *out) for each dimension, times `weight`; zero where one is outside."""
    sizes = input.shape[2:]
    flat, seen = 0, True
    for at, size in zip(places, sizes):
        seen = seen & (at >= 0) & (at < size)
        flat = flat * size + at.clamp(0, size - 1)
    n, channels = input.shape[:2]
    taken = input.flatten(2).gather(2, flat.flatten(1).unsqueeze(1).expand(n, channels, -1))
    taken = taken.view(n, channels, *flat.shape[1:])
    return (taken if weight is None else taken * weight.unsqueeze(1)).masked_fill(~seen.unsqueeze(1), 0)


def _grid_sample(input, grid, mode, padding_mode, align_corners):
    sizes = input.shape[2:]
    # The grid has the last dimension's coordinate first.
    at = [_to_pixels(x, size, align_corners) for x, size in zip(reversed(grid.unbind(-1)), sizes)]
    if mode == "bicubic":
        low = [x.floor() for x in at]
        taps = range(-1, 3)
        weights = [[_cubic(x - l - tap, -0.75) for tap in taps] for x, l in zip(at, low)]
        total = 0
        for i in taps:
            for j in taps:
                places = [
                    _inside((l + tap).detach(), size, padding_mode, align_corners).round().long()
                    for l, tap, size in zip(low, (i, j), sizes)
                ]
                total = total + _fetch(input, places, weights[0][i + 1] * weights[1][j + 1])
        return total
    at = [_inside(x, size, padding_mode, align_corners) for x, size in zip(at, sizes)]
    if mode == "nearest":
        # The grid gets zeros for a gradient.
        return _fetch(input, [x.round().long() for x in at]) + grid.sum(-1).unsqueeze(1).masked_fill(
            hookgrad.tensor(True), 0
        )
    low = [x.floor().detach() for x in at]
    total = 0
    for corner in range(2 ** len(sizes)):
        bits = [corner >> i & 1 for i in range(len(sizes))]
        weight = math.prod(x - l if bit else l + 1 - x for x, l, bit in zip(at, low, bits))
        total = total + _fetch(input, [(l + bit).long() for l, bit in zip(low, bits)], weight)
    return total


_grid_sample2d = one_node(
    "GridSampler2DBackward0",
    0,
    1,
    saved="input grid interpolation_mode padding_mode align_corners",
    twice="grad_output",
)(_grid_sample)
_grid_sample3d = one_node(
    "GridSampler3DBackward0",
    0,
    1,
    saved="input grid interpolation_mode padding_mode align_corners",
    twice="grad_output",
)(_grid_sample)

_OLD_CORNERS = (
    "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify "
    "align_corners=True if the old behavior is desired. See the documentation of grid_sample for details."
)


def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """The elements of (N, C, H, W) at the places of grid (N, Ho, Wo, 2), or of (N, C, D, H, W) at (N, Do, Ho, Wo, 3).

    A place is (x, y) or (x, y, z), from -1 to 1 in each; `mode` is "bilinear", "nearest" or "bicubic", `padding_mode`
    what lies beyond: "zeros", "border" or "reflection".

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grid_sample.html
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    if align_corners is None:
        F._warn(_OLD_CORNERS)
        align_corners = False
    F._must_be_tensors("grid_sampler", input=input, grid=grid)
    if input.dtype != grid.dtype:
        names = scalar_type(input.dtype), scalar_type(grid.dtype)
        raise RuntimeError("expected scalar type {} but found {}".format(*names))
    n = input.dim() - 2
    if input.shape[0] != grid.shape[0]:
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.shape[-1] != n:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {n} in last dimension, but got grid with sizes {list(grid.shape)}"
        )
    if 0 in input.shape[2:]:
        raise RuntimeError(
            "grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes "
            f"{list(input.shape)} with dimension {2 + input.shape[2:].index(0)} being empty"
        )
    if n not in (2, 3) or input.dim() != grid.dim():
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if n == 3 and mode == "bicubic":
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    return (_grid_sample3d if n == 3 else _grid_sample2d)(input, grid, mode, padding_mode, align_corners)


@one_node("AffineGridGeneratorBackward0", 0, saved="- size align_corners")
def _affine_grid(theta, size, align_corners):
    spatial = size[2:]
    axes = []
    for n in spatial:
        ends = hookgrad.linspace(-1, 1, n, dtype=theta.dtype) if n > 1 else hookgrad.zeros(1, dtype=theta.dtype)
        axes.append(ends if align_corners else ends * (n - 1) / n)
    places = hookgrad.meshgrid(*axes, indexing="ij")
    base = hookgrad.stack([*reversed(places), hookgrad.ones(spatial, dtype=theta.dtype)], -1)
    grid = base.view(1, -1, len(spatial) + 1) @ theta.transpose(1, 2)
    return grid.view(size[0], *spatial, len(spatial))


def affine_grid(theta, size, align_corners=None):
    """The places that affine maps theta, (N, 2, 3) or (N, 3, 4), send those of images of `size` to: for grid_sample().

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.affine_grid.html
    """
    if align_corners is None:
        F._warn(_OLD_CORNERS)
        align_corners = False
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if len(size) not in (4, 5):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. "
            f"Got size {size}."
        )
    n = len(size) - 2
    if theta.dim() != 3 or theta.shape[-2] != n or theta.shape[-1] != n + 1:
        raise ValueError(
            f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {size}. Got {theta.shape}."
        )
    if align_corners and min(size[2:]) == 1:
        F._warn(
            "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when align_corners=True. This is not "
            "an intended use case of affine_grid. See the documentation of affine_grid for details."
        )
    elif min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    return _affine_grid(theta, tuple(size), align_corners)


# ---- Rearranging -------------------------------------------------------------------------------------------------------------


def _check_image(name, input):
    if input.dim() < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {input.dim()} dimension(s)"
        )


@one_node("PixelShuffleBackward0", 0, saved="- upscale_factor", derivative=lambda g, x, r: _pixel_unshuffle(g, r))
def _pixel_shuffle(input, r):
    *rest, c, h, w = input.shape
    blocks = input.reshape(*rest, c // (r * r), r, r, h, w)
    return lying_as(input, blocks.movedim((-4, -3), (-3, -1)).reshape(*rest, c // (r * r), h * r, w * r))


def pixel_shuffle(input, upscale_factor):
    """(*, C * r * r, H, W) as (*, C, H * r, W * r): channels become pixels.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pixel_shuffle.html
    """
    F._must_be_tensors("pixel_shuffle", input=input)
    _check_image("pixel_shuffle", input)
    if upscale_factor <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {upscale_factor}")
    if input.shape[-3] % upscale_factor**2:
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
            f"input.size(-3)={input.shape[-3]} is not divisible by {upscale_factor**2}"
        )
    return _pixel_shuffle(input, upscale_factor)


@one_node("PixelUnshuffleBackward0", 0, saved="- downscale_factor", derivative=lambda g, x, r: _pixel_shuffle(g, r))
def _pixel_unshuffle(input, r):
    *rest, c, h, w = input.shape
    blocks = input.reshape(*rest, c, h // r, r, w // r, r)
    return lying_as(input, blocks.movedim((-3, -1), (-4, -3)).reshape(*rest, c * r * r, h // r, w // r))


def pixel_unshuffle(input, downscale_factor):
    """(*, C, H * r, W * r) as (*, C * r * r, H, W): pixels become channels.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pixel_unshuffle.html
    """
    F._must_be_tensors("pixel_unshuffle", input=input)
    _check_image("pixel_unshuffle", input)
    if downscale_factor <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {downscale_factor}")
    for dim, word in ((-2, "height"), (-1, "width")):
        if input.shape[dim] % downscale_factor:
            raise RuntimeError(
                f"pixel_unshuffle expects {word} to be divisible by downscale_factor, but input.size({dim})="
                f"{input.shape[dim]} is not divisible by {downscale_factor}"
            )
    return _pixel_unshuffle(input, downscale_factor)


@one_node(
    "ChannelShuffleBackward0", 0, saved="- groups", derivative=lambda g, x, n: _channel_shuffle(g, x.shape[1] // n)
)
def _channel_shuffle(input, groups):
    return lying_as(input, input.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2))


def channel_shuffle(input, groups):
    """(N, g * C, *) with its channels dealt out again: first those that come first in each of g groups, then the second.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.channel_shuffle.html
    """
    F._must_be_tensors("channel_shuffle", input=input)
    if input.dim() < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    if input.shape[1] % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {input.shape[1]} channels and {groups} groups."
        )
    return _channel_shuffle(input, groups)


# ---- Patches -------------------------------------------------------------------------------------------------------------------


def _patch_places(size, kernel, dilation, padding, stride):
    """The places of every patch's elements in a padded image, (kernel elements, patches), and the padded image's size."""
    padded = [s + 2 * p for s, p in zip(size, padding)]
    axes = []
    for n, k, d, step in zip(padded, kernel, dilation, stride):
        starts = hookgrad.arange(0, n - d * (k - 1), step)
        axes.append((d * hookgrad.arange(k)).unsqueeze(1) + starts)
    rows, cols = axes
    places = rows[:, None, :, None] * padded[1] + cols[None, :, None, :]
    return places.flatten(0, 1).flatten(1), padded


def _check_patches(kernel, input):
    if input.dtype is not hookgrad.bool:
        F._must_be_floats(kernel, input)


@one_node(
    "Im2ColBackward0",
    0,
    saved="- kernel_size dilation padding stride self_sym_argsize_minus_1 self_sym_argsize_minus_2",
    derivative=lambda g, x, *settings: _col2im(g, x.shape[2:], *settings),
)
def _im2col(input, kernel, dilation, padding, stride):
    places, _ = _patch_places(input.shape[2:], kernel, dilation, padding, stride)
    padded = F.pad(input, (padding[1], padding[1], padding[0], padding[0]))
    return padded.flatten(2)[:, :, places].flatten(1, 2)


@one_node(
    "Col2ImBackward0",
    0,
    saved="- - kernel_size dilation padding stride",
    derivative=lambda g, x, output_size, *settings: _im2col(g, *settings),
)
def _col2im(input, output_size, kernel, dilation, padding, stride):
    places, padded = _patch_places(output_size, kernel, dilation, padding, stride)
    n, width, blocks = input.shape
    channels = width // (kernel[0] * kernel[1])
    image = input.new_zeros((n, channels, padded[0] * padded[1]))
    values = input.reshape(n, channels, kernel[0] * kernel[1] * blocks)
    image = image.index_add(2, places.flatten(), values).unflatten(2, padded)
    return image[:, :, padding[0] : padded[0] - padding[0], padding[1] : padded[1] - padding[1]].contiguous()


def _check_positive(**settings):
    for name, pair in settings.items():
        least = 0 if name == "padding" else 1
        if min(pair) < least:
            what = "kernel size" if name == "kernel" else name
            kind = "non-negative" if name == "padding" else "greater than zero"
            prefix = "pad" if name == "padding" else name
            raise RuntimeError(f"{what} should be {kind}, but got {prefix}_height: {pair[0]} {prefix}_width: {pair[1]}")


def _n_blocks(size, kernel, dilation, padding, stride):
    return [
        (s + 2 * p - d * (k - 1) - 1) // step + 1 for s, k, d, p, step in zip(size, kernel, dilation, padding, stride)
    ]


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """The patches of (N, C, H, W) or (C, H, W) as columns: (N, C * kernel elements, patches).

    >>> import hookgrad as torch
    >>> unfold(torch.arange(4.0).view(1, 1, 2, 2), kernel_size=(1, 2))
    tensor([[[0., 2.],
             [1., 3.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.unfold.html
    """
    F._must_be_tensors("im2col", input=input)
    kernel, dilation, padding, stride = (_pair(x) for x in (kernel_size, dilation, padding, stride))
    _check_positive(kernel=kernel, dilation=dilation, padding=padding, stride=stride)
    if input.dim() not in (3, 4) or 0 in input.shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but "
            f"got: {list(input.shape)}"
        )
    blocks = _n_blocks(input.shape[-2:], kernel, dilation, padding, stride)
    if min(blocks) < 1:
        raise RuntimeError(
            f"Given input with spatial size ({input.shape[-2]}, {input.shape[-1]}), kernel_size={kernel}, "
            f"dilation={dilation}, padding={padding}, calculated shape of the array of sliding blocks as "
            f"({blocks[0]}, {blocks[1]}), but its components must be at least one."
        )
    _check_patches("im2col_out_cpu", input)
    if input.dim() == 3:
        return _im2col(input.unsqueeze(0), kernel, dilation, padding, stride).squeeze(0)
    return _im2col(input, kernel, dilation, padding, stride)


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Columns (N, C * kernel elements, patches) as images (N, C, *output_size), patches that overlap being added.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fold.html
    """
    F._must_be_tensors("col2im", input=input)
    output_size, kernel, dilation, padding, stride = (
        _pair(x) for x in (output_size, kernel_size, dilation, padding, stride)
    )
    _check_positive(kernel=kernel, dilation=dilation, padding=padding, stride=stride)
    if input.dim() not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for input, "
            f"but got: {list(input.shape)}"
        )
    n_elements = kernel[0] * kernel[1]
    if input.shape[-2] % n_elements:
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={input.shape[-2]} and kernel_size={kernel}."
        )
    blocks = _n_blocks(output_size, kernel, dilation, padding, stride)
    if min(blocks) < 1:
        raise RuntimeError(
            f"Given output_size={output_size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, "
            f"stride={stride}, calculated shape of the array of sliding blocks as ({blocks[0]}, {blocks[1]}), but its "
            "components must be at least one."
        )
    if input.shape[-1] != blocks[0] * blocks[1]:
        raise RuntimeError(
            f"Given output_size={output_size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, "
            f"stride={stride}, expected size of input's dimension 2 to match the calculated number of sliding blocks "
            f"{blocks[0]} * {blocks[1]} = {blocks[0] * blocks[1]}, but got input.size(2)={input.shape[-1]}."
        )
    _check_patches("col2im_out_cpu", input)
    if input.dim() == 2:
        return _col2im(input.unsqueeze(0), output_size, kernel, dilation, padding, stride).squeeze(0)
    return _col2im(input, output_size, kernel, dilation, padding, stride)
