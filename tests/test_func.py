"""Functions made of functions. Expected values and words are PyTorch's."""

from functools import partial

import pytest

import hookgrad as torch
import hookgrad.nn.functional as F
from hookgrad import func, nn
from hookgrad.func import (
    functional_call,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    stack_module_state,
    vjp,
    vmap,
)

A = torch.tensor([1.0, 2.0])
BATCH = torch.arange(6.0).reshape(3, 2)


def cube(x):
    return (x**3).sum()


def test_grad():
    assert grad(cube)(A).tolist() == [3, 12]
    assert grad(grad(lambda x: x**3))(torch.tensor(2.0)) == 12
    both = grad(lambda x, y: (x * y).sum(), argnums=(0, 1))(A, A * 3)
    assert [g.tolist() for g in both] == [[3, 6], [1, 2]]
    tree = grad(lambda d: (d["w"] * d["b"][0]).sum())({"w": A, "b": [A * 2]})
    assert tree["w"].tolist() == [2, 4] and tree["b"][0].tolist() == [1, 2]
    gradient, (value, aux) = grad_and_value(lambda x: (cube(x), [x * 2]), has_aux=True)(A)
    assert (gradient.tolist(), value.item(), aux[0].tolist()) == ([3, 12], 9, [2, 4])
    assert grad(lambda x: torch.tensor(1.0))(A).tolist() == [0, 0]
    with torch.no_grad():
        assert grad(cube)(A).tolist() == [3, 12]


def test_results_depend_on_what_requires_a_gradient_outside():
    w, x = torch.ones(2, requires_grad=True), A.clone().requires_grad_()
    assert not grad(cube)(A).requires_grad and not vjp(torch.exp, A)[0].requires_grad
    (second,) = torch.autograd.grad(grad(lambda x: (x * w).pow(2).sum())(A).sum(), w)
    assert second.tolist() == [4, 8]
    (second,) = torch.autograd.grad(grad(cube)(x).sum(), x)
    assert second.tolist() == [6, 12] and x.grad is None
    with torch.no_grad():
        assert grad(cube)(x).tolist() == [3, 12]


def test_products():
    value, product = vjp(lambda x, y: (x * y, x.sum()), A, A * 2)
    assert value[0].tolist() == [2, 8]
    assert [g.tolist() for g in product((A, torch.tensor(2.0)))] == [[4, 10], [1, 4]]
    assert [t.tolist() for t in jvp(torch.square, (A,), (A,))] == [[1, 4], [2, 8]]
    value, tangent, aux = jvp(lambda x: (x**2, x * 2), (A,), (A,), has_aux=True)
    assert (tangent.tolist(), aux.tolist()) == ([2, 8], [2, 4])


def test_jacobians():
    for jacobian in (jacrev, jacfwd):
        assert jacobian(torch.square)(A).tolist() == [[2, 0], [0, 4]]
        assert jacobian(lambda x: {"sum": x.sum()})(A)["sum"].tolist() == [1, 1]
    assert hessian(cube)(A).tolist() == [[6, 0], [0, 12]]
    rows = hessian(lambda x, y: (x * y).sum(), argnums=(0, 1))(A, A)
    assert [[h.tolist() for h in row] for row in rows] == [
        [[[0, 0], [0, 0]], [[1, 0], [0, 1]]],
        [[[1, 0], [0, 1]], [[0, 0], [0, 0]]],
    ]


def test_maps_over_a_batch():
    assert torch.vmap is vmap
    assert vmap(torch.dot, in_dims=(0, None))(BATCH, A).tolist() == [2, 8, 14]
    assert vmap(lambda v: (v * 2, v.sum()), out_dims=(1, 0))(BATCH)[0].tolist() == (BATCH * 2).t().tolist()
    assert vmap(vmap(lambda e: e + 1))(BATCH).tolist() == (BATCH + 1).tolist()
    assert vmap(jacrev(torch.square))(BATCH).shape == (3, 2, 2)


