"""Functions that few programs call: special functions, windows, order and bits; and names that are only there to be imported."""

import gc
import math
import pickle

import pytest

import hookgrad as torch
from hookgrad import special
from hookgrad.utils.weak import TensorWeakRef, WeakIdKeyDictionary, WeakIdRef, WeakTensorKeyDictionary

X = torch.tensor([0.2, 0.5, 1.7], dtype=torch.float64)


@pytest.mark.parametrize(
    "function, expected",
    [
        (special.ndtr, [0.579259709439103, 0.691462461274013, 0.955434537241457]),
        (special.log_ndtr, [-0.546004353722774, -0.368946415288656, -0.045589029170069]),
        (special.entr, [0.321887582486820, 0.346573590279973, -0.902068026805690]),
        (lambda x: special.xlog1py(x, x), [0.036464311358791, 0.202732554054082, 1.688528014117482]),
        (lambda x: special.multigammaln(x + 2, 2), [0.573504712308273, 0.857047813397619, 2.885842096744997]),
        (special.i0, [1.010025027795146, 1.063483370741324, 1.863964962073840]),
        (special.i0e, [0.826938551634329, 0.645035270449150, 0.340515687982471]),
        (special.i1, [0.100500834028125, 0.257894305390896, 1.196346565634482]),
        (special.i1e, [0.082283123528812, 0.156420803184872, 0.218552806598493]),
    ],
)
def test_special_functions_and_their_derivatives(function, expected):
    assert torch.allclose(function(X), torch.tensor(expected, dtype=torch.float64), rtol=1e-12)
    assert torch.autograd.gradcheck(function, X.clone().requires_grad_())


def test_bessel_functions_in_place_go_backward():
    x = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    y = (x * 1).i0_()
    assert y.grad_fn.name() == "I0Backward0"
    y.backward()
    assert torch.allclose(x.grad, special.i1(x.detach()))


def test_bessel_functions_at_the_ends():
    assert special.i0(torch.tensor(0.0)).item() == 1.0 and special.i1(torch.tensor(-1.0)).item() < 0
    assert special.i0e(torch.tensor(700.0, dtype=torch.float64)).item() == pytest.approx(
        0.015081295651531357, rel=1e-12
    )


def test_ndtri_inverts_ndtr():
    assert torch.allclose(special.ndtr(special.ndtri(torch.tensor([0.1, 0.9]))), torch.tensor([0.1, 0.9]))


def test_entr_and_xlog1py_at_zero():
    assert special.entr(torch.tensor([0.0, -1.0])).tolist() == [0.0, -math.inf]
    assert special.xlog1py(torch.tensor(0.0), torch.tensor(-1.0)).item() == 0.0


def test_nanmedian_leaves_out_nan_and_differentiates():
    x = torch.tensor([[1.0, 5.0, math.nan], [4.0, 2.0, 3.0]], requires_grad=True)
    values, indices = x.nanmedian(1)
    assert values.tolist() == [1.0, 3.0] and indices.tolist() == [0, 2] and x.nanmedian().item() == 3.0
    values.sum().backward()
    assert x.grad.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    assert repr(torch.nanmedian(x.detach(), 1)).startswith("torch.return_types.nanmedian(\nvalues=")


def test_the_derivative_of_nanmedian_fills_or_scatters_into_zeros():
    x = torch.tensor([1.0, torch.nan, 3.0, 3.0, 5.0], requires_grad=True)
    for loss, name, second in (
        (lambda: x.nanmedian() ** 2, "MaskedFillBackward1", [0, 0, 1, 1, 0]),
        (lambda: x.nanmedian(0)[0] ** 2, "ScatterBackward0", [0, 0, 2, 0, 0]),
        (lambda: x.nanmedian(0, keepdim=True)[0].sum() ** 2, "ScatterBackward0", [0, 0, 2, 0, 0]),
    ):
        (gradient,) = torch.autograd.grad(loss(), x, create_graph=True)
        assert gradient.grad_fn.name() == name
        assert torch.autograd.grad(gradient.sum(), x)[0].tolist() == second


