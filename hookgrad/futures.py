"""Values that come later: what asynchronous calls return, and what waits for several of them.

Source: https://docs.pytorch.org/docs/stable/futures.html
"""

import threading

from . import _C

__all__ = ["Future", "collect_all", "wait_all"]


class Future:
    """A value, or an exception, that some thread will set.

    Callbacks run in the thread that completes the future, in the order they were added; at once where it is complete.

    Example:
        >>> future = Future()
        >>> doubled = future.then(lambda f: 2 * f.value())
        >>> future.set_result(3)
        >>> doubled.wait()
        6
    """

    def __init__(self, *, devices=None):
        for device in devices or ():
            if getattr(_C.device(device), "index", None) is None:
                raise ValueError(f"Expected devices to have indices, got {device}")
        self._changed = threading.Condition()
        self._completed = False
        self._value = self._error = None
        self._callbacks = []

    def __class_getitem__(cls, item):
        from types import GenericAlias

        return GenericAlias(cls, item)

    def done(self):
        """Whether the value or the exception is there."""
        return self._completed

    def wait(self):
        """The value, once it is there. Raises the exception, if that is what was set."""
        with self._changed:
            self._changed.wait_for(self.done)
        return self.value()

    def value(self):
        """The value, which must be there: RuntimeError otherwise. Raises the exception, if that is what was set."""
        if not self._completed:
            raise RuntimeError("value() of a Future that is not completed() yet: wait() waits for it")
        if self._error is not None:
            raise self._error
        return self._value

    def then(self, callback):
        """A future of what the callback, called with this one when it is complete, returns or raises."""
        if not callable(callback):
            raise TypeError(f"then(): the callback must be callable, got {type(callback).__name__}")
        result = Future()

        def run(future):
            try:
                value = callback(future)
            except Exception as error:
                words = f"Got the following error when running the callback: {type(error).__name__}: {error}"
                result.set_exception(RuntimeError(words))
            else:
                result.set_result(value)

        self._when_complete(run)
        return result

    def add_done_callback(self, callback):
        """Call the callback with this future when it is complete; what it raises is reported on stderr."""

        def run(future):
            try:
                callback(future)
            except Exception:
                import traceback

                traceback.print_exc()

        self._when_complete(run)

    def set_result(self, result):
        """Complete this future with a value. RuntimeError where it is complete already."""
        self._complete(result, None)

    def set_exception(self, result):
        """Complete this future with an exception, which wait() and value() raise."""
        assert isinstance(result, Exception), f"{result} is of type {type(result)}, not an Exception."
        self._complete(None, result)

    def _complete(self, value, error):
        with self._changed:
            if self._completed:
                raise RuntimeError(
                    "Attempting to mark a completed Future as complete again. Note that a Future can only be marked "
                    "completed once."
                )
            self._value, self._error, self._completed = value, error, True
            callbacks, self._callbacks = self._callbacks, []
            self._changed.notify_all()
        for run in callbacks:
            run(self)

    def _when_complete(self, run):
        with self._changed:
            if not self._completed:
                self._callbacks.append(run)
                return
        run(self)


def collect_all(futures):
    """A future of the list of these futures, complete when they all are; it has the exception of the first that failed."""
    futures = list(futures)
    result, lock, missing = Future(), threading.Lock(), [len(futures)]

    def one_more(future):
        with lock:
            missing[0] -= 1
            if missing[0]:
                return
        finish()

    def finish():
        error = next((future._error for future in futures if future._error is not None), None)
        result._complete(futures, error)

    if not all(isinstance(future, Future) for future in futures):
        raise TypeError("collect_all(): expected a list of Futures")
    for future in futures:
        future._when_complete(one_more)
    if not futures:
        finish()
    return result


def wait_all(futures):
    """The values of all these futures, waited for. Raises the exception of the first that failed."""
    return [future.wait() for future in collect_all(futures).wait()]
