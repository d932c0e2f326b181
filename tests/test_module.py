"""nn.Module: what it holds, how it is found again, how everything in it is changed at once."""

import copy
import gc
import inspect
import os
import pickle
import weakref
from collections import OrderedDict

import pytest

import hookgrad as torch
from hookgrad import nn

KEYS = [
    "training",
    "_parameters",
    "_buffers",
    "_non_persistent_buffers_set",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_is_full_backward_hook",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
    "_modules",
]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.inner = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())

    def forward(self, x):
        return self.inner(self.first(x))


# ---- Attributes ----------------------------------------------------------------------------------------------------


def test_dictionary_has_torchs_keys_in_torchs_order():
    assert list(nn.Module().__dict__) == KEYS
    assert list(nn.Linear(1, 1).__dict__) == [*KEYS, "in_features", "out_features"]


def test_fresh_tables_print_as_torchs():
    d = nn.Module().__dict__
    assert repr(d["_parameters"]) == "{}"
    assert repr(d["_modules"]) == "{}"
    assert repr(d["_forward_hooks"]) == "OrderedDict()"
    assert d["_non_persistent_buffers_set"] == set()
    assert d["_is_full_backward_hook"] is None
    assert d["training"] is True


def test_attributes_go_into_their_tables():
    m = nn.Module()
    m.w = nn.Parameter(torch.ones(1))
    m.child = nn.ReLU()
    m.buf = nn.Buffer(torch.zeros(1))
    m.note = "text"
    assert list(m._parameters) == ["w"]
    assert list(m._modules) == ["child"]
    assert list(m._buffers) == ["buf"]
    assert m.__dict__["note"] == "text"
    assert m.w is m._parameters["w"]
    assert m.child is m._modules["child"]


def test_an_attribute_moves_when_its_kind_changes():
    m = nn.Module()
    m.x = 3
    m.x = nn.Parameter(torch.ones(1))
    assert "x" not in m.__dict__
    assert list(m._parameters) == ["x"]
    del m.x
    m.x = nn.ReLU()
    assert list(m._parameters) == []
    assert list(m._modules) == ["x"]
    del m.x
    assert not hasattr(m, "x")


def test_none_keeps_the_place_of_a_parameter():
    m = nn.Linear(2, 2)
    m.weight = None
    assert m.weight is None
    assert list(m._parameters) == ["weight", "bias"]
    assert [name for name, _ in m.named_parameters()] == ["bias"]


def test_a_property_that_lacks_an_attribute_is_the_missing_one():
    class M(nn.Module):
        @property
        def size(self):
            return self.nothing

        @property
        def weight(self):
            raise AttributeError("not yet")

    m = M()
    with pytest.raises(AttributeError, match="'M' object has no attribute 'size'"):
        m.size  # noqa: B018
    m._parameters["weight"] = nn.Parameter(torch.ones(1))
    assert m.weight is m._parameters["weight"]