def test_nanmedian_of_all_shares_its_gradient_among_ties():
    x = torch.tensor([1.0, 2.0, 2.0, math.nan, 2.0, 3.0, 2.0], requires_grad=True)
    x.nanmedian().backward()
    assert x.grad.tolist() == [0.0, 0.25, 0.25, 0.0, 0.25, 0.0, 0.25]
    x = torch.tensor([math.nan, math.nan], requires_grad=True)
    x.nanmedian().backward()
    assert x.grad.tolist() == [0.5, 0.5]


def test_frexp_and_nextafter():
    x = torch.tensor([4.0, 0.3, -5.0])
    mantissa, exponent = torch.frexp(x)
    assert torch.equal(torch.ldexp(mantissa, exponent), x) and exponent.dtype == torch.int32
    mantissa, exponent = torch.frexp(torch.tensor(3.5))
    assert (mantissa.item(), exponent.item(), exponent.shape) == (0.875, 2, ())
    up = torch.nextafter(torch.ones(1), torch.full((1,), 2.0))
    assert up.item() == 1 + torch.finfo(torch.float32).eps
    assert up.nextafter_(torch.zeros(1)).item() == 1.0


@pytest.mark.parametrize(
    "reduce, expected",
    [("prod", [5.0, 1.0, 3.0]), ("mean", [7 / 3, 1.0, 2.0]), ("amax", [5.0, 1.0, 3.0]), ("amin", [1.0, 1.0, 1.0])],
)
def test_index_reduce(reduce, expected):
    source = torch.tensor([1.0, 3.0, 5.0])
    assert torch.allclose(
        torch.ones(3).index_reduce(0, torch.tensor([0, 2, 0]), source, reduce), torch.tensor(expected)
    )
    y = torch.ones(3)
    assert y.index_reduce_(0, torch.tensor([0, 2, 0]), source, reduce) is y and torch.allclose(
        y, torch.tensor(expected)
    )


def test_searchsorted_takes_a_sequence_and_its_order():
    x = torch.tensor([3.0, 1.0, 2.0])
    assert torch.searchsorted(x, torch.tensor([1.5, 2.5]), sorter=x.argsort()).tolist() == [1, 2]


def test_histogram_counts_and_weighs():
    x = torch.tensor([1.0, 2.0, 1.0])
    hist, edges = torch.histogram(x, bins=4, range=(0.0, 3.0))
    assert hist.tolist() == [0.0, 2.0, 1.0, 0.0] and edges.tolist() == [0.0, 0.75, 1.5, 2.25, 3.0]
    assert torch.histogram(x, edges, weight=x).hist.tolist() == [0.0, 2.0, 2.0, 0.0]
    assert torch.histogram(x, 2, density=True).hist.sum().item() == pytest.approx(2.0)


def test_a_histogram_cannot_be_differentiated():
    for made in torch.histogram(torch.ones(3, requires_grad=True), 2):
        assert made.grad_fn.name() == "torch::autograd::NotImplemented"
        with pytest.raises(RuntimeError, match="derivative for aten::histogram is not implemented"):
            made.sum().backward()


@pytest.mark.parametrize("name", "hann hamming blackman bartlett kaiser".split())
def test_windows_are_symmetric_and_periodic_ones_a_sample_longer(name):
    window = getattr(torch, name + "_window")
    whole = window(8, periodic=False, dtype=torch.float64)
    assert torch.allclose(whole, whole.flip(0)) and whole.max() <= 1
    assert torch.allclose(window(7, dtype=torch.float64), whole[:-1])


