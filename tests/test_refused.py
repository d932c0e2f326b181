"""What layers and functions of nn.functional refuse, and with which exception: PyTorch's."""

import pytest

import hookgrad as torch
import hookgrad.nn.functional as F
from hookgrad import nn

ROW, IMAGE = torch.ones(2, 4), torch.ones(1, 4, 4, 4)
LABEL = torch.tensor([0, 1])

TENSORS = [
    (F.bilinear, ROW, ROW, torch.ones(2, 4, 4)),
    (F.cosine_similarity, ROW, ROW),
    (F.pairwise_distance, ROW, ROW),
    (F.adaptive_max_pool1d, ROW, 2),
    (F.feature_alpha_dropout, ROW),
    (F.rrelu, ROW),
    (F.pixel_shuffle, IMAGE, 2),
    (F.pixel_unshuffle, IMAGE, 2),
    (F.channel_shuffle, IMAGE, 2),
    (F.unfold, IMAGE, 2),
    (F.fold, torch.ones(1, 4, 9), 4, 2),
    (F.poisson_nll_loss, ROW, ROW),
    (F.soft_margin_loss, ROW, ROW),
    (F.cosine_embedding_loss, ROW, ROW, LABEL),
    (F.triplet_margin_loss, ROW, ROW, ROW),
    (F.multi_margin_loss, ROW, LABEL),
    (F.multilabel_margin_loss, ROW, ROW.long()),
    (F.ctc_loss, torch.ones(2, 1, 2), torch.tensor([[1]]), LABEL[:1], LABEL[:1]),
]


@pytest.mark.parametrize("function, args", [(f[0], f[1:]) for f in TENSORS], ids=lambda a: getattr(a, "__name__", ""))
def test_what_is_no_tensor(function, args):
    function(*args)
    with pytest.raises(TypeError, match=r"\(\): argument '\w+' \(position 1\) must be Tensor, not NoneType"):
        function(None, *args[1:])


WRONG = [
    (NotImplementedError, lambda: F.glu(ROW.int())),
    (NotImplementedError, lambda: F.rrelu(ROW.int())),
    (NotImplementedError, lambda: F.rrelu(ROW.int(), training=True)),
    (NotImplementedError, lambda: F.max_pool1d(ROW.int(), 2)),
    (NotImplementedError, lambda: F.unfold(IMAGE.int(), 2)),
    (NotImplementedError, lambda: F.fold(torch.ones(1, 4, 9).int(), 4, 2)),
    (NotImplementedError, lambda: F.max_unpool1d(ROW[:, :1].int(), torch.zeros(2, 1, dtype=torch.int64), 2)),
    (NotImplementedError, lambda: F.multi_margin_loss(ROW.half(), LABEL)),
    (NotImplementedError, lambda: F.multilabel_margin_loss(ROW.int(), ROW.long())),
    (RuntimeError, lambda: F.multilabel_margin_loss(ROW, ROW.bool())),
    (RuntimeError, lambda: F.dropout(ROW.int())),
    (RuntimeError, lambda: F.dropout2d(torch.ones(3))),
    (RuntimeError, lambda: F.kl_div(ROW.int(), ROW, reduction="sum")),
    (RuntimeError, lambda: F.huber_loss(ROW.int(), ROW)),
    (RuntimeError, lambda: F.binary_cross_entropy_with_logits(ROW, ROW.int())),
    (RuntimeError, lambda: F.soft_margin_loss(ROW.int(), ROW)),
    (RuntimeError, lambda: F.soft_margin_loss(ROW[0], ROW)),
    (RuntimeError, lambda: F.bilinear(ROW, ROW.double(), torch.ones(2, 4, 4))),
    (RuntimeError, lambda: F.hardtanh(ROW.byte())),
    (RuntimeError, lambda: F.cosine_similarity(ROW.int(), ROW.int())),
    (TypeError, lambda: F.max_unpool2d(torch.ones(1, 1, 1), None, 2)),
    (RuntimeError, lambda: F.ctc_loss(torch.ones(1, 2, 1, 2), LABEL, LABEL, LABEL)),
    (ValueError, lambda: F.hardtanh(ROW, 1.0, -1.0)),
    (ValueError, lambda: nn.NLLLoss()(ROW[0], LABEL)),
]


@pytest.mark.parametrize("error, call", WRONG)
@pytest.mark.filterwarnings("ignore")
def test_wrong_numbers_and_shapes(error, call):
    with pytest.raises(error):
        call()


def test_what_is_no_wrong_number():
    assert F.cosine_similarity(ROW.int(), ROW).dtype is torch.float32
    assert F.unfold(IMAGE.bool(), 2).dtype is torch.bool
    assert F.hardtanh_(torch.ones(2), 1.0, -1.0).tolist() == [-1, -1]


def test_float_power_needs_a_tensor():
    with pytest.raises(TypeError, match="invalid combination of arguments"):
        torch.float_power(2, 1)


COMPOSITES = """torch.cov torch.diff torch.gradient torch.histc torch.nanmedian torch.igamma torch.poisson
    torch.is_signed torch.conj torch.select_copy torch.orgqr torch.embedding_bag torch.gru_cell torch.i0
    torch.linalg.norm torch.linalg.eigh torch.linalg.lu_factor torch.linalg.vecdot torch.special.entr torch.special.ndtri
    torch.special.gammainc torch.fft.fftshift""".split()


