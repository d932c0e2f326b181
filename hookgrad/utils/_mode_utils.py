"""What is asked about modes."""

from ._python_dispatch import _DisableTorchDispatch


def no_dispatch():
    """A context in which no `__torch_dispatch__` is asked."""
    return _DisableTorchDispatch()


def all_same_mode(modes):
    """Are they all one mode?"""
    return all(mode is modes[0] for mode in modes)
