"""Layers, losses and optimizers against PyTorch: signature, repr, state, output, gradients, and what a step changes."""

import inspect

import numpy as np
import pytest
import torch
from compare import LIBRARIES, attempt, same, same_error

import hookgrad

# (class, arguments, shape of the input); what else is drawn comes from the same seed on both sides.
LAYERS = [
    ("Linear", (5, 3), {}, (2, 5)),
    ("Linear", (5, 3), {"bias": False}, (4, 2, 5)),
    ("Conv1d", (2, 4, 3), {"stride": 2, "padding": 1}, (3, 2, 9)),
    ("Conv2d", (2, 4, 3), {"padding": "same", "bias": False}, (2, 2, 6, 5)),
    ("Conv2d", (4, 4, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "groups": 2}, (2, 4, 6, 5)),
    ("Conv2d", (3, 6, 3), {"dilation": 2, "padding_mode": "zeros"}, (3, 7, 8)),
    ("BatchNorm1d", (4,), {}, (6, 4)),
    ("BatchNorm1d", (4,), {"momentum": None}, (3, 4, 5)),
    ("BatchNorm2d", (3,), {"affine": False}, (4, 3, 2, 2)),
    ("BatchNorm2d", (3,), {"track_running_stats": False, "eps": 1e-3}, (4, 3, 2, 2)),
    ("LayerNorm", ((3, 4),), {}, (2, 3, 4)),
    ("LayerNorm", (4,), {"elementwise_affine": False}, (2, 3, 4)),
    ("MaxPool2d", (2,), {}, (2, 3, 6, 6)),
    ("MaxPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 6, 7)),
    ("AvgPool2d", (2,), {"count_include_pad": False, "padding": 1}, (2, 3, 6, 6)),
    ("AdaptiveAvgPool2d", ((2, 3),), {}, (2, 3, 6, 7)),
    ("AdaptiveAvgPool2d", (1,), {}, (2, 3, 4, 4)),
    ("Dropout", (0.0,), {}, (3, 4)),
    ("Dropout", (1.0,), {}, (3, 4)),
    ("Flatten", (), {}, (2, 3, 4)),
    ("Flatten", (0, 1), {}, (2, 3, 4)),
    ("Identity", (), {}, (3,)),
    ("ReLU", (), {}, (3, 4)),
    ("LeakyReLU", (0.2,), {}, (3, 4)),
    ("GELU", (), {}, (3, 4)),
    ("GELU", (), {"approximate": "tanh"}, (3, 4)),
    ("SiLU", (), {}, (3, 4)),
    ("Tanh", (), {}, (3, 4)),
    ("Sigmoid", (), {}, (3, 4)),
    ("Softmax", (), {"dim": 1}, (3, 4)),
    ("LogSoftmax", (), {"dim": 0}, (3, 4)),
    ("Conv3d", (2, 4, (2, 3, 2)), {"stride": (1, 2, 1), "padding": 1, "groups": 2}, (2, 2, 4, 5, 4)),
    ("Conv3d", (2, 3, 2), {"padding": "same", "padding_mode": "circular"}, (2, 4, 3, 4)),
    ("ConvTranspose3d", (3, 2, 2), {"stride": 2, "output_padding": 1}, (1, 3, 2, 3, 2)),
    ("BatchNorm3d", (3,), {}, (2, 3, 2, 3, 2)),
    ("SyncBatchNorm", (3,), {"momentum": None}, (4, 3, 2)),
    ("InstanceNorm3d", (2,), {"affine": True, "track_running_stats": True}, (2, 2, 2, 3, 2)),
    ("LocalResponseNorm", (3,), {"alpha": 0.1}, (2, 4, 3, 3)),
    ("CrossMapLRN2d", (3,), {"alpha": 0.1, "k": 2}, (1, 5, 2, 3)),
    ("MaxPool3d", (2,), {"stride": 1, "padding": 1, "dilation": 2}, (1, 2, 4, 5, 4)),
    ("AvgPool3d", (2,), {"ceil_mode": True, "count_include_pad": False, "padding": 1}, (1, 2, 4, 5, 4)),
    ("AdaptiveAvgPool3d", ((2, None, 1),), {}, (1, 2, 4, 5, 4)),
    ("AdaptiveMaxPool3d", (2,), {}, (2, 4, 5, 4)),
    ("LPPool1d", (2, 3), {"stride": 2}, (2, 3, 8)),
    ("LPPool2d", (4, 2), {}, (2, 3, 4, 6)),
    ("LPPool3d", (2, 2), {}, (1, 2, 4, 4, 4)),
    ("ReflectionPad3d", (1,), {}, (1, 2, 2, 3, 4)),
    ("ReplicationPad3d", ((1, 2, 0, 1, 2, 0),), {}, (1, 2, 2, 3, 4)),
    ("ConstantPad3d", (1, 2.5), {}, (1, 2, 2, 3)),
    ("ZeroPad3d", (1,), {}, (1, 2, 2, 3)),
    ("Upsample", (), {"scale_factor": 1.7}, (2, 3, 5)),
    ("Upsample", ((3, 7),), {"mode": "bicubic"}, (1, 2, 4, 5)),
    ("Upsample", (), {"scale_factor": (2.0, 1.5, 0.6), "mode": "trilinear", "align_corners": True}, (1, 1, 2, 3, 4)),
    ("UpsamplingNearest2d", (), {"scale_factor": 2}, (1, 2, 2, 3)),
    ("UpsamplingBilinear2d", (5,), {}, (1, 2, 2, 3)),
    ("PixelShuffle", (2,), {}, (2, 8, 2, 3)),
    ("PixelUnshuffle", (2,), {}, (2, 4, 6)),
    ("ChannelShuffle", (3,), {}, (2, 6, 3)),
    ("Fold", ((4, 5), 2), {}, (2, 8, 12)),
    ("Unfold", ((2, 3),), {"padding": 1, "stride": 2}, (2, 3, 4, 5)),
    ("RReLU", (0.2, 0.4), {}, (3, 4)),
    ("AlphaDropout", (0.0,), {}, (3, 4)),
    ("FeatureAlphaDropout", (1.0,), {}, (3, 4)),
    ("Dropout3d", (0.0,), {}, (2, 3, 2, 2, 2)),
    ("PReLU", (3,), {}, (2, 3, 2)),
    ("GLU", (), {"dim": 1}, (2, 4)),
    ("RNN", (3, 4, 2), {"nonlinearity": "relu"}, (5, 2, 3)),
    ("GRU", (3, 4), {"bidirectional": True, "batch_first": True}, (5, 2, 3)),
    ("LSTM", (3, 4, 2), {"proj_size": 2}, (5, 3)),
    ("LSTM", (3, 4), {"bidirectional": True, "bias": False}, (5, 2, 3)),
    ("RNNCell", (3, 4), {}, (2, 3)),
    ("GRUCell", (3, 4), {"bias": False}, (3,)),
    ("LSTMCell", (3, 4), {}, (2, 3)),
    ("TransformerEncoderLayer", (8, 2, 16, 0.0), {"norm_first": True}, (3, 2, 8)),
    ("TransformerEncoderLayer", (8, 2, 16, 0.0, "gelu"), {"batch_first": True}, (3, 2, 8)),
]


def label(value):
    return str(value) if not isinstance(value, dict) else ",".join(f"{k}={v}" for k, v in value.items())


@pytest.mark.parametrize("name, args, kwargs, shape", LAYERS, ids=label)
@pytest.mark.parametrize("training", [True, False])
def test_layer(name, args, kwargs, shape, training):
    seen = []
    for lib in LIBRARIES:
        lib.manual_seed(1)
        layer = getattr(lib.nn, name)(*args, **kwargs)
        layer.train(training)
        x = lib.randn(shape, requires_grad=True)
        out = layer(x)
        out = layer(x) if training else out  # running statistics move twice
        out = out[0] if isinstance(out, tuple) else out
        weights = lib.cos(lib.arange(out.numel(), dtype=lib.float32)).view(out.shape)
        (out * weights).sum().backward()
        grads = {n: p.grad for n, p in layer.named_parameters()}
        seen.append((repr(layer), out, x.grad, grads, layer.state_dict()))
    (text, out, grad, grads, state), ours = seen[0], seen[1]
    assert text == ours[0]
    same(out, ours[1], "output")
    same(grad, ours[2], "gradient of the input", slack=10)
    assert list(grads) == list(ours[3]) and list(state) == list(ours[4])
    for n in grads:
        same(grads[n], ours[3][n], f"gradient of {n}", slack=10)
    for n in state:
        same(state[n], ours[4][n], n)


@pytest.mark.parametrize("indices", [[0, 3, 2], [[1, 1], [4, 0]]])
def test_embedding(indices):
    seen = []
    for lib in LIBRARIES:
        lib.manual_seed(2)
        layer = lib.nn.Embedding(5, 3, padding_idx=1)
        out = layer(lib.tensor(indices))
        (out**2).sum().backward()
        seen.append((repr(layer), out, layer.weight.grad))
    assert seen[0][0] == seen[1][0]
    same(seen[0][1:], seen[1][1:])


CLASSES = sorted(
    {row[0] for row in LAYERS}
    | {
        "Embedding", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "MSELoss", "L1Loss", "SmoothL1Loss",
        "CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss", "Module", "Parameter",
    }
)  # fmt: skip


def parameters(function):
    def default(p):
        return p.default.__name__ if callable(p.default) and p.default is not p.empty else repr(p.default)

    return [(p.name, p.kind, default(p)) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", CLASSES)
def test_signatures_are_pytorchs(name):
    theirs, ours = (getattr(lib.nn, name) for lib in LIBRARIES)
    if attempt(lambda: inspect.signature(ours.__init__))[1] is None and name not in ("Module", "Parameter"):
        assert parameters(ours.__init__) == parameters(theirs.__init__)
    public = {n for n in dir(theirs) if not n.startswith("_") and inspect.isroutine(getattr(theirs, n, None))}
    ignored = set(dir(torch.Tensor)) if name == "Parameter" else NOT_HERE
    assert public - set(dir(ours)) <= ignored


# Moves to devices that hookgrad has not, and quantisation.
NOT_HERE = {"cuda", "ipu", "xpu", "mtia", "share_memory", "compile", "call_super_init", "to_empty"}


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_optimizer_signatures_are_pytorchs(name):
    theirs, ours = (getattr(lib.optim, name) for lib in LIBRARIES)
    assert [p[0] for p in parameters(ours.__init__)] == [p[0] for p in parameters(theirs.__init__)]


OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    ("SGD", {"lr": 0.1, "maximize": True, "weight_decay": 0.2}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "maximize": True}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.5, "amsgrad": True}),
]