@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.filterwarnings("ignore")
def test_functions_made_of_ops_name_what_is_no_tensor(name):
    for wrong, kind in (("x", "str"), (None, "NoneType")):
        with pytest.raises(TypeError, match=rf"\(\): argument '\w+' \(position 1\) must be Tensor, not {kind}"):
            eval(name)(wrong, *[ROW] * 4)


ROWS, PLANES = torch.ones(2, 4), torch.ones(1, 2, 2)
STATS = torch.ones(4)

DO_NOT_FIT = [
    lambda: row("_mse_loss")(ROWS, STATS),
    lambda: row("_huber_loss")(ROWS, torch.ones(2, 1)),
    lambda: row("_linalg_cross")(torch.ones(2, 3), torch.ones(3), 1),
    lambda: row("_cdist_forward")(torch.ones(()), ROWS, 2.0),
    lambda: row("_cdist_forward")(ROWS, torch.ones(2, 3), 2.0),
    lambda: row("_softmax_backward_data")(torch.ones(0, 4), ROWS, 1),
    lambda: row("_log_softmax_backward_data")(STATS, ROWS, 1),
    lambda: row("max_pool2d_with_indices_backward")(PLANES, torch.zeros(1, 2, 2), [1, 4, 4]),
    lambda: row("max_pool2d_with_indices_backward")(PLANES, torch.zeros(1, 1, 2).long(), [1, 4, 4]),
    lambda: row("max_pool2d_with_indices_backward")(PLANES, torch.full((1, 2, 2), 16), [1, 4, 4]),
    lambda: row("max_pool2d_with_indices_backward")(PLANES, torch.full((1, 2, 2), -1), [1, 4, 4]),
    lambda: row("max_pool2d_with_indices_backward")(ROWS, torch.zeros(2, 4).long(), [4]),
    lambda: row("avg_pool2d_backward")(PLANES, [1, 9, 9], [2, 2], None, [0, 0], False, True, None),
    lambda: row("_adaptive_avg_pool2d_backward")(torch.ones(()), [1, 4, 4]),
    lambda: row("_adaptive_avg_pool2d_backward")(PLANES, [2, 4, 4]),
    lambda: row("native_batch_norm_backward")(STATS, STATS, None, STATS, STATS, True, 1e-5, None, None),
    lambda: row("native_batch_norm_backward")(ROWS, ROWS, None, STATS[:3], STATS, True, 1e-5, None, None),
    lambda: row("native_batch_norm_backward")(ROWS, ROWS, None, STATS, STATS, False, 1e-5, None, None),
    lambda: row("native_layer_norm_backward")(ROWS, ROWS, [4], STATS[:1], STATS[:2], None, None, 1e-5),
    lambda: row("native_layer_norm_backward")(ROWS, ROWS, [3], STATS[:2], STATS[:2], None, None, 1e-5),
    lambda: row("native_group_norm_backward")(torch.ones(()), torch.ones(()), None, STATS, STATS, 0, 1e-5),
    lambda: row("native_group_norm_backward")(ROWS, ROWS, None, STATS[:2], STATS[:2], 2, 1e-5),
    lambda: row("native_group_norm")(ROWS, STATS[:3], None, 2, 1e-5),
    lambda: row("convolution_backward_weight")(PLANES, PLANES, [1], [1], [0], [1], 0),
    lambda: row("convolution_backward_weight")(PLANES, PLANES, [1] * 9, [1], [0], [1], 1),
    lambda: row("convolution_backward_weight")(torch.ones(1, 2, 9), PLANES, [1], [1], [0], [1], 1),
    lambda: row("convolution")(PLANES, torch.ones(2, 2, 1), None, [1], [0], [1], False, [0], 0),
    lambda: row("as_strided_backward")(torch.ones(3, 2, 5, 5), [2], [1], 2, [3, 0], [3], 1),
    lambda: row("_cat")([torch.ones(()), torch.ones(5, 5)], -1, [1, 5], torch.float32),
    lambda: row("_cat")([torch.ones(2, 2), torch.ones(3, 2)], 1, [2, 2], torch.float32),
    lambda: row("_cat")([torch.ones(2, 2)], 0, [2, 2], torch.float32),
]


def row(name):
    """What a dispatch mode is given to call with whatever it likes."""
    return next(torch._C._op_of_row(r["id"], False) for r in torch._C.op_table() if r["name"] == name)


@pytest.mark.parametrize("call", DO_NOT_FIT)
def test_ops_of_derivatives_and_losses_look_at_their_arguments(call):
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        call()


def test_a_cross_product_counts_dimensions_from_the_end():
    x, y = torch.tensor([[1.0, 2, 3]]), torch.tensor([[4.0, 5, 6]])
    assert torch.ops.aten.linalg_cross(x, y, dim=-1).tolist() == [[-3, 6, -3]]


def test_indices_of_a_triangle():
    assert torch.tril_indices(3, 2, -1).tolist() == [[1, 2, 2], [0, 0, 1]]
    for i in range(-4, 5):
        for rows, columns in ((3, 4), (4, 2), (0, 3), (2, 0)):
            ones = torch.ones(rows, columns)
            assert torch.equal(torch.tril_indices(rows, columns, i), ones.tril(i).nonzero().T)
            assert torch.equal(torch.triu_indices(rows, columns, i), ones.triu(i).nonzero().T)
    assert torch.tril_indices(2**40, 0).shape == (2, 0) and torch.triu_indices(3, 4, 2**62).shape == (2, 0)
    assert torch.tril_indices(2**40, 2, 1 - 2**40).tolist() == [[2**40 - 1], [0]]
    with pytest.raises(RuntimeError):
        torch.tril_indices(2**62, 3, 0)
