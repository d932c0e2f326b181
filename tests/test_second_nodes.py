"""Gradients that can be differentiated again have PyTorch's nodes: their names, and where their edges lead."""

import pytest
from test_node_names import chain

import hookgrad as torch
from hookgrad.nn import functional as F

x = (torch.eye(3) + torch.arange(9.0).view(3, 3) / 20).double().requires_grad_()
v = torch.tensor([0.1, 0.5, 0.7]).double().requires_grad_()
c = (torch.arange(64.0).view(2, 2, 4, 4) / 64).double().requires_grad_()
t = torch.tensor([0, 2, 1])


@pytest.mark.parametrize(
    ("call", "of", "expected"),
    [
        (lambda: x.square(), x, "Mul None MulBackward1 Pow x"),
        (lambda: x.exp2(), x, "MulBackward1 Mul None Exp2 x"),
        (lambda: x.tan(), x, "Mul None AddBackward1 Pow Tan x"),
        (lambda: (x / 2).asin(), x, "Div Mul None Rsqrt AddBackward1 Mul Neg Div x None 6 None"),
        (lambda: (x / 2).acos(), x, "Div Mul None Neg Rsqrt AddBackward1 Mul Neg Div x None 7 None"),
        (lambda: x.asinh(), x, "Mul None Rsqrt AddBackward1 Pow x"),
        (lambda: (x + 2).acosh(), x, "Mul None Rsqrt SubBackward1 Mul Add x None 4"),
        (lambda: (x / 2).atanh(), x, "Div Div None Sub None Pow Div x None None"),
        (lambda: x.erf(), x, "Mul MulBackward1 Exp Neg Pow x None"),
        (lambda: x.erfc(), x, "Mul MulBackward1 Exp Neg Pow x None"),
        (lambda: x.sinc(), x, "Where None Mul None Div Sub Mul MulBackward1 x Cos 5 Sin 5 MulBackward1 Mul 6 6"),
        (lambda: x.hypot(v), x, "Div Mul None x Hypot 2 x"),
        (lambda: x.atan2(v), x, "Mul Mul None x MaskedFill Reciprocal Add Mul x 7 Mul 2 2"),
        (lambda: torch.logaddexp2(x, v), x, "Div None AddBackward1 PowBackward2 Sub x x"),
        (lambda: x.copysign(-1), x, "Mul None MaskedFill Div CopysignBackward1 x 4"),
        (
            lambda: torch.addcdiv(v, v, v + 1),
            v,
            "Add Add None Mul None Div None Add x None Mul None Div MulBackward1 5 Mul 4 4",
        ),
        (lambda: x[1:].cumprod(0), x, "SliceBackward Div Flip Cumsum Flip Mul Cumprod Slice x None 7"),
        (lambda: F.mish(x), x, "Mul None Add Tanh Log1P Exp x Mul Mul 5 Sigmoid 5 Sub None Mul 2 2"),
        (lambda: F.nll_loss(x, t), x, "NllLossBackward None x"),
        (lambda: F.mse_loss(x.detach(), x), x, "MseLossBackward None x None"),
        (lambda: torch.ldexp(x.detach(), x), x, "MulBackward1 Mul None Ldexp None x"),
        (
            lambda: torch.linalg.vector_norm(x, 0.5),
            x,
            "Mul Mul Mul Sgn x MaskedFill Pow Abs 4 None Pow LinalgVectorNorm 4",
        ),
        (lambda: v.std(0), v, "Mul MulBackward1 MaskedFill Div None MulBackward1 Std x Sub 6 MeanBackward1 6"),
        (lambda: F.cross_entropy(x, t), x, "LogSoftmaxBackwardData NllLossBackward None LogSoftmax x 2"),
        (lambda: F.max_pool2d(c, 2), c, "MaxPool2DWithIndicesBackward None x"),
        (lambda: F.adaptive_max_pool2d(c, 2), c, "AdaptiveMaxPool2DBackward None x"),
        (lambda: F.layer_norm(x, (3,), v, v), x, "NativeLayerNormBackward None x None None x 2"),
        (lambda: F.layer_norm(x, (3,)), x, "NativeLayerNormBackward None x None None None None"),
        (lambda: F.batch_norm(x, None, None, v, v, True), x, "NativeBatchNormBackward None x x None None"),
        (
            lambda: F.group_norm(c, 1),
            c,
            "View Add Add Mul View NativeGroupNorm x None None None Mul MulBackward1 Mul Sub Mul None View 5 UnsqueezeBackward1 SumBackward1 UnsqueezeBackward1 SumBackward1 Mul None View 6 Mul Mul 4 4 4 18 Sub Mul Neg 8 12 MulBackward1 Mul None 4",
        ),
        (
            lambda: F.group_norm(c, 2, v[:2]),
            c,
            "View Add Add Mul Mul View NativeGroupNorm x Slice x None View 8 None Mul MulBackward1 Mul Sub Mul UnsqueezeBackward1 SumBackward1 Mul None 10 View 6 UnsqueezeBackward1 SumBackward1 Mul UnsqueezeBackward1 SumBackward1 Mul None View 7 10 Mul Mul 5 5 5 26 Sub Mul Neg 12 19 MulBackward1 Mul 16 5",
        ),
    ],
)
def test_of_a_gradient(call, of, expected):
    y = call()
    weight = torch.arange(1.0, y.numel() + 1).double().view(y.shape)
    (grad,) = torch.autograd.grad((y * weight).sum(), of, create_graph=True)
    assert chain(grad.grad_fn) == expected


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (F.mse_loss, "MseLossBackward None x x | MseLossBackward None x x"),
        (F.huber_loss, "HuberLossBackward None x x | HuberLossBackward None x x"),
        (F.smooth_l1_loss, "SmoothL1LossBackward None x x | SmoothL1LossBackward None x x"),
        (torch.dist, "Mul None MaskedFill Div Sub x x Dist 4 5 | Neg Mul None MaskedFill Div Sub x x Dist 5 6"),
        (F.kl_div, "Mul None x | Add Add MaskedFill Xlogy None x Div Mul None 4 4 Mul None x"),
        (
            lambda a, b: F.kl_div(a, b, log_target=True),
            "Neg Mul None Exp x | Add Mul Mul None Sub x x Exp 4 Mul None 6",
        ),
        (
            lambda a, b: F.binary_cross_entropy(a / 2, b),
            "Div BinaryCrossEntropyBackward None Div x None x None | DivBackward1 Mul Neg Logit Div x None None",
        ),
    ],
)
def test_each_gradient_of_a_loss_has_its_own(loss, expected):
    target = (x.detach() / 3).requires_grad_()
    grads = torch.autograd.grad(loss(x, target), (x, target), create_graph=True)
    assert " | ".join(chain(g.grad_fn) for g in grads) == expected
    (grad,) = torch.autograd.grad(grads[1].sum(), x)
    (mixed,) = torch.autograd.grad(torch.autograd.grad(loss(x, target), x, create_graph=True)[0].sum(), target)
    assert grad.allclose(mixed)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            lambda: torch.linalg.svd(x),
            "Mm Slice LinalgSvd x Mm Add Div Add Mul Sub Mm Transpose 1 Slice x Transpose 10 Unsqueeze 2 Mul Unsqueeze 2 Sub Mm Slice 2 Transpose Slice x Transpose 19 CopySlices Sub Unsqueeze Mul 2 2 Unsqueeze 28 DiagEmbed x 20",
        ),
        (
            lambda: torch.linalg.svd(x[:, :2], False),
            "SliceBackward Mm Sub Add Mm LinalgSvd Slice x Add Div Add Mul Sub Mm Transpose 5 x Transpose 13 Unsqueeze 5 Mul Unsqueeze 5 Sub Mm 5 Transpose x Transpose 21 CopySlices Sub Unsqueeze Mul 5 5 Unsqueeze 28 DiagEmbed x Div 15 Unsqueeze 5 Mm 5 Mm Transpose 5 32 5",
        ),
        (
            lambda: torch.linalg.svd(x[:2], False)[:2],
            "SliceBackward Mm Mm LinalgSvd Slice x Add Mul Div Sub Mm Transpose 3 x Transpose 10 CopySlices Sub Unsqueeze Mul 3 3 Unsqueeze 17 Unsqueeze 3 DiagEmbed x 3",
        ),
        (
            lambda: torch.linalg.svd(x[:2], False)[1:],
            "SliceBackward Mm LinalgSvd Slice x Sub Add Mm Add Mul Unsqueeze 2 Div Sub Mm 2 Transpose x Transpose 13 CopySlices Sub Unsqueeze Mul 2 2 Unsqueeze 20 DiagEmbed x 2 Div 15 Unsqueeze 2 Mm Mm 24 Transpose 2 2",
        ),
        (
            lambda: torch.linalg.svd(x)[::2][:1],
            "Mm Slice LinalgSvd x Mm Mul Div Sub Mm Transpose 1 Slice x Transpose 8 CopySlices Sub Unsqueeze Mul 2 2 Unsqueeze 16 Unsqueeze 2 Slice 2",
        ),
        (
            lambda: torch.linalg.svd(x)[2:],
            "Mm Slice LinalgSvd x Mm Mul Unsqueeze 2 Div Sub Mm Slice 2 Transpose Slice x Transpose 9 CopySlices Sub Unsqueeze Mul 2 2 Unsqueeze 18 10",
        ),
        (
            lambda: torch.linalg.qr(x),
            "LinalgSolveTriangular Transpose LinalgQr x Add Mm 2 CopySlices Add Triu Sub Mm x Transpose 2 Mm Transpose 2 x Transpose 8 15",
        ),
        (
            lambda: torch.linalg.qr(x)[:1],
            "LinalgSolveTriangular Transpose LinalgQr x Add Mm 2 CopySlices Add Triu Neg Mm Transpose 2 x Transpose 8 12",
        ),
        (
            lambda: torch.linalg.qr(x[:2]),
            "SliceBackward Add Cat LinalgSolveTriangular Transpose Slice LinalgQr Slice x Mm 6 Tril Sub Neg Sub Mm x Transpose 6 Mm Transpose 6 x Transpose 12 None Mm 6 15",
        ),
        (
            lambda: torch.linalg.qr(x[:2])[1:],
            "SliceBackward Add Cat LinalgSolveTriangular Transpose Slice LinalgQr Slice x Mm 6 Tril Sub Neg Mm x Transpose 6 Transpose 12 None Mm 6 14",
        ),
        (
            lambda: torch.linalg.eigh(x),
            "Mm LinalgEigh x Mm CopySlices Div MulBackward1 Sub Mm Transpose 1 x Transpose 8 CopySlices Sub Unsqueeze 1 Unsqueeze 1 x Transpose 1",
        ),
        (
            lambda: torch.linalg.cholesky(x),
            "LinalgSolveTriangular LinalgCholeskyEx x LinalgSolveTriangular Transpose 1 MulBackward1 Add Tril Mm Transpose 1 x Transpose Tril 7",
        ),
        (lambda: torch.cholesky_inverse(x), "Neg Mm Mm CholeskyInverse x Mm Add x Transpose 7 3 4"),
        (lambda: torch.cholesky_inverse(x, True), "Neg Mm x Mm CholeskyInverse 2 Mm Add x Transpose 7 4"),
        (
            lambda: torch.cholesky_solve(v.unsqueeze(1), x),
            "Neg Mm Add Mm CholeskySolve x x Transpose CholeskySolve Unsqueeze x 6 Transpose 3 6",
        ),
        (
            lambda: torch.cholesky_solve(v.unsqueeze(1), x, True),
            "Neg Mm x Add Mm CholeskySolve x 2 Transpose CholeskySolve Unsqueeze x 2 Transpose 4",
        ),
        (
            lambda: torch.triangular_solve(v.unsqueeze(1), x),
            "Add Triu Neg Mm TriangularSolve x x Transpose TriangularSolve Unsqueeze x 6 x",
        ),
        (
            lambda: torch.triangular_solve(v.unsqueeze(1), x, False, True, True),
            "Add Tril Neg Mm TriangularSolve Unsqueeze x x Transpose TriangularSolve x 7 x",
        ),
        (
            lambda: torch.linalg.matrix_exp(x),
            "Slice Slice LinalgMatrixExp CopySlices CopySlices CopySlices None Transpose x 6 x",
        ),
        (
            lambda: F.bilinear(v.view(1, 3), v.view(1, 3), x.view(1, 3, 3)),
            "View Trilinear View View x View x View View 4",
        ),
        (lambda: x.amax(0), "Mul Div View x None None"),
        (lambda: torch.aminmax(x, dim=1, keepdim=True), "Add Mul Div x None None Mul Div x None None"),
        (lambda: torch.maximum(x, v), "MaskedFill Where DivBackward1 x 3"),
        (lambda: torch.fmax(x, v), "MaskedFill x"),
        (lambda: x.nansum(), "Mul Expand x None"),
        (lambda: x.index_add(0, t, x), "Add x Expand IndexSelect 1"),
        (lambda: x.index_copy(0, t, x), "Add IndexFill x Expand IndexSelect 2"),
        (lambda: x.masked_fill(x > 0.5, v.sum()), "MaskedFill x"),
        (lambda: torch.frexp(x)[:1], "Div x None"),
        (lambda: torch.special.entr(x), "Mul x Neg AddBackward1 Log x"),
        (lambda: torch.special.erfcx(x), "Mul SubBackward1 Mul MulBackward1 x SpecialErfcx 4 x"),
        (lambda: torch.special.i1(x), "Mul x Where Sub I0 Where x None Mul SpecialI1 6 Reciprocal 5 None"),
        (
            lambda: torch.special.i1e(x),
            "Mul x Where Sub SpecialI0E Where x None Mul SpecialI1E 6 Add Sgn 5 Reciprocal 5 None",
        ),
        (lambda: torch.special.log_ndtr(x), "Mul DivBackward1 x Exp Neg Add SpecialLogNdtr x DivBackward1 Pow 7"),
        (
            lambda: torch.special.ndtri(x / 2),
            "Div Mul MulBackward1 x Exp DivBackward1 Pow SpecialNdtri Div x None None",
        ),
        (lambda: torch.special.xlog1py(x, v), "MaskedFill SpecialXlog1Py x x"),
        (lambda: torch.special.multigammaln(x + 1, 2), "Mul x SumBackward1 Digamma Add None Unsqueeze Add x None"),
    ],
)
@pytest.mark.filterwarnings("ignore:torch.triangular_solve is deprecated")
def test_of_a_gradient_from_gradients(call, expected):
    outputs = call()
    outputs = [o for o in (outputs if isinstance(outputs, tuple) else [outputs]) if o.requires_grad]
    weights = [torch.ones_like(o).requires_grad_() for o in outputs]
    (grad,) = torch.autograd.grad(outputs, x, weights, create_graph=True)
    assert chain(grad.grad_fn) == expected


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.filterwarnings("ignore:torch.triangular_solve is deprecated")
def test_systems_are_differentiated_by_systems(upper):
    a = (torch.eye(3) * 2 + torch.arange(9.0).view(3, 3) / 20).double().requires_grad_()
    b = torch.arange(1.0, 7).view(3, 2).double().sin().requires_grad_()
    half = torch.Tensor.triu if upper else torch.Tensor.tril
    calls = [
        lambda b, a: torch.cholesky_solve(b, half(a), upper),
        lambda b, a: torch.cholesky_inverse(half(a), upper),
        lambda b, a: torch.triangular_solve(b, a, upper)[0],
        lambda b, a: torch.triangular_solve(b, a, upper, True, True)[0],
    ]
    for call in calls:
        assert torch.autograd.gradcheck(call, (b, a)) and torch.autograd.gradgradcheck(call, (b, a))


