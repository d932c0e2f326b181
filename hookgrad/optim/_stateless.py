"""An optimizer's step on other parameters and another state."""

from contextlib import contextmanager


@contextmanager
def swap_in_optimizer_params_and_state(optimizer, swapin_parameters, swapin_optim_state):
    """Let the optimizer have these parameters, in the order of its own, and this state_dict() while the context lasts.

    What is written into the state's tensors in place stays there.
    """
    parameters = iter(swapin_parameters.values())
    own, groups = optimizer.state, [dict(group) for group in optimizer.param_groups]
    try:
        state = type(own)(getattr(own, "default_factory", dict))
        for group, given in zip(optimizer.param_groups, swapin_optim_state["param_groups"], strict=True):
            group.update(given, params=[next(parameters) for _ in given["params"]])
            for parameter, at in zip(group["params"], given["params"]):
                state[parameter] = dict(swapin_optim_state["state"].get(at, {}))
        optimizer.state = state
        yield
    finally:
        for group, before in zip(optimizer.param_groups, groups):
            group.clear()
            group.update(before)
        optimizer.state = own
