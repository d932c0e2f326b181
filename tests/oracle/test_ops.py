"""Every row of the op table against PyTorch: values, dtypes, shapes, errors, repr, first and second derivatives.

The table gives the rows, `domains.py` random arguments for each. Every way Python reaches an op is tried: the method,
the function, the in-place method, torch.nn.functional.
"""

import zlib

import numpy as np
import pytest
import schema
import torch
from arguments import DTYPES, Draw
from compare import LIBRARIES, Differs, attempt, numbers, same, same_error, same_numbers
from domains import DOMAINS, VALUES_DIFFER, sample

import hookgrad

ROWS = schema.rows(hookgrad._C.op_table())
SAMPLES = 6  # of each dtype
DERIVATIVES = 16
SPACES = {
    "FUNCTION": lambda lib: lib,
    "NN": lambda lib: lib.nn.functional,
    "LINALG": lambda lib: lib.linalg,
    "SPECIAL": lambda lib: lib.special,
    "METHOD": lambda lib: lib.Tensor,
}


def look_up(lib, flag, name):
    """What the library has under that name. torch._VF holds what PyTorch's own wrappers call."""
    space = SPACES[flag](lib)
    if lib is torch and flag == "FUNCTION" and not hasattr(space, name):
        space = torch._VF
    return getattr(space, name)


def ways(row):
    """(what to call it, how a library is asked for it, whether it is in-place), for each place where the op appears."""
    found = []
    for flag in SPACES:
        if flag in row.flags:
            found.append((flag, lambda lib, flag=flag: look_up(lib, flag, row.name), "MUTATES" in row.flags))
    if "INPLACE" in row.flags:
        found.append(("INPLACE", lambda lib: getattr(lib.Tensor, row.name + "_"), True))
    return found


def run(lib, row, way, call, leaves):
    """Call the op; an in-place one on a copy, so that a leaf stays as it is."""
    kind, get, in_place = way
    if in_place and call.args and getattr(call.args[0], "layout", "") == "expanded":
        call.args[0].layout = "plain"  # writing to elements that share memory is refused by some ops and done by others
    args, kwargs = call.build(lib, leaves)
    if kind in ("METHOD", "INPLACE") and row.params and row.params[0].name != "self":
        place = [p.name for p in row.params].index("self")
        args = [args[place], *args[:place], *args[place + 1 :]]
    if in_place and isinstance(args[0], lib.Tensor):
        if args[0].requires_grad:
            args[0] = args[0].clone()
        lib.manual_seed(7)
        result = get(lib)(*args, **kwargs)
        if result is not args[0]:
            raise Differs("an in-place method returns its tensor")
        return result
    lib.manual_seed(7)
    return get(lib)(*args, **kwargs)


def compare(row, way, call, grads):
    """True where both libraries computed the same, False where both refused; raises Differs otherwise."""
    leaves = [[], []]
    outcomes = [attempt(lambda i=i: run(LIBRARIES[i], row, way, call, leaves[i])) for i in (0, 1)]
    if outcomes[1][1] is not None and is_empty(outcomes[0][0]):
        return False  # PyTorch looks at no argument where there is nothing to compute
    if isinstance(outcomes[0][1], TypeError) and row.has("inplace"):
        return False  # torch.selu and its like: only those of torch.nn.functional take inplace
    if same_error(outcomes[0][1], outcomes[1][1], "the call"):
        return False
    theirs, ours = outcomes[0][0], outcomes[1][0]
    values = not {row.name.rstrip("_"), str(row)} & VALUES_DIFFER
    in_place = way[2]
    if in_place and row.name in COMPARISONS and theirs.requires_grad:
        return True  # a gradient of zeros, which hookgrad leaves out
    same(theirs, ours, values=values, names=name_of_grad_fn(row, in_place))
    if grads and values:
        derivatives(theirs, ours, leaves)
    return True


def name_of_grad_fn(row, in_place):
    """How names of grad_fn are compared: an in-place form may have another number, as may one name for two overloads."""
    if row.name == "rms_norm":  # made of other ops in PyTorch, and ends with another one
        return lambda name: ""
    return (lambda name: name.rstrip("0123456789")) if in_place or str(row) in NUMBERED_BY_OVERLOAD else str


