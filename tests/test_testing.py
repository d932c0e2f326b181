"""torch.testing: what counts as close, and what is said where it is not."""

import pytest

import hookgrad as torch
from hookgrad.testing import assert_close

t = torch.tensor


@pytest.mark.parametrize(
    "actual, expected, words",
    [
        (
            t([1.0, 2, 3, 4]),
            t([1.0, 2, 3, 5]),
            "Tensor-likes are not close!\n\nMismatched elements: 1 / 4 (25.0%)\n"
            "Greatest absolute difference: 1.0 at index (3,) (up to 1e-05 allowed)\n"
            "Greatest relative difference: 0.20000000298023224 at index (3,) (up to 1.3e-06 allowed)",
        ),
        (
            t([1, 2]),
            t([1, 3]),
            "Tensor-likes are not equal!\n\nMismatched elements: 1 / 2 (50.0%)\n"
            "Greatest absolute difference: 1 at index (1,)\n"
            "Greatest relative difference: 0.3333333432674408 at index (1,)",
        ),
        (1, 2, "Scalars are not equal!\n\nExpected 2 but got 1.\nAbsolute difference: 1\nRelative difference: 0.5"),
        (1.0, 1, "The (d)types do not match: <class 'float'> != <class 'int'>."),
        (True, False, "Booleans mismatch: True is not False"),
        (t(1.0), None, "None mismatch: 1.0 is not None"),
        ([t(1.0)], [t(1.0), t(1.0)], "The length of the sequences mismatch: 1 != 2"),
        (t([1.0]), t([1.0]).double(), "The values for attribute 'dtype' do not match: torch.float32 != torch.float64."),
        (t([1.0]), t([[1.0]]), "The values for attribute 'shape' do not match: torch.Size([1]) != torch.Size([1, 1])."),
    ],
)
def test_what_is_said(actual, expected, words):
    with pytest.raises(AssertionError) as caught:
        assert_close(actual, expected)
    assert str(caught.value) == words


def test_where_it_failed_and_words_of_ones_own():
    with pytest.raises(AssertionError, match=r"The failure occurred for item \['a'\]\[1\]"):
        assert_close({"a": [t(1.0), t(2.0)]}, {"a": [t(1.0), t(3.0)]})
    with pytest.raises(AssertionError, match="^mine$"):
        assert_close(t(1.0), t(2.0), msg="mine")
    with pytest.raises(AssertionError, match="^before: Scalars are not close"):
        assert_close(t(1.0), t(2.0), msg=lambda words: "before: " + words)


def test_options():
    assert_close(t([1.0]), t([1.1]), rtol=0.2, atol=0)
    assert_close(t([float("nan")]), t([float("nan")]), equal_nan=True)
    assert_close(t([1.0]), t([1.0]).double(), check_dtype=False)
    assert_close(torch.nn.Parameter(t([1.0])), t([1.0]))
    with pytest.raises(TypeError, match="No comparison pair was able to handle inputs"):
        assert_close(torch.nn.Parameter(t([1.0])), t([1.0]), allow_subclasses=False)
    with pytest.raises(TypeError, match="No comparison pair was able to handle inputs"):
        assert_close(t([1.0]), [1.0])
    with pytest.raises(AssertionError, match="attribute 'stride"):
        assert_close(torch.ones(2, 3).t(), torch.ones(3, 2), check_stride=True)
    with pytest.raises(ValueError, match="must be either specified or omitted, but got no atol"):
        assert_close(t([1.0]), t([1.1]), rtol=0.2)


def test_the_old_name_allows_more():
    with pytest.warns(FutureWarning, match="assert_close"):
        torch.testing.assert_allclose(t([1.0]), t([1.00005]))
