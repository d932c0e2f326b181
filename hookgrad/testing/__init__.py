"""Comparing tensors in tests. Source: https://docs.pytorch.org/docs/stable/testing.html"""

import math
from collections.abc import Mapping, Sequence

from .. import _C

# relative and absolute tolerance
_TOLERANCES = {
    _C.float16: (1e-3, 1e-5),
    _C.bfloat16: (1.6e-2, 1e-5),
    _C.float32: (1.3e-6, 1e-5),
    _C.float64: (1e-7, 1e-7),
}


def assert_close(
    actual,
    expected,
    *,
    allow_subclasses=True,
    rtol=None,
    atol=None,
    equal_nan=False,
    check_device=True,
    check_dtype=True,
    check_layout=True,
    check_stride=False,
    msg=None,
):
    """Fail with an AssertionError unless the two are equal up to the tolerances.

    Mappings and sequences are compared item by item; the items are tensors, arrays, numbers, booleans or None, both of
    one kind.

    >>> import hookgrad as torch
    >>> torch.testing.assert_close(torch.tensor([1.0]), torch.tensor([1.0000001]))

    Source: https://docs.pytorch.org/docs/stable/testing.html
    """
    if (rtol is None) != (atol is None):
        raise ValueError(
            f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {'rtol' if rtol is None else 'atol'}."
        )
    options = _Options(rtol, atol, equal_nan, allow_subclasses, check_dtype, check_stride, msg)
    for pair in list(_pairs(actual, expected, options, "")):
        options.compare(*pair)


def _is_sequence(x):
    return isinstance(x, Sequence) and not isinstance(x, str)


def _pairs(actual, expected, options, place):
    """Every two items that belong together, and where they are."""
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            missing = [key for key in expected if key not in actual]
            more = [key for key in actual if key not in expected]
            options.fail(
                f"The keys of the mappings do not match:\nMissing keys in the actual mapping: {sorted(missing)}\n"
                f"Additional keys in the actual mapping: {sorted(more)}",
                place,
            )
        keys = list(actual)
        try:
            keys.sort()
        except TypeError:
            pass  # in the order they are in
        for key in keys:
            yield from _pairs(actual[key], expected[key], options, f"{place}[{key!r}]")
    elif _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            options.fail(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", place)
        for i, (a, b) in enumerate(zip(actual, expected)):
            yield from _pairs(a, b, options, f"{place}[{i}]")
    else:
        yield actual, expected, place


class _Options:
    """How two items are compared, and what is said where they differ."""

    def __init__(self, rtol, atol, equal_nan, allow_subclasses, check_dtype, check_stride, msg):
        self.rtol = rtol
        self.atol = atol
        self.equal_nan = equal_nan
        self.allow_subclasses = allow_subclasses
        self.check_dtype = check_dtype
        self.check_stride = check_stride
        self.msg = msg

    def fail(self, words, place):
        where = f"\n\nThe failure occurred for item {place}" if place else ""
        if callable(self.msg):
            raise AssertionError(self.msg(words + where))
        raise AssertionError(words + where if self.msg is None else self.msg + where)

    def tolerances(self, *dtypes):
        if self.rtol is not None:
            return self.rtol, self.atol
        pairs = [_TOLERANCES.get(dtype, (0.0, 0.0)) for dtype in dtypes]
        return max(pair[0] for pair in pairs), max(pair[1] for pair in pairs)

    def compare(self, actual, expected, place):
        if actual is None or expected is None:
            if actual is not expected:
                self.fail(f"None mismatch: {actual} is not {expected}", place)
            return
        if _both(actual, expected, bool):
            if actual is not expected:
                self.fail(f"Booleans mismatch: {actual} is not {expected}", place)
            return
        if _both(actual, expected, (int, float)):
            self.compare_numbers(actual, expected, place)
            return
        related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
        if related and (self.allow_subclasses or type(actual) is type(expected)):
            try:
                a, b = _C.as_tensor(actual), _C.as_tensor(expected)
            except (TypeError, ValueError, RuntimeError):
                related = False
        else:
            related = False
        if not related:
            at = f"\n\nThe failure occurred for item {place}" if place else ""
            raise TypeError(
                f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}.{at}"
            )
        self.compare_tensors(a, b, place)

    def compare_numbers(self, a, b, place):
        if self.check_dtype and type(a) is not type(b):
            self.fail(f"The (d)types do not match: {type(a)} != {type(b)}.", place)
        rtol, atol = self.tolerances(*[_C.float64 for x in (a, b) if isinstance(x, float)] or [_C.int64])
        if a == b or (self.equal_nan and a != a and b != b) or abs(a - b) <= atol + rtol * abs(b) < math.inf:
            return
        self.fail(_scalars(a, b, rtol, atol), place)

    def compare_tensors(self, a, b, place):
        if a.shape != b.shape:
            self.fail(f"The values for attribute 'shape' do not match: {a.shape} != {b.shape}.", place)
        if self.check_dtype and a.dtype != b.dtype:
            self.fail(f"The values for attribute 'dtype' do not match: {a.dtype} != {b.dtype}.", place)
        if self.check_stride and a.stride() != b.stride():
            self.fail(f"The values for attribute 'stride()' do not match: {a.stride()} != {b.stride()}.", place)
        rtol, atol = self.tolerances(a.dtype, b.dtype)
        dtype = _C.promote_types(a.dtype, b.dtype)
        if not dtype.is_floating_point:
            dtype = _C.int64
        a, b = a.detach().to(dtype), b.detach().to(dtype)
        close = _C.isclose(a, b, rtol=rtol, atol=atol, equal_nan=self.equal_nan)
        if bool(close.all()):
            return
        if a.dim() == 0:
            self.fail(_scalars(a.item(), b.item(), rtol, atol), place)
        self.fail(_tensors(a, b, close, rtol, atol), place)


