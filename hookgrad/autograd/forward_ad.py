"""Forward-mode differentiation: tensors that carry a derivative along with their value.

Inside of `dual_level()`, `make_dual(primal, tangent)` is such a tensor, and `unpack_dual` of what was computed from it has the
derivative as its tangent.

Note [Forward by backward]
There are no derivatives written for forward mode. While a level is entered every op that computes comes here first
(py_dispatch.c). Where an argument has a tangent, the op runs on stand-ins that can be differentiated by, and the tangent of its
result is the derivative, along theirs, of its vector-Jacobian product, which is linear in the vector. So whatever can be
differentiated twice has its tangents exactly, at the price of two small backwards for each op. A view of a dual tensor has the
same view of its tangent; an op in place writes the tangent in place, so that views and what they are views of stay in step.

Source: https://docs.pytorch.org/docs/stable/autograd.html#forward-mode-automatic-differentiation
"""

import threading
from contextlib import contextmanager
from typing import NamedTuple

from .. import _C
from .._ops import IS_VIEW, row_of
from ..utils.weak import WeakIdKeyDictionary
from . import function, grad
from .function import Function
from .grad_mode import _DecoratorContextManager, _Remembered, enable_grad, inference_mode, no_grad

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]

_RANDOM = frozenset("bernoulli_ cauchy_ exponential_ geometric_ log_normal_ normal_ random_ uniform_".split())


class UnpackedDualTensor(NamedTuple):
    """What a dual tensor consists of; the tangent of one that is not dual is None."""

    primal: _C.Tensor
    tangent: _C.Tensor | None


class _Level:
    """A level that is entered, within another where both are of torch.func's `jvp`."""

    now = None  # the innermost that ops are told of
    entered = 0  # how many there are, of all samples that are side by side
    enabled = True  # are tangents seen?

    def __init__(self, below, nests):
        self.below, self.nests, self.told = below, nests, _C._without_duals(0)
        self.tangents = WeakIdKeyDictionary()
        self.alone = WeakIdKeyDictionary()  # what shares memory with another tensor, but not its tangent


def _levels():
    """Those that ops are told of, the innermost first."""
    level = _C._has_duals() and _Level.now
    while level:
        yield level
        level = level.below


def _tangent(tensor, level=None):
    level = level or _Level.now
    if not (level and _Level.enabled):
        return None
    tangent = level.tangents.get(tensor)
    if tangent is None and tensor._base is not None and tensor not in level.alone:
        whole = level.tangents.get(tensor._base)
        if whole is not None:
            tangent = level.tangents[tensor] = _part(whole, tensor)
    return tangent


def _part(whole, view):
    """Of the tangent of the view's base."""
    with enable_grad():
        return whole.as_strided(view.size(), view.stride(), view.storage_offset() - view._base.storage_offset())


def _detached(tensor):
    """It keeps its tangents, detached as well where it was not before."""
    detached = tensor.detach()
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


@contextmanager
def _off(hidden=True):
    """A context in which no op is told of the innermost tangents, nor saved-tensor hooks in force of what is saved."""
    level = _Level.now
    _Level.now = level.below or level  # other threads may be there
    was = _C._without_duals(2 if level.below else 1)
    try:
        with _hidden_hooks(hidden):
            yield level
    finally:
        _C._without_duals(was)
        _Level.now = level


@contextmanager
def _hidden_hooks(on=True):
    """A context in which saved-tensor hooks in force are told of nothing."""
    hooks = on and _C._autograd._top_saved_tensors_default_hooks(False)
    if hooks:
        _C._autograd._push_saved_tensors_default_hooks(_as_it_is, _as_it_is)
    try:
        yield
    finally:
        if hooks:
            _C._autograd._pop_saved_tensors_default_hooks()


def _as_it_is(tensor):
    return tensor


# ---- Ops ----------------------------------------------------------------------------------------------------------------


