"""Forward-mode differentiation: tensors that carry a derivative along with their value.

Inside of `dual_level()`, `make_dual(primal, tangent)` is such a tensor, and `unpack_dual` of what was computed from it has the
derivative as its tangent.

Note [Forward by backward]
No op has a derivative of its own for forward mode. While a level is entered every op that computes comes here first
(py_dispatch.c). Where an argument has a tangent, that of the result comes from the op itself: where the op is linear, from the op
called on tangents (a product is, in each of its factors: the table says what a gradient is made of, and so which arguments stay);
where its Jacobian is symmetric, as that of an elementwise op is, from its backward; and else from the derivative, along the
tangents, of its vector-Jacobian product, which is linear in the vector. So whatever can be differentiated twice has its tangents
exactly. A view of a dual tensor has the same view of its tangent; an op in place writes the tangent in place, so that views and
what they are views of stay in step.

Source: https://docs.pytorch.org/docs/stable/autograd.html#forward-mode-automatic-differentiation
"""

import re
import threading
import weakref
from functools import cache
from typing import NamedTuple

from .. import _C
from .._levels import alias, in_map, tensors_of
from .._ops import IS_VIEW, MOVES, row_of
from . import function
from .function import Function
from .grad_mode import _DecoratorContextManager, _Remembered, enable_grad

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]

_RANDOM = frozenset("bernoulli_ cauchy_ exponential_ geometric_ log_normal_ normal_ random_ uniform_".split())


class UnpackedDualTensor(NamedTuple):
    """What a dual tensor consists of; the tangent of one that is not dual is None."""

    primal: _C.Tensor
    tangent: _C.Tensor | None


class _Known(weakref.ref):
    """A tensor of a level: its tangent. None: it has none, whatever that of the tensor it is a view of."""

    __slots__ = ("key", "tangent")


class _Tangents:
    """Of tensors, for as long as these live."""

    def __init__(self):
        self.known = {}

    def get(self, tensor):
        known = self.known.get(id(tensor))
        return known and known.tangent

    def __setitem__(self, tensor, tangent):
        known = self.known[id(tensor)] = _Known(tensor, self._gone)
        known.key, known.tangent = id(tensor), tangent

    def _gone(self, known):
        self.known.pop(known.key, None)


class _Level:
    """A level that is entered, within another where both are of torch.func's `jvp`."""

    shared = None  # that of dual_level(), for all threads
    entered = 0  # how many there are, of all threads

    def __init__(self, below=None):
        self.below, self.told = below, _C._without_duals(0)
        self.depth = function._transforms.depth if function._transforms else 0  # how many it is within
        self.tangents = _Tangents()


class _Here(threading.local):
    """Of this thread: the innermost level of a `jvp`, and whether tangents are seen."""

    level, enabled = None, True


_here = _Here()


def _innermost():
    return _here.level or _Level.shared


def _levels():
    """Those that ops are told of, the innermost first."""
    level = _C._has_duals() and _innermost()
    while level:
        yield level
        level = level.below


def _tangent(tensor, level=None):
    level = level or _innermost()
    if not (level and _here.enabled):
        return None
    known = level.tangents.known.get(id(tensor))
    if known:
        return known.tangent
    base = tensor._base
    whole = None if base is None else level.tangents.get(base)
    if whole is None:
        return None
    tangent = level.tangents[tensor] = _part(whole, tensor)
    return tangent


def _part(whole, view):
    """Of the tangent of the view's base."""
    with enable_grad():
        return whole.as_strided(view.size(), view.stride(), view.storage_offset() - view._base.storage_offset())


def _detached(tensor):
    """It keeps its tangents, detached as well where it was not before."""
    detached = tensor.detach() if (same := alias(tensor)) is None else same
    for level in _levels():
        if (tangent := level.tangents.get(tensor)) is not None:
            level.tangents[detached] = _detached(tangent) if tensor.requires_grad else tangent
    return detached


def refuse(name, *tensors):
    """Tangents do not pass the function of that name."""
    if any(_tangent(t) is not None for t in tensors):
        raise NotImplementedError(
            f"Trying to use forward AD with {name} that does not support it because it has not been implemented yet."
        )


