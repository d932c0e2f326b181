"""What the kinds of modes share (`TorchFunctionMode`, `TorchDispatchMode`): being a context, and a stack in each thread."""

import threading
import warnings
from contextlib import contextmanager
from itertools import zip_longest

_stacks = []  # one of each kind


class ModeStack(threading.local):
    """The modes of one kind that are on in this thread, innermost last; `told(1)` and `told(-1)` hear of each change."""

    def __init__(self, told):
        self.modes, self.told = [], told
        if not any(stack is self for stack in _stacks):  # each thread comes here once
            _stacks.append(self)

    def push(self, mode):
        self.modes.append(mode)
        self.told(1)

    def push_below(self, mode):
        """Put it under all that are on: it is asked last."""
        self.modes.insert(0, mode)
        self.told(1)

    def remove(self, mode):
        """Take it off, wherever it is."""
        self.modes[:] = [other for other in self.modes if other is not mode]
        self.told(-1)

    def pop(self):
        if not self.modes:
            raise RuntimeError("trying to pop from empty mode stack")
        mode = self.modes.pop()
        self.told(-1)
        return mode

    def top(self):
        """The innermost mode, or None."""
        return self.modes[-1] if self.modes else None

    @contextmanager
    def without_top(self):
        """A context in which the innermost mode is off; its value is that mode."""
        mode = self.pop()
        try:
            yield mode
        finally:
            self.push(mode)

    @contextmanager
    def without_all(self):
        """A context in which no mode is on; its value is the list of those that were, innermost first."""
        modes = [self.pop() for _ in range(len(self.modes))]
        try:
            yield modes
        finally:
            for mode in reversed(modes):
                self.push(mode)


def kept():
    """What is on in this thread, for `restore`."""
    return [list(stack.modes) for stack in _stacks]


def restore(on):
    """Make that what is on."""
    for stack, modes in zip_longest(_stacks, on, fillvalue=()):
        same = 0
        while same < min(len(modes), len(stack.modes)) and modes[same] is stack.modes[same]:
            same += 1
        while len(stack.modes) > same:
            stack.pop()
        for mode in modes[same:]:
            stack.push(mode)


class Mode:
    """A context that is on the stack `_modes_on` of its kind meanwhile."""

    def __enter__(self):
        self._modes_on.push(self)
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self._modes_on.pop()

    @classmethod
    def push(cls, *args, **kwargs):
        """An instance, as `cls()` makes it: an old name."""
        warnings.warn(
            "`Mode.push()` is no longer necessary and can be replaced with just `with Mode()`",
            UserWarning,
            stacklevel=2,
        )
        return cls(*args, **kwargs)
