"""How a tensor prints: the text of ``repr(tensor)``, and the options that shape it.

The elements to be shown are read once, as nested Python lists (`_shown`), with an `Ellipsis` where a dimension is cut
short. One `_Format` is then chosen from all of them, so that columns line up, and the lists are joined into lines.
"""

import hookgrad

_PROFILES = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": float("inf"), "edgeitems": 3, "linewidth": 80},
}


class _Options:
    """The print options in force."""

    __slots__ = ("precision", "threshold", "edgeitems", "linewidth", "sci_mode")

    def __init__(self):
        self.sci_mode = None
        for name, value in _PROFILES["default"].items():
            setattr(self, name, value)


PRINT_OPTS = _Options()


def set_printoptions(precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None):
    """Set how tensors print. What is left out keeps its value, `sci_mode` excepted, which goes back to automatic.

    `precision` is the number of decimals, `threshold` the number of elements from which on a tensor is shortened to
    `edgeitems` elements at either end of each dimension, `linewidth` where lines break, `sci_mode` True or False to
    force or forbid exponents, and `profile` one of "default", "short" and "full".

    >>> import hookgrad as torch
    >>> torch.set_printoptions(precision=2)
    >>> torch.tensor([1.12345])
    tensor([1.12])
    >>> torch.set_printoptions(profile="default")
    >>> torch.tensor([1.12345])
    tensor([1.1235])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.set_printoptions.html
    """
    for name, value in _PROFILES.get(profile, {}).items():
        setattr(PRINT_OPTS, name, value)
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    for name, value in given.items():
        if value is not None:
            setattr(PRINT_OPTS, name, value)
    PRINT_OPTS.sci_mode = sci_mode


def get_printoptions():
    """The options in force, as a dict that `set_printoptions` accepts."""
    return {name: getattr(PRINT_OPTS, name) for name in _Options.__slots__}


class printoptions:
    """Print options for the length of a `with` block, or of a function it decorates.

    >>> import hookgrad as torch
    >>> with torch._tensor_str.printoptions(precision=1):
    ...     print(torch.tensor([0.25]))
    tensor([0.2])
    """

    def __init__(self, **options):
        self._options = options

    def __enter__(self):
        self._saved = get_printoptions()
        set_printoptions(**self._options)

    def __exit__(self, *exc):
        set_printoptions(**self._saved)

    def __call__(self, function):
        import functools

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with printoptions(**self._options):
                return function(*args, **kwargs)

        return wrapped


class _Format:
    """How the elements of one tensor are written, so that all of them are equally wide.

    A tensor of integral floats is written "1." (whole), any other with `precision` decimals; either gives way to
    exponents (scientific) where the magnitudes lie too far apart. Zeros, infinities and nans have no say in this, nor
    in the width.
    """

    def __init__(self, values, is_floating):
        self.width = 1
        self.is_floating = is_floating
        if not is_floating:
            self._write = str
            for value in values:
                self.width = max(self.width, len(str(value)))
            return

        # x - x is 0 for finite x only.
        telling = [x for x in values if x and x - x == 0]
        sci_mode, whole = False, True
        if telling:
            low, high = min(map(abs, telling)), max(map(abs, telling))
            whole = all(x.is_integer() for x in telling)
            sci_mode = PRINT_OPTS.sci_mode
            if sci_mode is None:
                sci_mode = high / low > 1000.0 or high > 1.0e8 or low < 1.0e-4
        precision = PRINT_OPTS.precision
        if sci_mode:
            self._write = f"{{:.{precision}e}}".format
        elif whole:
            self._write = _write_whole
        else:
            self._write = f"{{:.{precision}f}}".format
        for x in telling:
            self.width = max(self.width, len(self._write(x)))

    def __call__(self, value):
        return self._write(value).rjust(self.width)


def _write_whole(x):
    return f"{x:.0f}." if x - x == 0 else str(x)


def _shown(t, shorten):
    """The elements of `t` that are shown, as nested lists, with `...` where elements were left out."""
    if not shorten:
        return t.tolist()
    edge = PRINT_OPTS.edgeitems
    size = t.shape[0]
    if not edge:
        return [...]
    if size <= 2 * edge:
        return t.tolist() if t.dim() == 1 else [_shown(t[i], True) for i in range(size)]
    if t.dim() == 1:
        return [*t[:edge].tolist(), ..., *t[size - edge :].tolist()]
    return [_shown(t[i], True) for i in range(edge)] + [...] + [_shown(t[i], True) for i in range(size - edge, size)]


