"""Forward pre-hooks and forward hooks of modules."""


def _double(torch):
    class Double(torch.nn.Module):
        def forward(self, x, scale=2, **more):
            return x * scale

    return Double()


def order_of_forward_hooks(torch, log):
    m = _double(torch)
    m.register_forward_pre_hook(lambda m, args: log("pre 1", args))
    m.register_forward_pre_hook(lambda m, args: log("pre 2"))
    m.register_forward_pre_hook(lambda m, args: log("pre 0"), prepend=True)
    m.register_forward_hook(lambda m, args, out: log("post 1", args, out))
    m.register_forward_hook(lambda m, args, out: log("post 2"))
    m.register_forward_hook(lambda m, args, out: log("post 0"), prepend=True)
    log(m(torch.ones(1)))


def pre_hook_replaces_the_arguments(torch, log):
    m = _double(torch)
    m.register_forward_pre_hook(lambda m, args: args[0] + 1)
    m.register_forward_pre_hook(lambda m, args: (args[0] * 10, 3))
    m.register_forward_pre_hook(lambda m, args: log("sees", args))
    log(m(torch.ones(1)))


def pre_hook_with_kwargs(torch, log):
    m = _double(torch)
    m.register_forward_pre_hook(lambda m, args, kwargs: log("first", args, kwargs), with_kwargs=True)
    m.register_forward_pre_hook(lambda m, args, kwargs: (args, {"scale": 5}), with_kwargs=True)
    m.register_forward_pre_hook(lambda m, args: log("plain", args))
    m.register_forward_hook(lambda m, args, kwargs, out: log("post", args, kwargs, out), with_kwargs=True)
    log(m(torch.ones(1), scale=3))


def pre_hook_with_kwargs_must_return_a_pair(torch, log):
    for bad in ((1,), torch.ones(1), ((), {}, ())):
        m = _double(torch)
        m.register_forward_pre_hook(lambda m, args, kwargs, bad=bad: bad, with_kwargs=True)
        log.error(m, torch.ones(1))


def forward_hook_replaces_the_output(torch, log):
    m = _double(torch)
    m.register_forward_hook(lambda m, args, out: out + 1)
    m.register_forward_hook(lambda m, args, out: (out, "more"))
    m.register_forward_hook(lambda m, args, out: log("sees", out))
    log(m(torch.ones(1)))


def forward_hook_gets_the_changed_arguments(torch, log):
    m = _double(torch)
    m.register_forward_pre_hook(lambda m, args: (args[0] * 10,))
    m.register_forward_hook(lambda m, args, out: log("post", args, out))
    m(torch.ones(1))


def pre_hook_that_raises(torch, log):
    m = _double(torch)

    def stop(m, args):
        raise ValueError("stop")

    handle = m.register_forward_pre_hook(stop)
    m.register_forward_hook(lambda *a: log("never"))
    m.register_forward_hook(lambda m, args, out: log("always", args, out), always_call=True)
    log.error(m, torch.ones(1))
    handle.remove()
    log(m(torch.ones(1)))


def always_call_hooks_run_when_forward_fails(torch, log):
    class Fails(torch.nn.Module):
        def forward(self, x):
            raise RuntimeError("forward")

    m = Fails()
    m.register_forward_hook(lambda m, args, out: log("plain"))
    m.register_forward_hook(lambda m, args, out: log("always", args, out), always_call=True)
    m.register_forward_hook(
        lambda m, args, kwargs, out: log("with kwargs", args, kwargs, out), always_call=True, with_kwargs=True
    )
    log.error(m, torch.ones(1))


def an_always_call_hook_that_raises_itself(torch, log):
    class Fails(torch.nn.Module):
        def forward(self, x):
            raise RuntimeError("forward")

    def worse(m, args, out):
        raise ValueError("worse")

    m = Fails()
    m.register_forward_hook(worse, always_call=True)
    m.register_forward_hook(lambda m, args, out: log("next"), always_call=True)
    log.error(m, torch.ones(1))


def an_order_to_stop_is_not_for_always_call_hooks(torch, log):
    class Fails(torch.nn.Module):
        def forward(self, error):
            raise error

    def stop(m, args, out):
        raise KeyboardInterrupt("in a hook")

    def call(m, error):
        try:
            m(error)
        except BaseException as e:
            log(type(e).__name__, str(e), type(e.__context__).__name__)

    for error in (KeyboardInterrupt("stop"), SystemExit("stop"), ValueError("forward")):
        m = Fails()
        m.register_forward_hook(lambda m, args, out: log("always", out), always_call=True)
        call(m, error)
        m.register_forward_hook(stop, always_call=True)
        m.register_forward_hook(lambda m, args, out: log("never"), always_call=True)
        call(m, error)


def always_call_hooks_and_a_hook_that_fails(torch, log):
    def stop(m, args, out):
        raise ValueError("stop")

    m = _double(torch)
    m.register_forward_hook(lambda m, args, out: log("first", out), always_call=True)
    m.register_forward_hook(stop)
    m.register_forward_hook(lambda m, args, out: log("last", out), always_call=True)
    log.error(m, torch.ones(1))


