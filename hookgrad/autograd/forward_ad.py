"""Forward-mode differentiation: tensors that carry a derivative along with their value.

Inside of `dual_level()`, `make_dual(primal, tangent)` is such a tensor, and `unpack_dual` of what was computed from it has the
derivative as its tangent.

Note [Forward by backward]
There are no derivatives written for forward mode. A dual tensor is one that is differentiated by as ever; the tangent of a result
is the derivative, along the tangents, of its vector-Jacobian product, which is linear in the vector. So whatever can be
differentiated twice has its tangents exactly, at the price of a backward for each `unpack_dual`, and results require a gradient.

Source: https://docs.pytorch.org/docs/stable/autograd.html#forward-mode-automatic-differentiation
"""

from typing import NamedTuple

from .. import _C
from . import grad
from .function import Function
from .grad_mode import _DecoratorContextManager, enable_grad

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class UnpackedDualTensor(NamedTuple):
    """What a dual tensor consists of; the tangent of one that is not dual is None."""

    primal: _C.Tensor
    tangent: _C.Tensor | None


class _JvpContext:
    """A Function's context as its `jvp` sees it: what was saved for forward is what was saved."""

    def __init__(self, ctx):
        object.__setattr__(self, "_ctx", ctx)

    def __getattr__(self, name):
        if name == "saved_tensors" and self._ctx.saved_for_forward is not None:
            return self._ctx.saved_for_forward
        return getattr(self._ctx, name)

    def __setattr__(self, name, value):
        setattr(self._ctx, name, value)

    def __delattr__(self, name):
        delattr(self._ctx, name)


_plain_apply = Function.__dict__["apply"]


def _apply(cls, *args, **kwargs):
    """`Function.apply` while a level is entered: with dual arguments, the results are dual by the class's `jvp`."""
    result = _plain_apply.__func__(cls, *args, **kwargs)
    outputs = result if isinstance(result, tuple) else (result,)
    node = next((out.grad_fn for out in outputs if isinstance(out, _C.Tensor) and out.grad_fn is not None), None)
    tangents = [unpack_dual(a).tangent if isinstance(a, _C.Tensor) else None for a in args]
    if node is None or all(t is None for t in tangents):
        return result
    if node._materialize:
        tangents = [_C.zeros_like(a) if t is None and isinstance(a, _C.Tensor) else t for a, t in zip(args, tangents)]
    made = cls.jvp(_JvpContext(node), *tangents)
    made = made if isinstance(made, tuple) else (made,)
    if not any(primal.requires_grad for _, _, primal in _Duals.of):
        made = [None if t is None else t.detach() for t in made]
    dual = [out if t is None else make_dual(out.detach(), t) for out, t in zip(outputs, made)]
    return tuple(dual) if isinstance(result, tuple) else dual[0]


class _Duals:
    """The dual tensors of the level that is entered: there is one at a time, as in PyTorch."""

    level = -1
    enabled = True  # are tangents seen?
    of = []  # (the dual tensor, its tangent, what it was made of)


def enter_dual_level():
    """Begin a level: the number of it."""
    if _Duals.level >= 0:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _Duals.level = 0
    Function.apply = classmethod(_apply)
    return 0


def exit_dual_level(*, level=None):
    """End the level: its tensors are dual no longer."""
    if level is None:
        level = _Duals.level
    if level < 0:
        raise RuntimeError("Dual level must be a positive number.")
    if level != _Duals.level:
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This is not supported."
        )
    _Duals.level = -1
    _Duals.of = []
    Function.apply = _plain_apply


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


class _set_fwd_grad_enabled(_DecoratorContextManager):
    """Whether tangents are seen, from the call on or until the block ends."""

    def __init__(self, mode):
        self.prev, _Duals.enabled = _Duals.enabled, mode
        self.mode = mode

    def __enter__(self):
        _Duals.enabled = self.mode

    def __exit__(self, *exc):
        _Duals.enabled = self.prev

    def clone(self):
        return type(self)(self.mode)


def _is_fwd_grad_enabled():
    return _Duals.enabled


def _enable(mode):
    _Duals.enabled = mode


_C._is_fwd_grad_enabled, _C._set_fwd_grad_enabled = _is_fwd_grad_enabled, _enable


def __getattr__(name):
    if name == "_current_level":  # -1: none
        return _Duals.level
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def make_dual(tensor, tangent, *, level=None):
    """A dual tensor of this value and this derivative, which has the value's shape and dtype."""
    if _Duals.level < 0 or level is not None and level < 0:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    if not _Duals.enabled:
        return tensor.view_as(tensor)
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"Expected primal to be floating point or complex, but got: {tensor.dtype}")
    if not (tangent.is_floating_point() or tangent.is_complex()):
        raise ValueError(f"Expected tangent to be floating point or complex, but got: {tangent.dtype}")
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. "
            f"Tensor is of size {list(tensor.shape)} while the given forward gradient is of size {list(tangent.shape)}."
        )
    if tensor.requires_grad:
        with enable_grad():
            dual = tensor.view_as(tensor)
    else:
        dual = tensor.detach().requires_grad_()
    _Duals.of.append((dual, tangent.to(tensor.dtype), tensor))
    return dual


def unpack_dual(tensor, *, level=None):
    """The value and the derivative of a tensor: an UnpackedDualTensor."""
    if _Duals.level < 0 or not _Duals.enabled or not tensor.requires_grad:
        return UnpackedDualTensor(tensor, None)
    for dual, tangent, primal in _Duals.of:
        if tensor is dual:
            return UnpackedDualTensor(primal.view_as(primal), tangent)
    duals = [dual for dual, _, _ in _Duals.of]
    with enable_grad():
        v = _C.zeros_like(tensor, requires_grad=True)
        products = grad(tensor, duals, v, create_graph=True, retain_graph=True, allow_unused=True)
        reached = [(p, tangent) for p, (_, tangent, _) in zip(products, _Duals.of) if p is not None]
        if not reached:
            return UnpackedDualTensor(tensor, None)
        linear = [(p, t) for p, t in reached if p.requires_grad]
        tangent = None
        if linear:
            products, tangents = zip(*linear)
            tangent = grad(products, v, tangents, create_graph=True, allow_unused=True)[0]
        tangent = _C.zeros_like(tensor) if tangent is None else tangent
    if any(primal.requires_grad or t.requires_grad for _, t, primal in _Duals.of):
        return UnpackedDualTensor(tensor.view_as(tensor), tangent)
    return UnpackedDualTensor(tensor.detach(), tangent.detach())
