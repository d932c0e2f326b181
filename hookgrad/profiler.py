"""`torch.profiler`: profiles of a program, or of some of its steps.

Source: https://docs.pytorch.org/docs/stable/profiler.html
"""

import enum
import os

from .autograd import profiler as _profiler
from .autograd.profiler import kineto_available, record_function

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
]


class ProfilerActivity(enum.Enum):
    """What is looked at: there is the CPU."""

    CPU = 0
    CUDA = 2


class ProfilerAction(enum.Enum):
    """What is done in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities():
    """What can be looked at."""
    return {ProfilerActivity.CPU}


def schedule(*, wait, warmup, active, repeat=0, skip_first=0, skip_first_wait=0):
    """A function of a step's number: after `skip_first` steps, again and again `wait` idle ones, `warmup`, and `active` recorded.

    >>> [schedule(wait=1, warmup=1, active=2)(step).name for step in range(4)]
    ['NONE', 'WARMUP', 'RECORD', 'RECORD_AND_SAVE']
    """

    def action(step):
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:
            step += wait
        cycle, step = divmod(step, wait + warmup + active)
        if repeat and cycle >= repeat or step < wait:
            return ProfilerAction.NONE
        if step < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if step < wait + warmup + active - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


def tensorboard_trace_handler(dir_name, worker_name=None, use_gzip=False):
    """What `on_trace_ready` may be: it writes each trace to a file of its own."""

    def handle(prof):
        os.makedirs(dir_name, exist_ok=True)
        prof.export_chrome_trace(os.path.join(dir_name, f"{worker_name or os.getpid()}.{prof.step_num}.pt.trace.json"))

    return handle


class profile:
    """A context that lists the ops and labels in it; with a `schedule`, those of the steps it says, `step()` ending a step.

    `on_trace_ready(profile)` is called when a stretch of recorded steps is through, and at the end.

    >>> import hookgrad as torch
    >>> with profile() as prof, record_function("mine"):
    ...     _ = torch.ones(2).sum()
    >>> sorted(event.key for event in prof.key_averages())
    ['aten::ones', 'aten::sum', 'mine']
    """

    def __init__(self, *, activities=None, schedule=None, on_trace_ready=None, record_shapes=False, **options):
        self.activities = set(activities) if activities else supported_activities()
        self._labels = schedule is not None  # a step is an event
        self._label = None
        self.schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self.on_trace_ready = on_trace_ready
        self.record_shapes = record_shapes
        self.step_num = 0
        self.current_action = ProfilerAction.NONE
        self.profiler = None
        self._recording = False

    def _record(self):
        self.profiler = _profiler.profile(record_shapes=self.record_shapes)
        self.profiler.__enter__()
        self._recording = True

    def _stop(self):
        self.profiler.__exit__(None, None, None)
        self._recording = False
        if self.on_trace_ready:
            self.on_trace_ready(self)

    def _label_step(self):
        if self._labels:
            self._label = record_function(f"ProfilerStep#{self.step_num}").__enter__()

    def _end_step(self):
        if self._label:
            self._label.__exit__()
            self._label = None

    def start(self):
        """Begin, as the context does."""
        self.current_action = self.schedule(self.step_num)
        if self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE):
            self._record()
        self._label_step()

    def stop(self):
        """End."""
        self._end_step()
        if self._recording:
            self._stop()

    def step(self):
        """A step of the program has ended."""
        self._end_step()
        done = self.current_action
        self.step_num += 1
        self.current_action = self.schedule(self.step_num)
        if done == ProfilerAction.RECORD_AND_SAVE and self._recording:
            self._stop()
        if not self._recording and self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE):
            self._record()
        self._label_step()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def _done(self):
        if self.profiler is None:
            raise AssertionError("Expected profile to be started before it is asked for its events")
        return self.profiler

    def events(self):
        """The events, an EventList."""
        return self._done().function_events

    def key_averages(self, *args, **kwargs):
        """The events of each name together."""
        return self._done().key_averages(*args, **kwargs)

    def export_chrome_trace(self, path):
        """Write the events for Chrome's tracing page."""
        self._done().export_chrome_trace(path)

    def add_metadata(self, key, value):
        """Nothing: a trace has no metadata here."""

    add_metadata_json = add_metadata