def test_gradients_for_each_sample():
    net = nn.Linear(2, 1)
    nn.init.ones_(net.weight), nn.init.zeros_(net.bias)
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def loss(parameters, x):
        return functional_call(net, parameters, (x,)).pow(2).sum()

    gradients = vmap(grad(loss), in_dims=(None, 0))(parameters, BATCH)
    assert gradients["bias"].tolist() == [[2], [10], [18]] and net.weight.grad is None
    stacked, buffers = stack_module_state([net, net])
    assert stacked["weight"].shape == (2, 1, 2) and stacked["weight"].requires_grad and buffers == {}


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda: grad(torch.exp)(A), RuntimeError, "to return a scalar Tensor, got tensor with 1 dims"),
        (lambda: grad(cube)(3.0), ValueError, "Thing passed to transform API must be Tensor"),
        (lambda: grad(cube, argnums=1)(A), RuntimeError, "Got argnum=1, but only 1 positional inputs"),
        (lambda: grad(cube, argnums="x")(A), RuntimeError, r"argnums must be int or Tuple\[int, ...\]"),
        (lambda: grad(cube, has_aux=True)(A), RuntimeError, r"should be a tuple: \(output, aux\) if has_aux is True"),
        (lambda: jvp(cube, A, (A,)), RuntimeError, "Expected primals to be a tuple"),
        (lambda: vmap(cube)(), ValueError, "got no inputs"),
        (lambda: vmap(cube)(3), ValueError, "We cannot vmap over non-Tensor arguments"),
        (lambda: vmap(cube, in_dims=5)(BATCH), ValueError, "expected in_dim to satisfy -2 <= in_dim < 2"),
        (lambda: vmap(torch.dot)(BATCH, A), ValueError, "Expected all tensors to have the same size in the mapped"),
        (lambda: vmap(lambda v: 3)(BATCH), ValueError, "must only return Tensors"),
    ],
)
def test_errors(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


class WithoutSetup(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


class WithoutRule(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x * 2

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


class WithRule(WithoutRule):
    generate_vmap_rule = True


class WithTwoRules(WithRule):
    @staticmethod
    def vmap(info, in_dims, x):
        return WithTwoRules.apply(x), in_dims[0]


def test_a_function_says_what_it_lacks_in_a_transform():
    x = torch.ones(2)
    for transform in (vmap, jacrev, grad):
        with pytest.raises(RuntimeError, match="must override the setup_context staticmethod"):
            transform(lambda x: WithoutSetup.apply(x).sum())(x)
    with pytest.raises(RuntimeError, match="WithoutRule, but it does not have vmap support"):
        vmap(WithoutRule.apply)(x)
    with pytest.raises(RuntimeError, match="both generate_vmap_rule=True and an overridden vmap"):
        vmap(WithTwoRules.apply)(x)
    assert grad(lambda x: WithoutRule.apply(x).sum())(x).tolist() == [2, 2]
    assert vmap(WithRule.apply)(x).tolist() == [2, 2]
    assert WithoutSetup.apply(x).tolist() == [2, 2]  # outside again


class Outer(WithoutRule):
    """Adds up what it is given, and says how it was called."""

    calls = []

    @staticmethod
    def forward(x, y, factor):
        return x * y * factor

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[:2])
        ctx.factor = inputs[2]

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * y * ctx.factor, grad * x * ctx.factor, None

    @staticmethod
    def vmap(info, in_dims, x, y, factor):
        Outer.calls.append((tuple(info), in_dims, tuple(x.shape), tuple(y.shape)))
        x, y = (t if d is None else t.movedim(d, 0) for t, d in zip((x, y), in_dims))
        return Outer.apply(x, y, factor), 0


def test_a_functions_own_vmap_is_called_once_for_all_samples():
    """PyTorch's log, to the shapes: arguments come as they are where the map got them, else with the batch in front."""

    def calls(f, *args):
        Outer.calls.clear()
        return f(*args), Outer.calls

    ones = torch.ones(2)
    product, log = calls(vmap(lambda a: Outer.apply(a, ones, 2.0), in_dims=1, randomness="same"), BATCH.t())
    assert product.tolist() == (BATCH * 2).tolist()
    assert log == [((3, "same"), (1, None, None), (2, 3), (2,))]
    product, log = calls(vmap(lambda a: Outer.apply(Outer.apply(a, a + 1, 1.0), a, 2.0).sum()), BATCH)
    assert product.tolist() == (BATCH**2 * (BATCH + 1) * 2).sum(1).tolist()
    assert [call[1] for call in log] == [(0, 0, None), (0, 0, None)]
    gradient, log = calls(grad(lambda x: vmap(lambda a: Outer.apply(a, a, 1.0))(x).sum()), BATCH)
    assert gradient.tolist() == (BATCH * 2).tolist() and len(log) == 1
    gradient, log = calls(vmap(grad(lambda a: Outer.apply(a, a, 1.0).sum())), BATCH)
    assert gradient.tolist() == (BATCH * 2).tolist() and len(log) == 1
    x = BATCH.clone().requires_grad_()
    vmap(lambda a: Outer.apply(a, a, 1.0))(x).sum().backward()
    assert x.grad.tolist() == (BATCH * 2).tolist()


@pytest.mark.parametrize(
    "returned, error",
    [(lambda x: x, RuntimeError), (lambda x: (x, (0, 0)), RuntimeError), (lambda x: (1 / 0, 0), ZeroDivisionError)],
)
def test_what_a_functions_own_vmap_may_return(returned, error):
    class Fails(WithoutRule):
        vmap = staticmethod(lambda info, in_dims, x: returned(x))

    with pytest.raises(error):
        vmap(Fails.apply)(BATCH)


def test_a_function_is_called_once_for_all_samples():
    seen, net = [], nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    net.register_forward_hook(lambda module, args, output: seen.append(("forward", args[0].shape, output.shape)))
    net[0].register_full_backward_hook(lambda module, grad_in, grad_out: seen.append(("backward", grad_out[0].shape)))
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def loss(parameters, x):
        y = func.functional_call(net, parameters, x)
        y.register_hook(lambda grad: seen.append(("hook", grad.shape, x.requires_grad)))
        return y.square().sum()

    x = torch.randn(5, 3)
    got = vmap(func.grad(loss), in_dims=(None, 0))(parameters, x)
    assert seen == [("forward", (3,), (2,)), ("hook", (2,), False), ("backward", (3,))]
    for i in range(5):
        alone = func.grad(loss)(parameters, x[i])
        assert all(torch.allclose(got[name][i], alone[name], atol=1e-6) for name in parameters)


NETS = {
    "convolutions": (
        [nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)],
        (3, 8, 8),
    ),
    "rows": ([nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Dropout(0.0), nn.Linear(8, 3)], (6,)),
    "words": ([nn.Embedding(7, 4, padding_idx=1, scale_grad_by_freq=True), nn.Flatten(), nn.Linear(20, 3)], (5,)),
}
LOSSES = {
    "nll_loss": lambda y, t: F.nll_loss(y.log_softmax(-1), t, ignore_index=1),
    "cross_entropy": lambda y, t: F.cross_entropy(y, t),
    "with_logits": lambda y, t: F.binary_cross_entropy_with_logits(
        y.roll(1), F.one_hot(t, 3).float(), pos_weight=y[0].detach().exp()
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("net", NETS)
def test_usual_networks_are_computed_on_batches_alone(net, loss, monkeypatch):
    def each(call):
        pytest.fail(f"{call.row['name']} is computed for each entry")

    layers, shape = NETS[net]
    model, n = nn.Sequential(*layers), 4
    x = torch.randint(0, 7, (n, *shape)) if net == "words" else torch.randn(n, *shape)
    parameters, targets = {k: p.detach() for k, p in model.named_parameters()}, torch.tensor([0, 1, 2, 0])

    def loss_of(parameters, x, target):
        return LOSSES[loss](func.functional_call(model, parameters, x[None]), target[None])

    alone = [func.grad(loss_of)(parameters, x[i], targets[i]) for i in range(n)]
    monkeypatch.setattr("hookgrad._batched.Call.each", each)
    got = vmap(func.grad(loss_of), in_dims=(None, 0, 0), randomness="different")(parameters, x, targets)
    for name, grads in got.items():
        assert torch.allclose(grads, torch.stack([grad[name] for grad in alone]), atol=1e-5, equal_nan=True), name


def test_jacobians_call_hooks_once_with_all_rows():
    x, seen = torch.tensor([1.0, 2.0], requires_grad=True), []

    def f(x):
        y = x**2
        y.register_hook(seen.append)
        return y

    assert func.jacrev(f)(x.detach()).tolist() == [[2, 0], [0, 4]] and seen.pop().shape == (2,) and not seen
    (rows,) = torch.autograd.grad(f(x), x, torch.eye(2), is_grads_batched=True)
    assert rows.tolist() == [[2, 0], [0, 4]] and seen.pop().shape == (2,) and not seen


def test_what_a_map_gives_of_a_view_lies_in_its_memory():
    x = torch.zeros(3, 2)
    vmap(lambda x: x[:1])(x).fill_(1)
    vmap(lambda x: x.t_().mul_(2) if x.dim() == 2 else x.add_(2))(x)
    assert x.tolist() == [[3, 2]] * 3


def test_vmap_maps_no_keyword():
    assert vmap(lambda x, k: x.sum() * k)(BATCH, k=A).tolist() == [[1, 2], [5, 10], [9, 18]]


def test_products_say_what_does_not_fit():
    _, product = vjp(lambda x: (x, {"twice": x * 2}), A)
    with pytest.raises(RuntimeError, match="Expected pytree structure of cotangents to be the same"):
        product((A, A))
    with pytest.raises(RuntimeError, match="Expected tangents to only contain Tensors"):
        jvp(torch.sin, (A,), (3.0,))
    for call in (lambda x: jvp(torch.sin, (x,), (A,)), jacfwd(torch.sin)):
        with pytest.raises(ValueError, match="Expected primal to be floating point"):
            call(torch.tensor([1, 2]))
    for call in (lambda x: vjp(torch.Tensor.int, x), jacrev(torch.Tensor.int)):
        with pytest.raises(RuntimeError, match="All outputs of f must be floating-point"):
            call(A)
    assert jvp(torch.Tensor.int, (A,), (A,))[1].tolist() == [0, 0]


def test_jvp_goes_by_a_functions_own_jvp_and_says_where_there_is_none():
    class Forward(WithoutRule):
        @staticmethod
        def jvp(ctx, tangent):
            return tangent * 5  # to be told from the derivative

    x, t = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])
    with pytest.raises(NotImplementedError, match="You must implement the jvp function"):
        torch.func.jvp(WithoutRule.apply, (x,), (t,))
    value, out = torch.func.jvp(lambda x: Forward.apply(x * 1).sin(), (x,), (t,))
    assert torch.allclose(value, (2 * x).sin()) and torch.allclose(out, 5 * t * (2 * x).cos())
    value, out, aux = torch.func.jvp(lambda x: (Forward.apply(x), x), (x,), (t,), has_aux=True)
    assert out.equal(5 * t) and aux.equal(x)
    assert torch.func.vjp(Forward.apply, x)[1](t)[0].equal(2 * t)


def test_jacfwd_asks_of_a_function_what_a_map_over_tangents_needs():
    x = torch.tensor([1.0, 2.0])
    assert torch.func.jacrev(WithoutRule.apply)(x).tolist() == [[2.0, 0.0], [0.0, 2.0]]
    with pytest.raises(RuntimeError, match="does not have vmap support"):
        torch.func.jacfwd(WithoutRule.apply)(x)
    with pytest.raises(NotImplementedError, match="You must implement the jvp function"):
        torch.func.jacfwd(WithRule.apply)(x)


def test_batch_norms_are_made_to_track_nothing():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.InstanceNorm1d(2, track_running_stats=True))
    assert torch.func.replace_all_batch_norm_modules_(net) is net
    assert net[0].running_mean is net[0].num_batches_tracked is None and not net[0].track_running_stats
    assert net[1].track_running_stats and net(torch.rand(3, 2, 4)).shape == (3, 2, 4)


