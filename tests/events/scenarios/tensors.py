"""Hooks on tensors: leaves, results, views, tensors changed in place."""


def _leaf(torch, *values):
    return torch.tensor(values or (1.0, 2.0), requires_grad=True)


def tensor_hooks_run_in_order_and_pass_on_what_they_return(torch, log):
    x = _leaf(torch)
    x.register_hook(log.hook("double", lambda g: g * 2))
    x.register_hook(log.hook("look"))
    x.register_hook(log.hook("triple", lambda g: g * 3))
    (x * x).sum().backward()
    log("grad", x.grad)


def tensor_hook_of_a_result_runs_before_its_node(torch, log):
    x = _leaf(torch)
    y = x * 2
    y.register_hook(log.hook("y", lambda g: g * 10))
    y.grad_fn.register_prehook(log.hook("prehook"))
    y.grad_fn.register_hook(log.hook("node"))
    x.register_hook(log.hook("x"))
    y.sum().backward()


def retain_grad_sees_the_final_value(torch, log):
    x = _leaf(torch)
    y = x * 2
    y.retain_grad()
    y.register_hook(log.hook("late", lambda g: g * 5))
    log("retains", y.retains_grad, x.retains_grad)
    y.retain_grad()
    y.sum().backward()
    log("grads", y.grad, x.grad)


def retain_grad_accumulates_over_backwards(torch, log):
    x = _leaf(torch)
    y = x * 2
    y.retain_grad()
    for _ in range(2):
        y.sum().backward(retain_graph=True)
        log("grad", y.grad, x.grad)


def retain_grad_needs_a_gradient(torch, log):
    log.error(torch.ones(2).retain_grad)
    with torch.no_grad():
        log.error((_leaf(torch) * 2).retain_grad)


def tensor_hook_needs_a_gradient(torch, log):
    log.error(torch.ones(2).register_hook, log.hook("never"))
    log.error(torch.ones(2).register_post_accumulate_grad_hook, log.hook("never"))
    log.error((_leaf(torch) * 2).register_post_accumulate_grad_hook, log.hook("never"))


def tensor_hook_may_not_change_the_shape(torch, log):
    x = _leaf(torch)
    x.register_hook(log.hook("widen", lambda g: torch.ones(3)))
    log.error((x * 2).sum().backward)
    log("grad", x.grad)


def tensor_hook_may_not_change_the_dtype(torch, log):
    x = _leaf(torch)
    x.register_hook(log.hook("precise", lambda g: g.double()))
    log.error((x * 2).sum().backward)


def tensor_hook_may_not_return_something_else(torch, log):
    x = _leaf(torch)
    handle = x.register_hook(lambda g: 3)
    log.error((x * 2).sum().backward)
    handle.remove()
    x.register_hook(lambda g: (g,))
    log.error((x * 2).sum().backward)


def tensor_hook_that_raises_stops_the_backward(torch, log):
    x, w = _leaf(torch), _leaf(torch)

    def stop(grad):
        log("stop", grad)
        raise KeyError("stop")

    handle = x.register_hook(stop)
    y = x * 2
    y.register_hook(log.hook("y"))
    log.error((y * w).sum().backward)
    log("grads", x.grad)
    handle.remove()
    (x * w).sum().backward()
    log("usable", x.grad)


def removed_tensor_hooks_do_not_run(torch, log):
    x = _leaf(torch)
    first = x.register_hook(log.hook("first"))
    second = x.register_hook(log.hook("second"))
    first.remove()
    first.remove()
    (x * 2).sum().backward()
    with second:
        pass
    (x * 2).sum().backward()
    log("hooks", len(x._backward_hooks))


def hooks_removed_and_added_while_running(torch, log):
    x = _leaf(torch)
    handles = []

    def meddle(grad):
        log("meddle")
        for handle in handles:
            handle.remove()
        x.register_hook(log.hook("late"))

    handles.append(x.register_hook(meddle))
    handles.append(x.register_hook(log.hook("removed")))
    (x * 2).sum().backward()
    log("again")
    (x * 2).sum().backward()