def _both(actual, expected, kinds):
    return isinstance(actual, kinds) and isinstance(expected, kinds)


def _allowed(rtol, atol):
    return ("", "") if rtol == atol == 0 else (f" (up to {atol} allowed)", f" (up to {rtol} allowed)")


def _scalars(a, b, rtol, atol):
    difference = abs(a - b)
    relative = difference / abs(b) if b else math.inf
    of = _allowed(rtol, atol)
    return (
        f"Scalars are not {'close' if of[0] else 'equal'}!\n\nExpected {b} but got {a}.\n"
        f"Absolute difference: {difference}{of[0]}\nRelative difference: {relative}{of[1]}"
    )


def _tensors(a, b, close, rtol, atol):
    n = int((~close).sum())
    difference = (a - b).abs()
    absolute = difference.masked_fill(close, 0)
    relative = (difference / b.abs()).masked_fill(close, 0)

    def greatest(t):
        i, place = int(t.flatten().argmax()), []
        value = t.flatten()[i].item()
        for size in reversed(t.shape):
            i, k = divmod(i, size)
            place.insert(0, k)
        return f"{value} at index {tuple(place)}"

    of = _allowed(rtol, atol)
    return (
        f"Tensor-likes are not {'close' if of[0] else 'equal'}!\n\n"
        f"Mismatched elements: {n} / {a.numel()} ({n / a.numel():.1%})\n"
        f"Greatest absolute difference: {greatest(absolute)}{of[0]}\n"
        f"Greatest relative difference: {greatest(relative)}{of[1]}"
    )


# What assert_allclose() allows.
_OLD_TOLERANCES = {_C.float16: (1e-3, 1e-3), _C.float32: (1e-4, 1e-5), _C.float64: (1e-5, 1e-8)}


def assert_allclose(actual, expected, rtol=None, atol=None, equal_nan=True, msg=""):
    """assert_close() under an old name, with wider tolerances."""
    import warnings

    warnings.warn(
        "`torch.testing.assert_allclose()` is deprecated since 1.12 and will be removed in a future release. Please use "
        "`torch.testing.assert_close()` instead.",
        FutureWarning,
        stacklevel=2,
    )
    actual, expected = _C.as_tensor(actual), _C.as_tensor(expected, dtype=_C.as_tensor(actual).dtype)
    if rtol is None and atol is None:
        pairs = [_OLD_TOLERANCES.get(t.dtype, (0.0, 0.0)) for t in (actual, expected)]
        rtol, atol = max(p[0] for p in pairs), max(p[1] for p in pairs)
    assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False, msg=msg or None)


def make_tensor(
    *shape, dtype, device="cpu", low=None, high=None, requires_grad=False, noncontiguous=False, exclude_zero=False,
    memory_format=None,
):  # fmt: skip
    """A tensor of random values that suit the dtype: from [low, high), by default from [-9, 9]."""
    shape = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    if dtype == _C.bool:
        t = _C.randint(0, 2, shape).to(_C.bool)
    elif dtype.is_floating_point:
        low, high = -9 if low is None else low, 9 if high is None else high
        t = _C.empty(shape, dtype=dtype).uniform_(low, high)
    else:
        low = (0 if dtype == _C.uint8 else -9) if low is None else low
        t = _C.randint(int(low), int(10 if high is None else high), shape).to(dtype)
    if exclude_zero:
        t = _C.where(t == 0, _C.ones_like(t), t)
    if noncontiguous and t.numel() > 1:
        t = t.repeat_interleave(2, -1)[..., ::2]
    if memory_format is not None:
        t = t.clone(memory_format=memory_format)
    return t.requires_grad_(requires_grad)
