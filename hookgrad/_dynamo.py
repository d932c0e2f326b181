"""PyTorch's compiler under its private name: see torch.compiler."""

from .compiler import allow_in_graph, disable, graph_break, is_compiling, reset

__all__ = ["allow_in_graph", "disable", "graph_break", "is_compiling", "reset"]
