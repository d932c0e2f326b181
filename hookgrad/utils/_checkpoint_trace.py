"""For `checkpoint(debug=True)`: the ops of both runs, and where they were called."""

import traceback
from types import SimpleNamespace

from ..testing._internal.logging_tensor import LoggingTensorHandler
from ._python_dispatch import TorchDispatchMode


class _Ops(TorchDispatchMode):
    """A mode that writes down each op as `$1: f32[2] = torch._ops.aten.sin.default($0)`, with its stack, innermost first."""

    def __enter__(self):
        self.lines, self.stacks = [], []
        self._handler = LoggingTensorHandler(self.lines, use_shortid_for_all_tensors=True, with_type=True)
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        call = f"{func.__module__}.{func.__name__}", args, kwargs or {}, result
        self._handler.emit(SimpleNamespace(msg=call))
        frames = traceback.extract_stack()[-4::-1]  # but for the three that lead here
        self.stacks.append("".join(f"{frame.filename}:{frame.lineno}:{frame.name}\n" for frame in frames))
        return result


class Trace:
    """The ops of the run forward and of the last one after it."""

    def __init__(self):
        self.runs = {"original": _Ops(), "recompute": _Ops()}

    def contexts(self):
        return tuple(self.runs.values())

    def report(self):
        def log(run):
            return "\n".join(self.runs[run].lines)

        def stacks(run):
            ops = self.runs[run]
            n = len(ops.lines)
            told = enumerate(zip(ops.lines, ops.stacks), 1)
            return "".join(f"{line}   ({i} of {n} in {run})\n\n{stack}\n\n" for i, (line, stack) in told)

        return (
            "An error happened while unpacking tensors; dumping logs of latest computation\n"
            "because you passed `debug=True` to `torch.utils.checkpoint.checkpoint()`.\n\n"
            f"1. Stack traces of the operators that ran in the original forward\n\n{stacks('original')}"
            f"2. Stack traces of the operators that ran during recomputation\n\n{stacks('recompute')}"
            "3. Log of operators in the original forward and recomputation (each detach comes of the checkpoint itself)\n\n"
            f"Operations executed during the original forward:\n\n{log('original')}\n\n"
            f"Operations executed during recomputation:\n\n{log('recompute')}\n\n"
            "ERROR: Detected non-determinism while running activation checkpointing\n"
            "You are seeing this error because you passed `debug=True` to checkpoint and both runs did not save the same:\n"
            "compare their operators above.\n"
        )