def test_bilinear_is_differentiated_by_itself():
    weight = torch.arange(18.0).view(2, 3, 3).double().cos().requires_grad_()
    assert torch.autograd.gradgradcheck(F.bilinear, (x, x.detach().cos().requires_grad_(), weight))


def test_group_norm_is_differentiated_by_ops_where_its_gradient_is():
    w = torch.tensor([0.3, 0.9]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: F.group_norm(a[0], 2, a[1], a[2]), (c, w, w))
    assert torch.autograd.gradgradcheck(lambda *a: F.group_norm(a[0], 2, a[1], a[2]), (c, w, w))
    assert torch.autograd.gradgradcheck(lambda a: F.group_norm(a, 1), (c,))


def test_what_has_no_gradient_has_no_edge():
    (grad,) = torch.autograd.grad(F.mse_loss(x, v.expand(3, 3)), x, create_graph=True)
    assert [node and node.name() for node, _ in grad.grad_fn.next_functions] == [
        None,
        "torch::autograd::AccumulateGrad",
        "ExpandBackward0",
    ]
    (grad,) = torch.autograd.grad(F.nll_loss(x, t), x, create_graph=True)
    assert len(grad.grad_fn.next_functions) == 2


def test_lu_is_differentiated_by_its_factors():
    LINALG = torch.linalg
    a = torch.tensor([[2.0, 1.0, 0.5], [0.3, 3.0, 1.0], [1.0, 0.2, 4.0]]).double().requires_grad_()
    b = torch.eye(3).double().requires_grad_()
    halves = "Mm None LinalgSolveTriangular Transpose {} x LinalgSolveTriangular Transpose 3 Add Tril Mm Transpose 3 None Triu Mm None Transpose 3"
    for call, factors in (
        (lambda a: sum(f.sum() for f in LINALG.lu(a)[1:]), "LinalgLu"),
        (lambda a: LINALG.lu_factor(a).LU.sum(), "LuUnpack LinalgLuFactorEx"),
    ):
        (grad,) = torch.autograd.grad(call(a), a, create_graph=True)
        assert chain(grad.grad_fn) == halves.format(factors)
        assert torch.autograd.gradgradcheck(call, a)
    for shape in ((2, 4), (4, 2), (2, 2, 3)):
        other = (torch.arange(1.0, 13).sin()[: torch.Size(shape).numel()].view(shape) + 2).double().requires_grad_()
        assert torch.autograd.gradgradcheck(lambda a: LINALG.lu(a)[1:], other)
        assert torch.autograd.gradgradcheck(lambda a: LINALG.lu_factor(a).LU, other)
    LU, pivots = LINALG.lu_factor(a.detach())
    LU.requires_grad_()
    for left in (True, False):
        for adjoint in (True, False):

            def solve(LU, b, left=left, adjoint=adjoint):
                return LINALG.lu_solve(LU, pivots, b, left=left, adjoint=adjoint)

            assert torch.autograd.gradgradcheck(solve, (LU, b))
            (grad,) = torch.autograd.grad(solve(LU, b).sum(), b, create_graph=True)
            assert chain(grad.grad_fn) == "LinalgLuSolve x None"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: torch.linalg.vector_norm(x, float("inf")), "Mul Sgn x None"),
        (lambda: x.norm("fro", (0, 1)), "Mul None MaskedFill Div x Unsqueeze Unsqueeze LinalgVectorNorm 3"),
        (lambda: x.norm(), "Mul None MaskedFill Div x LinalgVectorNorm 3"),
        (lambda: torch.linalg.inv(x).sum(), "Neg Mm Transpose LinalgInvEx x Mm None Transpose 3"),
        (
            lambda: F.binary_cross_entropy_with_logits(x, x.detach().sigmoid(), v.detach(), pos_weight=v.detach()),
            "DivBackward1 Mul Mul Sub Mul None Sigmoid x None None None",
        ),
    ],
)
def test_of_the_gradient_of_a_number(call, expected):
    (grad,) = torch.autograd.grad(call(), x, create_graph=True)
    assert chain(grad.grad_fn) == expected


