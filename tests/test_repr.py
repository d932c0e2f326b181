"""Tensors print character for character as PyTorch prints them: every expected text is PyTorch's."""

import pytest

import hookgrad as torch

# What the text shows, the tensor, the text.
TENSORS = [
    ("scalar", "torch.tensor(3.5)", "tensor(3.5000)"),
    ("integer scalar", "torch.tensor(7)", "tensor(7)"),
    ("boolean scalar", "torch.tensor(True)", "tensor(True)"),
    ("one element keeps its brackets", "torch.tensor([1.0])", "tensor([1.])"),
    ("integral floats lose their decimals", "torch.tensor([1.0, -20.0, 300.0])", "tensor([  1., -20., 300.])"),
    ("four decimals", "torch.tensor([0.1, 2.34567, -3.0])", "tensor([ 0.1000,  2.3457, -3.0000])"),
    (
        "columns line up",
        "torch.tensor([[1.5, -10.25], [100.0, 0.25]])",
        """\
tensor([[  1.5000, -10.2500],
        [100.0000,   0.2500]])""",
    ),
    ("small values need exponents", "torch.tensor([1e-5, 1.0])", "tensor([1.0000e-05, 1.0000e+00])"),
    ("large values need exponents", "torch.tensor([1.5, 2e9])", "tensor([1.5000e+00, 2.0000e+09])"),
    ("large integral values need exponents", "torch.tensor([1.0, 1e9])", "tensor([1.0000e+00, 1.0000e+09])"),
    ("a wide range needs exponents", "torch.tensor([0.5, 501.0])", "tensor([5.0000e-01, 5.0100e+02])"),
    ("a range of a thousand does not", "torch.tensor([0.5, 500.0])", "tensor([  0.5000, 500.0000])"),
    ("zeros do not count for the range", "torch.tensor([0.0, 0.5])", "tensor([0.0000, 0.5000])"),
    ("negative zero", "torch.tensor([-0.0, 1.0])", "tensor([-0., 1.])"),
    (
        "nan and infinity among whole numbers",
        "torch.tensor([float('nan'), float('inf'), -float('inf'), 2.0])",
        "tensor([nan, inf, -inf, 2.])",
    ),
    (
        "nan and infinity among fractions",
        "torch.tensor([float('nan'), -float('inf'), 2.5])",
        "tensor([   nan,   -inf, 2.5000])",
    ),
    ("nothing but nan", "torch.tensor([float('nan'), float('nan')])", "tensor([nan, nan])"),
    ("nan with exponents", "torch.tensor([float('nan'), 1e-7])", "tensor([       nan, 1.0000e-07])"),
    ("float32 prints as the double it is", "torch.tensor([16777217.0, 0.1])", "tensor([1.6777e+07, 1.0000e-01])"),
    ("float64", "torch.tensor([0.1, 1 / 3], dtype=torch.float64)", "tensor([0.1000, 0.3333], dtype=torch.float64)"),
    (
        "float16",
        "torch.tensor([0.1, 65504.0], dtype=torch.float16)",
        "tensor([9.9976e-02, 6.5504e+04], dtype=torch.float16)",
    ),
    ("bfloat16", "torch.tensor([0.1, 3.0], dtype=torch.bfloat16)", "tensor([0.1001, 3.0000], dtype=torch.bfloat16)"),
    (
        "integers",
        "torch.tensor([[1, -20], [300, 4]])",
        """\
tensor([[  1, -20],
        [300,   4]])""",
    ),
    ("int32 names its dtype", "torch.tensor([1, 2], dtype=torch.int32)", "tensor([1, 2], dtype=torch.int32)"),
    ("uint8 names its dtype", "torch.tensor([0, 255], dtype=torch.uint8)", "tensor([  0, 255], dtype=torch.uint8)"),
    (
        "booleans",
        "torch.tensor([[True, False], [False, True]])",
        """\
tensor([[ True, False],
        [False,  True]])""",
    ),
    ("empty", "torch.empty(0)", "tensor([])"),
    ("empty with two dimensions", "torch.empty(0, 3)", "tensor([], size=(0, 3))"),
    (
        "empty integers name their dtype",
        "torch.empty((2, 0), dtype=torch.int64)",
        "tensor([], size=(2, 0), dtype=torch.int64)",
    ),
    ("empty booleans name their dtype", "torch.empty(0, dtype=torch.bool)", "tensor([], dtype=torch.bool)"),
    (
        "three dimensions are parted by a blank line",
        "torch.arange(8.0).reshape(2, 2, 2)",
        """\
tensor([[[0., 1.],
         [2., 3.]],

        [[4., 5.],
         [6., 7.]]])""",
    ),
    (
        "four dimensions are parted by two",
        "torch.arange(4).reshape(2, 1, 1, 2)",
        """\
tensor([[[[0, 1]]],


        [[[2, 3]]]])""",
    ),
    (
        "long rows break",
        "torch.arange(30)",
        """\
tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,
        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])""",
    ),
    (
        "long rows of floats break",
        "torch.arange(12) / 7",
        """\
tensor([0.0000, 0.1429, 0.2857, 0.4286, 0.5714, 0.7143, 0.8571, 1.0000, 1.1429,
        1.2857, 1.4286, 1.5714])""",
    ),
    (
        "rows break inside of matrices",
        "torch.arange(44).reshape(2, 22) * 1000",
        """\
tensor([[    0,  1000,  2000,  3000,  4000,  5000,  6000,  7000,  8000,  9000,
         10000, 11000, 12000, 13000, 14000, 15000, 16000, 17000, 18000, 19000,
         20000, 21000],
        [22000, 23000, 24000, 25000, 26000, 27000, 28000, 29000, 30000, 31000,
         32000, 33000, 34000, 35000, 36000, 37000, 38000, 39000, 40000, 41000,
         42000, 43000]])""",
    ),
    (
        "more than a thousand elements are shortened",
        "torch.arange(1001)",
        "tensor([   0,    1,    2,  ...,  998,  999, 1000])",
    ),
    (
        "shortened matrix",
        "torch.arange(1200.0).reshape(60, 20)",
        """\
tensor([[0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 1.7000e+01, 1.8000e+01,
         1.9000e+01],
        [2.0000e+01, 2.1000e+01, 2.2000e+01,  ..., 3.7000e+01, 3.8000e+01,
         3.9000e+01],
        [4.0000e+01, 4.1000e+01, 4.2000e+01,  ..., 5.7000e+01, 5.8000e+01,
         5.9000e+01],
        ...,
        [1.1400e+03, 1.1410e+03, 1.1420e+03,  ..., 1.1570e+03, 1.1580e+03,
         1.1590e+03],
        [1.1600e+03, 1.1610e+03, 1.1620e+03,  ..., 1.1770e+03, 1.1780e+03,
         1.1790e+03],
        [1.1800e+03, 1.1810e+03, 1.1820e+03,  ..., 1.1970e+03, 1.1980e+03,
         1.1990e+03]])""",
    ),
    (
        "shortened cube",
        "torch.zeros(11, 10, 10)",
        """\
tensor([[[0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         ...,
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.]],

        [[0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         ...,
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.]],

        [[0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         ...,
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.]],

        ...,

        [[0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         ...,
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.]],

        [[0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         ...,
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.]],

        [[0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         ...,
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.]]])""",
    ),
    (
        "only long dimensions are shortened",
        "torch.zeros(2, 600, dtype=torch.int64)",
        """\
tensor([[0, 0, 0,  ..., 0, 0, 0],
        [0, 0, 0,  ..., 0, 0, 0]])""",
    ),
    (
        "what is not shown does not count for the width",
        "torch.tensor([1.0] * 600 + [12345678.0] + [1.0] * 600)",
        "tensor([1., 1., 1.,  ..., 1., 1., 1.])",
    ),
    ("requires_grad", "torch.tensor([1.0], requires_grad=True)", "tensor([1.], requires_grad=True)"),
    ("grad_fn", "torch.tensor([1.0], requires_grad=True) * 2", "tensor([2.], grad_fn=<MulBackward0>)"),
    (
        "grad_fn of a view",
        "torch.ones(2, 2, requires_grad=True).view(-1)",
        "tensor([1., 1., 1., 1.], grad_fn=<ViewBackward0>)",
    ),
    (
        "dtype comes before grad_fn",
        "torch.ones(2, dtype=torch.float64, requires_grad=True).exp()",
        "tensor([2.7183, 2.7183], dtype=torch.float64, grad_fn=<ExpBackward0>)",
    ),
    (
        "a suffix that does not fit goes to the next line",
        "torch.ones(3, 5, requires_grad=True).exp() + torch.zeros(5)",
        """\
tensor([[2.7183, 2.7183, 2.7183, 2.7183, 2.7183],
        [2.7183, 2.7183, 2.7183, 2.7183, 2.7183],
        [2.7183, 2.7183, 2.7183, 2.7183, 2.7183]], grad_fn=<AddBackward0>)""",
    ),
    (
        "non-contiguous",
        "torch.arange(6).reshape(2, 3).t()",
        """\
tensor([[0, 3],
        [1, 4],
        [2, 5]])""",
    ),
    (
        "expanded",
        "torch.tensor([[1.5], [2.5]]).expand(2, 3)",
        """\
tensor([[1.5000, 1.5000, 1.5000],
        [2.5000, 2.5000, 2.5000]])""",
    ),
    (
        "parameter",
        "torch.nn.Parameter(torch.ones(2))",
        """\
Parameter containing:
tensor([1., 1.], requires_grad=True)""",
    ),
    (
        "frozen parameter",
        "torch.nn.Parameter(torch.ones(2, 2), requires_grad=False)",
        """\
Parameter containing:
tensor([[1., 1.],
        [1., 1.]])""",
    ),
    (
        "empty parameter",
        "torch.nn.Parameter(torch.empty(0, 2))",
        """\
Parameter containing:
tensor([], size=(0, 2), requires_grad=True)""",
    ),
]