# What is done to a Linear(2, 3) called m, and what it raises.
WRONG = [
    ("m.weight = 3", TypeError, "cannot assign 'int' as parameter 'weight' (torch.nn.Parameter or None expected)"),
    (
        "m.bias = torch.ones(1)",
        TypeError,
        "cannot assign 'torch.FloatTensor' as parameter 'bias' (torch.nn.Parameter or None expected)",
    ),
    ("m.missing", AttributeError, "'Linear' object has no attribute 'missing'"),
    ("m.register_buffer('a.b', None)", KeyError, "'buffer name can\\'t contain \".\"'"),
    ("m.register_buffer('', None)", KeyError, "'buffer name can\\'t be empty string \"\"'"),
    ("m.register_buffer('weight', None)", KeyError, "\"attribute 'weight' already exists\""),
    ("m.register_buffer(3, None)", TypeError, "buffer name should be a string. Got int"),
    (
        "m.register_buffer('x', 3)",
        TypeError,
        "cannot assign 'int' object to buffer 'x' (torch Tensor or None required)",
    ),
    ("m.register_parameter('x.y', None)", KeyError, "'parameter name can\\'t contain \".\"'"),
    ("m.register_parameter('in_features', None)", KeyError, "\"attribute 'in_features' already exists\""),
    (
        "m.register_parameter('x', torch.ones(2))",
        TypeError,
        "cannot assign 'torch.FloatTensor' object to parameter 'x' (torch.nn.Parameter or None required)",
    ),
    ("m.add_module('x.y', nn.ReLU())", KeyError, "'module name can\\'t contain \".\", got: x.y'"),
    ("m.add_module('', nn.ReLU())", KeyError, "'module name can\\'t be empty string \"\"'"),
    ("m.add_module('x', 3)", TypeError, "int is not a Module subclass"),
    ("m.add_module('weight', nn.ReLU())", KeyError, "\"attribute 'weight' already exists\""),
    ("m.add_module(3, nn.ReLU())", TypeError, "module name should be a string. Got int"),
    ("m.get_submodule('x')", AttributeError, "Linear has no attribute `x`"),
    ("m.get_submodule('weight')", AttributeError, "`weight` is not an nn.Module"),
    ("m.get_parameter('in_features')", AttributeError, "`in_features` is not an nn.Parameter"),
    ("m.get_buffer('weight')", AttributeError, "`weight` is not a buffer"),
    ("m.set_submodule('', nn.ReLU())", ValueError, "Cannot set the submodule without a target name!"),
    ("m.set_submodule('weight', nn.ReLU())", AttributeError, "`weight` is not an nn.Module"),
    ("m.set_submodule('x', nn.ReLU(), strict=True)", AttributeError, "Linear has no attribute `x`"),
    ("m.train(1)", ValueError, "training mode is expected to be boolean"),
    (
        "m.to(torch.int32)",
        TypeError,
        "nn.Module.to only accepts floating point or complex dtypes, but got desired dtype=torch.int32",
    ),
    ("nn.Module()(3)", NotImplementedError, 'Module [Module] is missing the required "forward" function'),
    ("nn.Module()(a=3)", TypeError, "_forward_unimplemented() got an unexpected keyword argument 'a'"),
]


@pytest.mark.parametrize("action, error, words", WRONG, ids=[case[0] for case in WRONG])
def test_errors(action, error, words):
    m = nn.Linear(2, 3)
    with pytest.raises(error) as caught:
        exec(action, {"m": m, "nn": nn, "torch": torch})
    assert str(caught.value) == words
    assert m(torch.ones(1, 2)).shape == (1, 3)


def test_nothing_can_be_assigned_before_init():
    class Early(nn.Module):
        def __init__(self, value):
            self.x = value

    with pytest.raises(AttributeError, match=r"cannot assign parameters before Module.__init__\(\) call"):
        Early(nn.Parameter(torch.ones(1)))
    with pytest.raises(AttributeError, match=r"cannot assign module before Module.__init__\(\) call"):
        Early(nn.ReLU())
    early = Early.__new__(Early)
    for register in (early.register_full_backward_hook, early.register_backward_hook):
        with pytest.raises(AttributeError, match="'Early' object has no attribute '_is_full_backward_hook'"):
            register(print)


def test_init_takes_no_arguments():
    with pytest.raises(TypeError, match=r"Net.__init__\(\) takes 1 positional argument but 2 were given"):
        Net(1)
    with pytest.raises(TypeError, match=r"Module.__init__\(\) got an unexpected keyword argument 'a'"):
        nn.Module(a=1)


# ---- Buffers and parameters ------------------------------------------------------------------------------------------


def test_buffers_are_kept_and_saved_if_persistent():
    m = nn.Module()
    m.register_buffer("kept", torch.ones(1))
    m.register_buffer("passing", torch.zeros(1), persistent=False)
    m.register_buffer("nothing", None)
    assert [name for name, _ in m.named_buffers()] == ["kept", "passing"]
    assert list(m.state_dict()) == ["kept"]
    m.passing = torch.ones(2)
    assert m.passing.shape == (2,)
    assert list(m.state_dict()) == ["kept"]
    m.register_buffer("passing", torch.zeros(1), persistent=True)
    assert list(m.state_dict()) == ["kept", "passing"]