def test_rms_norm_counts_its_dimensions_from_the_front():
    node = F.rms_norm(torch.ones(2, 3, 4, requires_grad=True), (3, 4)).grad_fn
    while node.name() != "MeanBackward1":
        node = node.next_functions[-1][0]
    assert node._saved_dim == (2, 1)


def test_the_gradient_of_a_product_of_one_number_does_not_depend_on_it():
    x = torch.tensor(3.0, requires_grad=True)
    (g,) = torch.autograd.grad(x.prod(), x, create_graph=True)
    assert g.item() == 1 and not g.requires_grad


SHOWN = {
    "mse_loss": (lambda x: F.mse_loss(x, x.detach() + 1), "grad_output reduction self target", "reduction"),
    "smooth_l1_loss": (
        lambda x: F.smooth_l1_loss(x, x.detach()),
        "beta grad_output reduction self target",
        "beta reduction",
    ),
    "binary_cross_entropy": (
        lambda x: F.binary_cross_entropy(x, x.detach()),
        "grad_output reduction self target weight",
        "reduction",
    ),
    "hardtanh": (lambda x: F.hardtanh(x), "max_val min_val self", "max_val min_val"),
    "glu": (lambda x: F.glu(x), "dim grad_output self", "dim"),
    "softplus": (lambda x: F.softplus(x), "beta grad_output self threshold", "beta threshold"),
    "max_pool2d": (lambda x: F.max_pool2d(x[None, None], 2), "indices", ""),
    "adaptive_avg_pool2d": (
        lambda x: F.adaptive_avg_pool2d(x[None], 2),
        "grad_output_sym_argsize_minus_1 grad_output_sym_argsize_minus_2",
        "grad_output_sym_argsize_minus_1 grad_output_sym_argsize_minus_2",
    ),
    "conv1d": (
        lambda x: F.conv1d(x, torch.ones(1, 4, 1)),
        "dilation grad_output groups input output_padding padding stride transposed weight",
        "dilation groups output_padding padding stride transposed",
    ),
    "batch_norm": (
        lambda x: F.batch_norm(x, torch.zeros(4), torch.ones(4), training=True),
        "eps grad_out input running_mean running_var save_invstd save_mean train weight",
        "eps train",
    ),
    "elu_": (
        lambda x: F.elu_(x * 1),
        "alpha grad_output input_scale is_result scale self_or_result",
        "alpha input_scale is_result scale",
    ),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_derivative_that_is_one_node_shows_what_it_saved(name):
    make, names, settings = SHOWN[name]
    x = torch.rand(4, 4, requires_grad=True)
    (g,) = torch.autograd.grad(make(x).sum(), x, create_graph=True)
    node = g.grad_fn
    while "BackwardBackward" not in node.name():
        node = node.next_functions[0][0]
    shown = ["_saved_" + n for n in names.split()]
    assert [n for n in dir(node) if n.startswith("_saved_")] == shown
    raw = [n for n in names.split() if n not in settings.split()]
    assert [n for n in dir(node) if n.startswith("_raw_saved_")] == ["_raw_saved_" + n for n in raw]
    for n in raw:
        kept = getattr(node, "_saved_" + n)
        assert kept is None if n == "weight" and name != "conv1d" else isinstance(kept, torch.Tensor)


def test_what_such_a_node_saved_is_its_own():
    x, target = torch.rand(3, requires_grad=True), torch.rand(3, requires_grad=True)
    of_x, of_target = torch.autograd.grad(F.mse_loss(x, target), (x, target), create_graph=True)
    node = of_x.grad_fn
    assert node._saved_self is x and node._saved_target is target and node._saved_reduction == 1
    assert of_target.grad_fn._saved_self is target and of_target.grad_fn._saved_target is x
    unpacked = []
    node._raw_saved_target.register_hooks(lambda t: t, lambda t: (unpacked.append(t.shape), t)[1])
    of_x.sum().backward()
    assert unpacked == [(3,)] and node._saved_reduction == 1
    with pytest.raises(RuntimeError, match="already been freed"):
        node._saved_self  # noqa: B018 (reading it raises)


def packed_twice(make):
    """What is packed where a gradient of `make` is made to be differentiated again: shape and dtype."""
    seen = []
    x = torch.rand(4, 4, requires_grad=True)
    loss = make(x).sum()
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (seen.append((tuple(t.shape), t.dtype)), t)[1], lambda t: t
    ):
        (g,) = torch.autograd.grad(loss, x, create_graph=True)
    return seen, g


