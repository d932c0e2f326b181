"""Hooks for every module, and those of registration."""

from collections import OrderedDict
from contextlib import contextmanager


@contextmanager
def _removed(*handles):
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def global_hooks_run_before_a_modules_own(torch, log):
    from_module = torch.nn.modules.module
    m = torch.nn.Linear(1, 1)
    m.register_forward_pre_hook(lambda *a: log("own pre"), prepend=True)
    m.register_forward_hook(lambda *a: log("own post"), prepend=True)
    m.register_full_backward_pre_hook(lambda *a: log("own backward pre"), prepend=True)
    m.register_full_backward_hook(lambda *a: log("own backward"), prepend=True)
    with _removed(
        from_module.register_module_forward_pre_hook(lambda m, args: log("global pre")),
        from_module.register_module_forward_hook(lambda m, args, out: log("global post")),
        from_module.register_module_full_backward_pre_hook(lambda m, go: log("global backward pre")),
        from_module.register_module_full_backward_hook(lambda m, gi, go: log("global backward")),
    ):
        m(torch.ones(1, 1, requires_grad=True)).sum().backward()
    log("removed")
    m(torch.ones(1, 1, requires_grad=True)).sum().backward()


def global_forward_hooks_see_every_module(torch, log):
    nn = torch.nn
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU()))
    with _removed(
        nn.modules.module.register_module_forward_pre_hook(lambda m, args: log("enter", type(m).__name__)),
        nn.modules.module.register_module_forward_hook(lambda m, args, out: log("leave", type(m).__name__)),
    ):
        model(torch.ones(1, 1))


def global_forward_hooks_replace_values(torch, log):
    module = torch.nn.modules.module
    m = torch.nn.Identity()
    m.register_forward_pre_hook(lambda m, args: log("own pre", args))
    m.register_forward_hook(lambda m, args, out: log("own post", out))
    with _removed(
        module.register_module_forward_pre_hook(lambda m, args: args[0] + 1),
        module.register_module_forward_hook(lambda m, args, out: out * 10),
    ):
        log(m(torch.ones(1)))


def global_hooks_with_kwargs_and_always_call(torch, log):
    class Fails(torch.nn.Module):
        def forward(self, x, k=None):
            raise RuntimeError("forward")

    register = torch.nn.modules.module.register_module_forward_hook
    with _removed(
        register(lambda m, args, kwargs, out: log("kwargs", args, kwargs, out), with_kwargs=True, always_call=True),
        register(lambda m, args, out: log("plain")),
    ):
        log.error(Fails(), torch.ones(1), k=3)
        log(torch.nn.Identity()(torch.ones(1)))


def global_backward_hooks_replace_gradients(torch, log):
    module = torch.nn.modules.module
    m = torch.nn.Tanh()
    m.register_full_backward_hook(lambda m, gi, go: log("own", gi, go))
    x = torch.ones(1, requires_grad=True)
    with _removed(
        module.register_module_full_backward_pre_hook(lambda m, go: (go[0] * 10,)),
        module.register_module_full_backward_hook(lambda m, gi, go: (gi[0] * 0 + 1,)),
    ):
        m(x).sum().backward()
    log("grad", x.grad)


def global_legacy_backward_hook(torch, log):
    module = torch.nn.modules.module
    with _removed(module.register_module_backward_hook(lambda m, gi, go: log("legacy", gi, go))):
        torch.nn.Tanh()(torch.ones(1, requires_grad=True)).sum().backward()


def registration_hooks_for_parameters(torch, log):
    nn = torch.nn

    def seen(m, name, p):
        log("parameter", type(m).__name__, name, p)

    with _removed(nn.modules.module.register_module_parameter_registration_hook(seen)):
        m = nn.Module()
        m.weight = nn.Parameter(torch.ones(1))
        m.register_parameter("bias", None)
        m.weight = None
        m.weight = nn.Parameter(torch.zeros(1))


def registration_hooks_for_buffers(torch, log):
    nn = torch.nn

    def seen(m, name, b):
        log("buffer", name, b)

    with _removed(nn.modules.module.register_module_buffer_registration_hook(seen)):
        m = nn.Module()
        m.register_buffer("count", torch.zeros(1))
        m.count = torch.ones(1)
        m.other = nn.Buffer(torch.ones(1))
        m.register_buffer("none", None)


def registration_hooks_for_modules(torch, log):
    nn = torch.nn

    def seen(m, name, child):
        log("module", type(m).__name__, name, type(child).__name__)

    with _removed(nn.modules.module.register_module_module_registration_hook(seen)):
        m = nn.Sequential(nn.ReLU())
        m.extra = nn.Tanh()
        m.add_module("none", None)
        nn.ModuleList([nn.ReLU()]).append(nn.ReLU())


def registration_hooks_replace_what_is_registered(torch, log):
    module = torch.nn.modules.module
    nn = torch.nn
    with _removed(
        module.register_module_parameter_registration_hook(lambda m, n, p: nn.Parameter(p.detach() * 10)),
        module.register_module_buffer_registration_hook(lambda m, n, b: b + 1),
        module.register_module_module_registration_hook(lambda m, n, c: nn.Tanh()),
    ):
        m = nn.Module()
        m.p = nn.Parameter(torch.ones(1))
        m.register_buffer("b", torch.ones(1))
        m.c = nn.ReLU()
    log(m.p, m.b, type(m.c).__name__)


def global_hooks_changed_while_running(torch, log):
    register = torch.nn.modules.module.register_module_forward_pre_hook
    handles = []

    def meddle(m, args):
        log("meddle")
        for handle in handles:
            handle.remove()
        handles.append(register(lambda m, args: log("late")))

    handles.append(register(meddle))
    handles.append(register(lambda m, args: log("removed")))
    try:
        torch.nn.Identity()(1)
        torch.nn.Identity()(1)
    finally:
        for handle in handles:
            handle.remove()


def global_tables_assigned_anew(torch, log):
    names = torch.nn.modules.module
    m = torch.nn.Identity()

    def run(what):
        log(what)
        m(torch.ones(1, requires_grad=True)).sum().backward()

    names.register_module_forward_pre_hook(log.hook("pre"))
    names.register_module_forward_hook(log.hook("post"), always_call=True)
    names.register_module_full_backward_hook(log.hook("backward"))
    run("registered")
    log(len(names._global_forward_hooks), len(names._global_forward_hooks_always_called))
    for table in "forward_pre_hooks", "forward_hooks", "backward_hooks":
        setattr(names, "_global_" + table, OrderedDict())
    run("assigned")
    log(names._global_is_full_backward_hook)
    names._global_is_full_backward_hook = None
    handle = names.register_module_backward_hook(log.hook("legacy"))
    log(names._global_is_full_backward_hook)
    handle.remove()
    names._global_is_full_backward_hook = None


def hooks_of_a_modules_backward(torch, log):
    names = torch.nn.modules.module
    m, n = torch.nn.Identity(), torch.nn.Identity()
    m.register_full_backward_hook(log.hook("full"))
    m.register_full_backward_pre_hook(log.hook("pre"))
    n.register_backward_hook(log.hook("legacy"))
    with _removed(names.register_module_full_backward_hook(log.hook("global"))):
        for module in m, n:
            full, legacy = module._get_backward_hooks()
            log([f.__name__ for f in full], [f.__name__ for f in legacy])
            log([f.__name__ for f in module._get_backward_pre_hooks()])
    names._global_is_full_backward_hook = None