def test_buffer_class():
    m = nn.Module()
    m.a = nn.Buffer(torch.ones(2))
    m.b = nn.Buffer(torch.ones(2), persistent=False)
    assert isinstance(m.a, nn.Buffer)
    assert not isinstance(torch.ones(1), nn.Buffer)
    assert not isinstance(nn.Parameter(torch.ones(1)), nn.Buffer)
    assert list(m.state_dict()) == ["a"]


def test_parameter_shares_memory_and_requires_grad():
    t = torch.zeros(2)
    p = nn.Parameter(t)
    with torch.no_grad():
        p += 1
    assert t.tolist() == [1.0, 1.0]
    assert p.requires_grad
    assert p.is_leaf
    assert not nn.Parameter(t, requires_grad=False).requires_grad
    with torch.no_grad():
        assert nn.Parameter(t).requires_grad
    assert isinstance(p, torch.Tensor)
    assert not isinstance(t, nn.Parameter)
    assert type(p.data) is torch.Tensor
    assert type(p.detach()) is torch.Tensor
    assert type(p + 1) is torch.Tensor


def test_parameter_copies():
    p = nn.Parameter(torch.ones(2), requires_grad=False)
    q = copy.deepcopy(p)
    assert type(q) is nn.Parameter
    assert not q.requires_grad
    assert q.data_ptr() != p.data_ptr()
    r = pickle.loads(pickle.dumps(p))
    assert type(r) is nn.Parameter
    assert not r.requires_grad
    assert r.tolist() == [1.0, 1.0]
    both = copy.deepcopy([p, p])
    assert both[0] is both[1]


def test_a_tensor_of_another_class_becomes_a_parameter():
    class Own(torch.Tensor):
        pass

    class Forgets(torch.Tensor):
        def detach(self):
            return torch.ones(1)

    p = nn.Parameter(torch.ones(2).as_subclass(Own))
    m = nn.Module()
    m.p = p
    assert type(p) is Own and isinstance(p, nn.Parameter) and p.requires_grad and list(m.parameters())[0] is p
    with pytest.raises(RuntimeError, match="requires that detach\\(\\) returns an instance of the same type"):
        nn.Parameter(torch.ones(1).as_subclass(Forgets))


def test_parameter_repr_of_nothing():
    assert repr(nn.Parameter()) == "Parameter containing:\ntensor([], requires_grad=True)"


# ---- Going through ------------------------------------------------------------------------------------------------------


def test_names_in_order():
    net = Net()
    assert [name for name, _ in net.named_modules()] == ["", "first", "inner", "inner.0", "inner.1"]
    assert [name for name, _ in net.named_modules(prefix="net")][:2] == ["net", "net.first"]
    assert [name for name, _ in net.named_children()] == ["first", "inner"]
    assert [name for name, _ in net.named_parameters()] == [
        "first.weight",
        "first.bias",
        "inner.0.weight",
        "inner.0.bias",
    ]
    assert [name for name, _ in net.named_parameters(prefix="p", recurse=False)] == []
    assert [name for name, _ in net.named_buffers()] == [
        "inner.0.running_mean",
        "inner.0.running_var",
        "inner.0.num_batches_tracked",
    ]
    assert list(net.children()) == [net.first, net.inner]
    assert next(net.modules()) is net


def test_what_is_shared_is_named_once():
    shared = nn.Linear(1, 1)
    m = nn.Sequential(shared, nn.ReLU(), shared)
    assert [name for name, _ in m.named_modules()] == ["", "0", "1"]
    assert [name for name, _ in m.named_modules(remove_duplicate=False)] == ["", "0", "1", "2"]
    assert [name for name, _ in m.named_parameters()] == ["0.weight", "0.bias"]
    assert len(list(m.named_parameters(remove_duplicate=False))) == 4
    assert len(list(m.children())) == 2


