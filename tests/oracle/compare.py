"""Calls something in PyTorch and in hookgrad and says how the outcomes differ."""

import warnings

import numpy as np
import torch

import hookgrad

torch.set_num_threads(1)

# Relative and absolute: what torch.testing has, and for the short ones a few units in the last place of numbers around
# three, as PyTorch rounds between the steps of an op where hookgrad rounds once.
TOLERANCE = {"float64": (1e-7, 1e-7), "float32": (1.3e-6, 1e-5), "float16": (4e-3, 6e-3), "bfloat16": (3.2e-2, 5e-2)}
# PyTorch refuses some dtypes for want of a kernel: doing more is no fault.
NO_KERNEL = ("not implemented for", "Low precision dtypes not supported", "not supported", "does not support",
             "expected input to have floating point", "Expected a floating point")  # fmt: skip
LIBRARIES = (torch, hookgrad)


class Differs(AssertionError):
    pass


def attempt(function):
    """What the function returns, or the exception it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(), None
    except Exception as error:
        return None, error


def same_error(theirs, ours, what):
    """True where both failed alike, False where both worked; anything else differs."""
    if theirs is None and ours is None:
        return False
    if theirs is not None and any(words in str(theirs) for words in NO_KERNEL):
        return True
    if theirs is None:
        raise Differs(f"{what}: hookgrad raises {describe(ours)}, PyTorch does not")
    if ours is None:
        raise Differs(f"{what}: PyTorch raises {describe(theirs)}, hookgrad does not")
    if type(theirs) is not type(ours) and type(theirs) not in type(ours).__mro__:
        raise Differs(f"{what}: PyTorch raises {describe(theirs)}, hookgrad {describe(ours)}")
    return True


def describe(error):
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def numbers(t):
    """A tensor's numbers as an array."""
    t = t.detach()
    if str(t.dtype) == "torch.bfloat16":
        t = t.float()
    return t.numpy(force=True)


def lie_alike(theirs, ours):
    """Whether strides agree where they matter: a dimension of one has none."""
    return all(n < 2 or a == b for n, a, b in zip(theirs.shape, theirs.stride(), ours.stride()))


def same(theirs, ours, what="result", values=True, strides=True, slack=1.0, names=str):
    """Raise Differs unless both are the same kind of thing with the same contents.

    `names` is applied to the names of grad_fn before they are compared.
    """
    if isinstance(theirs, torch.Tensor):
        if not isinstance(ours, hookgrad.Tensor):
            raise Differs(f"{what}: a tensor in PyTorch, {type(ours).__name__} in hookgrad")
        for name in ("dtype", "shape", "requires_grad", "is_leaf"):
            a, b = str(getattr(theirs, name)), str(getattr(ours, name))
            if a != b:
                raise Differs(f"{what}.{name}: PyTorch {a}, hookgrad {b}")
        if strides and theirs.numel() and not lie_alike(theirs, ours):
            raise Differs(f"{what}.stride(): PyTorch {theirs.stride()}, hookgrad {tuple(ours.stride())}")
        a, b = (names(type(t.grad_fn).__name__) for t in (theirs, ours))
        if a != b:
            raise Differs(f"{what}.grad_fn: PyTorch {a}, hookgrad {b}")
        if values:
            same_numbers(numbers(theirs), numbers(ours), str(theirs.dtype).removeprefix("torch."), what, slack)
            if names is str and theirs.numel() < 200 and to_the_bit(numbers(theirs), numbers(ours)):
                if repr(theirs) != repr(ours):
                    raise Differs(f"repr of {what}:\n{theirs!r}\n{ours!r}")
    elif isinstance(theirs, (tuple, list)) and not isinstance(theirs, torch.Size):
        if not isinstance(ours, type(theirs) if type(theirs) in (tuple, list) else tuple) or len(theirs) != len(ours):
            raise Differs(f"{what}: PyTorch {type(theirs).__name__} of {len(theirs)}, hookgrad {ours!r}")
        fields = field_names(theirs)
        if fields and type(theirs).__name__.removeprefix("linalg_") != type(ours).__name__.removeprefix("linalg_"):
            raise Differs(f"{what}: PyTorch's type is {type(theirs).__name__}, hookgrad's {type(ours).__name__}")
        for i, (a, b) in enumerate(zip(theirs, ours)):
            same(a, b, f"{what}[{i}]", values, strides, slack, names)
            if fields and getattr(ours, fields[i], None) is not b:
                raise Differs(f"{what}.{fields[i]} is not {what}[{i}]")
    elif isinstance(theirs, float):
        same_numbers(np.array(theirs), np.array(ours), "float32", what, slack)
    elif str(theirs) != str(ours):
        raise Differs(f"{what}: PyTorch {theirs!r}, hookgrad {ours!r}")


def to_the_bit(a, b):
    """Whether arrays are equal, zeros of different signs told apart."""
    return np.array_equal(a, b, equal_nan=True) and (
        a.dtype.kind != "f" or np.array_equal(np.signbit(a), np.signbit(b))
    )


def field_names(result):
    """The names of a named tuple's fields, in order; none for a plain tuple or list."""
    if type(result) in (tuple, list):
        return []
    names = [n for n in dir(type(result)) if not n.startswith(("_", "n_")) and n not in ("count", "index")]
    by_place = {}
    for name in names:
        value = getattr(result, name)
        by_place.update({i: name for i, r in enumerate(result) if r is value})
    return [by_place[i] for i in range(len(result))]


def same_numbers(a, b, dtype, what, slack=1.0):
    if a.shape != b.shape:
        raise Differs(f"{what}: shapes {a.shape} and {b.shape}")
    if dtype in TOLERANCE:
        relative, absolute = (slack * x for x in TOLERANCE[dtype])
        equal = np.isclose(b, a, rtol=relative, atol=absolute, equal_nan=True)
    else:
        equal = a == b
    if not np.all(equal):
        at = tuple(np.argwhere(~np.atleast_1d(equal))[0])
        raise Differs(
            f"{what}: {int(np.sum(~equal))} of {a.size} numbers ({dtype}) differ, the first at {list(map(int, at))}: "
            f"PyTorch {np.atleast_1d(a)[at]!r}, hookgrad {np.atleast_1d(b)[at]!r}"
        )
