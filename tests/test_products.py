"""Matrix products of every shape and layout, against NumPy's in float64."""

import itertools

import numpy as np
import pytest

import hookgrad as torch


def close(got, want, k):
    """Within the rounding of a sum of k terms."""
    return np.abs(got.numpy() - want).max(initial=0) <= 4e-6 * max(1, k) ** 0.5 * 4


@pytest.mark.parametrize("k", [0, 1, 3, 64, 257, 600])
def test_products_of_every_shape_and_layout(k):
    rng = np.random.default_rng(k)
    for m, n in itertools.product([1, 2, 3, 4, 7, 15, 29, 130], [1, 2, 15, 16, 17, 33, 140, 530]):
        for ta, tb in itertools.product((False, True), repeat=2):
            a = rng.standard_normal((k, m) if ta else (m, k), dtype=np.float32)
            b = rng.standard_normal((n, k) if tb else (k, n), dtype=np.float32)
            x, y = torch.from_numpy(a), torch.from_numpy(b)
            got = (x.t() if ta else x) @ (y.t() if tb else y)
            want = (a.T if ta else a).astype(float) @ (b.T if tb else b).astype(float)
            assert close(got, want, k), (m, k, n, ta, tb)


@pytest.mark.parametrize(
    "m, k, n", [(230, 1024, 785), (15, 385, 770), (460, 769, 130), (225, 48, 416), (128, 32, 128), (3, 800, 2090)]
)
def test_products_of_several_blocks(m, k, n):
    rng = np.random.default_rng(m)
    a, b = rng.standard_normal((m, k), dtype=np.float32), rng.standard_normal((k, n), dtype=np.float32)
    want = a.astype(float) @ b.astype(float)
    for x, y in itertools.product((a, a.T.copy().T), (b, b.T.copy().T)):
        x, y = torch.from_numpy(x), torch.from_numpy(y)
        assert close(x @ y, want, k)
        assert close(torch.addmm(torch.ones(m, n), x, y), want + 1, k)


@pytest.mark.parametrize("length, seen", [(1, 1), (5, 16), (33, 33), (20, 130)])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_weighs_values_by_the_softmax_of_scores(length, seen, causal):
    rng = np.random.default_rng(seen)
    q, k, v = (rng.standard_normal((2, 3, n, 24), dtype=np.float32) for n in (length, seen, seen))
    scores = q.astype(float) @ k.astype(float).swapaxes(2, 3) / 24**0.5
    if causal:
        scores[..., ~np.tri(length, seen, dtype=bool)] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    want = weights / weights.sum(-1, keepdims=True) @ v
    q, k, v = map(torch.from_numpy, (q, k, v))
    got, sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal)
    assert close(got, want, seen)
    assert np.allclose(sums.numpy(), np.log(np.exp(scores).sum(-1)), rtol=1e-6, atol=1e-6)


def test_attention_shows_what_is_not_a_number():
    q, k, v = torch.ones(1, 1, 3, 8), torch.ones(1, 1, 40, 8), torch.ones(1, 1, 40, 8)
    for at in (0, 37):
        spoilt = k.clone()
        spoilt[0, 0, at, 0] = float("nan")
        assert torch.nn.functional.scaled_dot_product_attention(q, spoilt, v).isnan().all()


def test_what_is_added_is_scaled_and_broadcast():
    rng = np.random.default_rng(0)
    for m, k, n in [(1, 5, 7), (3, 4, 1), (16, 300, 40), (65, 20, 70)]:
        a, b = rng.standard_normal((m, k), dtype=np.float32), rng.standard_normal((k, n), dtype=np.float32)
        for shape in [(n,), (m, n), (1, n), (m, 1), (1,)]:
            c = rng.standard_normal(shape, dtype=np.float32)
            x, y, z = map(torch.from_numpy, (a, b, c))
            want = 0.5 * c.astype(float) + 2 * (a.astype(float) @ b.astype(float))
            assert close(torch.addmm(z, x, y, beta=0.5, alpha=2), want, k)
            assert close(torch.baddbmm(z, x[None], y[None], beta=0.5, alpha=2), want[None], k)


