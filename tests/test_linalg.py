"""Products of matrices and vectors, einsum, and the linear algebra of small matrices."""

import pickle

import numpy as np
import pytest
from op_cases import check_derivatives, check_error, check_result

import hookgrad as torch
import hookgrad.nn.functional as F


def flat(nested):
    return [y for x in nested for y in flat(x)] if isinstance(nested, list) else [nested]


def shape(nested):
    return [shape(x) for x in nested] if isinstance(nested, list) else None


# What PyTorch 2.13 gives: the numbers, and the name of the node that made them.
RESULTS = [
    (lambda x, y, v, s: x @ x.t(), [[5.0, 14.0], [14.0, 50.0]], "MmBackward0"),
    (lambda x, y, v, s: x @ v, [3.0, 15.0], "MvBackward0"),
    (lambda x, y, v, s: v @ v, 14.0, "DotBackward0"),
    (lambda x, y, v, s: v @ x.t(), [3.0, 15.0], "SqueezeBackward4"),
    (
        lambda x, y, v, s: y @ s.new_ones(4, 2),
        [[[-22.0, -22.0], [-6.0, -6.0], [10.0, 10.0]], [[26.0, 26.0], [42.0, 42.0], [58.0, 58.0]]],
        "UnsafeViewBackward0",
    ),
    (
        lambda x, y, v, s: y.detach() @ x.t().new_ones(2, 4, 1),
        [[[-22.0], [-6.0], [10.0]], [[26.0], [42.0], [58.0]]],
        None,
    ),
    (lambda x, y, v, s: x.mm(x.t()), [[5.0, 14.0], [14.0, 50.0]], "MmBackward0"),
    (
        lambda x, y, v, s: y.bmm(y.transpose(1, 2)),
        [
            [[126.0, 38.0, -50.0], [38.0, 14.0, -10.0], [-50.0, -10.0, 30.0]],
            [[174.0, 278.0, 382.0], [278.0, 446.0, 614.0], [382.0, 614.0, 846.0]],
        ],
        "BmmBackward0",
    ),
    (lambda x, y, v, s: x.mv(v), [3.0, 15.0], "MvBackward0"),
    (lambda x, y, v, s: v.dot(v), 14.0, "DotBackward0"),
    (lambda x, y, v, s: torch.inner(x, v), [3.0, 15.0], "ViewBackward0"),
    (lambda x, y, v, s: torch.outer(v, v), [[9.0, -3.0, 6.0], [-3.0, 1.0, -2.0], [6.0, -2.0, 4.0]], "MulBackward0"),
    (lambda x, y, v, s: torch.addmm(s, x, x.t()), [[9.0, 15.0], [16.0, 53.0]], "AddmmBackward0"),
    (lambda x, y, v, s: torch.addmm(s, x, x.t(), beta=0.5, alpha=2), [[12.0, 28.5], [29.0, 101.5]], "AddmmBackward0"),
    (lambda x, y, v, s: torch.addmv(s[0], x, v), [7.0, 16.0], "AddmvBackward0"),
    (lambda x, y, v, s: torch.addr(s, s[0], s[1]), [[12.0, 13.0], [4.0, 6.0]], "AddrBackward0"),
    (
        lambda x, y, v, s: torch.baddbmm(v, y, y.transpose(1, 2)),
        [
            [[129.0, 37.0, -48.0], [41.0, 13.0, -8.0], [-47.0, -11.0, 32.0]],
            [[177.0, 277.0, 384.0], [281.0, 445.0, 616.0], [385.0, 613.0, 848.0]],
        ],
        "BaddbmmBackward0",
    ),
    (
        lambda x, y, v, s: torch.addbmm(v, y, y.transpose(1, 2)),
        [[303.0, 315.0, 334.0], [319.0, 459.0, 606.0], [335.0, 603.0, 878.0]],
        "AddbmmBackward0",
    ),
    (lambda x, y, v, s: F.linear(x, x), [[5.0, 14.0], [14.0, 50.0]], "MmBackward0"),
    (lambda x, y, v, s: F.linear(x, x, s[0]), [[9.0, 15.0], [18.0, 51.0]], "AddmmBackward0"),
    (
        lambda x, y, v, s: F.linear(y.transpose(1, 2), x, s[0]),
        [
            [[3.0, -27.0], [6.0, -15.0], [9.0, -3.0], [12.0, 9.0]],
            [[39.0, 117.0], [42.0, 129.0], [45.0, 141.0], [48.0, 153.0]],
        ],
        "AddBackward0",
    ),
    (
        lambda x, y, v, s: F.linear(y.transpose(1, 2).contiguous(), x, s[0]),
        [
            [[3.0, -27.0], [6.0, -15.0], [9.0, -3.0], [12.0, 9.0]],
            [[39.0, 117.0], [42.0, 129.0], [45.0, 141.0], [48.0, 153.0]],
        ],
        "ViewBackward0",
    ),
    (lambda x, y, v, s: F.linear(v, x), [3.0, 15.0], "SqueezeBackward4"),
    (lambda x, y, v, s: torch.einsum("ij,kj->ik", x, x), [[5.0, 14.0], [14.0, 50.0]], "ViewBackward0"),
    (lambda x, y, v, s: torch.einsum("ii", s), 7.0, "SumBackward1"),
    (lambda x, y, v, s: torch.einsum("ij->ji", x), [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]], "PermuteBackward0"),
    (
        lambda x, y, v, s: torch.einsum("i,j->ij", v, v),
        [[9.0, -3.0, 6.0], [-3.0, 1.0, -2.0], [6.0, -2.0, 4.0]],
        "MulBackward0",
    ),
    (
        lambda x, y, v, s: torch.einsum("bij,j->bi", y, y[0, 0]),
        [[126.0, 38.0, -50.0], [-138.0, -226.0, -314.0]],
        "ViewBackward0",
    ),
    (lambda x, y, v, s: torch.einsum("...ij->...", y), [-18.0, 126.0], "SumBackward1"),
    (lambda x, y, v, s: torch.einsum("ij,jk,k->i", x, x.t(), s[0]), [34.0, 106.0], "ViewBackward0"),
    (lambda x, y, v, s: torch.tensordot(x, x, dims=([1], [1])), [[5.0, 14.0], [14.0, 50.0]], "ViewBackward0"),
    (lambda x, y, v, s: torch.tensordot(x, x, 2), 55.0, "ViewBackward0"),
    (
        lambda x, y, v, s: torch.kron(s, v),
        [[12.0, -4.0, 8.0, 3.0, -1.0, 2.0], [6.0, -2.0, 4.0, 9.0, -3.0, 6.0]],
        "UnsafeViewBackward0",
    ),
    (lambda x, y, v, s: torch.trace(s), 7.0, "TraceBackward0"),
    (
        lambda x, y, v, s: torch.linalg.cross(x, v.expand(2, 3)),
        [[4.0, 6.0, -3.0], [13.0, 9.0, -15.0]],
        "LinalgCrossBackward0",
    ),
    (lambda x, y, v, s: torch.linalg.multi_dot([x, x.t(), s]), [[48.0, 47.0], [156.0, 164.0]], "ViewBackward0"),
    (lambda x, y, v, s: torch.matrix_power(s, 3), [[86.0, 39.0], [78.0, 47.0]], "MmBackward0"),
    (lambda x, y, v, s: torch.det(s), 10.0, "LinalgDetBackward0"),
    (lambda x, y, v, s: torch.linalg.slogdet(s), [1.0, 2.3025851249694824], "LinalgSlogdetBackward0"),
    (
        lambda x, y, v, s: torch.inverse(s),
        [[0.30000001192092896, -0.10000000149011612], [-0.20000000298023224, 0.4000000059604645]],
        "LinalgInvExBackward0",
    ),
    (
        lambda x, y, v, s: torch.linalg.solve(s, x),
        [
            [-0.30000001192092896, -0.09999999403953552, 0.09999999403953552],
            [1.2000000476837158, 1.399999976158142, 1.600000023841858],
        ],
        "LinalgSolveExBackward0",
    ),
    (
        lambda x, y, v, s: torch.linalg.solve(s, s[0]),
        [1.100000023841858, -0.4000000059604645],
        "LinalgSolveExBackward0",
    ),
    (lambda x, y, v, s: torch.cdist(x, x[:1] + 1), [[1.7320507764816284], [3.464101552963257]], "CdistBackward0"),
]