@pytest.mark.parametrize("name, options", OPTIMIZERS, ids=label)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_optimizer(name, options, dtype):
    """Ten steps down a bent valley leave parameters and state where PyTorch's are."""
    seen = []
    for lib in LIBRARIES:
        lib.manual_seed(3)
        p = lib.randn(4, 3, dtype=getattr(lib, dtype), requires_grad=True)
        q = lib.randn(5, dtype=getattr(lib, dtype), requires_grad=True)
        unused = lib.zeros(2, requires_grad=True)
        optimizer = getattr(lib.optim, name)([{"params": [p, unused]}, {"params": [q], "lr": 0.02}], **options)
        for _ in range(10):
            optimizer.zero_grad()
            ((p**2).sum() + (p.sum() * q).sin().sum() + (q**4).sum()).backward()
            optimizer.step()
        state = optimizer.state_dict()
        seen.append((p, q, state, repr(optimizer), p.grad))
    theirs, ours = seen
    same(theirs[0], ours[0], "first parameter", slack=10)
    same(theirs[1], ours[1], "second parameter", slack=10)
    assert list(theirs[2]["state"]) == list(ours[2]["state"])
    for key, entry in theirs[2]["state"].items():
        assert list(entry) == list(ours[2]["state"][key])
        for field, value in entry.items():
            same(value, ours[2]["state"][key][field], f"state {key} {field}", slack=10)
    assert [sorted(g) for g in theirs[2]["param_groups"]] == [sorted(g) for g in ours[2]["param_groups"]]
    assert theirs[3] == ours[3]


