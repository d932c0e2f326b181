"""What may not be done within transforms, and what random numbers a map draws. Expected values and words are PyTorch's."""

import threading

import numpy
import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from hookgrad.nn import functional as F

ONES = torch.ones(3, 2)
ITEM, FLOW, EITHER = (
    "re calling .item()",
    "in some data-dependent control flow. We don't",
    "re either (1) calling .item()",
)


def fails(call, words):
    with pytest.raises(RuntimeError) as caught:
        call()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "read, words",
    [
        (lambda x: x.sum().item(), ITEM),
        (lambda x: int(x[0]), ITEM),
        (lambda x: float(x.detach()[0]), ITEM),
        (lambda x: [1, 2][x[0].long()], ITEM),
        (lambda x: f"{x[0]:.2f}", ITEM),
        (lambda x: torch.zeros_like(x)[0].item(), ITEM),
        (lambda x: 1 if x.sum() > 0 else 2, FLOW),
        (lambda x: bool((x > 0).any()), FLOW),
        (lambda x: x.data, "accessing `data` under vmap transform is not allowed"),
        (
            lambda x: setattr(x, "data", torch.ones(2)) or x,
            "mutating directly with `.data` under vmap transform is not",
        ),
        (lambda x: max(x), FLOW),
        (lambda x: x.tolist(), "Cannot access data pointer"),
        (lambda x: numpy.asarray(x), "Cannot access data pointer"),
        (lambda x: x.nonzero(), "output dynamic shape. Attempted to vmap over aten::nonzero"),
        (lambda x: torch.where(x > 0), "output dynamic shape. Attempted to vmap over aten::where"),
        (lambda x: torch.unique(x), "output dynamic shape. Attempted to vmap over aten::_unique2"),
        (lambda x: torch.masked_select(x, x > 0), "Attempted to vmap over `mask`"),
        (lambda x: x[x > 0], "indexing with a boolean mask"),
        (lambda x: torch.equal(x, x), "not implemented for aten::equal"),
        (nn.BatchNorm1d(2), "Batch norm got a batched tensor"),
    ],
)
def test_a_sample_has_no_value_of_its_own(read, words):
    x = torch.ones(3, 4, 2) if isinstance(read, nn.Module) else ONES
    fails(lambda: vmap(lambda x: x * 1 if read(x) is None else x)(x), words)
    assert read(x[0]) is not None


def test_what_is_the_same_for_all_samples_can_be_read():
    two = torch.tensor(2.0)
    assert vmap(lambda x: x * 2 if two > 0 else x)(ONES).tolist() == (ONES * 2).tolist()
    assert vmap(lambda x, y: x * y.item(), in_dims=(0, None))(ONES, two).tolist() == (ONES * 2).tolist()
    assert vmap(lambda x: x * torch.ones(3).sum().item())(ONES).tolist() == (ONES * 3).tolist()
    for transform in (jacrev, jacfwd):
        assert transform(lambda x: x * 2 if x.sum() > 0 else x)(ONES[0]).tolist() == [[2, 0], [0, 2]]
    assert hessian(lambda x: (x**2).sum() if x.sum() > 0 else x.sum())(ONES[0]).tolist() == [[2, 0], [0, 2]]
    assert grad(lambda x: x * x.item())(two) == 2


