"""Hooks around the steps of optimizers, and their states."""


def _model(torch):
    m = torch.nn.Linear(2, 1)
    with torch.no_grad():
        m.weight.fill_(1.0)
        m.bias.fill_(0.0)
    return m


def step_hooks(torch, log):
    m = _model(torch)
    o = torch.optim.SGD(m.parameters(), lr=0.1)
    pre = o.register_step_pre_hook(lambda o, args, kwargs: log("pre", type(o).__name__, args, kwargs, m.weight))
    post = o.register_step_post_hook(lambda o, args, kwargs: log("post", args, kwargs, m.weight))
    m(torch.ones(1, 2)).sum().backward()
    o.step()
    pre.remove()
    o.step()
    post.remove()
    o.step()
    log(m.weight)


def step_pre_hook_replaces_the_arguments(torch, log):
    m = _model(torch)
    o = torch.optim.SGD(m.parameters(), lr=0.1)

    def closure():
        log("closure")
        return 3.0

    o.register_step_pre_hook(lambda o, args, kwargs: ((*args, closure), {}))
    o.register_step_post_hook(lambda o, args, kwargs: log("post", len(args), kwargs))
    log(o.step())
    o.register_step_pre_hook(lambda o, args, kwargs: 3)
    log.error(o.step)


def global_step_hooks(torch, log):
    from importlib import import_module

    optimizer = import_module(torch.__name__ + ".optim.optimizer")
    m = _model(torch)
    o = torch.optim.Adam(m.parameters(), lr=0.1)
    o.register_step_pre_hook(lambda *a: log("own pre"))
    o.register_step_post_hook(lambda *a: log("own post"))
    handles = [
        optimizer.register_optimizer_step_pre_hook(lambda o, args, kwargs: log("global pre", type(o).__name__)),
        optimizer.register_optimizer_step_post_hook(lambda o, args, kwargs: log("global post")),
    ]
    try:
        o.step()
    finally:
        for handle in handles:
            handle.remove()
    o.step()


def state_dict_hooks_of_an_optimizer(torch, log):
    m = _model(torch)
    o = torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
    o.register_state_dict_pre_hook(lambda o: log("pre"))
    o.register_state_dict_post_hook(lambda o, state: log("post", sorted(state)))
    o.register_state_dict_post_hook(lambda o, state: {**state, "more": 1})
    o.register_state_dict_post_hook(lambda o, state: log("first", sorted(state)), prepend=True)
    log(sorted(o.state_dict()))


def load_state_dict_hooks_of_an_optimizer(torch, log):
    m = _model(torch)
    o = torch.optim.SGD(m.parameters(), lr=0.1)
    state = o.state_dict()

    def faster(o, state):
        log("pre", state["param_groups"][0]["lr"])
        state["param_groups"][0]["lr"] = 0.5
        return state

    o.register_load_state_dict_pre_hook(faster)
    o.register_load_state_dict_post_hook(lambda o: log("post", o.param_groups[0]["lr"]))
    o.load_state_dict(state)
    log(o.param_groups[0]["lr"], state["param_groups"][0]["lr"])


def a_step_hook_that_raises(torch, log):
    m = _model(torch)
    o = torch.optim.SGD(m.parameters(), lr=0.1)

    def stop(*args):
        raise KeyError("stop")

    handle = o.register_step_pre_hook(stop)
    m(torch.ones(1, 2)).sum().backward()
    log.error(o.step)
    handle.remove()
    o.step()
    log(m.weight)


def an_optimizer_in_the_backward(torch, log):
    m = _model(torch)
    optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in m.parameters()}

    def step(p):
        log("step", p.grad)
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in m.parameters():
        p.register_post_accumulate_grad_hook(step)
    m(torch.ones(1, 2)).sum().backward()
    log(m.weight, m.bias, m.weight.grad)
