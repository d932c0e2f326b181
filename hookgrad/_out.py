"""`out=` for functions made of other ops: the ops of the table have it of themselves."""

from functools import wraps

from . import _C
from .autograd.grad_mode import no_grad


def take_out(namespace, names):
    """Let the functions of those names in a module's namespace take `out=`: what they return is copied there."""
    for name in names.split():
        namespace[name] = _with_out(name, namespace[name])


def _with_out(name, function):
    @wraps(function)
    def call(*args, out=None, **kwargs):
        if "input" in kwargs:  # PyTorch's word for the first parameter, whatever the documentation calls it
            args = (kwargs.pop("input"), *args)
        if out is None:
            return function(*args, **kwargs)
        outs = out if isinstance(out, (tuple, list)) else (out,)
        tensors = [a for a in (*args, *kwargs.values(), *outs) if isinstance(a, _C.Tensor)]
        if _C.is_grad_enabled() and any(t.requires_grad for t in tensors):
            raise RuntimeError(
                f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the arguments "
                "requires grad."
            )
        with no_grad():
            made = function(*args, **kwargs)
            several = isinstance(made, tuple)
            if several and len(made) != len(outs) or not all(isinstance(o, _C.Tensor) for o in outs):
                kind = "tuple of Tensors" if several else "Tensor"
                raise TypeError(f"{name}(): argument 'out' must be {kind}, not {type(out).__name__}")
            for value, at in zip(made if several else (made,), outs):
                _C.clone(value, out=at)
        return out

    return call


def title(namespace, prefix, names):
    """Let the functions of those names be called what PyTorch's are: `torch.linalg.norm` is "linalg_norm"."""
    for name in names.split():
        namespace[name].__name__ = prefix + name
