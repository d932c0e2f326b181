"""Parametrized tensors, and weight and spectral normalisation in both ways. Expected values and words are PyTorch's."""

import copy
import pickle

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.nn.utils import parametrizations
from hookgrad.nn.utils import parametrize as P


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT


class Exp(nn.Module):
    def forward(self, x):
        return x.exp()

    def right_inverse(self, x):
        return x.log()


class Product(nn.Module):
    def forward(self, a, b):
        return a * b

    def right_inverse(self, x):
        return x / 2, torch.full_like(x, 2)


def made(forward, right_inverse=None):
    members = {"forward": lambda self, x: forward(x)}
    if right_inverse:
        members["right_inverse"] = lambda self, x: right_inverse(x)
    return type("Made", (nn.Module,), members)()


def test_the_module_changes_its_class_and_names():
    layer = P.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    assert type(layer).__name__ == "ParametrizedLinear" and isinstance(layer, nn.Linear)
    assert list(layer.state_dict()) == ["bias", "parametrizations.weight.original"]
    assert layer.weight.equal(layer.weight.mT) and not isinstance(layer.weight, nn.Parameter)
    assert P.is_parametrized(layer) and P.is_parametrized(layer, "weight") and not P.is_parametrized(layer, "bias")
    assert P.type_before_parametrizations(layer) is nn.Linear
    assert repr(layer) == (
        "ParametrizedLinear(\n  in_features=3, out_features=3, bias=True\n  (parametrizations): ModuleDict(\n"
        "    (weight): ParametrizationList(\n      (0): Symmetric()\n    )\n  )\n)"
    )


def test_assignment_goes_through_the_right_inverse():
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(2.0)
    original = layer.weight
    P.register_parametrization(layer, "weight", Exp())
    assert layer.parametrizations.weight.original is original  # an optimizer that has it keeps it
    assert layer.weight.item() == pytest.approx(2.0)
    layer.weight = torch.full((1, 1), 3.0)
    assert original.item() == pytest.approx(1.0986, abs=1e-4)
    layer.weight.sum().backward()
    assert original.grad.item() == pytest.approx(3.0)


def test_several_parametrizations_follow_one_another():
    layer = nn.Linear(2, 2)
    P.register_parametrization(layer, "weight", Symmetric())
    P.register_parametrization(layer, "weight", made(lambda x: x * 2))
    original = layer.parametrizations.weight.original
    assert layer.weight.equal((original.triu() + original.triu(1).mT) * 2)


def test_several_originals():
    layer = P.register_parametrization(nn.Linear(2, 2), "weight", Product())
    assert list(layer.state_dict()) == [
        "bias", "parametrizations.weight.original0", "parametrizations.weight.original1"
    ]  # fmt: skip
    layer.weight = torch.ones(2, 2)
    assert layer.parametrizations.weight.original0.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    with pytest.raises(ValueError, match="Cannot leave unparametrized"):
        P.remove_parametrizations(layer, "weight", leave_parametrized=False)
    P.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and layer.weight.tolist() == [[1, 1], [1, 1]]


def test_cached():
    layer = P.register_parametrization(nn.Linear(2, 2), "weight", Symmetric())
    assert layer.weight is not layer.weight
    with P.cached():
        first = layer.weight
        assert layer.weight is first
    assert layer.weight is not first


@pytest.mark.parametrize("leave, expected", [(True, [[1, 2], [2, 4]]), (False, [[1, 2], [3, 4]])])
def test_removal(leave, expected):
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    weight = layer.weight
    P.register_parametrization(layer, "weight", Symmetric())
    P.remove_parametrizations(layer, "weight", leave_parametrized=leave)
    assert layer.weight is weight and weight.tolist() == expected
    assert type(layer) is nn.Linear and not hasattr(layer, "parametrizations")
    with pytest.raises(ValueError, match="does not have a parametrization on weight"):
        P.remove_parametrizations(layer, "weight")