def test_a_derivative_that_is_an_op_saves_all_that_its_own_derivatives_need():
    for make in (F.relu, F.leaky_relu, lambda x: F.threshold(x, 0.5, 0)):
        seen, g = packed_twice(make)
        assert seen == [((4, 4), torch.float32)] and g.grad_fn._saved_self.shape == (4, 4)


def test_gradients_are_made_in_the_order_of_names():
    x, y = torch.rand(3, requires_grad=True), torch.rand(3, requires_grad=True)
    pairs = torch.xlogy, torch.special.xlog1py, torch.hypot, torch.logaddexp, torch.ldexp
    for made in (x / y, x**y, *[f(x, y) for f in pairs]):
        of_x, of_y = torch.autograd.grad(made.sum(), (x, y), create_graph=True)
        assert of_y.grad_fn._sequence_nr() < of_x.grad_fn._sequence_nr()


def ranks(tensors):
    """The order in which the nodes at the tensors were made."""
    numbers = [g.grad_fn._sequence_nr() for g in tensors]
    return [sorted(numbers).index(n) for n in numbers]


@pytest.mark.parametrize(
    ("call", "shapes", "expected"),
    [
        (lambda a, b: a.clamp(min=b), "33 33", [1, 0]),
        (lambda a, b, c: a.clamp(b, c), "33 33 33", [2, 0, 1]),
        (lambda a, b: a.clamp_min(b), "33 33", [1, 0]),
        (lambda a, b: a.clamp_max(b), "33 33", [1, 0]),
        (lambda a, b: a.maximum(b), "33 33", [1, 0]),
        (lambda a, b: a.fmax(b), "33 33", [1, 0]),
        (lambda a, b: torch.where(t == 0, a, b), "33 33", [1, 0]),
        (lambda a, b: a.where(t == 0, b), "33 33", [1, 0]),
        (lambda a, b: a.lerp(b, 0.3), "33 33", [1, 0]),
        (lambda a, b, c: a.lerp(b, c), "33 33 33", [1, 0, 2]),
        (lambda a, b: a.dist(b), "33 33", [1, 0]),
        (lambda a, b: torch.linalg.cross(a, b), "33 33", [1, 0]),
        (lambda a, b, c: torch.addmm(a, b, c, beta=2), "33 33 33", [2, 0, 1]),
        (lambda a, b, c: torch.addmv(a, b, c, beta=2), "3 33 3", [1, 0, 2]),
        (lambda a, b: torch.bmm(a, b), "233 233", [1, 0]),
        (lambda a, b, c: torch.baddbmm(a, b, c, beta=2), "233 233 233", [2, 0, 1]),
        (lambda a, b: torch.select_scatter(a, b, 0, 1), "33 3", [0, 1]),
    ],
)
def test_each_op_makes_its_gradients_in_that_order(call, shapes, expected):
    leaves = [torch.rand(*map(int, shape)).requires_grad_() for shape in shapes.split()]
    y = call(*leaves)
    grads = torch.autograd.grad(y, leaves, torch.rand_like(y).requires_grad_(), create_graph=True)
    assert ranks(grads) == expected