def about(got, expected):
    return shape(got) == shape(expected) and flat(got) == pytest.approx(flat(expected), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("call, expected, node", RESULTS)
def test_results_and_nodes_are_those_of_torch(call, expected, node):
    check_result(call, expected, node, about)


@pytest.mark.parametrize("call", [call for call, _, node in RESULTS if node])
def test_derivatives_agree_with_finite_differences(call):
    check_derivatives(call)


ERRORS = [
    (lambda x, y, v, s: x.mm(x), RuntimeError, "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"),
    (lambda x, y, v, s: x.mm(v), RuntimeError, "mat2 must be a matrix"),
    (
        lambda x, y, v, s: x.mm(x.t().double()),
        RuntimeError,
        "expected m1 and m2 to have the same dtype, but got: float != double",
    ),
    (lambda x, y, v, s: x.mv(s[0]), RuntimeError, "size mismatch, got input (2), mat (2x3), vec (2)"),
    (
        lambda x, y, v, s: v.dot(s[0]),
        RuntimeError,
        "inconsistent tensor size, expected tensor [3] and src [2] to have the same number of elements, "
        "but got 3 and 2 elements respectively",
    ),
    (lambda x, y, v, s: v.dot(x), RuntimeError, "1D tensors expected, but got 1D and 2D tensors"),
    (lambda x, y, v, s: torch.outer(x, v), RuntimeError, "outer: Expected 1-D argument self, but got 2-D"),
    (
        lambda x, y, v, s: torch.addmm(x, x, x.t()),
        RuntimeError,
        "The expanded size of the tensor (2) must match the existing size (3) at non-singleton dimension "
        "1.  Target sizes: [2, 2].  Tensor sizes: [2, 3]",
    ),
    (
        lambda x, y, v, s: y.bmm(y),
        RuntimeError,
        "Expected size for first two dimensions of batch2 tensor to be: [2, 4] but got: [2, 3].",
    ),
    (lambda x, y, v, s: y.bmm(x), RuntimeError, "batch2 must be a 3D tensor"),
    (
        lambda x, y, v, s: x @ torch.tensor(1.0),
        RuntimeError,
        "both arguments to matmul need to be at least 1D, but they are 2D and 0D",
    ),
    (lambda x, y, v, s: x @ x, RuntimeError, "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"),
    (lambda x, y, v, s: F.linear(x, s), RuntimeError, "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x2)"),
    (
        lambda x, y, v, s: F.linear(x, x, v),
        RuntimeError,
        "The expanded size of the tensor (2) must match the existing size (3) at non-singleton dimension "
        "1.  Target sizes: [2, 2].  Tensor sizes: [3]",
    ),
    (
        lambda x, y, v, s: F.linear(torch.tensor(1.0), x),
        RuntimeError,
        "both arguments to linear need to be at least 1D, but they are 0D and 2D",
    ),
    (
        lambda x, y, v, s: torch.einsum("ij,jk", x, x),
        RuntimeError,
        "einsum(): subscript j has size 2 for operand 1 which does not broadcast with previously seen size 3",
    ),
    (
        lambda x, y, v, s: torch.einsum("ij,jk->ik", x),
        RuntimeError,
        "einsum(): fewer operands were provided than specified in the equation",
    ),
    (
        lambda x, y, v, s: torch.einsum("ij->ik", x),
        RuntimeError,
        "einsum(): output subscript k does not appear in the equation for any input operand",
    ),
    (
        lambda x, y, v, s: torch.einsum("ijk", x),
        RuntimeError,
        "einsum(): the number of subscripts in the equation (3) does not match the number of dimensions "
        "(2) for operand 0 and no ellipsis was given",
    ),
    (
        lambda x, y, v, s: torch.einsum("ij->ii", x),
        RuntimeError,
        "einsum(): output subscript i appears more than once in the output",
    ),
    (
        lambda x, y, v, s: torch.einsum("i1", x),
        RuntimeError,
        "einsum(): invalid subscript given at index 1 in the equation string, subscripts must be in [a-zA-Z]",
    ),
    (
        lambda x, y, v, s: torch.einsum("ii", x),
        RuntimeError,
        "einsum(): subscript i is repeated for operand 0 but the sizes don't match, 3 != 2",
    ),
    (
        lambda x, y, v, s: torch.tensordot(x, x, 1),
        RuntimeError,
        "contracted dimensions need to match, but first has size 3 in dim -1 and second has size 2 in dim 0",
    ),
    (lambda x, y, v, s: torch.trace(y), RuntimeError, "trace: expected a matrix, but got tensor with dim 3"),
    (
        lambda x, y, v, s: torch.inner(x, s),
        RuntimeError,
        "inner() the last dimension must match on both input tensors but got shapes [2, 3] and [2, 2]",
    ),
    (
        lambda x, y, v, s: torch.linalg.cross(s, s),
        RuntimeError,
        "linalg.cross: inputs dimension -1 must have length 3. Got 2 and 2",
    ),
    (
        lambda x, y, v, s: torch.det(x),
        RuntimeError,
        "linalg.det: A must be batches of square matrices, but they are 2 by 3 matrices",
    ),
    (
        lambda x, y, v, s: torch.inverse(x),
        RuntimeError,
        "linalg.inv: A must be batches of square matrices, but they are 2 by 3 matrices",
    ),
    (
        lambda x, y, v, s: torch.linalg.solve(s, v),
        RuntimeError,
        "linalg.solve: Incompatible shapes of A and B for the equation AX = B (2x2 and 3x1)",
    ),
    (
        lambda x, y, v, s: torch.linalg.multi_dot([x, x]),
        RuntimeError,
        "multi_dot(): tensors 0 and 1 with shapes [2, 3] and [2, 3] cannot be multiplied",
    ),
    (
        lambda x, y, v, s: torch.matrix_power(x, 2),
        RuntimeError,
        "linalg.matrix_power: A must be batches of square matrices, but they are 2 by 3 matrices",
    ),
    (
        lambda x, y, v, s: (x > 1).mm((x > 1).t()),
        NotImplementedError,
        "\"addmm_impl_cpu_\" not implemented for 'Bool'",
    ),
]


@pytest.mark.parametrize("call, error, words", ERRORS)
def test_errors_have_torchs_words(call, error, words):
    check_error(call, error, words)


SHAPES = [(1, 1, 1), (2, 3, 4), (5, 1, 7), (1, 200, 1), (17, 33, 9), (64, 64, 64), (3, 500, 40)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("m, k, n", SHAPES)
def test_products_of_every_size_and_layout(m, k, n, dtype):
    """Small products go through loops of our own, large ones through BLAS, transposed ones without a copy."""
    torch.manual_seed(0)
    a, b = torch.randint(-3, 4, (m, k)), torch.randint(-3, 4, (k, n))
    expected = (a.unsqueeze(2) * b.unsqueeze(0)).sum(1)
    wide = torch.zeros(m, 2 * k, dtype=dtype)
    wide[:, ::2] = a
    layouts = [a.to(dtype), a.t().contiguous().t().to(dtype), wide[:, ::2]]
    for left in layouts:
        for right in (b.to(dtype), b.t().contiguous().to(dtype).t()):
            assert (left @ right).dtype == dtype
            assert torch.equal(left @ right, expected.to(dtype))


def test_integers_do_not_lose_bits():
    big = torch.tensor([[2**53 + 1]])
    assert (big @ torch.tensor([[1]])).item() == 2**53 + 1


def test_an_empty_sum_is_zero():
    assert torch.equal(torch.zeros(2, 0) @ torch.zeros(0, 3), torch.zeros(2, 3))
    assert torch.equal(torch.addmm(torch.ones(2, 3), torch.zeros(2, 0), torch.zeros(0, 3)), torch.ones(2, 3))


def test_beta_zero_does_not_read_what_is_added():
    nan = torch.full((2, 2), float("nan"))
    assert torch.addmm(nan, torch.eye(2), torch.eye(2), beta=0).tolist() == [[1, 0], [0, 1]]


def test_products_in_place():
    s = torch.eye(2)
    assert s.addmm_(torch.ones(2, 3), torch.ones(3, 2), beta=2) is s
    assert s.tolist() == [[5, 3], [3, 5]]


def test_batches_are_broadcast():
    a, b = torch.ones(3, 1, 2, 4), torch.ones(5, 4, 1)
    assert (a @ b).shape == (3, 5, 2, 1)
    with pytest.raises(RuntimeError, match=r"The size of tensor a \(2\) must match the size of tensor b \(3\)"):
        torch.ones(2, 2, 2) @ torch.ones(3, 2, 2)


def test_a_singular_matrix_has_no_inverse():
    with pytest.raises(RuntimeError, match="The diagonal element 1 is zero, the inversion could not be completed"):
        torch.linalg.inv(torch.zeros(2, 2))
    with pytest.raises(RuntimeError, match="The solver failed because the input matrix is singular"):
        torch.linalg.solve(torch.ones(2, 2), torch.ones(2))
    assert torch.det(torch.ones(2, 2)).item() == 0


def test_a_gradient_is_as_large_as_its_matrix():
    """A matrix multiplied with many is not expanded to as many for its gradient."""
    w = torch.ones(4, 5, requires_grad=True)
    y = torch.ones(2, 3, 4) @ w
    assert y.grad_fn.name() == "UnsafeViewBackward0"
    assert y.grad_fn.next_functions[0][0].name() == "MmBackward0"
    y.sum().backward()
    assert w.grad.tolist() == [[6.0] * 5] * 4


def test_einsum_with_numbers_for_dimensions():
    a, b = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(3, 4)
    assert torch.einsum(a, [0, 1], b, [1, 2], [0, 2]).equal(a @ b)
    assert torch.einsum(a, [..., 0]).equal(a)
    with pytest.raises(ValueError, match="not within the valid range"):
        torch.einsum(a, [0, 52])
    with pytest.raises(ValueError, match="must specify the equation string and at least one operand"):
        torch.einsum(a)


# ---- Matrices taken apart ----------------------------------------------------------------------------------------------

LINALG = torch.linalg


def matrix(m, n, *batch, seed=0):
    torch.manual_seed(seed)
    return torch.randn(*batch, m, n, dtype=torch.float64)


def positive(n, *batch):
    x = matrix(n, n, *batch)
    return x @ x.mT + torch.eye(n, dtype=torch.float64)


@pytest.mark.parametrize("size", [(3, 3), (5, 3), (3, 5), (2, 4, 2), (2, 0), (0, 2)])
@pytest.mark.parametrize("mode", ["reduced", "complete"])
def test_qr_gives_orthogonal_columns_and_a_triangle(size, mode):
    x = matrix(*size[-2:], *size[:-2])
    Q, R = LINALG.qr(x, mode=mode)
    torch.testing.assert_close(Q @ R, x)
    torch.testing.assert_close(Q.mT @ Q, torch.eye(Q.size(-1), dtype=x.dtype).expand(*Q.shape[:-2], -1, -1))
    assert torch.equal(R, R.triu())
    assert torch.equal(LINALG.qr(x, mode="r").R, LINALG.qr(x).R)


def test_the_signs_of_qr_are_lapacks():
    assert LINALG.qr(torch.tensor([[3.0, 1.0], [4.0, 2.0]])).R.tolist() == [
        [-5.0, pytest.approx(-2.2)],
        [0.0, pytest.approx(0.4)],
    ]


DECOMPOSED = {
    "qr": (lambda x: tuple(LINALG.qr(x)), (4, 3), "LinalgQrBackward0"),
    "qr of a wide matrix": (lambda x: tuple(LINALG.qr(x)), (3, 4), "LinalgQrBackward0"),
    "Q alone": (lambda x: LINALG.qr(x).Q, (3, 2, 2), "LinalgQrBackward0"),
    "R alone": (lambda x: LINALG.qr(x).R, (3, 2), "LinalgQrBackward0"),
    "cholesky": (lambda x: LINALG.cholesky(x @ x.mT + torch.eye(3)), (3, 3), "LinalgCholeskyExBackward0"),
    "upper cholesky": (
        lambda x: LINALG.cholesky(x @ x.mT + torch.eye(2), upper=True),
        (2, 2, 2),
        "LinalgCholeskyExBackward0",
    ),
    "eigenvalues": (lambda x: LINALG.eigvalsh(x + x.mT), (3, 3), "LinalgEighBackward0"),
    "eigenvectors": (lambda x: LINALG.eigh(x + x.mT)[1].square(), (3, 3), "PowBackward0"),
    "singular values": (LINALG.svdvals, (3, 2), "LinalgSvdBackward0"),
    "svd of a tall matrix": (
        lambda x: tuple(t.square() for t in LINALG.svd(x, full_matrices=False)),
        (4, 2),
        "PowBackward0",
    ),
    "svd of a wide matrix": (
        lambda x: tuple(t.square() for t in LINALG.svd(x, full_matrices=False)),
        (2, 4),
        "PowBackward0",
    ),
    "full svd": (lambda x: LINALG.svd(x)[1], (3, 2), "LinalgSvdBackward0"),
    "pinv": (LINALG.pinv, (3, 2), "LinalgPinvBackward0"),
    "matrix_exp": (torch.matrix_exp, (2, 3, 3), "LinalgMatrixExpBackward0"),
    "nuclear norm": (lambda x: LINALG.matrix_norm(x, "nuc"), (3, 2), "SumBackward1"),
    "spectral norm": (lambda x: LINALG.matrix_norm(x, 2), (3, 2), "AmaxBackward0"),
    "lstsq": (lambda x: LINALG.lstsq(x, matrix(4, 1, seed=1)).solution, (4, 2), "LinalgLstsqBackward0"),
}


@pytest.mark.parametrize("name", DECOMPOSED)
def test_derivatives_of_decompositions(name):
    function, size, node = DECOMPOSED[name]
    x = matrix(*size[-2:], *size[:-2]).requires_grad_()
    out = function(x)
    assert (out[0] if isinstance(out, tuple) else out).grad_fn.name() == node
    assert torch.autograd.gradcheck(function, (x,))


@pytest.mark.parametrize("name", ["qr", "cholesky", "eigenvectors", "singular values", "matrix_exp"])
def test_second_derivatives_of_decompositions(name):
    function, size, _ = DECOMPOSED[name]
    assert torch.autograd.gradgradcheck(function, (matrix(*size[-2:], *size[:-2]).requires_grad_(),))


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("unit", [True, False])
def test_triangular_systems(upper, left, unit):
    A = matrix(3, 3) + 3 * torch.eye(3)
    B = matrix(3, 2, seed=1) if left else matrix(2, 3, seed=1)

    def solve(A, B):
        return LINALG.solve_triangular(A, B, upper=upper, left=left, unitriangular=unit)

    X = solve(A, B)
    triangle = A.triu() if upper else A.tril()
    if unit:
        triangle = triangle - torch.diag(triangle.diagonal()) + torch.eye(3)
    torch.testing.assert_close(triangle @ X if left else X @ triangle, B)
    assert torch.autograd.gradcheck(solve, (A.requires_grad_(), B.requires_grad_()))


def test_eigenvalues_and_singular_values_put_the_matrix_together_again():
    x = positive(3, 2)
    values, vectors = LINALG.eigh(x)
    torch.testing.assert_close(vectors @ values.diag_embed() @ vectors.mT, x)
    assert torch.equal(values, values.sort().values)
    torch.testing.assert_close(LINALG.eigvalsh(x.triu(), "U"), values)
    y = matrix(3, 4)
    U, S, Vh = LINALG.svd(y)
    assert (U.shape, S.shape, Vh.shape) == ((3, 3), (3,), (4, 4))
    torch.testing.assert_close(U * S @ Vh[:3], y)
    torch.testing.assert_close(torch.svd(y).V, Vh[:3].mT)


def test_cholesky_of_what_is_not_positive():
    assert LINALG.cholesky_ex(torch.tensor([[1.0, 2.0], [2.0, 1.0]])).info == 2
    with pytest.raises(LINALG.LinAlgError, match="the leading minor of order 1 is not positive-definite"):
        LINALG.cholesky(-torch.eye(2))
    with pytest.raises(LINALG.LinAlgError, match="singular"):
        LINALG.inv(torch.zeros(2, 2))
    with pytest.raises(LINALG.LinAlgError, match="non-finite"):
        LINALG.svdvals(torch.full((2, 2), float("nan")))


def test_norms_ranks_and_conditions():
    x = torch.tensor([[3.0, 0.0], [0.0, -4.0]])
    norms = [LINALG.matrix_norm(x, order).item() for order in ("fro", "nuc", 1, -1, 2, -2)]
    assert norms == pytest.approx([5.0, 7.0, 4.0, 3.0, 4.0, 3.0])
    assert LINALG.matrix_norm(x, float("inf"), dim=(1, 0), keepdim=True).tolist() == [[4.0]]
    assert x.norm("nuc").item() == pytest.approx(7.0)
    assert LINALG.cond(x).item() == pytest.approx(4 / 3)
    assert LINALG.matrix_rank(torch.ones(3, 3)) == 1
    with pytest.raises(RuntimeError, match="Order 3 not supported"):
        LINALG.matrix_norm(x, 3)


def test_exponentials_of_large_matrices():
    turn = torch.tensor([[0.0, -100.0], [100.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([100.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(torch.matrix_exp(turn)[:, 0], torch.stack([expected[0].cos(), expected[0].sin()]))
    torch.testing.assert_close(LINALG.matrix_exp(torch.zeros(2, 2)), torch.eye(2))


def test_systems_solved_by_factors():
    x, b = positive(3), matrix(3, 2, seed=1)
    expected = LINALG.solve(x, b)
    torch.testing.assert_close(torch.cholesky_solve(b, LINALG.cholesky(x)), expected)
    torch.testing.assert_close(torch.cholesky_inverse(LINALG.cholesky(x)) @ b, expected)
    torch.testing.assert_close(LINALG.lstsq(x, b).solution, expected)
    torch.testing.assert_close(LINALG.solve(x, b.mT, left=False), expected.mT)
    assert LINALG.inv_ex(torch.zeros(2, 2)).info != 0
    torch.testing.assert_close(torch.orgqr(*torch.geqrf(matrix(4, 3))), LINALG.qr(matrix(4, 3)).Q)


def test_gradients_of_determinants_of_singular_matrices():
    """In a plain backward zeros, as in PyTorch; in one that is differentiated again the matrix of cofactors."""
    singular = torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(torch.det(singular), singular)[0].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    (gradient,) = torch.autograd.grad(torch.det(singular), singular, create_graph=True)
    torch.testing.assert_close(gradient, torch.tensor([[4.0, -2.0], [-2.0, 1.0]], dtype=torch.float64))
    (second,) = torch.autograd.grad(gradient.sum(), singular)
    torch.testing.assert_close(second, torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64))
    one = torch.zeros(1, 1, requires_grad=True)
    assert torch.autograd.grad(torch.det(one), one)[0].tolist() == [[1.0]]
    assert not torch.autograd.grad(torch.linalg.slogdet(singular)[1], singular)[0].isfinite().any()
    with pytest.raises(torch.linalg.LinAlgError, match="The solver failed because the input matrix is singular"):
        torch.autograd.grad(torch.logdet(singular), singular, create_graph=True)


def test_the_singular_matrix_of_a_batch_is_named():
    with pytest.raises(torch.linalg.LinAlgError, match=r"\(Batch element 1\): The diagonal element 2 is zero"):
        torch.linalg.inv(torch.stack([torch.eye(2), torch.ones(2, 2)]))


def test_gradients_of_eigenvectors_count_the_input_as_symmetric():
    a = torch.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 1.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(torch.linalg.eigh(a)[1].abs()[:, 0].sum(), a)
    torch.testing.assert_close(gradient, gradient.mT)
    expected = torch.tensor([[-0.2649, 0.2335, -0.3520], [0.2335, -0.1812, 0.1603], [-0.3520, 0.1603, 0.4461]])
    torch.testing.assert_close(gradient, expected.double(), atol=1e-4, rtol=0)


def test_the_second_derivative_of_a_norm_at_zero_is_no_number():
    x = torch.zeros(2, requires_grad=True)
    (gradient,) = torch.autograd.grad(x.norm(), x, create_graph=True)
    assert gradient.tolist() == [0.0, 0.0]
    assert torch.autograd.grad(gradient.sum(), x)[0].isnan().all()


@pytest.mark.parametrize("shape", [(8, 3), (3, 8), (2, 5, 4)])
def test_the_largest_singular_values_are_found_in_a_random_subspace(shape):
    torch.manual_seed(0)
    a = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    most = min(shape[-2:])
    U, S, V = torch.svd_lowrank(a, most)
    torch.testing.assert_close(U @ S.diag_embed() @ V.mT, a)
    torch.testing.assert_close(S, torch.linalg.svdvals(a))
    (gradient,) = torch.autograd.grad(S.sum(), a)
    torch.testing.assert_close(gradient, torch.autograd.grad(torch.linalg.svdvals(a).sum(), a)[0])
    mean = a.mean(-2, keepdim=True)
    assert [tuple(t.shape[-2:]) for t in torch.pca_lowrank(a, 2)[::2]] == [(shape[-2], 2), (shape[-1], 2)]
    torch.testing.assert_close(torch.pca_lowrank(a)[1], torch.linalg.svdvals(a - mean))
    torch.testing.assert_close(torch.pca_lowrank(a, center=False)[1], torch.linalg.svdvals(a))
    torch.testing.assert_close(torch.svd_lowrank(a, most, M=mean)[1], torch.linalg.svdvals(a - mean))
    with pytest.raises(ValueError, match="not greater than min"):
        torch.pca_lowrank(a, 9)
    with pytest.raises(ValueError, match="niter"):
        torch.pca_lowrank(a, niter=-1)


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 3)])
def test_a_matrix_is_the_product_of_its_triangles(shape):
    torch.manual_seed(1)
    a = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    P, L, U = torch.linalg.lu(a)
    assert L.grad_fn.name() == U.grad_fn.name() == "LinalgLuBackward0" and not P.requires_grad
    torch.testing.assert_close(P @ L @ U, a)
    LU, pivots = torch.linalg.lu_factor(a)
    assert LU.grad_fn.name() == "LinalgLuFactorExBackward0" and pivots.dtype == torch.int32
    torch.testing.assert_close(LU.triu()[..., : U.size(-2), :], U)
    assert torch.autograd.gradcheck(lambda a: torch.linalg.lu(a)[1:], a)
    assert torch.autograd.gradcheck(lambda a: torch.linalg.lu_factor(a)[0], a)


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("left", [False, True])
def test_equations_are_solved_with_factors(left, adjoint):
    torch.manual_seed(1)
    a = torch.randn(2, 3, 3, dtype=torch.float64)
    b = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    LU, pivots = torch.linalg.lu_factor(a)
    x = torch.linalg.lu_solve(LU, pivots, b, left=left, adjoint=adjoint)
    matrix = a.mT if adjoint else a
    torch.testing.assert_close(matrix @ x if left else x @ matrix, b)
    LU.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda LU, b: torch.linalg.lu_solve(LU, pivots, b, left=left, adjoint=adjoint), (LU, b)
    )


def test_a_singular_matrix_has_triangles_but_no_factors_to_solve_with():
    with pytest.raises(RuntimeError, match=r"U\[2,2\] is zero"):
        torch.linalg.lu_factor(torch.ones(2, 2))
    assert torch.linalg.lu(torch.ones(2, 2)).U.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    with pytest.raises(RuntimeError, match="without pivoting"):
        torch.linalg.lu(torch.ones(2, 2), pivot=False)


def test_factors_lie_by_columns_and_say_which_rows_were_exchanged():
    A = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[0.0, 1.0, 2.0], [0.0, 3.0, 3.0]]])
    LU, pivots, info = torch.linalg.lu_factor_ex(A)
    assert LU.stride() == (6, 1, 2) and pivots.tolist() == [[2, 2], [1, 2]] and info.tolist() == [0, 1]
    assert LU[0].tolist() == [[4.0, 5.0, 6.0], [0.25, 0.75, 1.5]]
    P, L, U = torch.linalg.lu(A.mT)
    torch.testing.assert_close(P @ L @ U, A.mT)
    assert torch.linalg.lu_factor(torch.ones(2, 0, 3)).pivots.shape == (2, 0)


