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