def sequence(tensor):
    """The nodes above a tensor in the order in which they were made."""
    found, left = set(), [tensor.grad_fn]
    while left:
        node = left.pop()
        if node and node not in found and "Accumulate" not in node.name():
            found.add(node)
            left += [n for n, _ in node.next_functions]
    return " ".join(n.name().replace("Backward0", "") for n in sorted(found, key=lambda n: n._sequence_nr()))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda a: a.rsqrt(), "Rsqrt Pow MulBackward1 Mul"),
        (lambda a: a.reciprocal(), "Reciprocal Mul Neg Mul"),
        (lambda a: a.var(0), "Unsqueeze MeanBackward1 Sub MulBackward1 Mul"),
        (lambda a: a.norm(torch.inf), "Div Mul Sgn Mul"),
        (lambda a: torch.linalg.vector_norm(a, 1.5), "LinalgVectorNorm Abs Pow Sgn Mul Pow Div MaskedFill Mul"),
        (lambda a: torch.sub(a.detach(), a, alpha=2), "Neg MulBackward1"),
        (lambda a: a[torch.tensor([0, 1])], "IndexPutImpl"),
        (lambda a: a.scatter_reduce(0, torch.zeros(1, 3, dtype=torch.int64), a.detach(), "mean"), "Div"),
        (lambda a: a.diff(), "Neg SliceBackward SliceBackward Add"),
    ],
)
def test_ops_of_a_gradient_are_in_the_order_of_torchs_compiler(call, expected):
    a = torch.rand(3, 3).add(0.1).double().requires_grad_()
    y = call(a)
    (g,) = torch.autograd.grad(y, a, torch.rand_like(y).requires_grad_(), create_graph=True)
    assert sequence(g) == expected


