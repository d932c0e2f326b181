"""torch.autocast on the CPU: which dtypes layers, hooks and gradients see."""

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.nn import functional as F
from hookgrad.utils.checkpoint import checkpoint

x = torch.arange(8.0).view(2, 4) / 8
low, full = torch.bfloat16, torch.float32


def cast(**settings):
    return torch.autocast("cpu", dtype=low, **settings)


def test_products_compute_in_the_lower_dtype_and_losses_in_float32():
    layer, image = nn.Linear(4, 4), torch.ones(1, 1, 4, 4)
    with cast():
        assert torch.is_autocast_enabled("cpu") and not torch.is_autocast_enabled()
        out = layer(x)
        lower = (
            out, x @ x.T, torch.mm(x, x.T), torch.einsum("ij,kj->ik", x, x), F.conv2d(image, image), F.gelu(out), out.softmax(-1),
            F.layer_norm(out, (4,), torch.ones(4)), torch.addmm(x, x, torch.ones(4, 4)), torch.cat([out, out]),
        )  # fmt: skip
        assert [t.dtype for t in lower] == [low] * len(lower)
        kept = F.mse_loss(out, x), F.cross_entropy(out, torch.tensor([0, 1])), x * x, torch.cat([out, x]), out + x
        assert [t.dtype for t in kept] == [full] * len(kept)
        assert (x.double() @ x.double().T).dtype == torch.float64 and (x.long() @ x.long().T).dtype == torch.int64
    assert layer(x).dtype == full and not torch.is_autocast_enabled("cpu")


def test_casts_are_nodes_and_leaves_are_cast_once():
    layer = nn.Linear(4, 2)
    with cast():
        a, b = layer(x.clone().requires_grad_()), layer(x)
    names = [node.name() for node, _ in a.grad_fn.next_functions]
    assert names == ["ToCopyBackward0", "ToCopyBackward0", "TBackward0"]
    assert a.grad_fn.next_functions[0][0] is b.grad_fn.next_functions[0][0]
    with cast(cache_enabled=False):
        a, b = layer(x), layer(x)
    assert a.grad_fn.next_functions[0][0] is not b.grad_fn.next_functions[0][0]
    with cast():
        with torch.no_grad():
            layer(x)
        assert layer(x).requires_grad


def test_hooks_see_what_layers_compute_with():
    net, seen = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2)), []
    for layer in net:
        layer.register_forward_hook(lambda module, args, output: seen.append((args[0].dtype, output.dtype)))
        layer.register_full_backward_hook(lambda module, by_in, by_out: seen.append((by_in[0].dtype, by_out[0].dtype)))
    net[0].weight.register_hook(lambda grad: seen.append(grad.dtype))
    with cast():
        out = net(x.clone().requires_grad_())
    out.sum().backward()
    assert seen[:3] == [(full, low), (low, low), (low, low)] and seen[3:5] == [(low, low)] * 2
    assert set(seen[5:]) == {(full, low), full} and net[2].weight.grad.dtype == full


def test_contexts_nest_and_decorate():
    layer = nn.Linear(4, 2)
    with cast():
        with torch.autocast("cpu", enabled=False):
            assert layer(x).dtype == full
        assert layer(x).dtype == low
        with torch.autocast("cpu", dtype=torch.float16):
            assert torch.get_autocast_dtype("cpu") == torch.float16 and (x @ x.T).dtype == torch.float16
    assert cast()(layer)(x).dtype == low
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), cast():
        layer(torch.ones(3, 3))
    assert layer(x).dtype == full
    torch.set_autocast_enabled("cpu", True)
    assert layer(x).dtype == low
    torch.set_autocast_enabled("cpu", False)
    assert layer(x).dtype == full
    with (
        pytest.warns(UserWarning, match="the target dtype is not supported"),
        torch.autocast("cpu", dtype=torch.float64),
    ):
        assert layer(x).dtype == full
    with pytest.raises(RuntimeError, match="device"):
        torch.autocast("meta")


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_checkpoint_computes_again_in_the_same_dtypes(use_reentrant):
    net, seen = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), []
    net[0].register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    gradients = []
    for run in (net, lambda x: checkpoint(net, x, use_reentrant=use_reentrant)):
        net.zero_grad()
        with cast():
            out = run(x.clone().requires_grad_())
        out.float().sum().backward()
        gradients.append(net[0].weight.grad)
    assert seen == [low] * 3 and torch.equal(*gradients)


def test_attention_and_its_layer():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    with cast():
        assert layer.self_attn(x[None], x[None], x[None])[0].dtype == low and layer(x[None]).dtype == full


def test_a_function_runs_backward_as_it_ran_forward():
    seen = []

    class Double(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu")
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx, grad):
            seen.append(torch.is_autocast_enabled("cpu"))
            return grad * 2

    class Half(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float16)
        def forward(ctx, x, n):
            seen.append((x.dtype, torch.is_autocast_enabled("cpu"), n))
            return x / n

        @staticmethod
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx, grad):
            return grad / 2, None

    leaf = torch.ones(1, requires_grad=True)
    Double.apply(leaf).backward()
    with cast():
        outputs = Double.apply(leaf), Half.apply(leaf, 2)
    outputs[0].backward()
    assert Half.apply(leaf, 2).dtype == full and outputs[1].dtype == torch.float16
    assert leaf.grad.item() == 4 and seen == [False, (torch.float16, False, 2), True, (full, False, 2)]


