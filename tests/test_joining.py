"""Joining tensors, repeating them, putting their elements elsewhere, padding."""

import numpy as np
import pytest
from op_cases import check_derivatives, check_error, check_result

import hookgrad as torch
import hookgrad.nn.functional as F

# What PyTorch 2.13 gives: the numbers, and the name of the node that made them.
RESULTS = [
    (
        lambda x, y, v, s: torch.cat([x, x]),
        [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
        "CatBackward0",
    ),
    (
        lambda x, y, v, s: torch.cat([x, x], dim=1),
        [[0.0, 1.0, 2.0, 0.0, 1.0, 2.0], [3.0, 4.0, 5.0, 3.0, 4.0, 5.0]],
        "CatBackward0",
    ),
    (lambda x, y, v, s: torch.cat([v, torch.zeros(0), v]), [3.0, -1.0, 2.0, 3.0, -1.0, 2.0], "CatBackward0"),
    (
        lambda x, y, v, s: torch.stack([x, x], dim=1),
        [[[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]], [[3.0, 4.0, 5.0], [3.0, 4.0, 5.0]]],
        "StackBackward0",
    ),
    (lambda x, y, v, s: torch.stack([v, v], dim=-1), [[3.0, 3.0], [-1.0, -1.0], [2.0, 2.0]], "StackBackward0"),
    (lambda x, y, v, s: torch.hstack([v, v]), [3.0, -1.0, 2.0, 3.0, -1.0, 2.0], "CatBackward0"),
    (lambda x, y, v, s: torch.vstack([v, v]), [[3.0, -1.0, 2.0], [3.0, -1.0, 2.0]], "CatBackward0"),
    (lambda x, y, v, s: torch.dstack([v, v]), [[[3.0, 3.0], [-1.0, -1.0], [2.0, 2.0]]], "CatBackward0"),
    (lambda x, y, v, s: torch.column_stack([v, v]), [[3.0, 3.0], [-1.0, -1.0], [2.0, 2.0]], "CatBackward0"),
    (lambda x, y, v, s: torch.atleast_2d(v), [[3.0, -1.0, 2.0]], "UnsqueezeBackward0"),
    (
        lambda x, y, v, s: v.repeat(2, 2),
        [[3.0, -1.0, 2.0, 3.0, -1.0, 2.0], [3.0, -1.0, 2.0, 3.0, -1.0, 2.0]],
        "RepeatBackward0",
    ),
    (
        lambda x, y, v, s: x.repeat(2, 1),
        [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
        "RepeatBackward0",
    ),
    (
        lambda x, y, v, s: x.tile(2),
        [[0.0, 1.0, 2.0, 0.0, 1.0, 2.0], [3.0, 4.0, 5.0, 3.0, 4.0, 5.0]],
        "RepeatBackward0",
    ),
    (
        lambda x, y, v, s: x.repeat_interleave(2, dim=0),
        [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [3.0, 4.0, 5.0]],
        "ViewBackward0",
    ),
    (
        lambda x, y, v, s: x.repeat_interleave(2),
        [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0, 5.0],
        "ViewBackward0",
    ),
    (
        lambda x, y, v, s: x.repeat_interleave(torch.tensor([1, 2]), dim=0),
        [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [3.0, 4.0, 5.0]],
        "IndexSelectBackward0",
    ),
    (lambda x, y, v, s: x.roll(1), [[5.0, 0.0, 1.0], [2.0, 3.0, 4.0]], "RollBackward0"),
    (lambda x, y, v, s: x.roll((1, -1), (0, 1)), [[4.0, 5.0, 3.0], [1.0, 2.0, 0.0]], "RollBackward0"),
    (lambda x, y, v, s: x.flip(0), [[3.0, 4.0, 5.0], [0.0, 1.0, 2.0]], "FlipBackward0"),
    (lambda x, y, v, s: x.flip((0, 1)), [[5.0, 4.0, 3.0], [2.0, 1.0, 0.0]], "FlipBackward0"),
    (lambda x, y, v, s: x.fliplr(), [[2.0, 1.0, 0.0], [5.0, 4.0, 3.0]], "FlipBackward0"),
    (lambda x, y, v, s: x.rot90(), [[2.0, 5.0], [1.0, 4.0], [0.0, 3.0]], "Rot90Backward0"),
    (lambda x, y, v, s: x.rot90(2), [[5.0, 4.0, 3.0], [2.0, 1.0, 0.0]], "Rot90Backward0"),
    (lambda x, y, v, s: x.rot90(3), [[3.0, 0.0], [4.0, 1.0], [5.0, 2.0]], "Rot90Backward0"),
    (lambda x, y, v, s: x.tril(), [[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]], "TrilBackward0"),
    (lambda x, y, v, s: x.triu(1), [[0.0, 1.0, 2.0], [0.0, 0.0, 5.0]], "TriuBackward0"),
    (lambda x, y, v, s: v.diag(), [[3.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 2.0]], "DiagEmbedBackward0"),
    (lambda x, y, v, s: x.diag(), [0.0, 4.0], "DiagonalBackward0_copy"),
    (
        lambda x, y, v, s: torch.diag_embed(v, 1),
        [[0.0, 3.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]],
        "DiagEmbedBackward0",
    ),
    (
        lambda x, y, v, s: torch.diagflat(x),
        [
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 2.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 3.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 4.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 5.0],
        ],
        "DiagEmbedBackward0",
    ),
    (
        lambda x, y, v, s: torch.meshgrid(v, v[:2], indexing="ij"),
        [[[3.0, 3.0], [-1.0, -1.0], [2.0, 2.0]], [[3.0, -1.0], [3.0, -1.0], [3.0, -1.0]]],
        "ExpandBackward0",
    ),
    (
        lambda x, y, v, s: torch.meshgrid(v, v[:2], indexing="xy"),
        [[[3.0, -1.0, 2.0], [3.0, -1.0, 2.0]], [[3.0, 3.0, 3.0], [-1.0, -1.0, -1.0]]],
        "ExpandBackward0",
    ),
    (
        lambda x, y, v, s: torch.block_diag(x, v),
        [[0.0, 1.0, 2.0, 0.0, 0.0, 0.0], [3.0, 4.0, 5.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0, -1.0, 2.0]],
        "BlockDiagBackward0",
    ),
    (
        lambda x, y, v, s: torch.broadcast_tensors(v, x),
        [[[3.0, -1.0, 2.0], [3.0, -1.0, 2.0]], [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]],
        "ExpandBackward0",
    ),
    (
        lambda x, y, v, s: torch.cartesian_prod(v, v[:2]),
        [[3.0, 3.0], [3.0, -1.0], [-1.0, 3.0], [-1.0, -1.0], [2.0, 3.0], [2.0, -1.0]],
        "StackBackward0",
    ),
    (
        lambda x, y, v, s: F.pad(x, (1, 2)),
        [[0.0, 0.0, 1.0, 2.0, 0.0, 0.0], [0.0, 3.0, 4.0, 5.0, 0.0, 0.0]],
        "ConstantPadNdBackward0",
    ),
    (
        lambda x, y, v, s: F.pad(x, (0, 1, 1, 0), value=5.0),
        [[5.0, 5.0, 5.0, 5.0], [0.0, 1.0, 2.0, 5.0], [3.0, 4.0, 5.0, 5.0]],
        "ConstantPadNdBackward0",
    ),
    (lambda x, y, v, s: F.pad(x, (-1, 1)), [[1.0, 2.0, 0.0], [4.0, 5.0, 0.0]], "ConstantPadNdBackward0"),
    (
        lambda x, y, v, s: F.pad(x, (1, 2), mode="reflect"),
        [[1.0, 0.0, 1.0, 2.0, 1.0, 0.0], [4.0, 3.0, 4.0, 5.0, 4.0, 3.0]],
        "ReflectionPad1DBackward0",
    ),
    (
        lambda x, y, v, s: F.pad(x, (2, 1), mode="replicate"),
        [[0.0, 0.0, 0.0, 1.0, 2.0, 2.0], [3.0, 3.0, 3.0, 4.0, 5.0, 5.0]],
        "ReplicationPad1DBackward0",
    ),
    (
        lambda x, y, v, s: F.pad(y, (1, 1, 1, 0), mode="replicate"),
        [
            [
                [-7.0, -7.0, -6.0, -5.0, -4.0, -4.0],
                [-7.0, -7.0, -6.0, -5.0, -4.0, -4.0],
                [-3.0, -3.0, -2.0, -1.0, 0.0, 0.0],
                [1.0, 1.0, 2.0, 3.0, 4.0, 4.0],
            ],
            [
                [5.0, 5.0, 6.0, 7.0, 8.0, 8.0],
                [5.0, 5.0, 6.0, 7.0, 8.0, 8.0],
                [9.0, 9.0, 10.0, 11.0, 12.0, 12.0],
                [13.0, 13.0, 14.0, 15.0, 16.0, 16.0],
            ],
        ],
        "ReplicationPad2DBackward0",
    ),
]


@pytest.mark.parametrize("call, expected, node", RESULTS)
def test_results_and_nodes_are_those_of_torch(call, expected, node):
    check_result(call, expected, node)


@pytest.mark.parametrize("call", [call for call, _, node in RESULTS if node])
def test_derivatives_agree_with_finite_differences(call):
    check_derivatives(call)


ERRORS = [
    (lambda x, y, v, s: torch.cat([]), ValueError, "torch.cat(): expected a non-empty list of Tensors"),
    (lambda x, y, v, s: torch.cat([x, v]), RuntimeError, "Tensors must have same number of dimensions: got 2 and 1"),
    (
        lambda x, y, v, s: torch.cat([x, x], 2),
        IndexError,
        "Dimension out of range (expected to be in range of [-2, 1], but got 2)",
    ),
    (
        lambda x, y, v, s: torch.cat([x, torch.zeros(2, 2)]),
        RuntimeError,
        "Sizes of tensors must match except in dimension 0. Expected size 3 but got size 2 for tensor "
        "number 1 in the list.",
    ),
    (
        lambda x, y, v, s: torch.cat([torch.tensor(1.0), v]),
        RuntimeError,
        "zero-dimensional tensor (at position 0) cannot be concatenated",
    ),
    (lambda x, y, v, s: torch.cat([x, 1]), TypeError, "expected Tensor as element 1 in argument 0, but got int"),
    (lambda x, y, v, s: torch.stack([]), RuntimeError, "stack expects a non-empty TensorList"),
    (
        lambda x, y, v, s: torch.stack([x, v]),
        RuntimeError,
        "stack expects each tensor to be equal size, but got [2, 3] at entry 0 and [3] at entry 1",
    ),
    (
        lambda x, y, v, s: torch.stack([x, x], 3),
        IndexError,
        "Dimension out of range (expected to be in range of [-3, 2], but got 3)",
    ),
    (lambda x, y, v, s: torch.hstack([]), RuntimeError, "hstack expects a non-empty TensorList"),
    (
        lambda x, y, v, s: x.repeat(2),
        RuntimeError,
        "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor",
    ),
    (lambda x, y, v, s: x.repeat(-1, 2), RuntimeError, "Trying to create tensor with negative dimension -2: [-2, 6]"),
    (lambda x, y, v, s: x.repeat_interleave(-1), RuntimeError, "Repeats must be non-negative"),
    (
        lambda x, y, v, s: x.repeat_interleave(torch.tensor([1, 2, 3]), 0),
        RuntimeError,
        "repeats must have the same size as input along dim, but got repeats.size(0) = 3 and input.size(0) = 2",
    ),
    (lambda x, y, v, s: x.repeat_interleave(torch.tensor([-1, 2]), 0), RuntimeError, "repeats can not be negative"),
    (lambda x, y, v, s: x.roll((1, 2), 0), RuntimeError, "shifts and dimensions must align. shifts: 2, dims:1"),
    (lambda x, y, v, s: x.roll((1, 2)), RuntimeError, "shifts and dimensions must align. shifts: 2, dims:0"),
    (lambda x, y, v, s: x.flip(0, 0), RuntimeError, "dim 0 appears multiple times in the list of dims"),
    (lambda x, y, v, s: v.fliplr(), RuntimeError, "Input must be >= 2-d."),
    (
        lambda x, y, v, s: x.rot90(1, (0, 0)),
        RuntimeError,
        "expected rotation dims to be different, but got dim0 = 0 and dim1 = 0",
    ),
    (lambda x, y, v, s: v.rot90(), RuntimeError, "expected total dims >= 2, but got total dims = 1"),
    (lambda x, y, v, s: v.tril(), RuntimeError, "tril: input tensor must have at least 2 dimensions"),
    (lambda x, y, v, s: y.diag(), RuntimeError, "diag(): Supports 1D or 2D tensors. Got 3D"),
    (lambda x, y, v, s: torch.diag_embed(v, 0, 0, 0), RuntimeError, "diagonal dimensions cannot be identical 0, 0"),
    (
        lambda x, y, v, s: torch.meshgrid(v, v, indexing="ab"),
        RuntimeError,
        'torch.meshgrid: indexing must be one of "xy" or "ij", but received: ab',
    ),
    (
        lambda x, y, v, s: torch.meshgrid(v, v.long(), indexing="ij"),
        RuntimeError,
        "meshgrid expects all tensors to have the same dtype",
    ),
    (
        lambda x, y, v, s: torch.broadcast_tensors(x, torch.zeros(2)),
        RuntimeError,
        "The size of tensor a (3) must match the size of tensor b (2) at non-singleton dimension 1",
    ),
    (lambda x, y, v, s: F.pad(x, (1,)), RuntimeError, "Padding length must be divisible by 2"),
    (
        lambda x, y, v, s: F.pad(x, (1, 1, 1, 1, 1, 1)),
        RuntimeError,
        "Padding length should be less than or equal to two times the input dimension but got padding "
        "length 6 and input of dimension 2",
    ),
    (
        lambda x, y, v, s: F.pad(x, (3, 1), mode="reflect"),
        RuntimeError,
        "Argument #4: Padding size should be less than the corresponding input dimension, but got: "
        "padding (3, 1) at dimension 1 of input [2, 3]",
    ),
    (lambda x, y, v, s: F.pad(x, (1, 1), mode="sideways"), NotImplementedError, "Unrecognised padding mode sideways"),
]


@pytest.mark.parametrize("call, error, words", ERRORS)
def test_errors_have_torchs_words(call, error, words):
    check_error(call, error, words)


@pytest.mark.parametrize("join", [torch.cat, torch.stack])
def test_joined_dtypes_are_promoted(join):
    assert join([torch.ones(2, dtype=torch.int64), torch.ones(2)]).dtype == torch.float32
    assert join([torch.ones(2, dtype=torch.bool), torch.ones(2, dtype=torch.uint8)]).dtype == torch.uint8


def test_only_those_that_want_a_gradient_get_one():
    a, b = torch.ones(2, 2), torch.ones(2, 2, requires_grad=True)
    torch.cat([a, b, a], dim=1).mul(torch.arange(6.0)).sum().backward()
    assert a.grad is None
    assert b.grad.tolist() == [[2.0, 3.0], [2.0, 3.0]]


def test_strided_inputs_are_joined_in_their_own_order():
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.cat([x.t(), x.t()], dim=1).tolist() == [[0, 3, 0, 3], [1, 4, 1, 4], [2, 5, 2, 5]]
    assert torch.stack([x[:, ::2], x[:, 1:]]).tolist() == [[[0, 2], [3, 5]], [[1, 2], [4, 5]]]


def test_triangles_are_cut_in_place():
    x = torch.ones(3, 3)
    assert x.tril_() is x
    assert x.triu_().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_circular_padding_goes_around():
    assert F.pad(torch.arange(3.0).reshape(1, 3), (2, 1), mode="circular").tolist() == [[1, 2, 0, 1, 2, 0]]


def test_meshgrid_without_an_order_warns():
    with pytest.warns(UserWarning, match="it will be required to pass the indexing argument"):
        torch.meshgrid(torch.ones(2), torch.ones(3))


def test_atleast_takes_several_tensors():
    half, one = torch.tensor(0.5), torch.tensor(1.0)
    assert [t.tolist() for t in torch.atleast_1d(half, one)] == [[0.5], [1.0]]
    assert [t.tolist() for t in torch.atleast_2d([half])] == [[[0.5]]]
    assert torch.atleast_1d() == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int16, torch.bool], ids=str)