def _flat(nested, dim):
    """Every element of nested lists, `dim` deep, the left-out ones apart."""
    if dim == 0:
        return [nested]
    if dim == 1:
        return [x for x in nested if x is not ...]
    return [x for part in nested if part is not ... for x in _flat(part, dim - 1)]


def _join(nested, dim, indent, write):
    """The text of nested lists, `dim` deep, whose opening bracket stands in column `indent`."""
    if dim == 0:
        return write(nested)
    if dim == 1:
        # Where nothing at all is shown, the dots stand alone in the brackets, without the space of a column.
        dots = " ..." if PRINT_OPTS.edgeitems else "..."
        texts = [dots if x is ... else write(x) for x in nested]
        per_line = max(1, (PRINT_OPTS.linewidth - indent) // (write.width + 2))
        lines = [", ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line)]
        gap = ",\n"
    else:
        lines = ["..." if part is ... else _join(part, dim - 1, indent + 1, write) for part in nested]
        gap = "," + "\n" * (dim - 1)
    return "[" + (gap + " " * (indent + 1)).join(lines) + "]"


def _tensor_str(t, indent):
    """What stands in the parentheses first: the elements of `t`, laid out from column `indent`."""
    if t.is_meta:
        return "..."
    if t.numel() == 0:
        return "[]"
    t = t.detach()
    nested = _shown(t, t.dim() > 0 and t.numel() > PRINT_OPTS.threshold)
    write = _Format(_flat(nested, t.dim()), t.dtype.is_floating_point)
    return _join(nested, t.dim(), indent, write)


def _suffixes(t):
    """What follows the elements: size, dtype and origin, where they are not what one would assume."""
    default = hookgrad.get_default_dtype()
    dtype = t.dtype
    if t.is_meta:
        yield "device='meta'"
        yield f"size={tuple(t.shape)}"
        if dtype != default:
            yield f"dtype={dtype}"
    elif t.numel() == 0:
        # With no element to tell an integer by, every dtype but the default is named.
        if t.dim() != 1:
            yield f"size={tuple(t.shape)}"
        if dtype != default:
            yield f"dtype={dtype}"
    else:
        if not PRINT_OPTS.edgeitems:
            yield f"size={tuple(t.shape)}"
        if dtype not in (default, hookgrad.int64, hookgrad.bool):
            yield f"dtype={dtype}"
    try:
        grad_fn = t.grad_fn
        maker = "" if grad_fn is None else grad_fn.name().rpartition("::")[2]
    except RuntimeError:  # a view that in-place operations have cut off
        maker = "Invalid"
    if maker:
        yield f"grad_fn=<{maker}>"
    elif t.requires_grad:
        yield "requires_grad=True"
    if hookgrad._C._has_duals():
        tangent = hookgrad.autograd.forward_ad.unpack_dual(t).tangent
        if tangent is not None:
            yield f"tangent={tangent}"


def _add_suffixes(text, suffixes, indent, force_newline):
    """The text up to the elements, with the suffixes on its last line, or on as many as they need."""
    # One more than the last line is long: a suffix must leave room for its comma.
    column = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if force_newline or column + len(suffix) + 2 > PRINT_OPTS.linewidth:
            text += ",\n" + " " * indent + suffix
            column = indent + len(suffix)
            force_newline = False
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text + ")"


def _str(self, *, tensor_contents=None):
    """The text of `repr(self)`; `tensor_contents`, when given, stands in for the elements."""
    if hookgrad._C._dispatch_modes(0):  # they are not to see what printing reads
        with hookgrad.utils._python_dispatch._disable_current_modes():
            return _str(self, tensor_contents=tensor_contents)
    transforms = hookgrad.autograd.function._transforms
    if transforms and (text := hookgrad._levels.shown(transforms, self)) is not None:
        return text
    kind = type(self)
    is_plain = kind is hookgrad.Tensor or kind.__name__ == "Parameter" and kind is hookgrad.nn.Parameter
    prefix = "tensor(" if is_plain else f"{kind.__name__}("
    indent = len(prefix)
    text = prefix + (_tensor_str(self, indent) if tensor_contents is None else tensor_contents)
    text = _add_suffixes(text, _suffixes(self), indent, False)
    if not is_plain and isinstance(self, hookgrad.nn.Parameter):
        return f"Parameter({text})"
    return text
