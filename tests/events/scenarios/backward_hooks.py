"""Full backward hooks and pre-hooks of modules, and the legacy ones."""


def _linear(torch, n_in=2, n_out=1):
    m = torch.nn.Linear(n_in, n_out)
    with torch.no_grad():
        for p in m.parameters():
            p.copy_(torch.arange(1.0, p.numel() + 1).view(p.shape))
    return m


def _input(torch, *shape):
    shape = shape or (1, 2)
    n = 1
    for size in shape:
        n *= size
    return torch.arange(1.0, n + 1).view(shape).requires_grad_()


def full_backward_hooks_of_a_layer(torch, log):
    m = _linear(torch)
    m.register_full_backward_pre_hook(lambda m, go: log("pre", go))
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    m.weight.register_hook(lambda g: log("weight", g))
    x = _input(torch)
    x.register_hook(lambda g: log("x", g))
    y = m(x)
    y.register_hook(lambda g: log("y", g))
    y.sum().backward()


def order_and_prepend_of_backward_hooks(torch, log):
    m = _linear(torch)
    for name in ("1", "2"):
        m.register_full_backward_pre_hook(lambda m, go, name=name: log("pre", name))
        m.register_full_backward_hook(lambda m, gi, go, name=name: log("hook", name))
    m.register_full_backward_pre_hook(lambda m, go: log("pre 0"), prepend=True)
    m.register_full_backward_hook(lambda m, gi, go: log("hook 0"), prepend=True)
    m(_input(torch)).sum().backward()


def backward_pre_hook_replaces_grad_output(torch, log):
    m = _linear(torch)
    m.register_full_backward_pre_hook(lambda m, go: (go[0] * 10,))
    m.register_full_backward_pre_hook(lambda m, go: go[0] * 10)
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    x = _input(torch)
    m(x).sum().backward()
    log("grads", x.grad, m.weight.grad)


def backward_hook_replaces_grad_input(torch, log):
    m = _linear(torch)
    m.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10,))
    m.register_full_backward_hook(lambda m, gi, go: log("second", gi))
    x = _input(torch)
    m(x).sum().backward()
    log("grads", x.grad, m.weight.grad)


def backward_hook_with_the_wrong_number_of_gradients(torch, log):
    for bad in (lambda m, gi, go: (), lambda m, gi, go: gi + gi, lambda m, gi, go: 3):
        m = _linear(torch)
        m.register_full_backward_hook(bad)
        log.error(m(_input(torch)).sum().backward)
    for bad in (lambda m, go: (), lambda m, go: go + go):
        m = _linear(torch)
        m.register_full_backward_pre_hook(bad)
        log.error(m(_input(torch)).sum().backward)


def backward_hook_that_raises(torch, log):
    m = _linear(torch)

    def stop(m, gi, go):
        raise KeyError("stop")

    handle = m.register_full_backward_hook(stop)
    x = _input(torch)
    log.error(m(x).sum().backward)
    handle.remove()
    m(x).sum().backward()
    log("usable", x.grad)


def no_input_needs_a_gradient(torch, log):
    m = _linear(torch)
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    m.register_full_backward_pre_hook(lambda m, go: log("pre", go))
    m(torch.ones(1, 2)).sum().backward()


def inputs_by_keyword(torch, log):
    class Scale(torch.nn.Module):
        def forward(self, x, by=None):
            return x * by

    m = Scale()
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    x, by = _input(torch), _input(torch)
    m(x, by=by).sum().backward()
    log("grads", x.grad, by.grad)
    m(x=x, by=by).sum().backward()


def several_inputs_of_which_some_need_a_gradient(torch, log):
    class Sum(torch.nn.Module):
        def forward(self, a, b, c, d):
            return a * b + c

    m = Sum()
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    a, b, c = _input(torch), torch.ones(1, 2), _input(torch)
    m(a, b, c, "text").sum().backward()
    log("grads", a.grad, c.grad)


def several_outputs_of_which_some_are_used(torch, log):
    class Two(torch.nn.Module):
        def forward(self, x):
            return x * 2, x * 3, "text"

    m = Two()
    m.register_full_backward_pre_hook(lambda m, go: log("pre", go))
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    a, b, _ = m(_input(torch))
    log(a.grad_fn.name(), a.grad_fn is b.grad_fn)
    a.sum().backward()


def outputs_without_gradient(torch, log):
    class Detach(torch.nn.Module):
        def forward(self, x):
            return x.detach(), x * 2

    m = Detach()
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    a, b = m(_input(torch))
    log(a.requires_grad, b.requires_grad)
    b.sum().backward()