class _Off:
    """A context in which no op is told of the innermost tangents."""

    def __enter__(self):
        level, self.was = _innermost(), _here.level
        if level.below:
            _here.level = level.below
        self.told = _C._without_duals(2 if level.below else 1)
        return level

    def __exit__(self, *exc):
        _C._without_duals(self.told)
        _here.level = self.was


class _Hidden:
    """A context in which saved-tensor hooks in force are told of nothing."""

    def __init__(self, on=True):
        self.hooks = on and _C._autograd._top_saved_tensors_default_hooks(False)

    def __enter__(self):
        if self.hooks:
            _C._autograd._push_saved_tensors_default_hooks(_as_it_is, _as_it_is)

    def __exit__(self, *exc):
        if self.hooks:
            _C._autograd._pop_saved_tensors_default_hooks()


def _as_it_is(tensor):
    return tensor


# ---- Ops ----------------------------------------------------------------------------------------------------------------


# What is linear in its arguments, or in those named, by the node's name.
_LINEAR = {
    **dict.fromkeys(
        (
            f"{name}Backward0"
            for name in """AdaptiveAvgPool2D Add Addbmm Addcmul Addmm Addmv Addr AvgPool2D Baddbmm BlockDiag Bmm Cat Clone
            Convolution Cumsum Dot Embedding Flip Gather Index IndexAdd IndexSelect LinalgCross MaskedSelect Mean
            Mm Mul Mv Neg Repeat Roll Rsub SelectBackward SliceBackward Stack Sub Sum Take ToCopy Trace Tril Triu Vdot
            Where""".split()
        ),
    ),
    **dict.fromkeys(("DivBackward1", "LerpBackward0", "MeanBackward1", "MulBackward1", "SumBackward1")),
    "DivBackward0": ("self",),
    "LerpBackward1": ("self", "end"),
}

# Where the Jacobian is symmetric, by an argument that has the result's shape.
_SYMMETRIC = frozenset(
    f"{name}Backward"
    for name in """Abs Acos Acosh Add Addcdiv Asin Asinh Atan Atan2 Atanh Ceil Celu Clamp ClampMax ClampMin Copysign Cos Cosh
    Deg2Rad Digamma Div Elu Erf Erfc Erfinv Exp Exp2 Expm1 Floor Fmax Fmin Fmod Frac Gelu Hardshrink Hardsigmoid Hardswish
    Hardtanh Hypot LeakyRelu Lerp Lgamma Log Log10 Log1P Log2 LogSigmoid Logaddexp Logaddexp2 Logit MaskedFill Maximum Minimum
    Mish NanToNum Polygamma Pow Rad2Deg Reciprocal Relu Remainder Round Rsqrt Rsub Sgn Sigmoid SigmoidBackward Sign Silu Sin Sinc
    Sinh Softmax Softplus Softshrink Sqrt Sub Tan Tanh TanhBackward Threshold Trunc Xlogy""".split()
)

# Where the product of a vector and the Jacobian takes logarithms of the vector.
_BY_LOGARITHMS = ("logcumsumexp",)


class _Rule:
    """How a row of the table passes tangents on."""

    def __init__(self, row):
        node, self.name, self.params = row["node_name"], row["name"], row["params"]
        self.is_view, self.moves = row["flags"] & IS_VIEW, row["flags"] & MOVES
        self.is_missing = node.startswith("NotImplemented")
        self.is_symmetric = node[:-1] in _SYMMETRIC and row["n_out"] == 1
        self.factors = {}  # of each argument that it is linear in, the others that its factor is made of
        numbers = {p["name"]: i for i, p in enumerate(self.params) if p["differentiable"]}
        for name, saved in re.findall(r"(\w+)(?:\(([^)]*)\))?", row["grads"] if node in _LINEAR else ""):
            if name in (_LINEAR[node] or numbers):
                others = {numbers[other] for other in saved.split(", ") if other in numbers}
                place = numbers[name]
                self.factors[place] = set() if self.params[place]["optional"] else others - {place}