@pytest.mark.parametrize("tensor, text", [case[1:] for case in TENSORS], ids=[case[0] for case in TENSORS])
def test_repr(tensor, text):
    assert repr(eval(tensor)) == text


# What the option does, the options, the tensor, the text.
OPTIONS = [
    (
        "precision",
        {"precision": 2},
        "torch.tensor([1.23456, 2.0])",
        "tensor([1.23, 2.00])",
    ),
    (
        "high precision",
        {"precision": 10},
        "torch.tensor([0.1])",
        "tensor([0.1000000015])",
    ),
    (
        "precision with exponents",
        {"precision": 1},
        "torch.tensor([1e-8, 2.55])",
        "tensor([1.0e-08, 2.5e+00])",
    ),
    (
        "threshold",
        {"threshold": 5},
        "torch.arange(7)",
        "tensor([0, 1, 2,  ..., 4, 5, 6])",
    ),
    (
        "edgeitems",
        {"threshold": 5, "edgeitems": 1},
        "torch.arange(12).reshape(3, 4)",
        """\
tensor([[ 0,  ...,  3],
        ...,
        [ 8,  ..., 11]])""",
    ),
    (
        "no edgeitems",
        {"threshold": 3, "edgeitems": 0},
        "torch.arange(4).reshape(2, 2)",
        "tensor([...], size=(2, 2))",
    ),
    (
        "no edgeitems, nothing shortened",
        {"edgeitems": 0},
        "torch.arange(4)",
        "tensor([0, 1, 2, 3], size=(4,))",
    ),
    (
        "linewidth",
        {"linewidth": 20},
        "torch.arange(9)",
        """\
tensor([0, 1, 2, 3,
        4, 5, 6, 7,
        8])""",
    ),
    (
        "linewidth breaks before a suffix",
        {"linewidth": 30},
        "torch.ones(2, requires_grad=True)",
        """\
tensor([1., 1.],
       requires_grad=True)""",
    ),
    (
        "exponents forced",
        {"sci_mode": True},
        "torch.tensor([1.0, 2.5])",
        "tensor([1.0000e+00, 2.5000e+00])",
    ),
    (
        "exponents forced on whole numbers",
        {"sci_mode": True},
        "torch.tensor([1.0, 20.0])",
        "tensor([1.0000e+00, 2.0000e+01])",
    ),
    (
        "exponents forbidden",
        {"sci_mode": False},
        "torch.tensor([1e-6, 123456.0])",
        "tensor([     0.0000, 123456.0000])",
    ),
    (
        "short profile",
        {"profile": "short"},
        "torch.arange(1100.0) / 3",
        "tensor([0.00e+00, 3.33e-01,  ..., 3.66e+02, 3.66e+02])",
    ),
    (
        "profile with an exception",
        {"profile": "short", "precision": 3},
        "torch.tensor([1.23456])",
        "tensor([1.235])",
    ),
]