def test_a_map_over_starting_gradients_goes_through_one_graph():
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)

    def rows(starts, **options):
        y = x**2 * x.sum()
        return y, torch.vmap(lambda v: torch.autograd.grad(y, x, v, **options)[0])(starts)

    y, jacobian = rows(torch.eye(3))
    assert jacobian.tolist() == [[13, 1, 1], [4, 28, 4], [9, 9, 45]]
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(y.sum(), x)
    y, _ = rows(torch.eye(3), retain_graph=True)
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [26, 38, 50]


def test_a_map_that_fails_keeps_no_later_graph():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(ZeroDivisionError):
        torch.vmap(lambda v: v / 0 if v.dim() else 1 / 0)(torch.ones(3))
    y = x.exp()
    torch.autograd.grad(y.sum(), x)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(y.sum(), x)


def test_vmap_and_random_numbers():
    def noisy(x):
        return x + torch.rand(2)

    with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
        vmap(noisy)(BATCH)
    with pytest.raises(RuntimeError, match="Only allowed values for randomness are"):
        vmap(noisy, randomness="any")(BATCH)
    torch.manual_seed(0)
    drawn = torch.rand(3, 2)
    torch.manual_seed(0)
    assert torch.equal(vmap(noisy, randomness="same")(BATCH), BATCH + drawn[0])
    torch.manual_seed(0)
    assert torch.equal(vmap(noisy, randomness="different")(BATCH), BATCH + drawn)