@cache
def _rule_of(number):
    return _Rule(row_of(number))


def _call(number, inplace, args, kwargs, records, own=False):
    """That row of the table is to be called; `records`: in a graph. The result, where it has a tangent; else None."""
    level, rule = _innermost(), _rule_of(number)
    if level is None or rule.name in ("detach", "equal"):
        return None
    tensors = tensors_of((*args, *kwargs.values()))
    if any((known := in_map(t)) and known.samples.depth > level.depth for t in tensors):
        return None  # the call on batches has them
    dual = {id(t): tangent for t in tensors if (tangent := _tangent(t, level)) is not None}
    if not dual:
        if not level.below:
            return None
        with _Off():
            return _call(number, inplace, args, kwargs, records)
    if rule.is_missing:
        refuse(rule.name, *tensors)
    if rule.name == "native_batch_norm":
        dual_ones = [id(t) in dual for t in args[:5]]
        if any(dual_ones[:3]) and any(dual_ones[3:]):
            raise RuntimeError(
                "batch_norm is not differentiable wrt running_mean and running_var, they cannot have forward grad defined"
            )
    recorded = records
    if records:
        others = [each.tangents.get(t) for each in _levels() for t in tensors if each is not level]
        records = any(t is not None and t.requires_grad for t in (*tensors, *dual.values(), *others))
    elif function._transforms is not None and any(t.requires_grad for t in tensors):
        function._transforms.by_duals()
    op = _C._op_of_row(number, inplace)
    with _Off(), _Hidden(inplace or not records):
        if inplace:
            _write(level, rule, op, args, kwargs, records)
            return level.below and _call(number, inplace, args, kwargs, recorded)
        if (parts := _parts(dual, rule, args)) is not None:
            _C._grad_mode(recorded and level.below is not None)  # a level below has a view that may be written to
            result = op(*args, **kwargs)
            _C._grad_mode(recorded)
            moved = None
            if _tuple(result)[0].is_floating_point():
                moved, *rest = [op(*part, **kwargs) for part in parts]
                for other in rest:
                    moved = moved + other
        else:
            result, moved = _derived(level, rule, op, args, kwargs, records)
        for out, tangent in zip(_tuple(result), _tuple(moved)):
            if tangent is not None:
                level.tangents[out] = tangent
        return result


def _tuple(result):
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def _parts(dual, rule, args):
    """The arguments of calls that add up to the tangent, of an op that is linear in each argument that has one; else None."""
    if rule.is_view:
        return [(dual[id(args[0])], *args[1:])]
    groups = []  # (those whose tangents are in their place, those that stay)
    for i, a in enumerate(args):
        if not (any(id(t) in dual for t in a) if isinstance(a, list) else id(a) in dual):
            continue
        if i not in rule.factors:
            return None
        stay = rule.factors[i]
        for places, others in groups:
            if i not in others and not stay & places:
                places.add(i), others.update(stay)
                break
        else:
            groups.append(({i}, set(stay)))

    def moved(t):
        return _C.zeros_like(t) if (tangent := dual.get(id(t))) is None else tangent

    def part(places, others):
        for i, (a, param) in enumerate(zip(args, rule.params)):
            if i in others or not param["differentiable"]:
                yield a
            elif i in places:
                yield list(map(moved, a)) if isinstance(a, list) else moved(a)
            else:
                yield None if param["optional"] else _C.zeros_like(a) if isinstance(a, _C.Tensor) else 0

    return [list(part(*group)) for group in groups] or None


def _derived(level, rule, op, args, kwargs, records, writes=False):
    """(The op's result, the tangents of its outputs), by differentiating it; `writes`: what it is to write to is copied first."""
    inference, recorded = _C._set_inference_mode(False), _C._grad_mode(True)
    try:
        (stood, options), duals, tangents = _stand_ins(level, args, kwargs)
        if writes:
            stood[0] = stood[0].clone()
            tangents = [t.clone() for t in tangents] if records else tangents  # they are saved, and one is written to
        with _Hidden():
            result = op(*stood, **options)
            moved = _along(rule, _tuple(result), duals, tangents, records)
        if level.below and not records:
            several = isinstance(result, (tuple, list))
            result = list(map(_detached, result)) if several else _detached(result)
        return result, moved
    finally:
        _C._set_inference_mode(inference), _C._grad_mode(recorded)


