"""Dual tensors; tests/oracle/scripts/68_forward_mode.py compares them with PyTorch."""

import threading

import pytest

import hookgrad as torch
from hookgrad.autograd import forward_ad as fw
from hookgrad.autograd import gradcheck


def test_tangents_agree_with_finite_differences():
    x, v = torch.randn(4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)

    def f(x):
        return (x.outer(x).softmax(1) @ x).exp().cumsum(0)

    with fw.dual_level():
        primal, tangent = fw.unpack_dual(f(fw.make_dual(x, v)))
    assert torch.allclose(primal, f(x))
    assert torch.allclose(tangent, (f(x + 1e-6 * v) - f(x - 1e-6 * v)) / 2e-6, atol=1e-6)


@pytest.mark.parametrize(
    "function, x, expected",
    [
        (lambda x: x.logcumsumexp(0), [0.0, 0.0], [1.0, 1.5]),
        (torch.special.i1, [0.0], [0.5]),
        (torch.special.i1e, [0.0], [0.5]),
        (lambda x: torch.zeros(2).index_fill(0, torch.tensor([1]), x[1]), [5.0, 5.0], [0.0, 2.0]),
    ],
)
def test_tangents_where_the_gradients_formula_has_none(function, x, expected):
    with fw.dual_level():
        dual = fw.make_dual(torch.tensor(x), torch.arange(1.0, len(x) + 1))
        assert fw.unpack_dual(function(dual)).tangent.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("values", [torch.linalg.svdvals, torch.linalg.eigvalsh])
def test_values_without_their_vectors_have_tangents(values):
    x, v = torch.randn(3, 3, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    x, v = x + x.mT, v + v.mT
    with fw.dual_level():
        tangent = fw.unpack_dual(values(fw.make_dual(x, v))).tangent
    assert torch.allclose(tangent, (values(x + 1e-6 * v) - values(x - 1e-6 * v)) / 2e-6, atol=1e-6)


@pytest.mark.parametrize("function", [torch.igamma, torch.igammac, torch.special.zeta, torch.heaviside])
def test_what_lets_no_tangent_pass_says_so(function):
    x = torch.ones(2)
    with fw.dual_level():
        assert fw.unpack_dual(function(x, x)).tangent is None
        with pytest.raises(NotImplementedError, match="Trying to use forward AD with .* that does not support it"):
            function(x, fw.make_dual(x, x))


def test_several_duals_add_up_and_the_rest_counts_as_constant():
    a, b, c = (torch.tensor(float(i)) for i in (2, 3, 4))
    with fw.dual_level():
        y = fw.make_dual(a, torch.tensor(1.0)) * fw.make_dual(b, torch.tensor(10.0)) * c
        assert fw.unpack_dual(y).tangent.item() == (3 + 20) * 4


def test_a_function_goes_by_its_jvp():
    class Odd(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_forward(x)
            return x * 2

        @staticmethod
        def jvp(ctx, tangent):
            return tangent * 7 + 0 * ctx.saved_tensors[0]

    with fw.dual_level():
        y = Odd.apply(fw.make_dual(torch.ones(1), torch.ones(1)))
        assert fw.unpack_dual(y * 2).tangent.item() == 14.0
    assert Odd.apply(torch.ones(1)).item() == 2.0


def test_levels_begin_and_end_once():
    with fw.dual_level():
        x = fw.make_dual(torch.ones(1), torch.ones(1))
        with pytest.raises(RuntimeError, match="Nested forward mode"):
            fw.enter_dual_level()
    assert fw.unpack_dual(x).tangent is None
    with pytest.raises(RuntimeError, match="no level exists"):
        fw.make_dual(torch.ones(1), torch.ones(1))
    with pytest.raises(RuntimeError):
        fw.exit_dual_level()


def test_the_level_and_the_switch_can_be_asked_for():
    forward_ad = torch.autograd.forward_ad
    assert forward_ad._current_level == -1
    with fw.dual_level():
        assert forward_ad._current_level == 0
        x = fw.make_dual(torch.ones(1), torch.ones(1))
        with forward_ad._set_fwd_grad_enabled(False):
            assert not forward_ad._is_fwd_grad_enabled() and not torch._C._is_fwd_grad_enabled()
            assert fw.unpack_dual(x).tangent is None
        assert fw.unpack_dual(x).tangent.item() == 1.0


def tangent(tensor):
    return fw.unpack_dual(tensor).tangent


def test_an_op_in_place_writes_the_tangent_in_place():
    value, along = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0])
    with fw.dual_level():
        dual = fw.make_dual(value, along)
        assert tangent(dual) is along
        first = dual[:1]
        dual.mul_(dual)
        assert value.tolist() == [1.0, 4.0] and along.tolist() == [2.0, 4.0] and tangent(value) is None
        first.mul_(3)
        assert tangent(dual).tolist() == [6.0, 4.0] and tangent(first).tolist() == [6.0]
        dual.zero_()
        assert along.tolist() == [0.0, 0.0]
        assert not dual.requires_grad