def the_same_function_twice(torch, log):
    x = _leaf(torch)
    hook = log.hook("hook", lambda g: g + 1)
    x.register_hook(hook)
    x.register_hook(hook)
    (x * 2).sum().backward()
    log("grad", x.grad)


def a_leaf_gets_one_summed_gradient(torch, log):
    x = _leaf(torch)
    x.register_hook(log.hook("x"))
    (x * 2 + x.exp() + x).sum().backward()
    y = x * 1
    y.register_hook(log.hook("y"))
    (y * y + y).sum().backward()


def post_accumulate_hooks_see_the_leaf_with_its_grad(torch, log):
    x = _leaf(torch)
    x.register_hook(log.hook("hook", lambda g: g * 2))
    x.register_post_accumulate_grad_hook(lambda t: log("post", t is x, t.grad))
    x.register_post_accumulate_grad_hook(lambda t: log("post 2", t.grad))
    for _ in range(2):
        (x * 3).sum().backward()


def post_accumulate_hook_may_take_the_grad_away(torch, log):
    x = _leaf(torch)

    def step(t):
        with torch.no_grad():
            t.sub_(t.grad)
        t.grad = None

    x.register_post_accumulate_grad_hook(step)
    (x * 3).sum().backward()
    log(x, x.grad)


def post_accumulate_hook_must_return_none(torch, log):
    x = _leaf(torch)
    x.register_post_accumulate_grad_hook(lambda t: t.grad)
    log.error((x * 2).sum().backward)


def in_place_leaves_the_hook_with_the_old_value(torch, log):
    x = _leaf(torch)
    y = x * 2
    y.register_hook(log.hook("before"))
    y.mul_(3)
    y.register_hook(log.hook("after"))
    y.sum().backward()
    log("grad", x.grad)


def in_place_takes_retain_grad_along(torch, log):
    x = _leaf(torch)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    log("retains", y.retains_grad)
    (y * y).sum().backward()
    log("grads", y.grad, x.grad)


def in_place_twice_with_hooks_between(torch, log):
    x = _leaf(torch)
    y = x.clone()
    for name in ("first", "second", "third"):
        y.register_hook(log.hook(name))
        y.mul_(10)
    y.sum().backward()


def a_write_through_a_view_leaves_the_hook_behind(torch, log):
    x = _leaf(torch)
    y = x * 1
    y.register_hook(log.hook("base"))
    view = y[0:1]
    view.register_hook(log.hook("view"))
    view.mul_(5)
    y.register_hook(log.hook("base again"))
    view.register_hook(log.hook("view again"))
    y.sum().backward()
    log("grad", x.grad, y.grad_fn.name(), view.grad_fn.name())


def a_write_to_the_base_gives_views_a_new_history(torch, log):
    x = _leaf(torch)
    y = x * 1
    view = y.view(2, 1)
    view.register_hook(log.hook("view"))
    y.mul_(7)
    log(view.grad_fn.name(), view._version, view._base is y)
    view.register_hook(log.hook("view again"))
    (view * 2).sum().backward()
    log("grad", x.grad)


def hooks_on_views_and_their_base(torch, log):
    x = _leaf(torch, 1.0, 2.0, 3.0, 4.0)
    x.register_hook(log.hook("x"))
    rows = x.view(2, 2)
    rows.register_hook(log.hook("rows"))
    first = rows[0]
    first.register_hook(log.hook("first"))
    (first * 2).sum().backward()
    log("grad", x.grad)


def hooks_on_each_of_several_outputs(torch, log):
    x = _leaf(torch, 1.0, 2.0, 3.0)
    a, b, c = x.unbind()
    for name, t in (("a", a), ("b", b), ("c", c)):
        t.register_hook(log.hook(name, lambda g: g * 2))
    (a * b).backward()
    log("grad", x.grad)


def grad_runs_the_hooks_of_its_inputs(torch, log):
    x = _leaf(torch)
    y = x * 2
    x.register_hook(log.hook("x", lambda g: g + 100))
    x.register_post_accumulate_grad_hook(log.hook("post"))
    y.register_hook(log.hook("y", lambda g: g * 10))
    y.retain_grad()
    y.grad_fn.register_prehook(log.hook("prehook"))
    log(torch.autograd.grad((y * y).sum(), (y, x), retain_graph=True))
    log("y.grad", y.grad, "x.grad", x.grad)
    log(torch.autograd.grad((y * y).sum(), y))


