"""torch.profiler: which ops and labels a profile lists, how they nest, and what is made of the list."""

import json

import hookgrad as torch
from hookgrad import nn
from hookgrad.profiler import ProfilerActivity, profile, record_function, schedule, tensorboard_trace_handler


def test_ops_and_labels_are_listed_and_nest():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    x = torch.ones(1, 2)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as prof, record_function("mine"):
        net(x)
    by_name = {event.name: event for event in prof.events()}
    assert {"mine", "aten::linear", "aten::addmm", "aten::relu"} <= set(by_name)
    assert by_name["aten::addmm"].cpu_parent is by_name["aten::linear"]
    assert by_name["aten::linear"].cpu_parent is by_name["mine"]
    assert by_name["aten::linear"].input_shapes[0] == [1, 2]
    assert by_name["mine"].cpu_time_total >= by_name["aten::linear"].cpu_time_total >= 0


def test_averages_count_calls_and_the_table_shows_them():
    x = torch.ones(2)
    with profile() as prof:
        for _ in range(3):
            x.sin()
    (average,) = prof.key_averages()
    assert average.key == "aten::sin" and average.count == 3
    table = prof.key_averages().table(sort_by="cpu_time_total", row_limit=5)
    assert "aten::sin" in table and "# of Calls" in table


def test_nothing_is_listed_outside():
    with profile() as prof:
        pass
    torch.ones(2).sin()
    with record_function("later"):
        torch.ones(1)
    assert prof.events() == []


def test_a_schedule_says_which_steps_are_recorded(tmp_path):
    ready = []
    plan = schedule(wait=1, warmup=1, active=2, repeat=1)
    with profile(schedule=plan, on_trace_ready=lambda p: ready.append((p.step_num, len(p.events())))) as prof:
        for _ in range(5):
            torch.ones(1)
            prof.step()
    assert ready == [(4, 4)]  # two steps, with an op in each
    with profile(on_trace_ready=tensorboard_trace_handler(str(tmp_path), "worker")):
        torch.ones(1)
    (written,) = tmp_path.iterdir()
    assert [event["name"] for event in json.loads(written.read_text())["traceEvents"]] == ["aten::ones"]


def test_a_label_decorates_functions():
    @record_function("twice")
    def twice(x):
        return x * 2

    with torch.autograd.profiler.profile() as prof:
        twice(torch.ones(1))
        twice(torch.ones(1))
    assert {event.key: event.count for event in prof.key_averages()}["twice"] == 2


def test_the_table_has_pytorch_columns():
    with profile(record_shapes=True) as prof:
        nn.functional.relu(torch.ones(2, 3))
    averages = prof.key_averages()
    assert {event.key: event.count for event in averages}["aten::relu"] == 1
    words = averages.table(sort_by="self_cpu_memory_usage").splitlines()[1]
    assert words.split() == "Name Self CPU % Self CPU CPU total % CPU total CPU time avg # of Calls".split()
    shaped = prof.key_averages(group_by_input_shape=True).table()
    assert shaped.splitlines()[1].endswith("  Input Shapes  ") and "[[2, 3]]" in shaped


def test_a_profile_that_is_off_is_none():
    with torch.autograd.profiler.profile(enabled=False) as prof:
        torch.ones(1)
    assert prof is None


def nested(event):
    return event.name, [nested(child) for child in event.cpu_children]


def test_nodes_of_a_backward_are_events_with_their_ops():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            with record_function("mine"):
                return g * 2

    def node(name, *within):
        return f"autograd::engine::evaluate_function: {name}", [(name, list(within))]

    x = torch.ones(3, requires_grad=True)
    y = Twice.apply(x).sin()
    with torch.autograd.profiler.profile() as prof, record_function("all"):
        y.sum().backward()
    (outermost,) = (event for event in prof.function_events if event.cpu_parent is None)
    assert nested(outermost)[1][2:] == [
        node("SumBackward0", ("aten::expand", [])),
        node("SinBackward0", ("aten::cos", []), ("aten::mul", [])),
        node("TwiceBackward", ("mine", [("aten::mul", [])])),
        node("torch::autograd::AccumulateGrad", ("aten::detach", [])),
    ]
    assert all(0 < event.cpu_time_total <= outermost.cpu_time_total for event in prof.function_events)


def test_a_backward_within_a_node_lies_within_its_event():
    x = torch.ones(3, requires_grad=True)
    y = torch.utils.checkpoint.checkpoint(torch.sin, x, use_reentrant=True).sum()
    with torch.autograd.profiler.profile() as prof:
        y.backward()
    (inner,) = (event for event in prof.function_events if event.name == "SinBackward0")
    assert inner.cpu_parent.cpu_parent.name == "CheckpointFunctionBackward"


def test_steps_are_events():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    plan = schedule(wait=1, warmup=1, active=2, repeat=1)
    with profile(schedule=plan) as prof:
        for _ in range(4):
            model(torch.ones(1, 1)).sum().backward()
            optimizer.step()
            prof.step()
    optimizer.step()
    averages = {event.key: event for event in prof.key_averages()}
    assert averages["ProfilerStep*"].count == averages["Optimizer.step#SGD.step"].count == 2
    assert [e.name for e in prof.events() if e.cpu_parent is None] == ["ProfilerStep#2", "ProfilerStep#3"]
    assert not torch.optim.optimizer._global_optimizer_pre_hooks


def test_times_are_written_as_pytorch_writes_them():
    with profile() as prof:
        torch.ones(2).sin()
    event = prof.events()[0]
    for time, words in ((1.5, "1.500us"), (1500.0, "1.500ms"), (1.5e6, "1.500s")):
        event.cpu_time_total = time
        assert event.cpu_time_total_str == words
    assert not hasattr(event, "other")
    rule, columns, _, line, *_ = prof.key_averages().table(header=None, row_limit=1).splitlines()
    assert rule == "-" * 14 + ("  " + "-" * 12) * 6 + "  " and len(columns) == len(line) == len(rule)
    assert torch.autograd.profiler.EventList().table() == ""
    top = prof.key_averages().table(header="Mine", top_level_events_only=True).splitlines()
    assert top[0] == "=" * (len(rule) - 2) and top[1] == "Mine"
