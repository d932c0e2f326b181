"""Optimizers: what changes parameters by their gradients.

Source: https://docs.pytorch.org/docs/stable/optim.html
"""

import sys as _sys

from .. import _C
from . import lr_scheduler
from .adagrad import Adagrad
from .adam import Adam
from .adamw import AdamW
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .sgd import SGD

# Optimizers and modules that come with their first use.
_LATE = {
    "ASGD": "asgd",
    "Adadelta": "adadelta",
    "Adafactor": "_adafactor",
    "Adamax": "adamax",
    "LBFGS": "lbfgs",
    "Muon": "_muon",
    "NAdam": "nadam",
    "RAdam": "radam",
    "Rprop": "rprop",
    "SparseAdam": "sparse_adam",
    "swa_utils": None,
    "swap_in_optimizer_params_and_state": "_stateless",
}


class _Whole(_C._Package):
    """The class of this module: programs that walk through its `__dict__` find what comes late, too."""

    @property
    def __dict__(self):
        for name in _LATE:
            getattr(self, name)
        return globals()


_sys.modules[__name__].__class__ = _Whole


def __getattr__(name):
    if name not in _LATE:
        raise AttributeError(f"hookgrad has no torch.optim.{name}")
    from importlib import import_module

    if _LATE[name] is None:
        return import_module("." + name, __name__)
    value = globals()[name] = getattr(import_module("." + _LATE[name], __name__), name)
    return value


def __dir__():
    return sorted({*globals(), *_LATE})


__all__ = ["Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "SGD", "lr_scheduler", *_LATE]
