"""Tensors of 1 to 16 elements, and the graphs made of them."""

from cases import group

case = group("tiny")


OPERATIONS = {
    "add of 1": (1, lambda x: lambda: x + x),
    "add of 4x4": ((4, 4), lambda x: lambda: x + x),
    "multiply by a number, of 4": (4, lambda x: lambda: x * 2.0),
    "relu of 8": (8, lambda x: lambda: x.relu()),
    "exp of 16": (16, lambda x: lambda: x.exp()),
    "sigmoid of 1": (1, lambda x: lambda: x.sigmoid()),
    "sum of 8": (8, lambda x: lambda: x.sum()),
    "mean over a dimension of 4x4": ((4, 4), lambda x: lambda: x.mean(1)),
    "matmul of 4x4": ((4, 4), lambda x: lambda: x @ x),
    "softmax of 2x8": ((2, 8), lambda x: lambda: x.softmax(1)),
    "view of 4x4": ((4, 4), lambda x: lambda: x.view(16)),
    "transpose of 4x4": ((4, 4), lambda x: lambda: x.t()),
    "unsqueeze of 8": (8, lambda x: lambda: x.unsqueeze(0)),
    "x[1]": ((4, 4), lambda x: lambda: x[1]),
    "x[1:3]": (16, lambda x: lambda: x[1:3]),
    "x[0, 1]": ((4, 4), lambda x: lambda: x[0, 1]),
    "detach of 4": (4, lambda x: lambda: x.detach()),
}

for _title, (_shape, _make) in OPERATIONS.items():

    @case(f"{_title}, no graph", shape=_shape, make=_make, grad=False)
    @case(f"{_title}, with graph", shape=_shape, make=_make, grad=True)
    def operation(torch, shape, make, grad):
        return make(torch.rand(shape, requires_grad=grad))


@case("add in place of 4", make=lambda torch, x: lambda: x.add_(0.0))
@case("clone of 16", make=lambda torch, x: lambda: x.clone())
@case("cat of two", make=lambda torch, x: lambda: torch.cat((x, x)))
@case("stack of two", make=lambda torch, x: lambda: torch.stack((x, x)))
@case("comparison of 16", make=lambda torch, x: lambda: x > 0.5)
@case("x[mask]", make=lambda torch, x: (lambda mask: lambda: x[mask])(x > 0.5))
@case("x[1] = number", make=lambda torch, x: lambda: x.__setitem__(1, 0.25))
@case("x.shape", make=lambda torch, x: (lambda: x.shape, lambda: list(x.shape)))
@case("tolist of 16", make=lambda torch, x: lambda: x.tolist())
@case("tensor from a list of 4", make=lambda torch, x: lambda: torch.tensor([1.0, 2.0, 3.0, 4.0]))
@case("tensor from a number", make=lambda torch, x: lambda: torch.tensor(1.0))
@case("zeros of 4", make=lambda torch, x: lambda: torch.zeros(4))
@case("ones_like of 16", make=lambda torch, x: lambda: torch.ones_like(x))
@case("arange of 10", make=lambda torch, x: lambda: torch.arange(10))
@case("randn of 4", make=lambda torch, x: (lambda: torch.randn(4), lambda: (torch.manual_seed(1), torch.randn(4))[1]))
def other(torch, make):
    return make(torch, torch.rand(16))


@case("item")
def item(torch):
    x = torch.ones(1)
    return lambda: x.item()


# ---- Backward -------------------------------------------------------------------------------------------------------


@case("scalar multiply and backward", hooks=0)
@case("scalar multiply and backward, a tensor hook", hooks=1)
@case("scalar multiply and backward, ten tensor hooks", hooks=10)
def scalar(torch, hooks):
    x = torch.ones(1, requires_grad=True)
    for _ in range(hooks):
        x.register_hook(lambda grad: None)

    def call():
        x.grad = None
        (x * 2.0).backward()

    return call, lambda: x.grad