def backward_with_inputs_runs_only_what_leads_there(torch, log):
    x, w = _leaf(torch), _leaf(torch)
    y = x * w
    for name, t in (("x", x), ("w", w), ("y", y)):
        t.register_hook(log.hook(name))
    x.register_post_accumulate_grad_hook(log.hook("post x"))
    w.register_post_accumulate_grad_hook(log.hook("post w"))
    y.sum().backward(inputs=[x], retain_graph=True)
    log("grads", x.grad, w.grad)
    y.sum().backward(inputs=[y])
    log("grads", x.grad, w.grad, y.grad)


def backward_within_a_hook(torch, log):
    x, other = _leaf(torch), _leaf(torch)

    def inner(grad):
        with torch.enable_grad():
            (other * other).sum().backward()
        log("inner", other.grad)
        return grad * 2

    other.register_hook(log.hook("other"))
    y = x * 3
    y.register_hook(inner)
    x.register_hook(log.hook("x"))
    y.sum().backward()
    log("grads", x.grad, other.grad)


def the_same_graph_backward_within_its_hook(torch, log):
    x = _leaf(torch)
    y = x.exp()
    deep = []

    def again(grad):
        log("again", len(deep))
        if len(deep) < 2:
            deep.append(1)
            y.sum().backward(retain_graph=True)

    x.register_hook(again)
    y.sum().backward(retain_graph=True)
    log("grad", x.grad)


def hooks_run_without_recording_unless_the_graph_is_wanted(torch, log):
    x = _leaf(torch)
    x.register_hook(lambda g: log("grad enabled", torch.is_grad_enabled(), g.requires_grad))
    (x**3).sum().backward()
    (x**3).sum().backward(create_graph=True)
    x.grad = None


def hooks_in_double_backward(torch, log):
    x = _leaf(torch)
    x.register_hook(log.hook("x", lambda g: g * 2))
    y = x**3
    y.register_hook(log.hook("y"))
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    g.register_hook(log.hook("g"))
    g.sum().backward()
    log("grad", x.grad)


def hooks_that_cannot_be_called(torch, log):
    x = _leaf(torch)
    log.error(x.register_hook, 3)
    log.error((x * 2).sum().backward)


def hooks_stay_behind_in_copies(torch, log):
    import copy

    x = _leaf(torch)
    x.register_hook(log.hook("x"))
    y = copy.deepcopy(x)
    (y * 2).sum().backward()
    log("copy", y.grad, y._backward_hooks)
    z = torch.nn.Parameter(x.detach())
    (z * 2).sum().backward()
    log(z.grad)


def a_hook_that_writes_into_the_gradient(torch, log):
    x = _leaf(torch)
    y = x * 2

    def scale(grad):
        grad *= 10

    y.register_hook(scale)
    y.register_hook(log.hook("y"))
    y.sum().backward()
    log("grad", x.grad)


def gradients_of_a_tensor_that_is_not_reached(torch, log):
    x, y = _leaf(torch), _leaf(torch)
    y.register_hook(log.hook("y"))
    (x * 2).sum().backward()
    log(x.grad, y.grad)
    log.error(torch.autograd.grad, (x * 2).sum(), y)
    log(torch.autograd.grad((x * 2).sum(), (x, y), allow_unused=True))
    log(torch.autograd.grad((x * 2).sum(), (x, y), materialize_grads=True))


def backward_twice(torch, log):
    x = _leaf(torch)
    y = x.exp()
    y.register_hook(log.hook("y"))
    y.sum().backward()
    log.error(y.sum().backward)


def detach_cuts_hooks_off(torch, log):
    x = _leaf(torch)
    y = x * 2
    y.register_hook(log.hook("y"))
    z = y.detach().requires_grad_()
    z.register_hook(log.hook("z"))
    (z * 3).sum().backward()
    log(x.grad, z.grad)