def test_a_write_makes_a_tensor_dual_and_what_it_is_a_view_of():
    with fw.dual_level():
        dual = fw.make_dual(torch.ones(2), torch.tensor([3.0, 4.0]))
        base = torch.zeros(2, 2)
        base[1] = dual * 2
        assert tangent(base).tolist() == [[0.0, 0.0], [6.0, 8.0]]
        base.t().mul_(2)
        assert tangent(base).tolist() == [[0.0, 0.0], [12.0, 16.0]]
        apart = torch.zeros(2)
        apart.detach().add_(dual)
        assert tangent(apart) is None
        assert tangent(dual.detach()) is None and tangent(dual.clone().detach_()) is None
        with pytest.raises(
            NotImplementedError, match="add_out that does not support it because it is an out= function"
        ):
            torch.add(dual, 1, out=torch.zeros(2))
        with pytest.raises(NotImplementedError, match="out= function"):
            torch.add(apart, 1, out=dual)


def test_a_tangent_is_its_own_memory_and_lives_as_long_as_its_tensor():
    import weakref

    with fw.dual_level():
        dual = fw.make_dual(torch.ones(2), torch.ones(2))
        dual.clone().zero_()
        assert tangent(dual).tolist() == [1.0, 1.0]
        assert "tangent=tensor([1., 1.])" in repr(dual) and "tangent" not in repr(fw.unpack_dual(dual).primal)
        alive = weakref.ref(tangent(dual))
        del dual
        assert alive() is None
        with pytest.raises(RuntimeError, match="has a forward gradient at the same level"):
            fw.make_dual(torch.ones(2), fw.make_dual(torch.ones(2), torch.ones(2)))


def test_the_next_number_has_its_numbers_tangent():
    x, t, up = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]), torch.tensor([2.0, 2.0])
    with fw.dual_level():
        after = torch.nextafter(fw.make_dual(x, t), up)
        written = fw.make_dual(x, t) * 1
        written.nextafter_(up)
        for y in after, written:
            primal, tangent = fw.unpack_dual(y)
            assert tangent.tolist() == [3, 0] and primal[0] > 1 and primal[0] - 1 < 2e-7 and primal[1] == 2


def test_both_modes_together():
    a = torch.tensor([0.1, 0.2], dtype=torch.float64, requires_grad=True)
    with fw.dual_level():
        x = fw.make_dual(a, torch.tensor([1.0, 0.0], dtype=torch.float64))
        (g,) = torch.autograd.grad((x.exp() * x).sum(), x)  # exp keeps its result
        assert torch.allclose(tangent(g), torch.stack([(2 + a[0]) * a[0].exp(), torch.zeros_like(a[1])]))
        (g,) = torch.autograd.grad(tangent(x.exp().sum()), a)
        assert torch.allclose(g, torch.stack([a[0].exp(), torch.zeros_like(a[1])]))
    with fw.dual_level(), torch.inference_mode():
        x = fw.make_dual(torch.ones(2), torch.ones(2))
        x *= 3
        assert tangent(x) is None
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm1d(2)
    with fw.dual_level():
        norm(fw.make_dual(torch.randn(4, 2), torch.ones(4, 2)))
    assert norm.num_batches_tracked == 1


