"""Calls of modules and hooks, and what is done to modules: nothing here has arithmetic worth the name."""

from cases import group

case = group("dispatch")


def same(torch):
    """A module that returns what it gets, so that a call costs what a call costs."""

    class Same(torch.nn.Module):
        def forward(self, x):
            return x

    return Same()


def ten(module):
    for _ in range(10):
        module.register_forward_hook(lambda m, args, output: None)


def both(module):
    module.register_forward_pre_hook(lambda m, args: None)
    module.register_forward_hook(lambda m, args, output: None)


@case("module call, no hook", register=lambda m: None)
@case("module call, pre-hook", register=lambda m: m.register_forward_pre_hook(lambda m, args: None))
@case("module call, forward hook", register=lambda m: m.register_forward_hook(lambda m, args, output: None))
@case("module call, pre-hook and forward hook", register=both)
@case("module call, ten forward hooks", register=ten)
@case(
    "module call, pre-hook with kwargs",
    register=lambda m: m.register_forward_pre_hook(lambda m, args, kwargs: None, with_kwargs=True),
)
@case(
    "module call, forward hook with kwargs",
    register=lambda m: m.register_forward_hook(lambda m, args, kwargs, output: None, with_kwargs=True),
)
def module_call(torch, register):
    module, x = same(torch), torch.ones(1)
    register(module)
    return lambda: module(x)


@case("module call by keyword, no hook", register=lambda m: None)
@case(
    "module call by keyword, forward hook with kwargs",
    register=lambda m: m.register_forward_hook(lambda m, args, kwargs, output: None, with_kwargs=True),
)
def keyword_call(torch, register):
    module, x = same(torch), torch.ones(1)
    register(module)
    return lambda: module(x=x)


@case("module call, global pre-hook", register=lambda g: g.register_module_forward_pre_hook(lambda m, args: None))
@case("module call, global forward hook", register=lambda g: g.register_module_forward_hook(lambda m, args, o: None))
def global_call(torch, register):
    module, x = same(torch), torch.ones(1)
    register(torch.nn.modules.module)
    return lambda: module(x)


@case("Sequential of 20, no hook", hooked=False)
@case("Sequential of 20, a forward hook on each", hooked=True)
def sequential(torch, hooked):
    net = torch.nn.Sequential(*(torch.nn.Identity() for _ in range(20)))
    x = torch.ones(1)
    if hooked:
        for module in net:
            module.register_forward_hook(lambda m, args, output: None)
    return lambda: net(x)


@case("Sequential of 20 Python modules, no hook")
def sequential_python(torch):
    net, x = torch.nn.Sequential(*(same(torch) for _ in range(20))), torch.ones(1)
    return lambda: net(x)


@case("a module's call of its child")
def nested(torch):
    class Outer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = same(torch)

        def forward(self, x):
            return self.inner(x)

    module, x = Outer(), torch.ones(1)
    return lambda: module(x)


@case("Linear of 16, with graph", grad=True, hooked=False)
@case("Linear of 16, no graph", grad=False, hooked=False)
@case("Linear of 16, no graph, forward hook", grad=False, hooked=True)
def linear(torch, grad, hooked):
    layer, x = torch.nn.Linear(16, 16), torch.ones(1, 16)
    torch.set_grad_enabled(grad)
    if hooked:
        layer.register_forward_hook(lambda m, args, output: None)
    return lambda: layer(x)


# ---- Registering ----------------------------------------------------------------------------------------------------


@case("register and remove, forward hook", kind="register_forward_hook")
@case("register and remove, forward pre-hook", kind="register_forward_pre_hook")
@case("register and remove, full backward hook", kind="register_full_backward_hook")
def register(torch, kind):
    module = same(torch)
    register, hook = getattr(module, kind), lambda *args: None
    return lambda: register(hook).remove(), lambda: len(module._forward_hooks) + len(module._backward_hooks)


@case("register and remove, tensor hook")
def register_tensor(torch):
    x = torch.ones(1, requires_grad=True)
    return lambda: x.register_hook(lambda grad: None).remove()


# ---- Attributes -----------------------------------------------------------------------------------------------------


def holder(torch):
    module = torch.nn.Linear(2, 2)
    module.child, module.scale = torch.nn.ReLU(), 2.0
    module.register_buffer("mean", torch.zeros(2))
    return module


@case("module.weight", read=lambda m: lambda: m.weight)
@case("module.child", read=lambda m: lambda: m.child)
@case("module.buffer", read=lambda m: lambda: m.mean)
@case("module.attribute", read=lambda m: lambda: m.scale)
@case("module.training", read=lambda m: lambda: m.training)
def attribute(torch, read):
    call = read(holder(torch))
    return call, lambda: str(call())


@case("module.weight = parameter", name="weight")
@case("module.child = module", name="child")
@case("module.buffer = tensor", name="mean")
@case("module.attribute = number", name="scale")
def assignment(torch, name):
    module = holder(torch)
    scope = {"module": module, "value": getattr(module, name)}
    exec(f"def call():\n    module.{name} = value", scope)
    return scope["call"], lambda: str(getattr(module, name))


# ---- Construction ---------------------------------------------------------------------------------------------------


@case("construct Linear(4, 4)", make=lambda nn: lambda: nn.Linear(4, 4))
@case("construct Conv2d(3, 6, 3)", make=lambda nn: lambda: nn.Conv2d(3, 6, 3))
@case("construct ReLU()", make=lambda nn: lambda: nn.ReLU())
@case("construct LayerNorm(4)", make=lambda nn: lambda: nn.LayerNorm(4))
@case("construct BatchNorm1d(4)", make=lambda nn: lambda: nn.BatchNorm1d(4))
@case("construct Sequential of four", make=lambda nn: lambda: nn.Sequential(*([nn.ReLU()] * 4)))
def construct(torch, make):
    call = make(torch.nn)
    return call, lambda: [list(call().parameters()), repr(call())]


@case("construct a Python module with two Linear")
def construct_python(torch):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Linear(4, 4)
            self.b = torch.nn.Linear(4, 4)

        def forward(self, x):
            return self.b(self.a(x))

    return Net, lambda: list(Net().parameters())


# ---- 500 modules ----------------------------------------------------------------------------------------------------


def tree(torch):
    """501 modules: 125 blocks of three layers, and what holds them."""
    nn = torch.nn
    return nn.Sequential(*(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.LayerNorm(2)) for _ in range(125)))


@case("named_modules of 500", walk=lambda net: len(list(net.named_modules())))
@case("modules of 500", walk=lambda net: len(list(net.modules())))
@case("named_parameters of 500", walk=lambda net: len(list(net.named_parameters())))
@case("parameters of 500", walk=lambda net: len(list(net.parameters())))
@case("train and eval of 500", walk=lambda net: net.train().eval().training)
@case("state_dict of 500", walk=lambda net: len(net.state_dict()))
@case("requires_grad_ of 500", walk=lambda net: net.requires_grad_(True).training)
@case("zero_grad of 500", walk=lambda net: net.zero_grad())
def walk(torch, walk):
    net = tree(torch)
    return lambda: walk(net)