def outputs_in_a_dict(torch, log):
    class AsDict(torch.nn.Module):
        def forward(self, x):
            return {"y": x * 2}

    m = AsDict()
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    m.register_full_backward_pre_hook(lambda m, go: log("pre", go))
    m(_input(torch))["y"].sum().backward()


def outputs_in_a_named_tuple(torch, log):
    from collections import namedtuple

    pair = namedtuple("pair", "a b")

    class Named(torch.nn.Module):
        def forward(self, x):
            return pair(x * 2, x * 3)

    m = Named()
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    out = m(_input(torch))
    log(type(out).__name__)
    (out[0] + out[1]).sum().backward()


def outputs_in_a_list(torch, log):
    class Listed(torch.nn.Module):
        def forward(self, x):
            return [x * 2, x * 3]

    m = Listed()
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    out = m(_input(torch))
    log(type(out).__name__)
    (out[0] + out[1]).sum().backward()


def a_module_called_twice_in_one_forward(torch, log):
    m = _linear(torch, 2, 2)
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    m.register_full_backward_pre_hook(lambda m, go: log("pre", go))
    m(m(_input(torch))).sum().backward()


def nested_backward_hooks(torch, log):
    nn = torch.nn
    m = nn.Sequential(_linear(torch, 2, 2), nn.Sequential(nn.Tanh(), _linear(torch, 2, 1)))
    for name, module in m.named_modules():
        module.register_full_backward_pre_hook(lambda m, go, name=name: log("enter", name, go))
        module.register_full_backward_hook(lambda m, gi, go, name=name: log("leave", name, gi))
    m(_input(torch)).sum().backward()


def identity_under_a_backward_hook(torch, log):
    m = torch.nn.Identity()
    x = _input(torch)
    log(m(x) is x)
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    y = m(x)
    log(y is x, y.grad_fn.name())
    y.sum().backward()


def backward_hooks_and_no_grad(torch, log):
    m = _linear(torch)
    m.register_full_backward_hook(lambda m, gi, go: log("hook"))
    with torch.no_grad():
        y = m(_input(torch))
    log(y.requires_grad, y.grad_fn)


def backward_hooks_added_after_the_forward(torch, log):
    m = _linear(torch)
    y = m(_input(torch))
    m.register_full_backward_hook(lambda m, gi, go: log("too late"))
    y.sum().backward()
    m(_input(torch)).sum().backward()


def backward_hooks_removed_before_the_backward(torch, log):
    m = _linear(torch)
    handle = m.register_full_backward_hook(lambda m, gi, go: log("removed", gi))
    y = m(_input(torch))
    handle.remove()
    y.sum().backward()


def backward_hooks_in_double_backward(torch, log):
    m = torch.nn.Tanh()
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    x = _input(torch)
    (g,) = torch.autograd.grad(m(x).sum(), x, create_graph=True)
    log("g", g)
    g.sum().backward()
    log("grad", x.grad)


def backward_hooks_over_retained_graphs(torch, log):
    m = _linear(torch)
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    y = m(_input(torch))
    y.sum().backward(retain_graph=True)
    (y * 2).sum().backward()


def legacy_backward_hooks(torch, log):
    m = _linear(torch)
    m.register_backward_hook(lambda m, gi, go: log("legacy", go))
    m(_input(torch)).sum().backward()
    log.error(m.register_full_backward_hook, lambda *a: None)


def legacy_backward_hook_after_a_full_one(torch, log):
    m = _linear(torch)
    m.register_full_backward_hook(lambda *a: None)
    log.error(m.register_backward_hook, lambda *a: None)


def legacy_backward_hook_on_several_nodes(torch, log):
    m = torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Sigmoid())
    m.register_backward_hook(lambda m, gi, go: log("legacy", gi, go))
    m(_input(torch)).sum().backward()


def legacy_backward_hook_replaces_the_gradient(torch, log):
    m = torch.nn.Tanh()
    m.register_backward_hook(lambda m, gi, go: (gi[0] * 10,))
    x = _input(torch)
    m(x).sum().backward()
    log("grad", x.grad)


def backward_from_within_a_backward_hook(torch, log):
    m, other = _linear(torch), _linear(torch)

    def inner(m, gi, go):
        with torch.enable_grad():
            other(torch.ones(1, 2)).sum().backward()
        log("inner", other.weight.grad)

    m.register_full_backward_hook(inner)
    x = _input(torch)
    m(x).sum().backward()
    log("grad", x.grad)


