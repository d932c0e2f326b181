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


graph_break = cudagraph_mark_step_begin = reset
assume_constant_result = allow_in_graph


def list_backends(exclude_tags=("debug", "experimental")):
    """No compilers."""
    return []


def compile(*args, **kwargs):
    """torch.compile."""
    from .functional import compile

    return compile(*args, **kwargs)


class set_stance:
    """How what is to be compiled runs, from now on, within a `with`, or in a function: as it is, whatever is said."""

    def __init__(self, stance="default", **settings):
        self.stance = stance

    def __call__(self, fn):
        return fn

    def __enter__(self):
        return None

    def __exit__(self, *exc):
        return False
