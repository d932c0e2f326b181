"""Counting the floating-point operations of matrix products and convolutions, by module.

Source: https://docs.pytorch.org/docs/stable/generated/torch.utils.flop_counter.FlopCounterMode.html
"""

import warnings
from collections import defaultdict
from functools import wraps
from math import prod

from .. import _C
from .._ops import OpOverloadPacket, ops
from ._python_dispatch import TorchDispatchMode
from ._pytree import tree_leaves, tree_map
from .module_tracker import ModuleTracker

__all__ = ["FlopCounterMode", "register_flop_formula"]

flop_registry = {}  # op -> formula(*args, out_val=result, **kwargs)


def _of_shapes(formula):
    """A formula of shapes as one of tensors."""

    def shape(value):
        return value.shape if isinstance(value, _C.Tensor) else value

    @wraps(formula)
    def call(*args, out_val=None, **kwargs):
        args, kwargs, out_shape = tree_map(shape, (args, kwargs, out_val))
        return formula(*args, out_shape=out_shape, **kwargs)

    return call


def register_flop_formula(targets, get_raw=False):
    """A decorator: the function says how many operations a call of these ops takes.

    It is given the call's arguments with shapes in the places of tensors, and `out_shape`; with `get_raw` the tensors themselves,
    and `out_val`.
    """

    def register(formula):
        call = formula if get_raw else _of_shapes(formula)
        for target in tree_leaves(targets):
            if not isinstance(target, OpOverloadPacket):
                raise ValueError(
                    "register_flop_formula(targets): expected each target to be OpOverloadPacket (i.e. torch.ops.mylib.foo), "
                    f"JitFunction, or HigherOrderOperator, got {target} which is of type {type(target)}"
                )
            if target in flop_registry:
                raise RuntimeError(f"duplicate registrations for {target}")
            flop_registry[target] = call
        return call

    return register


# ---- Formulas: a multiplication and an addition count as two ------------------------------------------------------------------


@register_flop_formula(ops.aten.mm)
def mm_flop(a_shape, b_shape, *args, out_shape=None, **kwargs):
    """(m, k) @ (k, n)"""
    m, k = a_shape
    return 2 * m * k * b_shape[1]


@register_flop_formula(ops.aten.addmm)
def addmm_flop(self_shape, a_shape, b_shape, out_shape=None, **kwargs):
    """The product's; the sum does not count."""
    return mm_flop.__wrapped__(a_shape, b_shape)


@register_flop_formula(ops.aten.bmm)
def bmm_flop(a_shape, b_shape, out_shape=None, **kwargs):
    """(b, m, k) @ (b, k, n)"""
    b, m, k = a_shape
    return 2 * b * m * k * b_shape[2]


@register_flop_formula(ops.aten.baddbmm)
def baddbmm_flop(self_shape, a_shape, b_shape, out_shape=None, **kwargs):
    """The product's; the sum does not count."""
    return bmm_flop.__wrapped__(a_shape, b_shape)


def conv_flop_count(x_shape, w_shape, out_shape, transposed=False):
    """Each place of the output (of the input, if transposed) takes a whole filter for each pair of channels."""
    places = (x_shape if transposed else out_shape)[2:]
    return 2 * x_shape[0] * prod(places) * prod(w_shape)


@register_flop_formula(ops.aten.convolution)
def conv_flop(x_shape, w_shape, bias, stride, padding, dilation, transposed, *args, out_shape=None, **kwargs):
    """Of a convolution; the bias does not count."""
    return conv_flop_count(x_shape, w_shape, out_shape, transposed=transposed)


@register_flop_formula(ops.aten.convolution_backward)
def conv_backward_flop(
    grad_shape,
    x_shape,
    w_shape,
    bias,
    stride,
    padding,
    dilation,
    transposed,
    output_padding,
    groups,
    output_mask,
    out_shape,
):
    """Of its derivatives: by the input a convolution the other way round, by the weight one with the gradient for a filter."""
    flops = 0
    if output_mask[0]:
        flops += conv_flop_count(grad_shape, w_shape, out_shape[0], transposed=not transposed)
    if output_mask[1]:
        image, filters = (grad_shape, x_shape) if transposed else (x_shape, grad_shape)
        swapped = (filters[1], filters[0], *filters[2:])
        flops += conv_flop_count((image[1], image[0]), swapped, out_shape[1])
    return flops