@pytest.fixture
def default_options():
    yield
    torch.set_printoptions(profile="default")


@pytest.mark.parametrize("options, tensor, text", [case[1:] for case in OPTIONS], ids=[case[0] for case in OPTIONS])
def test_printoptions(options, tensor, text, default_options):
    torch.set_printoptions(**options)
    assert repr(eval(tensor)) == text


def test_sci_mode_goes_back_to_automatic_unless_given(default_options):
    torch.set_printoptions(sci_mode=True)
    torch.set_printoptions(precision=2)
    assert repr(torch.tensor([1.5])) == "tensor([1.50])"


def test_full_profile_shows_everything(default_options):
    torch.set_printoptions(profile="full")
    assert "..." not in repr(torch.arange(2000))


def test_printoptions_hold_for_a_block_only():
    with torch._tensor_str.printoptions(precision=1):
        assert repr(torch.tensor([0.25])) == "tensor([0.2])"
    assert repr(torch.tensor([0.25])) == "tensor([0.2500])"


def test_printoptions_come_back_after_an_exception():
    with pytest.raises(KeyError), torch._tensor_str.printoptions(precision=1):
        raise KeyError
    assert torch._tensor_str.get_printoptions() == {
        "precision": 4,
        "threshold": 1000,
        "edgeitems": 3,
        "linewidth": 80,
        "sci_mode": None,
    }


