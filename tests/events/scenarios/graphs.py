"""Hooks on several tensors, edges of the graph, and views with all they forbid."""


def _leaf(torch, *values):
    return torch.tensor(values or (1.0, 2.0), requires_grad=True)


def multi_grad_hook_gets_all_gradients(torch, log):
    a, b, c = _leaf(torch), _leaf(torch), _leaf(torch)
    d = a * b
    handle = torch.autograd.graph.register_multi_grad_hook((a, b, c, d), lambda grads: log("all", grads))
    (d * c).sum().backward(retain_graph=True)
    d.sum().backward(retain_graph=True)
    (d * c).sum().backward(inputs=[a])
    handle.remove()
    (a * b).sum().backward()
    log("end")


def multi_grad_hook_gets_any_gradient(torch, log):
    a, b = _leaf(torch), _leaf(torch)
    c = a * b
    torch.autograd.graph.register_multi_grad_hook((a, b, c), lambda grad: log("any", grad), mode="any")
    for _ in range(2):
        c.sum().backward(retain_graph=True)


def multi_grad_hook_that_raises(torch, log):
    a, b = _leaf(torch), _leaf(torch)

    def stop(grads):
        raise KeyError("stop")

    handle = torch.autograd.graph.register_multi_grad_hook((a, b), stop)
    log.error((a * b).sum().backward)
    handle.remove()
    (a * b).sum().backward()
    log.error(torch.autograd.graph.register_multi_grad_hook, (a, b), stop, mode="some")


def multi_grad_hooks_nest(torch, log):
    a, b = _leaf(torch), _leaf(torch)

    def outer(grads):
        log("outer", grads)
        if len(log.lines) < 3:
            with torch.enable_grad():
                (a * b * 2).sum().backward()

    torch.autograd.graph.register_multi_grad_hook((a, b), outer)
    (a * b).sum().backward()


def gradient_edges(torch, log):
    graph = torch.autograd.graph
    x = _leaf(torch)
    y = x * 2
    edge, leaf = graph.get_gradient_edge(y), graph.get_gradient_edge(x)
    log(edge.node, edge.output_nr, leaf.node)
    z = (y * y).sum()
    del y
    log(torch.autograd.grad(z, (edge, leaf), retain_graph=True))
    log(torch.autograd.grad(edge, x, torch.ones(2), retain_graph=True))
    torch.autograd.backward(edge, torch.ones(2))
    log(x.grad)
    log.error(graph.get_gradient_edge, torch.ones(2))


def versions(torch, log):
    x = _leaf(torch)
    y = x * 1
    view = y[0]
    log(y._version, view._version)
    view.add_(1)
    y.mul_(2)
    log(y._version, view._version, y.detach()._version)
    torch.autograd.graph.increment_version(y)
    log(y._version, view._version)


def in_place_on_leaves(torch, log):
    x = _leaf(torch)
    log.error(x.add_, 1)
    log.error(x[0].add_, 1)
    log.error(x.view(2, 1).mul_, 2)
    with torch.no_grad():
        x.add_(1)
    log(x, x._version)


def in_place_on_views_that_cannot_be(torch, log):
    x = _leaf(torch) * 1
    a, b = x.unbind()
    log.error(a.add_, 1)
    with torch.no_grad():
        view = x.view(2, 1)
    log.error(view.add_, 1)
    log.error(x.expand(2, 2).add_, 1)


def in_place_on_a_chain_of_views(torch, log):
    x = _leaf(torch, 1.0, 2.0, 3.0, 4.0)
    y = x * 1
    square = y.view(2, 2)
    row = square[1]
    row.mul_(10)
    log(y, y.grad_fn, square.grad_fn, row.grad_fn)
    (y * y).sum().backward()
    log(x.grad)


def in_place_with_a_tensor_that_needs_a_gradient(torch, log):
    base = torch.zeros(4)
    x = _leaf(torch)
    base[1:3] = x
    log(base, base.requires_grad, base.grad_fn)
    base[0] = x[1] * 3
    (base * base).sum().backward()
    log(x.grad)


def detached_memory_is_shared(torch, log):
    x = _leaf(torch)
    y = x * x
    d = x.detach()
    d.mul_(2)
    log.error(y.sum().backward)


def changes_through_data_go_unseen(torch, log):
    x = _leaf(torch)
    y = x * x
    x.data.mul_(10)
    log(x, x._version)
    y.sum().backward()
    log(x.grad)


def callbacks_at_the_end_of_a_backward(torch, log):
    x = _leaf(torch)
    engine = torch.autograd.Variable._execution_engine

    def queue(grad):
        log("hook", x.grad)
        engine.queue_callback(lambda: log("at the end", x.grad))

    x.register_hook(queue)
    (x * 2).sum().backward()
    log.error(engine.queue_callback, lambda: None)