def _stand_ins(level, args, kwargs):
    """The arguments with tensors to differentiate by for those that have a tangent: ((args, kwargs), these, the tangents)."""
    duals, tangents = [], []
    samples = function._transforms and function._transforms.samples

    def one(a):
        if not isinstance(a, _C.Tensor):
            return a
        tangent = _tangent(a, level)
        plain = a.clone() if a.is_inference() else a
        if tangent is None:
            return plain
        if plain.requires_grad:
            dual = plain.view_as(plain)
        else:  # in a map of which the level is part nobody outside differentiates by it
            inside = samples is not None and level.depth >= samples.depth and not samples.knows(plain)
            dual = _stand_in(samples.sample(plain, False) if inside else _detached(plain))
        duals.append(dual)
        tangents.append(tangent.clone() if tangent.is_inference() else tangent)
        return dual

    def of(a):
        return list(map(one, a)) if isinstance(a, list) else one(a)

    return ([of(a) for a in args], {name: of(a) for name, a in kwargs.items()}), duals, tangents


def _stand_in(leaf):
    """A leaf that only the small backwards differentiate by, though graphs that they made reach it."""
    leaf._stands_in = True
    return leaf._requires()


def _along(rule, outs, duals, tangents, records):
    """The derivatives of `outs` by `duals` along the tangents; None of what has none."""
    found = [None] * len(outs)
    places = [i for i, out in enumerate(outs) if out.requires_grad and out.grad_fn is not None]
    if not places:
        return found
    narrow = [t.to(dual.dtype) for t, dual in zip(tangents, duals)]
    if rule.is_symmetric and all((d.shape, d.dtype) == (outs[0].shape, outs[0].dtype) for d in duals):
        results = [_by_one_product(outs, duals, narrow)]
    else:
        like = _C.ones_like if rule.name in _BY_LOGARITHMS else _C.zeros_like
        results = _by_two_products([outs[i] for i in places], duals, narrow, like)
    for i, tangent in zip(places, results):
        tangent = _C.zeros_like(outs[i], requires_grad=False) if tangent is None else tangent
        for t, dual in zip(tangents, duals):
            if t.dtype != dual.dtype:
                tangent = tangent.to(_C.promote_types(t.dtype, tangent.dtype))
        tangent = tangent if records else _detached(tangent)
        found[i] = tangent.clone() if any(_C._is_alias_of(tangent, t) for t in tangents) else tangent
    return found


def _by_one_product(outs, duals, tangents):
    """Where vector times Jacobian is Jacobian times vector: of several, where these are diagonal."""
    if len(duals) == 1:
        return _C.grad(outs, tangents, duals, True, True, True)[0]
    products = _C.grad(outs, (_C.ones_like(outs[0], requires_grad=False),), duals, True, True, True)
    parts = [p * t for p, t in zip(products, tangents) if p is not None]
    return sum(parts[1:], parts[0]) if parts else None


def _by_two_products(outs, duals, tangents, like):
    """By the product of a vector and the Jacobian, which is linear in the vector: any will do."""
    vs = [_stand_in(like(out)) for out in outs]
    products = _C.grad(outs, vs, duals, True, True, True)
    linear = [(p, t) for p, t in zip(products, tangents) if p is not None and p.requires_grad]
    if not linear:
        return [None] * len(vs)
    products, along = zip(*linear)
    return _C.grad(products, along, vs, True, True, True)


