"""What layers and their functions refuse, and in what words."""

import pytest

import hookgrad as torch
from hookgrad import nn

WRONG = [
    ("nn.Conv2d(3, 4, 2, groups=2)", ValueError, "in_channels must be divisible by groups"),
    ("nn.Conv2d(4, 3, 2, groups=2)", ValueError, "out_channels must be divisible by groups"),
    ("nn.Conv2d(4, 4, 2, groups=0)", ValueError, "groups must be a positive integer"),
    ("nn.Conv2d(4, 4, 2, padding='x')", ValueError, "Invalid padding string 'x', should be one of"),
    ("nn.Conv2d(1, 1, 2, 2, 'same')", ValueError, "padding='same' is not supported for strided convolutions"),
    ("nn.Conv2d(1, 1, 2, padding_mode='x')", ValueError, "padding_mode must be one of"),
    ("nn.Dropout(2)", ValueError, "dropout probability has to be between 0 and 1, but got 2"),
    ("nn.Embedding(3, 2, padding_idx=5)", AssertionError, "Padding_idx must be within num_embeddings"),
    ("nn.GroupNorm(3, 4)", ValueError, r"num_channels \(4\) must be divisible by num_groups \(3\)"),
    ("nn.Hardtanh(1, 0)", AssertionError, r"max_val \(0\) must be greater than min_val \(1\)"),
    ("nn.MultiheadAttention(5, 2)", AssertionError, "embed_dim must be divisible by num_heads"),
    (
        "nn.Unflatten('C', (('C', 2),))",
        TypeError,
        "unflattened_size must be tuple of ints, but found element of type tuple at pos 0",
    ),
    (
        "nn.Softshrink(-1)(torch.ones(2))",
        RuntimeError,
        r"lambda must be in range \[0, 3.40282e\+38\] for input dtype Float, but found -1",
    ),
    ("nn.Unflatten(1, 3)", TypeError, "unflattened_size must be a tuple of ints, but found type int"),
    ("nn.Linear(3, 2)(torch.ones(2, 4))", RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(2x4 and 3x2\)"),
    ("nn.Linear(3, 2)(torch.ones(2, 3).double())", RuntimeError, "same dtype"),
    (
        "nn.Conv2d(1, 1, 2)(torch.ones(1, 2, 3, 3))",
        RuntimeError,
        r"expected input\[1, 2, 3, 3\] to have 1 channels, but got 2 channels instead",
    ),
    (
        "nn.Conv2d(1, 1, 2)(torch.ones(3, 3))",
        RuntimeError,
        r"Expected 3D \(unbatched\) or 4D \(batched\) input to conv2d, but got input of size: \[3, 3\]",
    ),
    (
        "nn.Conv2d(1, 1, 4)(torch.ones(1, 1, 3, 3))",
        RuntimeError,
        r"Kernel size: \(4 x 4\). Kernel size can't be greater than actual input size",
    ),
    ("nn.BatchNorm1d(2)(torch.ones(2))", ValueError, r"expected 2D or 3D input \(got 1D input\)"),
    ("nn.BatchNorm2d(2)(torch.ones(2, 2))", ValueError, r"expected 4D input \(got 2D input\)"),
    ("nn.BatchNorm1d(2)(torch.ones(1, 2))", ValueError, "Expected more than 1 value per channel when training"),
    ("nn.BatchNorm1d(2)(torch.ones(2, 3))", RuntimeError, "running_mean should contain 3 elements not 2"),
    (
        "nn.LayerNorm(3)(torch.ones(2, 4))",
        RuntimeError,
        r"Given normalized_shape=\[3\], expected input with shape \[\*, 3\], but got input of size\[2, 4\]",
    ),
    ("nn.Embedding(3, 2)(torch.tensor([3]))", IndexError, "index out of range in self"),
    ("nn.Embedding(3, 2)(torch.tensor([0.5]))", RuntimeError, "Expected tensor for argument #1 'indices'"),
    (
        "nn.MaxPool2d(2)(torch.ones(2, 2))",
        RuntimeError,
        "non-empty 3D or 4D \\(batch mode\\) tensor expected for input",
    ),
    ("nn.MaxPool2d(2, padding=2)(torch.ones(1, 4, 4))", RuntimeError, "pad should be at most half of"),
    ("nn.Softmax(dim=3)(torch.ones(2))", IndexError, "Dimension out of range"),
    (
        "torch.conv1d(torch.ones(2), torch.ones(1, 1), torch.ones(1).double())",
        RuntimeError,
        r"\(float\) and bias type \(double",
    ),
    ("torch.dropout(torch.ones(2), 2.0, True)", ValueError, "between 0 and 1, but got 2.0"),
    (
        "torch.tensor(1.0).unbind(3)",
        IndexError,
        r"Dimension out of range \(expected to be in range of \[-1, 0\], but got 3",
    ),
    ("torch.tensor(1.0).unbind(-1)", IndexError, "Dimension specified as 0 but tensor has no dimensions"),
    (
        "nn.Bilinear(2, 2, 2)(torch.ones(1, 2).double(), torch.ones(1, 2))",
        RuntimeError,
        "input1: double, input2: float",
    ),
    ("nn.SoftMarginLoss()(torch.ones(1), torch.ones(3))", RuntimeError, r"match the broadcast shape \[3\]"),
    ("nn.SoftMarginLoss()(torch.ones(2), torch.ones(3))", RuntimeError, r"size of tensor a \(2\) must match"),
    ("nn.Linear(2, 2)()", TypeError, "missing 1 required positional argument: 'input'"),
    ("nn.ReLU()(torch.ones(1), 2)", TypeError, "takes 2 positional arguments but 3 were given"),
    ("nn.ReLU()(x=torch.ones(1))", TypeError, "unexpected keyword argument 'x'"),
]


@pytest.mark.parametrize("action, error, words", WRONG, ids=[case[0] for case in WRONG])
def test_errors(action, error, words):
    with pytest.raises(error, match=words):
        eval(action)


def test_embedding_says_that_sparse_gradients_are_not_supported():
    with pytest.raises(NotImplementedError, match="sparse=True is not supported"):
        nn.Embedding(2, 2, sparse=True)


@pytest.mark.parametrize("value, name", [(None, "NoneType"), (3, "int")])
@pytest.mark.parametrize("layer", [nn.Linear(2, 2), nn.Conv1d(1, 1, 1), nn.Embedding(2, 2)])
def test_a_layer_needs_its_weight(layer, value, name):
    layer._parameters["weight"] = value
    words = (
        rf"got \(Tensor, {name}, "
        if type(layer) is nn.Conv1d
        else rf"'weight' \(position .\) must be Tensor, not {name}"
    )
    with pytest.raises(TypeError, match=words):
        layer(torch.zeros(1, 1, 2))


@pytest.mark.parametrize(
    "layer, setting, value, shape",
    [
        (lambda: nn.Flatten(), "start_dim", "a", (2, 3)),
        (lambda: nn.Conv1d(3, 2, 2), "groups", "a", (2, 3, 5)),
        (lambda: nn.Conv1d(3, 2, 2), "stride", {}, (2, 3, 5)),
        (lambda: nn.Conv1d(3, 2, 2), "padding_mode", 2.5, (2, 3, 5)),
        (lambda: nn.GELU(), "approximate", None, (2, 3)),
        (lambda: nn.MaxPool2d(2), "ceil_mode", "a", (2, 3, 4, 4)),
        (lambda: nn.MaxPool2d(2), "padding", None, (2, 3, 4, 4)),
        (lambda: nn.Softmax(1), "dim", True, (2, 3)),
    ],
)
def test_a_setting_of_another_type_is_refused_by_the_function(layer, setting, value, shape):
    m = layer()
    setattr(m, setting, value)
    with pytest.raises(TypeError, match=r"\(\)"):
        m(torch.ones(shape))


def test_inplace_is_any_truth_and_reduction_a_word():
    x = torch.tensor([-1.0])
    nn.ReLU(1)(x), nn.functional.relu6(x + 7, inplace=[]), nn.ELU(inplace="yes")(x)
    assert x.item() == 0.0
    for reduction in (None, 3):
        with pytest.raises(ValueError, match=f"{reduction} is not a valid value for reduction"):
            nn.MSELoss(reduction=reduction)(x, x)


@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_an_adaptive_pool_of_no_size_has_no_derivative(kind, dims):
    x = torch.ones(1, 2, *[5] * dims, requires_grad=True)
    y = getattr(nn.functional, f"adaptive_{kind}_pool{dims}d")(x, 0)
    assert y.shape == (1, 2, *[0] * dims)
    with pytest.raises(
        RuntimeError, match=rf"adaptive_{kind}_pool.d_backward\(\): Expected grad_output to have non-zero size"
    ):
        y.sum().backward()
