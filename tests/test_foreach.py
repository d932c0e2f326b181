"""Ops on lists of tensors."""

import pytest

import hookgrad as torch


def lists(*all_numbers):
    return [torch.tensor(numbers) for numbers in all_numbers]


A, B = lists([1.0, 2.0], [3.0]), lists([2.0, 2.0], [5.0])


@pytest.mark.parametrize(
    "call, expected",
    [
        (lambda: torch._foreach_add(A, 1), [[2, 3], [4]]),
        (lambda: torch._foreach_add(A, B, alpha=2), [[5, 6], [13]]),
        (lambda: torch._foreach_mul(A, [1.0, 2.0]), [[1, 2], [6]]),
        (lambda: torch._foreach_neg(A), [[-1, -2], [-3]]),
        (lambda: torch._foreach_maximum(A, 2.0), [[2, 2], [3]]),
        (lambda: torch._foreach_pow(2.0, A), [[2, 4], [8]]),
        (lambda: torch._foreach_addcmul(A, B, B, value=2), [[9, 10], [53]]),
        (lambda: torch._foreach_addcdiv(A, B, B, [1.0, 2.0]), [[2, 3], [5]]),
        (lambda: torch._foreach_lerp(A, B, 0.5), [[1.5, 2], [4]]),
        (lambda: torch._foreach_norm(A, 1), [3, 3]),
    ],
)
def test_each_by_itself(call, expected):
    got = call()
    assert isinstance(got, tuple) and [t.tolist() for t in got] == expected


def test_in_place():
    copies = torch._foreach_clone(A)
    copies = list(copies)
    assert torch._foreach_add_(copies, 1) is copies
    torch._foreach_mul_(copies, B)
    torch._foreach_zero_(copies[1:])
    assert [t.tolist() for t in copies] == [[4, 6], [0]]
    torch._foreach_copy_(copies, B)
    assert torch.equal(copies[0], B[0]) and copies[0] is not B[0]


def test_lists_that_do_not_fit():
    with pytest.raises(RuntimeError, match="must have the same number of tensors, got 2 and 1"):
        torch._foreach_add(A, B[:1])
    with pytest.raises(RuntimeError, match="must have at least one tensor"):
        torch._foreach_sqrt([])
    assert not hasattr(torch, "_foreach_nothing")


def test_what_comes_with_the_tensors_has_pytorchs_keywords():
    ones, zeros = [torch.ones(2)], [torch.zeros(2)]
    for name, args, keywords, expected in (
        ("lerp", (ones, zeros), {"weight": 0.25}, 0.75),
        ("lerp", (ones, zeros), {"scalars": [0.25]}, 0.75),
        ("lerp", (ones,), {"tensors1": zeros, "weights": ones}, 0.0),
        ("add", (ones,), {"scalar": 2}, 3.0),
        ("add", (ones,), {"other": ones, "alpha": 3}, 4.0),
        ("mul", (ones,), {"scalars": [2.0]}, 2.0),
        ("pow", (ones,), {"exponent": 2}, 1.0),
        ("addcmul", (ones, ones, ones), {"scalars": [2]}, 3.0),
        ("clamp_min_", ([torch.zeros(2)],), {"scalar": 2}, 2.0),
        ("copy_", ([torch.zeros(2)],), {"src": ones}, 1.0),
    ):
        (result,) = getattr(torch, f"_foreach_{name}")(*args, **keywords)
        assert result.tolist() == [expected] * 2, name
