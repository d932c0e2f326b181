"""Names that code for PyTorch leans on and that have nothing to do here: they are there, and change nothing."""

import pickle

import pytest

import hookgrad as torch
from hookgrad import nn


def test_autocast_that_is_off_changes_no_dtype():
    x = torch.ones(2, 2)
    with (
        torch.autocast("cpu", enabled=False),
        torch.amp.autocast(device_type="cpu", dtype=torch.bfloat16, enabled=False),
    ):
        assert (x @ x).dtype == torch.float32
        assert not torch.is_autocast_enabled("cpu")

    @torch.amp.autocast("cpu", enabled=False)
    def double(x):
        return x * 2

    assert double(x).sum() == 8
    with pytest.raises(NotImplementedError, match="autocast on the CPU is not implemented"):
        torch.autocast("cpu")
    with pytest.warns(UserWarning, match="CUDA is not available"):
        torch.autocast("cuda")
    with pytest.warns(FutureWarning, match="torch.cuda.amp.autocast"):
        torch.cuda.amp.autocast(enabled=False)


def test_a_function_may_be_marked_for_mixed_precision():
    class Double(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu")
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            return g * 2

    x = torch.ones(1, requires_grad=True)
    Double.apply(x).backward()
    assert x.grad == 2


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
    assert not torch.accelerator.is_available() and torch.accelerator.current_accelerator() is None
    assert torch.version.cuda is None
    assert torch.multiprocessing.get_all_start_methods()
    assert "hookgrad" in torch.__config__.show()
    assert torch.set_flush_denormal(True) is False
    assert not torch.is_warn_always_enabled()


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