def test_factors_and_sides_that_do_not_fit_are_refused():
    for dtype in (torch.float16, torch.int64):
        with pytest.raises(NotImplementedError, match='^"lu_cpu" not implemented for'):
            torch.linalg.lu_factor(torch.ones(2, 2, dtype=dtype))
    with pytest.raises(RuntimeError, match=r"^torch.lu_factor: Expected .* Got size: \[2\] instead$"):
        torch.linalg.lu_factor(torch.ones(2))
    pivots = torch.tensor([1, 2], dtype=torch.int32)
    with pytest.raises(RuntimeError, match="square matrices"):
        torch.linalg.lu_solve(torch.ones(2, 3), pivots, torch.ones(2, 1))
    with pytest.raises(RuntimeError, match="Incompatible shapes"):
        torch.linalg.lu_solve(torch.ones(2, 2), pivots, torch.ones(3, 1))
    with pytest.raises(RuntimeError, match="2 or more dimensions"):
        torch.linalg.lu(torch.ones(2))
    assert torch.linalg.lu_factor(torch.ones(0, 0)).pivots.shape == (0,)


def test_lu_says_where_it_is_singular():
    LU, pivots, info = torch.linalg.lu_factor_ex(torch.tensor([[[0.0, 0.0], [0.0, 1.0]], [[2.0, 1.0], [1.0, 3.0]]]))
    assert info.tolist() == [1, 0] and info.dtype == torch.int32
    with pytest.raises(RuntimeError):
        torch.linalg.lu_factor_ex(torch.zeros(2, 2), check_errors=True)


