"""Programs traced into graphs of calls, which hookgrad does not make: the classes are for programs to ask about.

Source: https://docs.pytorch.org/docs/stable/fx.html
"""

from .nn.modules.module import Module

__path__ = []  # _standin.IMPORTED
__all__ = ["Graph", "GraphModule", "Interpreter", "Node", "Proxy", "Tracer", "symbolic_trace", "wrap"]


class _Traced:
    """What comes out of a trace: none can be made."""

    def __init__(self, *args, **kwargs):
        raise RuntimeError("hookgrad has no torch.fx: it does not trace")


class GraphModule(_Traced, Module):
    """A module made from a trace."""


class Graph(_Traced):
    """The calls of a trace, in their order."""


class Node(_Traced):
    """One call."""


class Proxy(_Traced):
    """What stands for a value while a function is traced."""


class Interpreter(_Traced):
    """What runs a graph call by call."""


class Tracer:
    """What would trace: trace() fails."""

    def __init__(self, *args, **kwargs):
        pass

    def trace(self, root, concrete_args=None):
        return Graph()


def symbolic_trace(root, concrete_args=None):
    """Fails: RuntimeError."""
    return Tracer().trace(root, concrete_args)


def wrap(fn_or_name):
    """A decorator that changes nothing: what would stay one call in a trace."""
    return fn_or_name


from . import _imported as node  # noqa: E402 (it takes its classes from here)

graph = graph_module = interpreter = proxy = node