def test_paths():
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_submodule("inner.1") is net.inner[1]
    assert net.get_parameter("first.weight") is net.first.weight
    assert net.get_buffer("inner.0.running_var") is net.inner[0].running_var
    net.set_submodule("inner.1", nn.Tanh())
    assert repr(net.inner[1]) == "Tanh()"
    net.set_submodule("inner.2", nn.SiLU())
    assert len(net.inner) == 3


def test_dir_lists_what_attributes_can_be_had():
    names = dir(nn.Sequential(nn.Linear(1, 1)))
    assert "forward" in names
    assert "0" not in names
    assert {"weight", "bias", "in_features"} <= set(dir(nn.Linear(1, 1)))


# ---- Changing everything --------------------------------------------------------------------------------------------------


def test_apply_visits_children_first():
    seen = []
    net = Net()
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "BatchNorm1d", "ReLU", "Sequential", "Net"]


def test_train_and_eval():
    net = Net()
    assert net.eval() is net
    assert [m.training for m in net.modules()] == [False] * 5
    net.inner.train()
    assert [m.training for m in net.modules()] == [False, False, True, True, True]


def test_conversions_keep_the_parameters_and_integers():
    net = Net()
    before = list(net.parameters())
    assert net.double() is net
    assert all(a is b for a, b in zip(before, net.parameters()))
    dtypes = [v.dtype for v in net.state_dict().values()]
    assert dtypes == [torch.float64] * 6 + [torch.int64]
    for convert, dtype in (
        (lambda: net.half(), torch.float16),
        (lambda: net.bfloat16(), torch.bfloat16),
        (lambda: net.float(), torch.float32),
        (lambda: net.to(torch.float64), torch.float64),
        (lambda: net.to("cpu", torch.float32), torch.float32),
        (lambda: net.to(dtype=torch.float64), torch.float64),
        (lambda: net.to(torch.ones(1)), torch.float32),
        (lambda: net.to(torch.device("cpu")), torch.float32),
        (lambda: net.type(torch.float64), torch.float64),
    ):
        convert()
        assert net.first.weight.dtype == dtype
        assert net.inner[0].running_mean.dtype == dtype


def test_conversion_takes_the_gradients_along():
    m = nn.Linear(2, 1)
    m(torch.ones(1, 2)).sum().backward()
    m.double()
    assert m.weight.grad.dtype == torch.float64
    assert m.weight.grad.tolist() == [[1.0, 1.0]]
    m(torch.ones(1, 2, dtype=torch.float64)).sum().backward()
    assert m.weight.grad.tolist() == [[2.0, 2.0]]


def test_zero_grad():
    m = nn.Linear(2, 1)
    m(torch.ones(1, 2)).sum().backward()
    grad = m.weight.grad
    m.zero_grad(set_to_none=False)
    assert m.weight.grad is grad
    assert grad.tolist() == [[0.0, 0.0]]
    m.zero_grad()
    assert m.weight.grad is None


def test_requires_grad_():
    net = Net()
    assert net.requires_grad_(False) is net
    assert not any(p.requires_grad for p in net.parameters())
    assert not net(torch.ones(2, 2)).requires_grad


# ---- Registration hooks -----------------------------------------------------------------------------------------------------


def test_registration_hooks_see_and_replace():
    seen = []
    module = nn.modules.module
    handles = [
        getattr(module, f"register_module_{kind}_registration_hook")(
            lambda m, name, value, kind=kind: seen.append((kind, type(m).__name__, name))
        )
        for kind in ("buffer", "module", "parameter")
    ]
    try:
        bn = nn.BatchNorm1d(1)
        nn.Sequential(bn)
    finally:
        for handle in handles:
            handle.remove()
    assert seen == [
        ("parameter", "BatchNorm1d", "weight"),
        ("parameter", "BatchNorm1d", "bias"),
        ("buffer", "BatchNorm1d", "running_mean"),
        ("buffer", "BatchNorm1d", "running_var"),
        ("buffer", "BatchNorm1d", "num_batches_tracked"),
        ("module", "Sequential", "0"),
    ]
    nn.Linear(1, 1)
    assert len(seen) == 6

    tanh = nn.Tanh()
    with module.register_module_module_registration_hook(lambda m, name, child: tanh):
        assert nn.Sequential(nn.ReLU())[0] is tanh
    assert nn.Sequential(nn.ReLU())[0] is not tanh


