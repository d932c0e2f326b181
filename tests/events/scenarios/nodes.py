"""Hooks on nodes of the graph."""


def _leaf(torch, *values):
    return torch.tensor(values or (1.0, 2.0), requires_grad=True)


def node_hook_sees_both_sides(torch, log):
    x, w = _leaf(torch), _leaf(torch, 3.0, 4.0)
    y = x * w
    y.grad_fn.register_hook(log.hook("mul"))
    y.sum().backward()


def node_hook_replaces_what_goes_on(torch, log):
    x, w = _leaf(torch), _leaf(torch, 3.0, 4.0)
    y = x * w
    y.grad_fn.register_hook(lambda gi, go: (gi[0] * 10, gi[1]))
    y.grad_fn.register_hook(log.hook("second"))
    y.sum().backward()
    log("grads", x.grad, w.grad)


def node_prehook_replaces_what_comes(torch, log):
    x = _leaf(torch)
    y = x * 2
    y.grad_fn.register_prehook(lambda go: (go[0] * 10,))
    y.grad_fn.register_prehook(log.hook("second"))
    y.register_hook(log.hook("tensor"))
    y.retain_grad()
    y.sum().backward()
    log("grads", y.grad, x.grad)


def node_hooks_with_wrong_results(torch, log):
    x = _leaf(torch)
    for bad in (lambda gi, go: 3, lambda gi, go: (), lambda gi, go: (torch.ones(3), None), lambda gi, go: (1, 2)):
        y = x.exp()
        y.grad_fn.register_hook(bad)
        log.error(y.sum().backward)
    for bad in (lambda go: 3, lambda go: (), lambda go: (torch.ones(3),)):
        y = x.exp()
        y.grad_fn.register_prehook(bad)
        log.error(y.sum().backward)


def accumulator_hooks(torch, log):
    x = _leaf(torch)
    node = (x * 2).grad_fn.next_functions[0][0]
    log(node.name(), node.variable is x)
    x.register_hook(log.hook("tensor"))
    node.register_prehook(lambda go: log("prehook", go, x.grad))
    x.register_post_accumulate_grad_hook(lambda t: log("post", t.grad))
    node.register_hook(lambda gi, go: log("hook", gi, go, x.grad))
    (x * 3).sum().backward()


def accumulator_prehook_changes_what_is_accumulated(torch, log):
    x = _leaf(torch)
    node = (x * 2).grad_fn.next_functions[0][0]
    node.register_prehook(lambda go: (go[0] * 100,))
    (x * 3).sum().backward()
    log("grad", x.grad)


def removed_node_hooks_do_not_run(torch, log):
    x = _leaf(torch)
    y = x * 2
    a = y.grad_fn.register_hook(log.hook("a"))
    b = y.grad_fn.register_prehook(log.hook("b"))
    y.sum().backward(retain_graph=True)
    a.remove()
    b.remove()
    y.sum().backward()
    log("end")


def node_hook_that_raises(torch, log):
    x = _leaf(torch)
    y = x.exp()

    def stop(*args):
        raise ValueError("stop")

    handle = y.grad_fn.register_prehook(stop)
    log.error(y.sum().backward)
    handle.remove()
    y.sum().backward()
    log("usable", x.grad)


def the_graph_can_be_walked(torch, log):
    x, w = _leaf(torch), _leaf(torch)
    z = ((x * w) + x.exp().detach() * w).sum()
    todo = [z.grad_fn]
    while todo:
        node = todo.pop(0)
        log(node.name(), [(n.name(), nr) if n is not None else None for n, nr in node.next_functions])
        todo += [n for n, _ in node.next_functions if n is not None]


def what_nodes_saved(torch, log):
    x = _leaf(torch)
    y = x.exp()
    z = y * x
    log(y.grad_fn._saved_result, z.grad_fn._saved_self, z.grad_fn._saved_other is x)
    z.sum().backward()
    log.error(lambda: z.grad_fn._saved_self)


def saved_results_without_a_gradient_are_constants(torch, log):
    F = torch.nn.functional
    x = _leaf(torch, 1.0, 3.0)
    for hooked in (False, True):
        with torch.autograd.graph.saved_tensors_hooks(*[lambda t: t] * 2) if hooked else torch.enable_grad():
            outs = (
                F.layer_norm(x, (2,)),
                F.batch_norm(x.view(2, 1), None, None, training=True),
                F.nll_loss(x.view(1, 2), torch.tensor([0])),
            )
        for out, names in zip(outs, (["result1", "result2"], ["result1", "result2"], ["total_weight"])):
            for name in names:
                saved = getattr(out.grad_fn, "_saved_" + name)
                log(out.grad_fn.name(), name, saved, saved.requires_grad, saved.grad_fn)
    log(x.exp().grad_fn._saved_result.grad_fn.name())


def several_outputs_of_a_node(torch, log):
    x = _leaf(torch, 3.0, 1.0, 2.0)
    a, b, c = x.unbind()
    a.grad_fn.register_prehook(log.hook("prehook"))
    a.grad_fn.register_hook(log.hook("hook"))
    log(a.grad_fn is b.grad_fn, [t.output_nr for t in (a, b, c)])
    (a + c).backward()


def order_of_independent_branches(torch, log):
    x, y, z = _leaf(torch), _leaf(torch), _leaf(torch)
    for name, t in (("x", x), ("y", y), ("z", z)):
        t.register_hook(log.hook(name))
    a, b, c = z * 1, y * 2, x * 3
    for name, t in (("a", a), ("b", b), ("c", c)):
        t.register_hook(log.hook(name))
    (a + b + c).sum().backward()


