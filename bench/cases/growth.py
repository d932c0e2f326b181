"""How cost grows: the same work at sizes that grow tenfold. What is told is the time, and the memory, of one of the n things.

A case is a function of the library and n: it prepares, and returns the call that is timed once, and with how many things that
call deals. What it returns lives while memory is counted.
"""

from collections.abc import Callable
from typing import NamedTuple


class Growth(NamedTuple):
    prepare: Callable
    sizes: tuple
    most: int  #: PyTorch is spared larger sizes
    memory: bool  #: whether the memory of one thing is told


GROWTH: dict[str, Growth] = {}


def case(title: str, *sizes: int, most: int = 10**7, memory: bool = False):
    def add(prepare: Callable) -> Callable:
        GROWTH[title] = Growth(prepare, sizes, most, memory)
        return prepare

    return add


def repeat(n, call):
    """The call as often as makes a hundred thousand things."""
    times = 10**5 // n

    def calls():
        for _ in range(times):
            call()

    return calls, n * times


def chain(torch, n):
    x = torch.ones(1, requires_grad=True)
    y = x
    for _ in range(n):
        y = y * 1.0
    return x, y


@case("forward of a chain, a node", 10**4, 10**5, 10**6, 10**7, most=10**6, memory=True)
def forward(torch, n):
    return lambda: chain(torch, n), n


@case("backward of a chain, a node", 10**4, 10**5, 10**6, 10**7, most=10**6)
def backward(torch, n):
    x, y = chain(torch, n)
    return lambda: y.backward(), n


@case("backward of a wide graph, a node", 10**4, 10**5, 10**6, most=10**5)
def wide(torch, n):
    x = torch.ones(1, requires_grad=True)
    total = torch.stack([x * 1.0 for _ in range(n)]).sum()
    return lambda: total.backward(), n


@case("a tensor of one element", 10**4, 10**5, 10**6, memory=True)
def tensors(torch, n):
    return lambda: [torch.zeros(1) for _ in range(n)], n


@case("forward hooks on one module, a hook", 10, 100, 1000, 10_000)
def forward_hooks(torch, n):
    module, x = torch.nn.Identity(), torch.ones(1)
    for _ in range(n):
        module.register_forward_hook(lambda m, args, output: None)
    return repeat(n, lambda: module(x))


@case("tensor hooks on one tensor, a hook", 10, 100, 1000, 10_000)
def tensor_hooks(torch, n):
    x = torch.ones(1, requires_grad=True)
    for _ in range(n):
        x.register_hook(lambda grad: None)
    return repeat(n, x.backward)


@case("registering hooks, a hook", 10**2, 10**3, 10**4, 10**5, memory=True)
def registering(torch, n):
    module = torch.nn.Identity()
    return lambda: [module.register_forward_hook(print) for _ in range(n)], n


@case("building a Sequential, a module", 10**2, 10**3, 10**4, memory=True)
def building(torch, n):
    return lambda: torch.nn.Sequential(*(torch.nn.Identity() for _ in range(n))), n


@case("calling a Sequential, a module", 10**2, 10**3, 10**4)
def calling(torch, n):
    net, x = building(torch, n)[0](), torch.ones(1)
    net(x)
    return repeat(n, lambda: net(x))


@case("named_modules, a module", 10**2, 10**3, 10**4)
def named_modules(torch, n):
    net = building(torch, n)[0]()
    return repeat(n, lambda: list(net.named_modules()))


def parameter_list(torch, n):
    return torch.nn.ParameterList(torch.nn.Parameter(torch.ones(1)) for _ in range(n))


@case("building a ParameterList, a parameter", 10**3, 10**4, 10**5, memory=True)
def parameters(torch, n):
    return lambda: parameter_list(torch, n), n


@case("SGD step, a parameter", 10**3, 10**4, 10**5)
def sgd(torch, n):
    net = parameter_list(torch, n)
    for p in net:
        p.grad = torch.ones(1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    optimizer.step()
    return repeat(n, optimizer.step)


@case("state_dict, a parameter", 10**3, 10**4, 10**5)
def state_dict(torch, n):
    net = parameter_list(torch, n)
    return repeat(n, net.state_dict)