def _call(id, inplace, args, kwargs, records):
    """Row `id` of the table is to be called; `records`: in a graph. The result, where it has a tangent; else None."""
    tensors = [a for arg in (*args, *kwargs.values()) for a in (arg if isinstance(arg, list) else [arg])]
    tensors = [t for t in tensors if isinstance(t, _C.Tensor)]
    there = [tangent for tangent in map(_tangent, tensors) if tangent is not None]
    row = row_of(id)
    if row["name"] in ("detach", "equal"):
        return None
    if not there:
        if _Level.now is None or not _Level.now.below:
            return None
        with _off():
            return _call(id, inplace, args, kwargs, records)
    if row["name"] == "native_batch_norm":
        dual = [t is not None and _tangent(t) is not None for t in args[:5]]
        if any(dual[:3]) and any(dual[3:]):
            raise RuntimeError(
                "batch_norm is not differentiable wrt running_mean and running_var, they cannot have forward grad defined"
            )
    if not records and function._transforms is not None and any(t.requires_grad for t in tensors):
        function._transforms.by_duals()
    every = [t for t in (*tensors, *[level.tangents.get(t) for level in _levels() for t in tensors]) if t is not None]
    recorded, records = records, records and any(t.requires_grad for t in every)
    op = _C._op_of_row(id, inplace)
    with _off(inplace or not records) as level:
        if inplace:
            _write(level, row["name"], op, args, kwargs, records)
            return level.below and _call(id, inplace, args, kwargs, recorded)
        if row["flags"] & IS_VIEW:
            with _recording(recorded and level.below):  # a level below has a view that may be written to
                result = op(*args, **kwargs)
            with _recording(recorded):
                moved = op(there[0], *args[1:], **kwargs)
        else:
            with inference_mode(False):
                stood, duals, tangents = _stand_ins(level, args, kwargs)
                result = op(*stood[0], **stood[1])
                if str(getattr(_tuple(result)[0], "grad_fn", None)).startswith("<NotImplemented"):
                    refuse(row["name"], *tensors)
                with _hidden_hooks():
                    moved = _along(_tuple(result), duals, tangents, records)
                if level.below and not records:
                    result = (
                        [_detached(out) for out in result] if isinstance(result, (tuple, list)) else _detached(result)
                    )
        outs, moved = _tuple(result), _tuple(moved)
        for out, tangent in zip(outs, moved):
            if tangent is not None:
                level.tangents[out] = tangent
        return result


def _tuple(result):
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def _recording(records):
    return enable_grad() if records else no_grad()


def _stand_ins(level, args, kwargs):
    """The arguments with tensors to differentiate by for those that have a tangent: ((args, kwargs), these, the tangents)."""
    duals, tangents = [], []

    def one(a):
        if not isinstance(a, _C.Tensor):
            return a
        tangent = _tangent(a, level)
        plain = a.clone() if a.is_inference() else a
        if tangent is None:
            return plain
        dual = plain.view_as(plain) if plain.requires_grad else _stand_in(_detached(plain))
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


def _along(outs, duals, tangents, records):
    """The derivatives of `outs` by `duals` along the tangents; None of what has none."""
    found = [None] * len(outs)
    places = [i for i, out in enumerate(outs) if out.requires_grad and out.grad_fn is not None]
    if not places:
        return found
    vs = [_stand_in(_C.zeros_like(outs[i])) for i in places]
    products = grad([outs[i] for i in places], duals, vs, create_graph=True, allow_unused=True)
    linear = [(p, t.to(p.dtype)) for p, t in zip(products, tangents) if p is not None and p.requires_grad]
    moved = [None] * len(vs)
    if linear:
        products, along = zip(*linear)
        moved = grad(products, vs, along, create_graph=True, allow_unused=True)
    for i, v, tangent in zip(places, vs, moved):
        tangent = _C.zeros_like(v, requires_grad=False) if tangent is None else tangent
        tangent = tangent if records else _detached(tangent)
        found[i] = tangent.clone() if any(_shares(tangent, t) for t in tangents) else tangent
    return found


def _shares(a, b):
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _write(level, name, op, args, kwargs, records):
    """The tangent of what an op in place is about to write to."""
    target, old = args[0], _tangent(args[0], level)
    if not target.is_floating_point():
        return
    new = None
    if name not in _RANDOM:
        with inference_mode(False):
            (stood, options), duals, tangents = _stand_ins(level, args, kwargs)
            out = op(stood[0].clone(), *stood[1:], **options)
            if records:  # they are saved, and one is written to
                tangents = [t.clone() for t in tangents]
            new = _along((out,), duals, tangents, records)[0]
    with _recording(records):
        if old is not None:
            old.zero_() if new is None else old.copy_(new)
        elif new is not None:
            _lay(level, target, new)


def _lay(level, target, new):
    """Give `target` its first tangent; where it is a view, as the same view of a tangent of its base."""
    base = None if target in level.alone else target._base
    if base is None:
        level.tangents[target] = _like(target, new)
        return
    whole = level.tangents.get(base)
    if whole is None:
        whole = level.tangents[base] = _like(base)
    level.tangents[target] = _part(whole, target).copy_(new)


def _like(tensor, values=None):
    """A tensor that lies in its memory as `tensor` does; of these values, and their dtype, or zeros."""
    n = tensor.untyped_storage().nbytes() // tensor.element_size()
    made = _C.zeros(n, dtype=tensor.dtype if values is None else values.dtype).as_strided(
        tensor.size(), tensor.stride(), tensor.storage_offset()
    )
    return made if values is None else made.copy_(values)


