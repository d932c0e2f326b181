"""Private names of PyTorch's autograd that programs lean on. Expected values are PyTorch's."""

import copy
import importlib
import inspect
import sys
import warnings
from textwrap import dedent

import pytest

import hookgrad as torch
from hookgrad.autograd._functions import Resize
from hookgrad.nn.modules import module as modules


def leaf(*values):
    return torch.tensor(values, requires_grad=True)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


def test_the_class_of_a_node_has_no_base_but_object_and_is_a_node_to_isinstance():
    add = (leaf(1.0) + 1).grad_fn
    assert type(add).__mro__ == (type(add), object)
    accumulate = add.next_functions[0][0]
    assert type(accumulate).__mro__ == (type(accumulate), object)
    for node in (add, accumulate, Double.apply(leaf(1.0)).grad_fn):
        assert isinstance(node, torch.autograd.graph.Node) and issubclass(type(node), torch.autograd.graph.Node)
    assert not isinstance(leaf(1.0), torch.autograd.graph.Node)
    assert not issubclass(Double, torch.autograd.graph.Node)


def test_the_class_of_a_functions_nodes_has_pytorchs_bases():
    names = [c.__name__ for c in type(Double.apply(leaf(1.0)).grad_fn).__mro__]
    assert names == ["DoubleBackward", "BackwardCFunction", "_FunctionBase", "FunctionCtx", "_HookMixin", "object"]


def test_whether_views_are_replayed_is_remembered():
    assert not torch.autograd.is_view_replay_enabled()
    with torch.autograd._force_original_view_tracking(True):
        assert torch._C._is_view_replay_enabled()
    torch._C._set_view_replay_enabled(True)
    assert torch.autograd.is_view_replay_enabled()
    torch._C._set_view_replay_enabled(False)
    assert not torch.autograd.is_view_replay_enabled()


def test_a_view_is_made_again_of_another_base():
    view = torch.arange(6.0).view(2, 3).t()[1:]
    new = torch.arange(6.0) * 10
    again = view._view_func(new)
    assert again.tolist() == [[10.0, 40.0], [20.0, 50.0]] and again._base is new
    assert view._view_func_unsafe(new).equal(again)
    assert view._view_func(torch.arange(7.0)) is None
    assert new._view_func(new) is None


def test_whether_the_torch_function_of_classes_is_asked_can_be_read():
    assert torch._C._is_torch_function_enabled()
    with torch._C.DisableTorchFunctionSubclass():
        assert not torch._C._is_torch_function_enabled()


def test_has_any_global_hook_gives_a_table():
    assert modules._has_any_global_hook() == {}
    handle = modules.register_module_forward_hook(lambda module, args, output: None)
    assert len(modules._has_any_global_hook()) == 1
    handle.remove()
    assert not modules._has_any_global_hook()


def test_resize_is_a_function():
    x = leaf(1.0, 2.0)
    y = Resize.apply(x, (2, 1))
    assert y.shape == (2, 1) and y.grad_fn.name() == "ResizeBackward"
    (y * torch.tensor([[2.0], [3.0]])).sum().backward()
    assert x.grad.tolist() == [2.0, 3.0]
    with pytest.raises(RuntimeError, match=r"requested resize to 3 \(3 elements in total\)"):
        Resize.apply(x, (3,))


def test_functionalize_gives_the_function_and_checks_what_is_to_be_removed():
    assert torch.func.functionalize(lambda x: x.clone().add_(1))(torch.zeros(2)).tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="received invalid argument for remove=foo"):
        torch.func.functionalize(lambda x: x, remove="foo")


def test_a_copied_tensor_has_an_empty_table_of_hooks_of_its_own():
    for x in (torch.ones(2), torch.nn.Parameter(torch.ones(2))):
        made = copy.copy(x)
        assert made._backward_hooks == {} and made._backward_hooks is not x._backward_hooks


