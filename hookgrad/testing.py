"""Comparing tensors in tests. Source: https://docs.pytorch.org/docs/stable/testing.html"""

from . import _C

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

    Mappings and sequences are compared item by item; what is no tensor is made one.

    >>> import hookgrad as torch
    >>> torch.testing.assert_close(torch.tensor([1.0]), torch.tensor([1.0000001]))
    """
    if (rtol is None) != (atol is None):
        raise ValueError(
            f"rtol and atol must both be specified or both be unspecified, but got rtol={rtol} and atol={atol}"
        )
    _compare(actual, expected, (rtol, atol, equal_nan, check_dtype, check_stride, msg), "")


def _fail(words, msg, place):
    if callable(msg):
        words = msg(words)
    elif msg is not None:
        words = msg
    raise AssertionError(words + (f"\n\nThe failure occurred for item {place}" if place else ""))


def _compare(actual, expected, options, place):
    rtol, atol, equal_nan, check_dtype, check_stride, msg = options
    if isinstance(actual, dict) and isinstance(expected, dict):
        if actual.keys() != expected.keys():
            _fail(
                "The keys of the mappings do not match:\nMissing keys in the actual mapping: "
                f"{sorted(expected.keys() - actual.keys())}\nAdditional keys in the actual mapping: "
                f"{sorted(actual.keys() - expected.keys())}",
                msg,
                place,
            )
        for key in actual:
            _compare(actual[key], expected[key], options, f"{place}[{key!r}]")
        return
    if isinstance(actual, (list, tuple)) and isinstance(expected, (list, tuple)):
        if len(actual) != len(expected):
            _fail(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", msg, place)
        for i, (a, b) in enumerate(zip(actual, expected)):
            _compare(a, b, options, f"{place}[{i}]")
        return
    if actual is None and expected is None:
        return
    scalars = not isinstance(actual, _C.Tensor) and not isinstance(expected, _C.Tensor)
    try:
        a, b = _C.as_tensor(actual), _C.as_tensor(expected)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}."
        ) from None
    if a.shape != b.shape:
        _fail(f"The values for attribute 'shape' do not match: {a.shape} != {b.shape}.", msg, place)
    if check_dtype and a.dtype != b.dtype and not scalars:
        _fail(f"The values for attribute 'dtype' do not match: {a.dtype} != {b.dtype}.", msg, place)
    if check_stride and a.stride() != b.stride():
        _fail(f"The values for attribute 'stride()' do not match: {a.stride()} != {b.stride()}.", msg, place)
    if rtol is None:
        pairs = [_TOLERANCES.get(t.dtype, (0.0, 0.0)) for t in (a, b)]
        rtol, atol = max(p[0] for p in pairs), max(p[1] for p in pairs)
    dtype = _C.promote_types(a.dtype, b.dtype)
    a, b = a.detach().to(dtype), b.detach().to(dtype)
    if not dtype.is_floating_point:
        a, b = a.to(_C.int64), b.to(_C.int64)
    close = _C.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if bool(close.all()):
        return
    _fail(_report(a, b, close, rtol, atol, scalars), msg, place)


def _report(a, b, close, rtol, atol, scalars):
    exact = rtol == atol == 0
    a, b = a.to(_C.float64), b.to(_C.float64)
    difference = (a - b).abs()
    if scalars or a.dim() == 0:
        kind = "Scalars" if a.dim() == 0 else "Tensors"
        if exact:
            return f"{kind} are not equal!\n\nExpected {b.item()} but got {a.item()}."
        relative = difference.item() / abs(b.item()) if b.item() else float("inf")
        return (
            f"{kind} are not close!\n\nExpected {b.item()} but got {a.item()}.\n"
            f"Absolute difference: {difference.item()} (up to {atol} allowed)\n"
            f"Relative difference: {relative} (up to {rtol} allowed)"
        )
    wrong = ~close
    n = int(wrong.sum())
    absolute = _C.where(wrong, difference, 0.0)
    relative = _C.where(wrong, difference / b.abs(), 0.0)

    def at(t):
        i, place = int(t.flatten().argmax()), []
        for size in reversed(t.shape):
            i, k = divmod(i, size)
            place.insert(0, k)
        return tuple(place)

    allowed = ("", "") if exact else (f" (up to {atol} allowed)", f" (up to {rtol} allowed)")
    return (
        f"Tensor-likes are not {'equal' if exact else 'close'}!\n\n"
        f"Mismatched elements: {n} / {a.numel()} ({n / a.numel():.1%})\n"
        f"Greatest absolute difference: {absolute.max().item()} at index {at(absolute)}{allowed[0]}\n"
        f"Greatest relative difference: {relative.max().item()} at index {at(relative)}{allowed[1]}"
    )


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
        t = (_C.rand(shape) * (high - low) + low).to(dtype)
    else:
        low = (0 if dtype == _C.uint8 else -9) if low is None else low
        t = _C.randint(int(low), int(10 if high is None else high), shape).to(dtype)
    if exclude_zero:
        t = _C.where(t == 0, _C.ones_like(t), t)
    if noncontiguous and t.numel() > 1:
        t = t.repeat_interleave(2, -1)[..., ::2]
    return t.requires_grad_(requires_grad)
