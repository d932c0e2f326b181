"""What libraries import and hardly use: in torch's place, this module stands for those in _standin.IMPORTED."""

import sys
from types import SimpleNamespace

from .fx import Graph, GraphModule, Interpreter, Node, Proxy, Tracer  # noqa: F401
from .library import custom_op, impl  # noqa: F401

__path__ = []  # some are packages
_USER_PRESERVED_ATTRIBUTES_KEY = "_user_preserved_attributes"
_CodeOnlyModule = _copy_attr = GraphModule
Target = Argument = object  # of a Node
FakeTensor = FakeTensorMode = GraphModule  # none can be made
config = sys.modules[__name__]  # of a compiler: what is set there changes nothing
triton = SimpleNamespace()


def is_fake(x):
    return False


def get_proxy_mode():
    return None


def detect_fake_mode(*inputs):
    return None


def set_logs(**kinds):
    pass


def record(main):
    return main  # of a process: nothing asks for its errors


def parse_args(*kinds):
    return lambda function: function
