"""What code that can also be compiled asks for: nothing is compiled here.

Source: https://docs.pytorch.org/docs/stable/torch.compiler.html
"""


def is_compiling():
    """Is this being compiled? Never."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def disable(fn=None, recursive=True, *, reason=None):
    """A decorator that changes nothing, with or without arguments."""
    return (lambda fn: fn) if fn is None else fn


def allow_in_graph(fn):
    """A decorator that changes nothing."""
    return fn


def reset():
    """There is nothing to forget."""


graph_break = reset