NUMBERED_BY_OVERLOAD = {"masked_fill.Tensor", "normal"}
COMPARISONS = {
    "eq", "ne", "lt", "le", "gt", "ge", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
}  # fmt: skip


def is_empty(result):
    results = result if isinstance(result, tuple) and result else [result]
    return all(isinstance(r, torch.Tensor) and r.numel() == 0 for r in results)


def derivatives(theirs, ours, leaves):
    """First and second derivatives of a weighted sum of the results."""
    losses = [weighted(lib, result) for lib, result in zip(LIBRARIES, (theirs, ours))]
    if losses[0] is None or not any(leaf is not None for leaf in leaves[0]):
        return
    for order in ("gradient", "second derivative"):
        grads = [
            attempt(lambda lib=lib, loss=loss, of=of: lib.autograd.grad(loss, of, create_graph=True, allow_unused=True))
            for lib, loss, of in zip(LIBRARIES, losses, leaves)
        ]
        if grads[0][1] is not None and "not implemented" in str(grads[0][1]):
            return
        if same_error(grads[0][1], grads[1][1], order):
            return
        for i, (a, b, leaf) in enumerate(zip(grads[0][0], grads[1][0], leaves[0])):
            same_gradient(a, b, leaf, f"{order} of argument {i}")
        losses = [weighted(lib, result) for lib, (result, _) in zip(LIBRARIES, grads)]
        if losses[0] is None or leaves[0][0].dtype != torch.float64:
            return  # a second derivative in float32 says more about rounding than about the op
        if losses[1] is None:
            # No graph is as good as one that gives nothing but zeros.
            further = attempt(lambda loss=losses[0]: torch.autograd.grad(loss, leaves[0], allow_unused=True))[0] or ()
            if any(g is not None and g.any() for g in further):
                raise Differs(f"the {order} has no graph")
            return


def same_gradient(theirs, ours, leaf, what):
    """No gradient and a gradient of zeros are the same."""
    zeros = np.zeros(tuple(leaf.shape))
    a, b = (zeros if g is None else numbers(g) for g in (theirs, ours))
    if ours is not None and str(ours.dtype) != str(leaf.dtype):
        raise Differs(f"{what}: a gradient of {ours.dtype} for {leaf.dtype}")
    same_numbers(a, b, str(leaf.dtype).removeprefix("torch."), what, slack=10)


def weighted(lib, result):
    """A number that depends on every differentiable output, each element with a weight of its own."""
    total = None
    for i, t in enumerate(result if isinstance(result, (tuple, list)) else [result]):
        if not isinstance(t, lib.Tensor) or not t.requires_grad:
            continue
        weights = np.cos(np.arange(t.numel()) * 1.7 + i).reshape(tuple(t.shape))
        term = (t * lib.from_numpy(weights).to(t.dtype)).sum()
        total = term if total is None else total + term
    return total


def rounds(row):
    """(dtype, derivatives?, values with infinities and the like?) for every sample of a row."""
    for dtype in DTYPES:
        for i in range(SAMPLES):
            yield dtype, False, i == SAMPLES - 1
    for i in range(DERIVATIVES):
        yield ("float32" if i % 4 == 3 else "float64"), True, False


def is_public(row):
    """Rows that Python does not show, or only under a private name, serve the others."""
    return ways(row) and not row.name.startswith("_")


def in_pytorch(row):
    return [way for way in ways(row) if attempt(lambda way=way: way[1](torch))[1] is None]


@pytest.mark.parametrize("row", [r for r in ROWS if is_public(r)], ids=str)
def test_op(row):
    found = in_pytorch(row)
    assert found, "PyTorch has nothing of that name"
    worked, faults = 0, []
    for i, (dtype, grads, special) in enumerate(rounds(row)):
        draw = Draw(zlib.crc32(f"{row} {i}".encode()), dtype, grads)
        draw.special = special and row.name.rstrip("_") not in DOMAINS
        call = sample(draw, row)
        way = found[i % len(found)]
        try:
            worked += compare(row, way, call, grads)
        except Differs as fault:
            faults.append(f"{way[0]} {row.name}({call})\n    {fault}")
    assert not faults, f"{len(faults)} calls differ\n" + "\n".join(faults[:6])
    assert worked >= 6, f"only {worked} calls worked: domains.py has no good arguments for {row.schema}"
