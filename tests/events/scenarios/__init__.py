"""Small programs that register hooks and log what happens. Each takes the library and a log.

Those of a file share a theme. What PyTorch logs for each is in ../expected/THEME.json.
"""

from inspect import isfunction

from . import (
    backward_hooks,
    forward_hooks,
    functions,
    global_hooks,
    graphs,
    nodes,
    optimizers,
    saved_tensors,
    state_dicts,
    tensors,
    users,
    what_ops_save,
)

THEMES = (
    tensors,
    nodes,
    forward_hooks,
    backward_hooks,
    global_hooks,
    state_dicts,
    saved_tensors,
    graphs,
    functions,
    optimizers,
    users,
    what_ops_save,
)


def theme_of(module):
    return module.__name__.rpartition(".")[2]


def scenarios_of(module):
    return [
        f for name, f in vars(module).items() if isfunction(f) and f.__module__ == module.__name__ and name[0] != "_"
    ]


SCENARIOS = [scenario for module in THEMES for scenario in scenarios_of(module)]