@pytest.mark.filterwarnings("ignore:torch.lu")
def test_lu_is_unpacked():
    A = torch.tensor([[1.0, 3.0], [2.0, 1.0]], dtype=torch.float64, requires_grad=True)
    P, L, U = torch.lu_unpack(*torch.lu(A))
    assert torch.allclose(P @ L @ U, A) and L.grad_fn.name() == "LuUnpackBackward0"
    assert torch.autograd.gradcheck(lambda A: torch.lu_unpack(*A.lu())[1:], A)
    assert torch.lu_unpack(*torch.lu(A), unpack_data=False)[1].numel() == 0
    b = torch.ones(2, 1, dtype=torch.float64)
    assert torch.allclose(A @ b.lu_solve(*A.lu()), b)


def test_ormqr_multiplies_by_the_whole_product_of_reflections():
    torch.manual_seed(0)
    A, tau = torch.geqrf(torch.rand(3, 2, dtype=torch.float64))
    other = torch.eye(3, dtype=torch.float64)
    Q = torch.ormqr(A, tau, other)
    assert torch.allclose(Q @ Q.T, other) and torch.allclose(torch.ormqr(A, tau, other, False, True), Q.T)
    assert torch.allclose(Q[:, :2], torch.orgqr(A, tau))
    leaves = (A.requires_grad_(), tau.requires_grad_(), other.requires_grad_())
    assert torch.autograd.gradcheck(torch.ormqr, leaves)