class Doubled(torch.autograd.Function):
    """Without a backward."""

    @staticmethod
    def forward(ctx, x, how):
        ctx.how = how
        ctx.save_for_backward(x)
        if how.startswith("in place"):
            ctx.mark_dirty(x)
            return x.mul_(2)
        if how == "two":
            fixed = x * 3
            ctx.mark_non_differentiable(fixed)
            return x * 2, fixed
        return x[:1] if how.startswith("view") else x * 2

    @staticmethod
    def jvp(ctx, t, how):
        assert how is None and ctx.saved_tensors == ()
        return {
            "right": lambda: t * 2,
            "wrong": lambda: t * 3,
            "in place": lambda: t.mul_(2),
            "in place, wrong": lambda: t * 2,
            "in place, untouched": lambda: t,
            "in place, another": lambda: t.mul_(2).clone(),
            "view": lambda: t[:1],
            "view, wrong": lambda: t[:1].clone(),
            "view of another": lambda: t.clone()[:1],
            "two": lambda: (t * 2, t),
        }[ctx.how]()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("in place, wrong", "inplace custom Function is not modifying the forward mode gradients inplace"),
        ("in place, untouched", "is not modifying the forward mode gradients inplace"),
        ("in place, another", "is not returning the forward mode gradients as-is"),
        ("view, wrong", "is returning a view .or an input as-is. but the jvp is not returning a view"),
        ("view of another", "the jvp is not returning a view of the given grad input"),
        ("two", "You should return None at that position instead"),
        ("wrong", "Jacobian computed with forward mode mismatch for output 0 with respect to input 0"),
        ("right", None),
        ("in place", None),
        ("view", None),
    ],
)
def test_what_a_jvp_returns_is_checked(how, words):
    def check():
        x = torch.rand(2, dtype=torch.float64, requires_grad=True)
        gradcheck(lambda x: Doubled.apply(x * 1, how), (x,), check_forward_ad=True, check_backward_ad=False)

    if words is None:
        check()
    else:
        with pytest.raises(RuntimeError, match=words):
            check()


def test_a_checkpoint_has_tangents_and_packs_what_forward_alone_saves():
    packed = []
    with fw.dual_level(), torch.autograd.graph.saved_tensors_hooks(packed.append, lambda none: none):
        x = fw.make_dual(torch.ones(2), torch.full((2,), 3.0))
        assert fw.unpack_dual(x * x).tangent.tolist() == [6.0, 6.0]
    assert not packed
    with fw.dual_level():
        x = fw.make_dual(torch.ones(2), torch.full((2,), 3.0))
        out = torch.utils.checkpoint.checkpoint(lambda x: x * x, x, use_reentrant=False)
        assert fw.unpack_dual(out).tangent.tolist() == [6.0, 6.0]


def test_the_tangent_of_a_gradient_passes_patches():
    """What the function returns is a view of what it made on the way."""
    x = torch.rand(1, 4, 4, dtype=torch.float64, requires_grad=True)
    with fw.dual_level():
        out = torch.nn.functional.fold(x, (3, 3), (2, 2))
        gradient = fw.make_dual(torch.ones_like(out).requires_grad_(), torch.full_like(out, 2.0))
        (by_x,) = torch.autograd.grad(out, x, gradient, create_graph=True)
        assert fw.unpack_dual(by_x).tangent.tolist() == [[[2.0] * 4] * 4]
    assert torch.autograd.gradgradcheck(
        lambda x: torch.nn.functional.fold(x, (3, 3), (2, 2)), (x,), check_fwd_over_rev=True
    )


def test_the_tangent_of_a_gradient_passes_functions_that_are_one_node_twice():
    x, v, y = torch.randn(5), torch.randn(5), torch.tensor([1.0, -1, 1, 1, -1])

    def gradient(x):
        return torch.autograd.grad(torch.nn.functional.soft_margin_loss(x, y), x, create_graph=True)[0]

    with fw.dual_level():
        tangent = fw.unpack_dual(gradient(fw.make_dual(x.clone().requires_grad_(), v))).tangent
    assert torch.allclose(tangent, torch.autograd.grad(gradient(x.requires_grad_()), x, v)[0])


@pytest.mark.parametrize(
    "made, words",
    [
        (lambda t: (t, t), r"invalid number of forward gradients \(expected 1 but got 2\)"),
        (lambda t: 3, r"expected Variable or None \(got int\) for grad output 0"),
        (lambda t: None, "Expected both tensor and its forward grad to be floating point"),
        (lambda t: t > 0, "Expected both tensor and its forward grad to be floating point"),
        (lambda t: torch.ones(5), "different size than that of the original Tensor"),
    ],
)
def test_what_a_functions_jvp_may_not_return(made, words):
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def jvp(ctx, t):
            return made(t)

    with pytest.raises(RuntimeError, match=words), fw.dual_level():
        Twice.apply(fw.make_dual(torch.ones(2), torch.ones(2)))


