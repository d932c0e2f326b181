"""How modules take new values for their parameters, by choice of the program.

Source: https://docs.pytorch.org/docs/stable/future_mod.html
"""

_overwrite_module_params_on_conversion = False
_swap_module_params_on_conversion = False


def set_overwrite_module_params_on_conversion(value):
    """Whether `module.to()` and its kin put new parameters in the place of the old ones, instead of filling those."""
    global _overwrite_module_params_on_conversion
    _overwrite_module_params_on_conversion = value


def get_overwrite_module_params_on_conversion():
    """What was last set; False at first."""
    return _overwrite_module_params_on_conversion


def set_swap_module_params_on_conversion(value):
    """Whether `module.to()`, its kin and `load_state_dict` swap the parameters' whole contents with the new ones'.

    It goes before `set_overwrite_module_params_on_conversion`. What is loaded passes `Tensor.module_load` first.
    """
    global _swap_module_params_on_conversion
    _swap_module_params_on_conversion = value


def get_swap_module_params_on_conversion():
    """What was last set; False at first."""
    return _swap_module_params_on_conversion