def test_what_is_no_tensor_is_no_result():
    with pytest.raises(RuntimeError, match="Expected f\\(\\*args\\) to return a Tensor, got <class 'int'>"):
        grad(lambda x: 3)(A)
    with pytest.raises(
        RuntimeError, match="expected f\\(\\*primals\\) to return only tensors, got unsupported type <class 'int'>"
    ):
        vjp(lambda x: 3, A)


def test_what_a_function_gives_back_as_it_was_is_a_plain_tensor():
    x = torch.ones(2)
    value, _, aux = func.vjp(lambda x: (x, {"x": x}), x, has_aux=True)
    assert not value.requires_grad and not aux["x"].requires_grad
    assert not func.jvp(lambda x: x, (x,), (x,))[0].requires_grad
    outer = torch.ones(2, requires_grad=True)
    assert func.vjp(lambda x: x, outer)[0].requires_grad


def test_aux_is_of_tensors():
    for aux in (None, 3, (torch.ones(1), "text")):
        with pytest.raises(RuntimeError, match="Expected tensors, got unsupported type"):
            func.grad(lambda x, aux=aux: (x.sum(), aux), has_aux=True)(torch.ones(2))


def test_a_function_of_nothing_or_with_no_output_is_refused():
    x = torch.ones(2)
    for call in (lambda: func.vjp(lambda x: None, x), lambda: func.jvp(lambda x: (), (x,), (x,))):
        with pytest.raises(RuntimeError, match="non-empty output"):
            call()
    with pytest.raises(RuntimeError, match="at least one Tensor"):
        func.jvp(lambda: x, (), ())


