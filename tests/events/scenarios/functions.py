"""autograd.Function and hooks."""


def _leaf(torch, *values):
    return torch.tensor(values or (1.0, 2.0), requires_grad=True)


def _square(torch, log):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            log("forward", x, ctx.needs_input_grad, torch.is_grad_enabled())
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            log("backward", grad, x, torch.is_grad_enabled())
            return 2 * x * grad

    return Square


def hooks_around_a_function(torch, log):
    x = _leaf(torch)
    y = _square(torch, log).apply(x)
    y.register_hook(log.hook("tensor", lambda g: g * 10))
    y.grad_fn.register_prehook(log.hook("prehook"))
    y.grad_fn.register_hook(log.hook("node"))
    log(y, y.grad_fn.name())
    y.sum().backward()
    log(x.grad)
    log.error(y.sum().backward)


def function_in_double_backward(torch, log):
    x = _leaf(torch)
    y = _square(torch, log).apply(x)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    log(g)
    g.sum().backward()
    log(x.grad)


def function_under_saved_tensor_hooks(torch, log):
    x = _leaf(torch)

    def pack(t):
        log("pack", t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: log("unpack", t) or t):
        y = _square(torch, log).apply(x)
    y.sum().backward()


def function_with_setup_context(torch, log):
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(x, by, name="none"):
            return x * by

        @staticmethod
        def setup_context(ctx, inputs, output):
            log("setup", inputs, output)
            ctx.by = inputs[1]

        @staticmethod
        def backward(ctx, grad):
            return grad * ctx.by, None, None

    x = _leaf(torch)
    y = Scale.apply(x, 3, name="three")
    y.sum().backward()
    log(y, x.grad)


def function_with_several_outputs(torch, log):
    class Two(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, materialize):
            ctx.set_materialize_grads(materialize)
            fixed = x * 3
            ctx.mark_non_differentiable(fixed)
            return x * 2, fixed, x + 1, "text"

        @staticmethod
        def backward(ctx, *grads):
            log("backward", grads)
            return grads[0], None

    for materialize in (True, False):
        x = _leaf(torch)
        out = Two.apply(x, materialize)
        log(out, [t.requires_grad for t in out[:3]])
        out[0].sum().backward()


def function_that_works_in_place(torch, log):
    class Add(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x += 1
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, grad):
            log("backward", grad)
            return grad * 10

    x = _leaf(torch)
    y = x * 1
    y.register_hook(log.hook("before"))
    z = Add.apply(y)
    log(z is y, y.grad_fn, y._version)
    y.register_hook(log.hook("after"))
    z.sum().backward()
    log(x.grad)
    log.error(Add.apply, _leaf(torch))


def function_with_wrong_gradients(torch, log):
    def made(result):
        class Wrong(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, y):
                return x * 1

            @staticmethod
            def backward(ctx, grad):
                return result(grad)

        return Wrong.apply

    for result in (
        lambda g: g,
        lambda g: (g, g, g),
        lambda g: (g, None, None),
        lambda g: (3, None),
        lambda g: (torch.ones(3), None),
        lambda g: (None, g),
    ):
        x = _leaf(torch)
        log.error(made(result)(x, 2).sum().backward)
        log(x.grad)


def function_that_raises(torch, log):
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, where):
            if where == "forward":
                raise KeyError("forward")
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            raise ValueError("backward")

    x = _leaf(torch)
    log.error(Fails.apply, x, "forward")
    y = Fails.apply(x, "backward")
    log.error(y.sum().backward, retain_graph=True)
    log.error(y.sum().backward)
    log(x.grad)


def function_once_differentiable(torch, log):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad):
            log("grad enabled", torch.is_grad_enabled())
            return grad * 2

    x = _leaf(torch)
    (g,) = torch.autograd.grad((Once.apply(x) * x).sum(), x, create_graph=True)
    log(g)
    log.error(g.sum().backward)


