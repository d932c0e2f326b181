"""state_dict and load_state_dict: what is saved, what is taken back, what is complained about, and the hooks around."""

import gc
from collections import OrderedDict

import pytest

import hookgrad as torch
from hookgrad import nn


def net():
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


NAMES = [
    "0.weight",
    "0.bias",
    "1.weight",
    "1.bias",
    "1.running_mean",
    "1.running_var",
    "1.num_batches_tracked",
]


def test_names_order_and_metadata():
    state = net().state_dict()
    assert type(state) is OrderedDict
    assert list(state) == NAMES
    assert state._metadata == {"": {"version": 1}, "0": {"version": 1}, "1": {"version": 2}}
    assert list(net().state_dict(prefix="p.")) == ["p." + name for name in NAMES]


def test_values_are_detached_and_share_memory():
    m = nn.Linear(2, 2)
    state = m.state_dict()
    assert type(state["weight"]) is torch.Tensor
    assert not state["weight"].requires_grad
    assert state["weight"].data_ptr() == m.weight.data_ptr()
    assert m.state_dict(keep_vars=True)["weight"] is m.weight


def test_destination_is_added_to():
    state = {"other": 1}
    assert nn.Linear(1, 1).state_dict(destination=state, prefix="l.") is state
    assert list(state) == ["other", "l.weight", "l.bias"]


def test_positional_arguments_still_work():
    with pytest.warns(FutureWarning, match="use kwargs instead. Refer to https://pytorch.org/docs/main/.* for details"):
        state = nn.Linear(1, 1).state_dict({}, "p.", False)
    assert list(state) == ["p.weight", "p.bias"]


def test_extra_state_that_is_only_half_defined():
    for ask in (lambda m: m.get_extra_state(), lambda m: m.set_extra_state(1)):
        with pytest.raises(RuntimeError, match="that should never be called: Identity overrides .et_extra_state"):
            ask(nn.Identity())


def test_round_trip():
    a, b = net(), net()
    a(torch.randn(4, 2))
    result = b.load_state_dict(a.state_dict())
    assert repr(result) == str(result) == "<All keys matched successfully>"
    assert result.missing_keys == []
    missing, unexpected = result
    assert (missing, unexpected) == ([], [])
    for x, y in zip(a.state_dict().values(), b.state_dict().values()):
        assert torch.equal(x, y)
    assert b[1].num_batches_tracked.item() == 1


def test_values_are_copied_into_the_same_parameters():
    m = nn.Linear(1, 1)
    weight = m.weight
    m.load_state_dict({"weight": torch.tensor([[2.0]]), "bias": torch.tensor([3.0])})
    assert m.weight is weight
    assert weight.tolist() == [[2.0]]
    assert weight.requires_grad


def test_values_are_converted_to_the_dtype_of_the_module():
    m = nn.Linear(1, 1)
    m.load_state_dict({"weight": torch.tensor([[2]]), "bias": torch.tensor([3.0], dtype=torch.float64)})
    assert m.weight.dtype == m.bias.dtype == torch.float32
    assert m.weight.tolist() == [[2.0]]


def test_assign_takes_the_tensors_themselves():
    m = nn.Linear(1, 1)
    m.bias.requires_grad_(False)
    weight, bias = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1)
    m.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    assert isinstance(m.weight, nn.Parameter)
    assert m.weight.dtype == torch.float64
    assert m.weight.data_ptr() == weight.data_ptr()
    assert m.weight.requires_grad
    assert not m.bias.requires_grad


def test_a_vector_of_one_loads_into_a_scalar():
    m = nn.Module()
    m.s = nn.Parameter(torch.tensor(1.0))
    m.load_state_dict({"s": torch.tensor([5.0])})
    assert m.s.item() == 5.0