def test_a_strict_jvp_refuses_an_output_that_does_not_depend():
    x = torch.ones(2)
    value, along = func.jvp(lambda x: (x, x * 2), (x,), (x,), strict=True)
    assert along[1].tolist() == [2, 2] and not value[0].requires_grad
    for f in (lambda x: torch.ones(1), lambda x: (x, torch.ones(1, requires_grad=True) * 2)):
        with pytest.raises(RuntimeError, match="independent of the inputs"):
            func.jvp(f, (x,), (x,), strict=True)


def test_vmap_draws_as_it_is_told():
    x, noisy = torch.zeros(3, 2), lambda x: x + torch.rand(2)
    for refused in (func.vmap(noisy), func.jacfwd(lambda x: noisy(x).sum()), func.hessian(lambda x: noisy(x).sum())):
        before = torch.get_rng_state()
        with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
            refused(x if refused.__name__ == "<lambda>" else x[0])
        assert torch.equal(before, torch.get_rng_state())
    same = func.vmap(noisy, randomness="same")(x)
    assert torch.equal(same[0], same[1]) and torch.equal(same[0], same[2]) and same.unique().numel() == 2
    assert func.vmap(noisy, randomness="different")(x).unique().numel() == 6
    with pytest.raises(RuntimeError, match="Only allowed values for randomness"):
        func.vmap(noisy, randomness="none")(x)
    for size in (0, -1):
        with pytest.raises(ValueError, match="chunk_size should be None or greater than 0"):
            func.vmap(noisy, chunk_size=size)