def backward_within_a_function(torch, log):
    class Nested(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            with torch.enable_grad():
                ctx.x = x.detach().requires_grad_()
                ctx.y = ctx.x**3
            return ctx.y.detach()

        @staticmethod
        def backward(ctx, grad):
            log("outer", grad)
            ctx.x.register_hook(log.hook("inner"))
            ctx.y.backward(grad)
            return ctx.x.grad

    x = _leaf(torch)
    Nested.apply(x).sum().backward()
    log(x.grad)


def functions_that_return_their_input(torch, log):
    class Same(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, grad):
            return grad * 5

    x = _leaf(torch)
    y = Same.apply(x)
    log(y is x, y.grad_fn, y._is_view())
    log.error(y.add_, 1)
    y.sum().backward()
    log(x.grad)


def the_context_is_the_node(torch, log):
    class Keeps(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, by):
            ctx.by, ctx.name = by, "mine"
            contexts.append(ctx)
            ctx.save_for_backward(x)
            return x * by

        @staticmethod
        def backward(ctx, grad):
            log(ctx is contexts[0], ctx.by, ctx.name, ctx.__dict__, ctx.saved_tensors)
            return grad * ctx.by, None

    contexts = []
    x = _leaf(torch)
    y = Keeps.apply(x, 3)
    node = y.grad_fn
    log(node is contexts[0], node.by, node.name, node.next_functions, type(node).__name__)
    node.by = 5
    log.error(setattr, node, "next_functions", ())
    log.error(lambda: node.other)
    y.sum().backward()
    log(x.grad)
    del node.by
    log.error(lambda: node.by)
    log.error(lambda: node.saved_tensors)
    y = Keeps.apply(x, 3)
    del y
    log(contexts[1].saved_tensors, contexts[1].next_functions)
    with torch.no_grad():
        Keeps.apply(x, 3)
    log(contexts[2].saved_tensors, contexts[2].by)


def hooks_registered_on_ctx_in_forward(torch, log):
    class Two(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.register_hook(log.hook("node"))
            ctx.register_prehook(log.hook("before", lambda grads: (grads[0] * 10, grads[1])))
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            log("backward", a, b)
            return a + b

    x = _leaf(torch)
    a, b = Two.apply(x)
    b.register_hook(log.hook("tensor"))
    (a + b).sum().backward()
    log(x.grad)


def a_node_hook_sees_gradients_nobody_wants(torch, log):
    class Add(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, n, y):
            return x * 2 + y

        @staticmethod
        def backward(ctx, grad):
            return grad * 2, None, grad

    y = Add.apply(_leaf(torch), 3, torch.ones(2))
    y.grad_fn.register_hook(log.hook("node"))
    y.sum().backward()


def functions_that_change_views_in_place(torch, log):
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    class Both(Double):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x, x + 1

    x = _leaf(torch, 1.0, 2.0, 3.0)
    y = x * 1
    view = y[:2]
    log(Double.apply(view) is view, y, y._version)
    y.sum().backward()
    log(x.grad)
    log.error(Double.apply, x[:1])
    log.error(Double.apply, (x * 1).unbind()[0])
    log.error(lambda: Both.apply((x * 1)[:1]))
    log.error(Double.apply, x)


def outputs_of_functions_that_are_views(torch, log):
    def made(view):
        class Viewed(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return view(x)

            @staticmethod
            def backward(ctx, *grads):
                return grads[0] * 3

        return Viewed.apply

    def attempt(view):
        x = _leaf(torch)
        out = made(view)(x * 1)
        first = out[0] if isinstance(out, tuple) else out
        log(first, first._is_view(), first.requires_grad)
        log.error(first.add_, 1)

    attempt(lambda x: x.view_as(x))
    attempt(lambda x: x.clone()[:])
    attempt(lambda x: (x[:], x.clone()))
    attempt(lambda x: x.detach())
    plain = torch.ones(2)
    same = made(lambda x: x)(plain)
    log(same is plain, same._is_view(), same.requires_grad)


def functions_called_by_keyword(torch, log):
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, by=2, plus=0):
            log(ctx.needs_input_grad)
            return x * by + plus

        @staticmethod
        def backward(ctx, grad):
            return grad, None, None

    x = _leaf(torch)
    Scale.apply(x=x).sum().backward()
    Scale.apply(x, by=3).sum().backward()
    log(x.grad)
    log.error(Scale.apply, x, plus=3)
    log.error(Scale.apply, x, x=x)
    log.error(Scale.apply, x, other=x)
    log.error(Scale.apply, by=3)


def saved_tensors_let_go_when_asked_for(torch, log):
    class Once(torch.autograd.Function):
        clear_saved_tensors_on_access = True

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            log(ctx.saved_tensors)
            log.error(lambda: ctx.saved_tensors)
            return grad

    y = Once.apply(_leaf(torch))
    y.sum().backward(retain_graph=True)
    log.error(y.sum().backward)


def a_function_given_its_gradients_in_a_list(torch, log):
    class Boxed(torch.autograd.Function):
        boxed_grads_call = True

        @staticmethod
        def forward(ctx, x):
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, grads):
            log(grads)
            first = grads[0]
            grads.clear()
            return first

    x = _leaf(torch)
    Boxed.apply(x)[0].sum().backward()
    log(x.grad)


def hooks_on_what_a_function_saved(torch, log):
    class Keeps(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(x, None, y)
            return y

        @staticmethod
        def backward(ctx, grad):
            log(ctx.saved_tensors)
            return grad

    def identity(name):
        def hook(tensor):
            log(name, tensor)
            return tensor

        return hook

    x = _leaf(torch, 0.0)
    y = Keeps.apply(x)
    raw = y.grad_fn._raw_saved_tensors
    log(len(raw), type(raw[1]).__name__)
    log.error(raw[1].register_hooks, identity("pack"), identity("unpack"))
    raw[0].register_hooks(identity("pack"), identity("unpack"))
    raw[2].register_hooks(identity("pack"), identity("unpack"))
    log.error(raw[0].register_hooks, identity("pack"), identity("unpack"))
    y.sum().backward()
    log.error(lambda: y.grad_fn._raw_saved_tensors)


def marks_that_are_wrong(torch, log):
    def attempt(mark):
        class Marks(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                out = x.clone()
                mark(ctx, x, out)
                return out

        log.error(Marks.apply, _leaf(torch) * 1)

    attempt(lambda ctx, x, out: ctx.mark_dirty(out))
    attempt(lambda ctx, x, out: ctx.mark_dirty(x))
    attempt(lambda ctx, x, out: ctx.save_for_backward(x, 3))
    attempt(lambda ctx, x, out: ctx.save_for_forward(3))


def gradients_of_outputs_without_derivative_may_be_none(torch, log):
    class Copies(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            first, second = x.clone(), x.clone()
            ctx.mark_non_differentiable(second)
            ctx._materialize_non_diff_grads = False
            return first, second

        @staticmethod
        def backward(ctx, first, second):
            log(first, second)
            return first

    Copies.apply(_leaf(torch))[0].sum().backward()


def an_input_returned_and_saved_by_setup_context(torch, log):
    class Same(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx, grad):
            return grad

    log.error(Same.apply, _leaf(torch))


def a_node_hook_registered_by_backward_itself(torch, log):
    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            ctx.register_hook(lambda grad_inputs, grad_outputs: log("hook", grad_inputs, grad_outputs))
            return grad * 2

    y = Watched.apply(_leaf(torch))
    y.sum().backward(retain_graph=True)
    log("again")
    y.sum().backward()
