"""PyTorch's compiler under its private name: see torch.compiler."""

from ..compiler import allow_in_graph, assume_constant_result, disable, graph_break, is_compiling, reset

__all__ = [
    "OptimizedModule",
    "allow_in_graph",
    "assume_constant_result",
    "disable",
    "graph_break",
    "is_compiling",
    "reset",
]


class OptimizedModule:
    """The class of compiled modules: none is one, as torch.compile() gives back the module itself."""


def mark_static_address(t, guard=False):
    """There is no compiler to be told that a tensor stays where it is."""


mark_static = mark_dynamic = maybe_mark_dynamic = mark_static_address


def __getattr__(name):
    if name != "config":
        raise AttributeError(f"hookgrad has no torch._dynamo.{name}")
    from .. import _imported

    return _imported


from . import eval_frame, utils  # noqa: E402, F401 (names of this module, one of which asks for the class above)
