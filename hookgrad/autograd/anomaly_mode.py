"""Where does a failing derivative, or a nan, come from? With anomaly detection each node remembers the forward call.

Source: https://docs.pytorch.org/docs/stable/autograd.html#anomaly-detection
"""

import os

from .. import _C

__all__ = ["detect_anomaly", "set_detect_anomaly"]

_TRACE, _PARENT = "traceback_", "parent_"  # keys of a node's metadata

_RUNNER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "__main__.py")

_enabled = False
_check_nan = True


def is_anomaly_enabled():
    """Whether anomaly detection is on."""
    return _enabled


def is_anomaly_check_nan_enabled():
    """Whether anomaly detection, if it is on, looks for nan."""
    return _check_nan


def set_anomaly_enabled(mode, check_nan=True):
    """Turn anomaly detection on or off, in every thread."""
    global _enabled, _check_nan
    for i, value in enumerate((mode, check_nan)):
        if not isinstance(value, bool):
            name = ("enabled", "check_nan")[i]
            raise TypeError(
                f"set_anomaly_enabled(): argument '{name}' (position {i + 1}) must be bool, not {type(value).__name__}"
            )
    _enabled, _check_nan = mode, check_nan
    if _enabled:
        _C._watch_nodes(_born, _failed, _check_nan)
    else:
        _C._watch_nodes(None, None, False)


def script_stack(skip):
    """The lines of traceback.format_stack() but for the last `skip` calls and those that run the script."""
    import traceback

    stack = traceback.extract_stack()[: -skip - 1]
    runs = [i for i, frame in enumerate(stack) if frame.filename == _RUNNER]
    return traceback.format_list(stack[runs[-1] + 1 if runs else 0 :])


def _born():
    """The metadata of a new node: the calls that led to it, and the node in whose derivative it was made."""
    metadata = {_TRACE: script_stack(1)}
    parent = _C._current_autograd_node()
    if parent is not None:
        metadata[_PARENT] = parent
    return metadata


def _failed(node):
    """Warn with the forward call that made the node, and with those that made the nodes whose derivatives it is in."""
    import sys
    import warnings

    def describe(head, node, of_which):
        trace = node.metadata.get(_TRACE)
        if trace is None:
            words = (
                f"{head} {node.name()}. No forward pass information available. Enable detect anomaly during forward pass "
                "for more information."
            )
        else:
            words = f"{head} {node.name()}. Traceback of forward call that {of_which}:\n" + "".join(trace)
        try:
            warnings.warn(words, UserWarning, stacklevel=3)
        except UserWarning as error:  # the program has made errors of warnings, and is to get the node's own
            print(f"{type(error).__name__}: {error}", file=sys.stderr)

    describe("Error detected in", node, "caused the error")
    while (node := node.metadata.get(_PARENT)) is not None:
        describe("\n\nPrevious calculation was induced by", node, "induced the previous calculation")


class set_detect_anomaly:
    """Turn anomaly detection on or off: as a function for good, as a context until its end.

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.set_detect_anomaly
    """

    def __init__(self, mode, check_nan=True):
        self.prev, self.prev_check_nan = _enabled, _check_nan
        set_anomaly_enabled(mode, check_nan)

    def __enter__(self):
        pass

    def __exit__(self, *exc):
        set_anomaly_enabled(self.prev, self.prev_check_nan)


class detect_anomaly:
    """Inside, an error in backward comes with the traceback of the forward call it belongs to, and nan is an error.

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.detect_anomaly
    """

    def __init__(self, check_nan=True):
        import warnings

        self.prev, self.prev_check_nan = _enabled, _check_nan
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
            stacklevel=2,
        )

    def __enter__(self):
        set_anomaly_enabled(True, self.check_nan)

    def __exit__(self, *exc):
        set_anomaly_enabled(self.prev, self.prev_check_nan)
