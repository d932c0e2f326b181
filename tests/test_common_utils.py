"""Tests written in the manner of PyTorch's own suite run: its test case, its parameters."""

import io
import unittest
import warnings

import numpy
import pytest

import hookgrad as torch
from hookgrad.testing._internal.common_utils import (
    TestCase,
    freeze_rng_state,
    gradcheck,
    instantiate_parametrized_tests,
    parametrize,
    set_default_dtype,
    set_warn_always_context,
    skipIfTorchDynamo,
    slowTest,
    subtest,
    suppress_warnings,
)


@pytest.fixture
def case():
    return TestCase()


EQUAL = [
    (torch.ones(2), torch.ones(2)), (torch.tensor(3.0), 3), (torch.tensor([1.0, 2.0]), [1.0, 2.0]), (1.0, 1.0 + 1e-9),
    ([torch.ones(1), 2], [torch.ones(1), 2]), ({"a": torch.ones(1)}, {"a": torch.ones(1)}), (torch.Size([1]), (1,)), ([1, 2], torch.Size([1, 2])), (torch.arange(2.0), range(2)), (torch.ones(1), 1.0), (0, 1e-7),
    (torch.ones(2), torch.ones(2).numpy()),
    (None, None), ("a", "a"), (torch.float32, torch.float32), (torch.tensor(float("nan")), torch.tensor(float("nan"))),
]  # fmt: skip
DIFFERENT = [
    (torch.ones(2), torch.ones(2) * 2), (torch.ones(2), torch.ones(3)), (torch.ones(1), torch.ones(1).double()), (1, 2),
    ([torch.ones(1)], [torch.zeros(1)]), (None, torch.ones(1)), ({"a": 1}, {"b": 1}), (torch.ones(2), torch.ones(2).double().numpy()), ([1], torch.Size([2])),
]  # fmt: skip


@pytest.mark.parametrize("x, y", EQUAL)
def test_equal(case, x, y):
    case.assertEqual(x, y)
    with pytest.raises(AssertionError):
        case.assertNotEqual(x, y)


@pytest.mark.parametrize("x, y", DIFFERENT)
def test_different(case, x, y):
    case.assertNotEqual(x, y)
    with pytest.raises(AssertionError):
        case.assertEqual(x, y)


def test_a_parametrised_test_becomes_several():
    seen = []

    class Example(TestCase):
        Net = torch.nn.Module  # has a `_parameters`, and is no test

        @parametrize("x", [1, 2.5])
        @parametrize("a,b", [(1, 2), subtest((3, 4), name="named")])
        def test_it(self, x, a, b):
            seen.append((x, a, b))

        @skipIfTorchDynamo("no matter here")
        @slowTest
        def test_plain(self):
            seen.append(torch.rand(1).item())

    instantiate_parametrized_tests(Example)
    names = [name for name in dir(Example) if name.startswith("test_")]
    assert names == [
        "test_it_x_1_a_1_b_2",
        "test_it_x_1_named",
        "test_it_x_2_5_a_1_b_2",
        "test_it_x_2_5_named",
        "test_plain",
    ]
    done = unittest.TextTestRunner(io.StringIO()).run(unittest.defaultTestLoader.loadTestsFromTestCase(Example))
    assert done.wasSuccessful() and done.testsRun == 5
    assert seen[:4] == [(1, 1, 2), (1, 3, 4), (2.5, 1, 2), (2.5, 3, 4)]
    torch.manual_seed(1234)
    assert seen[4] == torch.rand(1).item()


def test_settings_end_with_their_block():
    torch.manual_seed(0)
    with freeze_rng_state():
        first = torch.rand(1)
    assert torch.rand(1).equal(first)
    with set_default_dtype(torch.float64):
        assert torch.ones(1).dtype == torch.float64
    assert torch.ones(1).dtype == torch.float32


def test_gradcheck_ignores_options_it_lacks():
    assert gradcheck(torch.exp, (torch.ones(2, dtype=torch.float64, requires_grad=True),), check_no_such_thing=True)


def test_numbers_of_two_types_are_compared_by_value():
    TestCase().assertEqual(torch.tensor(3.0).item(), 3)
    with pytest.raises(AssertionError):
        TestCase().assertEqual(3.5, 3)


def test_no_warning_is_what_assert_not_warn_wants():
    TestCase().assertNotWarn(lambda: None)
    with pytest.raises(AssertionError, match="quiet"):
        TestCase().assertNotWarn(lambda: warnings.warn("loud", stacklevel=1), "should be quiet")


def test_warnings_are_suppressed_in_one_place_and_shown_in_another():
    @suppress_warnings
    def noisy(value):
        warnings.warn("loud", stacklevel=1)
        return value

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert noisy(3) == 3
    with set_warn_always_context(True), pytest.warns(UserWarning, match="loud"):
        warnings.warn("loud", stacklevel=1)


class Comparisons(TestCase):
    def test_arrays_tensors_and_sizes(self):
        array = numpy.arange(3.0, dtype=numpy.float32)
        self.assertEqual(torch.arange(3.0), array)
        self.assertEqual(array, torch.arange(3.0))
        self.assertEqual(torch.Size([2, 3]), [2, 3])
        self.compare_with_numpy(torch.exp, numpy.exp, [1.0, 2.0], dtype=torch.float64)
        with self.assertRaises(AssertionError):
            self.assertEqual(torch.arange(3.0), array + 1)
        with self.assertRaises(AssertionError):
            self.assertEqual(torch.Size([2, 3]), [2, 4])
        with self.assertRaises(AssertionError):
            self.compare_with_numpy(torch.exp, numpy.sin, [1.0, 2.0])


def test_modules_that_are_sequences_or_mappings_are_compared_item_by_item(case):
    nn = torch.nn
    one, two = nn.Linear(1, 2), nn.ReLU()
    case.assertEqual(nn.Sequential(one, two), nn.Sequential(one, two))
    case.assertEqual(nn.ModuleList([one, two]), [one, two])
    case.assertEqual(nn.ParameterList([one.weight]), nn.ParameterList([one.weight]))
    case.assertEqual(nn.ModuleDict({"a": one, "b": two}), {"b": two, "a": one})
    case.assertEqual(nn.ParameterDict({"a": one.weight}), nn.ParameterDict({"a": one.weight}))
    for other in (nn.Sequential(two, one), nn.Sequential(one), nn.Sequential(one, nn.ReLU())):
        case.assertNotEqual(nn.Sequential(one, two), other)
    case.assertNotEqual(nn.ModuleDict({"a": one}), nn.ModuleDict({"b": one}))