def test_subclass_prints_under_its_own_name():
    class Marked(torch.Tensor):
        pass

    t = torch.ones(2, 2).as_subclass(Marked)
    assert repr(t) == "Marked([[1., 1.],\n        [1., 1.]])"


def test_subclass_of_parameter_says_both():
    class Weight(torch.nn.Parameter):
        pass

    assert repr(Weight(torch.ones(1))) == "Parameter containing:\nParameter(Weight([1.], requires_grad=True))"


def test_str_and_format_of_a_scalar():
    t = torch.tensor(2.5)
    assert str(t) == "tensor(2.5000)"
    assert f"{t}" == "2.5"
    assert f"{t:.2f}" == "2.50"
    assert f"{torch.tensor([1.0])}" == "tensor([1.])"


def test_default_dtype_is_not_named():
    torch.set_default_dtype(torch.float64)
    try:
        assert repr(torch.tensor([1.5])) == "tensor([1.5000])"
        assert repr(torch.tensor([1.5], dtype=torch.float32)) == "tensor([1.5000], dtype=torch.float32)"
    finally:
        torch.set_default_dtype(torch.float32)


def test_repr_records_nothing_and_leaves_the_tensor_alone():
    t = torch.ones(3, requires_grad=True)
    version = t._version
    repr(t * 2)
    assert t._version == version
    assert t.grad is None