def node_metadata_is_a_dict(torch, log):
    y = _leaf(torch) * 2
    y.grad_fn.metadata["mine"] = 3
    log(y.grad_fn.metadata)


def unneeded_inputs_of_a_node(torch, log):
    x, fixed = _leaf(torch), torch.ones(2)
    y = fixed * x
    y.grad_fn.register_hook(log.hook("mul"))
    log([n is None for n, _ in y.grad_fn.next_functions])
    y.sum().backward()


def nodes_called_as_functions(torch, log):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    ones = torch.ones(2)
    y = x * 2
    y.grad_fn.register_hook(log.hook("never"))
    log(y.grad_fn(ones), y.grad_fn(None), x.sum().grad_fn(ones[0]))
    log(x.split(1)[0].grad_fn(ones[:1], None))
    accumulate = y.grad_fn.next_functions[0][0]
    accumulate(ones)
    accumulate(ones)
    log(x.grad)
    log(x.exp().grad_fn(ones.clone().requires_grad_()))
    log.error(y.grad_fn)
    log.error(y.grad_fn, 3)
    square = x * x
    square.sum().backward()
    log.error(square.grad_fn, ones)


def what_a_node_hook_is_given_fits_the_inputs(torch, log):
    """Gradients are summed to the inputs' shapes and cast before the node's hooks see them."""
    wide, one = torch.ones(3, requires_grad=True), torch.ones(1, requires_grad=True)
    double = torch.ones(3, dtype=torch.float64, requires_grad=True)
    for y in (
        wide + one,
        one * wide,
        wide * double,
        one.expand(3),
        wide / one,
        torch.where(wide > 0, wide, one),
        torch.addmm(one, torch.ones(2, 3), torch.ones(3, 2)),
    ):
        y.grad_fn.register_hook(
            lambda grad_inputs, grad_outputs: log(
                [g if g is None else (g, str(g.dtype)) for g in grad_inputs], grad_outputs
            )
        )
        y.sum().backward()


def a_node_hook_reads_what_its_node_saved(torch, log):
    x = torch.ones(2, requires_grad=True)
    y = x.exp()
    node = y.grad_fn
    node.register_hook(lambda grad_inputs, grad_outputs: log(node._saved_result))
    y.sum().backward()
    log.error(lambda: node._saved_result)


def a_node_hook_that_raises_leaves_the_graph(torch, log):
    x = torch.ones(2, requires_grad=True)
    y = x.exp()
    handle = y.grad_fn.register_hook(lambda grad_inputs, grad_outputs: 1 / 0)
    log.error(y.sum().backward)
    handle.remove()
    y.sum().backward()
    log(x.grad)


def a_hook_of_an_accumulator_sees_the_memory_of_grad(torch, log):
    layer = torch.nn.Linear(2, 1)
    node = layer.bias.expand_as(layer.bias).grad_fn.next_functions[0][0]
    seen = []
    node.register_hook(lambda grad_inputs, grad_outputs: seen.append(grad_outputs[0]))
    layer(torch.ones(3, 2)).sum().backward()
    log(seen[0].data_ptr() == layer.bias.grad.data_ptr(), seen[0] is layer.bias.grad, layer.bias.grad._base)
    seen[0].mul_(2)
    log(layer.bias.grad)


def gradients_that_nobody_wants_are_not_shown(torch, log):
    a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)

    def seen(node):
        node.register_hook(lambda grad_inputs, grad_outputs: log(node.name(), *[g is not None for g in grad_inputs]))

    product = a * b
    seen(product.grad_fn)
    torch.autograd.grad(product.sum(), a, retain_graph=True)
    product.sum().backward(inputs=[b], retain_graph=True)
    product.sum().backward()
    joined = torch.cat([a, b])
    seen(joined.grad_fn)
    torch.autograd.grad(joined.sum(), a)
    changed = a * 1
    changed[:1].mul_(b[:1])
    seen(changed.grad_fn)
    torch.autograd.grad(changed.sum(), b)


def the_order_of_a_backward_can_be_asked_for(torch, log):
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    z = (y.exp() + y).sum()

    def hook(grad):
        log(*[node.name() for node in torch._C._current_graph_task_execution_order()])

    z.register_hook(hook)
    log.error(z.backward)
    with torch.autograd.set_multithreading_enabled(False):
        z = (y.exp() + y).sum()
        z.register_hook(hook)
        z.backward(retain_graph=True)
        torch.autograd.grad(z, y)
    log.error(torch._C._current_graph_task_execution_order)


def node_hooks_see_no_gradient_of_results_that_have_none(torch, log):
    F = torch.nn.functional
    made = {
        "max": lambda x: x.max(0).values,
        "sort": lambda x: x.sort().values,
        "median": lambda x: x.median(1).values,
        "layer_norm": lambda x: F.layer_norm(x, (4,)),
        "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
        "nll_loss": lambda x: F.nll_loss(x, torch.tensor([0, 1])),
        "max_pool": lambda x: F.max_pool2d(x.view(1, 1, 2, 4), 2),
        "max_pool3d": lambda x: F.max_pool3d(x.view(1, 1, 2, 2, 2), 2, return_indices=True)[0],
        "adaptive_max_pool": lambda x: F.adaptive_max_pool2d(x.view(1, 2, 2, 2), 1),
        "split": lambda x: x.split(1)[0],
    }
    for name, make in made.items():
        y = make(torch.arange(8.0).view(2, 4).requires_grad_() * 1)
        y.grad_fn.register_prehook(lambda go: tuple(None if g is None else g * 2 for g in go))
        y.grad_fn.register_hook(lambda gi, go, name=name: log(name, [g is None for g in gi], go))
        y.sum().backward(retain_graph=True)
        log("takes", len(y.grad_fn._input_metadata))