def test_batches_and_strided_operands():
    rng = np.random.default_rng(1)
    for batch, m, k, n in [(1, 3, 4, 5), (50, 2, 2, 2), (7, 20, 33, 40), (3, 1, 70, 9), (3, 9, 70, 1)]:
        a, b = (rng.standard_normal(s, dtype=np.float32) for s in ((m, batch, k), (k, batch, n)))
        x, y = torch.from_numpy(a).transpose(0, 1), torch.from_numpy(b).transpose(0, 1)
        assert close(x @ y, a.swapaxes(0, 1).astype(float) @ b.swapaxes(0, 1), k)
        every_other = torch.from_numpy(a).transpose(0, 1)[:, :, ::2] @ y[:, ::2]
        assert close(every_other, a.swapaxes(0, 1)[:, :, ::2].astype(float) @ b.swapaxes(0, 1)[:, ::2], k)


@pytest.mark.parametrize("k, n", [(64, 512), (65, 128), (66, 784), (387, 96), (3, 40)])
def test_how_many_rows_there_are_changes_no_bit(k, n):
    """Of many rows b is copied, and of a turned b what is left of four columns is turned at once."""
    rng = np.random.default_rng(n)
    a, b = (torch.from_numpy(rng.standard_normal(s, dtype=np.float32)) for s in ((90, k), (k, n)))
    turned = b.t().contiguous().t()
    want = (a @ b).numpy()
    is_blas = torch.backends.cpu.get_cpu_capability() == "DEFAULT"  # which promises no bits
    for got in (torch.cat([part @ b for part in a.split(30)]), a @ turned, (turned.t() @ a.t()).t()):
        assert close(got, want.astype(float), k) if is_blas else np.array_equal(got.numpy(), want)


def test_threads_change_no_bit():
    x, y = torch.randn(300, 500), torch.randn(500, 400)
    before = torch.get_num_threads()
    results = []
    for n in (1, 2, 3):
        torch.set_num_threads(n)
        results.append(
            [x @ y, y.t() @ x.t(), x[:2] @ y, x @ y[:, 0], x[0] @ y, x.expand(4, 300, 500) @ y, x @ y[:, :40]]
        )
    torch.set_num_threads(before)
    for one, *others in zip(*results):
        assert all(torch.equal(one, other) for other in others)


