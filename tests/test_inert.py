"""Names that code for PyTorch leans on and that have nothing to do here: they are there, and change nothing."""

import copy
import pickle
import sys
from functools import partial

import pytest

import hookgrad as torch
from hookgrad import nn


def test_autocast_for_devices_there_are_none_of_is_off():
    with pytest.warns(UserWarning, match="CUDA is not available"):
        torch.autocast("cuda")
    with pytest.warns(FutureWarning, match="torch.cuda.amp.autocast"):
        torch.cuda.amp.autocast(enabled=False)


def test_a_scaler_that_is_off_steps_the_optimizer():
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    p = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([p], lr=0.1)
    scaler.scale((p * 2).sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.item() == pytest.approx(0.8)
    assert (scaler.is_enabled(), scaler.get_scale(), scaler.state_dict()) == (False, 1.0, {})


def test_a_scaler_leaves_out_a_step_that_overflows():
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
    p = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([p], lr=0.5)
    scales = []
    for factor in (1.0, float("inf"), 1.0, 1.0):
        optimizer.zero_grad()
        scaler.scale((p * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        scales.append((scaler.get_scale(), p.item()))
    assert scales == [(4.0, 0.5), (2.0, 0.5), (2.0, 0.0), (4.0, -0.5)]
    again = torch.amp.GradScaler("cpu")
    again.load_state_dict(pickle.loads(pickle.dumps(scaler.state_dict())))
    assert again.get_scale() == 4.0
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="unscale_\\(\\) has already been called"):
        scaler.unscale_(optimizer)


def test_decorators_of_compilers_return_the_function():
    def f(x):
        return x

    for decorate in (
        torch.jit.ignore,
        torch.jit.ignore(drop=True),
        torch.jit.unused,
        torch.jit.export,
        torch.jit.script_if_tracing,
        torch.jit.script,
        torch.jit.trace,
        torch.compiler.assume_constant_result,
        torch.compiler.set_stance("force_eager"),
        torch.compiler.disable,
        torch.compiler.disable(recursive=False),
        torch._dynamo.disable,
    ):
        assert decorate(f) is f
    assert not torch.jit.is_scripting() and not torch.jit.is_tracing() and not torch.compiler.is_compiling()
    assert torch.jit.annotate(int, 3) == 3
    assert torch.jit.isinstance([1], list[int]) and not torch.jit.isinstance([1], list[str])
    assert torch.jit.isinstance({"a": (1, "b")}, dict[str, tuple[int, str]])


def test_switches_of_back_ends_go_back_when_their_context_ends():
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=False, benchmark=True), torch.backends.mkldnn.flags(enabled=False):
        assert (cudnn.enabled, cudnn.benchmark) == (False, True)
    assert (cudnn.enabled, cudnn.benchmark) == (True, False)
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
        torch.cuda.current_device()
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
        torch.ones(1).cuda()


def test_what_is_not_there_says_so():
    assert not torch.distributed.is_available() and not torch.distributed.is_initialized()
    assert torch.cuda._initialized is False  # reversible layers ask before they keep the state of its generators
    assert not torch.accelerator.is_available() and torch.accelerator.current_accelerator() is None
    assert torch.version.cuda is None
    assert torch.multiprocessing.get_all_start_methods()
    assert "hookgrad" in torch.__config__.show()
    assert torch.set_flush_denormal(True) is False


def test_work_in_several_processes_fails_where_it_would_begin():
    distributed = torch.distributed
    for function in (distributed.get_rank, distributed.get_world_size, distributed.barrier):
        with pytest.raises(ValueError, match="Default process group has not been initialized"):
            function()
    model = nn.Linear(1, 1)
    assert not isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel))
    with pytest.raises(ValueError, match="Default process group has not been initialized"):
        nn.parallel.DistributedDataParallel(model)
    torch.multiprocessing.set_sharing_strategy("file_system")
    assert torch.multiprocessing.get_sharing_strategy() == "file_system"
    torch.multiprocessing.set_sharing_strategy("file_descriptor")


