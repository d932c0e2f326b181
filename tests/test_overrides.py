"""Classes made of Tensor: what is done with their tensors keeps the class, and `__torch_function__` sees it."""

import copy
import subprocess
import sys
import threading

import pytest

import hookgrad as torch
from hookgrad import nn, overrides
from hookgrad.nn import functional as F
from hookgrad.overrides import TorchFunctionMode


class Marked(torch.Tensor):
    pass


class Logged(torch.Tensor):
    calls = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.calls.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs)


def marked(*values):
    return torch.tensor(values or (1.0, 2.0)).as_subclass(Marked)


KEEPING = [
    lambda x: x + 1, lambda x: 2 - x, lambda x: torch.ones(2, requires_grad=True) * x, lambda x: -x, lambda x: x > 1,
    lambda x: x[0], lambda x: x[x > 1], lambda x: torch.add(x, 1), lambda x: torch.cat([x, torch.ones(2)]),
    lambda x: x.sum(), lambda x: x.detach(), lambda x: x.double(), lambda x: x.data, lambda x: x.mul_(2),
    lambda x: x.unbind()[0], lambda x: torch.max(x, 0).values, lambda x: nn.Linear(2, 1)(x),
    lambda x: nn.Sequential(nn.Linear(2, 1), nn.ReLU())(x), lambda x: nn.functional.softmax(x, -1),
]  # fmt: skip


@pytest.mark.parametrize("call", KEEPING)
def test_results_keep_the_class(call):
    assert type(call(marked())) is Marked


def test_what_is_no_tensor_stays_what_it_is():
    x = marked()
    assert x.tolist() == [1.0, 2.0] and x.shape == (2,) and x.grad is None and x.sum().item() == 3.0


def test_gradients_flow_through_the_class():
    x = marked().requires_grad_()
    seen = []
    x.register_hook(lambda grad: seen.append(grad.tolist()))
    (x * 3).sum().backward()
    assert seen == [[3.0, 3.0]] and x.grad.tolist() == [3.0, 3.0]


def test_a_class_of_its_own_sees_each_function_once():
    x = torch.ones(2).as_subclass(Logged)
    Logged.calls.clear()
    torch.add(x, x), x + 1, x.sum(), x[0], torch.cat([x, x])
    assert Logged.calls == ["add", "add", "sum", "__getitem__", "cat"]


class Traced(torch.Tensor):
    calls = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.calls.append((func.__name__, len(args), *sorted(kwargs or {})))
        return super().__torch_function__(func, types, args, kwargs)


def traced(call):
    Traced.calls.clear()
    call()
    return Traced.calls[:]


def test_layers_and_composed_functions_are_seen_as_functions_with_pytorchs_arguments():
    x, image = torch.ones(2, 3).as_subclass(Traced), torch.ones(1, 1, 4, 4).as_subclass(Traced)
    assert traced(lambda: nn.Linear(3, 2)(x)) == [("linear", 3)]
    assert traced(lambda: nn.Sequential(nn.Identity(), nn.ReLU())(x)) == [("relu", 1, "inplace")]
    assert traced(lambda: nn.Conv2d(1, 1, 2)(image)) == [("conv2d", 7)]
    assert traced(lambda: nn.Dropout2d(0.5)(image)) == [("dropout2d", 1, "inplace", "p", "training")]
    assert traced(lambda: nn.functional.layer_norm(x, (3,))) == [("layer_norm", 2, "bias", "eps", "weight")]
    assert traced(lambda: nn.PixelShuffle(1)(image)) == [("pixel_shuffle", 2)]
    settings = "reduce", "reduction", "size_average"
    assert traced(lambda: nn.SoftMarginLoss()(x, torch.ones(2, 3))) == [("soft_margin_loss", 2, *settings)]
    assert traced(lambda: nn.MSELoss()(x, torch.ones(2, 3))) == [("mse_loss", 2, *settings, "weight")]
    assert traced(lambda: nn.functional.interpolate(image, scale_factor=2))[0][:2] == ("interpolate", 1)
    assert traced(lambda: nn.functional.relu_(x.clone()))[1:] == [("relu_", 1)]


def test_attributes_are_asked_about():
    x = torch.ones(2, 3).as_subclass(Traced)
    for name in "shape dtype device ndim requires_grad grad grad_fn is_leaf T data _version".split():
        assert traced(lambda name=name: getattr(x, name)) == [("__get__", 1)]
    assert type(x.shape) is torch.Size and type(x.T) is Traced


