"""Hooks around state_dict and load_state_dict."""


def state_dict_hooks(torch, log):
    m = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU())

    def pre(module, prefix, keep_vars):
        log("pre", type(module).__name__, prefix, keep_vars)

    def post(module, state, prefix, metadata):
        log("post", type(module).__name__, prefix, sorted(state), sorted(metadata))
        state[prefix + "extra"] = 3

    for module in m.modules():
        module.register_state_dict_pre_hook(pre)
        module.register_state_dict_post_hook(post)
    log(list(m.state_dict()))
    log(list(m.state_dict(prefix="model.", keep_vars=True)))


def state_dict_post_hook_may_not_return(torch, log):
    m = torch.nn.Linear(1, 1)
    handle = m.register_state_dict_post_hook(lambda module, state, prefix, metadata: {})
    log.error(m.state_dict)
    handle.remove()
    m._register_state_dict_hook(lambda module, state, prefix, metadata: {"other": 1})
    log(m.state_dict())


def load_state_dict_pre_hooks(torch, log):
    m = torch.nn.Sequential(torch.nn.Linear(1, 1))

    def pre(module, state, prefix, metadata, strict, missing, unexpected, errors):
        log("pre", type(module).__name__, prefix, sorted(state), metadata, strict, missing, unexpected, errors)
        if prefix + "gain" in state:
            state[prefix + "weight"] = state.pop(prefix + "gain")

    m.register_load_state_dict_pre_hook(pre)
    m[0].register_load_state_dict_pre_hook(pre)
    state = m.state_dict()
    state["0.gain"] = state.pop("0.weight") * 0 + 7
    log(str(m.load_state_dict(state)), m[0].weight)


def private_load_pre_hooks(torch, log):
    m = torch.nn.Linear(1, 1)
    m._register_load_state_dict_pre_hook(lambda *args: log("without", len(args), args[1]))
    m._register_load_state_dict_pre_hook(lambda *args: log("with", len(args), args[0] is m), with_module=True)
    m.load_state_dict(m.state_dict())


def load_state_dict_post_hooks(torch, log):
    m = torch.nn.Sequential(torch.nn.Linear(1, 1))

    def post(module, keys):
        log("post", type(module).__name__, keys.missing_keys, keys.unexpected_keys)
        keys.missing_keys.clear()

    m.register_load_state_dict_post_hook(post)
    m[0].register_load_state_dict_post_hook(lambda module, keys: log("inner", keys.missing_keys))
    log(str(m.load_state_dict({"0.weight": torch.ones(1, 1)})))
    log.error(m.load_state_dict, {"0.weight": torch.ones(1, 1), "more": torch.ones(1)})


def load_state_dict_post_hook_may_not_return(torch, log):
    m = torch.nn.Linear(1, 1)
    m.register_load_state_dict_post_hook(lambda module, keys: keys)
    log.error(m.load_state_dict, m.state_dict())


def state_dict_hooks_that_raise(torch, log):
    def stop(*args):
        raise KeyError("stop")

    for register in ("register_state_dict_pre_hook", "register_state_dict_post_hook"):
        m = torch.nn.Linear(1, 1)
        handle = getattr(m, register)(stop)
        log.error(m.state_dict)
        handle.remove()
        log(list(m.state_dict()))


def removed_state_dict_hooks(torch, log):
    m = torch.nn.Linear(1, 1)
    handles = [
        m.register_state_dict_pre_hook(lambda *a: log("pre")),
        m.register_state_dict_post_hook(lambda *a: log("post")),
        m.register_load_state_dict_pre_hook(lambda *a: log("load pre")),
        m.register_load_state_dict_post_hook(lambda *a: log("load post")),
    ]
    m.load_state_dict(m.state_dict())
    for handle in handles:
        handle.remove()
    m.load_state_dict(m.state_dict())
    log("end")


def extra_state(torch, log):
    class Counts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.n = 3

        def get_extra_state(self):
            log("get")
            return {"n": self.n}

        def set_extra_state(self, state):
            log("set", state)

    m = Counts()
    m.load_state_dict(m.state_dict())
    log.error(m.load_state_dict, {})