def test_a_functions_jvp_computes_without_tangents():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_forward(x)
            return x * x

        @staticmethod
        def jvp(ctx, t):
            return 2 * t * ctx.saved_tensors[0]

    with fw.dual_level():
        out = Square.apply(fw.make_dual(torch.tensor([3.0]), torch.ones(1)))
        assert repr(fw.unpack_dual(out).tangent) == "tensor([6.])"


def off(x):
    with torch.no_grad():
        y = x * x
    return y * x


@pytest.mark.parametrize("scope", ["no_grad", "set_grad_enabled"])
def test_tangents_do_not_depend_on_the_grad_mode(scope):
    x = torch.tensor([1.0, 2.0])

    def f(x):
        with getattr(torch, scope)(*[False] * (scope != "no_grad")):
            return (x**2).sum()

    for call in (lambda: torch.func.jvp(f, (x,), (x,))[1], lambda: torch.func.linearize(f, x)[1](x)):
        assert call().item() == 10
    assert torch.func.jacfwd(f)(x).tolist() == [2, 4]
    assert torch.func.jacfwd(torch.func.jacfwd(off))(x).sum(0).tolist() == [[6, 0], [0, 12]]
    assert torch.func.hessian(lambda x: off(x).sum())(x).tolist() == [[2, 0], [0, 4]]  # backward minds the mode
    assert torch.func.jacfwd(lambda x: (off(x), x), has_aux=True)(x)[1].tolist() == [1, 2]
    (block, rest) = torch.func.jacfwd(lambda x, y: off(x) * y, argnums=(0, 1))(x, x)
    assert block.tolist() == [[3, 0], [0, 24]] and rest.tolist() == [[1, 0], [0, 8]]
    inner = torch.func.jvp(lambda y: torch.func.jvp(off, (y,), (x,))[1], (x,), (x,))
    assert inner[0].tolist() == [3, 24] and inner[1].tolist() == [6, 48] and not inner[1].requires_grad
    assert torch.func.grad(lambda x: torch.func.jvp(off, (x,), (x,))[1].sum())(x).tolist() == [3, 12]


def test_tangents_are_not_seen_where_they_are_switched_off():
    x = torch.tensor([1.0, 2.0])

    def f(x):
        with fw._set_fwd_grad_enabled(False):
            y = x**2
        return y * x

    assert torch.func.jvp(f, (x,), (x,))[1].tolist() == [1, 8]
    assert torch.func.jacfwd(f)(x).tolist() == [[1, 0], [0, 4]]
    with fw.dual_level(), torch.inference_mode():
        assert not fw._is_fwd_grad_enabled()


def test_levels_of_jvp_nest_and_others_do_not():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    t = torch.tensor([1.0, 0.5], requires_grad=True)

    def twice(x, t):
        return torch.func.jvp(lambda y: torch.func.jvp(lambda z: z**3, (y,), (y.detach(),))[1], (x,), (t,))[1]

    assert twice(x, t).tolist() == [6, 12]
    assert [g.tolist() for g in torch.autograd.grad(twice(x, t).sum(), (x, t))] == [[6, 6], [6, 24]]
    with fw.dual_level(), pytest.raises(RuntimeError, match="Nested forward mode"):
        torch.func.jvp(torch.sin, (x,), (x,))
    with pytest.raises(RuntimeError, match="Nested forward mode"):
        torch.func.jvp(lambda x: fw.enter_dual_level(), (x,), (x,))


def test_a_view_made_before_its_base_was_dual_has_the_tangent():
    with fw.dual_level():
        y = torch.ones(2)
        view, other = y.view(2, 1), y[1:]
        view.copy_(fw.make_dual(torch.ones(2, 1), torch.tensor([[3.0], [4.0]])))
        assert fw.unpack_dual(other).tangent.tolist() == [4]
    x = torch.tensor([1.0, 2.0])
    p = torch.tensor(3.0, requires_grad=True)
    with fw.dual_level():
        y = fw.make_dual(x, x) * 1
        y[0].mul_(p)  # the part of the tangent is written with a graph
        assert torch.autograd.grad(fw.unpack_dual(y).tangent.sum(), p)[0].item() == 1

    def f(x):
        y = x.clone()
        y[0].mul_(x[1])
        y[:1].add_(x[1:] ** 2)
        return y * 2

    second = torch.func.jvp(lambda x: torch.func.jvp(f, (x,), (x * x,))[1], (x,), (torch.tensor([1.0, 0.5]),))
    assert [t.tolist() for t in second] == [[44, 8], [45, 4]]


