"""Initialisers: the values PyTorch draws after the same seed, and its errors."""

import math
import warnings

import pytest

import hookgrad as torch
from hookgrad import nn


def near(t, values):
    return torch.allclose(t, torch.tensor(values, dtype=t.dtype), rtol=1e-5, atol=1e-6)


# A call on a (2, 3) tensor, and what it fills in after manual_seed(0).
DRAWN = [
    ("uniform_(t)", [[0.4962566, 0.7682218, 0.08847743], [0.1320305, 0.3074228, 0.6340787]]),
    ("uniform_(t, -2.0, 3.0)", [[0.4812829, 1.841109, -1.557613], [-1.339848, -0.4628859, 1.170393]]),
    ("normal_(t)", [[1.540996, -0.2934289, -2.178789], [0.5684313, -1.084522, -1.398595]]),
    ("normal_(t, 1.0, 0.1)", [[1.1541, 0.9706571, 0.7821211], [1.056843, 0.8915477, 0.8601404]]),
    ("trunc_normal_(t)", [[1.540996, -0.2934289, -0.7192576], [0.5684313, -1.084522, -1.398595]]),
    ("trunc_normal_(t, 0.0, 1.0, 1.0, 3.0)", [[1.044652, 1.337718, 1.176955], [1.264061, 1.614846, 1.746835]]),
    ("xavier_uniform_(t)", [[-0.008201401, 0.5876445, -0.9016008], [-0.8061808, -0.4219155, 0.2937517]]),
    ("xavier_uniform_(t, gain=2.0)", [[-0.0164028, 1.175289, -1.803202], [-1.612362, -0.8438309, 0.5875034]]),
    ("xavier_normal_(t)", [[0.9746115, -0.1855807, -1.377987], [0.3595075, -0.6859121, -0.8845494]]),
    ("kaiming_uniform_(t)", [[-0.01058796, 0.7586458, -1.163962], [-1.040775, -0.5446905, 0.3792318]]),
    (
        "kaiming_uniform_(t, a=math.sqrt(5))",
        [[-0.004322518, 0.3097158, -0.4751853], [-0.4248946, -0.222369, 0.1548207]],
    ),
    (
        "kaiming_uniform_(t, mode='fan_out', nonlinearity='relu')",
        [[-0.01296755, 0.9291475, -1.425556], [-1.274684, -0.6671069, 0.4644622]],
    ),
    ("kaiming_normal_(t)", [[1.258218, -0.2395837, -1.778974], [0.4641222, -0.8855088, -1.141948]]),
    ("kaiming_normal_(t, nonlinearity='tanh')", [[1.482824, -0.2823521, -2.096541], [0.5469732, -1.043582, -1.345799]]),
    ("orthogonal_(t)", [[0.5739809, -0.1092946, -0.8115422], [-0.3454151, -0.9308827, -0.1189355]]),
    ("orthogonal_(t, gain=0.5)", [[0.2869905, -0.0546473, -0.4057711], [-0.1727076, -0.4654413, -0.05946777]]),
    ("sparse_(t, 0.5)", [[0.0, -0.002934289, 0.0], [0.005684313, 0.0, -0.01398595]]),
]


@pytest.mark.parametrize("call, values", DRAWN, ids=[call for call, _ in DRAWN])
def test_same_seed_same_values(call, values):
    torch.manual_seed(0)
    t = torch.empty(2, 3)
    result = eval(f"nn.init.{call}")
    assert result is t
    assert near(t, values)


def test_default_generator_is_left_alone_where_another_is_given():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    g = torch.Generator()
    g.manual_seed(0)
    assert torch.equal(nn.init.uniform_(torch.empty(3), generator=g), expected)
    assert torch.equal(torch.rand(3), expected)


def test_orthogonal_rows_or_columns():
    torch.manual_seed(1)
    wide, tall = nn.init.orthogonal_(torch.empty(2, 4)), nn.init.orthogonal_(torch.empty(4, 2))
    assert torch.allclose(wide @ wide.t(), torch.eye(2), atol=1e-6)
    assert torch.allclose(tall.t() @ tall, torch.eye(2), atol=1e-6)