def test_triangles_of_any_layout(dtype):
    x = (torch.arange(120.0) % 7 - 2).to(dtype).view(2, 3, 4, 5)
    for t in (x, x.mT, x[..., ::2], x[0], x[0, 0].expand(3, 4, 5), x[..., :1], x[:0], x[..., :0]):
        rows, columns = t.shape[-2:]
        for k in (-9, -2, 0, 1, 3, 2**40):
            below = torch.tensor([[j <= i + k for j in range(columns)] for i in range(rows)]).view(rows, columns).bool()
            none = torch.zeros_like(t)
            assert torch.equal(t.tril(k), torch.where(below, t, none))
            assert torch.equal(t.triu(k + 1), torch.where(below, none, t))
    turned = x.clone().mT
    assert turned.tril_(1) is turned and torch.equal(turned, x.mT.tril(1))
    into = torch.ones(2, 3, 5, 4, dtype=dtype).mT
    assert torch.triu(x, -1, out=into) is into and torch.equal(into, x.triu(-1))
    if dtype.is_floating_point:
        assert torch.full((2, 2), float("nan"), dtype=dtype).tril(-1).nan_to_num(1).tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize("mode, numpys", [("reflect", "reflect"), ("replicate", "edge")])
def test_padding_from_the_row_itself_is_numpys(mode, numpys):
    x = torch.arange(2.0 * 3 * 4 * 5 * 6).view(2, 3, 4, 5, 6)
    x[0, 0, 0, 0, 1], x[1, 2, 3, 4, 5] = float("nan"), float("inf")
    for t in (
        x,
        x.double().transpose(1, 2),
        x.nan_to_num().short(),
        x.nan_to_num(0, 0).byte(),
        x[:0],
        x.half()[..., ::2],
    ):
        for pad in (
            (1, 2, 0, 0, 0, 0),
            (2, 1, 3, 1, 1, 2),
            (0, 0, 0, 0, 2, 0),
            (-1, 2, 2, -2, -1, -2),
            (2, 0, -4, 1, 0, 0),
        ):
            widths = [(0, 0), (0, 0), pad[4:], pad[2:4], pad[:2]]
            cut = tuple(slice(max(-low, 0), min(n, n + high)) for (low, high), n in zip(widths, t.shape))
            wide = [(max(low, 0), max(high, 0)) for low, high in widths]
            if mode == "replicate" or all(max(w) < s.stop - s.start for w, s in zip(wide[2:], cut[2:]) if max(w)):
                expected = np.pad(t[cut].numpy(), wide, mode=numpys)
                np.testing.assert_array_equal(F.pad(t, pad, mode=mode).numpy(), expected)
    nhwc = x[0].contiguous(memory_format=torch.channels_last)
    padded = F.pad(nhwc, (1, 2, 3, 1), mode=mode)
    assert padded.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(padded[1:], F.pad(x[0, 1:], (1, 2, 3, 1), mode=mode))


def test_hooks_of_a_node_see_a_gradient_for_all_that_was_joined():
    x, seen = torch.ones(2, requires_grad=True), []
    for join in (torch.cat, torch.stack, lambda ts: torch.block_diag(*ts)):
        rest = torch.ones(1, 2) if len(seen) == 2 else torch.ones(2)
        y = join([rest, x * 2, rest])
        y.grad_fn.register_hook(lambda grad_input, grad_output: seen.append([g.shape for g in grad_input]))
        y.grad_fn.register_hook(lambda grad_input, grad_output: tuple(g * 2 for g in grad_input))
        assert torch.autograd.grad(y.sum(), x)[0].tolist() == [4.0, 4.0]
    assert seen == [[(2,)] * 3, [(2,)] * 3, [(1, 2), (2,), (1, 2)]]


def test_what_is_repeated_too_often_to_be_counted_is_refused():
    often = 2**63 - 1  # these add up to 0 and 2 where they overflow
    for counts in ([often, often, 2], [often, often, 4]):
        with pytest.raises(RuntimeError, match="out of memory"):
            torch.ones(3).repeat_interleave(torch.tensor(counts))
