"""What the tables of op cases share: the tensors they are called with, and how a row is checked.

A row is a call of four tensors, the numbers PyTorch 2.13 gives (or the error it raises) and the name of the node.
"""

import pytest

import hookgrad as torch
from hookgrad.autograd import gradcheck, gradgradcheck


def inputs(dtype=torch.float32):
    """x is 2x3, y 2x3x4, v a vector of three, s a regular square matrix; all want gradients."""
    x = torch.arange(6.0, dtype=dtype).reshape(2, 3)
    y = (torch.arange(24.0, dtype=dtype) - 7).reshape(2, 3, 4)
    v = torch.tensor([3.0, -1.0, 2.0], dtype=dtype)
    s = torch.tensor([[4.0, 1.0], [2.0, 3.0]], dtype=dtype)
    return [t.requires_grad_(True) for t in (x, y, v, s)]


def numbers(result):
    return [numbers(r) for r in result] if isinstance(result, (tuple, list)) else result.tolist()


def check_result(call, expected, node, same=lambda got, expected: got == expected):
    """The call gives the expected numbers, and its first result names the node that made it (None: a leaf)."""
    result = call(*inputs())
    assert same(numbers(result), expected)
    first = result[0] if isinstance(result, (tuple, list)) else result
    assert (first.grad_fn and first.grad_fn.name()) == node


def check_derivatives(call):
    """First and second derivatives agree with finite differences, in those inputs that the call uses."""
    leaves = inputs(torch.float64)

    def used(*tensors):
        result = call(*tensors)
        results = result if isinstance(result, (tuple, list)) else [result]
        return tuple(r for r in results if r.requires_grad)

    touched = torch.autograd.grad(sum(r.sum() for r in used(*leaves)), leaves, allow_unused=True)
    kept = [i for i, g in enumerate(touched) if g is not None]

    def of_kept(*tensors):
        every = [t.detach() for t in leaves]
        for i, t in zip(kept, tensors):
            every[i] = t
        return used(*every)

    points = [leaves[i] for i in kept]
    assert gradcheck(of_kept, points)
    assert gradgradcheck(of_kept, points)


def check_error(call, error, words):
    """The call raises the error, whose first line is these words."""
    with pytest.raises(error) as raised:
        call(*inputs())
    assert str(raised.value).split("\n")[0] == words