def parameters_and_activations_together(torch, log):
    m = _linear(torch, 2, 2)
    m.register_forward_hook(lambda m, args, out: out.register_hook(lambda g: log("activation", g)) and None)
    m.register_full_backward_hook(lambda m, gi, go: log("module", go))
    for name, p in m.named_parameters():
        p.register_hook(lambda g, name=name: log(name, g))
        p.register_post_accumulate_grad_hook(lambda p, name=name: log(name, "accumulated", p.grad))
    m(torch.ones(1, 2)).sum().backward()


def legacy_hooks_hang_on_the_first_tensor_of_any_output(torch, log):
    class Gives(torch.nn.Module):
        def __init__(self, make):
            super().__init__()
            self.make = make

        def forward(self, x):
            return self.make(x)

    outputs = {
        "dict": lambda x: {"n": 3, "a": x * 2, "b": x * 3},
        "list": lambda x: [x * 2, x * 3],
        "nested": lambda x: ([x * 2], x * 3),
        "empty tuple": lambda x: (),
        "empty list": lambda x: [],
        "dict without tensors": lambda x: {"n": 3},
        "number": lambda x: 3,
        "nothing": lambda x: None,
    }
    for name, make in outputs.items():
        m = Gives(make)
        m.register_backward_hook(log.hook("legacy"))

        def run(m=m):
            out = m(_input(torch))
            while not hasattr(out, "backward"):
                out = out["a"] if isinstance(out, dict) else out[0]
            out.sum().backward()

        log(name)
        log.error(run)


def legacy_hooks_warn_where_an_edge_leads_nowhere(torch, log):
    class Twice(torch.nn.Module):
        def forward(self, x, y):
            return x * y

    m = Twice()
    m.register_backward_hook(log.hook("legacy"))
    x = _input(torch) * 1
    m(x, 2.0).sum().backward()
    m(x.detach().requires_grad_() * 1, torch.ones(1)).sum().backward()
    m(x.detach().requires_grad_() * 1, x.detach().requires_grad_() * 1).sum().backward()


def warnings_of_legacy_hooks_given_by_hand(torch, log):
    m, x = torch.nn.Module(), _input(torch) * 1
    y, z = x * x, x.exp()
    warn = m._maybe_warn_non_full_backward_hook
    for inputs, result, node in (
        (x, y, y.grad_fn),
        ((x, x), (y,), y.grad_fn),
        (x, (y, z), y.grad_fn),
        (x, [y], y.grad_fn),
        ([x], y, y.grad_fn),
        ({}, z, z.grad_fn),
        (y, z, z.grad_fn),
    ):
        log(warn(inputs, result, node))


def a_full_backward_hook_may_leave_the_next_one_none(torch, log):
    m = torch.nn.Identity()
    m.register_full_backward_hook(log.hook("first", lambda grad_output: (None,)))
    m.register_full_backward_hook(log.hook("second"))
    x = _input(torch)
    m(x).sum().backward()
    log(x.grad)


def node_hooks_see_gradients_of_their_inputs_shape(torch, log):
    m = _linear(torch)
    m.register_backward_hook(log.hook("legacy"))
    m(torch.ones(3, 2, requires_grad=True)).sum().backward()
    b = torch.ones(2, requires_grad=True)
    out = b + torch.ones(3, 2)
    out.grad_fn.register_hook(log.hook("node"))
    out.sum().backward()


# What follows PyTorch refuses: see docs/differences.md.


def an_activation_in_place_under_a_full_backward_hook(torch, log):
    nn = torch.nn
    for inplace in (False, True):
        m = nn.Sequential(_linear(torch, 2, 2), nn.ReLU(inplace=inplace), _linear(torch, 2, 1))
        for module in m.modules():
            module.register_full_backward_hook(lambda m, gi, go: log(type(m).__name__, gi, go))
        x = _input(torch)
        log.error(lambda m=m, x=x: m(x).sum().backward())
        log(x.grad)


def an_output_changed_in_place_under_a_full_backward_hook(torch, log):
    m = _linear(torch)
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    x = _input(torch)

    def change():
        y = m(x)
        y += 1
        y *= 2
        y.sum().backward()

    log.error(change)
    log(x.grad)


def an_input_changed_in_place_under_a_full_backward_hook(torch, log):
    class Add(torch.nn.Module):
        def forward(self, x):
            x += 1
            return x * x

    m = Add()
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    x = _input(torch)
    log.error(lambda: m(x * 1).sum().backward())
    log(x.grad)


def a_legacy_hook_outlives_its_module(torch, log):
    m = _linear(torch)
    m.register_backward_hook(lambda m, gi, go: log("hook"))
    y = m(_input(torch))
    del m
    log.error(y.sum().backward)