def test_vmap_over_no_entries_has_results_of_the_size_of_one():
    total, double = func.vmap(lambda x, y: (x.sum(), x * y), in_dims=(-1, None), out_dims=(0, 1))(
        torch.ones(4, 0), torch.ones(4)
    )
    assert total.shape == (0,) and double.shape == (4, 0)


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 6, 3, groups=2), nn.GroupNorm(2, 4), nn.MaxPool2d(2)])
def test_layers_map_over_no_entries(layer):
    assert vmap(layer)(torch.ones(0, 2, 4, 6, 6)).shape == (0, *layer(torch.ones(2, 4, 6, 6)).shape)


def test_one_hot_within_a_map_must_know_how_many_classes_there_are():
    t = torch.tensor([[0, 1], [2, 0]])
    assert torch.equal(vmap(lambda row: F.one_hot(row, 3))(t), F.one_hot(t, 3))
    with pytest.raises(RuntimeError, match="please provide an explicit positive num_classes"):
        vmap(F.one_hot)(t)


def test_vmap_in_chunks_calls_a_functions_own_vmap_once_a_chunk():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x * 2

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def vmap(info, in_dims, x):
            seen.append((info.batch_size, in_dims, x.shape))
            return x * 2, in_dims[0]

    seen = []
    x = torch.arange(6.0).view(3, 2)
    assert torch.equal(vmap(Double.apply, chunk_size=2)(x), x * 2)
    assert seen == [(2, (0,), (2, 2)), (1, (0,), (1, 2))]


def test_vmap_refuses_results_that_differ_where_they_are_said_to_be_the_same():
    x = torch.ones(2, 3)
    assert torch.equal(vmap(lambda t: (t, torch.ones(2)), out_dims=(0, None))(x)[1], torch.ones(2))
    with pytest.raises(ValueError, match="can not return a BatchedTensor when out_dim is None"):
        vmap(lambda t: (t, t.sum()), out_dims=(0, None))(torch.arange(6.0).view(2, 3))


def test_jvp_says_which_tangent_has_the_wrong_size():
    with pytest.raises(
        RuntimeError, match=r"Tensor is of size \[3\] while the given forward gradient is of size \[2\]"
    ):
        jvp(torch.sin, (torch.ones(3),), (torch.ones(2),))


def test_what_is_wrong_with_a_structure_is_shown():
    x = torch.ones(3, 2)
    with pytest.raises(RuntimeError, match=r"to return a Tensor, got <class 'tuple'>"):
        grad(lambda x: (x.sum(), 3))(x)
    with pytest.raises(RuntimeError, match=r"cotangents: \*, primal output: \(\*, \*\)"):
        vjp(lambda x: (x, x), x)[1](x)
    with pytest.raises(
        ValueError,
        match=r"in_dims has structure TreeSpec[\s\S]* but inputs has structure TreeSpec\(tuple, None, \[\*\]\)\.",
    ):
        vmap(lambda x: x, in_dims=(0, 0))(x)


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.jacrev, torch.func.vmap])
def test_what_goes_around_a_transform_is_refused_within_it(transform):
    def refused(call, words):
        def f(x):
            call(x)
            return x.sum()

        with pytest.raises(RuntimeError, match=words):
            transform(f)(torch.ones(2, 1) if transform is torch.func.vmap else torch.ones(2))

    refused(lambda x: x.sum().backward(), r"^backward\(\) called inside a functorch transform")
    refused(lambda x: torch.autograd.backward(x.sum()), r"^backward\(\) called inside a functorch transform")
    refused(
        lambda x: torch.ones(1).requires_grad_(), r"call Tensor.requires_grad_\(\) \(or perhaps .* inside of a function"
    )
    refused(lambda x: x.retain_grad(), r"call Tensor.retain_grad\(\) inside of a function being transformed")
    refused(lambda x: torch.autograd.functional.jacobian(torch.square, x), r"autograd\.functional\.\* APIs")
    torch.ones(1).requires_grad_().sum().backward()
    assert transform(lambda x: torch.nn.Parameter(x.detach()).sum())(torch.ones(2)).shape in ((), (2,))


