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