def test_windows_round_in_their_dtype():
    """So a sum that would be zero shows what it lost, as PyTorch's does."""
    assert torch.blackman_window(4)[0].item() == torch.blackman_window(9, periodic=False)[0].item() == -(2.0**-25)
    assert abs(torch.blackman_window(4, dtype=torch.float64)[0].item()) < 2.0**-50
    assert torch.hamming_window(4)[0].item() == 0.08000001311302185
    assert torch.bartlett_window(7)[5].item() == 0.5714285373687744


def test_copies_of_views_share_nothing():
    x = torch.ones(2, 3)
    for copy in (torch.view_copy(x, (6,)), torch.t_copy(x), torch.select_copy(x, 0, 0), torch.slice_copy(x, 0, 0, 1)):
        copy.zero_()
    assert x.sum().item() == 6.0 and [t.shape for t in torch.split_copy(x, 1)] == [(1, 3), (1, 3)]


def test_dictionaries_of_tensors_go_by_identity_and_let_them_go():
    for kind in (WeakTensorKeyDictionary, WeakIdKeyDictionary):
        known = kind()
        x = torch.ones(2)
        known[x] = 5
        assert known[x] == 5 and torch.ones(2) not in known and list(known) == [x] and 3 not in known
        reference, equal = TensorWeakRef(x), WeakIdRef(x)
        assert reference() is x and equal == WeakIdRef(x) and known.copy()[x] == 5
        del x
        gc.collect()
        assert len(known) == 0 and reference() is None


def test_names_for_annotations_can_be_imported():
    from hookgrad.nn.modules.module import T, _grad_t
    from hookgrad.optim.optimizer import ParamsT, StateDict

    assert T.__name__ == "T" and torch.Tensor in _grad_t.__args__ and ParamsT and StateDict
    assert torch.nn.Module.T_destination.__name__ == "T_destination" and torch.optim.Optimizer.OptimizerPreHook


def test_datasets_side_by_side_and_one_after_another():
    from hookgrad.utils.data import ChainDataset, DataLoader, IterableDataset, StackDataset, get_worker_info

    class Numbers(IterableDataset):
        def __iter__(self):
            assert get_worker_info() is None
            return iter([1, 2])

    assert list(ChainDataset([Numbers(), Numbers()])) == [1, 2, 1, 2]
    assert [
        b.tolist() for b in DataLoader(StackDataset(x=torch.arange(2)), batch_size=2).__iter__().__next__().values()
    ] == [[0, 1]]
    assert StackDataset(torch.arange(2), torch.ones(2))[1] == (torch.tensor(1), torch.tensor(1.0))
    with pytest.raises(ValueError, match="Size mismatch"):
        StackDataset([1], [1, 2])


def test_the_class_of_a_functions_node_is_that_of_its_contexts():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    assert Twice.apply(torch.ones(1, requires_grad=True)).grad_fn.__class__ is Twice._backward_cls


def test_devices_that_are_not_there_can_be_named():
    cuda = torch.device("cuda:1")
    assert (cuda.type, cuda.index, str(cuda), repr(cuda)) == ("cuda", 1, "cuda:1", "device(type='cuda', index=1)")
    assert torch.device("cuda") != cuda and torch.device("cuda", 1) == cuda and {cuda: 1}[torch.device("cuda:1")] == 1
    assert pickle.loads(pickle.dumps(cuda)) == cuda and torch.ones(1).device != cuda
    for use in (
        lambda: torch.ones(1, device=cuda),
        lambda: torch.ones(1).to("cuda"),
        lambda: torch.nn.Linear(1, 1).to(cuda),
    ):
        with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
            use()
    with pytest.raises(NotImplementedError, match="runs on the CPU"):
        torch.ones(1, device="mps")
    for wrong in ("foo", "cuda:x", "cpu:"):
        with pytest.raises(RuntimeError):
            torch.device(wrong)


