"""Arithmetic: what a library does once it has got there."""

from cases import group

case = group("kernels")


def backward(torch, function, *inputs):
    """A case that runs forward and backward; the gradient that comes in is of ones."""
    for x in inputs:
        x.requires_grad_(x.is_floating_point())
    leaves = [x for x in inputs if x.requires_grad]
    ones = torch.ones_like(function(*inputs).detach())

    def call():
        for x in leaves:
            x.grad = None
        function(*inputs).backward(ones)

    return call, lambda: [x.grad for x in leaves]


def either(torch, function, inputs, grad):
    return backward(torch, function, *inputs) if grad else lambda: function(*inputs)


# ---- Elementwise ----------------------------------------------------------------------------------------------------

ELEMENTWISE = {
    "add": lambda torch, x, y: x + y,
    "multiply by a number": lambda torch, x, y: x * 1.5,
    "exp": lambda torch, x, y: x.exp(),
    "log": lambda torch, x, y: (x * x).log(),
    "tanh": lambda torch, x, y: x.tanh(),
    "sigmoid": lambda torch, x, y: x.sigmoid(),
    "relu": lambda torch, x, y: x.relu(),
    "gelu": lambda torch, x, y: torch.nn.functional.gelu(x),
    "erf": lambda torch, x, y: x.erf(),
    "compare and select": lambda torch, x, y: torch.where(x > y, x, y),
    "cast to float64": lambda torch, x, y: x.double(),
}

for _title, _function in ELEMENTWISE.items():

    @case(f"{_title} of 1e7", function=_function, n=10_000_000, grad=False)
    @case(f"{_title} of 64k", function=_function, n=65_536, grad=False)
    def elementwise(torch, function, n, grad):
        return either(torch, lambda x, y: function(torch, x, y), (torch.randn(n), torch.randn(n)), grad)


for _title in ("exp", "tanh", "gelu", "relu", "sigmoid"):
    case(f"{_title} of 64k, forward and backward", function=ELEMENTWISE[_title], n=65_536, grad=True)(elementwise)
case("add of 1e7, forward and backward", function=ELEMENTWISE["add"], n=10_000_000, grad=True)(elementwise)


@case("broadcast of a row, 1e7", shapes=((10_000, 1000), (1000,)), grad=False)
@case("broadcast of a column, 1e7", shapes=((10_000, 1000), (10_000, 1)), grad=False)
@case("broadcast of a row, 64k", shapes=((256, 256), (256,)), grad=False)
@case("broadcast of a column, 64k", shapes=((256, 256), (256, 1)), grad=False)
@case("broadcast of a channel, 64k", shapes=((4, 16, 32, 32), (16, 1, 1)), grad=False)
@case("broadcast of both, 64k", shapes=((256, 1), (256,)), grad=False)
@case("broadcast of a row, 64k, forward and backward", shapes=((256, 256), (256,)), grad=True)
def broadcast(torch, shapes, grad):
    return either(torch, lambda a, b: a + b, [torch.randn(s) for s in shapes], grad)


# ---- Reductions -----------------------------------------------------------------------------------------------------


@case("sum of 1e7", shape=(10_000_000,), dim=None)
@case("sum of 10000x1000 over 0", shape=(10_000, 1000), dim=0)
@case("sum of 10000x1000 over 1", shape=(10_000, 1000), dim=1)
@case("sum of 64k", shape=(65_536,), dim=None)
@case("sum of 256x256 over 0", shape=(256, 256), dim=0)
@case("sum of 256x256 over 1", shape=(256, 256), dim=1)
@case("sum of 64x32x32 over 1", shape=(64, 32, 32), dim=1)
@case("sum of 8x16x32x32 over 0, 2 and 3", shape=(8, 16, 32, 32), dim=(0, 2, 3))
def total(torch, shape, dim):
    x = torch.rand(shape)
    return (lambda: x.sum()) if dim is None else (lambda: x.sum(dim))


@case("max of 256x256 over 1", function=lambda x: x.max(1).values)
@case("argmax of 256x256 over 1", function=lambda x: x.argmax(1))
@case("variance of 256x256 over 1", function=lambda x: x.var(1))
@case("norm of 256x256", function=lambda x: x.norm())
@case("cumulative sum of 256x256 over 1", function=lambda x: x.cumsum(1))
def reduction(torch, function):
    x = torch.randn(256, 256)
    return lambda: function(x)


# ---- Along rows -----------------------------------------------------------------------------------------------------


@case("softmax of 256x512", shape=(256, 512), grad=False)
@case("softmax of 96x128x128", shape=(96, 128, 128), grad=False)
@case("softmax of 64k", shape=(1, 65_536), grad=False)
@case("softmax of 256x512, forward and backward", shape=(256, 512), grad=True)
def softmax(torch, shape, grad):
    x = torch.randn(shape)
    return either(torch, lambda x: x.softmax(-1) ** 2, (x,), grad) if grad else lambda: x.softmax(-1)