def test_other_devices_fail_where_they_are_used():
    for make in (torch.cuda.Stream, torch.cuda.Event, torch.cuda.CUDAGraph):
        with pytest.raises(RuntimeError, match="requires CUDA support"):
            make()
    with torch.cuda.device(None), torch.cuda.stream(None), torch.cpu.stream(torch.cpu.current_stream()):
        assert torch.cuda.OutOfMemoryError is torch.OutOfMemoryError
    with pytest.raises(RuntimeError, match="compiled without CUDA support"), torch.cuda.device(0):
        raise AssertionError("there is such a device")
    with pytest.raises(RuntimeError, match="Cannot access accelerator device"):
        torch.accelerator.synchronize()
    for fails in (torch.imag, torch.view_as_real):
        with pytest.raises(RuntimeError, match="complex"):
            fails(torch.ones(1))


def test_switches_keep_what_they_are_set_to():
    mha, cuda = torch.backends.mha, torch.backends.cuda
    mha.set_fastpath_enabled(False)
    cuda.enable_flash_sdp(False)
    assert not mha.get_fastpath_enabled() and not cuda.flash_sdp_enabled() and cuda.math_sdp_enabled()
    mha.set_fastpath_enabled(True)
    cuda.enable_flash_sdp(True)
    for mode, number in (("warn", 1), (2, 2), ("default", 0)):
        torch.set_deterministic_debug_mode(mode)
        assert torch.get_deterministic_debug_mode() == number
        assert torch.are_deterministic_algorithms_enabled() == (number > 0)
    with pytest.raises(RuntimeError, match="expected one of `default`, `warn`, `error`, but got x"):
        torch.set_deterministic_debug_mode("x")


def test_weights_of_convolutions_change_their_order_in_memory():
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Linear(2, 2), nn.ConvTranspose2d(2, 2, 3))
    assert nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last) is model
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in (model[0], model[2]))


def test_a_condition_chooses_what_is_computed():
    x = torch.ones(2, requires_grad=True)
    torch.cond(x.sum() > 1, lambda x: x * 3, lambda x: x, (x,)).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert torch.cond(False, lambda: 1, lambda: 2) == 2


def test_data_parallel_calls_its_module():
    model = nn.DataParallel(nn.Linear(2, 3))
    assert model(torch.ones(1, 2)).shape == (1, 3)
    assert list(model.state_dict()) == ["module.weight", "module.bias"]


@pytest.mark.parametrize(
    "layer, norm, x, transpose",
    [
        (lambda: nn.Conv2d(2, 3, 2), lambda: nn.BatchNorm2d(3), (4, 2, 5, 5), False),
        (lambda: nn.Conv1d(2, 3, 2, bias=False), lambda: nn.BatchNorm1d(3, affine=False), (4, 2, 5), False),
        (lambda: nn.ConvTranspose1d(2, 3, 2), lambda: nn.BatchNorm1d(3), (4, 2, 5), True),
        (lambda: nn.Linear(2, 3), lambda: nn.BatchNorm1d(3), (4, 2), None),
    ],
)
def test_a_layer_fused_with_its_normalisation_does_what_both_did(layer, norm, x, transpose):
    torch.manual_seed(0)
    layer, norm, x = layer(), norm(), torch.randn(x)
    norm(layer(x))
    if transpose is None:
        fuse = nn.utils.fuse_linear_bn_eval
    else:

        def fuse(layer, norm):
            return nn.utils.fuse_conv_bn_eval(layer, norm, transpose)

    with pytest.raises(AssertionError, match="Fusion only for eval!"):
        fuse(layer, norm)
    layer.eval(), norm.eval()
    fused = fuse(layer, norm)
    assert type(fused) is type(layer) and fused is not layer
    torch.testing.assert_close(fused(x), norm(layer(x)))


def test_checks_fail_with_the_error_they_are_named_for():
    torch._check(True, lambda: 1 / 0)
    for check, error in (
        (torch._check, RuntimeError),
        (torch._check_value, ValueError),
        (torch._check_type, TypeError),
        (torch._check_index, IndexError),
        (torch._check_not_implemented, NotImplementedError),
    ):
        with pytest.raises(error, match="three is odd"):
            check(False, lambda: "three is odd")
        with pytest.raises(error, match="Expected cond to be True"):
            check(False)
    with pytest.raises(TypeError, match="cond must be a bool"):
        torch._check(1)
    with pytest.raises(TypeError, match="message must be a callable"):
        torch._check(False, "three is odd")
    torch._check_is_size(3)
    torch._check_tensor_all(torch.ones(2) > 0)
    torch._assert_async(torch.tensor(2.0))
    for fails in (
        lambda: torch._check_is_size(-1),
        lambda: torch._check_tensor_all(torch.tensor([True, False])),
        lambda: torch._assert_async(torch.tensor(0)),
    ):
        with pytest.raises(RuntimeError):
            fails()