def test_the_norms_of_weight_norm_have_no_gradient_for_a_hook_to_see():
    seen = []
    w = torch._weight_norm(torch.ones(3, 2, requires_grad=True), torch.ones(3, 1, requires_grad=True), 0)
    w.grad_fn.register_hook(lambda grad_inputs, grad_outputs: seen.append((len(grad_inputs), len(grad_outputs))))
    w.sum().backward()
    assert seen == [(2, 1)]


def test_the_class_of_tensors_class_and_the_count_of_uses():
    assert torch._C._TensorMeta is type(torch.Tensor)
    assert torch._C._log_api_usage_once("a program") is None


def test_the_gradients_a_backward_starts_from_are_ones_for_scalars():
    x = leaf(1.0, 2.0)
    given = torch.ones(2)
    made = torch.autograd._make_grads((x.sum(), x, given.sum()), (None, given, None), is_grads_batched=False)
    assert made[0].item() == 1.0 and made[1] is given and made[2] is None
    edge = torch.autograd.graph.get_gradient_edge(x.sum())
    assert torch.autograd._make_grads((edge,), (None,), False)[0].tolist() == 1.0
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        torch.autograd._make_grads((x,), (None,), False)
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        torch.autograd._make_grads((x,), (torch.ones(3),), False)
    with pytest.raises(TypeError, match="gradients can be either Tensors or None, but got int"):
        torch.autograd._make_grads((x,), (3,), False)
    assert torch.autograd._tensor_or_tensors_to_tuple(None, 2) == (None, None)
    assert torch.autograd._tensor_or_tensors_to_tuple(given, 1) == (given,)


@pytest.mark.parametrize("budget, error", [("1", TypeError), (True, TypeError), (2.0, ValueError), (0.5, RuntimeError)])
def test_a_budget_of_what_a_region_saves_is_for_a_compiler(budget, error):
    with pytest.raises(error, match="torch.autograd.graph.region_activation_memory_budget"):
        torch.autograd.graph.region_activation_memory_budget(budget)


def test_what_is_a_function_in_python_in_pytorch_has_a_signature():
    F = torch.nn.functional
    for function, expected in (
        (F.relu, "(input, inplace=False)"),
        (F.celu, "(input, alpha=1.0, inplace=False)"),
        (F.softmax, "(input, dim=None, _stacklevel=3, dtype=None)"),
        (torch.ones(1).register_hook, "(hook)"),
        (torch.ones(1).backward, "(gradient=None, retain_graph=None, create_graph=False, inputs=None)"),
        (torch.utils.hooks.RemovableHandle, "(hooks_dict, *, extra_dict=None)"),
        (torch.utils.hooks.RemovableHandle.remove, "(self, /)"),
        (torch.nn.Module.forward, "(self, /, *input)"),
        (torch.no_grad, "()"),
    ):
        assert str(inspect.signature(function)) == expected
    try:
        in_c = str(inspect.signature(torch.add))
    except ValueError:
        in_c = None
    assert in_c == (
        "(*args, **kwargs)" if sys.version_info >= (3, 13) else None
    )  # inspect has one for any object by then


def test_autograd_lists_what_comes_late():
    assert {"anomaly_mode", "forward_ad", "functional", "gradcheck", "gradgradcheck", "profiler"} <= set(
        dir(torch.autograd)
    )
    assert {"ASGD", "NAdam", "Adamax", "swa_utils"} <= set(dir(torch.optim))


def test_what_libraries_ask_and_hardly_use():
    assert torch.torch is torch
    assert not torch._C._are_functorch_transforms_active()
    stubs = importlib.import_module("hookgrad.ao.quantization")
    assert repr(stubs.DeQuantStub()) == "DeQuantStub()" and stubs.QuantStub()(3) == 3
    with pytest.raises(OSError, match=r"no_such\.so"):
        torch.ops.load_library("no_such.so")
    key = torch._C.DispatchKey
    assert torch._C.DispatchKeySet(key.AutocastCPU) | torch._C.DispatchKeySet(key.AutocastCUDA)

    @torch.library.register_fake("torchvision::nms")
    def without_the_ops_in_cpp(boxes):
        pass