def _write(level, rule, op, args, kwargs, records):
    """The tangent of what an op in place is about to write to."""
    target, old = args[0], _tangent(args[0], level)
    if not target.is_floating_point():
        return
    new = None
    if not (rule.moves or rule.name in _RANDOM):
        _, (new,) = _derived(level, rule, op, args, kwargs, records, writes=True)
    was = _C._grad_mode(records)
    if rule.moves:
        old is None or op(old, *args[1:], **kwargs)
    elif old is not None:
        old.zero_() if new is None else old.copy_(new)
    elif new is not None:
        _lay(level, target, new)
    _C._grad_mode(was)


def _lay(level, target, new):
    """Give `target` its first tangent; where it is a view, as the same view of a tangent of its base."""
    base = None if id(target) in level.tangents.known else target._base
    if base is None:
        level.tangents[target] = _like(target, new)
        return
    whole = level.tangents.get(base)
    if whole is None:
        whole = level.tangents[base] = _like(base)
    level.tangents[target] = _part(whole, target).copy_(new)


def _like(tensor, values=None):
    """A tensor that lies in its memory as `tensor` does; of these values, and their dtype, or zeros."""
    n = tensor._storage_bytes().numel() // tensor.element_size()
    of = tensor if values is None else values
    made = _C.zeros(n, dtype=of.dtype) if alias(of) is None else of.new_zeros(n)
    made = made.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())
    return made if values is None else made.copy_(values)


def _known_as(tensor, other, name=None):
    """`other` stands for `tensor`, or that is detached, where `other` is None. With a name: the function of that name is about
    to write `tensor`, or several, there."""
    if name is None:
        for level in _levels():
            if (tangent := level.tangents.get(tensor)) is not None:
                level.tangents[tensor if other is None else other] = None if other is None else tangent
        return
    every = [t for some in (tensor, other) for t in (some if isinstance(some, tuple) else (some,))]
    if any(isinstance(t, _C.Tensor) and _tangent(t, level) is not None for t in every for level in _levels()):
        raise NotImplementedError(
            f"Trying to use forward AD with {name}_out that does not support it because it is an out= function"
        )


# ---- Functions ----------------------------------------------------------------------------------------------------------


class _JvpContext:
    """A Function's context as its `jvp` sees it: saved is what was saved for forward."""

    def __init__(self, ctx):
        object.__setattr__(self, "_ctx", ctx)

    def __getattr__(self, name):
        if name == "saved_tensors":
            return self._ctx.saved_for_forward or ()
        return getattr(self._ctx, name)

    def __setattr__(self, name, value):
        setattr(self._ctx, name, value)

    def __delattr__(self, name):
        delattr(self._ctx, name)


_plain_finish = Function.__dict__["_finish"]


class _Finished(threading.local):
    """Of the call that this thread has just made: its context, what it saved for jvp, the tensors that it marked, and what
    forward returned."""

    call = None


_finished = _Finished()


def _finish(cls, ctx, node, inputs, output, with_setup):
    marked = ctx.saved_for_forward, ctx.dirty_tensors or (), ctx.non_differentiable or ()
    result = _plain_finish.__func__(cls, ctx, node, inputs, output, with_setup)
    _finished.call = (ctx, *marked, output if isinstance(output, tuple) else (output,))
    return result


def _apply(cls, args, kwargs):
    """`Function.apply` while a level is entered: with dual arguments, the results are dual by the class's `jvp`."""
    if function._transforms is not None and function._transforms.forward(cls)[1]:
        return cls._apply(args, kwargs)
    with _set_fwd_grad_enabled(False):
        result = cls._apply(args, kwargs)
        (ctx, ctx.saved_for_forward, dirty, frozen, returned), _finished.call = _finished.call, None
    for level in _levels():
        _carry(level, cls, ctx, args, dirty, frozen, returned, result if isinstance(result, tuple) else (result,))
    ctx.saved_for_forward = None
    return result