def grad_dtype(torch, log):
    x = torch.ones(2, requires_grad=True)
    log(x.grad_dtype)
    x.register_hook(lambda grad: log("hook", grad.dtype))
    x.grad_dtype = torch.float64
    (x * 2).sum().backward()
    log(x.grad.dtype, x.grad_dtype, *torch.autograd.grad((x * 2).sum(), x))

    def to(dtype):
        x.grad_dtype = dtype

    log.error(lambda: to(torch.float32))
    log.error(lambda: to(3))
    x.grad = None
    x.grad_dtype = None
    x.grad = torch.ones(2, dtype=torch.float16)
    log(x.grad.dtype, x.grad_dtype)
    y = x * 2
    log.error(lambda: y.grad_dtype)


def turning_a_tensor_in_place_leaves_its_hooks_and_its_gradient_behind(torch, log):
    for turn in ("t_", "squeeze_"):
        x = torch.ones(1, 2, requires_grad=True)
        y = x * 2
        y.register_hook(log.hook("before"))
        y.retain_grad()
        getattr(y, turn)()
        y.register_hook(log.hook("after"))
        y.retain_grad()
        y.grad_fn.register_prehook(log.hook("node"))
        log(y.retains_grad, len(y._backward_hooks))
        y.sum().backward()
        log(y.grad.shape, x.grad)


def hooks_of_a_tensor_first_hooked_when_it_was_turned_in_place(torch, log):
    x = torch.ones(1, 2, requires_grad=True)
    y = (x * 2).t_()
    y.retain_grad()
    y.register_hook(log.hook("turned"))
    y.mul_(3)
    y.register_hook(log.hook("changed"))
    y.sum().backward()
    log(y.grad, x.grad)


def detaching_in_place_leaves_the_retained_gradient_behind(torch, log):
    x = _leaf(torch)
    y = x * 2
    y.retain_grad()
    z = y * 3
    y.detach_()
    log(y.retains_grad, y.requires_grad)
    del y
    z.sum().backward()
    log(x.grad)


def hooks_of_several_outputs_run_as_they_were_registered(torch, log):
    x = torch.ones(3, 2, requires_grad=True)
    a, b, c = x.unbind()
    for name, part in (("c", c), ("a", a), ("c again", c), ("b", b)):
        part.register_hook(log.hook(name))
    c.retain_grad()
    a.register_hook(lambda g: log("c has", c.grad))
    (a + c).sum().backward()
    log(c.grad)


def a_view_that_cannot_follow_its_base_refuses_one_hook(torch, log):
    x = torch.ones(2, 2, requires_grad=True)
    a, _ = x.unbind()
    with torch.no_grad():
        b = x.view(4)
        x.mul_(2)
    for view in (a, b):
        log.error(lambda view=view: view.register_post_accumulate_grad_hook(log.hook("never")))
        log.error(lambda view=view: view.register_hook(log.hook("never")))
        log(view.register_hook(log.hook("never")) is not None, len(view._backward_hooks))
    log.error(a.retain_grad)
    log(b.retain_grad(), b.retains_grad)
    log.error(lambda: b.is_leaf)


def a_custom_function_that_changes_its_input_drops_the_gradient_it_had(torch, log):
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = _leaf(torch)
    y = x * 1
    y.retain_grad()
    y.register_hook(log.hook("before"))
    y.sum().backward(retain_graph=True)
    z = Double.apply(y)
    log(z is y, y.grad, y.retains_grad, y._backward_hooks is None)
    y.sum().backward()
    log(y.grad, x.grad)


def a_multi_grad_hook_does_not_wait_for_an_input_that_is_not_reached(torch, log):
    x = _leaf(torch)
    y = x / 2
    z = 1 - y
    torch.autograd.graph.register_multi_grad_hook([y, z], log.hook("both"))
    log(torch.autograd.grad(y.sum(), [x, z], allow_unused=True))


def a_view_of_a_base_that_was_detached_ends_there_once_it_is_changed(torch, log):
    x = torch.ones(2, 2, requires_grad=True)
    y = x * 2
    view = y.t()
    y.detach_()
    log(view.grad_fn)
    y.add_(1)
    log(view.grad_fn, view.grad_fn.next_functions, view.requires_grad, y.requires_grad)
    log(torch.autograd.grad(view.sum(), x, allow_unused=True))