@pytest.mark.parametrize(
    "module, words",
    [
        (made(lambda x: x.double()), "may not change the dtype of the tensor"),
        (made(lambda x: x[0]), "may not change the shape of the tensor"),
        (made(lambda x: 3), "A parametrization must return a tensor. Got int."),
        (made(lambda x: x, lambda x: 3), "right_inverse"),
        (made(lambda x: x, lambda x: x.double()), "dtype"),
    ],
)
def test_wrong_parametrizations_leave_the_module_as_it_was(module, words):
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=words):
        P.register_parametrization(layer, "weight", module)
    assert type(layer) is nn.Linear and isinstance(layer.weight, nn.Parameter)
    P.register_parametrization(layer, "weight", Symmetric())
    with pytest.raises(ValueError, match=words):
        P.register_parametrization(layer, "weight", module)
    assert len(layer.parametrizations.weight) == 1


def test_errors_of_names_and_assignments():
    with pytest.raises(
        ValueError, match="does not have a parameter, a buffer, or a parametrized element with name 'w'"
    ):
        P.register_parametrization(nn.Linear(2, 2), "w", Symmetric())
    layer = P.register_parametrization(nn.Linear(2, 2), "weight", Symmetric())
    with pytest.raises(RuntimeError, match="parametrization Symmetric does not implement right_inverse."):
        layer.weight = torch.ones(2, 2)


def test_copies_and_pickles():
    layer = P.register_parametrization(nn.Linear(2, 2), "weight", Symmetric())
    twin = copy.deepcopy(layer)
    assert twin.weight.equal(layer.weight)
    assert twin.parametrizations.weight.original is not layer.parametrizations.weight.original
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(layer)


def test_transfer():
    source = P.register_parametrization(nn.Linear(2, 2), "weight", Product())
    target = P.transfer_parametrizations_and_params(source, nn.Linear(2, 2))
    assert target.weight.equal(source.weight)
    assert target.parametrizations.weight.original0 is source.parametrizations.weight.original0
    plain = nn.Linear(2, 2)
    assert P.transfer_parametrizations_and_params(nn.Linear(2, 2), plain) is plain and not P.is_parametrized(plain)


def test_buffers_too():
    module = nn.Module()
    module.register_buffer("b", torch.ones(2))
    P.register_parametrization(module, "b", Exp())
    assert torch.allclose(module.b, torch.ones(2)) and list(module.buffers())[0].tolist() == [0, 0]