def test_an_optimizer_written_after_pytorchs_finds_what_it_imports():
    from hookgrad.optim.optimizer import (
        _default_to_fused_or_foreach,
        _disable_dynamo_if_unsupported,
        _get_capturable_supported_devices,
        _get_value,
        _stack_if_compiling,
        _view_as_real,
    )

    params = [leaf(4.0), None]
    assert _default_to_fused_or_foreach(params, differentiable=False) == (False, False)
    assert _default_to_fused_or_foreach(params, differentiable=False, use_fused=True) == (True, False)
    assert _default_to_fused_or_foreach(params, differentiable=True, use_fused=True) == (False, False)
    assert _default_to_fused_or_foreach([torch.tensor([1])], False, True) == (False, False)
    assert _get_value(params[0]) == 4 and _get_value(3) == 3
    assert _stack_if_compiling(params) is params and _view_as_real(params, [1]) is None
    assert _disable_dynamo_if_unsupported(single_tensor_fn=leaf)(leaf) is leaf
    assert _get_capturable_supported_devices() == ["cuda", "xpu", "hpu", "privateuseone", "xla"]
    assert _get_capturable_supported_devices(supports_xla=False)[-1] == "privateuseone"
    assert torch.optim.optimizer.__all__[0] == "Optimizer"
    assert not hasattr(torch.optim.optimizer, "_nope")


def test_parts_of_attention_that_copies_of_it_call():
    F = torch.nn.functional
    q, weight, bias = torch.randn(3, 2, 4), torch.randn(12, 4), torch.randn(12)
    for given in ((q, q, q), (q, q * 2, q * 2), (q, q * 2, q * 3)):
        packed = F._in_projection_packed(*given, weight, bias)
        apart = F._in_projection(*given, *weight.chunk(3), *bias.chunk(3))
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(packed, apart))
    assert len(F._in_projection_packed(q, q, q, weight)) == 3
    assert F._mha_shape_check(q, q, q, None, None, 2) and not F._mha_shape_check(q[0], q[0], q[0], None, None, 2)


def test_a_scheduler_of_ones_own_says_that_its_step_is_what_asks():
    from hookgrad.optim.lr_scheduler import _enable_get_lr_call, _warn_get_lr_called_within_step

    scheduler = torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.ones(1)], lr=1.0), 1)
    with pytest.warns(UserWarning, match="use `get_last_lr"):
        _warn_get_lr_called_within_step(scheduler)
    with _enable_get_lr_call(scheduler):
        _warn_get_lr_called_within_step(scheduler)
    assert not scheduler._get_lr_called_within_step


def test_the_old_choice_of_attention_chooses():
    from hookgrad.nn.attention import SDPBackend, _cur_sdpa_kernel_backends

    with torch.backends.cuda.sdp_kernel(enable_flash=False, enable_cudnn=False, enable_mem_efficient=False):
        assert _cur_sdpa_kernel_backends() == [SDPBackend.MATH]


def test_what_the_module_of_modules_has_imported():
    """Programs patch `warnings` there, and take BackwardHook from there."""
    assert modules.warnings is warnings and modules.inspect is inspect
    assert modules.BackwardHook is torch.utils.hooks.BackwardHook
    assert modules.torch is torch and modules.device is torch.device and modules.dtype is torch.dtype
    assert modules._addindent(s_="a\nb", numSpaces=2) == "a\n  b"


@pytest.mark.parametrize("name", ["__setattr__", "__getattr__", "__delattr__"])
def test_attribute_methods_of_modules_have_signatures(name):
    wanted = {"__setattr__": ["self", "name", "value"]}.get(name, ["self", "name"])
    assert list(inspect.signature(getattr(torch.nn.Module, name)).parameters) == wanted


