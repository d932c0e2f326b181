"""Hooks on what nodes save."""


def _leaf(torch, *values):
    return torch.tensor(values or (1.0, 2.0), requires_grad=True)


def _hooks(torch, log, name=""):
    def pack(t):
        log("pack" + name, t, t.is_leaf, torch.is_grad_enabled())
        return t.detach() * 1

    def unpack(t):
        log("unpack" + name, t, torch.is_grad_enabled())
        return t

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


def saved_tensors_are_packed_and_unpacked(torch, log):
    x, w = _leaf(torch), _leaf(torch, 3.0, 4.0)
    with _hooks(torch, log):
        y = (x * w).exp()
        z = y + 1
        z = z * 2
    z.sum().backward()
    log("grads", x.grad, w.grad)


def the_same_tensor_is_packed_twice(torch, log):
    x = _leaf(torch)
    with _hooks(torch, log):
        y = x * x
    y.sum().backward()


def nothing_is_packed_without_gradients(torch, log):
    with _hooks(torch, log):
        torch.ones(2) * torch.ones(2)
        with torch.no_grad():
            _leaf(torch).exp()
    log("end")


def the_innermost_hooks_count(torch, log):
    x = _leaf(torch)
    with _hooks(torch, log, " outer"):
        a = x.exp()
        with _hooks(torch, log, " inner"):
            b = x.exp()
        c = x.exp()
    (a + b + c).sum().backward()


def layers_under_saved_tensor_hooks(torch, log):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))
    n = [0, 0]

    def pack(t):
        n[0] += 1
        return t

    def unpack(t):
        n[1] += 1
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        out = model(torch.ones(1, 2)).sum()
    out.backward()
    log("as many out as in", n[0] == n[1], model[0].bias.grad)


def a_pack_hook_that_raises(torch, log):
    def pack(t):
        raise KeyError("pack")

    x = _leaf(torch)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        log.error(x.exp)
    x.exp().sum().backward()
    log("usable", x.grad)


def an_unpack_hook_that_raises(torch, log):
    def unpack(t):
        raise KeyError("unpack")

    x = _leaf(torch)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, unpack):
        y = x.exp()
    log.error(y.sum().backward)


def an_unpack_hook_that_returns_no_tensor(torch, log):
    x = _leaf(torch)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: 3):
        y = x.exp()
    log.error(y.sum().backward)


def a_pack_hook_may_not_write(torch, log):
    x = _leaf(torch)
    y = x * 1
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.mul_(2), lambda t: t):
        log.error(lambda: y * x)


def packed_as_anything(torch, log):
    x = _leaf(torch)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), lambda numbers: torch.tensor(numbers)):
        y = x.exp()
    y.sum().backward()
    log(x.grad)


def disabled_saved_tensor_hooks(torch, log):
    graph = torch.autograd.graph
    with graph.disable_saved_tensors_hooks("not here"):
        log.error(_hooks(torch, log).__enter__)
        log(_leaf(torch).exp().grad_fn._saved_result)
    with _hooks(torch, log):
        log.error(graph.disable_saved_tensors_hooks("not now").__enter__)
    with _hooks(torch, log):
        log("allowed again")


def saving_on_the_cpu(torch, log):
    x = _leaf(torch)
    with torch.autograd.graph.save_on_cpu():
        y = (x * x).exp()
    y.sum().backward()
    log(x.grad)


def hooks_on_one_saved_tensor(torch, log):
    x = _leaf(torch)
    y = x.exp()
    y.grad_fn._raw_saved_result.register_hooks(lambda t: log("pack", t) or t * 2, lambda t: log("unpack", t) or t)
    y.sum().backward()
    log(x.grad)


def hooks_on_one_saved_tensor_that_cannot_be(torch, log):
    x = _leaf(torch)
    y = x * x
    raw = y.grad_fn._raw_saved_self
    raw.register_hooks(lambda t: t, lambda t: t)
    log.error(raw.register_hooks, lambda t: t, lambda t: t)
    log.error((x * 2).grad_fn._raw_saved_self.register_hooks, lambda t: t, lambda t: t)
    z = x.exp()
    z.sum().backward()
    log.error(z.grad_fn._raw_saved_result.register_hooks, lambda t: t, lambda t: t)


def mutation_of_saved_tensors_allowed(torch, log):
    graph = torch.autograd.graph
    with graph.allow_mutation_on_saved_tensors():
        a = torch.ones(2, requires_grad=True)
        b = a.clone()
        out = (b**2).sum()
        b.sin_()
        out.backward()
        log(a.grad, b)
    b = a.clone()
    out = (b**2).sum()
    b.sin_()
    log.error(out.backward)


def saved_tensors_of_a_second_backward(torch, log):
    x = _leaf(torch)
    with _hooks(torch, log):
        (g,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    log("first", g)
    g.sum().backward()
    log("second", x.grad)


def a_saved_tensor_modified_in_place(torch, log):
    x = _leaf(torch)
    y = x * 1
    z = y * y
    y += 1
    log.error(z.sum().backward)
    y = x.exp()
    y.mul_(2)
    log.error(y.sum().backward)