def test_classes_of_what_is_not_there_are_there_to_ask_about():
    from hookgrad.ao.quantization import FakeQuantizeBase, ObserverBase
    from hookgrad.distributed import _tensor, fsdp, tensor
    from hookgrad.distributed._composable.fsdp import FSDPModule
    from hookgrad.nn.parallel.scatter_gather import scatter

    model = torch.jit.script(nn.Linear(1, 1))
    assert FSDPModule is fsdp.FSDPModule and _tensor.DTensor is tensor.DTensor
    kinds = (torch.jit.ScriptModule, torch.fx.GraphModule, FSDPModule, fsdp.FullyShardedDataParallel, ObserverBase)
    assert not isinstance(model, (*kinds, FakeQuantizeBase)) and not isinstance(model.weight, tensor.DTensor)
    assert torch.fx.wrap(torch.relu) is torch.relu
    for trace in (torch.fx.symbolic_trace, torch.fx.Tracer().trace, torch.fx.GraphModule):
        with pytest.raises(RuntimeError, match="hookgrad has no torch.fx"):
            trace(model)
    with pytest.raises(RuntimeError, match="hookgrad has no torch.distributed"):
        tensor.DTensor(model.weight)
    for spread in (fsdp.fully_shard, fsdp.FullyShardedDataParallel):
        with pytest.raises(ValueError, match="Default process group has not been initialized"):
            spread(model)
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
        scatter(model.weight, [0])


def test_lists_of_tensors_are_sorted_by_dtype():
    from hookgrad.utils._foreach_utils import _group_tensors_by_device_and_dtype, _has_foreach_support

    a, b, c = torch.ones(1), torch.ones(1).double(), torch.ones(2)
    groups = _group_tensors_by_device_and_dtype([[a, b, c], [None, b, a]], with_indices=True)
    cpu = torch.device("cpu")
    assert list(groups) == [(cpu, torch.float32), (cpu, torch.float64)]
    (first, second), at = groups[cpu, torch.float32]
    assert first[0] is a and first[1] is c and second[0] is None and second[1] is a and at == [0, 2]
    assert _has_foreach_support([a, nn.Parameter(b), None], cpu)


def test_the_size_of_a_storage_counts_its_bytes():
    small, large = (sys.getsizeof(torch.ones(n).untyped_storage()) for n in (1, 101))
    assert large - small == 400


def test_a_scaler_knows_what_came_before():
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    p = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([p], lr=0.5)
    for call in (lambda: scaler.step(optimizer), lambda: scaler.unscale_(optimizer), scaler.update):
        with pytest.raises(AssertionError, match="_scale is None"):
            call()
    assert scaler.get_scale() == 4.0
    with pytest.raises(ValueError, match="outputs must be a Tensor or an iterable of Tensors"):
        scaler.scale(3)
    losses = [loss.item() for loss in scaler.scale(p.detach() * k for k in (1, 2))]
    assert losses == [4.0, 8.0]
    with pytest.raises(AssertionError, match="No inf checks were recorded for this optimizer"):
        scaler.step(optimizer)
    p.grad = torch.ones(1)
    scaler.update(2.0)
    scaler.unscale_(optimizer)
    with pytest.raises(AssertionError, match="may only be pickled at the beginning"):
        pickle.dumps(scaler)
    scaler.step(optimizer)
    assert (p.item(), scaler.state_dict()["scale"]) == (0.75, 2.0)
    with pytest.raises(RuntimeError, match="step\\(\\) has already been called"):
        scaler.step(optimizer)
    scaler.update()
    again = pickle.loads(pickle.dumps(scaler))
    assert (again.get_scale(), again.state_dict()) == (2.0, scaler.state_dict())
    half = nn.Parameter(torch.ones(1, dtype=torch.float16))
    half.grad = torch.ones_like(half)
    with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
        scaler.unscale_(torch.optim.SGD([half], lr=0.5))