def test_dimensions_that_come_back_are_named_as_they_were():
    (g,) = torch.autograd.grad(x.sum(-1), x, torch.ones(3).double().requires_grad_(), create_graph=True)
    assert g.grad_fn.next_functions[0][0]._saved_dim == 2**64 - 1


def test_attention_is_differentiated_by_the_derivative_of_softmax():
    q = torch.rand(1, 2, 3, 4).double().requires_grad_()
    mask = torch.zeros(3, 3).double().requires_grad_()
    y = F.scaled_dot_product_attention(q, q, q, attn_mask=mask)
    (g,) = torch.autograd.grad(y.sum(), mask, create_graph=True)
    assert "SoftmaxBackwardData" in chain(g.grad_fn)
    assert torch.autograd.gradgradcheck(lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m), (q, mask))


def test_a_second_derivative_saves_no_more_than_it_depends_on():
    planes = lambda f: lambda x: f(x[None, None])
    for make, saved in (
        (planes(lambda x: F.max_pool2d(x, 2)), [((1, 1, 2, 2), torch.int64)]),
        (planes(lambda x: F.avg_pool2d(x, 2)), []),
        (planes(lambda x: F.adaptive_avg_pool2d(x, 2)), []),
        (planes(lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect")), []),
        (F.hardtanh, [((4, 4), torch.float32)]),
        (F.softshrink, [((4, 4), torch.float32)]),
    ):
        seen, _ = packed_twice(lambda x, make=make: make(x) * 2)
        assert [s for s in seen if s != ((), torch.int64)] == saved


@pytest.mark.parametrize("kind", ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "pad", "hardtanh"])
def test_such_a_second_derivative_is_right(kind):
    settings = {"pad": ((1, 1, 1, 1), "reflect"), "hardtanh": (-0.5, 0.5)}.get(kind, (2,))
    x = torch.linspace(-1, 1, 16).double().view(1, 1, 4, 4).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: getattr(F, kind)(x, *settings).sin(), (x,))


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (lambda x: F.interpolate(x[None], 2), []),
        (lambda x: F.max_unpool1d(x[None], torch.arange(4).expand(1, 4, 4), 1), []),
        (lambda x: F.nll_loss(x, torch.arange(4)), [(4,)]),
        (lambda x: F.soft_margin_loss(x, x.detach()), [(), (4, 4), (4, 4)]),
    ],
)
def test_what_a_derivative_computes_with_is_not_packed(make, shapes):
    seen, _ = packed_twice(make)
    assert [shape for shape, _ in seen] == shapes