def _known_as(tensor, other, name=None):
    """`other` stands for `tensor`, or that is detached, where `other` is None. With a name: the function of that name is about
    to write `tensor`, or several, there."""
    if name is None:
        for level in _levels():
            if other is None:
                level.tangents.pop(tensor, None)
            elif (tangent := level.tangents.get(tensor)) is not None:
                level.tangents[other] = tangent
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
    """Of the call that this thread has just made: its context, the tensors that it marked, and what forward returned."""

    call = None


_finished = _Finished()


def _finish(cls, ctx, node, inputs, output, with_setup):
    marked = ctx.dirty_tensors or (), ctx.non_differentiable or ()
    result = _plain_finish.__func__(cls, ctx, node, inputs, output, with_setup)
    _finished.call = (ctx, *marked, output if isinstance(output, tuple) else (output,))
    return result


def _apply(cls, args, kwargs):
    """`Function.apply` while a level is entered: with dual arguments, the results are dual by the class's `jvp`."""
    if function._transforms is not None and function._transforms.forward(cls)[1]:
        return cls._apply(args, kwargs)
    with _set_fwd_grad_enabled(False):
        result = cls._apply(args, kwargs)
        (ctx, dirty, frozen, returned), _finished.call = _finished.call, None
    for level in _levels():
        _carry(level, cls, ctx, args, dirty, frozen, returned, result if isinstance(result, tuple) else (result,))
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
    memory = out.untyped_storage().data_ptr()
    of = next((t for a, t in pairs if t is not None and a.untyped_storage().data_ptr() == memory and a.numel()), None)
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
    return _enter(False)


def _enter(nests):
    if _Level.now and not (nests and _Level.now.nests):
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _Level.now = _Level(_Level.now, nests)
    _Level.entered += 1
    function._dual_apply, Function._finish = _apply, classmethod(_finish)
    _C._dispatch_duals(_call, _known_as)
    return 0


def exit_dual_level(*, level=None):
    """End the level: its tensors are dual no longer."""
    number = -1 if _Level.now is None else 0
    if level is None:
        level = number
    if level < 0:
        raise RuntimeError("Dual level must be a positive number.")
    if level != number:
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This is not supported."
        )
    _C._without_duals(_Level.now.told)
    _Level.now = _Level.now.below
    _Level.entered -= 1
    if not _Level.entered:
        function._dual_apply, Function._finish = None, _plain_finish
        _C._dispatch_duals(None, None)


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


class _jvp_level(dual_level):
    """One for a `jvp`."""

    def __enter__(self):
        return _enter(True)


def _is_fwd_grad_enabled():
    return _Level.enabled


def _enable(mode):
    if not mode and function._transforms is not None:
        function._transforms.by_duals()
    _Level.enabled = mode


class _set_fwd_grad_enabled(_Remembered):
    """Whether tangents are seen, from the call on or until the block ends."""

    _get, _set = staticmethod(_is_fwd_grad_enabled), staticmethod(_enable)


_C._is_fwd_grad_enabled, _C._set_fwd_grad_enabled = _is_fwd_grad_enabled, _enable


def __getattr__(name):
    if name == "_current_level":  # -1: none
        return -1 if _Level.now is None else 0
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def make_dual(tensor, tangent, *, level=None):
    """A dual tensor of this value and this derivative, which has the value's shape and dtype."""
    if _Level.now is None or level is not None and level < 0:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    if level:
        raise RuntimeError("Invalid level given to _make_dual")
    if not _Level.enabled:
        return tensor.view_as(tensor)
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"Expected primal to be floating point or complex, but got: {tensor.dtype}")
    if not (tangent.is_floating_point() or tangent.is_complex()):
        raise ValueError(f"Expected tangent to be floating point or complex, but got: {tangent.dtype}")
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
    with _off() as level:
        dual = tensor.view_as(tensor)
        if not _lies_as(tangent, tensor):
            tangent = _like(tensor, tangent)
    level.tangents[dual] = tangent
    level.alone[dual] = True
    return dual


def _lies_as(a, b):
    if a.stride() != b.stride() or a.numel() and a.storage_offset() != b.storage_offset():
        return False
    sizes = [t.untyped_storage().nbytes() // t.element_size() for t in (a, b)]
    return sizes[0] == sizes[1] or not a.numel()


def unpack_dual(tensor, *, level=None):
    """The value and the derivative of a tensor: an UnpackedDualTensor."""
    if _Level.now is None:
        return UnpackedDualTensor(tensor, None)
    if not isinstance(tensor, _C.Tensor):
        raise TypeError(f"_unpack_dual(): argument 'dual' (position 1) must be Tensor, not {type(tensor).__name__}")
    with _off() as level:
        primal = tensor.view_as(tensor)
    level.alone[primal] = True
    return UnpackedDualTensor(primal, _tangent(tensor))
