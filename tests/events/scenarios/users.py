"""What PyTorch itself builds on hooks: checkpoints, parametrizations, pruning, lazy modules."""


def _leaf(torch, *values):
    return torch.tensor(values or (1.0, 2.0), requires_grad=True)


def _checkpoint(torch):
    from importlib import import_module

    return import_module(torch.__name__ + ".utils.checkpoint")


def _parametrize(torch):
    from importlib import import_module

    return import_module(torch.__name__ + ".nn.utils.parametrize")


def checkpoint_runs_twice(torch, log):
    C = _checkpoint(torch)
    for reentrant in (True, False):
        x = _leaf(torch)

        def part(x):
            log("run", torch.is_grad_enabled())
            y = x.exp()
            y.register_hook(log.hook("y")) if y.requires_grad else None
            return y.sin()

        out = C.checkpoint(part, x, use_reentrant=reentrant)
        out.register_hook(log.hook("out"))
        x.register_hook(log.hook("x"))
        out.sum().backward()
        log(x.grad)


def checkpoint_of_a_module_with_hooks(torch, log):
    C = _checkpoint(torch)
    m = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh())
    with torch.no_grad():
        for p in m.parameters():
            p.fill_(0.5)
    m[0].register_forward_hook(lambda m, args, out: log("forward", out))
    m[0].register_full_backward_hook(lambda m, gi, go: log("backward", gi, go))
    x = _leaf(torch)
    C.checkpoint(m, x.view(1, 2), use_reentrant=False).sum().backward()
    log(x.grad, m[0].bias.grad)


def nested_checkpoints(torch, log):
    C = _checkpoint(torch)

    def inner(x):
        log("inner")
        return x.sin()

    def outer(x):
        log("outer")
        return C.checkpoint(inner, x.exp(), use_reentrant=False).cos()

    x = _leaf(torch)
    C.checkpoint(outer, x, use_reentrant=False).sum().backward()
    log(x.grad)


def checkpoint_early_stop(torch, log):
    C = _checkpoint(torch)

    def part(x):
        y = x.exp()
        log("middle")
        z = y + 1
        log("end")
        return z

    for early in (True, False):
        with C.set_checkpoint_early_stop(early):
            out = C.checkpoint(part, _leaf(torch), use_reentrant=False)
        out.sum().backward()


def checkpoint_that_changes_its_mind(torch, log):
    C = _checkpoint(torch)
    runs = []

    def part(x):
        runs.append(1)
        return x.exp().sin() if len(runs) == 1 else x.exp()

    out = C.checkpoint(part, _leaf(torch), use_reentrant=False)
    log.error(out.sum().backward)


def checkpoint_sequential_in_segments(torch, log):
    C = _checkpoint(torch)
    layers = [lambda x, i=i: log("layer", i) or x * x for i in range(5)]
    x = _leaf(torch)
    C.checkpoint_sequential(layers, 2, x, use_reentrant=False).sum().backward()
    log(x.grad)


def parametrized_weight(torch, log):
    P = _parametrize(torch)

    class Exp(torch.nn.Module):
        def forward(self, x):
            log("exp")
            return x.exp()

        def right_inverse(self, x):
            log("log")
            return x.log()

    m = torch.nn.Linear(1, 1)
    with torch.no_grad():
        m.weight.fill_(2.0)
    P.register_parametrization(m, "weight", Exp())
    log(type(m).__name__, list(m.state_dict()), m.weight)
    with P.cached():
        log(m.weight is m.weight)
    m.weight = torch.full((1, 1), 3.0)
    m.parametrizations.weight.register_forward_hook(lambda m, args, out: log("hook", args, out))
    m(torch.ones(1, 1)).sum().backward()
    log(m.parametrizations.weight.original.grad)
    P.remove_parametrizations(m, "weight")
    log(type(m).__name__, m.weight)


def weight_norm_by_a_hook(torch, log):
    m = torch.nn.Linear(2, 1)
    with torch.no_grad():
        m.weight.copy_(torch.tensor([[3.0, 4.0]]))
    torch.nn.utils.weight_norm(m)
    log(list(m.state_dict()), m.weight_g, len(m._forward_pre_hooks))
    with torch.no_grad():
        m.weight_g.fill_(10.0)
    m(torch.ones(1, 2))
    log(m.weight.detach())
    torch.nn.utils.remove_weight_norm(m)
    log(list(m.state_dict()), m.weight, len(m._forward_pre_hooks))
    log.error(torch.nn.utils.remove_weight_norm, m)


def pruning_by_a_hook(torch, log):
    from importlib import import_module

    prune = import_module(torch.__name__ + ".nn.utils.prune")
    m = torch.nn.Linear(4, 1)
    with torch.no_grad():
        m.weight.copy_(torch.tensor([[3.0, -4.0, 1.0, 2.0]]))
    prune.l1_unstructured(m, "weight", 1)
    log(list(m.state_dict()), m.weight.detach(), prune.is_pruned(m))
    prune.l1_unstructured(m, "weight", 1)
    log([type(h).__name__ for h in m._forward_pre_hooks.values()], m.weight_mask)
    m(torch.ones(1, 4)).sum().backward()
    log(m.weight_orig.grad)
    prune.remove(m, "weight")
    log(list(m.state_dict()), m.weight, prune.is_pruned(m))