# ---- Copies and repr --------------------------------------------------------------------------------------------------------


def test_deepcopy_is_independent_and_complete():
    net = Net()
    net.note = [1]
    twin = copy.deepcopy(net)
    assert repr(twin) == repr(net)
    assert twin.note == [1]
    assert twin.note is not net.note
    assert type(twin.first.weight) is nn.Parameter
    with torch.no_grad():
        twin.first.weight.zero_()
    assert net.first.weight.abs().sum() > 0
    assert torch.equal(twin(torch.ones(3, 2)), twin(torch.ones(3, 2)))


def test_deepcopy_keeps_what_is_shared_shared():
    l = nn.Linear(1, 1)
    twin = copy.deepcopy(nn.Sequential(l, l))
    assert twin[0] is twin[1]
    assert twin[0] is not l


def test_copy_shares_the_parameters():
    l = nn.Linear(1, 1)
    twin = copy.copy(l)
    assert twin is not l
    assert twin.weight is l.weight


def test_pickle_round_trip():
    torch.manual_seed(0)
    m = nn.Sequential(OrderedDict(lin=nn.Linear(2, 2), act=nn.ReLU())).eval()
    m.lin.note = "kept"
    twin = pickle.loads(pickle.dumps(m))
    assert repr(twin) == repr(m)
    assert twin.lin.note == "kept"
    assert not twin.training
    assert torch.equal(twin.lin.weight, m.lin.weight)
    x = torch.ones(1, 2)
    assert torch.equal(twin(x), m(x))


def test_extra_repr_and_nesting():
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(1, 1)

        def extra_repr(self):
            return "x=1\ny=2"

    class Empty(nn.Module):
        def extra_repr(self):
            return "x=1\ny=2"

    assert repr(nn.Module()) == "Module()"
    assert repr(Empty()) == "Empty(\n  x=1\n  y=2\n)"
    assert repr(nn.Sequential(Inner(), nn.Sequential())) == (
        "Sequential(\n"
        "  (0): Inner(\n"
        "    x=1\n"
        "    y=2\n"
        "    (a): Linear(in_features=1, out_features=1, bias=True)\n"
        "  )\n"
        "  (1): Sequential()\n"
        ")"
    )


def test_a_module_dies_with_its_last_reference():
    m = Net()
    watch = weakref.ref(m)
    del m
    assert watch() is None


def test_a_module_in_a_cycle_is_collected():
    m = Net()
    m.itself = [m]
    m.register_forward_hook(lambda *args, m=m: None)
    watch = weakref.ref(m)
    del m
    gc.collect()
    assert watch() is None


def test_a_plain_class_may_come_before_module():
    class Mixin:
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.mixed = True

    class Mixed(Mixin, nn.Linear):
        pass

    m = Mixed(1, 1)
    assert list(m.__dict__) == [*KEYS, "in_features", "out_features", "mixed"]
    assert m.mixed
    twin = copy.deepcopy(m)
    assert torch.equal(twin.weight, m.weight)
    assert twin.mixed


@pytest.mark.parametrize(
    "args, kwargs, error",
    [
        (("cpu",), {"copy": True}, RuntimeError),
        (("cpu", True), {}, TypeError),
        ((None, True), {}, TypeError),
        (("cpu", torch.int64, True), {}, TypeError),
        (([],), {}, TypeError),
        (({},), {"non_blocking": True}, TypeError),
        ((torch.float64,), {"dtype": torch.float64}, TypeError),
        ((torch.tensor(3),), {"non_blocking": True}, TypeError),
        ((), {"memory_format": 3}, TypeError),
        ((), {"nothing": 3}, TypeError),
    ],
)
def test_to_refuses_what_names_no_conversion(args, kwargs, error):
    with pytest.raises(error):
        nn.Linear(1, 1).to(*args, **kwargs)