@case("backward, gradients doubled by a tensor hook")
def doubled(torch):
    x = torch.ones(1, requires_grad=True)
    x.register_hook(lambda grad: grad * 2)

    def call():
        x.grad = None
        (x * 2.0).backward()

    return call, lambda: x.grad


@case("autograd.grad of a product")
def grad(torch):
    x, w = torch.ones(4, requires_grad=True), torch.rand(4, requires_grad=True)
    return lambda: torch.autograd.grad((x * w).sum(), (x, w))


@case("second derivative by autograd.grad")
def second(torch):
    x = torch.full((1,), 3.0, requires_grad=True)

    def call():
        (first,) = torch.autograd.grad(x * x * x, x, create_graph=True)
        return torch.autograd.grad(first, x)

    return call


@case("forward and backward of Linear of 4, no hook", register=lambda m: None)
@case("forward and backward of Linear of 4, full backward hook",
      register=lambda m: m.register_full_backward_hook(lambda m, grad_input, grad_output: None))  # fmt: skip
@case("forward and backward of Linear of 4, full backward pre-hook",
      register=lambda m: m.register_full_backward_pre_hook(lambda m, grad_output: None))  # fmt: skip
def layer(torch, register):
    module, x = torch.nn.Linear(4, 4), torch.ones(2, 4, requires_grad=True)
    register(module)

    def call():
        x.grad = module.weight.grad = module.bias.grad = None
        module(x).sum().backward()

    return call, lambda: (x.grad, module.weight.grad, module.bias.grad)


@case("chain of 1,000 adds, forward and backward", operation=lambda y, x: y + x)
@case("chain of 1,000 multiplications, forward and backward", operation=lambda y, x: y * x)
def chain(torch, operation):
    x = torch.ones(1, requires_grad=True)

    def call():
        x.grad = None
        y = x
        for _ in range(1000):
            y = operation(y, x)
        y.backward()

    return call, lambda: x.grad


@case("network of scalars 2-8-8-1, forward and backward")
def scalars(torch):
    """Every weight is a tensor of one element, as in micrograd."""
    weight = lambda: torch.randn((), requires_grad=True)
    layers = [
        [([weight() for _ in range(n_in)], weight()) for _ in range(n_out)] for n_in, n_out in ((2, 8), (8, 8), (8, 1))
    ]
    parameters = [p for neurons in layers for ws, b in neurons for p in (*ws, b)]
    inputs = [torch.tensor(0.5), torch.tensor(-1.0)]

    def call():
        for p in parameters:
            p.grad = None
        x = inputs
        for neurons in layers:
            x = [sum((w * xi for w, xi in zip(ws, x)), b).tanh() for ws, b in neurons]
        loss = (x[0] - 1.0) ** 2
        loss.backward()
        return loss

    return call, lambda: [call(), *(p.grad for p in parameters)]


# ---- Optimizers -----------------------------------------------------------------------------------------------------


@case("SGD step over 20 small parameters", make=lambda optim, p: optim.SGD(p, lr=0.01))
@case("SGD with momentum, step over 20 small parameters", make=lambda optim, p: optim.SGD(p, lr=0.01, momentum=0.9))
@case("Adam step over 20 small parameters", make=lambda optim, p: optim.Adam(p, lr=0.01))
@case("AdamW step over 20 small parameters", make=lambda optim, p: optim.AdamW(p, lr=0.01))
def optimizer(torch, make):
    parameters = [torch.ones(8, requires_grad=True) for _ in range(20)]
    for p in parameters:
        p.grad = torch.full((8,), 0.5)
    step = make(torch.optim, parameters).step
    return lambda: step(), lambda: parameters


@case("zero_grad over 20 small parameters")
def zero_grad(torch):
    parameters = [torch.ones(8, requires_grad=True) for _ in range(20)]
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    return lambda: optimizer.zero_grad()