def test_missing_and_unexpected_keys():
    m = net()
    state = m.state_dict()
    del state["0.weight"]
    state["foo"] = torch.ones(1)
    state["0.bar"] = torch.ones(1)
    state["1.deep.er"] = torch.ones(1)
    with pytest.raises(RuntimeError) as caught:
        m.load_state_dict(state)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Sequential:\n"
        '\tMissing key(s) in state_dict: "0.weight". \n'
        '\tUnexpected key(s) in state_dict: "foo", "0.bar", "1.deep.er". '
    )
    result = m.load_state_dict(state, strict=False)
    assert repr(result) == (
        "_IncompatibleKeys(missing_keys=['0.weight'], unexpected_keys=['foo', '0.bar', '1.deep.er'])"
    )


def test_wrong_shapes_and_values():
    m = nn.Linear(2, 3)
    with pytest.raises(RuntimeError) as caught:
        m.load_state_dict({"weight": torch.ones(3, 3), "bias": 5}, strict=False)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Linear:\n"
        "\tsize mismatch for weight: copying a param with shape torch.Size([3, 3]) from checkpoint, "
        "the shape in current model is torch.Size([3, 2]).\n"
        '\tWhile copying the parameter named "bias", expected torch.Tensor or Tensor-like object from checkpoint '
        "but received <class 'int'>"
    )
    with pytest.raises(TypeError, match=r"Expected state_dict to be dict-like, got <class 'list'>\."):
        m.load_state_dict([1])


def test_the_state_given_is_not_changed():
    m = net()
    state = m.state_dict()
    m.register_load_state_dict_pre_hook(lambda module, state, *rest: state.clear())
    m.load_state_dict(state, strict=False)
    assert list(state) == NAMES


def test_old_batch_norm_without_count_loads():
    state = nn.BatchNorm1d(1).state_dict()
    del state["num_batches_tracked"]
    state._metadata[""]["version"] = 1
    assert repr(nn.BatchNorm1d(1).load_state_dict(state)) == "<All keys matched successfully>"


def test_extra_state():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.n = 5

        def get_extra_state(self):
            return {"n": self.n}

        def set_extra_state(self, state):
            self.n = state["n"]

    m = nn.Sequential(Counting())
    state = m.state_dict()
    assert dict(state) == {"0._extra_state": {"n": 5}}
    state["0._extra_state"] = {"n": 9}
    m.load_state_dict(state)
    assert m[0].n == 9
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "0._extra_state"'):
        m.load_state_dict({})
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "_extra_state"'):
        nn.Module().load_state_dict({"_extra_state": 1})


def test_hooks_and_their_arguments():
    log = []
    m = nn.Sequential(nn.Linear(1, 1))

    def post(module, state, prefix, metadata):
        log.append(("post", list(state), prefix, metadata))
        state["extra"] = 1

    handles = [
        m.register_state_dict_pre_hook(lambda module, prefix, keep_vars: log.append(("pre", prefix, keep_vars))),
        m[0].register_state_dict_post_hook(post),
        m[0].register_load_state_dict_pre_hook(
            lambda module, state, prefix, metadata, strict, missing, unexpected, errors: log.append(
                ("load pre", module is m[0], list(state), prefix, metadata, strict, missing, unexpected, errors)
            )
        ),
        m[0].register_load_state_dict_post_hook(
            lambda module, keys: log.append(("load post", module is m[0], keys.unexpected_keys))
        ),
    ]
    state = m.state_dict()
    m.load_state_dict(state, strict=False)
    assert log == [
        ("pre", "", False),
        ("post", ["0.weight", "0.bias"], "0.", {"version": 1}),
        ("load pre", True, ["0.weight", "0.bias"], "0.", {"version": 1}, True, [], ["extra"], []),
        ("load post", True, ["extra"]),
    ]
    for handle in handles:
        handle.remove()
    del log[:]
    assert list(m.state_dict()) == ["0.weight", "0.bias"]
    assert log == []


def test_load_hooks_may_repair_a_state():
    m = nn.Linear(1, 1)

    def rename(module, state, prefix, *rest):
        state[prefix + "weight"] = state.pop(prefix + "w")

    m.register_load_state_dict_pre_hook(rename)
    m.load_state_dict({"w": torch.tensor([[4.0]]), "bias": torch.zeros(1)})
    assert m.weight.item() == 4.0


def test_load_post_hooks_may_forgive():
    m = nn.Linear(1, 1)
    m.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    m.load_state_dict({})