def test_a_functions_own_vmap_and_jvp_go_together():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x * x

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_forward(*inputs)

        @staticmethod
        def jvp(ctx, t):
            return 2 * t * ctx.saved_tensors[0]

        @staticmethod
        def vmap(info, dims, x):
            return Square.apply(x), dims[0]

    x, t = torch.eye(2) + 1, torch.ones(2, 2)
    for call in (
        lambda: torch.func.vmap(lambda x, t: torch.func.jvp(Square.apply, (x,), (t,)))(x, t)[1],
        lambda: torch.func.jvp(torch.func.vmap(Square.apply), (x,), (t,))[1],
    ):
        assert call().tolist() == [[4, 2], [2, 4]]
    assert torch.func.jacfwd(Square.apply)(x[0]).tolist() == [[4, 0], [0, 2]]  # without a backward


def test_a_jvp_takes_what_make_dual_takes():
    x, t = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    value, tangent = torch.func.jvp(lambda x: x.mul_(3), (x,), (t,))  # in place, in what was given
    assert value.tolist() == x.tolist() == [3, 6] and tangent.tolist() == t.tolist() == [9, 12]
    assert torch.func.jacfwd(lambda x: x.mul_(2))(x).tolist() == [[2, 0], [0, 2]] and x.tolist() == [6, 12]
    assert not torch.func.jvp(lambda x: (x * 2, torch.tensor(x.requires_grad)), (x,), (t,), has_aux=True)[2]
    assert torch.func.jacfwd(torch.Tensor.double)(x).dtype == torch.float64
    assert torch.func.jacfwd(torch.Tensor.long)(x).dtype == torch.int64
    with pytest.raises(RuntimeError, match="Cannot access data pointer"):
        torch.func.jvp(lambda x: torch.from_numpy(x.numpy()), (x,), (t,))
    with fw.dual_level():
        assert torch.equal(fw.make_dual(x, t), x)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t):
        packed = []
        torch.func.jvp(torch.sin, (x.clone().requires_grad_(),), (t,))
        assert packed


def test_a_batch_norm_refuses_statistics_with_tangents():
    x = torch.ones(2)
    with fw.dual_level(), pytest.raises(RuntimeError, match="batch_norm is not differentiable wrt running_mean"):
        torch.nn.functional.batch_norm(fw.make_dual(torch.ones(3, 2), torch.ones(3, 2)), fw.make_dual(x, x), x)


def tensors(*shapes):
    return [torch.rand(shape, dtype=torch.float64) + 0.5 for shape in shapes]


@pytest.mark.parametrize(
    "f, args",
    [
        (torch.nn.functional.conv2d, tensors((1, 2, 3, 3), (3, 2, 2, 2), (3,))),
        (torch.addmm, tensors((3,), (2, 3), (3, 3))),
        (torch.baddbmm, tensors((2, 2, 2), (2, 2, 3), (2, 3, 2))),
        (lambda a, b: torch.where(a > 1, a, b), tensors((3,), (2, 3))),
        (lambda a, b: torch.cat([a, torch.ones(2, dtype=a.dtype), b]), tensors((3,), (2,))),
        (torch.lerp, tensors((3,), (3,), (3,))),
        (torch.addcdiv, tensors((3,), (3,), (3,))),
        (torch.div, tensors((3,), (2, 3))),
        (torch.pow, tensors((3,), (3,))),
        (torch.atan2, tensors((3,), (3,))),
        (lambda a: 2 - a, tensors((3,))),
        (lambda a: torch.rsub(a, 3) + 2 / a, tensors((3,))),
        (lambda a: a.masked_fill(a > 1, 7.0), tensors((5,))),
        (lambda a: torch.nn.functional.pad(a, (1, 1), value=3.0), tensors((3,))),
        (lambda a: a.softmax(0).log_softmax(0), tensors((3,))),
        (lambda a: torch.nn.functional.embedding(torch.tensor([1, 1]), a), tensors((2, 2))),
        (lambda a, b: (a * 1).transpose_(0, 1).squeeze_().unsqueeze_(0).mul_(b), tensors((1, 3), (3,))),
    ],
)
def test_each_rule_agrees_with_finite_differences(f, args):
    tangents = tensors(*[a.shape for a in args])
    for on in {tuple(i == j for j in range(len(args))) for i in range(len(args))} | {(True,) * len(args)}:
        with fw.dual_level():
            got = tangent(f(*[fw.make_dual(a, t) if dual else a for a, t, dual in zip(args, tangents, on)]))
        up, down = (f(*[a + step * t * dual for a, t, dual in zip(args, tangents, on)]) for step in (1e-6, -1e-6))
        assert torch.allclose(got, (up - down) / 2e-6, atol=1e-6)