def test_a_sample_can_be_an_index():
    at, table = torch.tensor([2, 0]), torch.arange(6.0).view(3, 2)
    assert vmap(lambda i: table[i])(at).tolist() == [[4, 5], [0, 1]]
    assert vmap(lambda i: table[i, 1])(at).tolist() == [5, 1]
    assert vmap(lambda x, i: x[i])(table[1:], at // 2).tolist() == [3, 4]
    fails(lambda: vmap(lambda i: table[i:])(at), ITEM)


def test_a_map_is_seen_through_other_transforms():
    x = torch.arange(3.0)
    fails(lambda: vmap(grad(lambda x: x * 2 if x > 0 else x))(x), FLOW)
    fails(lambda: vmap(lambda x: vmap(lambda y: y if x > 0 else -y)(torch.ones(2)))(x), FLOW)
    assert vmap(lambda x: x + 1)(x)[2].item() == 3 and x.sum().item() == 3  # outside again
    seen = []
    vmap(lambda x: seen.append(x) or x)(x)
    assert "BatchedTensor(lvl=1, bdim=0, value=\n    tensor([0., 1., 2.])\n)" == repr(seen.pop())
    other = threading.Thread(target=lambda: seen.append(x.sum().item()))
    vmap(lambda x: (other.start(), other.join(), x)[2])(x)
    assert seen == [3]


@pytest.mark.parametrize(
    "write, words",
    [
        (lambda c, x: c.mul_(x), "inplace arithmetic(self, *extra_args)"),
        (lambda c, x: c.copy_(x), "inplace arithmetic(self, *extra_args)"),
        (lambda c, x: c.addcmul_(x, x), "(self, *extra_args)"),
        (lambda c, x: c.fill_(x[0]), "(self, *extra_args)"),
        (lambda c, x: c.__setitem__(0, x[0]), "inplace arithmetic(self, *extra_args)"),
        (lambda c, x: c.__setitem__(torch.tensor([0, 1]), x), "(self, *extra_args)"),
    ],
)
def test_a_sample_is_not_written_into_what_is_the_same_for_all(write, words):
    c = torch.zeros(2)
    fails(lambda: vmap(lambda x: (write(c, x), x)[1])(ONES), words)
    assert c.tolist() == [0, 0]

    def into(make):
        return vmap(lambda x: (lambda z: (write(z, x), z)[1])(make(x)))(ONES)

    fails(lambda: into(lambda x: torch.zeros(2)), words)
    assert into(torch.zeros_like).shape == into(lambda x: x.new_zeros(2)).shape == (3, 2)


@pytest.mark.parametrize(
    "write, name",
    [
        (lambda c, x: c.add_(x), "aten::add_.Tensor"),
        (lambda c, x: c.zero_(), "aten::zero_"),
        (lambda c, x: c[0].mul_(2), "aten::mul_.Tensor"),
        (lambda c, x: c.detach().add_(1), "aten::add_.Tensor"),
        (lambda c, x: c.uniform_(), "aten::uniform_"),
        (lambda c, x: c.__setitem__(0, x[0]), "aten::copy_"),
        (lambda c, x: F.relu(c, inplace=True), "aten::relu_"),
    ],
)
def test_what_a_differentiated_function_has_captured_is_not_written(write, name):
    c, x = torch.zeros(2), ONES[0]

    def f(x):
        write(c, x)
        return x.sum()

    for call in (grad(f), jacrev(f), jacfwd(f), lambda x: vjp(f, x), lambda x: jvp(f, (x,), (x,))):
        fails(lambda call=call: call(x), f"in-place operation ({name}) that would mutate a captured Tensor")
    assert c.tolist() == [0, 0] and not c.requires_grad

    for make in (lambda: torch.zeros(2), lambda: torch.tensor([0.0, 0.0]), lambda: torch.from_numpy(numpy.zeros(2))):
        grad(lambda x, make=make: (write(make(), x), x.sum())[1])(x)


def test_batch_statistics_are_captured_as_well():
    bn = nn.BatchNorm1d(2)
    parameters = {name: p.detach() for name, p in bn.named_parameters()}
    fails(lambda: grad(lambda p: functional_call(bn, p, ONES).sum())(parameters), "aten::add_.Tensor")
    assert bn.num_batches_tracked == 0 and bn.running_mean.tolist() == [0, 0]
    grad(lambda p: functional_call(bn.eval(), p, ONES).sum())(parameters)


def seeded(f, rule, x=ONES, **options):
    torch.manual_seed(1)
    return vmap(f, randomness=rule, **options)(x)


def test_a_map_draws_for_all_samples_at_once():
    torch.manual_seed(1)
    first, second = torch.rand(3, 2), torch.rand(3, 1)
    got = seeded(lambda x: (torch.rand(2) + x, torch.rand(1)), "different")
    assert got[0].equal(first + 1) and got[1].equal(second)
    torch.manual_seed(1)
    normal, kept = torch.randn(3, 8), torch.nn.functional.dropout(torch.ones(3, 8))
    got = seeded(lambda x: (torch.randn(8), F.dropout(x.new_ones(8))), "different")
    assert got[0].equal(normal) and got[1].equal(kept)
    torch.manual_seed(1)
    both = torch.rand(3, 2, 1)
    assert seeded(vmap(lambda x: x * 0 + torch.rand(1), randomness="different"), "different").equal(
        both[..., 0][..., None]
    )
    torch.manual_seed(1)
    uniform = torch.empty(3, 2).uniform_()
    assert seeded(lambda x: x.clone().uniform_(), "different").equal(uniform)


def test_a_map_that_draws_the_same_goes_on_as_after_one_sample():
    torch.manual_seed(1)
    first, orders, after = torch.rand(2), torch.randperm(4), torch.rand(1)
    got = seeded(lambda x: (torch.rand(2) + x, torch.randperm(4)), "same")
    assert got[0].equal((first + 1).expand(3, 2)) and got[1].equal(orders.expand(3, 4)) and torch.rand(1).equal(after)
    chunks = seeded(lambda x: torch.rand(2) + x, "same", chunk_size=2)
    assert chunks.equal(got[0])
    changed = seeded(lambda x: (torch.rand(2).mul_(2), torch.rand(2))[0], "same")
    assert changed.equal((first * 2).expand(3, 2))


def test_rules_of_drawing():
    refused = "called random operation while in randomness error mode"
    g = torch.Generator()
    state = torch.get_rng_state()
    for draw in (torch.rand_like, F.dropout, lambda x: torch.rand(2, generator=g), torch.bernoulli):
        fails(lambda draw=draw: vmap(draw)(ONES / 2), refused)
    assert torch.get_rng_state().equal(state)
    for draw in (torch.bernoulli, lambda x: torch.normal(x, x)):
        fails(lambda draw=draw: seeded(draw, "same"), "same randomness with a batched tensor input")
        assert seeded(draw, "different").shape == (3, 2)
    fails(
        lambda: seeded(lambda x: torch.zeros(2).normal_(), "different"), "different inplace randomness on an unbatched"
    )


def test_dimensions_fit_in_type_too():
    for call, words in (
        (lambda: vmap(torch.mul, in_dims=(0, "a"))(ONES, ONES), "in_dim must be either an integer"),
        (
            lambda: vmap(lambda p: p[0], in_dims=((0, None),))([ONES, ONES]),
            "not compatible with the structure of `inputs`",
        ),
        (lambda: vmap(lambda x: x, out_dims="a")(ONES), "`out_dims` must be an int, None or a python collection"),
        (lambda: vmap(lambda x: x * 0, out_dims=None)(ONES), "can not return a BatchedTensor"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    assert vmap(lambda x: x, out_dims=(1,))(ONES).shape == (2, 3)
    same = vmap(lambda x: torch.arange(2.0))(ONES)
    assert same.tolist() == [[0, 1]] * 3 and same.stride() == (0, 1)


SAVED = "don't yet support saved tensor hooks"


def test_saved_tensor_hooks_are_refused_where_a_transform_goes_backward():
    x, packed = ONES[0], []

    def hooks():
        return torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t)

    def within(x):
        with hooks():
            return (x**3).sum()

    for f in (lambda x: (x**3).sum(), within):
        for call in (grad(f), jacrev(f), hessian(f), lambda x, f=f: vjp(f, x), lambda x, f=f: vmap(grad(f))(ONES)):
            if f is within:
                fails(lambda call=call: call(x), SAVED)
            else:
                with hooks():
                    fails(lambda call=call: call(x), SAVED)
    assert not packed
    with hooks():
        assert jvp(lambda x: (x**3).sum(), (x,), (x,))[1] == 6 and not packed
    assert jvp(within, (x,), (x,))[1] == 6
    vmap(within)(ONES.clone().requires_grad_())
    assert packed


def test_a_hook_is_for_what_has_a_gradient_in_the_innermost_transform():
    seen = []

    def hooked(x):
        y = x * 2
        y.register_hook(seen.append)
        return y.sum()

    fails(
        lambda: vmap(hooked)(ONES.clone().requires_grad_()), "cannot register a hook on a tensor that doesn't require"
    )
    assert vmap(grad(hooked))(ONES).tolist() == (ONES * 2).tolist() and len(seen) == 1


def test_a_checkpoint_in_a_map():
    from hookgrad.utils.checkpoint import checkpoint

    x = ONES.clone().requires_grad_()
    vmap(lambda x: checkpoint(torch.square, x, use_reentrant=False).sum())(x).sum().backward()
    assert x.grad.tolist() == (ONES * 2).tolist()
    fails(lambda: grad(lambda x: checkpoint(torch.square, x, use_reentrant=False).sum())(ONES), SAVED)


def test_gradients_of_dual_tensors_have_tangents():
    x, t = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, t)
        value, product = vjp(lambda x: x**3, dual)
        gradient = grad(lambda x: (x**3).sum())(dual)
        for result, primal, tangent in (
            (gradient, [3, 12], [6, 0]),
            (value, [1, 8], [3, 0]),
            (product(torch.ones(2))[0], [3, 12], [6, 0]),
            (jacrev(lambda x: x**3)(dual), [[3, 0], [0, 12]], [[6, 0], [0, 0]]),
        ):
            got = torch.autograd.forward_ad.unpack_dual(result)
            assert (got.primal.tolist(), got.tangent.tolist(), got.tangent.requires_grad) == (primal, tangent, False)
        wide = torch.autograd.forward_ad.make_dual(x, t.double())
        assert torch.autograd.forward_ad.unpack_dual(wide).tangent.dtype == torch.float64


def test_inference_mode_outside_of_a_transform():
    with torch.inference_mode():
        for x in (ONES[0], torch.ones(2)):
            assert grad(lambda x: (x**2).sum())(x).tolist() == [2, 2]
            assert jvp(torch.square, (x,), (x,))[1].tolist() == [2, 2]
            assert jacrev(torch.square)(x).tolist() == [[2, 0], [0, 2]]


def test_the_steps_of_a_derivative_and_of_checks_are_no_program():
    x = ONES * torch.tensor([[1.0], [2.0], [3.0]])
    written = vmap(grad(lambda x: (lambda y: (y.__setitem__(slice(0, 1), 0.0), y)[1])(x.clone()).square().sum()))(x)
    assert written.tolist() == [[0, 2], [0, 4], [0, 6]]
    filled = vmap(grad(lambda x: x.masked_fill(x > 1, x.sum()).sum()))(x)
    assert filled.tolist() == [[1, 1], [2, 2], [2, 2]]
    assert vmap(lambda x: torch.distributions.Normal(x, 1.0).log_prob(x).exp())(x).shape == (3, 2)
    assert vmap(lambda x: torch.combinations(x))(x).tolist() == [[[1, 1]], [[2, 2]], [[3, 3]]]


@pytest.mark.parametrize("transform", [grad, jacrev, lambda f: lambda x: jvp(f, (x,), (x,))])
def test_what_is_made_within_a_transform_is_written_to(transform):
    def f(x):
        layer, parameter = nn.Linear(2, 2), nn.Parameter(torch.zeros(2))
        parameter.data.add_(1)
        nn.init.ones_(layer.weight)
        return (layer(x) * parameter * torch.empty(2).fill_(1)).sum()

    transform(f)(torch.ones(3, 2))


def test_an_initialiser_draws_within_jacfwd_as_its_randomness_says():
    def f(x):
        return nn.init.normal_(torch.empty(2)) * x

    assert jacfwd(f, randomness="same")(torch.ones(2)).count_nonzero() == 2
    with pytest.raises(RuntimeError, match="randomness"):
        jacfwd(f)(torch.ones(2))


def test_tensors_that_transforms_know_print_as_wrappers():
    seen = []

    def f(x):
        seen.extend([str(x * 2), f"{x[None]}", repr(torch.ones(1))])
        return x.sum()

    x, plain = torch.tensor([1.0, 2.0]), "tensor([1.])"
    vmap(f)(x[None])
    assert seen == [
        "BatchedTensor(lvl=1, bdim=0, value=\n    tensor([[2., 4.]])\n)",
        "BatchedTensor(lvl=1, bdim=0, value=\n    tensor([[[1., 2.]]])\n)",
        plain,
    ]
    for transform in (grad(f), jacrev(f), lambda x: jvp(f, (x,), (x,))):
        seen.clear()
        transform(x)
        assert seen[0] == "GradTrackingTensor(lvl=1, value=\n    tensor([2., 4.])\n)" and seen[2] == plain
    seen.clear()
    vmap(grad(f))(x[None])
    assert seen[0] == (
        "GradTrackingTensor(lvl=2, value=\n    BatchedTensor(lvl=1, bdim=0, value=\n        tensor([[2., 4.]])\n    )\n)"
    )
    assert repr(x) == "tensor([1., 2.])"


def test_an_argument_of_a_differentiated_function_is_written_to():
    bn, x = nn.BatchNorm1d(2), ONES + torch.arange(3.0)[:, None]
    parameters = {name: p.detach() for name, p in bn.named_parameters()}
    buffers = {name: b.clone() for name, b in bn.named_buffers()}

    def loss(parameters, buffers, x):
        return functional_call(bn, (parameters, buffers), x).pow(3).sum()

    for transform in (grad, jacrev, jacfwd):
        transform(loss)(parameters, buffers, x)
    grad(lambda parameters, x, buffers: loss(parameters, buffers, x))(parameters, x, buffers=buffers)
    assert buffers["num_batches_tracked"] == 4 and buffers["running_mean"].tolist() != [0, 0]
    assert bn.num_batches_tracked == 0
    target = torch.zeros(2)
    assert jacfwd(lambda x, y: y.copy_(x))(ONES[0], target).tolist() == [[1, 0], [0, 1]] and target.tolist() == [1, 1]
    other = ONES[0].clone().requires_grad_()
    grad(lambda x, y: (x * y).sum())(ONES[0], other).sum().backward()
    assert other.grad.tolist() == [1, 1]


def test_a_batch_norm_without_statistics_is_mapped():
    bn, x = nn.BatchNorm1d(2, track_running_stats=False), torch.arange(24.0).view(3, 4, 2)
    assert vmap(bn)(x).equal(torch.stack([bn(each) for each in x]))


def test_a_functions_forward_may_leave_for_numpy():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return torch.from_numpy(x.numpy() ** 3), x.numpy()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.x = output[1]

        @staticmethod
        def backward(ctx, gradient, _):
            return gradient * torch.from_numpy(3 * ctx.x**2)

    x = torch.tensor([1.0, 2.0])
    assert grad(lambda x: Cube.apply(x)[0].sum())(x).tolist() == [3, 12]
    assert grad(lambda x: Cube.apply(x)[0].mul_(2).sum())(x).tolist() == [6, 24]


def test_data_of_what_is_no_sample_is_there():
    x, c = ONES * 2, torch.ones(2)
    assert vmap(lambda x: c.data * x)(x).equal(x)
    assert vmap(grad(lambda x: (x.data * x).sum()))(x).equal(x)
    with pytest.raises(RuntimeError, match="accessing `data`"):
        grad(lambda x: vmap(lambda y: y.data)(x).sum())(x)


def test_a_hook_in_jacfwd_finds_no_gradient():
    def f(x):
        y = x * 2
        y.register_hook(print)
        return y * y

    fails(lambda: jacfwd(f)(ONES[0]), "cannot register a hook on a tensor that doesn't require gradient")
    seen = []
    assert hessian(lambda x: (x.register_hook(seen.append), x.pow(2).sum())[1])(ONES[0]).tolist() == [[2, 0], [0, 2]]
    assert seen


def test_a_map_gives_the_argument_that_it_was_given():
    x = torch.arange(6.0).view(2, 3).requires_grad_()
    y = x.detach().clone()
    assert vmap(lambda x: x)(x) is x and vmap(vmap(lambda x: x), in_dims=1, out_dims=1)(x) is x
    assert vmap(lambda x: x, in_dims=-1, out_dims=1)(x) is x and vmap(lambda x, y: (x * 2, y))(x, y)[1] is y
    turned = vmap(lambda x: x, out_dims=1)(x)
    assert turned.shape == (3, 2) and turned.data_ptr() == x.data_ptr()
    assert vmap(lambda x: x.mul_(2))(y) is y and y.tolist() == [[0, 2, 4], [6, 8, 10]]
    assert vmap(lambda x: x, chunk_size=1)(y).equal(y)