def test_transforms_take_results_with_names_apart():
    result = torch.func.vmap(lambda x: x.sort(descending=True))(torch.arange(4.0).view(2, 2))
    assert type(result) is torch.return_types.sort and result.indices.tolist() == [[1, 0], [1, 0]]
    u, s, v = torch.func.vmap(torch.linalg.svd)(torch.eye(2).expand(3, 2, 2))
    assert s.shape == (3, 2)
    with pytest.raises(RuntimeError, match="All outputs of f must be floating-point"):
        torch.func.vjp(lambda x: x.max(0), torch.ones(2))


def test_what_is_wrong_is_said_by_the_transform_that_runs():
    x = torch.ones(3)
    for call, words in (
        (lambda: func.jacrev(lambda x: 3)(x), r"^vjp\(f, \*primals\): expected f\(\*primals\) to return only tensors"),
        (
            lambda: func.jacfwd(lambda x: 3)(x),
            r"^jvp\(f, primals, tangents\): expected f\(\*primals\) to return only tensors",
        ),
        (lambda: func.hessian(lambda x: 3)(x), r"^vjp\(f, \*primals\): expected"),
        (lambda: grad(cube, argnums=(0, "1"))(x, x), r"^argnum must be int, got: <class 'str'>"),
        (lambda: func.linearize(cube, x)[1](x, x), r"^Expected the tangents TreeSpec[\s\S]* to have the same argspec"),
        (lambda: func.linearize(cube, x)[1](A), r"^tangent:0 with shape torch.Size\(\[2\]\) in flattened pytree"),
        (lambda: func.linearize(cube, x)[1](x.double()), r"^tangent:0 with dtype torch.float64 in flattened pytree"),
    ):
        with pytest.raises(RuntimeError, match=words):
            call()
    with pytest.raises(
        ValueError, match=r"out_dims has structure TreeSpec\(list, None, \[\*\]\) but outputs has structure \*"
    ):
        vmap(lambda x: x, out_dims=[0])(x)


def test_a_product_is_recorded_as_the_mode_is_where_it_is_called():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    with torch.no_grad():
        value, product = vjp(torch.sin, x)
        assert not (value.requires_grad or product(x)[0].requires_grad)
    assert torch.autograd.grad(product(torch.ones(2))[0].sum(), x)[0].equal(-x.detach().sin())
    with torch.no_grad():
        assert not vjp(torch.sin, x)[1](x)[0].requires_grad
    assert jacrev(torch.square, chunk_size=1, _preallocate_and_copy=True)(A).tolist() == [[2, 0], [0, 4]]


@pytest.mark.parametrize("write", [lambda y, v: y.__setitem__(y > 1, v), lambda y, v: y.index_put((y > 1,), v)])
def test_a_map_does_not_write_where_a_mask_says(write):
    with pytest.raises(RuntimeError, match="Attempting to batch over indexing with a boolean mask"):
        vmap(lambda y: write(y.clone(), torch.tensor(0.0)))(torch.eye(2))


class Told(WithoutRule):
    """Says how its vmap was called."""

    seen = []
    answer = staticmethod(lambda x: (x, 0))

    @staticmethod
    def forward(x, others=None):
        return x * 1

    @staticmethod
    def vmap(info, in_dims, x, others=None):
        Told.seen.append((in_dims, others))
        return Told.answer(x * 1)


def test_a_functions_own_vmap_gets_trees_and_only_what_is_mapped():
    Told.seen.clear()
    same = torch.ones(2)
    other = BATCH.t()
    vmap(Told.apply, in_dims=(0, [1, {"a": None}]))(BATCH, [other, {"a": same}])
    ((dims, (first, named)),) = Told.seen
    assert dims == (0, [1, {"a": None}]) and first is other and named["a"] is same
    Told.seen.clear()
    vmap(lambda x: x * Told.apply(torch.ones(2)))(BATCH)  # not one of the map's
    assert vmap(grad(lambda x: (x * Told.apply(torch.ones(2)).mul_(3)).sum()))(BATCH).eq(3).all()
    assert not Told.seen
    vmap(lambda x: Told.apply(x * 2, [torch.ones(1), 3]))(BATCH)
    assert Told.seen[0][0] == (0, [None, None])


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda x: x, "Got a <class '.*Tensor'> instead"),
        (lambda x: (x,), "Got 1 returns instead"),
        (lambda x: (x, 0, 0), "Got 3 returns instead"),
        (
            lambda x: (x, (None,)),
            r"an incompatible \(output, out_dims\) tuple. Expected out_dims=\(None,\) to be compatible",
        ),
        (
            lambda x: ([x], (0,)),
            r"TreeSpec\(tuple, None, \[\*\]\) but output has structure TreeSpec\(list, None, \[\*\]\)",
        ),
    ],
)
def test_what_a_functions_own_vmap_may_not_return(answer, words, monkeypatch):
    monkeypatch.setattr(Told, "answer", staticmethod(answer))
    with pytest.raises(RuntimeError, match=words):
        vmap(Told.apply)(BATCH)


