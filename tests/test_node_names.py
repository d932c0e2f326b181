"""The nodes of functions made of several ops are PyTorch's: their names, and where their edges lead."""

import warnings

import pytest

import hookgrad as torch
from hookgrad.nn import functional as F

x = (torch.eye(3) + torch.arange(9.0).view(3, 3) / 20).requires_grad_()
v = torch.tensor([0.1, 0.5, 0.7], requires_grad=True)
t, i = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 2, 1])


def chain(node):
    """The names of a graph's nodes, depth first; a number for one that has been named, "x" for a leaf."""
    met, names = {}, []

    def walk(node):
        if node is None:
            names.append("None")
        elif node in met:
            names.append(str(met[node]))
        else:
            met[node] = len(met)
            name = node.name().split("::")[-1]
            names.append(name.replace("Backward0", "").replace("AccumulateGrad", "x"))
            for following, _ in node.next_functions:
                walk(following)

    walk(node)
    return " ".join(names)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: torch.quantile(x, 0.3), "SqueezeBackward4 LerpBackward1 Gather View Sort View x Gather 3 None"),
        (lambda: x.quantile(0.5, 1, interpolation="nearest"), "SqueezeBackward4 Gather View Sort x"),
        (lambda: torch.nanquantile(x, 0.3, 1), "SqueezeBackward4 LerpBackward1 Gather View Sort x Gather 3 None"),
        (
            lambda: x.quantile(v.detach(), 0, True),
            "SqueezeBackward4 TransposeBackward1 UnsqueezeBackward1 LerpBackward1 Gather View Sort Transpose Unsqueeze x Gather 5 None",
        ),
        (lambda: torch.trapezoid(x), "MulBackward1 Sub SumBackward1 x MulBackward1 Add Select 3 Select 3"),
        (lambda: torch.trapezoid(x, x), "DivBackward1 SumBackward1 Mul Add Slice x Slice 5 Sub Slice 5 Slice 5"),
        (lambda: torch.cumulative_trapezoid(x, dx=2), "Cumsum MulBackward1 Add Slice x Slice 4"),
        (
            lambda: torch.gradient(v)[0],
            "Cat DivBackward1 Sub Slice x Slice 4 DivBackward1 DivBackward1 Sub Slice 4 Slice 4 DivBackward1 Sub Slice 4 Slice 4",
        ),
        (
            lambda: torch.gradient(v, edge_order=2)[0],
            "Cat DivBackward1 Sub Add MulBackward1 Slice x MulBackward1 Slice 6 MulBackward1 Slice 6 DivBackward1 DivBackward1 Sub Slice 6 Slice 6 DivBackward1 Add Sub MulBackward1 Slice 6 MulBackward1 Slice 6 MulBackward1 Slice 6",
        ),
        (
            lambda: torch.gradient(v, spacing=(t,))[0],
            "Cat Div Sub Slice x Slice 4 None Add Add Mul None Slice 4 Mul None Slice 4 Mul None Slice 4 Div Sub Slice 4 Slice 4 None",
        ),
        (lambda: torch.cov(x), "Squeeze Div Mm Sub x Unsqueeze Div SumBackward1 4 None T 3 None"),
        (
            lambda: torch.corrcoef(x),
            "ClampBackward1 Div Div Squeeze Div Mm Sub x Unsqueeze Div SumBackward1 7 None T 6 None View Sqrt Diagonal 3 View 13",
        ),
        (lambda: torch.combinations(v), "Stack MaskedSelect Expand View x MaskedSelect Expand View 4"),
        (lambda: x.clone().put_(i, t), "Put Clone x None"),
        (lambda: F.rrelu_(x * 1), "RreluWithNoiseBackward1 Mul x None"),
        (lambda: x.clone().renorm_(2, 0, 0.5), "Renorm Clone x"),
        (lambda: x.clone().ldexp_(i), "Ldexp Clone x None"),
        (lambda: x.clone().cauchy_(), "Cauchy Clone x"),
        (lambda: x.clone().index_reduce_(0, i, x, "prod"), "IndexReduce Clone x 2"),
        (lambda: torch.special.ndtr(x), "MulBackward1 AddBackward1 Erf MulBackward1 x"),
        (lambda: torch.linalg.cond(x), "SqueezeBackward1 Div Slice LinalgSvd x Slice 3"),
        (
            lambda: torch.linalg.cond(x, 1),
            "NanToNum Mul Amax LinalgVectorNorm x Amax LinalgVectorNorm MaskedFill LinalgInvEx 4",
        ),
        (lambda: torch.linalg.tensorsolve(x, v), "View LinalgSolveEx View x x"),
        (lambda: torch.linalg.vander(v), "Cat None Cumprod Expand Unsqueeze x"),
        (lambda: torch.float_power(x.double(), 2), "Pow ToCopy x"),
        (lambda: torch.frexp(x)[0], "Frexp x"),
        (lambda: x.angle(), "Angle x"),
        (lambda: x.sum_to_size(1, 3), "SumBackward1 x"),
        (lambda: torch.cholesky(x @ x.T), "Cholesky Mm x Permute 2"),
        (lambda: x.norm("nuc"), "SumBackward1 LinalgSvd Permute x"),
        (lambda: F.rms_norm(x, (3,)), "Mul x Rsqrt AddBackward1 MeanBackward1 Pow 1"),
        (lambda: torch.select_copy(x, 0, 1), "Select_copy x"),
        (lambda: torch.unbind_copy(x)[1], "Unbind_copy x"),
        (lambda: torch.nn.utils.rnn.pad_sequence([v, v]), "CopySlices CopySlices None x 2"),
        (lambda: F.softsign(x), "Div x Add Abs 1 None"),
        (lambda: torch._foreach_add([x, v], [x, v])[1], "ForeachAddList x x 1 2"),
        (lambda: torch._foreach_mul([x, v], 2.0)[0], "ForeachMulBackward1Scalar x x"),
        (lambda: torch._foreach_div([x], [x])[0], "ForeachDiv x 1"),
        (lambda: torch._foreach_pow([x], [2.0])[0], "ForeachPowBackward1 x"),
        (lambda: torch._foreach_max([x])[0], "ForeachMaxBackward1 x"),
        (lambda: torch._foreach_log1p([x])[0], "ForeachLog1P x"),
        (lambda: torch._foreach_lerp([x], [x], [x])[0], "ForeachLerpBackward1List x 1 1"),
        (lambda: torch._foreach_addcmul([x], [x], [x])[0], "ForeachAddcmulScalar x 1 1"),
    ],
)
def test_of_a_function(call, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is deprecated
        assert chain(call().grad_fn) == expected


def test_a_failed_write_in_place_leaves_a_leaf_as_it_was():
    leaf = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        leaf.put_(torch.tensor([0]), torch.tensor([3.0]))
    assert leaf.tolist() == [1, 1] and leaf._version == 0


def test_draws_in_place_pass_a_gradient_of_zeros():
    y = x.clone().cauchy_()
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == torch.zeros(3, 3).tolist()


def test_the_gradients_of_lists_are_those_of_each():
    a, b = (torch.tensor(n, requires_grad=True) for n in ([1.0, 2.0], [3.0]))
    first, second = torch._foreach_mul([a, b], [b, b])
    assert [g.tolist() for g in torch.autograd.grad(second.sum() + first.sum(), [a, b])] == [[3, 3], [9]]


def test_a_derivative_with_a_kernel_of_its_own_is_one_node():
    (grad,) = torch.autograd.grad(torch.cdist(x, x.detach() + 1).sum(), x, create_graph=True)
    assert chain(grad.grad_fn) == "CdistBackward None x None Cdist 1 None"
    assert torch.autograd.gradgradcheck(
        lambda a, b: torch.cdist(a, b), (x.detach().double().requires_grad_(), torch.eye(3).double().requires_grad_())
    )


def test_the_derivative_of_rrelu_is_one_node_in_any_order():
    y = v.detach().double().requires_grad_()
    (gradient,) = torch.autograd.grad(F.rrelu(y - 0.4, 0.2, 0.4).square().sum(), y, create_graph=True)
    assert gradient.grad_fn.name() == "RreluWithNoiseBackwardBackward0"
    (again,) = torch.autograd.grad(gradient.sum(), y, create_graph=True)
    assert torch.allclose(again, torch.where(y < 0.4, 0.18, 2.0).double())
    (gradient,) = torch.autograd.grad(F.rrelu_(y - 0.4, 0.2, 0.4, True).square().sum(), y, create_graph=True)
    assert gradient.grad_fn.name() == "RreluWithNoiseBackwardBackward0"


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_gradient_of_a_mean_over_logits_is_divided_last(reduction):
    y = v.detach().requires_grad_()
    out = F.binary_cross_entropy_with_logits(y, torch.ones(3), reduction=reduction)
    (gradient,) = torch.autograd.grad(out.sum(), y, create_graph=True)
    assert gradient.grad_fn.name() == ("DivBackward1" if reduction == "mean" else "MulBackward0")


def test_silu_is_written_out_where_it_is_differentiated_twice():
    (grad,) = torch.autograd.grad(F.silu(x).sum(), x, create_graph=True)
    assert chain(grad.grad_fn) == "Mul Mul None Sigmoid x AddBackward1 Mul 3 Sub None 2"


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_a_comparison_in_place_with_a_number_has_one_edge(name):
    numbers, tensors = x.clone(), x.clone()
    getattr(numbers, name + "_")(3)
    getattr(tensors, name + "_")(x.detach())
    title = name.capitalize()
    assert chain(numbers.grad_fn) == f"{title} Clone x" and chain(tensors.grad_fn) == f"{title}Backward1 Clone x None"
    assert numbers.grad_fn.name() == f"{title}Backward0"
    seen = []
    numbers.grad_fn.register_hook(lambda grads, _: seen.append(grads))
    numbers.sum().backward(inputs=[x])
    assert len(seen[0]) == 1 and not seen[0][0].any()


@pytest.mark.parametrize(
    ("write", "missing"),
    [
        (lambda y: y.floor_divide_(2), "aten::floor_divide_ "),
        (lambda y: y.heaviside_(t), "aten::heaviside_ "),
        (lambda y: y.scatter_(0, i.view(1, 3), 2.0, reduce="add"), "aten::scatter_ "),
        (lambda y: y // 2, "aten::floor_divide "),
        (lambda y: 2 // y, "aten::floor_divide "),
    ],
)
def test_what_has_no_derivative_leads_to_what_needs_one(write, missing):
    y = write(x.clone())
    assert chain(y.grad_fn) == "NotImplemented Clone x"
    with pytest.raises(RuntimeError, match=f"derivative for {missing}is not implemented"):
        y.sum().backward()


def test_set_makes_a_node_without_derivative():
    y, view, plain = x.clone(), x.clone()[0], torch.ones(3)
    assert chain(y.set_(torch.ones(4)).grad_fn) == "NotImplemented Clone x None"
    assert chain(view.set_(torch.ones(3)).grad_fn) == "AsStrided CopySlices Clone x None"
    assert plain.set_(v).requires_grad and chain(plain.grad_fn) == "NotImplemented None x"
    with pytest.raises(RuntimeError, match="derivative for set_ is not implemented"):
        y.sum().backward()
    with torch.no_grad():
        y = x.clone().requires_grad_()
        assert y.set_(torch.ones(2)).grad_fn is None


def test_normal_names_which_of_its_arguments_are_tensors():
    t = torch.ones(2, requires_grad=True)
    for made, number in ((torch.normal(t, t), 3), (torch.normal(t), 1), (torch.normal(0, t), 2)):
        assert made.grad_fn.name() == f"NormalBackward{number}"
        assert [n.name() for n, _ in made.grad_fn.next_functions] == ["torch::autograd::AccumulateGrad"] * (
            1 + number // 3
        )


def test_a_copy_is_named_in_full_where_it_was_written_over():
    x = torch.rand(2, requires_grad=True)
    y = (x * 1).copy_(x)
    z = y * y
    y.zero_().copy_(x)
    y.detach().add_(1)
    with pytest.raises(RuntimeError, match="output 0 of torch::autograd::CopyBackwards, is"):
        z.sum().backward()


def test_lu_packs_its_three_factors_by_name():
    a, packed = torch.eye(3).flip(0).requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t):
        P, L, U = torch.linalg.lu(a)
    assert [t.detach().tolist() for t in packed] == [t.detach().tolist() for t in (L, P, U)]
    assert [t.output_nr for t in (P, L, U)] == [0, 0, 1] and not P.requires_grad