# ---- Those ready for use ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 5)])
@pytest.mark.parametrize("map", [None, "matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("trivial", [True, False])
def test_orthogonal(shape, map, trivial):
    torch.manual_seed(0)
    layer = parametrizations.orthogonal(nn.Linear(*shape), orthogonal_map=map, use_trivialization=trivial)
    Q = layer.weight if shape[0] <= shape[1] else layer.weight.mT
    n = min(shape)
    gram = Q @ Q.mT if Q.shape[0] == n else Q.mT @ Q
    assert torch.allclose(gram, torch.eye(n), atol=1e-5)
    layer(torch.ones(1, shape[0])).sum().backward()
    assert layer.parametrizations.weight.original.grad.isfinite().all()


def test_orthogonal_has_pytorchs_values():
    torch.manual_seed(0)
    layer = parametrizations.orthogonal(nn.Linear(3, 3))
    expected = [[-0.0102, 0.5581, -0.8297], [-0.9996, -0.0280, -0.0066], [-0.0269, 0.8293, 0.5582]]
    assert torch.allclose(layer.weight, torch.tensor(expected), atol=1e-4)


def test_orthogonal_takes_orthogonal_values():
    layer = parametrizations.orthogonal(nn.Linear(2, 2))
    layer.weight = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert torch.allclose(layer.weight, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    layer = parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="cayley", use_trivialization=False)
    with pytest.raises(NotImplementedError, match="It is not possible to assign to the matrix exponential"):
        layer.weight = torch.eye(2)
    with pytest.raises(ValueError, match='has to be one of "matrix_exp", "cayley", "householder". Got: bad'):
        parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="bad")
    with pytest.raises(ValueError, match="Expected a matrix or batch of matrices"):
        parametrizations.orthogonal(nn.Linear(2, 2), "bias")


@pytest.mark.parametrize("dim, shape", [(0, (3, 1, 1)), (1, (1, 2, 1)), (None, ())])
def test_weight_norm(dim, shape):
    layer = nn.Conv1d(2, 3, 1)
    weight = layer.weight.detach().clone()
    parametrizations.weight_norm(layer, dim=dim)
    g, v = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    assert tuple(g.shape) == shape and v.equal(weight)
    assert torch.allclose(layer.weight, weight)
    with torch.no_grad():
        g *= 2
    assert torch.allclose(layer.weight, 2 * weight)


def test_weight_norm_reads_states_of_the_older_one():
    with pytest.warns(FutureWarning, match="is deprecated in favor of"):
        old = nn.utils.weight_norm(nn.Linear(2, 2))
    new = parametrizations.weight_norm(nn.Linear(2, 2))
    new.load_state_dict(old.state_dict())
    assert new.weight.equal(old.weight)


def test_the_older_weight_norm_warns_of_its_own_line():
    with pytest.warns(FutureWarning, match="weight_norm` is deprecated in favor of") as seen:
        nn.utils.weight_norm(nn.Linear(1, 1))
    assert seen[0].filename.endswith("weight_norm.py")  # so once in a process, not once for each caller


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_older_weight_norm_is_a_hook():
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0]]))
    nn.utils.weight_norm(layer)
    assert list(layer.state_dict()) == ["bias", "weight_g", "weight_v"] and layer.weight_g.item() == 5
    with torch.no_grad():
        layer.weight_g.fill_(10.0)
    layer(torch.ones(1, 2))
    assert layer.weight.tolist() == [[6, 8]]
    with pytest.raises(RuntimeError, match="Cannot register two weight_norm hooks on the same parameter weight"):
        nn.utils.weight_norm(layer)
    nn.utils.remove_weight_norm(layer)
    assert isinstance(layer.weight, nn.Parameter) and not layer._forward_pre_hooks
    with pytest.raises(ValueError, match="weight_norm of 'weight' not found in Linear"):
        nn.utils.remove_weight_norm(layer)


def test_spectral_norm():
    torch.manual_seed(0)
    layer = parametrizations.spectral_norm(nn.Linear(4, 3))
    for _ in range(30):
        layer(torch.ones(1, 4))
    layer.eval()
    W = layer.weight.detach()
    v = torch.ones(4)
    for _ in range(100):
        v = torch.nn.functional.normalize(W.mT @ (W @ v), dim=0)
    assert (W @ v).norm().item() == pytest.approx(1.0, abs=1e-3)
    assert "parametrizations.weight.0._u" in layer.state_dict()
    with pytest.raises(ValueError, match="Expected n_power_iterations to be positive"):
        parametrizations.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)


def test_the_older_spectral_norm_is_a_hook():
    torch.manual_seed(0)
    layer = nn.utils.spectral_norm(nn.Linear(4, 3))
    layer(torch.ones(1, 4))
    state = layer.state_dict()
    assert list(state) == ["bias", "weight_orig", "weight_u", "weight_v"]
    assert state._metadata[""] == {"version": 1, "spectral_norm": {"weight.version": 1}}
    twin = nn.utils.spectral_norm(nn.Linear(4, 3))
    twin.load_state_dict(state)
    twin.eval(), layer.eval()
    assert torch.allclose(twin(torch.ones(1, 4)), layer(torch.ones(1, 4)))
    nn.utils.remove_spectral_norm(twin)
    assert isinstance(twin.weight, nn.Parameter) and not twin._state_dict_hooks and not twin._load_state_dict_pre_hooks
    with pytest.raises(ValueError, match="spectral_norm of 'weight' not found"):
        nn.utils.remove_spectral_norm(twin)


def test_a_parametrized_tensor_counts_as_overwritten():
    m = nn.Linear(2, 2)
    y = m(torch.ones(1, 2, requires_grad=True))
    before = m.weight._version
    P.register_parametrization(m, "weight", Exp(), unsafe=True)
    original = m.parametrizations.weight.original
    assert original._version == before + 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    m.weight = torch.ones(2, 2)
    assert original._version == before + 2
    P.remove_parametrizations(m, "weight")
    assert m.weight is original and original._version == before + 3