def _carry(level, cls, ctx, args, dirty, frozen, returned, outputs):
    """The outputs of a call are dual by the class's `jvp`, where an argument is."""
    given = [_tangent(a, level) if isinstance(a, _C.Tensor) else None for a in args]
    if all(t is None for t in given):
        return
    tangents = given
    if ctx._materialize:
        tangents = [
            _C.zeros_like(a) if t is None and isinstance(a, _C.Tensor) and a.is_floating_point() else t
            for a, t in zip(args, given)
        ]
    versions = [None if t is None else t._version for t in tangents]
    with _set_fwd_grad_enabled(False):  # what jvp computes from the dual arguments has no tangent
        made = cls.jvp(_JvpContext(ctx), *tangents)
    made = made if isinstance(made, tuple) else (made,)
    for i, tangent in enumerate(made):
        if not (tangent is None or isinstance(tangent, _C.Tensor)):
            raise RuntimeError(f"expected Variable or None (got {type(tangent).__name__}) for grad output {i}.")
    if len(made) != len(outputs):
        raise RuntimeError(
            f"Function's jvp returned an invalid number of forward gradients (expected {len(outputs)} but got {len(made)})"
        )
    pairs = [(a, t) for a, t in zip(args, tangents) if isinstance(a, _C.Tensor)]
    for out, was, tangent in zip(outputs, returned, made):
        if not isinstance(out, _C.Tensor):
            continue
        if not out.is_floating_point() or any(was is t for t in frozen):
            if tangent is not None:
                raise RuntimeError(
                    "A custom Function's jvp returned a forward gradient for an output that is not differentiable. You "
                    "should return None at that position instead."
                )
            continue
        if tangent is None or not tangent.is_floating_point():
            raise RuntimeError("Expected both tensor and its forward grad to be floating point or complex")
        if any(was is t for t in dirty):
            at = next(i for i, a in enumerate(args) if a is was)
            _check_written(tangent, tangents[at], versions[at])
        else:
            _check_view(out, tangent, pairs)
        _check_size(out, tangent)
        level.tangents[out] = tangent


def _check_written(tangent, given, version):
    """Where forward has written to an input, jvp must have written to its tangent, `given`, which had this version."""
    if given._version == version:
        raise RuntimeError(
            "An inplace custom Function is not modifying the forward mode gradients inplace. If the forward is modifying an "
            "input inplace, then the jvp function must modify the corresponding gradient inplace."
        )
    if tangent is not given:
        raise RuntimeError(
            "An inplace custom Function is not returning the forward mode gradients as-is. If the forward is modifying an "
            "input inplace, then the jvp function must modify the gradient inplace and return it as-is."
        )


def _check_size(tensor, tangent):
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. "
            f"Tensor is of size {list(tensor.shape)} while the given forward gradient is of size {list(tangent.shape)}."
        )


def _check_view(out, tangent, pairs):
    """Where forward returned a view of an input, jvp must return the same kind of view of its tangent."""
    of = next((t for a, t in pairs if t is not None and a.numel() and _C._is_alias_of(a, out)), None)
    if of is None or not out._is_view() and not any(out is a for a, _ in pairs):
        return
    if not tangent._is_view():
        raise RuntimeError(
            "A custom Function's forward is returning a view (or an input as-is) but the jvp is not returning a view."
        )
    if of._is_view():
        if tangent._base is not of._base:
            raise RuntimeError(
                "A custom Function is returning a view but the jvp is not returning a view of the same base as the given "
                "grad input."
            )
    elif tangent._base is not of:
        raise RuntimeError(
            "A custom Function is returning a view but the jvp is not returning a view of the given grad input."
        )


# ---- Levels -------------------------------------------------------------------------------------------------------------


def enter_dual_level():
    """Begin a level: the number of it."""
    if _innermost():
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _Level.shared = _enter()
    return 0


def _enter(below=None):
    _Level.entered += 1
    function._dual_apply, Function._finish = _apply, classmethod(_finish)
    _C._dispatch_duals(_call, _known_as)
    return _Level(below)


def _exit(level):
    _C._without_duals(level.told)
    level.tangents.known.clear()
    _Level.entered -= 1
    if not _Level.entered:
        function._dual_apply, Function._finish = None, _plain_finish
        _C._dispatch_duals(None, None)


def exit_dual_level(*, level=None):
    """End the level: its tensors are dual no longer."""
    number = -1 if _innermost() is None else 0
    if level is None:
        level = number
    if level < 0:
        raise RuntimeError("Dual level must be a positive number.")
    if level != number:
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This is not supported."
        )
    ended, _Level.shared = _Level.shared, None
    _exit(ended)