def test_a_function_has_a_generated_node_within_transforms_and_no_tensors_by_name_in_a_map():
    names = []

    def f(x):
        y = WithoutRule.apply(x)
        names.append((type(y.grad_fn).__name__, y.grad_fn.name()))
        return y.sum()

    for transform in (grad(f), jacrev(f), lambda x: f(x.clone().requires_grad_())):
        transform(A)
    assert names == [("WithoutRuleGeneratedBackward",) * 2] * 2 + [("WithoutRuleBackward",) * 2]
    with pytest.raises(NotImplementedError, match="vmap on autograd.Function with kwarg-only Tensor args"):
        vmap(lambda x: WithRule.apply(x, y=x))(BATCH)


def test_models_to_stack_agree_in_what_requires_a_gradient():
    models = [nn.Linear(2, 2), nn.Linear(2, 2)]
    models[1].weight.requires_grad_(False)
    with pytest.raises(RuntimeError, match="Expected weight from each model to have the same .requires_grad"):
        stack_module_state(models)


# ---- What a rule must not take for granted ------------------------------------------------------------------------------------

OF_ONE_SHAPE = [
    torch.nn.functional.mse_loss,
    torch.nn.functional.smooth_l1_loss,
    torch.nn.functional.huber_loss,
    torch.nn.functional.binary_cross_entropy,
]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("loss", OF_ONE_SHAPE)
def test_a_target_that_is_the_same_for_all_is_that_of_each_sample(loss, reduction):
    x, y = torch.linspace(0.1, 0.9, 6).reshape(2, 3), torch.tensor([0.0, 1.0, 0.5])
    for dims, args in (((0, None), (x, y)), ((None, 0), (y, x))):
        each = [loss(*(a[i] if d == 0 else a for a, d in zip(args, dims)), reduction=reduction) for i in range(2)]
        assert torch.equal(vmap(partial(loss, reduction=reduction), dims)(*args), torch.stack(each))


@pytest.mark.parametrize("call", [lambda t: t.sum(-4), lambda t: t.transpose(1, -4), lambda t: t.cumsum(-3)])
def test_a_dimension_that_samples_do_not_have(call):
    with pytest.raises(IndexError, match=r"Dimension out of range \(expected to be in range of \[-2, 1\]"):
        vmap(call)(torch.ones(2, 3, 4))


def test_numbers_of_repeats_are_those_of_the_sample():
    x, repeats = torch.arange(8.0).reshape(2, 4), torch.tensor([[1, 2, 1, 3], [3, 1, 2, 1]])
    each = [a.repeat_interleave(b) for a, b in zip(x, repeats)]
    assert torch.equal(vmap(torch.repeat_interleave)(x, repeats), torch.stack(each))
    assert torch.equal(torch.repeat_interleave(x, torch.tensor(2), 1), x.repeat_interleave(2, 1))
    with pytest.raises(RuntimeError, match="Batching rule not implemented for aten::tensor_split"):
        vmap(torch.tensor_split)(x, repeats)


def test_products_of_integers_keep_their_dtype():
    x = torch.ones(2, 3, dtype=torch.int8)
    assert vmap(torch.dot)(x, x).dtype is torch.int8
    with pytest.raises(NotImplementedError, match="not implemented for 'Bool'"):
        vmap(torch.dot)(x.bool(), x.bool())


def test_no_samples_are_convolved():
    out = vmap(torch.nn.functional.conv1d, (0, None))(torch.ones(0, 1, 2, 5), torch.ones(3, 2, 1))
    assert out.shape == (0, 1, 3, 5)