def test_a_second_derivative_made_at_once_packs_nothing():
    x, seen = torch.rand(4, requires_grad=True), []
    (g,) = torch.autograd.grad(F.softplus(x).sum(), x, create_graph=True)
    with torch.autograd.graph.saved_tensors_hooks(seen.append, lambda p: p):
        g.sum().backward()
    assert seen == []


def test_the_second_factor_of_a_product_has_its_gradient_first():
    x, y = torch.rand(2, 3, requires_grad=True), torch.rand(4, 3, requires_grad=True)
    seen = []
    loss = F.linear(x, y).sum()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (seen.append(tuple(t.shape)), t)[1], lambda t: t):
        torch.autograd.grad(loss, (x, y), create_graph=True)
    assert seen == [(4, 2), (2, 4)]


def test_functions_make_their_nodes_in_that_order():
    p, x = torch.ones(2).double().requires_grad_(), torch.rand(3, 3).requires_grad_()
    assert sequence(F.instance_norm(c, None, None, p, p)) == "Repeat Repeat View NativeBatchNorm View"
    smoothed = F.cross_entropy(x, t, label_smoothing=0.1)
    nll, smooth = [node._sequence_nr() for node, _ in smoothed.grad_fn.next_functions]
    assert smooth < nll
    _, (h, state) = torch.nn.LSTM(3, 2).double()(x[None].double())
    assert ranks([h, state]) == [1, 0]
    query, key, value = [torch.rand(2, 1, 4, requires_grad=True) for _ in range(3)]
    out, _ = torch.nn.MultiheadAttention(4, 2)(query, key, value)
    left, splits = [out.grad_fn], set()
    while left:
        if node := left.pop():
            splits |= {node} if node.name() == "SplitBackward0" else set()
            left += [n for n, _ in node.next_functions]
    first, second = sorted(splits, key=lambda n: n._sequence_nr())
    assert [n.next_functions[0][0].variable.dim() for n in (first, second)] == [2, 1]