def test_factors_have_names():
    a = torch.eye(2)
    assert LINALG.inv_ex(a).inverse.equal(a) and LINALG.solve_ex(a, a).result.equal(a)
    assert isinstance(torch.svd(a), torch.return_types.svd)
    with pytest.warns(UserWarning, match="torch.linalg.qr"):
        assert torch.qr(a).Q.shape == (2, 2)
    assert LINALG.lstsq(a, a).solution.allclose(a)
    assert repr(LINALG.inv_ex(a)).startswith("torch.return_types.linalg_inv_ex(\ninverse=tensor(")


def test_matrices_go_by_their_documented_names():
    a = torch.eye(2) * 2
    assert LINALG.inv(A=a).equal(a / 4) and LINALG.det(A=a) == 4 and LINALG.vector_norm(x=a[0]) == 2
    assert [len(part) for part in torch.split(tensor=a, split_size_or_sections=[1, 1])] == [1, 1]
    assert torch.dropout(input=a, p=0.0, train=True).equal(a)


def test_the_derivative_of_singular_values_multiplies_the_smaller_matrix():
    for shape, scaled in (((3, 2), 1), ((2, 3), 0)):
        A = torch.rand(shape, requires_grad=True)
        (gradient,) = torch.autograd.grad(torch.linalg.svdvals(A).square().sum(), A, create_graph=True)
        assert gradient.grad_fn.name() == "MmBackward0"
        edges = [node.name() for node, _ in gradient.grad_fn.next_functions]
        assert edges.index("MulBackward0") == scaled and edges[1 - scaled] == "LinalgSvdBackward0"
        assert torch.allclose(gradient, 2 * A, atol=1e-5)