@case("softmax over the first of 512x256")
def softmax_first(torch):
    x = torch.randn(512, 256)
    return lambda: x.softmax(0)


@case("log_softmax of 256x512")
def log_softmax(torch):
    x = torch.randn(256, 512)
    return lambda: x.log_softmax(1)


@case("layer norm of 1024x384", shape=(1024, 384), grad=False)
@case("layer norm of 64x128", shape=(64, 128), grad=False)
@case("layer norm of 1024x384, forward and backward", shape=(1024, 384), grad=True)
def layer_norm(torch, shape, grad):
    F, width = torch.nn.functional, shape[-1]
    inputs = torch.randn(shape), torch.rand(width), torch.rand(width)
    return either(torch, lambda x, w, b: F.layer_norm(x, (width,), w, b) ** 2, inputs, grad)


@case("batch norm of 32x16x32x32, forward and backward")
def batch_norm(torch):
    F = torch.nn.functional
    inputs = torch.randn(32, 16, 32, 32), torch.rand(16), torch.rand(16)
    return backward(torch, lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True) ** 2, *inputs)


@case("cross-entropy of 128x10", shape=(128, 10), grad=False)
@case("cross-entropy of 512x10000", shape=(512, 10_000), grad=False)
@case("cross-entropy of 128x10, forward and backward", shape=(128, 10), grad=True)
@case("cross-entropy of 512x10000, forward and backward", shape=(512, 10_000), grad=True)
def cross_entropy(torch, shape, grad):
    inputs = torch.randn(shape), torch.randint(0, shape[1], (shape[0],))
    return either(torch, torch.nn.functional.cross_entropy, inputs, grad)


# ---- Copies ---------------------------------------------------------------------------------------------------------


@case("transposed copy of 1024x1024", view=lambda x: x.view(1024, 1024).t())
@case("transposed copy of 256x4096", view=lambda x: x.view(256, 4096).t())
@case("permuted copy of 8x128x32x32", view=lambda x: x.view(8, 128, 32, 32).permute(0, 2, 3, 1))
@case(
    "permuted copy of 8x128x12x64, heads first",
    view=lambda x: x[: 8 * 128 * 12 * 64].view(8, 128, 12, 64).transpose(1, 2),
)
@case("copy of every second column", view=lambda x: x.view(1024, 1024)[:, ::2])
def copy(torch, view):
    x = torch.randn(1 << 20)
    return lambda: view(x).contiguous()


@case("cat of four of 64k", function=lambda torch, x: torch.cat((x, x, x, x)))
@case("index_select of 1000 rows", function=lambda torch, x: x.index_select(0, torch.arange(1000) % 256))
@case("flip of 256x256", function=lambda torch, x: x.flip(1))
@case("sort of 256x256", function=lambda torch, x: x.sort(1).values)
def moved(torch, function):
    x = torch.randn(256, 256)
    return lambda: function(torch, x)


# ---- Products -------------------------------------------------------------------------------------------------------

PRODUCTS = {
    "16x16 by 16x16": ((16, 16), (16, 16)),
    "32x32 by 32x32": ((32, 32), (32, 32)),
    "64x64 by 64x64": ((64, 64), (64, 64)),
    "128x128 by 128x128": ((128, 128), (128, 128)),
    "256x256 by 256x256": ((256, 256), (256, 256)),
    "512x512 by 512x512": ((512, 512), (512, 512)),
    "1024x1024 by 1024x1024": ((1024, 1024), (1024, 1024)),
    "1x512 by 512x512": ((1, 512), (512, 512)),
    "512x512 by 512": ((512, 512), (512,)),
    "512 by 512": ((512,), (512,)),
    "32x784 by 784x10": ((32, 784), (784, 10)),
    "128x384 by 384x1536": ((128, 384), (384, 1536)),
    "4096x16 by 16x64": ((4096, 16), (16, 64)),
    "16x4096 by 4096x16": ((16, 4096), (4096, 16)),
    "64x1 by 1x64": ((64, 1), (1, 64)),
    "batched 32x64x64 by 32x64x64": ((32, 64, 64), (32, 64, 64)),
    "batched 96x128x32 by 96x32x128": ((96, 128, 32), (96, 32, 128)),
    "batched 256x8x8 by 256x8x8": ((256, 8, 8), (256, 8, 8)),
    "8x64x128 by 128x128": ((8, 64, 128), (128, 128)),
}