def test_hooks_that_return_something():
    m = nn.Linear(1, 1)
    m._register_state_dict_hook(lambda *args: {"other": 1})
    assert m.state_dict() == {"other": 1}

    m = nn.Linear(1, 1)
    m.register_state_dict_post_hook(lambda *args: 3)
    with pytest.raises(RuntimeError, match="state_dict post-hook must return None"):
        m.state_dict()

    m = nn.Linear(1, 1)
    m.register_load_state_dict_post_hook(lambda *args: 3)
    with pytest.raises(AssertionError, match="are not expected to return new values"):
        m.load_state_dict(m.state_dict())


def test_the_load_hook_does_not_keep_its_module_alive():
    import weakref

    m = nn.Linear(1, 1)
    m.register_load_state_dict_pre_hook(lambda *args: None)
    watch = weakref.ref(m)
    del m
    assert watch() is None


class _OwnState(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))


class _SavesTwice(_OwnState):
    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "twice"] = self.weight * 2


class _Renames(_OwnState):
    def state_dict(self, *args, destination=None, prefix="", keep_vars=False):
        destination[prefix + "renamed"] = keep_vars
        return destination


class _Extra(_OwnState):
    _version = 3

    def get_extra_state(self):
        return "extra"


def test_in_a_tree_of_plain_modules_each_class_and_hook_with_a_say_is_asked():
    net = nn.Sequential(nn.Linear(1, 1), _SavesTwice(), nn.Sequential(_Renames(), _Extra()), _OwnState(), None)
    net[3].register_buffer("hidden", torch.ones(1), persistent=False)
    net[3].register_buffer("shown", torch.ones(1))
    net[3].register_state_dict_post_hook(lambda module, state, prefix, meta: state.pop(prefix + "weight") and None)
    state = net.state_dict(prefix="p.", keep_vars=True)
    names = "0.weight 0.bias 1.weight 1.twice 2.0.renamed 2.1.weight 2.1._extra_state 3.shown"
    assert list(state) == [f"p.{name}" for name in names.split()]
    assert state["p.2.0.renamed"] is True
    assert state["p.0.weight"] is net[0].weight
    assert list(state._metadata) == ["p", "p.0", "p.1", "p.2", "p.2.1", "p.3"]
    assert state._metadata["p.2.1"] == {"version": 3}


def test_a_state_goes_into_the_dict_given():
    into = {"before": 1}
    net = nn.Sequential(nn.Linear(1, 1))
    assert net.state_dict(destination=into) is into
    assert list(into) == ["before", "0.weight", "0.bias"]
    assert not into["0.weight"].requires_grad
    into["0.weight"].fill_(7)
    assert net[0].weight.item() == 7


def test_loading_leaves_no_cycles():
    m, state = nn.LSTM(2, 2), nn.LSTM(2, 2).state_dict()
    m.load_state_dict(state)
    gc.collect()
    m.load_state_dict(state)
    assert gc.collect() == 0


def test_a_hook_that_a_child_registers_runs_in_the_same_state_dict():
    model, seen = nn.Sequential(nn.Sequential(nn.Linear(1, 1))), []

    def register(module, state_dict, prefix, local_metadata):
        for at in (model, model[0]):
            at.register_state_dict_post_hook(lambda module, state_dict, *rest: seen.append((module is model, *rest)))

    handle = model[0][0].register_state_dict_post_hook(register)
    model.state_dict()
    assert seen == [(False, "0.", {"version": 1}), (True, "", {"version": 1})]
    handle.remove()
    model._state_dict_hooks.clear()
    model[0][0]._register_state_dict_hook(
        lambda *args: model._register_state_dict_hook(lambda *args: {"other": 1}) and None
    )
    assert model.state_dict() == {"other": 1}


def test_a_count_of_batches_without_values_is_loaded_as_zero():
    with torch.device("meta"):
        norm = nn.BatchNorm1d(2)
    norm.load_state_dict({}, strict=False, assign=True)
    assert norm.num_batches_tracked.device.type == "cpu" and norm.num_batches_tracked.item() == 0