def test_the_pseudo_inverse_is_differentiated_where_singular_values_are_equal():
    one = torch.eye(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(torch.linalg.pinv(one).square().sum(), one, create_graph=True)
    assert torch.allclose(gradient, -2 * torch.eye(3)) and gradient.grad_fn.name() == "AddBackward0"
    flat = torch.diag(torch.tensor([2.0, 2.0, 0.0])).requires_grad_()
    weights = torch.arange(9.0).view(3, 3)
    expected = torch.tensor([[0.0, -0.25, 1.5], [-0.75, -1.0, 1.75], [0.5, 1.25, 0.0]])
    for hermitian in (False, True):
        (gradient,) = torch.autograd.grad((torch.linalg.pinv(flat, hermitian=hermitian) * weights).sum(), flat)
        assert torch.allclose(gradient, expected)


def test_the_derivative_of_a_determinant_solves_for_a_flipped_diagonal():
    A = torch.tensor([[2.0, 1.0], [1.0, 3.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(torch.linalg.det(A), A, create_graph=True)
    assert gradient.grad_fn.name() == "LinalgSolveExBackward0"
    flipped = [node for node, _ in gradient.grad_fn.next_functions]
    assert [node.name() for node in flipped] == ["TransposeBackward0"] * 2
    assert flipped[0].next_functions[0][0].variable is A
    assert flipped[1].next_functions[0][0].name() == "DiagEmbedBackward0"
    assert torch.allclose(gradient, torch.tensor([[3.0, -1.0], [-1.0, 2.0]]))


def test_hooks_of_least_squares_see_the_gradients_of_solution_and_residuals():
    a, b = matrix(4, 2).requires_grad_(), matrix(4, 3, seed=1).requires_grad_()
    got = LINALG.lstsq(a, b, driver="gels")
    seen = []
    got.solution.grad_fn.register_hook(lambda grad_inputs, grad_outputs: seen.append([g is None for g in grad_outputs]))
    got.solution.sum().backward()
    assert seen == [[False, True]] and got.residuals.grad_fn is got.solution.grad_fn and got.residuals.shape == (3,)


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64), ids=str)
@pytest.mark.parametrize("n", (1, 15, 16, 40))
def test_distances_between_rows(n, dtype):
    torch.manual_seed(0)
    x, y = torch.randn(3, n, dtype=dtype), torch.randn(4, n, dtype=dtype)
    for p in (0.0, 1.0, 2.0, 3.0, float("inf")):
        for row, distances in zip(x, torch.cdist(x, y, p=p)):
            for other, distance in zip(y, distances):
                assert distance.item() == pytest.approx((row - other).norm(p).item(), rel=1e-5)
    far = torch.full((1, n), 3e38)
    assert torch.cdist(far, -far).item() == float("inf")


@pytest.mark.parametrize("shapes", [((30, 3), (4, 3)), ((2, 1, 4, 3), (5, 26, 3))], ids=str)
def test_distances_between_many_rows_are_a_product(shapes):
    torch.manual_seed(0)
    x, y = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    distances = torch.cdist(x, y)
    assert distances.grad_fn.name() == "ViewBackward0"
    assert distances.grad_fn.next_functions[0][0].name() == "EuclideanDistBackward0"
    plain = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    assert plain.grad_fn.name() == "CdistBackward0" and torch.allclose(distances, plain)
    for ours, theirs in zip(*(torch.autograd.grad(d.square().sum(), (x, y)) for d in (distances, plain))):
        assert torch.allclose(ours, theirs)
    few = x[..., :2, :], y[..., :1, :]
    assert torch.autograd.gradgradcheck(lambda *xs: torch.cdist(*xs, compute_mode="use_mm_for_euclid_dist"), few)


def test_the_distance_of_a_row_to_itself_has_no_gradient_and_modes_have_names():
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    torch.cdist(x, x.detach(), compute_mode="use_mm_for_euclid_dist").sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0]]
    with pytest.raises(ValueError, match="^by_hand is not a valid value for compute_mode$"):
        torch.cdist(x, x, compute_mode="by_hand")


