"""Where hookgrad goes another way than PyTorch in small things, as docs/differences.md says."""

import copy
from collections import OrderedDict

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.nn import functional as F


def test_a_removed_hook_is_called_as_it_was_registered():
    module, seen = nn.Identity(), []
    module.register_forward_pre_hook(lambda module, args: later.remove())
    later = module.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True)
    module(torch.ones(1))
    assert seen == [{}]


def test_the_exception_of_forward_arrives_whatever_hooks_register():
    module = nn.Identity()

    def fails(x):
        raise KeyError("original")

    def adds(*args):
        module.register_forward_hook(lambda *args: None, always_call=True)

    module.forward = fails
    for _ in range(2):  # PyTorch finds out when it goes on to the second
        module.register_forward_hook(adds, always_call=True)
    with pytest.raises(KeyError, match="original"):
        module(torch.ones(1))
    assert len(module._forward_hooks) == 4


def test_a_hook_put_into_the_table_is_a_full_backward_hook():
    module, seen = nn.Linear(1, 1), []
    module._backward_hooks[7] = lambda module, grad_input, grad_output: seen.append(len(grad_output))
    module(torch.ones(1, 1, requires_grad=True)).sum().backward()
    assert seen == [1]


def test_a_hook_in_a_table_given_to_a_tensor_is_called():
    x, seen = torch.ones(2, requires_grad=True), []
    y = x * 2
    y._backward_hooks = OrderedDict({1: lambda grad: seen.append(grad.tolist())})
    y.sum().backward()
    assert seen == [[1.0, 1.0]]


def test_a_table_of_hooks_takes_over_what_a_mapping_holds():
    module, seen, mapping = nn.Identity(), [], OrderedDict()
    assert isinstance(module._forward_hooks, OrderedDict) and type(module._forward_hooks) is not OrderedDict
    mapping["a"] = lambda *args: seen.append("a")
    module._forward_hooks = mapping
    mapping["b"] = lambda *args: seen.append("b")
    module(torch.ones(1))
    assert seen == ["a"]


@pytest.mark.parametrize("kind", ["register_full_backward_pre_hook", "register_full_backward_hook"])
def test_tangents_and_transforms_pass_full_backward_hooks(kind):
    module, seen, x = nn.Tanh(), [], torch.ones(2)
    getattr(module, kind)(lambda module, *gradients: seen.append(gradients[0][0].tolist()))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.full((2,), 3.0))
        tangent = torch.autograd.forward_ad.unpack_dual(module(dual)).tangent
    assert torch.allclose(tangent, 3 * (1 - x.tanh() ** 2)) and not seen
    slope = torch.func.grad(lambda x: module(x).sum())(x)
    assert torch.allclose(slope, 1 - x.tanh() ** 2) and len(seen) == 1


def test_an_output_of_a_type_of_return_types_passes_full_backward_hooks():
    class Max(nn.Module):
        def forward(self, x):
            return x.max(0)

    module, seen, x = Max(), [], torch.tensor([1.0, 2.0], requires_grad=True)
    module.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append(grad_input[0].tolist()))
    out = module(x)
    out.values.backward()
    assert type(out) is torch.return_types.max and seen == [[0.0, 1.0]] and out.indices.item() == 1


def test_arguments_given_as_a_list_pass_full_backward_hooks():
    module, seen, x = nn.Identity(), [], torch.tensor([2.0], requires_grad=True)
    module.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append(grad_input[0].tolist()))
    module.register_forward_pre_hook(lambda module, args, kwargs: (list(args), kwargs), with_kwargs=True)
    out = module(x)
    out.backward()
    assert out.tolist() == [2] and seen == [[1]] and x.grad.tolist() == [1]


def test_the_table_of_hooks_goes_over_with_the_hooks_of_a_swapped_tensor():
    seen, x, y = [], torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    x.register_hook(lambda grad: seen.append("first"))
    torch.utils.swap_tensors(x, y)
    assert x._backward_hooks is None and len(y._backward_hooks) == 1
    x.register_hook(lambda grad: seen.append("second"))
    (x * 2).backward()
    assert seen == ["second"]
    (y * 2).backward()
    assert seen == ["second", "first"]


def test_training_is_a_truth():
    module = nn.Identity()
    module.training = 3
    assert module.training is True


def test_a_refused_key_leaves_no_trace():
    parameters = nn.ParameterDict()
    with pytest.raises(TypeError, match="cannot be used as a key"):
        parameters[3] = torch.ones(1)
    assert list(parameters) == [] and repr(parameters) == "ParameterDict()"