def test_trunc_normal_stays_inside():
    torch.manual_seed(2)
    t = nn.init.trunc_normal_(torch.empty(1000), std=2.0, a=-1.0, b=1.5)
    assert t.min() >= -1.0
    assert t.max() <= 1.5


def test_constants():
    assert nn.init.constant_(torch.empty(2), 0.3).tolist() == torch.tensor([0.3, 0.3]).tolist()
    assert nn.init.ones_(torch.empty(2)).tolist() == [1.0, 1.0]
    assert nn.init.zeros_(torch.ones(2)).tolist() == [0.0, 0.0]
    assert nn.init.eye_(torch.empty(2, 3)).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_dirac_hands_channels_through():
    assert nn.init.dirac_(torch.ones(2, 2, 3)).tolist() == [[[0, 1, 0], [0, 0, 0]], [[0, 0, 0], [0, 1, 0]]]
    grouped = nn.init.dirac_(torch.ones(4, 1, 3), groups=2)
    assert grouped.tolist() == [[[0, 1, 0]], [[0, 0, 0]], [[0, 1, 0]], [[0, 0, 0]]]
    conv = nn.Conv2d(2, 2, 3, padding=1, bias=False)
    nn.init.dirac_(conv.weight)
    x = torch.randn(1, 2, 4, 4)
    assert torch.equal(conv(x), x)


def test_parameters_are_filled_outside_the_graph():
    p = nn.Parameter(torch.empty(3, 3))
    for name in ("uniform_", "normal_", "trunc_normal_", "ones_", "zeros_", "eye_", "orthogonal_", "xavier_normal_"):
        assert getattr(nn.init, name)(p) is p
        assert p.is_leaf, name
        assert p.requires_grad, name
        assert p.grad_fn is None, name


def test_float64_values():
    torch.manual_seed(0)
    t = nn.init.kaiming_uniform_(torch.empty(1, 3, dtype=torch.float64), a=math.sqrt(5))
    assert t[0].tolist() == pytest.approx([0.5427704542528101, 0.23996970930833816, -0.046900537438113156], rel=1e-15)


def test_gain():
    gains = {name: nn.init.calculate_gain(name) for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "selu")}
    assert gains == {"linear": 1, "conv2d": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}
    assert nn.init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    assert nn.init.calculate_gain("leaky_relu", 0.3) == math.sqrt(2 / (1 + 0.3**2))


# A wrong call, and what it raises.
WRONG = [
    ("calculate_gain('foo')", ValueError, "Unsupported nonlinearity foo"),
    ("calculate_gain('leaky_relu', True)", ValueError, "negative_slope True not a valid number"),
    ("eye_(torch.ones(2))", ValueError, "Only tensors with 2 dimensions are supported"),
    ("dirac_(torch.ones(2, 2))", ValueError, "Only tensors with 3, 4, or 5 dimensions are supported"),
    ("dirac_(torch.ones(3, 2, 2), 2)", ValueError, "dim 0 must be divisible by groups"),
    (
        "xavier_normal_(torch.ones(2))",
        ValueError,
        "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions",
    ),
    (
        "kaiming_normal_(torch.ones(2, 2), mode='x')",
        ValueError,
        "Mode x not supported, please use one of ['fan_in', 'fan_out']",
    ),
    ("orthogonal_(torch.ones(2))", ValueError, "Only tensors with 2 or more dimensions are supported"),
    ("sparse_(torch.ones(2), 0.1)", ValueError, "Only tensors with 2 dimensions are supported"),
]


@pytest.mark.parametrize("call, error, words", WRONG, ids=[case[0] for case in WRONG])
def test_errors(call, error, words):
    with pytest.raises(error) as caught:
        eval(f"nn.init.{call}")
    assert str(caught.value) == words