def test_decompositions_lie_by_columns_and_are_named_as_their_functions():
    a = torch.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, 1.0]])
    square = a @ a.T
    for kind, found in {
        "linalg_eigh": torch.linalg.eigh(square),
        "linalg_svd": torch.linalg.svd(a, full_matrices=False),
        "linalg_slogdet": torch.linalg.slogdet(square),
        "slogdet": torch.slogdet(square),
    }.items():
        assert type(found).__name__ == kind and repr(found).startswith(f"torch.return_types.{kind}(")
        assert type(found) is getattr(torch.return_types, kind) is type(pickle.loads(pickle.dumps(found)))
    assert torch.linalg.eigh(square).eigenvectors.stride() == (1, 2)
    U, S, Vh = torch.linalg.svd(a, full_matrices=False)
    assert (U.stride(), Vh.stride()) == ((1, 2), (1, 2)) and torch.allclose(U @ S.diag() @ Vh, a, atol=1e-6)
    U, _, Vh = torch.linalg.svd(a.expand(4, 2, 3))
    assert (U.stride(), Vh.stride()) == ((4, 1, 2), (9, 1, 3))
    U, S, Vh = torch.linalg.svd(torch.zeros(0, 3))
    assert (U.shape, S.shape, Vh.shape) == ((0, 0), (0,), (3, 3))


