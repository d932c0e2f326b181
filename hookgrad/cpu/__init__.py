"""The one device there is."""

from . import amp


def is_available():
    return True


def device_count():
    return 1


def current_device():
    return "cpu"


def synchronize(device=None):
    """Nothing runs behind the program's back."""


def is_initialized():
    return True


class Stream:
    """A queue of work: the program itself."""

    def __init__(self, priority=-1):
        pass

    def wait_stream(self, stream):
        """Nothing waits."""

    record_event = wait_event = wait_stream


def current_stream(device=None):
    return _stream


class stream:
    """A context in which work goes to a stream: where it goes anyway."""

    def __init__(self, stream):
        self.stream = stream

    def __enter__(self):
        return None

    def __exit__(self, *exc):
        return False


_stream = Stream()