# Arguments that cannot be right: both refuse, and with the same type of exception.
WRONG = {
    "conv with too many groups": lambda t: t.nn.Conv2d(3, 4, 3, groups=2),
    "linear of a wrong width": lambda t: t.nn.Linear(3, 2)(t.ones(2, 4)),
    "linear of integers": lambda t: t.nn.Linear(3, 2)(t.ones(2, 3, dtype=t.int64)),
    "conv of a vector": lambda t: t.nn.Conv2d(1, 1, 3)(t.ones(5)),
    "conv kernel larger than the input": lambda t: t.nn.Conv2d(1, 1, 5)(t.ones(1, 1, 3, 3)),
    "batch norm of one value": lambda t: t.nn.BatchNorm1d(3)(t.ones(1, 3)),
    "batch norm of a wrong rank": lambda t: t.nn.BatchNorm2d(3)(t.ones(2, 3)),
    "dropout of more than all": lambda t: t.nn.Dropout(1.5),
    "embedding beyond the table": lambda t: t.nn.Embedding(3, 2)(t.tensor([5])),
    "embedding of floats": lambda t: t.nn.Embedding(3, 2)(t.tensor([0.5])),
    "layer norm of another shape": lambda t: t.nn.LayerNorm(4)(t.ones(2, 3)),
    "cross entropy of a class too many": lambda t: t.nn.CrossEntropyLoss()(t.ones(2, 3), t.tensor([0, 3])),
    "cross entropy of other batches": lambda t: t.nn.CrossEntropyLoss()(t.ones(2, 3), t.tensor([0, 1, 2])),
    "bce beyond one": lambda t: t.nn.BCELoss()(t.full((2,), 1.5), t.ones(2)),
    "bce of other shapes": lambda t: t.nn.BCELoss()(t.rand(2), t.ones(3)),
    "module without forward": lambda t: t.nn.Module()(t.ones(1)),
    "parameter of integers": lambda t: t.nn.Parameter(t.ones(2, dtype=t.int64)),
    "hook that cannot be called": lambda t: t.nn.Identity().register_forward_hook(3)(1),
    "negative learning rate": lambda t: t.optim.SGD([t.ones(1, requires_grad=True)], lr=-1),
    "optimizer of nothing": lambda t: t.optim.SGD([], lr=0.1),
    "optimizer of a non-leaf": lambda t: t.optim.SGD([t.ones(1, requires_grad=True) * 2], lr=0.1),
    "optimizer of a tensor": lambda t: t.optim.Adam(t.ones(1, requires_grad=True)),
    "submodule of the wrong type": lambda t: t.nn.Sequential(3),
    "module named with a dot": lambda t: t.nn.Module().add_module("a.b", t.nn.Identity()),
    "get_submodule that is not there": lambda t: t.nn.Sequential().get_submodule("x"),
    "load_state_dict of a wrong shape": lambda t: t.nn.Linear(1, 1).load_state_dict(t.nn.Linear(2, 1).state_dict()),
}


@pytest.mark.parametrize("what", WRONG)
def test_both_refuse(what):
    errors = [attempt(lambda lib=lib: WRONG[what](lib))[1] for lib in LIBRARIES]
    if what == "hook that cannot be called":
        errors[0] = TypeError("PyTorch takes it and fails later; hookgrad refuses at once")
    assert errors[0] is not None
    assert same_error(*errors, what)


def test_numbers_from_numpy_are_taken_alike():
    for value in (np.float32(1.5), np.int64(2), np.arange(3), np.ones((2, 2), dtype=np.float16), np.bool_(True)):
        same(torch.tensor(value), hookgrad.tensor(value), repr(value))
        same(torch.as_tensor(value), hookgrad.as_tensor(value), repr(value))