def test_the_first_argument_is_input_and_svd_has_no_driver():
    a = torch.eye(2)
    for name in "norm matrix_norm cond matrix_rank pinv eigvalsh cholesky".split():
        function = getattr(torch.linalg, name)
        assert torch.equal(function(input=a), function(a))
    out = (torch.empty(0), torch.empty(0))
    assert torch.linalg.slogdet(a, out=out) is out and out[0] == 1
    assert torch.equal(torch.linalg.svdvals(a, driver=None), torch.linalg.svd(a, driver=None)[1])
    for function in (torch.linalg.svd, torch.linalg.svdvals):
        with pytest.raises(RuntimeError, match="driver="):
            function(a, driver="gesvd")


@pytest.mark.parametrize("dtype, near", [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=["float64", "float32"])
def test_matrices_of_several_blocks(dtype, near):
    """Factors and systems beyond a block go by products."""
    torch.manual_seed(0)

    def close(x, y):
        return x.shape == y.shape and (x - y).abs().max().item() <= near * max(1, y.abs().max().item())

    for n in (15, 16, 17, 33, 100):
        a, b = torch.randn(2, n, n, dtype=dtype), torch.randn(2, n, 7, dtype=dtype)
        assert close(a @ torch.linalg.solve(a, b), b) and close(
            a @ a.inverse(), torch.eye(n, dtype=dtype).expand(2, n, n)
        )
        for ours, numpys in zip(a.slogdet(), np.linalg.slogdet(a.double().numpy())):
            assert close(ours, torch.tensor(numpys, dtype=dtype))
        easy = a / n + torch.eye(n, dtype=dtype)
        for upper in (False, True):
            t = easy.triu() if upper else easy.tril()
            for unit in (False, True):
                full = t - torch.diag_embed(t.diagonal(dim1=1, dim2=2) - 1) if unit else t
                x = torch.linalg.solve_triangular(t, b, upper=upper, unitriangular=unit)
                assert close(full @ x, b)
                x = torch.linalg.solve_triangular(t, b.mT.contiguous(), upper=upper, unitriangular=unit, left=False)
                assert close(x @ full, b.mT)
    for m, n in ((70, 45), (45, 70), (100, 33), (33, 100), (32, 64)):
        a = torch.randn(m, n, dtype=dtype)
        p, low, up = torch.linalg.lu(a)
        assert close(p @ low @ up, a) and low.abs().max() <= 1 and torch.equal(up, up.triu())
    a = torch.randn(60, 60, dtype=dtype)
    a[:, 40] = 0
    with pytest.raises(torch.linalg.LinAlgError, match="diagonal element 41 is zero"):
        torch.linalg.inv(a)
    assert a.det() == 0 and torch.linalg.solve(a[:0, :0], a[:0]).shape == (0, 60)


def test_cholesky_factors_of_several_panels():
    torch.manual_seed(0)
    for n in (31, 32, 33, 64, 97):
        x = torch.randn(2, n, n, dtype=torch.float64)
        a = x @ x.mT + n * torch.eye(n, dtype=torch.float64)
        for upper in (False, True):
            half = (a.triu() + (torch.full_like(a, float("nan"))).tril(-1)) if upper else a.tril()
            factor = torch.linalg.cholesky(half, upper=upper)
            assert torch.equal(factor, factor.triu() if upper else factor.tril())
            product = factor.mT @ factor if upper else factor @ factor.mT
            assert (product - a).abs().max() < 1e-10 * n
        a[1, n - 2, n - 2] = -1
        with pytest.raises(torch.linalg.LinAlgError, match=f"element 1.*order {n - 1} is not positive"):
            torch.linalg.cholesky(a)