for _title, _shapes in PRODUCTS.items():
    _grad = _title in ("16x16 by 16x16", "128x128 by 128x128", "512x512 by 512x512", "8x64x128 by 128x128")

    @case(f"matmul {_title}", shapes=_shapes, grad=False)
    def product(torch, shapes, grad):
        return either(torch, lambda a, b: a @ b, [torch.randn(s) for s in shapes], grad)

    if _grad or "batched 32" in _title:
        case(f"matmul {_title}, forward and backward", shapes=_shapes, grad=True)(product)


@case("matmul of transposed 256x256, first", function=lambda a, b: a.t() @ b)
@case("matmul of transposed 256x256, second", function=lambda a, b: a @ b.t())
@case("matmul of transposed 256x256, both", function=lambda a, b: a.t() @ b.t())
def transposed(torch, function):
    a, b = torch.randn(256, 256), torch.randn(256, 256)
    return lambda: function(a, b)


@case("linear 128x512 to 512", shape=(128, 512), n_out=512, grad=False)
@case("linear 1x512 to 512", shape=(1, 512), n_out=512, grad=False)
@case("linear 128x512 to 512, forward and backward", shape=(128, 512), n_out=512, grad=True)
def linear(torch, shape, n_out, grad):
    inputs = torch.randn(shape), torch.randn(n_out, shape[1]), torch.randn(n_out)
    return either(torch, torch.nn.functional.linear, inputs, grad)


@case("attention 8x12x128x32", grad=False)
@case("attention 8x12x128x32, forward and backward", grad=True)
def attention(torch, grad):
    inputs = [torch.randn(8, 12, 128, 32) for _ in range(3)]
    return either(torch, torch.nn.functional.scaled_dot_product_attention, inputs, grad)


@case("embedding of 64x20, forward and backward")
def embedding(torch):
    index = torch.randint(0, 1000, (64, 20))
    return backward(torch, lambda w: torch.nn.functional.embedding(index, w), torch.randn(1000, 64))


# ---- Convolutions ---------------------------------------------------------------------------------------------------

#: Title: shape of the input, of the weight, and what conv2d is told.
CONVOLUTIONS = {
    "32x1x28x28 to 6, 5x5": ((32, 1, 28, 28), (6, 1, 5, 5), {"padding": 2}),
    "32x6x14x14 to 16, 5x5": ((32, 6, 14, 14), (16, 6, 5, 5), {}),
    "8x3x32x32 to 16, 3x3": ((8, 3, 32, 32), (16, 3, 3, 3), {"padding": 1}),
    "32x16x32x32 to 16, 3x3": ((32, 16, 32, 32), (16, 16, 3, 3), {"padding": 1}),
    "32x32x16x16 to 32, 3x3": ((32, 32, 16, 16), (32, 32, 3, 3), {"padding": 1}),
    "8x64x16x16 to 64, 3x3": ((8, 64, 16, 16), (64, 64, 3, 3), {"padding": 1}),
    "32x32x16x16 to 64, 3x3, stride 2": ((32, 32, 16, 16), (64, 32, 3, 3), {"padding": 1, "stride": 2}),
    "8x64x16x16 to 128, 1x1": ((8, 64, 16, 16), (128, 64, 1, 1), {}),
    "1x3x224x224 to 64, 7x7, stride 2": ((1, 3, 224, 224), (64, 3, 7, 7), {"padding": 3, "stride": 2}),
    "1x64x56x56 to 64, 3x3": ((1, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}),
    "1x512x7x7 to 512, 3x3": ((1, 512, 7, 7), (512, 512, 3, 3), {"padding": 1}),
    "8x32x16x16 depthwise, 3x3": ((8, 32, 16, 16), (32, 1, 3, 3), {"padding": 1, "groups": 32}),
    "8x32x16x16 to 64 in 4 groups, 3x3": ((8, 32, 16, 16), (64, 8, 3, 3), {"padding": 1, "groups": 4}),
    "8x16x32x32 to 16, 3x3, dilation 2": ((8, 16, 32, 32), (16, 16, 3, 3), {"padding": 2, "dilation": 2}),
}

for _title, (_image, _weight, _options) in CONVOLUTIONS.items():

    @case(f"conv2d {_title}", image=_image, weight=_weight, options=_options, grad=False)
    @case(f"conv2d {_title}, forward and backward", image=_image, weight=_weight, options=_options, grad=True)
    def convolution(torch, image, weight, options, grad):
        inputs = torch.randn(image), torch.randn(weight) * 0.1, torch.randn(weight[0])
        return either(torch, lambda x, w, b: torch.nn.functional.conv2d(x, w, b, **options), inputs, grad)


@case("max pool of 32x16x32x32, forward and backward", function=lambda F, x: F.max_pool2d(x, 2))
@case("average pool of 32x16x32x32, forward and backward", function=lambda F, x: F.avg_pool2d(x, 2))
def pooling(torch, function):
    return backward(torch, lambda x: function(torch.nn.functional, x), torch.randn(32, 16, 32, 32))
