"""Convolutions of float32, by slabs or windows and tiles, against those of float64, which are products with columns (im2col)."""

import numpy as np
import pytest

import hookgrad as hg
from hookgrad.nn import functional as F

# batch, groups, channels of a group in and out, kernel, stride, dilation, padding, height and width, or three sizes
SHAPES = {
    "plain": (2, 1, 16, 16, (3, 3), (1, 1), (1, 1), (1, 1), 14, 14),
    "narrow": (3, 1, 33, 17, (3, 3), (1, 1), (1, 1), (1, 1), 7, 7),
    "no padding": (2, 1, 6, 16, (5, 5), (1, 1), (1, 1), (0, 0), 14, 14),
    "much padding": (1, 1, 3, 5, (3, 2), (1, 1), (1, 1), (4, 5), 6, 3),
    "stride 2": (2, 1, 8, 20, (3, 3), (2, 2), (1, 1), (1, 1), 16, 16),
    "stride 3 and 2, odd": (2, 1, 3, 9, (7, 5), (3, 2), (1, 1), (3, 2), 29, 37),
    "stride beyond the kernel": (2, 1, 4, 4, (1, 2), (3, 3), (1, 1), (0, 0), 11, 11),
    "dilation": (2, 1, 5, 16, (3, 3), (1, 1), (2, 3), (2, 3), 20, 20),
    "dilation and stride": (2, 1, 5, 6, (3, 3), (2, 3), (3, 2), (1, 4), 19, 23),
    "pointwise": (2, 2, 8, 9, (1, 1), (1, 1), (1, 1), (0, 0), 9, 9),
    "groups": (2, 3, 4, 7, (3, 3), (1, 1), (1, 1), (1, 1), 10, 12),
    "depthwise": (2, 19, 1, 1, (3, 3), (1, 1), (1, 1), (1, 1), 9, 13),
    "depthwise, stride 2": (2, 5, 1, 1, (5, 3), (2, 2), (1, 1), (2, 1), 17, 33),
    "two for each": (2, 5, 1, 2, (3, 3), (1, 1), (1, 1), (1, 1), 9, 13),
    "a row": (2, 1, 3, 4, (1, 5), (1, 1), (1, 1), (0, 2), 1, 50),
    "a row of many channels": (3, 1, 20, 48, (1, 3), (1, 1), (1, 1), (0, 1), 1, 256),
    "a row of 16 channels": (5, 2, 16, 16, (1, 5), (1, 2), (1, 2), (0, 2), 1, 160),
    "several slabs of rows": (1, 1, 64, 4, (3, 3), (1, 1), (1, 1), (1, 1), 100, 56),
    "several slabs of columns": (1, 1, 120, 3, (3, 3), (1, 1), (1, 1), (1, 1), 3, 300),
    "planes": (5, 1, 3, 16, (3, 3), (1, 1), (1, 1), (1, 1), 16, 32),
    "planes, one to six": (3, 1, 1, 6, (5, 5), (1, 1), (1, 1), (2, 2), 28, 28),
    "planes in parts": (1, 1, 20, 7, (3, 4), (1, 1), (1, 1), (1, 1), 70, 46),
    "planes, rows apart": (2, 2, 3, 5, (3, 3), (2, 1), (2, 3), (1, 3), 21, 44),
    "planes, seven columns": (2, 1, 3, 13, (7, 7), (1, 1), (1, 1), (3, 3), 11, 31),
    "planes, wider than the image": (2, 1, 3, 5, (3, 2), (1, 1), (1, 1), (4, 9), 5, 14),
    "planes, one column": (2, 1, 4, 6, (3, 1), (1, 1), (1, 1), (1, 0), 17, 48),
    "planes, depthwise": (3, 5, 1, 1, (3, 3), (1, 1), (1, 1), (1, 1), 18, 16),
    "planes, depthwise, 5x5": (2, 3, 1, 1, (5, 5), (1, 1), (1, 1), (2, 2), 19, 30),
    "planes, depthwise, 7x7": (2, 3, 1, 1, (7, 7), (1, 1), (1, 1), (3, 3), 21, 30),
    "planes, depthwise, halves of rows": (3, 4, 1, 1, (3, 5), (2, 2), (1, 1), (1, 2), 23, 57),
    "planes, depthwise, dilated, in parts": (1, 2, 1, 1, (3, 4), (1, 2), (2, 3), (2, 4), 150, 64),
    "depthwise, more than a step": (2, 3, 1, 1, (5, 5), (2, 2), (1, 1), (2, 2), 28, 29),
    "planes, to every second pixel": (1, 1, 3, 20, (7, 7), (2, 2), (1, 1), (3, 3), 37, 64),
    "windows": (3, 1, 40, 40, (3, 3), (1, 1), (1, 1), (1, 1), 14, 14),
    "windows, stride 2": (4, 2, 36, 36, (3, 3), (2, 2), (1, 1), (1, 1), 23, 25),
    "windows in place": (2, 1, 33, 50, (5, 5), (1, 1), (1, 1), (0, 0), 22, 21),
    "windows over several images": (13, 1, 32, 32, (3, 3), (1, 1), (1, 1), (1, 1), 7, 7),
    "windows over some rows": (1, 1, 64, 48, (3, 3), (1, 1), (2, 1), (2, 1), 80, 64),
    "windows of few channels": (2, 1, 20, 16, (3, 5), (2, 3), (1, 1), (1, 2), 41, 64),
    "few pixels": (2, 2, 32, 140, (3, 3), (1, 1), (1, 1), (1, 1), 6, 7),
    "few pixels, stride 2": (1, 1, 144, 144, (3, 2), (2, 2), (1, 2), (1, 0), 9, 12),
    "blocks of channels": (1, 1, 40, 200, (3, 3), (1, 1), (1, 1), (1, 1), 8, 8),
    "slices": (2, 1, 5, 8, (3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 6, 8, 9),
    "slices, groups, all settings": (2, 2, 3, 4, (3, 2, 4), (2, 1, 3), (2, 3, 1), (3, 1, 2), 9, 11, 10),
    "slices, beyond the kernel": (1, 1, 4, 3, (1, 2, 2), (3, 1, 1), (1, 1, 1), (0, 0, 0), 8, 5, 5),
    "slices, one of each": (3, 1, 1, 1, (2, 1, 1), (1, 1, 1), (1, 1, 1), (0, 0, 0), 4, 3, 3),
    "slices at several times": (2, 1, 24, 20, (3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 10, 40, 40),
    "pointwise in three": (2, 1, 5, 6, (1, 1, 1), (1, 1, 1), (1, 1, 1), (0, 0, 0), 4, 5, 6),
}


def results(dtype, shape, transposed, arrays):
    batch, groups, _, _, kernel, stride, dilation, padding, *_ = shape
    x, w, b = (hg.tensor(a.astype(dtype)).requires_grad_() for a in arrays[:3])
    f = getattr(F, f"conv{'_transpose' * transposed}{len(kernel)}d")
    y = f(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    grad = np.random.default_rng(batch).standard_normal(tuple(y.shape)).astype(np.float32)
    y.backward(hg.tensor(grad.astype(dtype)))
    return [t.detach().numpy() for t in (y, x.grad, w.grad, b.grad)]


@pytest.mark.parametrize("transposed", [False, True], ids=["conv", "transposed"])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("threads", [1, 3])
def test_float32_gives_what_float64_gives(name, transposed, threads):
    shape = SHAPES[name]
    batch, groups, c_in, c_out, kernel, stride, dilation, padding, *image = shape
    sizes = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in zip(image, stride, padding, dilation, kernel)]
    if transposed and min(sizes) < 1:
        shape = (*shape[:7], (0,) * len(kernel), *image)
    rng = np.random.default_rng(0)
    w = (groups * c_in, c_out, *kernel) if transposed else (groups * c_out, c_in, *kernel)
    arrays = [
        rng.standard_normal(size).astype(np.float32) for size in ((batch, groups * c_in, *image), w, (groups * c_out,))
    ]
    before = hg.get_num_threads()
    hg.set_num_threads(threads)
    try:
        ours, exact = (results(dtype, shape, transposed, arrays) for dtype in (np.float32, np.float64))
    finally:
        hg.set_num_threads(before)
    for a, b in zip(ours, exact):
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max()


def test_a_nan_reaches_the_windows_that_see_it_and_no_others():
    x = hg.ones(1, 2, 9, 9)
    x[0, 1, 4, 4] = float("nan")
    y = F.conv2d(x, hg.ones(3, 2, 3, 3), padding=1)
    seen = np.isnan(y.numpy())
    assert seen[:, :, 3:6, 3:6].all() and seen.sum() == 3 * 9


@pytest.mark.parametrize("dtype", [hg.float32, hg.float64])
@pytest.mark.parametrize("transposed", [False, True])
def test_pixels_whose_channels_lie_last_are_multiplied_where_they_lie(transposed, dtype):
    rng = np.random.default_rng(0)
    x, b = (hg.tensor(rng.standard_normal(shape), dtype=dtype) for shape in ((3, 5, 4, 7), (6,)))
    w = hg.tensor(rng.standard_normal((5, 6, 1, 1) if transposed else (6, 5, 1, 1)), dtype=dtype)
    results = []
    for form in (hg.contiguous_format, hg.channels_last):
        leaves = [t.clone().requires_grad_() for t in (x.contiguous(memory_format=form), w, b)]
        y = (F.conv_transpose2d if transposed else F.conv2d)(*leaves)
        (y * y.detach().cos()).sum().backward()
        assert y.is_contiguous(memory_format=form) and leaves[0].grad.is_contiguous(memory_format=form)
        results.append([y.detach(), *(leaf.grad for leaf in leaves)])
    for plain, last in zip(*results):
        np.testing.assert_allclose(last.numpy(), plain.numpy(), rtol=1e-4, atol=1e-5)


def test_pixels_are_one_to_one_only_where_nothing_is_added():
    x = hg.arange(24.0).reshape(1, 2, 3, 4).contiguous(memory_format=hg.channels_last)
    w = hg.ones(2, 3, 1, 1)
    y = F.conv_transpose2d(x, w, output_padding=1, dilation=2)
    assert y.shape == (1, 3, 4, 5) and y[0, 0, :3, :4].tolist() == x.sum(1)[0].tolist() and y[0, :, 3].abs().sum() == 0
    assert F.conv_transpose2d(x, w[:, :0]).shape == (1, 0, 3, 4)