def hooks_changed_while_the_module_runs(torch, log):
    m = _double(torch)
    handles = []

    def meddle(m, args, out):
        log("meddle")
        for handle in handles:
            handle.remove()
        handles.append(m.register_forward_hook(lambda *a: log("late")))

    handles.append(m.register_forward_hook(meddle))
    handles.append(m.register_forward_hook(lambda *a: log("removed")))
    m(torch.ones(1))
    m(torch.ones(1))


def forward_pre_hook_that_adds_forward_hooks(torch, log):
    m = _double(torch)
    m.register_forward_pre_hook(lambda m, args: m.register_forward_hook(lambda *a: log("added")) and None)
    m(torch.ones(1))
    m(torch.ones(1))


def nested_modules(torch, log):
    nn = torch.nn
    m = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Identity()))
    for name, module in m.named_modules():
        module.register_forward_pre_hook(lambda m, args, name=name: log("enter", name, type(m).__name__))
        module.register_forward_hook(lambda m, args, out, name=name: log("leave", name))
    m(torch.ones(1, 2))


def a_shared_module_called_twice(torch, log):
    m = torch.nn.ReLU()
    m.register_forward_hook(lambda m, args, out: log("relu", args, out))
    torch.nn.Sequential(m, m)(torch.tensor([-1.0, 2.0]))


def a_module_that_calls_itself(torch, log):
    class Down(torch.nn.Module):
        def forward(self, n):
            return n if n == 0 else self(n - 1)

    m = Down()
    m.register_forward_pre_hook(lambda m, args: log("enter", args))
    m.register_forward_hook(lambda m, args, out: log("leave", args, out))
    m(2)


def values_that_are_no_tensors(torch, log):
    class Strange(torch.nn.Module):
        def forward(self, *args, **kwargs):
            return {"args": args, "kwargs": kwargs}

    m = Strange()
    m.register_forward_pre_hook(lambda m, args, kwargs: log("pre", args, kwargs), with_kwargs=True)
    m.register_forward_hook(lambda m, args, kwargs, out: log("post", args, kwargs, out), with_kwargs=True)
    m()
    m(None, "text", [1, (2.5, torch.ones(1))], k={"a": 1})


def a_falsy_result_replaces_too(torch, log):
    m = _double(torch)
    m.register_forward_hook(lambda m, args, out: 0)
    log(m(torch.ones(1)))
    m.register_forward_pre_hook(lambda m, args: False)
    log(m(torch.ones(1)))


def forward_hook_handles(torch, log):
    m = _double(torch)
    with m.register_forward_hook(lambda *a: log("inside")) as handle:
        m(torch.ones(1))
        log(handle.id in m._forward_hooks, len(m._forward_hooks))
    m(torch.ones(1))
    log(len(m._forward_hooks))
    a = m.register_forward_pre_hook(lambda *a: None, with_kwargs=True)
    log(a.id in m._forward_pre_hooks, a.id in m._forward_pre_hooks_with_kwargs)
    a.remove()
    log(len(m._forward_pre_hooks), len(m._forward_pre_hooks_with_kwargs))


def hook_tables_changed_by_hand(torch, log):
    from collections import OrderedDict

    m = _double(torch)
    handle = m.register_forward_hook(lambda *a: log("one"))
    m._forward_hooks[10**6] = lambda *a: log("two")
    m(torch.ones(1))
    del m._forward_hooks[handle.id]
    m(torch.ones(1))
    m._forward_hooks.clear()
    m(torch.ones(1))
    m._forward_hooks = OrderedDict()
    m.register_forward_hook(lambda *a: log("three"))
    m(torch.ones(1))
    handle.remove()


def hooks_of_a_copied_module(torch, log):
    import copy

    m = torch.nn.Linear(1, 1)
    m.register_forward_hook(lambda m, args, out: log("hook", m is original))
    original = m
    copy.deepcopy(m)(torch.ones(1, 1))
    m(torch.ones(1, 1))


def calling_forward_skips_hooks(torch, log):
    m = _double(torch)
    m.register_forward_hook(lambda *a: log("hook"))
    log(m.forward(torch.ones(1)))
    log(m(torch.ones(1)))


def hooks_in_train_and_eval(torch, log):
    m = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(2))
    m[1].register_forward_hook(lambda m, args, out: log(m.training, int(m.num_batches_tracked)))
    m(torch.ones(4, 2))
    m.eval()(torch.ones(4, 2))


def a_pre_hook_gives_the_module_another_forward(torch, log):
    """It is the next call that runs it."""

    class Other(torch.nn.Linear):
        def forward(self, x):
            return x * 0

    def another_method(m, args):
        m.forward = lambda x, scale=1: x * 100 * scale

    def another_class(m, args):
        m.__class__ = Other

    for m, hook in ((_double(torch), another_method), (torch.nn.Linear(1, 1), another_class)):
        for p in m.parameters():
            torch.nn.init.ones_(p)
        m.register_forward_pre_hook(hook)
        log(m(torch.ones(1)), m(torch.ones(1)))
    m = _double(torch)
    m.register_forward_pre_hook(another_method)
    log(m(torch.ones(1), scale=3), m(torch.ones(1), scale=3))
    m = torch.nn.Sequential(_double(torch))
    handle = torch.nn.modules.module.register_module_forward_pre_hook(another_method)
    log(m(torch.ones(1)), m(torch.ones(1)))
    handle.remove()