def test_fake_quantisation_rounds_and_passes_gradients_within_the_range():
    x = torch.linspace(-2, 2, 9, requires_grad=True)
    y = torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -8, 7)
    assert torch.allclose(y, x.detach().clamp(-0.8, 0.7))
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    rows = torch.tensor([[0.14, 5.0], [0.14, 5.0]])
    scale, zero = torch.tensor([0.1, 1.0]), torch.tensor([0, 0])
    assert torch.allclose(
        torch.fake_quantize_per_channel_affine(rows, scale, zero, 0, 0, 7), torch.tensor([[0.1, 0.7], [0.0, 5.0]])
    )


def test_a_timer_measures_a_statement():
    from hookgrad.utils.benchmark import Timer

    timer = Timer("y = x + z", setup="z = 1", globals={"x": torch.ones(2)}, label="sum")
    measured = timer.timeit(3)
    assert measured.number_per_run == 3 and measured.mean > 0 and "sum" in repr(measured)
    assert timer.blocked_autorange(min_run_time=0.001).median > 0


def test_erfcx_stays_within_range_where_erfc_does_not():
    x = torch.tensor([-3.0, 0.0, 1.0, 4.9, 5.1, 30.0], dtype=torch.float64, requires_grad=True)
    y = special.erfcx(x)
    assert y.grad_fn.name() == "SpecialErfcxBackward0"
    assert y.tolist()[:5] == pytest.approx([math.exp(v * v) * math.erfc(v) for v in x.tolist()[:5]], rel=1e-12)
    assert y[5].item() == pytest.approx(
        1 / (30 * math.sqrt(math.pi)) * (1 - 1 / 1800 + 3 / 1800**2 - 15 / 1800**3), rel=1e-10
    )
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(gradient, 2 * x * y - 2 / math.sqrt(math.pi), rtol=1e-9)
    ends = torch.tensor([-30.0, math.inf, math.nan], requires_grad=True)
    out = special.erfcx(ends)
    assert out[:2].tolist() == [math.inf, 0.0] and out[2].isnan()
    (gradient,) = torch.autograd.grad(out.sum(), ends)
    assert gradient[0] == -math.inf and gradient[2].isnan()
    assert special.erfcx(torch.tensor([0])).dtype == torch.float32


@pytest.mark.parametrize(
    ("reduce", "lengths", "expected", "gradient"),
    [
        ("sum", [1, 0, 3], [0.2, 0.0, 2.6], [1, 1, 1, 1]),
        ("mean", [2, 2], [0.35, 1.05], [0.5, 0.5, 0.5, 0.5]),
        ("max", [1, 0, 3], [0.2, -math.inf, 1.7], [1, 0, 1, 0]),
        ("min", [3, 1], [0.2, 0.4], [1, 0, 0, 1]),
        ("prod", [2, 2], [0.1, 0.68], [0.5, 0.2, 0.4, 1.7]),
    ],
)
def test_segments_are_reduced(reduce, lengths, expected, gradient):
    data = torch.tensor([0.2, 0.5, 1.7, 0.4], requires_grad=True)
    out = torch.segment_reduce(data, reduce, lengths=torch.tensor(lengths))
    assert out.tolist() == pytest.approx(expected) and out.grad_fn.name() == "SegmentReduceBackward0"
    out[torch.isfinite(out)].sum().backward()
    assert data.grad.tolist() == pytest.approx(gradient)


def test_segments_by_offsets_and_rows():
    rows = torch.arange(6.0).view(2, 3)
    offsets, lengths = torch.tensor([0, 1, 2]), torch.tensor([[1, 2], [3, 0]])
    assert torch.segment_reduce(rows, "sum", offsets=offsets).tolist() == rows.tolist()
    assert torch.segment_reduce(rows, "sum", lengths=lengths, axis=1).tolist() == [[0, 3], [12, 0]]
    for wrong in ({}, {"lengths": torch.tensor([1])}, {"lengths": torch.tensor([3, -1])}):
        with pytest.raises(RuntimeError):
            torch.segment_reduce(rows, "sum", **wrong)
    with pytest.raises(RuntimeError, match="got median"):
        torch.segment_reduce(rows, "median", lengths=torch.tensor([2]))