def anomalies(torch, log):
    x = _leaf(torch, 0.0, 4.0)

    def where(function):
        with torch.autograd.detect_anomaly():
            function()

    log.error(where, lambda: (x.sqrt() * 0).sum().backward())
    log.error(where, lambda: x.exp().sum().backward())
    y = (x.sqrt() * 0).sum()
    log.error(where, y.backward)


def errors_of_backward(torch, log):
    x = _leaf(torch)
    log.error((x * 2).backward)
    log.error((x * 2).backward, torch.ones(3))
    log.error(torch.ones(1).backward)
    log.error(torch.autograd.backward, ())
    log.error(torch.autograd.grad, (x * 2).sum(), torch.ones(1))
    log.error(torch.autograd.grad, torch.ones(1), x)
    log.error(torch.autograd.grad, (x * 2).sum(), x, materialize_grads=True, allow_unused=False)
    log.error((x * 2).sum().backward, inputs=[])


def modes_of_gradients(torch, log):
    x = _leaf(torch)
    with torch.no_grad():
        log((x * 2).requires_grad, torch.is_grad_enabled())
        with torch.enable_grad():
            log((x * 2).requires_grad)
    with torch.inference_mode():
        t = x * 2
    log(t.is_inference(), t.requires_grad)
    log.error(t.add_, 1)
    log.error(lambda: x * t)
    with torch.set_grad_enabled(False):
        log((x * 2).requires_grad)


def which_nodes_a_backward_will_run(torch, log):
    """Asked from within a hook; a leaf cannot be asked for under grad(), which does not run it."""
    will_run = torch._C._will_engine_execute_node
    x, y = _leaf(torch), _leaf(torch)
    product = x * y
    out = product * 2
    nodes = [torch.autograd.graph.get_gradient_edge(t).node for t in (x, y, product, out)]

    def ask(grad):
        for node in nodes:
            try:
                log(node.name(), will_run(node))
            except RuntimeError as error:
                log(node.name(), str(error))

    out.register_hook(ask)
    out.sum().backward(retain_graph=True)
    out.sum().backward(inputs=[x], retain_graph=True)
    for inputs in ((product,), (x,), (x, product)):
        torch.autograd.grad(out.sum(), inputs, retain_graph=True)
    torch.autograd.graph.register_multi_grad_hook((x, product), log)
    log.error(torch.autograd.grad, out.sum(), x)


def what_a_hook_leaves_on_is_forgotten_with_its_node(torch, log):
    """Scopes begun in a hook and never ended hold for the rest of that node, and for nothing after it."""
    graph = torch.autograd.graph

    class Functions(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func.__name__ == "mul":
                log("function", func.__name__)
            return func(*args, **(kwargs or {}))

    class Ops(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if "mul" in str(func):
                log("op", str(func))
            return func(*args, **(kwargs or {}))

    def pack(tensor):
        log("pack", tensor)
        return tensor

    def look(where):
        with torch.enable_grad():
            x = _leaf(torch)
            x * x
            try:
                with graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                    pass
            except RuntimeError as error:
                log(str(error))
        log(where, torch.is_grad_enabled(), torch.is_inference_mode_enabled(), (_leaf(torch) * 2).requires_grad)

    scopes = {
        "gradients": torch.enable_grad,
        "packing": lambda: graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        "no packing": lambda: graph.disable_saved_tensors_hooks("not here"),
        "functions": Functions,
        "ops": Ops,
    }
    for name, scope in scopes.items():
        log(name)
        kept = []

        def begin(grad, kept=kept, scope=scope):
            kept.append(scope())
            kept[0].__enter__()

        x = _leaf(torch)
        middle = x * 2
        out = middle * 3
        out.register_hook(begin)
        out.register_hook(lambda grad: look("same node"))
        middle.register_hook(lambda grad: look("next node"))
        x.register_hook(lambda grad: look("leaf"))
        out.sum().backward()
        look("after")
        if name in ("functions", "ops"):
            log.error(kept[0].__exit__, None, None, None)


def what_a_hook_ends_is_on_again_for_the_next_node(torch, log):
    def pack(tensor):
        log("pack", tensor)
        return tensor

    def look(where):
        with torch.enable_grad():
            x = _leaf(torch)
            log(where)
            x * x

    scope = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    x = _leaf(torch)
    middle = x * 2
    out = middle * 3
    out.register_hook(lambda grad: scope.__exit__(None, None, None))
    out.register_hook(lambda grad: look("same node"))
    middle.register_hook(lambda grad: look("next node"))
    scope.__enter__()
    out.sum().backward()
    look("after")
    scope.__exit__(None, None, None)
    look("end")
