"""Tensors, and a mode, that log each op: what PyTorch's own tests look at `__torch_dispatch__` with.

    with capture_logs() as lines:
        x = LoggingTensor(torch.ones(1))
        log_input("x", x)
        x + 1
    # $0: f32[1] = input('x')
    # $1: f32[1] = torch._ops.aten.add.Tensor($0, 1)

Source: torch/testing/_internal/logging_tensor.py, which is private: what it means is known from the tests that use it.
"""

import contextlib
import logging
from typing import Any, NamedTuple

import hookgrad

from ...overrides import enable_reentrant_dispatch
from ...utils._python_dispatch import TorchDispatchMode
from ...utils._pytree import tree_map
from ...utils.weak import WeakTensorKeyDictionary

logger = logging.getLogger("LoggingTensor")
logger.propagate = False

_SHORT = {"bfloat16": "bf16", "bool": "b8", "uint8": "u8", "float": "f", "int": "i"}


class _Call(NamedTuple):
    """What is logged."""

    name: str
    args: tuple
    kwargs: dict
    result: Any

    def __str__(self):
        return self.name


def _tell(func, args, kwargs, result):
    logger.info(_Call(f"{func.__module__}.{func.__name__}", args, kwargs or {}, result))


def log_input(name, var):
    """Log a line that gives `var` a number: `$0: f32[1] = input('name')`."""
    logger.info(_Call("input", (name,), {}, var))


class LoggingTensor(hookgrad.Tensor):
    """A tensor around another, `elem`, which computes; each op is logged."""

    __slots__ = ["elem"]
    context = contextlib.nullcontext  # in which `elem` computes

    @staticmethod
    def __new__(cls, elem, *args, **kwargs):
        requires_grad = kwargs.get("requires_grad", False)
        self = hookgrad.Tensor._make_wrapper_subclass(
            cls,
            elem.size(),
            strides=elem.stride(),
            storage_offset=elem.storage_offset(),
            dtype=elem.dtype,
            layout=elem.layout,
            device=elem.device,
            requires_grad=requires_grad,
        )
        self.elem = elem.detach() if requires_grad else elem
        return self

    def __repr__(self):
        return super().__repr__(tensor_contents=f"{self.elem}")

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        inner_args, inner_kwargs = tree_map(lambda x: x.elem if isinstance(x, cls) else x, (args, kwargs or {}))
        with cls.context():
            result = func(*inner_args, **inner_kwargs)
        result = tree_map(lambda x: cls(x) if isinstance(x, hookgrad.Tensor) else x, result)
        _tell(func, args, kwargs, result)
        return result


class LoggingTensorReentrant(LoggingTensor):
    """The same, whose `elem` has a graph of its own."""

    context = enable_reentrant_dispatch


class LoggingTensorMode(TorchDispatchMode):
    """Each op in its block is logged."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        _tell(func, args, kwargs, result)
        return result


class LoggingTensorHandler(logging.Handler):
    """Writes each op into a list, with the tensors numbered in the order in which they appear."""

    def __init__(self, log_list, use_shortid_for_all_tensors, with_type, tracebacks_list=None):
        super().__init__()
        self.log_list, self.with_type = log_list, with_type
        self.numbered = hookgrad.Tensor if use_shortid_for_all_tensors else LoggingTensor
        self.numbers, self.next_id = WeakTensorKeyDictionary(), 0

    def _number(self, tensor):
        if tensor not in self.numbers:
            self.numbers[tensor] = self.next_id
            self.next_id += 1
        return f"${self.numbers[tensor]}"

    def _argument(self, value):
        return self._number(value) if isinstance(value, self.numbered) else repr(value)

    def _result(self, value):
        if not isinstance(value, self.numbered):
            return repr(value)
        dtype = str(value.dtype).removeprefix("torch.").removeprefix("hookgrad.")
        kind = next(dtype.replace(long, short) for long, short in _SHORT.items() if dtype.startswith(long))
        return self._number(value) + (f": {kind}[{', '.join(map(str, value.shape))}]" if self.with_type else "")

    def emit(self, record):
        name, args, kwargs, result = record.msg
        given = [str(tree_map(self._argument, arg)) for arg in args]
        given += [f"{name}={tree_map(self._argument, arg)}" for name, arg in kwargs.items()]
        self.log_list.append(f"{tree_map(self._result, result)} = {name}({', '.join(given)})")


@contextlib.contextmanager
def capture_logs(is_mode=False, python_tb=False, script_tb=False, cpp_tb=False):
    """A context whose value is the list of the lines that are logged in it."""
    lines = []
    handler = LoggingTensorHandler(lines, use_shortid_for_all_tensors=is_mode, with_type=True)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


@contextlib.contextmanager
def capture_logs_with_logging_tensor_mode(python_tb=False, script_tb=False, cpp_tb=False):
    """The same, with a mode that logs every op."""
    with LoggingTensorMode(), capture_logs(is_mode=True) as lines:
        yield lines