def test_scatter_adds_and_multiplies():
    x, index = torch.ones(2, 3), torch.tensor([[0, 1, 1]])
    assert x.scatter(0, index, 4.0, reduce="add").tolist() == [[5, 1, 1], [1, 5, 5]]
    assert x.clone().scatter_(0, index, torch.full((1, 3), 3.0), reduce="multiply").tolist() == [[3, 1, 1], [1, 3, 3]]
    with pytest.raises(RuntimeError, match="must be either add or multiply"):
        x.scatter(0, index, 1.0, reduce="max")
    with pytest.raises(RuntimeError, match="derivative for aten::scatter is not implemented"):
        x.requires_grad_().scatter(0, index, 1.0, reduce="add").sum().backward()


def test_a_tensor_says_where_to_split():
    x = torch.arange(5)
    assert [t.tolist() for t in x.tensor_split(torch.tensor([1, 4]))] == [[0], [1, 2, 3], [4]]
    assert [t.tolist() for t in torch.tensor_split(x, torch.tensor(2))] == [[0, 1, 2], [3, 4]]
    with pytest.raises(RuntimeError, match="dtype of long, but got Float"):
        x.tensor_split(torch.tensor([1.0]))
    with pytest.raises(RuntimeError, match="zero-dimensional or one-dimensional"):
        x.tensor_split(torch.tensor([[1]]))


def test_sizes_that_are_no_symbols():
    assert not isinstance(torch.ones(2).size(0), (torch.SymInt, torch.SymFloat, torch.SymBool))
    assert (torch.sym_max(2, 3.0), torch.sym_min(2, 3), torch.sym_int(2.5), torch.sym_float(1)) == (3.0, 2, 2, 1.0)
    assert (torch.sym_not(True), torch.sym_sum([1, 2]), torch.sym_ite(False, 1, 2), torch.sym_sqrt(4)) == (
        False,
        3,
        2,
        2,
    )


def test_old_and_rare_constructors():
    assert torch.empty_permuted((2, 3, 4), (2, 0, 1)).stride() == (3, 1, 6)
    with pytest.warns(UserWarning, match="torch.range is deprecated"):
        assert torch.range(1, 2, 0.5).tolist() == [1, 1.5, 2]
    found = torch.nonzero_static(torch.tensor([1, 0, 2]), size=3)
    assert found.tolist() == [[0], [2], [-1]] and torch.tensor([1, 1]).nonzero_static(size=1).tolist() == [[0]]
    out = torch.conv_tbc(torch.ones(5, 2, 3), torch.ones(3, 3, 2), torch.zeros(2), 1)
    assert out.shape == (5, 2, 2) and out[0, 0].tolist() == [6, 6]


def test_bessel_functions_are_exact_at_0_and_far_from_it():
    x = torch.tensor([0.0, 1e5, -1e10, math.inf], dtype=torch.float64)
    assert torch.special.i1(x[:1]).item() == 0
    assert torch.special.i0e(x).tolist() == pytest.approx([1, 0.0012615678379767, 3.9894228041e-06, 0], rel=1e-10)
    assert torch.special.i1e(x).tolist() == pytest.approx([0, 0.0012615615301246, -3.9894228039e-06, 0], rel=1e-10)


def test_log_ndtr_goes_on_where_ndtr_is_0():
    x = torch.tensor([-100.0, -1.0, 3.0], dtype=torch.float64, requires_grad=True)
    y = torch.special.log_ndtr(x)
    assert y.tolist() == pytest.approx([-5005.524208694205, -1.841021645009264, -0.0013508099647481923], rel=1e-12)
    y[0].backward()
    assert x.grad[0].item() == pytest.approx(100.01, rel=1e-3)
