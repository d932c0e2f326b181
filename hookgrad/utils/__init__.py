"""Helpers that belong to no other part. `data` is loaded when it is first used."""

from . import hooks


def __getattr__(name):
    if name in (
        "_pytree",
        "_python_dispatch",
        "benchmark",
        "checkpoint",
        "data",
        "deterministic",
        "dlpack",
        "flop_counter",
        "module_tracker",
        "weak",
    ):
        from importlib import import_module

        return import_module("." + name, __name__)
    if name == "swap_tensors":
        from .swap import swap_tensors

        return swap_tensors
    raise AttributeError(f"module 'hookgrad.utils' has no attribute '{name}'")


__all__ = ["checkpoint", "data", "hooks"]