def test_names_of_torch_that_libraries_take():
    x = torch.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
    y = x.softmax(1)
    y.backward(x.detach())
    assert torch.allclose(torch._softmax_backward_data(x.detach(), y.detach(), 1, torch.float32), x.grad)
    assert torch._shape_as_tensor(x).tolist() == [2, 2] and torch.Storage is torch.FloatStorage
    assert [t.tolist() for t in torch._unique(torch.tensor([2, 1, 2]), return_inverse=True)] == [[1, 2], [1, 0, 1]]
    torch._check_tensor_all_with(ValueError, x > 0)
    with pytest.raises(ValueError, match="^no$"):
        torch._check_tensor_all_with(ValueError, x > 1, lambda: "no")
    with pytest.raises(TypeError, match="cond must be a tensor, but got <class 'bool'>"):
        torch._check_tensor_all(True)
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"'has_mps' is deprecated, please use 'torch.backends.mps.is_built\(\)'"):
            assert torch.has_mps is False


def test_the_forward_of_a_layer_names_its_class_s_module():
    assert torch.nn.Linear.forward.__module__ == torch.nn.Linear.__module__
    assert torch._C.layer_forward("linear").__module__ is None


def test_names_that_graph_and_minimizer_libraries_import(run_script):
    """torch_geometric, torchmin and torchopt."""
    script = """
        import torch
        from torch._tensor_str import _add_suffixes, _tensor_str
        from torch._vmap_internals import _vmap
        from torch.autograd.functional import _as_tuple, _grad_postprocess, _tuple_postprocess
        from torch.distributed.autograd import context
        from torch.distributed.elastic.multiprocessing.errors import record
        from torch.optim.lbfgs import _cubic_interpolate, _strong_wolfe

        x = torch.tensor([1.0, -2.0])
        print(_add_suffixes("Index(" + _tensor_str(x, 6), ["nnz=2", "sort_order=row"], 6, force_newline=False))
        print(_add_suffixes("[", ["nnz=2"], 1, force_newline=True))
        print(_vmap(torch.sum)(torch.eye(2)), record(len)("ab"), torch._C._get_default_device())
        print(_as_tuple(x), _tuple_postprocess((x,), False), _grad_postprocess((x,), create_graph=False))
        print(_cubic_interpolate(0, x[0], x[1], 2, x[0], -x[1]))
        print(_strong_wolfe(lambda x, t, d: ((x + t * d).square().sum(), 2 * (x + t * d)), x, 1.0, -2 * x, 5.0, 2 * x, -20.0))
        print(torch.finfo(float), torch.iinfo(int))
        print(torch._segment_reduce(x, "max", offsets=torch.tensor([0, 2])))
        for op in ("_pin_memory", "_sparse_addmm", "_sparse_mm_reduce_impl"):
            print(getattr(torch.ops.aten, op).default)
    """
    assert run_script(dedent(script)).stdout.splitlines() == [
        "Index([ 1., -2.], nnz=2, sort_order=row)",
        "[,",
        " nnz=2)",
        "tensor([1., 1.]) 2 cpu",
        "(tensor([ 1., -2.]),) tensor([ 1., -2.]) (tensor([ 1., -2.]),)",
        "tensor(1.)",
        "(tensor(0.), tensor([0., 0.]), tensor(0.5000), 2)",
        "finfo(resolution=1e-15, min=-1.79769e+308, max=1.79769e+308, eps=2.22045e-16, smallest_normal=2.22507e-308, "
        "tiny=2.22507e-308, dtype=float64) iinfo(min=-9.22337e+18, max=9.22337e+18, dtype=int64)",
        "tensor([1.])",
        "aten._pin_memory.default",
        "aten._sparse_addmm.default",
        "aten._sparse_mm_reduce_impl.default",
    ]