# ---- The counter --------------------------------------------------------------------------------------------------------------

suffixes = ["", "K", "M", "B", "T"]


def get_suffix_str(number):
    """The unit in which a number has up to four digits before the point."""
    return suffixes[max(0, min(len(suffixes) - 1, (len(str(number)) - 2) // 3))]


def convert_num_with_suffix(number, suffix):
    """12_000 in "K" is "12.000K"."""
    return f"{number / 1000 ** suffixes.index(suffix):.3f}{suffix}"


def convert_to_percent_str(num, denom):
    """A share, as "12.50%"."""
    return f"{num / denom:.2%}" if denom else "0%"


class FlopCounterMode:
    """A context that counts the operations of matrix products and convolutions in it, forward and backward.

    >>> import hookgrad as torch
    >>> with FlopCounterMode(display=False) as counter:
    ...     _ = torch.ones(2, 3) @ torch.ones(3, 4)
    >>> counter.get_total_flops()
    48
    """

    def __init__(self, mods=None, depth=2, display=True, custom_mapping=None):
        if mods is not None:
            warnings.warn("mods argument is not needed anymore, you can stop passing it", stacklevel=2)
        self.flop_counts = defaultdict(lambda: defaultdict(int))
        self.depth = depth
        self.display = display
        own = {op: f if getattr(f, "_get_raw", False) else _of_shapes(f) for op, f in (custom_mapping or {}).items()}
        self.flop_registry = {**flop_registry, **own}
        self.mod_tracker = ModuleTracker()
        self.mode = None

    def get_total_flops(self):
        """How many there were."""
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self):
        """{module's path: {op: how many}}, "Global" being all."""
        return {name: dict(counts) for name, counts in self.flop_counts.items()}

    def get_table(self, depth=None):
        """The counts as a table, down to a depth of modules; made with the package `tabulate`."""
        import tabulate

        tabulate.PRESERVE_WHITESPACE = True
        depth = depth or self.depth or 999999
        total = self.get_total_flops()
        unit = get_suffix_str(total)

        def lines(name, indent):
            counts = self.flop_counts[name]
            entries = [(name, sum(counts.values()))] + [(f" - {op}", n) for op, n in counts.items()]
            return [
                [" " * indent + label, convert_num_with_suffix(n, unit), convert_to_percent_str(n, total)]
                for label, n in entries
            ]

        names = [name for name in sorted(self.flop_counts) if name != "Global" and name.count(".") < depth]
        rows = [line for name in names for line in lines(name, name.count("."))]
        if "Global" in self.flop_counts and not any(sum(self.flop_counts[name].values()) >= total for name in names):
            rows = lines("Global", 0) + [[" " + row[0], *row[1:]] for row in rows]
        rows = rows or [["Global", "0", "0%"]]
        return tabulate.tabulate(rows, headers=["Module", "FLOP", "% Total"], colalign=("left", "right", "right"))

    def __enter__(self):
        self.flop_counts.clear()
        self.mod_tracker.__enter__()
        self.mode = _FlopCounterMode(self)
        self.mode.__enter__()
        return self

    def __exit__(self, *exc):
        self.mode.__exit__(*exc)
        self.mode = None
        self.mod_tracker.__exit__()
        if self.display:
            print(self.get_table(self.depth))

    def _count_flops(self, func_packet, out, args, kwargs):
        formula = self.flop_registry.get(func_packet)
        if formula is None:
            return out
        for parent in set(self.mod_tracker.parents):
            self.flop_counts[parent][func_packet] += formula(*args, **kwargs, out_val=out)
        return out


class _FlopCounterMode(TorchDispatchMode):
    def __init__(self, counter):
        super().__init__()
        self.counter = counter

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        return self.counter._count_flops(func.overloadpacket, func(*args, **kwargs), args, kwargs)