@pytest.mark.parametrize("short, device", [("cpu", "cpu"), ("gpu", "cuda"), ("xla", "xla"), ("ipu", "ipu")])
def test_old_names_for_one_device_warn(short, device):
    was = torch.get_autocast_dtype(device)
    with pytest.warns(DeprecationWarning, match=rf"torch.get_autocast_dtype\('{device}'\) instead"):
        assert getattr(torch, f"get_autocast_{short}_dtype")() is was
    with pytest.warns(DeprecationWarning, match=rf"torch.set_autocast_dtype\('{device}', dtype\) instead"):
        getattr(torch, f"set_autocast_{short}_dtype")(torch.float16)
    assert torch.get_autocast_dtype(device) is torch.float16
    torch.set_autocast_dtype(device, was)
    if short != "gpu":
        with pytest.warns(DeprecationWarning, match=rf"torch.set_autocast_enabled\('{device}', enabled\) instead"):
            getattr(torch, f"set_autocast_{short}_enabled")(False)
        with pytest.warns(DeprecationWarning, match=rf"torch.is_autocast_enabled\('{device}'\) instead"):
            assert getattr(torch, f"is_autocast_{short}_enabled")() is False


def test_the_old_classes_of_the_cpu_warn_and_work():
    x = torch.ones(2, 2)
    words = (
        r"`torch.cpu.amp.autocast\(args...\)` is deprecated. Please use `torch.amp.autocast\('cpu', args...\)` instead"
    )
    with pytest.warns(FutureWarning, match=words) as warned, torch.cpu.amp.autocast():
        assert (x @ x).dtype is torch.bfloat16
    assert warned[0].filename == __file__
    with pytest.warns(FutureWarning, match="GradScaler"):
        scaler = torch.cpu.amp.GradScaler(init_scale=4.0)
    assert isinstance(scaler, torch.amp.GradScaler) and scaler.get_scale() == 4.0


def test_prelu_and_a_layer_of_an_lstm_compute_in_the_lower_dtype():
    lstm, prelu = nn.LSTM(4, 3, 2, bidirectional=True), nn.PReLU()
    sequence = torch.rand(5, 2, 4)
    with cast():
        output, (h, c) = lstm(sequence)
        assert (output.dtype, h.dtype, c.dtype, prelu(x).dtype) == (low,) * 4
        assert torch.equal(lstm(sequence.to(low))[0], output)
    assert (output.float() - lstm(sequence)[0]).abs().max() < 0.02
    output.float().sum().backward()
    assert {p.grad.dtype for p in lstm.parameters()} == {full}
    with pytest.raises(ValueError, match="does not match weight dtype"):
        lstm(sequence.to(low))


class Seen(torch.overrides.TorchFunctionMode):
    def __init__(self):
        self.calls = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.calls.append((func.__name__, args[0].dtype, made.dtype))
        return made


@pytest.mark.parametrize("mode_first", [True, False])
def test_a_mode_sees_calls_as_they_were_made_and_no_casts(mode_first):
    x, mode, cast = torch.ones(2, 2), Seen(), torch.autocast("cpu", dtype=torch.bfloat16)
    with mode if mode_first else cast, cast if mode_first else mode:
        x.mm(x).exp()
    assert mode.calls == [("mm", torch.float32, torch.bfloat16), ("exp", torch.bfloat16, torch.bfloat16)]
    with mode:
        x.mm(x)
    assert mode.calls[-1] == ("mm", torch.float32, torch.float32)


def test_a_class_sees_calls_as_they_were_made_and_no_casts():
    names = []

    class Noted(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            names.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = torch.ones(2, 2).as_subclass(Noted) @ torch.ones(2, 2)
    assert type(made) is Noted and names == ["matmul"] and made.dtype is torch.bfloat16


def test_linear_algebra_computes_in_float32():
    x = torch.eye(2, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (
            torch.linalg.inv(x).dtype is torch.float32
            and torch.linalg.matrix_power(x.float(), 2).dtype is torch.bfloat16
        )


def test_a_scaler_that_is_off_has_no_settings():
    scaler = torch.amp.GradScaler("cpu", enabled=False, growth_factor=0.5)
    with pytest.raises(AttributeError):
        scaler.get_growth_factor()
    scaler.set_growth_factor(3.0)
    assert scaler.get_growth_factor() == 3.0 and scaler.get_scale() == 1.0 and scaler.state_dict() == {}


def test_settings_that_are_no_device_or_dtype():
    for decorator in (torch.amp.custom_fwd, torch.amp.custom_bwd):
        with pytest.raises(ValueError, match="Expected `device_type` of type `str`, got: `<class 'int'>`"):
            decorator(device_type=3)
    with pytest.warns(UserWarning, match="Disabling autocast.\nCPU Autocast only supports dtypes of torch.bfloat16, "):
        torch.autocast("cpu", dtype=torch.float32)
