"""What the registration of a hook returns."""

from .._C import RemovableHandle

__all__ = ["RemovableHandle", "unserializable_hook"]


def unserializable_hook(f):
    """Mark a function as a hook that need not survive pickling: it is dropped with a tensor's other hooks anyway."""
    f.__torch_unserializable__ = True
    return f
