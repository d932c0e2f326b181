"""What libraries import and hardly use: in torch's place, this module stands for those in _standin.IMPORTED."""

from .fx import Graph, GraphModule, Interpreter, Node, Proxy, Tracer  # noqa: F401
from .library import custom_op, impl  # noqa: F401

__path__ = []  # some are packages
_USER_PRESERVED_ATTRIBUTES_KEY = "_user_preserved_attributes"
_CodeOnlyModule = _copy_attr = GraphModule
Target = Argument = object  # of a Node


def is_fake(x):
    return False


def get_proxy_mode():
    return None


def parse_args(*kinds):
    return lambda function: function