def direct(x, w, stride, padding, dilation, groups):
    """The convolution in float64, a tap at a time."""
    n, c, height, width = x.shape
    out, _, kh, kw = w.shape
    high = (height + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    wide = (width + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    x = np.pad(x.astype(float), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    x, w = x.reshape(n, groups, c // groups, *x.shape[2:]), w.astype(float).reshape(groups, out // groups, *w.shape[1:])
    y = np.zeros((n, groups, out // groups, high, wide))
    for i, j in itertools.product(range(kh), range(kw)):
        rows, columns = dilation * i, dilation * j
        seen = x[
            ..., rows : rows + stride * (high - 1) + 1 : stride, columns : columns + stride * (wide - 1) + 1 : stride
        ]
        y += np.einsum("ngchw,goc->ngohw", seen, w[..., i, j])
    return y.reshape(n, out, high, wide)


@pytest.mark.parametrize(
    "n, c, out, size, kernel, settings",
    [
        (2, 3, 5, (9, 11), (3, 2), (1, 1, 1, 1)),
        (3, 4, 6, (12, 7), (5, 5), (2, 2, 1, 2)),
        (2, 6, 4, (10, 10), (3, 3), (3, 0, 2, 1)),
        (1, 20, 18, (33, 17), (1, 1), (1, 0, 1, 1)),
        (9, 2, 17, (7, 7), (3, 3), (1, 1, 1, 1)),
        (4, 3, 3, (6, 6), (2, 2), (2, 0, 1, 3)),
        # windows of 3x3 with many channels, which have kernels of their own
        (3, 33, 40, (15, 14), (3, 3), (1, 1, 1, 1)),
        (10, 64, 32, (9, 8), (3, 3), (1, 0, 1, 1)),
        (2, 64, 66, (20, 19), (3, 3), (1, 2, 1, 2)),
    ],
)
def test_convolution_and_its_gradients(n, c, out, size, kernel, settings):
    stride, padding, dilation, groups = settings
    rng = np.random.default_rng(n)
    x = rng.standard_normal((n, c, *size), dtype=np.float32)
    w = rng.standard_normal((out, c // groups, *kernel), dtype=np.float32)
    a, b = torch.from_numpy(x).requires_grad_(), torch.from_numpy(w).requires_grad_()
    y = torch.nn.functional.conv2d(a, b, None, stride, padding, dilation, groups)
    k = c // groups * kernel[0] * kernel[1]
    assert close(y.detach(), direct(x, w, *settings), k)
    # The convolution is linear in each operand: <g, conv(x, w)> = <grad_x, x> = <grad_w, w>, for every x and w.
    g = rng.standard_normal(y.shape, dtype=np.float32)
    y.backward(torch.from_numpy(g))
    other = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
    for grad, value, seen in ((a.grad, other[0], (other[0], w)), (b.grad, other[1], (x, other[1]))):
        want = (g * direct(*seen, *settings)).sum()
        assert abs((grad.numpy() * value).sum() - want) < 1e-4 * np.sqrt(y.numel() * k)


def test_the_second_derivative_of_a_product_lies_as_its_factor_does():
    x, y = (torch.rand(2, 3, requires_grad=True) for _ in range(2))
    (by_x,) = torch.autograd.grad(x @ y.t(), x, torch.ones(2, 2), create_graph=True)
    (by_y,) = torch.autograd.grad(by_x, y, torch.ones(2, 3))
    assert by_y.stride() == (3, 1) and by_y.tolist() == [[2, 2, 2], [2, 2, 2]]


@pytest.mark.parametrize(
    ("name", "shapes", "words"),
    [
        ("addmm", [(3,), (1, 1), (2, 2)], "mat1 and mat2 must have the same dtype, but got Long and Float"),
        ("addmm", [(3,), (1, 1, 1), (2, 2)], "mat1 and mat2 must have the same dtype, but got Long and Float"),
        ("baddbmm", [(2,), (1, 1, 2), (1, 3, 2)], "got: input float, batch1: long int, batch2: float"),
        (
            "baddbmm",
            [(3,), (1, 1, 2), (1, 3, 2)],
            r"The expanded size of the tensor \(2\) must match the existing size \(3\)",
        ),
    ],
)
def test_of_several_mistakes_the_one_is_named_that_pytorch_sees_first(name, shapes, words):
    added, left, right = (torch.ones(shape) for shape in shapes)
    with pytest.raises(RuntimeError, match=words):
        getattr(torch, name)(added, left.long(), right)


@pytest.mark.parametrize("m, k", [(1, 5000), (3, 5000), (5000, 3), (33, 70), (300, 301)])
def test_products_of_doubles_with_a_vector(m, k):
    rng = np.random.default_rng(k)
    a, v, u = rng.standard_normal((m, k)), rng.standard_normal((k, 2)), rng.standard_normal(m)
    x, w, y = torch.from_numpy(a), torch.from_numpy(v)[:, 1], torch.from_numpy(u)
    for got, want in [
        (x @ w, a @ v[:, 1]),
        (w @ x.t(), a @ v[:, 1]),
        (x.t() @ y, u @ a),
        (y @ x, u @ a),
        (x[:, ::2] @ w[::2], a[:, ::2] @ v[::2, 1]),
        (torch.addmv(y, x, w, beta=2, alpha=3), 2 * u + 3 * (a @ v[:, 1])),
        (torch.addmv(torch.full((m,), float("nan")).double(), x, w, beta=0), a @ v[:, 1]),
    ]:
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-10, atol=1e-10)
    x[0, 0] = float("nan")
    w[0] = y[0] = 0
    assert (x @ w)[0].isnan() and (y @ x)[0].isnan()
