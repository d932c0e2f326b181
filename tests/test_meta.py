"""The device "meta": tensors that have a shape and no values, and models made of them."""

import copy
import io

import pytest

import hookgrad as torch
from hookgrad import nn


def on_meta(*shape, **settings):
    return torch.empty(*shape, device="meta", **settings)


def test_a_meta_tensor_says_what_it_is():
    x = on_meta(2, 3)
    assert x.is_meta and not x.is_cpu and x.device == torch.device("meta") and x.shape == (2, 3) and x.data_ptr() == 0
    assert repr(x) == "tensor(..., device='meta', size=(2, 3))"
    assert repr(nn.Parameter(x)).endswith("tensor(..., device='meta', size=(2, 3), requires_grad=True)")
    assert x.untyped_storage().device.type == "meta" and x.untyped_storage().nbytes() == 24


OPS = [
    (lambda x: x @ x.t(), (2, 2), (2, 1)),
    (lambda x: (x + 1).relu(), (2, 3), (3, 1)),
    (lambda x: x.t(), (3, 2), (1, 3)),
    (lambda x: x.sum(1, keepdim=True), (2, 1), (1, 1)),
    (lambda x: torch.cat([x, x], 1), (2, 6), (6, 1)),
    (lambda x: x.split(1)[1], (1, 3), (3, 1)),
    (lambda x: x.max(0).values, (3,), (1,)),
    (lambda x: x + torch.tensor(1.0), (2, 3), (3, 1)),
    (lambda x: x.new_zeros(4), (4,), (1,)),
    (lambda x: torch.zeros_like(x), (2, 3), (3, 1)),
    (lambda x: x.fill_(1).mul_(2), (2, 3), (3, 1)),
    (lambda x: nn.Conv1d(2, 4, 2, device="meta")(x), (4, 2), (2, 1)),
    (lambda x: torch.nn.functional.softmax(x, 0), (2, 3), (3, 1)),
]


@pytest.mark.parametrize("op, shape, stride", OPS)
def test_ops_give_meta_tensors_of_their_shape(op, shape, stride):
    out = op(on_meta(2, 3))
    assert out.is_meta and out.shape == shape and out.stride() == stride


def test_a_view_lies_in_the_memory_of_its_base():
    x = on_meta(2, 3)
    view = x[0]
    assert view.is_meta and view._base is x and view.untyped_storage()._cdata == x.untyped_storage()._cdata


@pytest.mark.parametrize(
    "make", [torch.zeros, torch.ones, torch.rand, torch.randn, lambda n, **at: torch.tensor([1.0] * n, **at),
             lambda n, **at: torch.arange(float(n), **at), lambda n, **at: torch.full((n,), 1.0, **at)]
)  # fmt: skip
def test_what_makes_tensors_makes_them_there(make):
    state = torch.get_rng_state()
    with torch.device("meta"):
        inside = make(3)
        with torch.device("cpu"):
            assert not make(3).is_meta
        torch.set_rng_state(state)
    assert inside.is_meta and make(3, device="meta").is_meta and not make(3).is_meta
    assert make(3, device="meta", requires_grad=True).is_leaf


def test_no_random_numbers_are_drawn():
    torch.manual_seed(0)
    first = torch.rand(3)
    torch.manual_seed(0)
    torch.rand(3, device="meta"), nn.Linear(2, 2, device="meta"), on_meta(3).normal_()
    assert torch.rand(3).equal(first)


@pytest.mark.parametrize(
    "read, error, words",
    [
        (lambda x: x.sum().item(), RuntimeError, "cannot be called on meta tensors"),
        (lambda x: bool(x.sum()), RuntimeError, "cannot be called on meta tensors"),
        (lambda x: x.tolist(), NotImplementedError, "Cannot copy out of meta tensor; no data!"),
        (lambda x: x.to("cpu"), NotImplementedError, "Cannot copy out of meta tensor; no data!"),
        (lambda x: x.cpu(), NotImplementedError, "Cannot copy out of meta tensor; no data!"),
        (lambda x: torch.ones(2, 3).copy_(x), NotImplementedError, "Cannot copy out of meta tensor; no data!"),
        (lambda x: x.numpy(), TypeError, "can't convert meta device type tensor to numpy"),
        (lambda x: x.nonzero(), NotImplementedError, "Meta tensors"),
        (lambda x: x.equal(x), NotImplementedError, "Meta tensors"),
        (lambda x: torch.ones(2, 3) + x, RuntimeError, "device meta is not on the expected device cpu"),
        (lambda x: x + torch.ones(2, 3), RuntimeError, "device cpu is not on the expected device meta"),
        (lambda x: x.add_(on_meta(4)), RuntimeError, "must match the size"),
        (lambda x: setattr(x, "data", torch.ones(2, 3)), RuntimeError, "incompatible tensor type"),
        (lambda x: nn.Linear(2, 2, device="meta").to("cpu"), NotImplementedError, "torch.nn.Module.to_empty"),
    ],
)
def test_what_needs_values_fails(read, error, words):
    with pytest.raises(error, match=words):
        read(on_meta(2, 3))