def test_empty_tensors_are_left_with_a_warning():
    with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
        nn.init.kaiming_uniform_(torch.empty(0, 3))


def test_far_off_bounds_warn():
    with pytest.warns(UserWarning, match="mean is more than 2 std from"):
        nn.init.trunc_normal_(torch.empty(2), 5.0, 1.0)


@pytest.mark.parametrize("name", ["uniform", "normal", "constant", "eye", "dirac", "xavier_uniform", "orthogonal"])
def test_old_names_work_and_warn(name):
    assert getattr(nn.init, name).__name__ == name
    if name in ("uniform", "normal", "eye"):
        with pytest.warns(FutureWarning, match=f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`"):
            getattr(nn.init, name)(torch.empty(2, 2))


def test_new_names_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.init.xavier_uniform_(torch.empty(2, 2))


# A layer's default parameters after manual_seed(0): the weight is drawn first, then the bias.
LAYERS = [
    ("nn.Linear(2, 2)", {"weight": [-0.005293981, 0.3793229, -0.5819808, -0.5203875], "bias": [-0.2723452, 0.1896159]}),
    (
        "nn.Conv1d(1, 2, 2)",
        {"weight": [-0.005293981, 0.3793229, -0.5819808, -0.5203875], "bias": [-0.2723452, 0.1896159]},
    ),
    ("nn.Conv2d(1, 1, (1, 2))", {"weight": [-0.005293981, 0.3793229], "bias": [-0.5819808]}),
    ("nn.Bilinear(2, 1, 1)", {"weight": [-0.005293981, 0.3793229], "bias": [-0.5819808]}),
    ("nn.Embedding(2, 2)", {"weight": [1.540996, -0.2934289, -2.178789, 0.5684313]}),
    ("nn.Embedding(2, 2, padding_idx=1)", {"weight": [1.540996, -0.2934289, 0.0, 0.0]}),
    ("nn.BatchNorm1d(2)", {"weight": [1.0, 1.0], "bias": [0.0, 0.0]}),
    ("nn.LayerNorm(2)", {"weight": [1.0, 1.0], "bias": [0.0, 0.0]}),
    ("nn.PReLU()", {"weight": [0.25]}),
    (
        "nn.MultiheadAttention(2, 1)",
        {
            "in_proj_weight": [
                -0.01715872,
                0.6866624,
                -0.07685459,
                0.2291612,
                -0.2617242,
                -0.1702306,
                -0.827356,
                -0.5735531,
                -0.3569957,
                0.03208067,
                0.3423703,
                0.519635,
            ],
            "in_proj_bias": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            "out_proj.weight": [-0.005293981, 0.3793229, -0.5819808, -0.5203875],
            "out_proj.bias": [0.0, 0.0],
        },
    ),
]


@pytest.mark.parametrize("layer, values", LAYERS, ids=[layer for layer, _ in LAYERS])
def test_default_parameters(layer, values):
    torch.manual_seed(0)
    drawn = {name: p.flatten().tolist() for name, p in eval(layer).named_parameters()}
    assert list(drawn) == list(values)
    for name, expected in values.items():
        assert drawn[name] == pytest.approx(expected, rel=1e-5, abs=1e-7), name


def test_reset_parameters_draws_anew():
    torch.manual_seed(3)
    layer = nn.Linear(3, 2)
    first = [p.clone() for p in layer.parameters()]
    torch.manual_seed(3)
    layer.reset_parameters()
    assert all(torch.equal(a, b) for a, b in zip(first, layer.parameters()))


def test_the_parts_that_fill_without_a_graph():
    w = torch.ones(3, requires_grad=True)
    assert nn.init._no_grad_fill_(w, 2.0) is w and w.tolist() == [2, 2, 2] and w.grad_fn is None
    assert nn.init._no_grad_zero_(w).tolist() == [0, 0, 0]
    torch.manual_seed(0)
    drawn = nn.init._no_grad_uniform_(w, 0.0, 1.0).tolist()
    torch.manual_seed(0)
    assert drawn == torch.rand(3).tolist()
