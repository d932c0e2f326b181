"""How often and how long: ops and labelled stretches of a program, as `torch.profiler` and `torch.autograd.profiler` list them.

Source: https://docs.pytorch.org/docs/stable/autograd.html#profiler
"""

import threading
from time import perf_counter

from .. import _C
from .grad_mode import _DecoratorContextManager

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "profile", "record_function"]


class _Running(threading.local):
    def __init__(self):
        self.profiles = []


_running = _Running()


class record_function(_DecoratorContextManager):
    """A label for a `with` block, or for the calls of a function it decorates.

    >>> with record_function("forward") as label:
    ...     label.name
    'forward'

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.profiler.record_function.html
    """

    def __init__(self, name, args=None):
        self.name, self.args = name, args
        self._open = []

    def __enter__(self):
        self._open.append([(p, p._begin(self.name)) for p in _running.profiles])
        return self

    def __exit__(self, *exc):
        for p, event in self._open.pop():
            p._follow()
            p._end(event)

    def clone(self):
        return type(self)(self.name, self.args)


# ---- Events --------------------------------------------------------------------------------------------------------------


def _format_time(us):
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if us >= size:
            return f"{us / size:.3f}{unit}"
    return f"{us:.3f}us"


class FunctionEvent:
    """One call of an op, or one labelled stretch; times in microseconds. Memory is not measured."""

    cpu_memory_usage = self_cpu_memory_usage = device_time_total = self_device_time_total = flops = 0

    def __init__(self, name, parent, input_shapes):
        self.name = self.key = name
        self.cpu_parent, self.cpu_children = parent, []
        self.input_shapes = input_shapes
        self.count = 1
        self.thread = threading.get_ident()
        self.start = perf_counter() * 1e6
        self.cpu_time_total = 0.0
        if parent is not None:
            parent.cpu_children.append(self)

    @property
    def self_cpu_time_total(self):
        """The time without that of the events within it."""
        return self.cpu_time_total - sum(child.cpu_time_total for child in self.cpu_children)

    @property
    def cpu_time(self):
        """The time of a call."""
        return self.cpu_time_total / self.count

    def __getattr__(self, name):
        if not name.endswith("_str"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return _format_time(getattr(self, name[:-4]))  # of cpu_time_total, and so on

    def __repr__(self):
        return (
            f"<{type(self).__name__} key={self.key} self_cpu_time={self.self_cpu_time_total_str} "
            f"cpu_time={self.cpu_time_str} count={self.count} input_shapes={self.input_shapes}>"
        )


class FunctionEventAvg(FunctionEvent):
    """All the events of one name."""

    def __init__(self, key, events, input_shapes=""):
        self.name = self.key = key
        self.cpu_parent, self.cpu_children = events[0].cpu_parent if events else None, []
        self.input_shapes = input_shapes
        self.count = len(events)
        self.cpu_time_total = sum(e.cpu_time_total for e in events)
        self._self = sum(e.self_cpu_time_total for e in events)

    self_cpu_time_total = property(lambda self: self._self)


class EventList(list):
    """Events, and what can be made of them."""

    def key_averages(self, group_by_input_shape=False, group_by_stack_n=0, group_by_overload_name=False):
        """The events of each name together: a list of FunctionEventAvg."""
        groups = {}
        for event in self:
            key = "ProfilerStep*" if event.key.startswith("ProfilerStep#") else event.key
            groups.setdefault((key, str(event.input_shapes) if group_by_input_shape else ""), []).append(event)
        return EventList(
            FunctionEventAvg(key, events, events[0].input_shapes if shapes else "")
            for (key, shapes), events in groups.items()
        )

    def total_average(self):
        """All events together, under the name "Total"."""
        return FunctionEventAvg("Total", list(self))

    @property
    def self_cpu_time_total(self):
        """The time of all events, each moment counted once."""
        return sum(event.self_cpu_time_total for event in self)

    def table(
        self,
        sort_by=None,
        row_limit=100,
        max_src_column_width=75,
        max_name_column_width=55,
        max_shapes_column_width=80,
        header=None,
        top_level_events_only=False,
        **options,
    ):
        """The events as text, a line for each, in PyTorch's columns."""
        if not self:
            return ""
        events = sorted(self, key=lambda e: getattr(e, sort_by), reverse=True) if sort_by else list(self)
        total = self.self_cpu_time_total
        columns = ["Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg", "# of Calls"]
        widths = [min(max(len(e.key) for e in events) + 4, max_name_column_width), *[12] * 6]
        if any(e.input_shapes for e in events):
            columns.append("Input Shapes")
            widths.append(min(max(len(str(e.input_shapes)) for e in events) + 4, max_shapes_column_width))
        longest = max_name_column_width - 3
        rows = [
            [
                e.key if len(e.key) < longest else e.key[:longest] + "...",
                f"{e.self_cpu_time_total / total:.2%}" if total else "NaN",
                e.self_cpu_time_total_str,
                f"{e.cpu_time_total / total:.2%}" if total else "NaN",
                e.cpu_time_total_str,
                e.cpu_time_str,
                str(e.count),
                str(e.input_shapes)[: widths[-1]],
            ]
            for e in events
            if not (top_level_events_only and e.cpu_parent)
        ]

        def line(cells):
            return "".join(cell.rjust(width) + "  " for cell, width in zip(cells, widths))

        rule = line("-" * width for width in widths)
        head = ["=" * (len(rule) - 2), header] if header else []
        lines = [*head, rule, line(columns), rule, *map(line, rows[: row_limit if row_limit >= 0 else None]), rule]
        return "\n".join([*lines, f"Self CPU time total: {_format_time(total)}", ""])

    def export_chrome_trace(self, path):
        """Write the events as Chrome's tracing page, about:tracing, reads them."""
        import json

        events = [
            {
                "name": e.name,
                "ph": "X",
                "ts": e.start,
                "dur": e.cpu_time_total,
                "tid": e.thread,
                "pid": "CPU functions",
                "args": {},
            }
            for e in self
        ]
        with open(path, "w") as file:
            json.dump({"traceEvents": events}, file)

    def __str__(self):
        return self.table()


# ---- Profiles ------------------------------------------------------------------------------------------------------------


def _modes(owner):
    """The two modes by which a profile sees what is called: functions made of several ops, and ops."""
    from ..overrides import TorchFunctionMode
    from ..utils._python_dispatch import TorchDispatchMode

    composite = 16  # a flag of the table's rows
    made_of_others = {row["name"] for row in _C.op_table() if row["flags"] & composite}

    def seen(name, func, args, kwargs):
        # The op that a function of its name comes down to.
        owner._follow()
        above = owner._stack[-1].name if owner._stack else ""
        if above == f"aten::{name}":
            return func(*args, **kwargs)
        if name == "detach" and (above.startswith("aten::") or above.endswith("Backward0")):  # of what a node saves
            return func(*args, **kwargs)
        shapes = [list(a.shape) if isinstance(a, _C.Tensor) else [] for a in args] if owner.record_shapes else []
        event = owner._push(f"aten::{name}", shapes)
        try:
            return func(*args, **kwargs)
        finally:
            owner._end(event)

    class Functions(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func.__name__ not in made_of_others:
                return func(*args, **(kwargs or {}))
            return seen(func.__name__, func, args, kwargs or {})

    class Ops(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return seen(func.overloadpacket.__name__, func, args, kwargs or {})

    return Functions(), Ops()


class profile:
    """A context that lists the ops and labels in it.

    >>> import hookgrad as torch
    >>> with profile() as prof:
    ...     _ = torch.ones(2) + 1
    >>> [event.name for event in prof.function_events]
    ['aten::ones', 'aten::add']

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.profiler.profile
    """

    def __init__(self, enabled=True, *, record_shapes=False, **options):
        self.enabled = enabled
        self.record_shapes = record_shapes
        self.function_events = EventList()
        self._stack, self._on = [], ()
        self._nodes = []  # those that backward passes are in: the pass, the node and its event
        self._steps = []  # of optimizers, that have begun
        self._handles = ()

    def _begin(self, name, shapes=()):
        self._follow()
        return self._push(name, shapes)

    def _follow(self):
        """Begin the node that a backward has come to, and end those it has left."""
        node = _C._current_autograd_node()
        run = -1 if node is None else _C._current_graph_task_id()
        while self._nodes and (
            self._nodes[-1][0] > run or self._nodes[-1][0] == run and self._nodes[-1][1] is not node
        ):
            self._end(self._nodes.pop()[2])
        if node is not None and not (self._nodes and self._nodes[-1][0] == run):
            event = self._push(f"autograd::engine::evaluate_function: {node.name()}")
            self._nodes.append((run, node, event))
            self._push(node.name())

    def _step_begins(self, optimizer, args, kwargs):
        if self in _running.profiles:
            self._steps.append(self._begin(f"Optimizer.step#{type(optimizer).__name__}.step"))

    def _step_ends(self, optimizer, args, kwargs):
        if self in _running.profiles and self._steps:
            self._follow()
            self._end(self._steps.pop())

    def _push(self, name, shapes=()):
        event = FunctionEvent(name, self._stack[-1] if self._stack else None, list(shapes))
        self.function_events.append(event)
        self._stack.append(event)
        return event

    def _end(self, event):
        now = perf_counter() * 1e6
        event.cpu_time_total = now - event.start
        if event in self._stack:
            i = self._stack.index(event)
            for within in self._stack[i:]:
                within.cpu_time_total = now - within.start
            del self._stack[i:]

    def __enter__(self):
        if not self.enabled:
            return None
        from ..optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

        _running.profiles.append(self)
        self._handles = (
            register_optimizer_step_pre_hook(self._step_begins),
            register_optimizer_step_post_hook(self._step_ends),
        )
        self._on = _modes(self)
        for mode in self._on:
            mode.__enter__()
        return self

    def __exit__(self, *exc):
        if self.enabled and self._on:
            for mode in reversed(self._on):
                mode.__exit__(*exc)
            for handle in self._handles:
                handle.remove()
            self._follow()
            _running.profiles.remove(self)

    def key_averages(self, *args, **kwargs):
        """The events of each name together."""
        return self.function_events.key_averages(*args, **kwargs)

    def total_average(self):
        """All events together."""
        return self.function_events.total_average()

    def table(self, *args, **kwargs):
        """The events as text."""
        return self.function_events.table(*args, **kwargs)

    def export_chrome_trace(self, path):
        """Write the events for Chrome's tracing page."""
        self.function_events.export_chrome_trace(path)

    @property
    def self_cpu_time_total(self):
        """The time of all events."""
        return self.function_events.self_cpu_time_total

    def __str__(self):
        return str(self.function_events)


def kineto_available():
    """Is PyTorch's recorder there? What it records, this module does."""
    return True


class emit_nvtx:
    """Marks every op for NVIDIA's profiler: there is none, and entering fails."""

    def __init__(self, enabled=True, record_shapes=False):
        self.enabled = enabled

    def __enter__(self):
        if self.enabled:
            raise RuntimeError("Can't use NVTX: hookgrad runs on the CPU")
        return self

    def __exit__(self, *exc):
        return False


emit_itt = emit_nvtx