def test_nothing_is_exported():
    assert torch.onnx.is_in_onnx_export() is False
    with pytest.raises(RuntimeError, match="hookgrad has no torch.onnx.export"):
        torch.onnx.export(nn.Linear(1, 1), torch.ones(1, 1), "model.onnx")


def test_dtypes_that_no_tensor_has_can_be_named_and_compared():
    facts = {torch.complex64: (8, False, True), torch.float8_e4m3fn: (1, True, False), torch.uint16: (2, False, False)}
    for dtype, expected in facts.items():
        assert (dtype.itemsize, dtype.is_floating_point, dtype.is_complex) == expected
        assert isinstance(dtype, torch.dtype) and dtype != torch.float32 and torch.ones(1).dtype not in facts
        assert pickle.loads(pickle.dumps(dtype)) is copy.deepcopy(dtype) is dtype
        for use in (
            partial(torch.zeros, 2, dtype=dtype),
            partial(torch.ones(1).to, dtype),
            partial(torch.ones(1).view, dtype),
        ):
            with pytest.raises(NotImplementedError, match=f"hookgrad has no tensors of {dtype}"):
                use()
    assert torch.cfloat is torch.complex64 and repr(torch.cdouble) == "torch.complex128" and torch.chalf.itemsize == 4
    assert torch.finfo(torch.complex64) == torch.finfo(torch.float32) and torch.finfo(torch.float8_e4m3fn).max == 448
    assert torch.iinfo(torch.uint16).max == 65535
    with pytest.raises(TypeError, match="requires an integer input type"):
        torch.iinfo(torch.complex64)


def test_shifts_and_frequencies_of_fourier_transforms():
    assert torch.fft.fftfreq(4, 0.5).tolist() == [0, 0.5, -1, -0.5] and torch.fft.rfftfreq(4).tolist() == [0, 0.25, 0.5]
    x = torch.arange(6).view(2, 3)
    assert torch.fft.fftshift(x).tolist() == [[5, 3, 4], [2, 0, 1]]
    assert torch.equal(torch.fft.ifftshift(torch.fft.fftshift(x, 1), 1), x)
    with pytest.raises(NotImplementedError, match="hookgrad has no complex numbers, and no torch.fft.rfft"):
        torch.fft.rfft(torch.ones(3))


def test_nothing_is_compiled_under_private_names():
    from hookgrad._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    OptimizedModule, innermost_fn = torch._dynamo.eval_frame.OptimizedModule, torch._dynamo.eval_frame.innermost_fn

    net = torch.compile(nn.Linear(1, 1))
    assert not isinstance(net, OptimizedModule) and innermost_fn(net) is net
    assert torch._dynamo.mark_static_address(net.weight) is None
    with TransformGetItemToIndex():
        assert torch.func.vmap(lambda i: torch.arange(3)[i])(torch.tensor([2, 0])).tolist() == [2, 0]


def test_there_is_no_profiler_of_nvidias():
    with pytest.raises(RuntimeError, match="NVTX functions not installed"):
        torch.cuda.nvtx.range_push("step")

    @torch.cuda.nvtx.range("marked {}", 1)
    def marked():
        return 1

    with pytest.raises(RuntimeError, match="NVTX functions not installed"):
        marked()
    with torch.autograd.profiler.emit_nvtx(enabled=False):
        pass
    with pytest.raises(RuntimeError, match="NVTX"):
        torch.autograd.profiler.emit_nvtx().__enter__()
    assert torch._C._get_tracing_state() is None


def test_names_for_code_that_can_also_be_scripted():
    from hookgrad.jit.annotations import BroadcastingList2

    @torch.jit._script_if_tracing
    def twice(x, size: BroadcastingList2[int] = (1, 1)):
        return 2 * x

    assert (
        twice(2) == 4 and issubclass(torch.jit.TracerWarning, Warning) and torch.ScriptModule is torch.jit.ScriptModule
    )
    assert torch._dynamo.utils.is_compile_supported("cpu") is False and not torch._dynamo.utils.counters["frames"]


def test_a_weight_of_one_place_has_the_strides_of_the_format_too():
    model = nn.Conv2d(2, 3, 1)
    nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    assert model.weight.stride() == (2, 1, 2, 2)