def test_gradients_and_hooks():
    seen = []
    m = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).to("meta")
    m[0].register_forward_hook(lambda m, args, out: seen.append((out.shape, out.device.type)))
    m[0].register_full_backward_hook(lambda m, grad_in, grad_out: seen.append((grad_out[0].shape, grad_out[0].is_meta)))
    m[0].weight.register_hook(lambda grad: seen.append(grad.is_meta))
    m(on_meta(2, 3)).sum().backward()
    assert seen == [((2, 4), "meta"), ((2, 4), True), True]
    assert all(p.grad.is_meta and p.grad.shape == p.shape for p in m.parameters())


class Elsewhere(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad.to("meta")


def hooked(register, hook):
    def use(x):
        y = x.exp()
        register(y)(hook)
        y.sum().backward()

    return use


CHANGED = r"has changed the type of value \(was torch.FloatTensor got MetaFloatType\)"
INVALID = "invalid gradient at index 0 - expected device cpu but got meta"


@pytest.mark.parametrize(
    "use, words",
    [
        (lambda x: Elsewhere.apply(x).sum().backward(), "^Function ElsewhereBackward returned an " + INVALID),
        (lambda x: x.exp().backward(torch.ones(2, device="meta")), "^" + INVALID),
        (lambda x: torch.autograd.grad(x.exp(), x, torch.ones(2, device="meta")), "^" + INVALID),
        (hooked(lambda y: y.register_hook, lambda grad: grad.to("meta")), CHANGED),
        (hooked(lambda y: y.grad_fn.register_hook, lambda grads, _: (grads[0].to("meta"),)), CHANGED),
        (hooked(lambda y: y.grad_fn.register_prehook, lambda grads: (grads[0].to("meta"),)), CHANGED),
    ],
)
def test_a_gradient_is_on_the_device_of_what_it_is_the_gradient_of(use, words):
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=words):
        use(x)
    assert x.grad is None


def test_a_number_changes_devices_but_not_back():
    x = torch.ones((), device="meta", requires_grad=True)
    x.exp().backward(torch.ones(()))
    assert x.grad.is_meta
    y = torch.ones(2, requires_grad=True)
    with pytest.raises(NotImplementedError, match="no data"):
        y.to("meta").sum().backward()


def test_a_model_made_there_is_filled_by_assigning():
    with torch.device("meta"):
        m = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Embedding(5, 2), nn.LSTM(2, 3))
    assert all(t.is_meta for t in (*m.parameters(), *m.buffers()))
    real = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Embedding(5, 2), nn.LSTM(2, 3))
    m.load_state_dict(real.state_dict(), assign=True)
    for ours, theirs in zip(m.parameters(), real.parameters()):
        assert type(ours) is nn.Parameter and ours.requires_grad and ours.equal(theirs)


def test_a_model_made_there_is_filled_in_empty_memory():
    m = nn.Linear(3, 4, device="meta")
    before = m.weight
    assert m.to_empty(device="cpu") is m and m.weight is not before and not m.weight.is_meta and m.weight.requires_grad
    m.reset_parameters()
    assert m(torch.ones(1, 3)).shape == (1, 4)
    assert m.to("meta").weight.is_meta


def test_loading_without_assigning_warns_and_does_nothing():
    m = nn.Linear(2, 2, device="meta")
    with pytest.warns(UserWarning, match="for weight: copying from a non-meta parameter .* which is a no-op"):
        m.load_state_dict(nn.Linear(2, 2).state_dict())
    assert m.weight.is_meta
    with pytest.raises(RuntimeError, match="Cannot copy out of meta tensor"):
        nn.Linear(2, 2).load_state_dict(m.state_dict())


def test_copies_pickles_and_files():
    m = nn.Linear(2, 2, device="meta")
    copied = copy.deepcopy(m)
    assert copied.weight.is_meta and copied.weight is not m.weight and type(copied.weight) is nn.Parameter
    file = io.BytesIO()
    torch.save(m.state_dict(), file)
    file.seek(0)
    assert torch.load(file)["weight"].is_meta
    file = io.BytesIO()
    torch.save({"a": torch.ones(2)}, file)
    file.seek(0)
    assert torch.load(file, map_location="meta")["a"].is_meta


def test_the_default_device():
    try:
        torch.set_default_device("meta")
        assert torch.ones(2).is_meta and torch.get_default_device().type == "meta" and nn.Linear(2, 2).weight.is_meta
    finally:
        torch.set_default_device(None)
    assert not torch.ones(2).is_meta and torch.get_default_device().type == "cpu"
