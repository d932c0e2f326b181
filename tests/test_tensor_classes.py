"""What tensors are as objects: copies and pickles of parameters of a class, the old types of tensors, tensors made of tensors."""

import copy
import pickle

import pytest

import hookgrad as torch
from hookgrad import nn


class Kept(torch.Tensor):
    pass


class Own(nn.Parameter):
    def __new__(cls, data, tag="own"):
        made = super().__new__(cls, data)
        made.tag = tag
        return made


@pytest.mark.parametrize("again", [copy.copy, lambda p: pickle.loads(pickle.dumps(p))])
def test_a_parameter_of_a_class_is_copied_and_pickled_as_a_parameter(again):
    p = again(Own(torch.ones(2), "a"))
    assert type(p) is nn.Parameter and p.tag == "a" and p.requires_grad and p.tolist() == [1.0, 1.0]
    assert type(copy.deepcopy(Own(torch.ones(2)))) is Own


def test_a_parameter_without_a_shape_can_be_copied():
    for made in (nn.UninitializedParameter(), nn.parameter.UninitializedBuffer()):
        again = copy.copy(made)
        assert type(again) is type(made) and again is not made and again.requires_grad == made.requires_grad


def test_a_class_that_says_how_it_is_pickled_says_how_it_is_copied():
    class Said(torch.Tensor):
        def __reduce_ex__(self, protocol):
            return str, ("said",)

    assert copy.copy(torch.ones(2).as_subclass(Said)) == "said"


def test_parameters_and_buffers_have_types_of_their_own():
    assert type(nn.Parameter).__name__ == "_ParameterMeta" and type(nn.Buffer).__name__ == "_BufferMeta"
    t = torch.ones(2)
    t._is_param = True
    assert isinstance(t, nn.Parameter) and not isinstance(t, nn.Buffer)


def test_the_old_types_of_tensors_are_classes():
    assert isinstance(torch.FloatTensor, type) and not issubclass(torch.FloatTensor, torch.Tensor)
    assert torch.FloatTensor.dtype is torch.float32 and torch.FloatTensor.is_cuda is False
    assert isinstance(torch.ones(1), torch.FloatTensor) and not isinstance(torch.ones(1), torch.LongTensor)
    assert torch.FloatTensor([1, 2]).tolist() == [1.0, 2.0] and torch.LongTensor(2, 3).shape == (2, 3)
    assert (
        repr(torch.FloatTensor) == "<class 'torch.FloatTensor'>"
        and torch.ones(1).type(torch.IntTensor).dtype is torch.int32
    )
    with pytest.raises(TypeError, match="not an acceptable base type"):

        class Below(torch.FloatTensor):
            pass


@pytest.mark.parametrize("make", [torch.Tensor, Kept, lambda t: t.as_subclass(Kept)])
def test_a_tensor_of_a_tensor_is_a_view_in_its_graph(make):
    x = torch.ones(2, requires_grad=True)
    y = make(x)
    assert y._is_view() and y._base is x and not y.is_leaf and type(y.grad_fn).__name__ == "AliasBackward0"
    (y * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    c = torch.zeros(2)
    make(c)[0] = 5
    assert c.tolist() == [5.0, 0.0]


@pytest.mark.parametrize(
    "given, words", [(3, r"cls must be a type \(got int\)"), (int, "does not inherit from Tensor")]
)
def test_a_class_that_is_none_of_tensors_is_refused(given, words):
    for make in (torch.ones(2).as_subclass, lambda cls: torch.Tensor._make_subclass(cls, torch.ones(2))):
        with pytest.raises(TypeError, match=words):
            make(given)