@pytest.mark.parametrize("f", [torch.neg, torch.sin, lambda x: x * 2, lambda x: x.softmax(0), torch.std, torch.cumsum])
def test_a_wider_tangent_stays_wide(f):
    wide = torch.tensor([1.0, 3.0], dtype=torch.float64)
    args = (0,) * (f is torch.cumsum)
    value, moved = torch.func.jvp(lambda x: f(x, *args), (torch.tensor([1.0, 2.0]),), (wide,))
    assert (value.dtype, moved.dtype) == (torch.float32, torch.float64)


def test_each_thread_has_its_own_levels_of_jvp_and_sees_those_of_dual_level():
    x, turns, seen = torch.tensor([1.0, 2.0]), [threading.Event() for _ in range(2)], []

    def f(x):
        y = x * x
        turns[0].set()
        assert turns[1].wait(10)  # the other thread has begun its own, and ends it later
        return y * x

    def g(x):
        turns[1].set()
        assert first.join(10) is None
        return x.sin()

    def run(f, x):
        seen.append(torch.func.jvp(f, (x,), (x,))[1])

    first = threading.Thread(target=run, args=(f, x))
    first.start()
    assert turns[0].wait(10)
    run(g, x)
    assert [t.tolist() for t in seen] == [[3, 24], (x * x.cos()).tolist()]
    with fw.dual_level():
        dual = fw.make_dual(x, x)
        other = threading.Thread(target=lambda: seen.append(tangent(dual * 3)))
        other.start(), other.join()
        assert seen[-1].tolist() == [3, 6]


@pytest.mark.parametrize("unpack", [lambda v: v, torch.clone, lambda v: fw.unpack_dual(v).primal])
def test_a_packed_tensor_has_its_tangent_again(unpack):
    x, t = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])
    for needed in (True, False):
        with fw.dual_level(), torch.autograd.graph.saved_tensors_hooks(lambda v: v, unpack):
            d, w = fw.make_dual(x.clone().requires_grad_(needed), t), torch.ones(2, requires_grad=True)
            (by_w,) = torch.autograd.grad((d.exp() * w).sum(), w)
            assert torch.allclose(tangent(by_w), x.exp() * t)
            if needed:
                (by_d,) = torch.autograd.grad((d.sin() * d.exp()).sum(), d)
                assert torch.allclose(tangent(by_d), 2 * x.exp() * x.cos() * t)


def test_a_checkpoint_has_the_tangent_of_its_gradient():
    x, t, calls = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), []

    def f(x):
        calls.append(tangent(x).tolist())
        return (x.sin() * x).exp()

    def run(call):
        with fw.dual_level():
            d = fw.make_dual(x.clone().requires_grad_(), t)
            y = call(d)
            (gradient,) = torch.autograd.grad(y.sum(), d)
            return tangent(y), tangent(gradient)

    got = run(lambda d: torch.utils.checkpoint.checkpoint(f, d, use_reentrant=False))
    assert calls == [t.tolist()] * 2
    assert all(torch.allclose(a, b) for a, b in zip(got, run(f)))


def test_a_function_mode_sees_duals_made_and_taken_apart_as_one_call_each():
    seen = []

    class Seen(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append((func.__name__, types == (), kwargs))
            return func(*args, **(kwargs or {}))

    x, t = torch.tensor([1.0, 2.0]), torch.ones(2)
    with Seen():
        assert torch.func.jvp(lambda x: x * x, (x,), (t,))[1].tolist() == [2, 4]
    made, taken = (("_make_dual", True, {"level": 0}), ("_unpack_dual", True, {"level": 0}))
    assert seen[:5] == [("is_floating_point", False, None)] * 2 + [made, ("mul", True, None), taken]


def test_a_tensor_class_keeps_tangents():
    class Own(torch.Tensor):
        pass

    x, t = torch.tensor([1.0, 2.0]).as_subclass(Own), torch.ones(2)
    with fw.dual_level():
        dual = fw.make_dual(x, t)
        primal, moved = fw.unpack_dual(dual * dual)
        assert type(dual) is type(primal) is type(moved) is Own and moved.tolist() == [2, 4]
        assert tangent((dual * 2).as_subclass(torch.Tensor)).tolist() == [2, 2]