def test_a_subclass_is_copied():
    class Marked(torch.Tensor):
        pass

    x = torch.ones(2).as_subclass(Marked)
    y = copy.deepcopy(x)
    assert type(y) is Marked and y.tolist() == [1.0, 1.0] and y.data_ptr() != x.data_ptr()


def test_a_lazy_layer_with_buffers_is_copied():
    copied = copy.deepcopy(nn.LazyBatchNorm1d())
    copied(torch.rand(2, 3))
    assert type(copied) is nn.BatchNorm1d and copied.running_mean.shape == (3,)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_spectral_norm_is_removed_with_all_its_hooks():
    module = nn.utils.remove_spectral_norm(nn.utils.spectral_norm(nn.Linear(2, 2)))
    assert not module._forward_pre_hooks and not module._state_dict_hooks and not module._load_state_dict_pre_hooks


def test_a_module_under_two_names_has_its_parameter_back_after_a_functional_call():
    model = nn.Sequential(nn.Linear(2, 2))
    model.again = model[0]
    weight = model[0].weight
    torch.func.functional_call(model, {"0.weight": torch.zeros(2, 2)}, torch.ones(1, 2))
    assert model[0].weight is weight


def test_an_op_of_ones_own_has_gradients_under_torch_func():
    @torch.library.custom_op("differences::square", mutates_args=())
    def square(x: torch.Tensor) -> torch.Tensor:
        return x.square()

    def keep(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    square.register_autograd(lambda ctx, grad: grad * 2 * ctx.saved_tensors[0], setup_context=keep)
    assert torch.func.grad(lambda x: square(x).sum())(torch.tensor([3.0])).tolist() == [6]


def test_an_index_far_out_is_refused():
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        torch.take_along_dim(torch.arange(6).view(2, 3), torch.tensor([[7], [0]]), 1)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.hardsigmoid(x * x).square(),
        lambda x: torch.cdist(x, torch.full((2, 2), 4.0).double()).square(),
        lambda x: torch.cdist(x, torch.full((2, 2), 4.0).double(), p=3.0).square(),
        lambda x: F.pdist(x).square(),
        lambda x: F.scaled_dot_product_attention(*[x.view(1, 1, 3, 2)] * 3).square(),
        lambda x: torch._weight_norm(x, x[:, :1].square(), 0).square(),
    ],
    ids=["hardsigmoid", "cdist", "cdist_of_order_3", "pdist", "attention", "weight_norm"],
)
def test_second_derivatives_that_are_not_refused(function):
    x = torch.tensor([[0.3, 1.1], [1.3, 0.4], [0.7, 0.9]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize("name", ["scatter", "scatter_add"])
def test_a_source_larger_than_the_index_has_zeros_where_it_is_not_read(name):
    source = torch.ones(4, 2, requires_grad=True)
    getattr(torch.zeros(3, 2), name)(0, torch.tensor([[0, 1]]), source).sum().backward()
    assert source.grad.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]


def test_flags_are_shown_of_hooks_that_are_there_and_kept_for_those_that_come_back():
    module, seen = nn.ReLU(), []
    handle = module.register_forward_hook(lambda *args: seen.append(len(args)), with_kwargs=True)
    kept = module._forward_hooks.copy()
    module._forward_hooks.clear()
    assert len(module._forward_hooks_with_kwargs) == 0
    module._forward_hooks = kept
    module(torch.ones(1))
    assert seen == [4] and list(module._forward_hooks_with_kwargs) == [handle.id]


def test_full_backward_hooks_let_classes_made_of_tuple_pass():
    class Plain(tuple):
        pass

    class Gives(nn.Module):
        def forward(self, x):
            return Plain((x * 2, x * 3))

    module, seen = Gives(), []
    module.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append(len(grad_output)))
    out = module(torch.ones(1, requires_grad=True))
    (out[0] * out[1]).backward()
    assert type(out) is Plain and seen == [2]


def test_a_tensors_hooks_are_called_in_the_order_of_their_table():
    x, seen = torch.ones(1, requires_grad=True), []
    first = x.register_hook(lambda grad: seen.append("first"))
    x.register_hook(lambda grad: seen.append("second"))
    x._backward_hooks.move_to_end(first.id)
    (x * 2).backward()
    assert seen == ["second", "first"]


def test_a_batch_norm_adds_up_a_gradient_that_lies_otherwise():
    bn = nn.BatchNorm2d(2).eval()
    w = torch.arange(8.0).view(1, 4, 2)
    (bn(torch.ones(1, 2, 2, 2)).flatten(2).transpose(1, 2) * w).sum().backward()
    assert bn.bias.grad.tolist() == w.sum((0, 1)).tolist() == [12.0, 16.0]