class dual_level(_DecoratorContextManager):
    """A context in which tensors can be dual.

    >>> import hookgrad as torch
    >>> with dual_level():
    ...     x = make_dual(torch.tensor([1.0, 2.0]), torch.ones(2))
    ...     unpack_dual(x * x).tangent
    tensor([2., 4.])
    """

    def __enter__(self):
        return enter_dual_level()

    def __exit__(self, *exc):
        exit_dual_level()


class _jvp_level:
    """One for a `jvp`, of this thread."""

    def __enter__(self):
        if _Level.shared:
            raise RuntimeError("Nested forward mode AD is not supported at the moment")
        _here.level = _enter(_here.level)

    def __exit__(self, *exc):
        ended, _here.level = _here.level, _here.level.below
        _exit(ended)


def _is_fwd_grad_enabled():
    return _here.enabled


def _enable(mode):
    if not mode and function._transforms is not None:
        function._transforms.by_duals()
    _here.enabled = mode


class _set_fwd_grad_enabled(_Remembered):
    """Whether tangents are seen, from the call on or until the block ends."""

    _get, _set = staticmethod(_is_fwd_grad_enabled), staticmethod(_enable)


_C._is_fwd_grad_enabled, _C._set_fwd_grad_enabled = _is_fwd_grad_enabled, _enable


def __getattr__(name):
    if name == "_current_level":  # -1: none
        return -1 if _innermost() is None else 0
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def make_dual(tensor, tangent, *, level=None):
    """A dual tensor of this value and this derivative, which has the value's shape and dtype."""
    if _innermost() is None or level is not None and level < 0:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    if level:
        raise RuntimeError("Invalid level given to _make_dual")
    if not _here.enabled:
        return tensor.view_as(tensor)
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"Expected primal to be floating point or complex, but got: {tensor.dtype}")
    if not (tangent.is_floating_point() or tangent.is_complex()):
        raise ValueError(f"Expected tangent to be floating point or complex, but got: {tangent.dtype}")
    return _make_dual(tensor, tangent, level=0)


def _asked(function, *tensors, level):
    from ..overrides import _ask

    return _ask(function, tensors, tensors, {"level": level})


def _make_dual(tensor, tangent, *, level):
    if _C._overridden(tensor, tangent):
        return _asked(_make_dual, tensor, tangent, level=level)
    _check_size(tensor, tangent)
    if _tangent(tangent) is not None:
        raise RuntimeError(
            "Setting a forward grad that itself has a forward gradient at the same level is not supported."
        )
    if _tangent(tensor) is not None:
        raise RuntimeError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the same level 0 is not "
            "supported."
        )
    with _Off() as innermost, _Hidden():
        dual = tensor.view_as(tensor)
        if not _lies_as(tangent, tensor):
            tangent = _like(tensor, tangent)
    innermost.tangents[dual] = tangent
    return dual


def _lies_as(a, b):
    if a.stride() != b.stride() or a.numel() and a.storage_offset() != b.storage_offset():
        return False
    sizes = [t._storage_bytes().numel() // t.element_size() for t in (a, b)]
    return sizes[0] == sizes[1] or not a.numel()


def unpack_dual(tensor, *, level=None):
    """The value and the derivative of a tensor: an UnpackedDualTensor."""
    if _innermost() is None:
        return UnpackedDualTensor(tensor, None)
    if not isinstance(tensor, _C.Tensor):
        raise TypeError(f"_unpack_dual(): argument 'dual' (position 1) must be Tensor, not {type(tensor).__name__}")
    return UnpackedDualTensor(*_unpack_dual(tensor, level=0))


def _unpack_dual(dual, *, level):
    if _C._overridden(dual):
        return _asked(_unpack_dual, dual, level=level)
    with _Off() as innermost, _Hidden():
        primal = dual.view_as(dual)
    innermost.tangents[primal] = None
    return primal, _tangent(dual)