def test_a_parameter_counts_as_a_plain_tensor():
    assert type(nn.Parameter(torch.ones(1)) + 1) is torch.Tensor
    assert not overrides.has_torch_function((nn.Parameter(torch.ones(1)), torch.ones(1)))
    assert overrides.has_torch_function((1, marked()))


def test_a_context_disables_it():
    with torch._C.DisableTorchFunctionSubclass():
        assert type(marked() + 1) is torch.Tensor
    assert type(marked() + 1) is Marked


def test_strangers_and_those_that_decline():
    class Stranger:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return cls, func.__name__

    class Declines(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    assert torch.add(Stranger(), 1) == (Stranger, "add")
    assert torch.ones(2) + Stranger() == (Stranger, "add")
    x = torch.ones(1).as_subclass(Declines)
    with pytest.raises(TypeError, match="all __torch_function__ handlers returned NotImplemented"):
        torch.add(x, 1)
    with pytest.raises(TypeError, match="unsupported operand"):
        x + 1


def test_an_exception_out_of_it_travels_on():
    class Fails(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            raise KeyError(func.__name__)

    x = torch.ones(2).as_subclass(Fails)
    for call in (lambda: torch.mul(x, 1), lambda: x[0], lambda: x.sum(), lambda: nn.ReLU()(x)):
        with pytest.raises(KeyError):
            call()
    with pytest.raises(KeyError):
        x[0] = 1.0
    assert type(torch.ones(1).add(1)) is torch.Tensor


def test_without_such_a_class_nothing_is_asked(run_python):
    code = (
        "import sys, hookgrad as torch\n"
        "torch.nn.LazyLinear(2)(torch.ones(1, 2)), torch.nn.LazyBatchNorm1d(), torch.nn.Parameter(torch.ones(1)) + 1\n"
        "print('hookgrad.overrides' in sys.modules)\n"
    )
    done = run_python("-c", code)
    assert (done.stdout, done.stderr) == ("False\n", "")


# ---- Modes -------------------------------------------------------------------------------------------------------------


class Log(overrides.TorchFunctionMode):
    def __init__(self):
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_a_mode_sees_functions_of_any_arguments_and_layers_as_functions():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with Log() as log:
        net(torch.ones(1, 2)).sum().backward()
    assert log.seen == ["ones", "linear", "relu", "sum", "backward"]
    torch.ones(2) + 1
    assert len(log.seen) == 5


@pytest.mark.parametrize(
    "layer, shape",
    [
        (nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular"), (1, 2, 5)), (nn.Conv2d(2, 2, 3), (1, 2, 5, 5)),
        (nn.Conv3d(1, 1, 2), (1, 1, 3, 3, 3)), (nn.BatchNorm1d(3), (4, 3)), (nn.BatchNorm1d(3, momentum=None), (4, 3)),
        (nn.BatchNorm1d(3).eval(), (4, 3)), (nn.LayerNorm(3), (2, 3)), (nn.MaxPool1d(2), (1, 2, 4)),
        (nn.MaxPool2d(2, return_indices=True), (1, 2, 4, 4)), (nn.AvgPool1d(2), (1, 2, 4)), (nn.AvgPool2d(2), (1, 2, 4, 4)),
        (nn.AdaptiveAvgPool1d(2), (1, 2, 4)), (nn.AdaptiveAvgPool2d(2), (1, 2, 4, 4)), (nn.Dropout(0.5).eval(), (2, 2)),
        (nn.Flatten(), (2, 3, 4)), (nn.Identity(), (2,)), (nn.LeakyReLU(0.2), (3,)), (nn.GELU("tanh"), (3,)), (nn.SiLU(), (3,)),
        (nn.Tanh(), (3,)), (nn.Sigmoid(), (3,)), (nn.Softmax(-1), (3,)), (nn.LogSoftmax(-1), (3,)),
    ],
)  # fmt: skip
def test_layers_compute_the_same_in_a_mode(layer, shape):
    x = torch.randn(shape)
    twin = copy.deepcopy(layer)
    expected = layer(x)
    with overrides.BaseTorchFunctionMode():
        got = twin(x)
    for a, b in zip(*(r if isinstance(r, tuple) else (r,) for r in (expected, got))):
        assert torch.equal(a, b)
    for a, b in zip(layer.buffers(), twin.buffers()):
        assert torch.equal(a, b)


def test_an_embedding_computes_the_same_in_a_mode():
    table, at = nn.Embedding(5, 2), torch.tensor([1, 4])
    with overrides.BaseTorchFunctionMode():
        got = table(at)
    assert torch.equal(got, table(at))


def test_a_mode_is_of_its_thread_and_ends_with_an_error():
    with pytest.raises(ValueError), Log():
        raise ValueError
    with Log() as log:
        thread = threading.Thread(target=lambda: torch.ones(2).sin())
        thread.start()
        thread.join()
    assert log.seen == [] and type(torch.Tensor.__getattribute__) is type(object.__getattribute__)


def test_text_and_numbers_of_a_class_are_asked_once():
    x = torch.ones(1).as_subclass(Logged)
    Logged.calls.clear()
    repr(x), bool(x), float(x), len(x), 2**x, x == 1
    assert Logged.calls == ["__repr__", "__bool__", "__float__", "__len__", "__rpow__", "__eq__"]


def test_a_mode_sees_what_is_done_with_plain_tensors_only():
    x = torch.ones(2, 2)
    with Log() as log:
        torch.exp(x), x + x, x * 2.0, nn.functional.linear(x, x), x[0], torch.tensor([1.0])
    assert log.seen == ["exp", "add", "mul", "linear", "__getitem__", "tensor"]


@pytest.fixture
def watched():
    """A class of tensors that notes the names of the functions it is asked of, and their arguments."""

    class Watched(torch.Tensor):
        seen, given = [], []

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.seen.append(overrides.resolve_name(func) or func.__name__)
            cls.given.append((args, kwargs or {}))
            return super().__torch_function__(func, types, args, kwargs)

    return Watched


def test_setting_an_attribute_is_asked_about(watched):
    x = torch.ones(2).as_subclass(watched)
    x.requires_grad = True
    x.grad = torch.ones(2)
    x.data = torch.zeros(2)
    x.note = 3  # not Tensor's
    assert watched.seen == [f"torch.Tensor.{name}.__set__" for name in ("requires_grad", "grad", "data")]
    assert torch.Tensor.requires_grad.__get__(x) and x.tolist() == [0.0, 0.0] and x.note == 3
    with torch._C.DisableTorchFunctionSubclass():
        watched.seen.clear()
        x.grad = None
        assert not watched.seen and x.grad is None


@pytest.mark.parametrize(
    "call, name, args, kwargs",
    [
        (lambda x: x.norm(), "torch.Tensor.norm", 1, dict(p="fro", dim=None, keepdim=False, dtype=None)),
        (lambda x: x.split(1), "torch.Tensor.split", 2, dict(dim=0)),
        (lambda x: torch.split(x, [1, 1], 0), "torch.functional.split", 2, dict(dim=0)),
        (lambda x: torch.atleast_1d(x), "torch.functional.atleast_1d", 1, {}),
        (lambda x: torch.unique(x).shape, "torch.functional.unique", 1, dict(sorted=True, return_inverse=False)),
        (lambda x: x**2, "torch.Tensor.__pow__", 2, {}),
        (lambda x: +x, "torch.Tensor.positive", 1, {}),
        (lambda x: nn.init.uniform_(x, 1.0), "torch.nn.init.uniform_", 0, dict(a=1.0, b=1.0, generator=None)),
        (lambda x: nn.init.constant_(x, 3), "torch.nn.init.constant_", 0, dict(val=3)),
        (lambda x: torch.linalg.norm(x), "torch.linalg.norm", 1, {}),
        (lambda x: torch.diff(x), "torch.diff", 1, {}),
    ],
)
def test_functions_hand_on_their_arguments_as_pytorchs_do(watched, call, name, args, kwargs):
    call(torch.ones(2, 2).as_subclass(watched))
    assert watched.seen[0] == name
    positional, by_name = watched.given[0]
    assert len(positional) == args and kwargs.items() <= by_name.items()


@pytest.mark.parametrize(
    "call, given",
    [
        (lambda x: x + 1, None),
        (lambda x: x[0], None),
        (lambda x: x.shape, None),
        (lambda x: torch.linalg.norm(x), None),
        (lambda x: F.linear(x, x), None),
        (lambda x: F.cosine_similarity(x, x), None),
        (lambda x: x.sum(dim=0), {"dim": 0}),
        (lambda x: torch.einsum("ij->ji", x), {}),
        (lambda x: torch.tensordot(x, x), {"dims": 2, "out": None}),
        (lambda x: F.softsign(x), {}),
    ],
)
def test_without_keywords_only_functions_in_python_hand_on_a_dictionary(call, given):
    seen = []

    class Noting(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            seen.append(kwargs)
            return super().__torch_function__(func, types, args, kwargs)

    class Mode(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(kwargs)
            return func(*args, **(kwargs or {}))

    x = torch.ones(2, 2)
    call(x.as_subclass(Noting))
    first = seen[:]
    seen.clear()
    with Mode():
        call(x)
    assert first[0] == seen[0] == given


def test_backward_and_grad_are_asked_with_every_argument(watched):
    x = torch.ones(2).as_subclass(watched).requires_grad_()
    y = (x * 2).sum()
    watched.seen.clear(), watched.given.clear()
    y.backward(retain_graph=True)
    assert watched.given == [((y,), dict(gradient=None, retain_graph=True, create_graph=False, inputs=None))]
    (got,) = torch.autograd.grad(y, x)
    assert type(got) is watched and watched.given[1][0] == ((y,), (x,))
    assert list(watched.given[1][1]) == [
        "grad_outputs", "retain_graph", "create_graph", "only_inputs", "allow_unused", "is_grads_batched",
        "materialize_grads",
    ]  # fmt: skip


def test_copies_and_pickles_are_asked_once(watched):
    x = torch.ones(2).as_subclass(watched)
    assert type(copy.deepcopy(x)) is watched and watched.seen == ["torch.Tensor.__deepcopy__"]
    watched.seen.clear()
    assert type(copy.copy(x)) is watched and watched.seen == ["torch.Tensor.__reduce_ex__"]


def test_a_layer_is_seen_where_a_parameter_overrides(watched):
    linear = nn.Linear(2, 2)
    linear.weight = nn.Parameter(torch.ones(2, 2).as_subclass(watched))
    watched.seen.clear()
    linear(torch.ones(1, 2))
    assert watched.seen == ["torch.nn.functional.linear"]


def test_the_types_of_a_call_are_pytorchs():
    x = torch.ones(2, 2)
    seen = {}

    class Types(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen[func.__name__] = [t.__name__ for t in types]
            return func(*args, **(kwargs or {}))

    with Types():
        x.tanh(), x.sum(0), x.norm(), F.relu(x), x.add_(1), x.zero_(), F.linear(x, x), torch.norm(x)
        x.requires_grad, nn.Parameter(x).dim()
    named = {name for name, types in seen.items() if types == ["Tensor"]}
    assert named == {"tanh", "norm", "relu", "zero_", "__get__"} and seen["dim"] == ["Parameter"]
    assert seen["sum"] == seen["add_"] == seen["linear"] == []


def test_a_mode_sees_where_recording_is_turned_off():
    seen = []

    class Seen(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append((func.__name__, args))
            return func(*args, **(kwargs or {}))

    with Seen(), torch.no_grad():
        assert not torch.is_grad_enabled()
    assert seen == [("_set_grad_enabled", (False,)), ("_set_grad_enabled", (True,))] and torch.is_grad_enabled()


HANDED_ON = [
    lambda x: x.dim(), lambda x: x.size(0), lambda x: x.stride(), lambda x: x.item(), lambda x: x.tolist(), lambda x: x.float(),
    lambda x: x.type(), lambda x: x.numpy(), lambda x: x.to(torch.float64), lambda x: x.is_contiguous(), lambda x: x.is_set_to(x),
    lambda x: x.register_hook(print), lambda x: x.retain_grad(), lambda x: x.requires_grad_(True), lambda x: x.angle(),
    lambda x: x.quantile(0.5), lambda x: x.unique(return_counts=True), lambda x: x.untyped_storage(), lambda x: x.pinverse(),
    lambda x: x.shape, lambda x: x.grad_fn, lambda x: x.requires_grad, lambda x: setattr(x, "grad", None),
]  # fmt: skip


@pytest.mark.parametrize("call", HANDED_ON)
def test_what_a_mode_hands_on_goes_to_the_next_mode_and_to_the_class(call):
    class Seen(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            modes.append(func)
            return func(*args, **(kwargs or {}))

    class Class(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            classes.append(func)
            return super().__torch_function__(func, types, args, kwargs)

    modes, classes = [], []
    x = torch.ones(1, 1, requires_grad=True).as_subclass(Class)
    with Seen(), Seen():
        try:
            call(x)
        except RuntimeError:  # numpy() of what requires a gradient: it has been asked about
            pass
    assert len(modes) == 2 * len(classes) == 2 and set(modes) == set(classes)


@pytest.mark.parametrize("make", [lambda: nn.Linear(2, 2), nn.ReLU, lambda: nn.Sequential(nn.Linear(2, 2), nn.Tanh())])
def test_full_backward_hooks_pass_on_tensors_of_the_class(make):
    layer, seen = make(), []
    layer.register_forward_pre_hook(lambda module, args: seen.append(type(args[0])))
    layer.register_forward_hook(lambda module, args, out: seen.append(type(out)))
    layer.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append(type(grad_input[0])))
    x = torch.ones(1, 2).as_subclass(Logged).requires_grad_()
    y = layer(x)
    y.sum().backward()
    assert seen == [Logged, Logged, torch.Tensor]
    assert type(y) is Logged and y.grad_fn.name() == "BackwardHookFunctionBackward"
    assert x.grad is not None


def test_redispatching_runs_the_function_and_sees_what_it_calls():
    seen = []

    class Deep(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            seen.append(func.__name__)
            return overrides.redispatch_function(func, types, args, kwargs)

    def scaled(a, b):
        if overrides.has_torch_function((a, b)):
            return overrides.handle_torch_function(scaled, (a, b), a, b)
        return a * b + 1

    x = torch.ones(2).as_subclass(Deep)
    out = scaled(x, x)
    assert seen == ["scaled", "mul"] and type(out) is torch.Tensor and out.tolist() == [2.0, 2.0]
    seen.clear()
    assert type(F.mse_loss(x, x)) is torch.Tensor and seen[0] == "mse_loss"


def test_the_functions_that_are_not_asked_about_are_listed():
    ignored = overrides.get_ignored_functions()
    assert {torch.zeros, torch.Tensor.new_zeros, F.sigmoid, nn.init.uniform, torch.no_grad} <= ignored
    assert not {torch.add, torch.Tensor.add, F.relu, nn.init.uniform_} & ignored
    assert ignored is overrides.get_ignored_functions()


def test_a_plain_method_is_deprecated():
    class Plain:
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return 3

    with pytest.warns(DeprecationWarning, match="as a plain method is deprecated"):
        assert F.softsign(Plain()) == 3
    with pytest.warns(UserWarning, match="as a plain method is deprecated"):
        assert torch.add(Plain(), 1) == 3
    with pytest.raises(TypeError, match="expected a sequence"):
        overrides.has_torch_function(object())


# The first stranger that a process meets, met by a layer or a function of nn.functional.
FIRST = """
import hookgrad as torch
from hookgrad import nn
from hookgrad.nn import functional as F

class Chain:
    def __init__(self, names=()):
        self.names = list(names)
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return cls([*args[0].names, func.__name__])

print({}(Chain()).names)
"""


@pytest.mark.parametrize(
    "call, names",
    [
        ("nn.ReLU()", ["relu"]),
        ("nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.Softmax(0), nn.MaxPool2d(2)))", ["linear", "softmax", "max_pool2d"]),
        ("(lambda x: nn.MSELoss()(x, torch.ones(1)))", ["mse_loss"]),
        ("(lambda x: F.cross_entropy(x, torch.ones(1)))", ["cross_entropy"]),
    ],
)  # fmt: skip
def test_layers_ask_what_is_no_tensor(call, names):
    run = subprocess.run([sys.executable, "-c", FIRST.format(call)], capture_output=True, text=True)
    assert (run.stdout.strip(), run.stderr) == (repr(names), "")


def test_initialisers_ask_what_is_no_tensor():
    class Like:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func.__name__, args, kwargs

    like = Like()
    assert nn.init.normal_(like) == ("normal_", (), dict(tensor=like, mean=0.0, std=1.0, generator=None))
    assert nn.init.constant_(like, 1) == ("constant_", (), dict(tensor=like, val=1))


def test_a_module_within_that_fails_is_not_called_again():
    class Stranger:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            calls.append(func.__name__)
            raise ValueError("no")

    calls = []
    with pytest.raises(ValueError, match="no"):
        nn.Sequential(nn.ReLU(), nn.Tanh())(Stranger())
    assert calls == ["relu"]


def test_a_method_that_a_program_has_given_tensor_is_left_as_it_is(run_script):
    """It may look at who called it."""
    done = run_script("""
import sys, torch
torch.Tensor.backward = lambda self: print(sys._getframe(1).f_code.co_name)
with torch.overrides.TorchFunctionMode():
    pass
torch.ones(2).backward()
""")
    assert done.stdout == "<module>\n"
