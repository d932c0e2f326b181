"""Pruning by forward pre-hooks. Expected values and words are PyTorch's."""

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.nn.utils import prune


def layer(*rows):
    rows = rows or ((3.0, -4.0, 1.0, 2.0),)
    m = nn.Linear(len(rows[0]), len(rows))
    with torch.no_grad():
        m.weight.copy_(torch.tensor(rows))
    return m


def test_least_absolute_values_go():
    m = prune.l1_unstructured(layer(), "weight", 2)
    assert m.weight.tolist() == [[3, -4, 0, 0]] and m.weight_mask.tolist() == [[1, 1, 0, 0]]
    assert list(m.state_dict()) == ["bias", "weight_orig", "weight_mask"]
    assert prune.is_pruned(m) and prune.is_pruned(nn.Sequential(m)) and not prune.is_pruned(layer())


def test_the_hook_multiplies_before_each_forward():
    m = prune.l1_unstructured(layer(), "weight", 0.5)
    with torch.no_grad():
        m.weight_orig.fill_(5.0)
    m(torch.ones(1, 4)).sum().backward()
    assert m.weight.tolist() == [[5, 5, 0, 0]]
    assert m.weight_orig.grad.tolist() == [[1, 1, 0, 0]]


def test_pruning_twice_combines():
    m = prune.l1_unstructured(prune.l1_unstructured(layer(), "weight", 1), "weight", 1)
    (container,) = m._forward_pre_hooks.values()
    assert isinstance(container, prune.PruningContainer) and len(container) == 2
    assert [type(method).__name__ for method in container] == ["L1Unstructured"] * 2
    assert m.weight_mask.tolist() == [[1, 1, 0, 0]]


def test_structured():
    m = prune.ln_structured(layer((1.0, 2.0), (0.5, 0.5), (3.0, 0.0)), "weight", 1, n=2, dim=0)
    assert m.weight_mask.tolist() == [[1, 1], [0, 0], [1, 1]]
    m = prune.ln_structured(m, "weight", 1, n=2, dim=0)
    assert m.weight_mask.tolist() == [[0, 0], [0, 0], [1, 1]]
    m = prune.l1_unstructured(m, "weight", 1)
    assert m.weight_mask.tolist() == [[0, 0], [0, 0], [1, 0]]


def test_random_is_pytorchs():
    torch.manual_seed(0)
    m = prune.random_unstructured(nn.Linear(4, 3), "weight", 0.5)
    assert int(m.weight_mask.sum()) == 6
    torch.manual_seed(0)
    m = prune.random_structured(nn.Linear(4, 3), "weight", 0.5, dim=1)
    assert m.weight_mask.sum(0).tolist().count(0) == 2


def test_custom_mask_identity_and_removal():
    m = prune.custom_from_mask(layer(), "weight", torch.tensor([[0, 1, 1, 0]]))
    assert m.weight.tolist() == [[0, -4, 1, 0]]
    parameter = m.weight_orig
    prune.remove(m, "weight")
    assert m.weight is parameter and m.weight.tolist() == [[0, -4, 1, 0]]
    assert list(m.state_dict()) == ["bias", "weight"] and not m._forward_pre_hooks
    m = prune.identity(layer(), "weight")
    assert m.weight_mask.tolist() == [[1, 1, 1, 1]]


def test_importance_scores():
    m = prune.l1_unstructured(layer(), "weight", 1, importance_scores=torch.tensor([[0.0, 1.0, 2.0, 3.0]]))
    assert m.weight.tolist() == [[0, -4, 1, 2]]
    with pytest.raises(AssertionError, match="importance_scores should have the same shape as parameter weight"):
        prune.l1_unstructured(layer(), "weight", 1, importance_scores=torch.ones(3))


def test_global():
    model = nn.Sequential(layer(), layer((10.0, 0.1)))
    prune.global_unstructured([(model[0], "weight"), (model[1], "weight")], prune.L1Unstructured, amount=2)
    assert model[0].weight.tolist() == [[3, -4, 0, 2]] and model[1].weight.tolist() == [[10, 0]]
    with pytest.raises(TypeError, match='Only "unstructured" PRUNING_TYPE supported'):
        prune.global_unstructured([(layer(), "weight")], prune.LnStructured, amount=1, n=2)
    with pytest.raises(TypeError, match="parameters is not an Iterable"):
        prune.global_unstructured(3, prune.L1Unstructured, amount=1)


def test_without_a_module():
    assert prune.L1Unstructured(2).prune(torch.arange(5.0)).tolist() == [0, 0, 2, 3, 4]


@pytest.mark.parametrize(
    "amount, error, words",
    [
        (-3, ValueError, "amount=-3 should either be a float in the range"),
        (1.5, ValueError, "amount=1.5 should either be a float in the range"),
        ("a", TypeError, "Invalid type for amount: a. Must be int or float."),
        (30, ValueError, "amount=30 should be smaller than the number of parameters to prune=4"),
    ],
)
def test_wrong_amounts_leave_the_module_as_it_was(amount, error, words):
    m = layer()
    with pytest.raises(error, match=words):
        prune.l1_unstructured(m, "weight", amount)
    assert list(m.state_dict()) == ["weight", "bias"] or list(m.state_dict()) == ["bias", "weight"]
    assert not m._forward_pre_hooks


def test_errors():
    with pytest.raises(ValueError, match="Structured pruning can only be applied to multidimensional tensors"):
        prune.ln_structured(layer(), "bias", 1, n=2, dim=0)
    with pytest.raises(IndexError, match="Invalid index 5 for tensor of size"):
        prune.ln_structured(layer(), "weight", 1, n=2, dim=5)
    with pytest.raises(ValueError, match="Parameter 'weight' of module Linear.* has to be pruned before"):
        prune.remove(layer(), "weight")
    with pytest.raises(TypeError, match="is not a BasePruningMethod subclass"):
        prune.PruningContainer().add_pruning_method(3)


def test_a_method_of_ones_own():
    class EveryOther(prune.BasePruningMethod):
        PRUNING_TYPE = "unstructured"

        def compute_mask(self, t, default_mask):
            mask = default_mask.clone()
            mask.view(-1)[::2] = 0
            return mask

    m = layer()
    EveryOther.apply(m, "weight")
    assert m.weight.tolist() == [[0, -4, 0, 2]]