def lazy_layers_become_real(torch, log):
    m = torch.nn.LazyLinear(2)
    m.register_forward_pre_hook(lambda m, args: log("own hook", type(m).__name__, len(m._forward_pre_hooks)))
    log(type(m).__name__, type(m.weight).__name__, len(m._forward_pre_hooks))
    m(torch.ones(1, 3))
    log(type(m).__name__, m.weight.shape[0], m.weight.shape[1], len(m._forward_pre_hooks))


def a_module_called_with_other_parameters(torch, log):
    from importlib import import_module

    func = import_module(torch.__name__ + ".func")
    m = torch.nn.Linear(1, 1)
    m.register_forward_hook(lambda m, args, out: log("hook", m.weight, out))
    w = torch.tensor([[3.0]], requires_grad=True)
    out = func.functional_call(m, {"weight": w, "bias": torch.zeros(1)}, torch.ones(1, 1))
    out.sum().backward()
    log(w.grad, m.weight.grad)


def clipping_what_hooks_have_seen(torch, log):
    m = torch.nn.Linear(2, 1)
    for p in m.parameters():
        p.register_hook(lambda g: log("gradient", g))
    m(torch.full((1, 2), 30.0)).sum().backward()
    log(torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0))
    log(m.weight.grad, m.bias.grad)
    torch.nn.utils.clip_grad_value_(m.parameters(), 0.5)
    log(m.weight.grad)


def remaining_hooks_warn(torch, log):
    from importlib import import_module

    hooks = import_module(torch.__name__ + ".utils.hooks")
    x = _leaf(torch)
    x.register_hook(lambda g: g)
    hooks.warn_if_has_hooks(x)

    @hooks.unserializable_hook
    def hidden(g):
        return g

    y = _leaf(torch)
    y.register_hook(hidden)
    hooks.warn_if_has_hooks(y)
    log(hidden.__torch_unserializable__)


def differentiating_twice_through_a_penalty(torch, log):
    m = torch.nn.Linear(2, 1)
    with torch.no_grad():
        m.weight.fill_(0.5)
    m.register_full_backward_hook(lambda m, gi, go: log("hook", gi, go))
    x = _leaf(torch).view(1, 2)
    (g,) = torch.autograd.grad(torch.tanh(m(x)).sum(), x, create_graph=True)
    (g * g).sum().backward()
    log(m.weight.grad)


def checkpoint_among_all_other_hooks(torch, log):
    checkpoint = _checkpoint(torch).checkpoint

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            log("forward of the function", torch.is_grad_enabled())
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            log("backward of the function", x, grad)
            return grad * 2

    def pack(t):
        log("pack", list(t.shape))
        return t

    def unpack(t):
        log("unpack", list(t.shape))
        return t

    for use_reentrant in (True, False):
        log("reentrant", use_reentrant)
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh())
        with torch.no_grad():
            model[0].weight.copy_(torch.tensor([[1.0, 0.5], [0.25, 2.0]]))
            model[0].bias.zero_()
        model.register_forward_hook(lambda m, args, out: log("forward hook", out.requires_grad))
        model.register_full_backward_pre_hook(lambda m, grads: log("backward pre-hook", grads))
        model.register_full_backward_hook(lambda m, grad_in, grad_out: log("backward hook", grad_in, grad_out))
        model[0].register_full_backward_hook(lambda m, grad_in, grad_out: log("backward hook inside", grad_in))
        model[0].weight.register_post_accumulate_grad_hook(lambda p: log("accumulated", p.grad))
        x = _leaf(torch, 0.5, 0.25)
        x.register_hook(lambda grad: log("tensor hook", grad))
        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            y = checkpoint(lambda t, model=model: Twice.apply(model(t)), (x * x)[None], use_reentrant=use_reentrant)
            log("checkpointed")
            z = y.sin()
        z.sum().backward()


def hooks_under_autocast(torch, log):
    C = _checkpoint(torch)
    for of in (lambda m, x: m(x), lambda m, x: C.checkpoint(m, x, use_reentrant=False)):
        m = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2))
        with torch.no_grad():
            for p in m.parameters():
                p.fill_(0.5)
        for layer in m:
            layer.register_forward_hook(lambda m, args, out: log("forward", args[0].dtype, out.dtype))
            layer.register_full_backward_hook(lambda m, gi, go: log("backward", gi[0].dtype, go[0].dtype))
        m[0].weight.register_hook(log.hook("weight"))
        x = _leaf(torch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = of(m, x.view(1, 2))
            loss = torch.nn.functional.mse_loss(out, torch.zeros(1, 2))
        log(out.dtype, loss.dtype, torch.is_autocast_enabled("cpu"))
        loss.backward()
        log(x.grad)


def a_function_with_custom_fwd(torch, log):
    for cast_inputs in (None, torch.float32, torch.bfloat16):

        class Product(torch.autograd.Function):
            @staticmethod
            @torch.amp.custom_fwd(device_type="cpu", cast_inputs=cast_inputs)
            def forward(ctx, x, w):
                log("forward", x.dtype, torch.is_autocast_enabled("cpu"))
                ctx.save_for_backward(x, w)
                return x @ w

            @staticmethod
            @torch.amp.custom_bwd(device_type="cpu")
            def backward(ctx, g):
                log("backward", g.dtype, torch.is_autocast_enabled("cpu"))
                x, w = ctx.saved_tensors
                return g @ w.t(), x.t() @ g

        x, w = torch.ones(2, 2, requires_grad=True), torch.ones(2, 2, requires_grad=True)
        with torch.autocast("cpu"):
            out = Product.apply(x, w)
        log(out)
        out.sum().backward()
        log(x.grad, w.grad)