def test_to_takes_its_arguments_in_three_orders():
    double = torch.zeros(1, dtype=torch.float64)
    for args in (("cpu", torch.float64, True), (torch.float64, True), (double, True)):
        assert nn.Linear(1, 1).to(*args).weight.dtype == torch.float64
    parsed = torch._C._nn._parse_to("cpu", torch.float64, True, memory_format=torch.contiguous_format)
    assert parsed == (torch.device("cpu"), torch.float64, True, torch.contiguous_format)


def test_the_signature_of_a_module_is_that_of_its_call():
    class Own(nn.Module):
        def __call__(self, x, y=1):
            return x

    assert str(inspect.signature(nn.ReLU())) == "(*args, **kwargs)"
    assert str(inspect.signature(nn.ReLU()._call_impl)) == "(*args, **kwargs)"
    assert str(inspect.signature(nn.ReLU)) == "(inplace=False)"
    assert str(inspect.signature(Own())) == "(x, y=1)"


def test_what_goes_through_a_module_passes_for_a_generator():
    m = nn.Linear(1, 1)
    walks = [m.parameters, m.named_parameters, m.buffers, m.named_buffers, m.modules, m.named_modules, m.children]
    assert all(inspect.isgenerator(walk()) for walk in walks)


def test_a_replica_says_that_its_gradients_are_not_its_own():
    replica = nn.Linear(1, 1)._replicate_for_data_parallel()
    with pytest.warns(UserWarning, match="nn.DataParallel"):
        replica.zero_grad()


def test_a_replica_has_state_but_no_parameters():
    m = nn.Sequential(nn.BatchNorm1d(2))
    replica = m[0]._replicate_for_data_parallel()
    assert replica._is_replica and list(replica.parameters()) == [] and type(replica) is nn.BatchNorm1d
    assert replica.running_mean is m[0].running_mean and len(list(m.parameters())) == 2
    parameters = nn.ParameterList([torch.ones(2), torch.zeros(2)])
    replica = parameters._replicate_for_data_parallel()
    for name, p in parameters.named_parameters():
        setattr(replica, name, p.view_as(p))
    assert [view._base is p for view, p in zip(replica, parameters)] == [True, True]


def test_shared_memory_is_seen_by_a_forked_process():
    m = nn.Linear(2, 2)
    weight = m.weight
    before = weight.tolist()
    assert not weight.is_shared() and not weight.storage().is_shared()
    m.share_memory()
    assert m.weight is weight and weight.tolist() == before
    assert weight.is_shared() and m.bias.is_shared() and weight[0].is_shared() and weight.storage().is_shared()
    assert not weight.clone().is_shared()
    child = os.fork()
    if child == 0:
        weight.data.fill_(7.0)
        os._exit(0)
    os.waitpid(child, 0)
    assert weight.tolist() == [[7.0, 7.0], [7.0, 7.0]]


def test_a_property_of_that_name_is_told_of_training():
    class Told(nn.Module):
        seen = property(lambda self: self.__dict__["told"])
        training = property(
            lambda self: self.seen[-1], lambda self, mode: vars(self).setdefault("told", []).append(mode)
        )

    m = Told()
    assert m.eval().seen == [True, False] and m.training is False

    class Silent(nn.Module):
        training = property(lambda self: True)

    with pytest.raises(AttributeError):
        Silent()


def test_a_number_in_place_of_a_dtype_stands_for_a_tensor():
    assert nn.Linear(1, 1).to(3.5).weight.dtype is torch.ones(1).to(3.5).dtype is torch.float64
    assert torch.ones(1).to(True).dtype is torch.bool
    with pytest.raises(TypeError):
        nn.Linear(1, 1).to(True)
