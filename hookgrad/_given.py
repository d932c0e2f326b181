"""Arguments that are no tensors, refused by functions made of other ops: the ops of the table look at theirs themselves."""

from functools import wraps

from . import _C


def of_tensors(namespace, names, prefix=""):
    """Let the functions of those names in a module's namespace refuse a first argument that is no tensor.

    "name:word" where PyTorch's word for it is not "input"; `prefix` and the name are what PyTorch calls the function.
    """
    for name in names.split():
        name, _, word = name.partition(":")
        namespace[name] = _of_tensor(namespace[name], prefix + name, word or "input")


def _of_tensor(function, title, word):
    @wraps(function)
    def call(*args, **kwargs):
        if args and not isinstance(args[0], _C.Tensor) and not hasattr(type(args[0]), "__torch_function__"):
            raise TypeError(f"{title}(): argument '{word}' (position 1) must be Tensor, not {type(args[0]).__name__}")
        return function(*args, **kwargs)

    return call
